//! Function calling for models without it: tools are described in the instructions and called in the text.
//!
//! The format is the one that the Hermes and Qwen families of open models are trained on: calls in `<tool_call>` tags,
//! results in `<tool_response>` tags.

use std::fmt::Write as _;

use llmspell_core::chat::{
    ChatRequest, Content, FinishReason, Message, Part, Reply, Role, ToolCall, ToolSpec,
};
use serde_json::Value as Json;

use super::{AgentSpec, ToolMode};

const CALL: [&str; 2] = ["<tool_call>", "</tool_call>"];
const RESPONSE: [&str; 2] = ["<tool_response>", "</tool_response>"];

/// Adds the tool descriptions to a request's instructions, and rewrites earlier calls and results as text.
pub(super) fn instruct(tools: &[ToolSpec], request: &mut ChatRequest) {
    if tools.is_empty() {
        return;
    }
    let mut told = request.system.take().map(|system| system + "\n\n").unwrap_or_default();
    told.push_str(
        "You can call tools. To call one, answer with nothing but a line of this form for each call, with JSON in it:\n\
         <tool_call>{\"name\": \"the tool\", \"arguments\": {}}</tool_call>\n\
         What a tool answers is between <tool_response> and </tool_response>. When you need no tool, answer in plain words.\n\
         The tools:\n",
    );
    for tool in tools {
        let spec = serde_json::json!({
            "name": tool.name, "description": tool.description, "parameters": tool.parameters,
        });
        // Writing to a `String` cannot fail.
        let _ = writeln!(told, "{spec}");
    }
    request.system = Some(told);
    request.messages.iter_mut().for_each(write_as_text);
}

/// Replaces the calls and results in a message by their text form.
fn write_as_text(message: &mut Message) {
    let Content::Parts(parts) = &mut message.content else { return };
    if message.role == Role::Tool {
        message.role = Role::User;
    }
    for part in parts {
        let text = match part {
            Part::ToolCall(call) => {
                let json = serde_json::json!({"name": call.name, "arguments": call.arguments});
                format!("{}{json}{}\n", CALL[0], CALL[1])
            }
            Part::ToolResult { content, .. } => format!("{}{content}{}\n", RESPONSE[0], RESPONSE[1]),
            _ => continue,
        };
        *part = Part::Text { text };
    }
}

/// Moves the calls in an answer's text to its `tool_calls`.
pub(super) fn read_calls(spec: &AgentSpec, reply: &mut Reply) {
    if spec.tool_mode != Some(ToolMode::Text) || spec.tools.is_empty() {
        return;
    }
    let text = std::mem::take(&mut reply.text);
    let mut rest = text.as_str();
    while let Some((before, after)) = rest.split_once(CALL[0]) {
        reply.text.push_str(before);
        // A model that is stopped at the closing tag omits it.
        let (call, left) = after.split_once(CALL[1]).unwrap_or((after, ""));
        reply.tool_calls.push(read_call(call.trim(), reply.tool_calls.len() + 1));
        rest = left;
    }
    reply.text.push_str(rest);
    if !reply.tool_calls.is_empty() {
        reply.text = reply.text.trim().to_owned();
        reply.finish_reason = FinishReason::ToolCalls;
    }
}

/// Reads one call. Invalid JSON still gives a call, whose arguments are then the raw text and do not fit the schema; so
/// the model learns of its mistake.
fn read_call(text: &str, number: usize) -> ToolCall {
    let json: Json = serde_json::from_str(text).unwrap_or_default();
    let name = json["name"].as_str().unwrap_or_default().to_owned();
    let arguments = match &json["arguments"] {
        arguments @ Json::Object(_) => arguments.clone(),
        Json::Null if !name.is_empty() => Json::Object(serde_json::Map::new()),
        _ => Json::String(text.to_owned()),
    };
    ToolCall { id: format!("call_{number}"), name, arguments, signature: None, provider: None }
}
