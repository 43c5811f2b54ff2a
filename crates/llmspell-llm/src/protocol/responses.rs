//! OpenAI's Responses API.

use std::borrow::Cow;

use llmspell_core::chat::{ChatRequest, FinishReason, Message, ModelInfo, OutputSpec, Part, Role};
use llmspell_core::embed::EmbedRequest;
use llmspell_core::{Error, ErrorKind, Result};
use serde_json::{Value as Json, json};

use super::history::{CallIds, History};
use super::openai::{OpenAiChat, bearer, effort};
use super::{ObjectBuilder, Protocol, misplaced, output, parameters, text};
use crate::config::ProviderConfig;
use crate::model_rules;
use crate::provider::StructuredOutput;
use crate::reply_builder::{ReplyBuilder, StopCause, count};

pub(super) struct OpenAiResponses;

impl Protocol for OpenAiResponses {
    fn implied_path(&self, given: &[&str]) -> Option<&'static str> {
        given.is_empty().then_some("v1")
    }

    fn path<'a>(&self, _: &'a str, _: bool) -> Vec<Cow<'a, str>> {
        vec!["responses".into()]
    }

    fn models_path(&self) -> &'static [&'static str] {
        OpenAiChat.models_path()
    }

    fn headers(&self, key: Option<&str>) -> Vec<(&'static str, String)> {
        bearer(key)
    }

    fn takes_output(&self, request: &ChatRequest) -> StructuredOutput {
        output::takes_objects(request)
    }

    fn body(&self, config: &ProviderConfig, request: &ChatRequest, stream: bool) -> Result<Json> {
        if !request.stop.is_empty() {
            return Err(Error::new(ErrorKind::Unsupported, "the Responses API knows no `stop` texts")
                .hint("leave `stop` out, or ask a model that is not asked through this API"));
        }
        let mut input = Vec::new();
        let mut history = History::new(&config.name, CallIds::Any(64));
        for message in &request.messages {
            write_message(message, &mut history, &mut input)?;
        }
        let tools: Vec<Json> = request
            .tools
            .iter()
            .map(|tool| {
                json!({
                    "type": "function",
                    "name": tool.name,
                    "description": tool.description,
                    "parameters": parameters(&tool.parameters),
                    "strict": false,
                })
            })
            .collect();
        let body = ObjectBuilder::default()
            .set_some("model", request.model.as_deref())
            .set_some("instructions", request.system.as_deref())
            .set("input", input)
            .set("store", false)
            .set_list(
                "include",
                if model_rules::reasons(config, request) { vec![SEALED] } else { Vec::new() },
            )
            .set_some("temperature", request.temperature)
            .set_some("top_p", request.top_p)
            .set_some("max_output_tokens", request.max_tokens)
            .set_some("reasoning", request.reasoning.map(|how| json!({"effort": effort(how)})))
            .set_list("tools", tools)
            .set_some("text", request.output.as_ref().map(text_format));
        Ok(body.set("stream", stream).json())
    }

    fn ends_with_finish(&self) -> bool {
        false
    }

    fn whole(&self, json: &Json, builder: &mut ReplyBuilder) -> Result<()> {
        let output = json["output"].as_array().map(Vec::as_slice).unwrap_or_default();
        for (index, item) in output.iter().enumerate() {
            read_item(index as u64, item, builder);
        }
        read_end(json, builder);
        Ok(())
    }

    fn piece(&self, json: &Json, builder: &mut ReplyBuilder) {
        let index = json["output_index"].as_u64().unwrap_or_default();
        let delta = json["delta"].as_str().unwrap_or_default();
        match json["type"].as_str().unwrap_or_default() {
            "response.created" => {
                builder.begin(text(&json["response"]["id"]));
            }
            "response.output_text.delta" => builder.add_text(delta),
            "response.refusal.delta" => {
                builder.add_text(delta);
                builder.finished(FinishReason::Refusal);
            }
            "response.reasoning_summary_text.delta" | "response.reasoning_text.delta" => {
                builder.add_reasoning(delta)
            }
            "response.output_item.added" if json["item"]["type"] == "function_call" => {
                let call = builder.call(index);
                call.id = text(&json["item"]["call_id"]).unwrap_or_default();
                call.name = text(&json["item"]["name"]).unwrap_or_default();
            }
            "response.function_call_arguments.delta" => builder.call(index).arguments.push_str(delta),
            // The item is complete here; it replaces the deltas, one of which may be missing.
            "response.output_item.done" if json["item"]["type"] == "function_call" => {
                read_item(index, &json["item"], builder);
            }
            // Its text has arrived in deltas.
            "response.output_item.done" if json["item"]["type"] == "reasoning" => {
                keep_thought(index, &json["item"], builder);
            }
            "response.completed" | "response.incomplete" | "response.failed" => {
                builder.ended = true;
                read_end(&json["response"], builder);
            }
            _ => {}
        }
    }

    fn embed<'a>(&self, request: &'a EmbedRequest) -> Option<(Vec<Cow<'a, str>>, Json)> {
        OpenAiChat.embed(request)
    }

    fn vectors(&self, json: &Json) -> (Vec<Vec<f64>>, Option<u64>) {
        OpenAiChat.vectors(json)
    }

    fn models(&self, json: &Json) -> Vec<ModelInfo> {
        OpenAiChat.models(json)
    }
}

fn text_format(output: &OutputSpec) -> Json {
    let (schema, strict) = output::openai(&output.schema);
    json!({"format": {"type": "json_schema", "name": output::NAME, "schema": schema, "strict": strict}})
}

/// The field with encrypted reasoning. We request it because responses are not stored at the provider (`store: false`).
const SEALED: &str = "reasoning.encrypted_content";

/// Writes a message as a sequence of items.
fn write_message(message: &Message, history: &mut History<'_>, input: &mut Vec<Json>) -> Result<()> {
    let role = match message.role {
        Role::System => "system",
        Role::User | Role::Tool => "user",
        Role::Assistant => "assistant",
    };
    let mut said = Vec::new();
    for part in history.parts(message) {
        let item = match part {
            Part::Text { text } => {
                let kind = if role == "assistant" { "output_text" } else { "input_text" };
                said.push(json!({"type": kind, "text": text}));
                continue;
            }
            Part::Image { mime, data } if role != "assistant" => {
                said.push(json!({"type": "input_image", "image_url": format!("data:{mime};base64,{data}")}));
                continue;
            }
            Part::ToolCall(call) if role == "assistant" => json!({
                "type": "function_call",
                "call_id": call.id,
                "name": call.name,
                "arguments": call.arguments.to_string(),
            }),
            Part::ToolResult { id, content, .. } if role == "user" => {
                json!({"type": "function_call_output", "call_id": id, "output": content})
            }
            // The API does not accept reasoning without its encrypted content.
            Part::Reasoning { signature, .. } if role == "assistant" => {
                let Some((id, sealed)) = signature.as_deref().and_then(|sealed| sealed.split_once(' '))
                else {
                    continue;
                };
                json!({"type": "reasoning", "id": id, "summary": [], "encrypted_content": sealed})
            }
            other => return Err(misplaced(&other, role)),
        };
        write_said(role, &mut said, input);
        input.push(item);
    }
    write_said(role, &mut said, input);
    Ok(())
}

fn write_said(role: &str, said: &mut Vec<Json>, input: &mut Vec<Json>) {
    if !said.is_empty() {
        input.push(json!({"type": "message", "role": role, "content": std::mem::take(said)}));
    }
}

/// Stores reasoning for the next request. The signature is the item's id and the encrypted content, separated by a
/// space.
fn keep_thought(index: u64, item: &Json, builder: &mut ReplyBuilder) {
    if let (Some(id), Some(sealed)) = (text(&item["id"]), text(&item["encrypted_content"])) {
        builder.thought(index).signature = format!("{id} {sealed}");
    }
}

fn read_item(index: u64, item: &Json, builder: &mut ReplyBuilder) {
    match item["type"].as_str().unwrap_or_default() {
        "message" => {
            for part in item["content"].as_array().into_iter().flatten() {
                if let Some(refusal) = part["refusal"].as_str() {
                    builder.add_text(refusal);
                    builder.finished(FinishReason::Refusal);
                } else {
                    builder.add_text(part["text"].as_str().unwrap_or_default());
                }
            }
        }
        "reasoning" => {
            let summary = item["summary"].as_array().into_iter().flatten();
            for part in summary.chain(item["content"].as_array().into_iter().flatten()) {
                builder.add_reasoning(part["text"].as_str().unwrap_or_default());
            }
            keep_thought(index, item, builder);
        }
        "function_call" => {
            let call = builder.call(index);
            call.id = text(&item["call_id"]).unwrap_or_default();
            call.name = text(&item["name"]).unwrap_or_default();
            call.set_arguments(&item["arguments"]);
        }
        _ => {}
    }
}

/// Reads the id, model, usage and status of a finished response.
fn read_end(response: &Json, builder: &mut ReplyBuilder) {
    builder.id = text(&response["id"]);
    builder.model = text(&response["model"]);
    let usage = &response["usage"];
    builder.tokens.input = count(&usage["input_tokens"]);
    builder.tokens.output = count(&usage["output_tokens"]);
    builder.tokens.cached = count(&usage["input_tokens_details"]["cached_tokens"]);
    builder.tokens.cache_write = count(&usage["input_tokens_details"]["cache_write_tokens"]);
    builder.tokens.reasoning = count(&usage["output_tokens_details"]["reasoning_tokens"]);
    if builder.stop.is_some() {
        return;
    }
    let status = response["status"].as_str().unwrap_or("completed");
    let reason = response["incomplete_details"]["reason"].as_str().unwrap_or_default();
    let cause = match (status, reason) {
        ("completed", _) => StopCause::Finished(FinishReason::Stop),
        ("failed", _) => {
            builder.failed = Some(response.clone());
            StopCause::ProviderFailed
        }
        ("incomplete", "max_output_tokens") => StopCause::Finished(FinishReason::Length),
        ("incomplete", "content_filter") => StopCause::Finished(FinishReason::ContentFilter),
        _ => StopCause::ProviderFailed,
    };
    let details = [("status", status), ("reason", reason)].into_iter().filter(|(_, said)| !said.is_empty());
    builder.stopped(cause, details.map(|(name, said)| format!("{name} `{said}`")));
}
