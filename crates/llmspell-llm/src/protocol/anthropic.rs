//! Anthropic's Messages API.

use std::borrow::Cow;

use llmspell_core::Result;
use llmspell_core::chat::{ChatRequest, Effort, ModelInfo, Part, Role};
use serde_json::{Value as Json, json};

use super::history::{CallIds, History};
use super::openai::{effort, stop_cause};
use super::{ObjectBuilder, Protocol, misplaced, named_models, output, parameters, text};
use crate::catalogue;
use crate::config::ProviderConfig;
use crate::model_rules::claude_version;
use crate::provider::StructuredOutput;
use crate::reply_builder::{ReplyBuilder, count};

pub(super) struct Anthropic;

/// The version of the API that this module implements.
const VERSION: &str = "2023-06-01";

/// The `max_tokens` of a request without one: the API requires a number.
const DEFAULT_MAX_TOKENS: u64 = 8_192;

/// Our prefix for the signature of a redacted reasoning block, whose text the provider does not reveal.
const SEALED: &str = "sealed:";

impl Protocol for Anthropic {
    fn implied_path(&self, given: &[&str]) -> Option<&'static str> {
        // Anthropic's own tools accept a base URL without the version.
        (given.last() != Some(&"v1")).then_some("v1")
    }

    fn path<'a>(&self, _: &'a str, _: bool) -> Vec<Cow<'a, str>> {
        vec!["messages".into()]
    }

    fn models_path(&self) -> &'static [&'static str] {
        &["models"]
    }

    fn headers(&self, key: Option<&str>) -> Vec<(&'static str, String)> {
        let mut headers = vec![("anthropic-version", VERSION.to_owned())];
        headers.extend(key.map(|key| ("x-api-key", key.to_owned())));
        headers
    }

    fn takes_output(&self, request: &ChatRequest) -> StructuredOutput {
        match request.output.as_ref().and_then(|output| output::anthropic(&output.schema)) {
            Some(_) => StructuredOutput::IfKnown,
            None => StructuredOutput::InWords,
        }
    }

    fn body(&self, config: &ProviderConfig, request: &ChatRequest, stream: bool) -> Result<Json> {
        let model = request.model.as_deref().unwrap_or_default();
        let mut system: Vec<Cow<'_, str>> =
            request.system.as_deref().map(Cow::Borrowed).into_iter().collect();
        let mut messages: Vec<Json> = Vec::new();
        let mut history = History::new(&config.name, CallIds::Word);
        for message in &request.messages {
            let role = match message.role {
                Role::System => {
                    system.push(message.joined_text());
                    continue;
                }
                Role::User | Role::Tool => "user",
                Role::Assistant => "assistant",
            };
            push(&mut messages, role, write(history.parts(message), role)?);
        }
        system.retain(|text| !is_blank(text));
        let tools: Vec<Json> = request
            .tools
            .iter()
            .map(|tool| json!({"name": tool.name, "description": tool.description, "input_schema": parameters(&tool.parameters)}))
            .collect();
        let most = catalogue::find(&config.name, model).and_then(|known| known.max_output);
        let usual = most.map_or(DEFAULT_MAX_TOKENS, |most| most.min(DEFAULT_MAX_TOKENS));
        let thinking = request.reasoning.and_then(|how| thinking(model, how));
        let budget = thinking.as_ref().and_then(|thinking| thinking["budget_tokens"].as_u64()).unwrap_or(0);
        let max_tokens = request.max_tokens.map_or(usual + budget, u64::from);
        let adaptive = thinking.as_ref().is_some_and(|thinking| thinking["type"] == "adaptive");
        let format = request.output.as_ref().and_then(|output| output::anthropic(&output.schema));
        let output_config = ObjectBuilder::default()
            .set_some("effort", request.reasoning.filter(|_| adaptive).map(effort))
            .set_some("format", format.map(|schema| json!({"type": "json_schema", "schema": schema})));
        let body = ObjectBuilder::default()
            .set("model", model)
            .set("max_tokens", max_tokens)
            .set_some("system", (!system.is_empty()).then(|| system.join("\n\n")))
            .set("messages", messages)
            .set_some("temperature", request.temperature)
            .set_some("top_p", request.top_p)
            .set_list("stop_sequences", request.stop.clone())
            .set_some("thinking", thinking)
            .set_some("output_config", (!output_config.is_empty()).then(|| output_config.json()))
            .set_list("tools", tools);
        Ok(body.set("stream", stream).json())
    }

    fn ends_with_finish(&self) -> bool {
        false
    }

    fn whole(&self, json: &Json, builder: &mut ReplyBuilder) -> Result<()> {
        read_message(json, builder);
        let blocks = json["content"].as_array().map(Vec::as_slice).unwrap_or_default();
        for (index, block) in blocks.iter().enumerate() {
            read_block(index as u64, block, builder);
        }
        read_stop(json, builder);
        Ok(())
    }

    fn piece(&self, json: &Json, builder: &mut ReplyBuilder) {
        let index = json["index"].as_u64().unwrap_or_default();
        match json["type"].as_str().unwrap_or_default() {
            "message_start" => {
                builder.begin(text(&json["message"]["id"]));
                read_message(&json["message"], builder);
                // `message_start` reports the output tokens so far; the total comes at the end.
                builder.tokens.output = None;
            }
            "content_block_start" => read_block(index, &json["content_block"], builder),
            "content_block_delta" => read_delta(index, &json["delta"], builder),
            "message_delta" => {
                read_usage(&json["usage"], builder);
                read_stop(&json["delta"], builder);
            }
            "message_stop" => builder.ended = true,
            _ => {}
        }
    }

    fn models(&self, json: &Json) -> Vec<ModelInfo> {
        named_models(&json["data"], "id")
            .map(|(model, name)| ModelInfo {
                name,
                context_window: count(&model["max_input_tokens"]),
                max_output: count(&model["max_tokens"]),
                ..ModelInfo::default()
            })
            .collect()
    }
}

/// Whether a text has no visible letter. The API rejects such texts, and messages without content.
fn is_blank(text: &str) -> bool {
    text.trim().is_empty()
}

/// Appends to the last message if it has the same role. The API requires the results of one turn's tools in one
/// message.
fn push(messages: &mut Vec<Json>, role: &str, blocks: Vec<Json>) {
    if blocks.is_empty() {
        return;
    }
    match messages.last_mut() {
        Some(last) if last["role"] == role => {
            if let Some(content) = last["content"].as_array_mut() {
                content.extend(blocks);
            }
        }
        _ => messages.push(json!({"role": role, "content": blocks})),
    }
}

fn write(parts: Vec<Part>, role: &str) -> Result<Vec<Json>> {
    let mut blocks = Vec::new();
    for part in parts {
        blocks.push(match part {
            Part::Text { text } if is_blank(&text) => continue,
            Part::Text { text } => json!({"type": "text", "text": text}),
            Part::Image { mime, data } if role == "user" => {
                json!({"type": "image", "source": {"type": "base64", "media_type": mime, "data": data}})
            }
            Part::ToolCall(call) if role == "assistant" => {
                json!({"type": "tool_use", "id": call.id, "name": call.name, "input": call.arguments})
            }
            Part::ToolResult { id, content, is_error } if role == "user" => {
                let result = ObjectBuilder::default().set("type", "tool_result").set("tool_use_id", id);
                let content = Some(content).filter(|content| !is_blank(content));
                result.set_some("content", content).set("is_error", is_error).json()
            }
            // The API rejects unsigned reasoning.
            Part::Reasoning { signature: None, .. } => continue,
            Part::Reasoning { text, signature: Some(signature), .. } if role == "assistant" => {
                match signature.strip_prefix(SEALED) {
                    Some(data) => json!({"type": "redacted_thinking", "data": data}),
                    None => json!({"type": "thinking", "thinking": text, "signature": signature}),
                }
            }
            other => return Err(misplaced(&other, role)),
        });
    }
    Ok(blocks)
}

/// Returns the reasoning settings. Models before 4.6 take a token budget, later ones an effort.
fn thinking(model: &str, how: Effort) -> Option<Json> {
    let budget = match how {
        Effort::None => return None,
        Effort::Low => 1_024,
        Effort::Medium => 8_000,
        Effort::High => 24_000,
    };
    Some(if claude_version(model).is_some_and(|version| version < (4, 6)) {
        json!({"type": "enabled", "budget_tokens": budget})
    } else {
        json!({"type": "adaptive", "display": "summarized"})
    })
}

fn read_message(message: &Json, builder: &mut ReplyBuilder) {
    builder.id = text(&message["id"]);
    builder.model = text(&message["model"]);
    read_usage(&message["usage"], builder);
}

/// Reads usage, which arrives in two events. Of a repeated count, the later one applies.
fn read_usage(usage: &Json, builder: &mut ReplyBuilder) {
    if !usage["input_tokens"].is_null() {
        let cached = count(&usage["cache_read_input_tokens"]);
        let written = count(&usage["cache_creation_input_tokens"]);
        let fresh = count(&usage["input_tokens"]);
        builder.tokens.input = fresh.map(|fresh| fresh + cached.unwrap_or(0) + written.unwrap_or(0));
        builder.tokens.cached = cached;
        builder.tokens.cache_write = written;
        builder.tokens.cache_write_hour = count(&usage["cache_creation"]["ephemeral_1h_input_tokens"]);
    }
    if !usage["output_tokens"].is_null() {
        builder.tokens.output = count(&usage["output_tokens"]);
    }
}

/// Reads a content block: the whole of it in a complete answer, or its start in a stream.
fn read_block(index: u64, block: &Json, builder: &mut ReplyBuilder) {
    match block["type"].as_str().unwrap_or_default() {
        "text" => builder.add_text(block["text"].as_str().unwrap_or_default()),
        "thinking" => {
            read_thought(index, block, builder);
        }
        "redacted_thinking" => {
            builder.thought(index).signature =
                format!("{SEALED}{}", block["data"].as_str().unwrap_or_default());
        }
        "tool_use" => {
            let call = builder.call(index);
            call.id = text(&block["id"]).unwrap_or_default();
            call.name = text(&block["name"]).unwrap_or_default();
            // In a stream the block starts with an empty object, and the arguments follow as text.
            if !block["input"].as_object().is_some_and(serde_json::Map::is_empty) {
                call.set_arguments(&block["input"]);
            }
        }
        _ => {}
    }
}

fn read_delta(index: u64, delta: &Json, builder: &mut ReplyBuilder) {
    match delta["type"].as_str().unwrap_or_default() {
        "text_delta" => builder.add_text(delta["text"].as_str().unwrap_or_default()),
        "thinking_delta" | "signature_delta" => read_thought(index, delta, builder),
        // Blocks that are not tool calls send such deltas too. They are ignored.
        "input_json_delta" => {
            if let Some(call) = builder.begun_call(index) {
                call.arguments.push_str(delta["partial_json"].as_str().unwrap_or_default());
            }
        }
        _ => {}
    }
}

fn read_thought(index: u64, json: &Json, builder: &mut ReplyBuilder) {
    let thought = json["thinking"].as_str().unwrap_or_default();
    builder.add_reasoning(thought);
    let kept = builder.thought(index);
    kept.text.push_str(thought);
    kept.signature.push_str(json["signature"].as_str().unwrap_or_default());
}

fn read_stop(json: &Json, builder: &mut ReplyBuilder) {
    let Some(reason) = json["stop_reason"].as_str() else { return };
    let details =
        [format!("stop reason `{reason}`"), text(&json["stop_details"]["explanation"]).unwrap_or_default()];
    builder.stopped(stop_cause(reason), details);
}
