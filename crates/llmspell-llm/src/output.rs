//! Tells a model the schema of its answer: by the provider's native structured output, or in the prompt.

use llmspell_core::chat::ChatRequest;
use serde_json::Value as Json;

use crate::configured_provider::ConfiguredProvider;
use crate::provider::StructuredOutput;

/// Returns the request with schema instructions in its prompt; `None` if the native structured output suffices.
pub(crate) fn with_schema_prompt(entry: &ConfiguredProvider, request: &ChatRequest) -> Option<ChatRequest> {
    let output = request.output.as_ref()?;
    let is_known = || {
        let known = entry.model(request.model.as_deref().unwrap_or_default());
        known.and_then(|model| model.capabilities).is_some_and(|can| can.json_schema)
    };
    let takes = entry.provider.takes_output(request);
    let native = match takes {
        StructuredOutput::IfKnown => output.native.unwrap_or_else(is_known),
        StructuredOutput::Unseen => output.native.unwrap_or(true),
        StructuredOutput::InWords => false,
    };
    if native && takes != StructuredOutput::Unseen {
        return None;
    }
    let mut told = request.clone();
    let words = instructions(&output.schema);
    told.system = Some(match told.system {
        Some(system) => format!("{system}\n\n{words}"),
        None => words,
    });
    if !native {
        told.output = None;
    }
    Some(told)
}

fn instructions(schema: &Json) -> String {
    format!(
        "Answer with one JSON value that fits this JSON Schema, and with nothing else: no explanation, no code fence.\n{schema}"
    )
}
