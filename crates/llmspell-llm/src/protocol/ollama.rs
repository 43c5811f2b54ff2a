//! Ollama's native API.

use std::borrow::Cow;
use std::collections::HashMap;

use llmspell_core::Result;
use llmspell_core::chat::{ChatRequest, Effort, Message, ModelInfo, Part, Role};
use llmspell_core::embed::EmbedRequest;
use serde_json::{Value as Json, json};

use super::history::{CallIds, History};
use super::openai::{bearer, stop_cause};
use super::{ObjectBuilder, Protocol, function_tool, misplaced, named_models, output, text, vector};
use crate::config::ProviderConfig;
use crate::event_decoder::StreamFormat;
use crate::provider::StructuredOutput;
use crate::reply_builder::{ReplyBuilder, count};

pub(super) struct OllamaChat;

impl Protocol for OllamaChat {
    fn implied_path(&self, _: &[&str]) -> Option<&'static str> {
        None
    }

    fn path<'a>(&self, _: &'a str, _: bool) -> Vec<Cow<'a, str>> {
        vec!["api".into(), "chat".into()]
    }

    fn models_path(&self) -> &'static [&'static str] {
        &["api", "tags"]
    }

    fn headers(&self, key: Option<&str>) -> Vec<(&'static str, String)> {
        bearer(key)
    }

    /// The server constrains decoding to the schema for every model, but does not show the schema to the model.
    fn takes_output(&self, _: &ChatRequest) -> StructuredOutput {
        StructuredOutput::Unseen
    }

    /// The context length, `options.num_ctx`, is added by `ollama.rs`, which knows the model.
    fn body(&self, config: &ProviderConfig, request: &ChatRequest, stream: bool) -> Result<Json> {
        let mut messages = Vec::new();
        messages.extend(request.system.as_ref().map(|text| json!({"role": "system", "content": text})));
        let mut names: HashMap<String, String> = HashMap::new();
        let mut history = History::new(&config.name, CallIds::Any(usize::MAX));
        for message in &request.messages {
            write(message, history.parts(message), &mut names, &mut messages)?;
        }
        let tools: Vec<Json> = request.tools.iter().map(function_tool).collect();
        let options = ObjectBuilder::default()
            .set_some("temperature", request.temperature)
            .set_some("top_p", request.top_p)
            .set_some("num_predict", request.max_tokens)
            .set_list("stop", request.stop.clone())
            .set_some("seed", request.seed);
        Ok(ObjectBuilder::default()
            .set_some("model", request.model.as_deref())
            .set("messages", messages)
            .set("stream", stream)
            .set("options", options.json())
            .set_some("think", request.reasoning.map(|how| how != Effort::None))
            .set_list("tools", tools)
            .set_some("format", request.output.as_ref().map(|spec| output::ollama(&spec.schema)))
            .json())
    }

    fn stream_format(&self) -> StreamFormat {
        StreamFormat::Lines
    }

    fn ends_with_finish(&self) -> bool {
        false
    }

    fn whole(&self, json: &Json, builder: &mut ReplyBuilder) -> Result<()> {
        self.piece(json, builder);
        Ok(())
    }

    fn piece(&self, json: &Json, builder: &mut ReplyBuilder) {
        if let Some(model) = text(&json["model"]) {
            builder.model.get_or_insert(model);
        }
        let message = &json["message"];
        if let Some(thought) = message["thinking"].as_str() {
            builder.add_reasoning(thought);
        }
        if let Some(said) = message["content"].as_str() {
            builder.add_text(said);
        }
        for written in message["tool_calls"].as_array().into_iter().flatten() {
            let index = builder.next_call();
            let call = builder.call(index);
            call.id = text(&written["id"]).unwrap_or_default();
            call.name = text(&written["function"]["name"]).unwrap_or_default();
            call.set_arguments(&written["function"]["arguments"]);
        }
        // Some versions end with a `done_reason` alone.
        let reason = json["done_reason"].as_str().filter(|reason| !reason.is_empty());
        if json["done"] == true || reason.is_some() {
            builder.ended = true;
            let reason = reason.unwrap_or("stop");
            builder.stopped(stop_cause(reason), [format!("done reason `{reason}`")]);
            builder.tokens.input = count(&json["prompt_eval_count"]);
            builder.tokens.output = count(&json["eval_count"]);
            builder.tokens.cached = count(&json["prompt_eval_cached_count"]);
        }
    }

    fn embed<'a>(&self, request: &'a EmbedRequest) -> Option<(Vec<Cow<'a, str>>, Json)> {
        let body = ObjectBuilder::default()
            .set_some("model", request.model.as_deref())
            .set("input", request.texts.clone())
            .set_some("dimensions", request.dimensions);
        Some((vec!["api".into(), "embed".into()], body.json()))
    }

    fn vectors(&self, json: &Json) -> (Vec<Vec<f64>>, Option<u64>) {
        let found = json["embeddings"].as_array().into_iter().flatten();
        (found.map(vector).collect(), count(&json["prompt_eval_count"]))
    }

    fn models(&self, json: &Json) -> Vec<ModelInfo> {
        named_models(&json["models"], "name")
            .map(|(_, name)| ModelInfo { name, ..ModelInfo::default() })
            .collect()
    }
}

fn write(
    message: &Message,
    parts: Vec<Part>,
    names: &mut HashMap<String, String>,
    messages: &mut Vec<Json>,
) -> Result<()> {
    let role = match message.role {
        Role::System => "system",
        Role::User | Role::Tool => "user",
        Role::Assistant => "assistant",
    };
    let (mut images, mut calls, mut results) = (Vec::new(), Vec::new(), Vec::new());
    for part in parts {
        match part {
            Part::Text { .. } | Part::Reasoning { .. } => {}
            Part::Image { data, .. } if role == "user" => images.push(data),
            Part::ToolCall(call) if role == "assistant" => {
                calls.push(json!({"function": {"name": call.name, "arguments": call.arguments}}));
                names.insert(call.id, call.name);
            }
            Part::ToolResult { id, content, .. } if role == "user" => {
                let name = names.get(&id).cloned().unwrap_or(id);
                results.push(json!({"role": "tool", "tool_name": name, "content": content}));
            }
            other => return Err(misplaced(&other, role)),
        }
    }
    let said = message.joined_text();
    let only_results = !results.is_empty() && said.is_empty() && images.is_empty();
    messages.extend(results);
    if !only_results {
        let written = ObjectBuilder::default().set("role", role).set("content", said);
        messages.push(written.set_list("images", images).set_list("tool_calls", calls).json());
    }
    Ok(())
}
