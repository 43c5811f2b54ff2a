//! OpenAI's Chat Completions API, as OpenAI and the many compatible servers implement it.

use std::borrow::Cow;

use llmspell_core::Result;
use llmspell_core::chat::{
    ChatRequest, Effort, FinishReason, Message, ModelInfo, OutputSpec, Part, Role, ToolCall,
};
use llmspell_core::embed::EmbedRequest;
use serde_json::{Value as Json, json};

use super::history::{CallIds, History};
use super::{ObjectBuilder, Protocol, empty, function_tool, misplaced, named_models, output, text, vector};
use crate::config::ProviderConfig;
use crate::model_rules;
use crate::provider::StructuredOutput;
use crate::refused::Parameter;
use crate::reply_builder::{CallPiece, ReplyBuilder, StopCause, ToolCallBuilder, arguments_text, count};

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
        let mut history = History::new(&config.name, call_ids(config, request));
        for message in &request.messages {
            write_message(message, &mut history, &mut messages)?;
        }
        let tools: Vec<Json> = request.tools.iter().map(function_tool).collect();
        let body = ObjectBuilder::default()
            .set_some("model", request.model.as_deref())
            .set("messages", messages)
            .set_some("temperature", request.temperature)
            .set_some("top_p", request.top_p)
            .set_some(model_rules::max_tokens_name(config, request), request.max_tokens)
            .set_list("stop", request.stop.clone())
            .set_some("seed", request.seed)
            .set_some("reasoning_effort", request.reasoning.map(effort))
            .set_list("tools", tools)
            .set_some("response_format", request.output.as_ref().map(response_format));
        // Some servers stream unless they are told not to.
        let body = body.set("stream", stream);
        let has_options = stream && !model_rules::is_refused(config, request, Parameter::StreamOptions);
        let options = has_options.then(|| json!({"include_usage": true}));
        Ok(body.set_some("stream_options", options).json())
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
        let message = &choice["message"];
        read_content(message, builder);
        for written in message["tool_calls"].as_array().into_iter().flatten() {
            let index = builder.next_call();
            let call = builder.call(index);
            call.id = text(&written["id"]).unwrap_or_default();
            call.name = text(&written["function"]["name"]).unwrap_or_default();
            call.set_arguments(&written["function"]["arguments"]);
            keep_extra(written, call);
        }
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
            let delta = &choice["delta"];
            read_content(delta, builder);
            for (at, written) in delta["tool_calls"].as_array().into_iter().flatten().enumerate() {
                let call = builder.add_call_piece(&CallPiece {
                    index: written["index"].as_u64().unwrap_or(at as u64),
                    id: written["id"].as_str().unwrap_or_default(),
                    name: written["function"]["name"].as_str().unwrap_or_default(),
                    arguments: arguments_text(&written["function"]["arguments"]),
                });
                keep_extra(written, call);
            }
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

/// Returns which ids of tool calls the server accepts. Mistral's models and its API demand a form of their own; OpenAI
/// limits the length.
fn call_ids(config: &ProviderConfig, request: &ChatRequest) -> CallIds {
    // Such as Mistral, Codestral and Mixtral, which other servers serve too.
    const FAMILIES: [&str; 2] = ["stral", "xtral"];
    let model = request.model.as_deref().unwrap_or_default();
    let host = config.base_url.host_str().unwrap_or_default();
    let is_mistral = config.name == "mistral" || host == "mistral.ai" || host.ends_with(".mistral.ai");
    if is_mistral || FAMILIES.iter().any(|family| model.contains(family)) {
        CallIds::Nine
    } else {
        CallIds::Any(40)
    }
}

fn write_message(message: &Message, history: &mut History<'_>, messages: &mut Vec<Json>) -> Result<()> {
    let parts = history.parts(message);
    match message.role {
        Role::System => messages.push(json!({"role": "system", "content": message.joined_text()})),
        Role::User | Role::Tool => write_user(message, parts, messages)?,
        Role::Assistant => {
            let mut written =
                ObjectBuilder::default().set("role", "assistant").set("content", message.joined_text());
            let mut calls = Vec::new();
            for part in parts {
                match part {
                    Part::Text { .. } => {}
                    Part::Reasoning { text, signature, .. } => {
                        written = write_reasoning(written, text, &signature.unwrap_or_default());
                    }
                    Part::ToolCall(call) => calls.push(write_call(call)),
                    other => return Err(misplaced(&other, "assistant")),
                }
            }
            // Some servers reject an empty message.
            if !calls.is_empty() || !message.joined_text().is_empty() {
                messages.push(written.set_list("tool_calls", calls).json());
            }
        }
    }
    Ok(())
}

/// The fields in which servers send reasoning as text.
const REASONING_FIELDS: [&str; 2] = ["reasoning_content", "reasoning"];

/// Writes reasoning in the field in which the server sent it. The signature is the name of the field, or the list of
/// OpenRouter's `reasoning_details`. Of reasoning from elsewhere nothing is known, so it is not sent.
fn write_reasoning(message: ObjectBuilder, text: String, signature: &str) -> ObjectBuilder {
    if let Some(field) = REASONING_FIELDS.into_iter().find(|field| *field == signature) {
        return message.set(field, text);
    }
    let details: Option<Json> = serde_json::from_str(signature).ok().filter(Json::is_array);
    message.set_some("reasoning_details", details)
}

/// Reads reasoning, and keeps it for the next request as far as the server wants it back: text within a loop of tool
/// calls, as DeepSeek and Moonshot demand, and OpenRouter's details always.
fn read_reasoning(message: &Json, builder: &mut ReplyBuilder) {
    let text = |field: &'static str| Some((field, message[field].as_str().filter(|text| !text.is_empty())?));
    let text = REASONING_FIELDS.into_iter().find_map(text);
    if let Some((_, text)) = text {
        builder.add_reasoning(text);
    }
    match (message["reasoning_details"].as_array().filter(|details| !details.is_empty()), text) {
        (Some(details), _) => {
            let kept = &mut builder.thought(0).details;
            details.iter().for_each(|detail| add_detail(kept, detail));
        }
        (None, Some((field, text))) => {
            let kept = builder.thought(1);
            field.clone_into(&mut kept.signature);
            kept.text.push_str(text);
            kept.only_with_calls = true;
        }
        (None, None) => {}
    }
}

/// Adds a detail, or the next piece of the last one: a stream sends the text of a detail in pieces.
fn add_detail(details: &mut Vec<Json>, more: &Json) {
    const TEXTS: [&str; 2] = ["text", "summary"];
    let same = |last: &Json| {
        ["type", "index"].iter().all(|field| last[*field] == more[*field])
            && TEXTS.iter().any(|field| more[*field].is_string())
    };
    let Some(last) = details.last_mut().filter(|last| same(last)) else {
        details.push(more.clone());
        return;
    };
    for (field, value) in more.as_object().into_iter().flatten() {
        match (last[field].as_str(), value.as_str()) {
            (Some(text), Some(more)) if TEXTS.contains(&field.as_str()) => {
                last[field] = format!("{text}{more}").into();
            }
            _ if value.is_null() => {}
            _ => last[field] = value.clone(),
        }
    }
}

fn write_call(call: ToolCall) -> Json {
    let extra: Option<Json> = call.signature.and_then(|extra| serde_json::from_str(&extra).ok());
    ObjectBuilder::default()
        .set("type", "function")
        .set("id", call.id)
        .set("function", json!({"name": call.name, "arguments": call.arguments.to_string()}))
        .set_some("extra_content", extra)
        .json()
}

/// Keeps a field of a call that Gemini's compatible endpoint wants back: the signature of the reasoning behind it.
fn keep_extra(written: &Json, call: &mut ToolCallBuilder) {
    if written["extra_content"].is_object() {
        call.signature = Some(written["extra_content"].to_string());
    }
}

/// Writes a user's message. Tool results become separate messages, as the API requires.
fn write_user(message: &Message, parts: Vec<Part>, messages: &mut Vec<Json>) -> Result<()> {
    let mut said = Vec::new();
    for part in parts {
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
        builder.tokens.cache_write = count(&usage["prompt_tokens_details"]["cache_write_tokens"]);
        builder.tokens.reasoning = count(&usage["completion_tokens_details"]["reasoning_tokens"]);
    }
}

/// Reads a complete message or a delta, which have the same fields.
fn read_content(message: &Json, builder: &mut ReplyBuilder) {
    read_reasoning(message, builder);
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
