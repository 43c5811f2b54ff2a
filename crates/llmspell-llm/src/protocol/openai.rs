//! OpenAI's Chat Completions API, as OpenAI and the many compatible servers implement it.

use std::borrow::Cow;

use llmspell_core::Result;
use llmspell_core::chat::{ChatRequest, Effort, FinishReason, Message, ModelInfo, OutputSpec, Part, Role};
use llmspell_core::embed::EmbedRequest;
use serde_json::{Value as Json, json};

use super::{
    ObjectBuilder, Protocol, arguments_text, empty, misplaced, named_models, output, parameters, parts, text,
    vector,
};
use crate::config::ProviderConfig;
use crate::provider::StructuredOutput;
use crate::reply_builder::{ReplyBuilder, StopCause, count};

pub(super) struct OpenAiChat;

impl Protocol for OpenAiChat {
    fn implied_path(&self, given: &[&str]) -> Option<&'static str> {
        given.is_empty().then_some("v1")
    }

    fn path<'a>(&self, _: &'a str, _: bool) -> Vec<Cow<'a, str>> {
        vec!["chat".into(), "completions".into()]
    }

    fn models_path(&self) -> &'static [&'static str] {
        &["models"]
    }

    fn headers(&self, key: Option<&str>) -> Vec<(&'static str, String)> {
        bearer(key)
    }

    fn takes_output(&self, request: &ChatRequest) -> StructuredOutput {
        output::takes_objects(request)
    }

    fn body(&self, config: &ProviderConfig, request: &ChatRequest, stream: bool) -> Result<Json> {
        let mut messages = Vec::with_capacity(request.messages.len() + 1);
        messages.extend(request.system.as_ref().map(|text| json!({"role": "system", "content": text})));
        for message in &request.messages {
            write_message(message, &mut messages)?;
        }
        let tools: Vec<Json> = request
            .tools
            .iter()
            .map(|tool| {
                let function = json!({"name": tool.name, "description": tool.description, "parameters": parameters(&tool.parameters)});
                json!({"type": "function", "function": function})
            })
            .collect();
        // OpenAI's reasoning models reject `max_tokens`, and most compatible servers do not know
        // `max_completion_tokens`.
        let max_tokens = if config.is_openai() { "max_completion_tokens" } else { "max_tokens" };
        let body = ObjectBuilder::default()
            .set_some("model", request.model.as_deref())
            .set("messages", messages)
            .set_some("temperature", request.temperature)
            .set_some("top_p", request.top_p)
            .set_some(max_tokens, request.max_tokens)
            .set_list("stop", request.stop.clone())
            .set_some("seed", request.seed)
            .set_some("reasoning_effort", request.reasoning.map(effort))
            .set_list("tools", tools)
            .set_some("response_format", request.output.as_ref().map(response_format));
        let body = if stream {
            body.set("stream", true).set("stream_options", json!({"include_usage": true}))
        } else {
            body
        };
        Ok(body.json())
    }

    fn ends_with_finish(&self) -> bool {
        true
    }

    fn whole(&self, json: &Json, builder: &mut ReplyBuilder) -> Result<()> {
        read_frame(json, builder);
        let choice = &json["choices"][0];
        if choice.is_null() {
            return Err(empty("no choices"));
        }
        read_content(&choice["message"], builder);
        read_finish(choice, builder);
        Ok(())
    }

    fn piece(&self, json: &Json, builder: &mut ReplyBuilder) {
        let choice = &json["choices"][0];
        if begins_another(json, builder) {
            builder.is_spliced = true;
            return;
        }
        read_frame(json, builder);
        if !choice.is_null() {
            read_content(&choice["delta"], builder);
            read_finish(choice, builder);
        }
    }

    fn embed<'a>(&self, request: &'a EmbedRequest) -> Option<(Vec<Cow<'a, str>>, Json)> {
        let body = ObjectBuilder::default()
            .set_some("model", request.model.as_deref())
            .set("input", request.texts.clone())
            .set("encoding_format", "float")
            .set_some("dimensions", request.dimensions);
        Some((vec!["embeddings".into()], body.json()))
    }

    fn vectors(&self, json: &Json) -> (Vec<Vec<f64>>, Option<u64>) {
        let mut found: Vec<&Json> = json["data"].as_array().into_iter().flatten().collect();
        found.sort_by_key(|one| one["index"].as_u64());
        let vectors = found.iter().map(|one| vector(&one["embedding"])).collect();
        (vectors, count(&json["usage"]["prompt_tokens"]))
    }

    fn models(&self, json: &Json) -> Vec<ModelInfo> {
        // OpenAI returns an object with the list, some other servers the bare list.
        let list = if json.is_array() { json } else { &json["data"] };
        named_models(list, "id")
            .map(|(model, name)| {
                let window =
                    [&model["context_length"], &model["context_window"], &model["max_context_length"]];
                let context_window =
                    window.into_iter().find_map(count).or_else(|| count(&model["meta"]["n_ctx"]));
                ModelInfo { name, context_window, ..ModelInfo::default() }
            })
            .collect()
    }
}

/// Returns the key as a bearer token.
pub(super) fn bearer(key: Option<&str>) -> Vec<(&'static str, String)> {
    key.map(|key| ("authorization", format!("Bearer {key}"))).into_iter().collect()
}

fn response_format(output: &OutputSpec) -> Json {
    let (schema, strict) = output::openai(&output.schema);
    json!({"type": "json_schema", "json_schema": {"name": output::NAME, "schema": schema, "strict": strict}})
}

pub(super) fn effort(effort: Effort) -> &'static str {
    match effort {
        Effort::None => "none",
        Effort::Low => "low",
        Effort::Medium => "medium",
        Effort::High => "high",
    }
}

fn write_message(message: &Message, messages: &mut Vec<Json>) -> Result<()> {
    match message.role {
        Role::System => messages.push(json!({"role": "system", "content": message.joined_text()})),
        Role::User | Role::Tool => write_user(message, messages)?,
        Role::Assistant => {
            let mut calls = Vec::new();
            for part in parts(&message.content) {
                match part {
                    // This API returns reasoning but does not accept it.
                    Part::Text { .. } | Part::Reasoning { .. } => {}
                    Part::ToolCall(call) => calls.push(json!({
                        "type": "function",
                        "id": call.id,
                        "function": {"name": call.name, "arguments": arguments_text(&call.arguments)},
                    })),
                    other => return Err(misplaced(&other, "assistant")),
                }
            }
            let written = ObjectBuilder::default()
                .set("role", "assistant")
                .set("content", message.joined_text())
                .set_list("tool_calls", calls);
            messages.push(written.json());
        }
    }
    Ok(())
}

/// Writes a user's message. Tool results become separate messages, as the API requires.
fn write_user(message: &Message, messages: &mut Vec<Json>) -> Result<()> {
    let mut said = Vec::new();
    for part in parts(&message.content) {
        match part {
            Part::Text { text } => said.push(json!({"type": "text", "text": text})),
            Part::Image { mime, data } => {
                said.push(
                    json!({"type": "image_url", "image_url": {"url": format!("data:{mime};base64,{data}")}}),
                );
            }
            Part::ToolResult { id, content, .. } => {
                messages.push(json!({"role": "tool", "tool_call_id": id, "content": content}));
            }
            other => return Err(misplaced(&other, "user")),
        }
    }
    let plain = said.iter().all(|part| part["type"] == "text");
    match (said.len(), plain) {
        (0, _) => {}
        // Plain text is sent as a string, since not every server accepts a list.
        (_, true) => messages.push(json!({"role": "user", "content": message.joined_text()})),
        _ => messages.push(json!({"role": "user", "content": said})),
    }
    Ok(())
}

fn read_frame(json: &Json, builder: &mut ReplyBuilder) {
    if let Some(id) = text(&json["id"]) {
        builder.id.get_or_insert(id);
    }
    if let Some(model) = text(&json["model"]) {
        builder.model.get_or_insert(model);
    }
    let usage = if json["usage"].is_object() { &json["usage"] } else { &json["x_groq"]["usage"] };
    if usage.is_object() {
        builder.tokens.input = count(&usage["prompt_tokens"]);
        builder.tokens.output = count(&usage["completion_tokens"]);
        builder.tokens.cached = count(&usage["prompt_tokens_details"]["cached_tokens"])
            .or_else(|| count(&usage["prompt_cache_hit_tokens"]));
        builder.tokens.reasoning = count(&usage["completion_tokens_details"]["reasoning_tokens"]);
    }
}

/// Reads a complete message or a delta, which have the same fields.
fn read_content(message: &Json, builder: &mut ReplyBuilder) {
    for field in ["reasoning_content", "reasoning"] {
        if let Some(thought) = message[field].as_str() {
            builder.add_reasoning(thought);
            break;
        }
    }
    match &message["content"] {
        Json::String(text) => builder.add_text(text),
        // Mistral's format for reasoning and text.
        Json::Array(chunks) => {
            for chunk in chunks {
                for thought in chunk["thinking"].as_array().into_iter().flatten() {
                    builder.add_reasoning(thought["text"].as_str().unwrap_or_default());
                }
                builder.add_text(chunk["text"].as_str().unwrap_or_default());
            }
        }
        _ => {}
    }
    if let Some(refusal) = message["refusal"].as_str() {
        builder.add_text(refusal);
        builder.finished(FinishReason::Refusal);
    }
    for (at, call) in message["tool_calls"].as_array().into_iter().flatten().enumerate() {
        let begun = builder.call_with_id(call["index"].as_u64().unwrap_or(at as u64), call["id"].as_str());
        // Id and name are sent once. A repetition must not be appended.
        if begun.id.is_empty() {
            begun.id = text(&call["id"]).unwrap_or_default();
        }
        if begun.name.is_empty() {
            begun.name = text(&call["function"]["name"]).unwrap_or_default();
        }
        match &call["function"]["arguments"] {
            Json::String(more) => begun.arguments.push_str(more),
            Json::Object(whole) => begun.arguments = Json::Object(whole.clone()).to_string(),
            _ => {}
        }
    }
}

/// Whether a chunk begins another answer: it announces the role again, under another id. Some servers give each chunk
/// an id of its own; then no id is repeated.
fn begins_another(json: &Json, builder: &mut ReplyBuilder) -> bool {
    let Some(id) = json["id"].as_str() else { return false };
    let is_known = builder.id.as_deref() == Some(id);
    builder.repeats_id |= is_known;
    let begins = json["choices"][0]["delta"]["role"] == "assistant";
    builder.repeats_id && !is_known && begins && builder.stop.is_none()
}

fn read_finish(choice: &Json, builder: &mut ReplyBuilder) {
    if choice["error"].is_object() {
        builder.failed = Some(choice.clone());
    }
    let Some(reason) = choice["finish_reason"].as_str() else { return };
    if builder.stop == Some(StopCause::Finished(FinishReason::Refusal)) {
        return;
    }
    let cause = stop_cause(reason);
    // Routers report the reason of the provider behind them too.
    let native = [&choice["native_finish_reason"], &choice["message"]["native_finish_reason"]];
    let native = native.into_iter().find_map(Json::as_str).unwrap_or_default();
    let malformed = cause == StopCause::ProviderFailed && stop_cause(native) == StopCause::Malformed;
    let details = [reason, native].map(|reason| format!("finish reason `{reason}`"));
    let told = if native.is_empty() || native == reason { &details[..1] } else { &details[..] };
    builder.stopped(if malformed { StopCause::Malformed } else { cause }, told.iter().cloned());
}

/// Reads a finish reason, as OpenAI and the compatible servers write it.
pub(super) fn stop_cause(reason: &str) -> StopCause {
    let finished = match reason.to_ascii_lowercase().as_str() {
        "stop" | "eos" | "end_turn" | "stop_sequence" => FinishReason::Stop,
        "length" | "max_tokens" | "model_length" | "model_context_window_exceeded" => FinishReason::Length,
        "tool_calls" | "function_call" | "tool_use" => FinishReason::ToolCalls,
        "refusal" => FinishReason::Refusal,
        "content_filter" | "content_filtered" | "guardrail_intervened" | "safety" | "sensitive" => {
            FinishReason::ContentFilter
        }
        "error"
        | "failed"
        | "abort"
        | "aborted"
        | "cancelled"
        | "timeout"
        | "network_error"
        | "insufficient_system_resource" => return StopCause::ProviderFailed,
        "malformed_function_call" | "unexpected_tool_call" => return StopCause::Malformed,
        _ => FinishReason::Other,
    };
    StopCause::Finished(finished)
}
