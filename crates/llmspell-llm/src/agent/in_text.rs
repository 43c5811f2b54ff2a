//! Tools for models that call none: told of in the instructions, called in the text.
//!
//! The marks are those that open models of the Hermes and Qwen families were trained on.

use std::fmt::Write as _;

use llmspell_core::chat::{
    ChatRequest, Content, FinishReason, Message, Part, Reply, Role, ToolCall, ToolSpec,
};
use serde_json::Value as Json;

use super::{AgentSpec, ToolMode};

const CALL: [&str; 2] = ["<tool_call>", "</tool_call>"];
const RESPONSE: [&str; 2] = ["<tool_response>", "</tool_response>"];

/// Writes into a request's instructions which tools there are, and into its messages as text what was called.
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
        // Writing to a text does not fail.
        let _ = writeln!(told, "{spec}");
    }
    request.system = Some(told);
    request.messages.iter_mut().for_each(write_as_text);
}

/// Calls and results as the text that they would be.
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

/// Finds the calls in an answer's text and takes them out of it.
pub(super) fn read_calls(spec: &AgentSpec, reply: &mut Reply) {
    if spec.tool_mode != Some(ToolMode::Text) || spec.tools.is_empty() {
        return;
    }
    let text = std::mem::take(&mut reply.text);
    let mut rest = text.as_str();
    while let Some((before, after)) = rest.split_once(CALL[0]) {
        reply.text.push_str(before);
        // A model that stops at the mark leaves it out.
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

/// A call as it is written; one that is no JSON is a call all the same, whose arguments do not fit.
fn read_call(text: &str, number: usize) -> ToolCall {
    let json: Json = serde_json::from_str(text).unwrap_or_default();
    let name = json["name"].as_str().unwrap_or_default().to_owned();
    let arguments = match &json["arguments"] {
        arguments @ Json::Object(_) => arguments.clone(),
        Json::Null if !name.is_empty() => Json::Object(serde_json::Map::new()),
        _ => Json::String(text.to_owned()),
    };
    ToolCall { id: format!("call_{number}"), name, arguments, signature: None }
}
