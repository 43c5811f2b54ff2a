//! Ollama's native API.

use std::borrow::Cow;
use std::collections::HashMap;

use llmspell_core::Result;
use llmspell_core::chat::{ChatRequest, Effort, FinishReason, Message, ModelInfo, Part, Role};
use llmspell_core::embed::EmbedRequest;
use serde_json::{Value as Json, json};

use super::openai::bearer;
use super::{
    Object, Shape, arguments_object, misplaced, named_models, output, parameters, parts, text, vector,
};
use crate::config::ProviderConfig;
use crate::draft::{Draft, count};
use crate::frames::Framing;
use crate::provider::TakesOutput;

pub(super) struct Ollama;

impl Shape for Ollama {
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
    fn takes_output(&self, _: &ChatRequest) -> TakesOutput {
        TakesOutput::Unseen
    }

    /// The context length, `options.num_ctx`, is added by `ollama.rs`, which knows the model.
    fn body(&self, _: &ProviderConfig, request: &ChatRequest, stream: bool) -> Result<Json> {
        let mut messages = Vec::new();
        messages.extend(request.system.as_ref().map(|text| json!({"role": "system", "content": text})));
        let mut names: HashMap<String, String> = HashMap::new();
        for message in &request.messages {
            write(message, &mut names, &mut messages)?;
        }
        let tools: Vec<Json> = request
            .tools
            .iter()
            .map(|tool| {
                let function = json!({"name": tool.name, "description": tool.description, "parameters": parameters(&tool.parameters)});
                json!({"type": "function", "function": function})
            })
            .collect();
        let options = Object::default()
            .set_some("temperature", request.temperature)
            .set_some("top_p", request.top_p)
            .set_some("num_predict", request.max_tokens)
            .set_list("stop", request.stop.clone())
            .set_some("seed", request.seed);
        Ok(Object::default()
            .set_some("model", request.model.as_deref())
            .set("messages", messages)
            .set("stream", stream)
            .set("options", options.json())
            .set_some("think", request.reasoning.map(|how| how != Effort::None))
            .set_list("tools", tools)
            .set_some("format", request.output.as_ref().map(|spec| output::ollama(&spec.schema)))
            .json())
    }

    fn framing(&self) -> Framing {
        Framing::Lines
    }

    fn ends_with_finish(&self) -> bool {
        false
    }

    fn whole(&self, json: &Json, draft: &mut Draft) -> Result<()> {
        self.piece(json, draft);
        Ok(())
    }

    fn piece(&self, json: &Json, draft: &mut Draft) {
        if let Some(model) = text(&json["model"]) {
            draft.model.get_or_insert(model);
        }
        let message = &json["message"];
        if let Some(thought) = message["thinking"].as_str() {
            draft.add_reasoning(thought);
        }
        if let Some(said) = message["content"].as_str() {
            draft.add_text(said);
        }
        for written in message["tool_calls"].as_array().into_iter().flatten() {
            let index = draft.next_call();
            let call = draft.call(index);
            call.id = text(&written["id"]).unwrap_or_default();
            call.name = text(&written["function"]["name"]).unwrap_or_default();
            call.arguments = written["function"]["arguments"].to_string();
        }
        if json["done"] == true {
            draft.ended = true;
            draft.finish = Some(match json["done_reason"].as_str() {
                Some("length") => FinishReason::Length,
                Some("stop") | None => FinishReason::Stop,
                Some(_) => FinishReason::Other,
            });
            draft.tokens.input = count(&json["prompt_eval_count"]);
            draft.tokens.output = count(&json["eval_count"]);
            draft.tokens.cached = count(&json["prompt_eval_cached_count"]);
        }
    }

    fn embed<'a>(&self, request: &'a EmbedRequest) -> Option<(Vec<Cow<'a, str>>, Json)> {
        let body = Object::default()
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

fn write(message: &Message, names: &mut HashMap<String, String>, messages: &mut Vec<Json>) -> Result<()> {
    let role = match message.role {
        Role::System => "system",
        Role::User | Role::Tool => "user",
        Role::Assistant => "assistant",
    };
    let (mut images, mut calls, mut results) = (Vec::new(), Vec::new(), Vec::new());
    for part in parts(&message.content) {
        match part {
            Part::Text { .. } | Part::Reasoning { .. } => {}
            Part::Image { data, .. } if role == "user" => images.push(data),
            Part::ToolCall(call) if role == "assistant" => {
                calls.push(
                    json!({"function": {"name": call.name, "arguments": arguments_object(&call.arguments)}}),
                );
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
        let written = Object::default().set("role", role).set("content", said);
        messages.push(written.set_list("images", images).set_list("tool_calls", calls).json());
    }
    Ok(())
}
