//! Loops of tool calls: what a server sends in one turn, and what it receives in the next, for each API, complete and
//! streamed.

mod calls;
mod reasoning;

use std::sync::{Arc, Mutex};

use futures_util::future::LocalBoxFuture;
use llmspell_core::agent::AgentEvent;
use llmspell_core::chat::{ChatRequest, Message};
use llmspell_core::{Context, Result, Value};
use llmspell_llm::{
    AgentEnd, AgentObserver, AgentSpec, Client, ModelAgent, ObserverDecision, ProtocolKind, ProviderConfig,
    Schema, Tool,
};
use serde_json::{Value as Json, json};

use crate::fault_server::{FaultServer, Script, response};
use crate::support::{self, frames, stream_script};

/// What happens when an agent receives an answer with tool calls.
struct Loop {
    /// The calls that ran, as name and arguments.
    ran: Vec<String>,
    /// The body of the next request.
    next: Json,
}

/// Ignores events, and asks for streams if it is told to.
struct Quiet(bool);

impl AgentObserver for Quiet {
    fn observe(&self, _: AgentEvent) -> LocalBoxFuture<'_, Result<ObserverDecision>> {
        Box::pin(std::future::ready(Ok(ObserverDecision::GoOn)))
    }

    fn streams(&self) -> bool {
        self.0
    }
}

/// Returns the tools `weather {city}` and `clock {}`, which note their calls.
fn tools(ran: &Arc<Mutex<Vec<String>>>) -> Vec<Tool> {
    [("weather", json!({"city": "string"})), ("clock", json!({}))]
        .into_iter()
        .map(|(name, takes)| {
            let ran = Arc::clone(ran);
            Tool::new(name, "A tool.", Schema::read(&takes).unwrap(), move |_, arguments: Json| {
                ran.lock().unwrap().push(format!("{name} {arguments}"));
                async move { Ok(Value::from(format!("{name} is done"))) }
            })
            .unwrap()
        })
        .collect()
}

/// Runs an agent with the model `p/{model}`, whose server answers with this script and then without calls.
async fn run(protocol: ProtocolKind, model: &str, answer: Script, streamed: bool) -> Loop {
    run_scripts(protocol, model, vec![answer, text(protocol, streamed, "done")], streamed).await
}

/// Runs an agent whose server plays these scripts, the last of which answers `done`.
async fn run_scripts(protocol: ProtocolKind, model: &str, scripts: Vec<Script>, streamed: bool) -> Loop {
    let server = FaultServer::start(support::scripts(protocol, scripts)).await;
    let config = ProviderConfig::new("p", protocol, &server.url).unwrap();
    let client = Client::builder().provider(config).build().unwrap();
    let cx = Context::builder().models(Arc::new(client)).build();
    let request =
        ChatRequest { provider: Some("p".into()), model: Some(model.into()), ..ChatRequest::default() };
    let ran = Arc::default();
    let spec = AgentSpec { request, tools: tools(&ran), ..AgentSpec::named("clerk") };
    let agent = ModelAgent::new(&cx, spec).unwrap();
    match agent.run(&cx, Message::user("go"), &Quiet(streamed)).await.unwrap() {
        AgentEnd::Answered(reply) => assert_eq!(reply.text, "done"),
        AgentEnd::Stopped => panic!("nobody stopped it"),
    }
    let next = body_of(server.requests().last().unwrap());
    let ran = ran.lock().unwrap().clone();
    Loop { ran, next }
}

fn body_of(request: &str) -> Json {
    serde_json::from_str(request.split_once("\r\n\r\n").unwrap().1).unwrap()
}

/// Returns an answer as a script: complete, or streamed as these chunks.
fn script(protocol: ProtocolKind, streamed: bool, whole: &Json, chunks: &[Json]) -> Script {
    if streamed {
        stream_script(protocol, &frames(protocol, chunks))
    } else {
        response(200, "", &whole.to_string())
    }
}

/// Returns an answer with a text.
fn text(protocol: ProtocolKind, streamed: bool, text: &str) -> Script {
    answer(protocol, streamed, text, &[])
}

/// A tool call of an answer: the id, the name, and the arguments as the model wrote them.
type Call<'a> = (&'a str, &'a str, &'a str);

/// Returns an answer with a text and tool calls. Gemini and Ollama send no ids.
fn answer(protocol: ProtocolKind, streamed: bool, text: &str, calls: &[Call<'_>]) -> Script {
    let value = |arguments: &str| serde_json::from_str(arguments).unwrap_or_else(|_| json!(arguments));
    let (whole, chunks) = match protocol {
        ProtocolKind::OpenAiChat => {
            let calls: Vec<Json> = calls
                .iter()
                .map(|(id, name, arguments)| json!({"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}))
                .collect();
            let finish = if calls.is_empty() { "stop" } else { "tool_calls" };
            let message = json!({"role": "assistant", "content": text, "tool_calls": calls});
            let mut chunks = vec![json!({"choices": [{"delta": {"content": text}}]})];
            chunks.extend(calls.iter().enumerate().map(|(at, call)| {
                let mut call = call.clone();
                call["index"] = at.into();
                json!({"choices": [{"delta": {"tool_calls": [call]}}]})
            }));
            chunks.push(json!({"choices": [{"delta": {}, "finish_reason": finish}]}));
            (json!({"choices": [{"message": message, "finish_reason": finish}]}), chunks)
        }
        ProtocolKind::OpenAiResponses => {
            let mut output =
                vec![json!({"type": "message", "content": [{"type": "output_text", "text": text}]})];
            output.extend(calls.iter().map(|(id, name, arguments)| {
                json!({"type": "function_call", "call_id": id, "name": name, "arguments": arguments})
            }));
            let whole = json!({"status": "completed", "output": output});
            let mut chunks =
                vec![json!({"type": "response.output_text.delta", "output_index": 0, "delta": text})];
            chunks.extend(output.iter().enumerate().skip(1).map(
                |(at, item)| json!({"type": "response.output_item.done", "output_index": at, "item": item}),
            ));
            chunks.push(json!({"type": "response.completed", "response": whole}));
            (whole, chunks)
        }
        ProtocolKind::Anthropic => {
            let mut content = vec![json!({"type": "text", "text": text})];
            content.extend(calls.iter().map(|(id, name, arguments)| {
                json!({"type": "tool_use", "id": id, "name": name, "input": value(arguments)})
            }));
            let finish = if calls.is_empty() { "end_turn" } else { "tool_use" };
            let mut chunks = vec![json!({"type": "message_start", "message": {}})];
            for (at, block) in content.iter().enumerate() {
                let (start, delta) = match at.checked_sub(1).and_then(|at| calls.get(at)) {
                    Some((id, name, arguments)) => (
                        json!({"type": "tool_use", "id": id, "name": name, "input": {}}),
                        json!({"type": "input_json_delta", "partial_json": arguments}),
                    ),
                    None => (
                        json!({"type": "text", "text": ""}),
                        json!({"type": "text_delta", "text": block["text"]}),
                    ),
                };
                chunks.push(json!({"type": "content_block_start", "index": at, "content_block": start}));
                chunks.push(json!({"type": "content_block_delta", "index": at, "delta": delta}));
            }
            chunks.push(json!({"type": "message_delta", "delta": {"stop_reason": finish}}));
            chunks.push(json!({"type": "message_stop"}));
            (json!({"type": "message", "content": content, "stop_reason": finish}), chunks)
        }
        ProtocolKind::Gemini => {
            let mut parts = vec![json!({"text": text})];
            parts.extend(calls.iter().map(
                |(_, name, arguments)| json!({"functionCall": {"name": name, "args": value(arguments)}}),
            ));
            let mut chunks: Vec<Json> =
                parts.iter().map(|part| json!({"candidates": [{"content": {"parts": [part]}}]})).collect();
            chunks.push(json!({"candidates": [{"finishReason": "STOP"}]}));
            (json!({"candidates": [{"content": {"parts": parts}, "finishReason": "STOP"}]}), chunks)
        }
        ProtocolKind::Ollama => {
            let calls: Vec<Json> = calls
                .iter()
                .map(
                    |(_, name, arguments)| json!({"function": {"name": name, "arguments": value(arguments)}}),
                )
                .collect();
            let message = json!({"role": "assistant", "content": text, "tool_calls": calls});
            let whole = json!({"message": message, "done": true, "done_reason": "stop"});
            let chunks = vec![
                json!({"message": message, "done": false}),
                json!({"message": {"content": ""}, "done": true, "done_reason": "stop"}),
            ];
            (whole, chunks)
        }
    };
    script(protocol, streamed, &whole, &chunks)
}

/// An id and a text.
type Named = (String, String);

/// Returns the calls in a request as id, name and arguments, and the results as id and text. Gemini and Ollama receive
/// no ids: there a result refers to its call by the name.
fn history(protocol: ProtocolKind, body: &Json) -> (Vec<Named>, Vec<Named>) {
    let text = |json: &Json| json.as_str().unwrap_or_default().to_owned();
    let (mut calls, mut results) = (Vec::new(), Vec::new());
    let list = |json: &Json| json.as_array().cloned().unwrap_or_default();
    match protocol {
        ProtocolKind::OpenAiChat => {
            for message in list(&body["messages"]) {
                for call in list(&message["tool_calls"]) {
                    let function = &call["function"];
                    calls.push((
                        text(&call["id"]),
                        format!("{} {}", text(&function["name"]), text(&function["arguments"])),
                    ));
                }
                if message["role"] == "tool" {
                    results.push((text(&message["tool_call_id"]), text(&message["content"])));
                }
            }
        }
        ProtocolKind::OpenAiResponses => {
            for item in list(&body["input"]) {
                match item["type"].as_str() {
                    Some("function_call") => calls.push((
                        text(&item["call_id"]),
                        format!("{} {}", text(&item["name"]), text(&item["arguments"])),
                    )),
                    Some("function_call_output") => {
                        results.push((text(&item["call_id"]), text(&item["output"])));
                    }
                    _ => {}
                }
            }
        }
        ProtocolKind::Anthropic => {
            for block in list(&body["messages"]).iter().flat_map(|message| list(&message["content"])) {
                match block["type"].as_str() {
                    Some("tool_use") => calls
                        .push((text(&block["id"]), format!("{} {}", text(&block["name"]), block["input"]))),
                    Some("tool_result") => {
                        results.push((text(&block["tool_use_id"]), text(&block["content"])));
                    }
                    _ => {}
                }
            }
        }
        ProtocolKind::Gemini => {
            for part in list(&body["contents"]).iter().flat_map(|content| list(&content["parts"])) {
                let (call, result) = (&part["functionCall"], &part["functionResponse"]);
                if call.is_object() {
                    calls.push((String::new(), format!("{} {}", text(&call["name"]), call["args"])));
                } else if result.is_object() {
                    let response = &result["response"];
                    let said =
                        if response["error"].is_string() { &response["error"] } else { &response["result"] };
                    results.push((String::new(), text(said)));
                }
            }
        }
        ProtocolKind::Ollama => {
            for message in list(&body["messages"]) {
                for call in list(&message["tool_calls"]) {
                    let function = &call["function"];
                    calls.push((
                        String::new(),
                        format!("{} {}", text(&function["name"]), function["arguments"]),
                    ));
                }
                if message["role"] == "tool" {
                    results.push((String::new(), text(&message["content"])));
                }
            }
        }
    }
    (calls, results)
}
