//! Gemini's `generateContent` API.

use std::borrow::Cow;
use std::collections::HashMap;

use llmspell_core::Result;
use llmspell_core::chat::{ChatRequest, Effort, FinishReason, ModelInfo, Part, Role};
use llmspell_core::embed::EmbedRequest;
use serde_json::{Value as Json, json};

use super::history::{CallIds, History};
use super::{ObjectBuilder, Protocol, misplaced, named_models, output, parameters, text, vector};
use crate::config::ProviderConfig;
use crate::provider::StructuredOutput;
use crate::reply_builder::{ReplyBuilder, StopCause, count};

pub(super) struct Gemini;

impl Protocol for Gemini {
    fn implied_path(&self, given: &[&str]) -> Option<&'static str> {
        given.is_empty().then_some("v1beta")
    }

    fn path<'a>(&self, model: &'a str, stream: bool) -> Vec<Cow<'a, str>> {
        let method = if stream { "streamGenerateContent" } else { "generateContent" };
        vec!["models".into(), format!("{model}:{method}").into()]
    }

    fn query(&self, stream: bool) -> Option<&'static str> {
        stream.then_some("alt=sse")
    }

    fn models_path(&self) -> &'static [&'static str] {
        &["models"]
    }

    fn headers(&self, key: Option<&str>) -> Vec<(&'static str, String)> {
        // In a header and not in the URL, because URLs end up in logs.
        key.map(|key| ("x-goog-api-key", key.to_owned())).into_iter().collect()
    }

    fn takes_output(&self, request: &ChatRequest) -> StructuredOutput {
        // Most models accept tools or a schema, but not both.
        if request.tools.is_empty() { StructuredOutput::IfKnown } else { StructuredOutput::InWords }
    }

    fn body(&self, config: &ProviderConfig, request: &ChatRequest, _: bool) -> Result<Json> {
        let mut system: Vec<Cow<'_, str>> =
            request.system.as_deref().map(Cow::Borrowed).into_iter().collect();
        let mut contents = Vec::new();
        // In this API a result names the function of its call, not the id.
        let mut names: HashMap<String, String> = HashMap::new();
        let mut history = History::new(&config.name, CallIds::Any(usize::MAX));
        for message in &request.messages {
            let role = match message.role {
                Role::System => {
                    system.push(message.joined_text());
                    continue;
                }
                Role::User | Role::Tool => "user",
                Role::Assistant => "model",
            };
            let said = write(history.parts(message), role, &mut names)?;
            if !said.is_empty() {
                contents.push(json!({"role": role, "parts": said}));
            }
        }
        let tools: Vec<Json> = request
            .tools
            .iter()
            .map(|tool| json!({"name": tool.name, "description": tool.description, "parametersJsonSchema": parameters(&tool.parameters)}))
            .collect();
        let generation = ObjectBuilder::default()
            .set_some("temperature", request.temperature)
            .set_some("topP", request.top_p)
            .set_some("maxOutputTokens", request.max_tokens)
            .set_list("stopSequences", request.stop.clone())
            .set_some("seed", request.seed)
            .set_some("thinkingConfig", request.reasoning.map(thinking))
            .set_some("responseMimeType", request.output.as_ref().map(|_| "application/json"))
            .set_some("responseJsonSchema", request.output.as_ref().map(|spec| output::gemini(&spec.schema)));
        let system = (!system.is_empty()).then(|| json!({"parts": [{"text": system.join("\n\n")}]}));
        Ok(ObjectBuilder::default()
            .set_some("systemInstruction", system)
            .set("contents", contents)
            .set_some("generationConfig", (!generation.is_empty()).then(|| generation.json()))
            .set_some("tools", (!tools.is_empty()).then(|| json!([{"functionDeclarations": tools}])))
            .json())
    }

    fn ends_with_finish(&self) -> bool {
        true
    }

    fn whole(&self, json: &Json, builder: &mut ReplyBuilder) -> Result<()> {
        self.piece(json, builder);
        Ok(())
    }

    fn piece(&self, json: &Json, builder: &mut ReplyBuilder) {
        if let Some(id) = text(&json["responseId"]) {
            if builder.id.as_ref().is_some_and(|known| *known != id) {
                builder.is_spliced = true;
                return;
            }
            builder.id = Some(id);
        }
        if let Some(model) = text(&json["modelVersion"]) {
            builder.model = Some(model);
        }
        let usage = &json["usageMetadata"];
        if usage.is_object() {
            let thought = count(&usage["thoughtsTokenCount"]);
            builder.tokens.input = count(&usage["promptTokenCount"]);
            builder.tokens.output =
                count(&usage["candidatesTokenCount"]).map(|said| said + thought.unwrap_or(0));
            builder.tokens.cached = count(&usage["cachedContentTokenCount"]);
            builder.tokens.reasoning = thought;
        }
        let feedback = &json["promptFeedback"];
        if let Some(reason) = feedback["blockReason"].as_str() {
            let details = [
                format!("block reason `{reason}`"),
                text(&feedback["blockReasonMessage"]).unwrap_or_default(),
            ];
            builder.stopped(StopCause::Finished(FinishReason::ContentFilter), details);
        }
        let candidate = &json["candidates"][0];
        for part in candidate["content"]["parts"].as_array().into_iter().flatten() {
            read_part(part, builder);
        }
        if let Some(reason) = candidate["finishReason"].as_str() {
            let details =
                [format!("finish reason `{reason}`"), text(&candidate["finishMessage"]).unwrap_or_default()];
            builder.stopped(stop_cause(reason), details);
        }
    }

    fn embed<'a>(&self, request: &'a EmbedRequest) -> Option<(Vec<Cow<'a, str>>, Json)> {
        let model = request.model.as_deref().unwrap_or_default();
        let one = |text: &String| {
            let one = ObjectBuilder::default()
                .set("model", format!("models/{model}"))
                .set("content", json!({"parts": [{"text": text}]}));
            one.set_some("outputDimensionality", request.dimensions).json()
        };
        let requests: Vec<Json> = request.texts.iter().map(one).collect();
        let path = vec!["models".into(), format!("{model}:batchEmbedContents").into()];
        Some((path, json!({"requests": requests})))
    }

    fn most_texts(&self) -> usize {
        100
    }

    fn vectors(&self, json: &Json) -> (Vec<Vec<f64>>, Option<u64>) {
        let found = json["embeddings"].as_array().into_iter().flatten();
        (found.map(|one| vector(&one["values"])).collect(), count(&json["usageMetadata"]["promptTokenCount"]))
    }

    fn models(&self, json: &Json) -> Vec<ModelInfo> {
        named_models(&json["models"], "name")
            .filter(|(model, _)| {
                let methods = model["supportedGenerationMethods"].as_array();
                methods.is_none_or(|methods| methods.iter().any(|method| method == "generateContent"))
            })
            .map(|(model, name)| ModelInfo {
                name: name.strip_prefix("models/").unwrap_or(&name).to_owned(),
                context_window: count(&model["inputTokenLimit"]),
                max_output: count(&model["outputTokenLimit"]),
                ..ModelInfo::default()
            })
            .collect()
    }
}

fn write(parts: Vec<Part>, role: &str, names: &mut HashMap<String, String>) -> Result<Vec<Json>> {
    let mut said = Vec::new();
    // The signature of the next text.
    let mut signature: Option<String> = None;
    for part in parts {
        let written = ObjectBuilder::default();
        said.push(match part {
            Part::Text { text } => {
                written.set("text", text).set_some("thoughtSignature", signature.take()).json()
            }
            Part::Image { mime, data } => json!({"inlineData": {"mimeType": mime, "data": data}}),
            Part::ToolCall(call) if role == "model" => {
                let function = json!({"name": call.name, "args": call.arguments});
                names.insert(call.id, call.name);
                written.set("functionCall", function).set_some("thoughtSignature", call.signature).json()
            }
            Part::ToolResult { id, content, is_error } if role == "user" => {
                let outcome = if is_error { "error" } else { "result" };
                let name = names.get(&id).cloned().unwrap_or(id);
                json!({"functionResponse": {"name": name, "response": {outcome: content}}})
            }
            Part::Reasoning { text, signature: Some(signed), .. } if !text.is_empty() => {
                json!({"text": text, "thought": true, "thoughtSignature": signed})
            }
            Part::Reasoning { signature: signed, .. } => {
                let Some(earlier) = std::mem::replace(&mut signature, signed) else { continue };
                json!({"text": "", "thoughtSignature": earlier})
            }
            other => return Err(misplaced(&other, role)),
        });
    }
    // The answer had no text.
    said.extend(signature.map(|signature| json!({"text": "", "thoughtSignature": signature})));
    Ok(said)
}

fn thinking(how: Effort) -> Json {
    let budget = match how {
        Effort::None => 0,
        Effort::Low => 1_024,
        Effort::Medium => 8_192,
        Effort::High => 24_576,
    };
    json!({"thinkingBudget": budget, "includeThoughts": budget > 0})
}

fn read_part(part: &Json, builder: &mut ReplyBuilder) {
    let function = &part["functionCall"];
    if function.is_object() {
        let index = builder.next_call();
        let call = builder.call(index);
        call.id = text(&function["id"]).unwrap_or_default();
        call.name = text(&function["name"]).unwrap_or_default();
        call.set_arguments(&function["args"]);
        call.signature = text(&part["thoughtSignature"]);
    } else if let Some(said) = part["text"].as_str() {
        let is_thought = part["thought"] == true;
        if is_thought {
            builder.add_reasoning(said);
        } else {
            builder.add_text(said);
        }
        // The signature of a text is kept without the text, which the answer has.
        if let Some(signature) = text(&part["thoughtSignature"]) {
            let kept = builder.next_thought();
            kept.signature = signature;
            if is_thought {
                said.clone_into(&mut kept.text);
            }
        }
    }
}

fn stop_cause(reason: &str) -> StopCause {
    let finished = match reason {
        "STOP" => FinishReason::Stop,
        "MAX_TOKENS" => FinishReason::Length,
        "SAFETY" | "RECITATION" | "LANGUAGE" | "BLOCKLIST" | "PROHIBITED_CONTENT" | "SPII" => {
            FinishReason::ContentFilter
        }
        reason if reason.starts_with("IMAGE_") => FinishReason::ContentFilter,
        "MALFORMED_FUNCTION_CALL"
        | "MALFORMED_RESPONSE"
        | "UNEXPECTED_TOOL_CALL"
        | "TOO_MANY_TOOL_CALLS"
        | "MISSING_THOUGHT_SIGNATURE" => return StopCause::Malformed,
        _ => FinishReason::Other,
    };
    StopCause::Finished(finished)
}
