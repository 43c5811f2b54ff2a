//! A server with scripted answers in the protocol of each API, complete or streamed as requested.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use llmspell::llm::ProtocolKind;
use serde_json::{Value as Json, json};

pub(crate) const PROTOCOLS: [ProtocolKind; 5] = [
    ProtocolKind::OpenAiChat,
    ProtocolKind::OpenAiResponses,
    ProtocolKind::Anthropic,
    ProtocolKind::Gemini,
    ProtocolKind::Ollama,
];

/// The text of the model, and the tools that it calls, by name with arguments.
#[derive(Clone)]
pub(crate) struct Answer {
    pub(crate) text: &'static str,
    pub(crate) calls: Vec<(&'static str, Json)>,
}

impl Answer {
    pub(crate) fn text(text: &'static str) -> Self {
        Self { text, calls: Vec::new() }
    }

    pub(crate) fn calls(text: &'static str, calls: &[(&'static str, Json)]) -> Self {
        Self { text, calls: calls.to_vec() }
    }
}

/// A server on a loopback port that gives its answers in order.
pub(crate) struct Server {
    pub(crate) url: String,
    asked: Arc<Mutex<Vec<Json>>>,
}

impl Server {
    pub(crate) fn start(protocol: ProtocolKind, answers: Vec<Answer>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&asked);
        std::thread::spawn(move || {
            let mut answers = answers.into_iter();
            for socket in listener.incoming() {
                let mut socket = socket.unwrap();
                let Some((head, body)) = read(&mut socket) else { continue };
                if head.contains("/api/show") {
                    respond(
                        &mut socket,
                        "application/json",
                        r#"{"model_info": {"llama.context_length": 32768}}"#,
                    );
                    continue;
                }
                kept.lock().unwrap().push(body.clone());
                let Some(answer) = answers.next() else { return };
                let streams = body["stream"] == true || head.contains("streamGenerateContent");
                let (kind, text) = match streams {
                    true => (stream_kind(protocol), stream(protocol, &answer)),
                    false => ("application/json", whole(protocol, &answer).to_string()),
                };
                respond(&mut socket, kind, &text);
            }
        });
        Self { url, asked }
    }

    /// Returns the bodies of the requests so far.
    pub(crate) fn asked(&self) -> Vec<Json> {
        self.asked.lock().unwrap().clone()
    }
}

fn read(socket: &mut TcpStream) -> Option<(String, Json)> {
    let mut bytes = Vec::new();
    loop {
        let mut more = [0; 8192];
        let count = socket.read(&mut more).ok().filter(|count| *count > 0)?;
        bytes.extend_from_slice(&more[..count]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| {
            line.to_lowercase().strip_prefix("content-length:").map(|n| n.trim().parse().unwrap())
        });
        if body.len() >= length.unwrap_or(0_usize) {
            return Some((head.to_owned(), serde_json::from_str(body).unwrap_or_default()));
        }
    }
}

fn respond(socket: &mut TcpStream, kind: &str, body: &str) {
    let length = body.len();
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
    );
    socket.write_all(head.as_bytes()).unwrap();
    socket.write_all(body.as_bytes()).unwrap();
}

fn stream_kind(protocol: ProtocolKind) -> &'static str {
    if protocol == ProtocolKind::Ollama { "application/x-ndjson" } else { "text/event-stream" }
}

/// Numbers the tool calls, for APIs with ids.
fn numbered(answer: &Answer) -> impl Iterator<Item = (usize, String, &'static str, &Json)> {
    answer
        .calls
        .iter()
        .enumerate()
        .map(|(at, (name, arguments))| (at, format!("id-{name}"), *name, arguments))
}

fn whole(protocol: ProtocolKind, answer: &Answer) -> Json {
    let wants = !answer.calls.is_empty();
    match protocol {
        ProtocolKind::OpenAiChat => {
            let calls: Vec<_> = numbered(answer)
                .map(|(_, id, name, arguments)| json!({"id": id, "type": "function", "function": {"name": name, "arguments": arguments.to_string()}}))
                .collect();
            let mut message = json!({"role": "assistant", "content": answer.text});
            if wants {
                message["tool_calls"] = calls.into();
            }
            json!({"model": "m", "choices": [{"message": message, "finish_reason": if wants { "tool_calls" } else { "stop" }}],
                "usage": {"prompt_tokens": 10, "completion_tokens": 5}})
        }
        ProtocolKind::OpenAiResponses => {
            let mut output = vec![
                json!({"type": "reasoning", "id": "rs", "summary": [], "encrypted_content": "sealed thought"}),
                json!({"type": "message", "content": [{"type": "output_text", "text": answer.text}]}),
            ];
            output.extend(numbered(answer).map(|(_, id, name, arguments)| {
                json!({"type": "function_call", "call_id": id, "name": name, "arguments": arguments.to_string()})
            }));
            json!({"id": "r", "model": "m", "status": "completed", "output": output,
                "usage": {"input_tokens": 10, "output_tokens": 5}})
        }
        ProtocolKind::Anthropic => {
            let mut content = vec![
                json!({"type": "thinking", "thinking": "", "signature": "sealed thought"}),
                json!({"type": "text", "text": answer.text}),
            ];
            content.extend(numbered(answer).map(|(_, id, name, arguments)| {
                json!({"type": "tool_use", "id": id, "name": name, "input": arguments})
            }));
            json!({"id": "r", "type": "message", "model": "m", "content": content,
                "stop_reason": if wants { "tool_use" } else { "end_turn" }, "usage": {"input_tokens": 10, "output_tokens": 5}})
        }
        ProtocolKind::Gemini => {
            let mut parts = vec![json!({"text": answer.text})];
            parts.extend(numbered(answer).map(|(at, _, name, arguments)| {
                let mut part = json!({"functionCall": {"name": name, "args": arguments}});
                if at == 0 {
                    part["thoughtSignature"] = "sealed thought".into();
                }
                part
            }));
            json!({"candidates": [{"content": {"parts": parts}, "finishReason": "STOP"}],
                "usageMetadata": {"promptTokenCount": 10, "candidatesTokenCount": 5}})
        }
        ProtocolKind::Ollama => {
            let calls: Vec<_> = numbered(answer)
                .map(|(_, _, name, arguments)| json!({"function": {"name": name, "arguments": arguments}}))
                .collect();
            json!({"model": "m", "message": {"role": "assistant", "content": answer.text, "tool_calls": calls},
                "done": true, "done_reason": "stop", "prompt_eval_count": 10, "eval_count": 5})
        }
    }
}

/// Returns the same answer in chunks: the text in two, and each call's arguments in two if the API splits them.
fn stream(protocol: ProtocolKind, answer: &Answer) -> String {
    let (first, second) = answer.text.split_at(answer.text.len() / 2);
    let wants = !answer.calls.is_empty();
    let event = |json: Json| match json["type"].as_str() {
        Some(kind) => format!("event: {kind}\ndata: {json}\n\n"),
        None => format!("data: {json}\n\n"),
    };
    let mut text = String::new();
    match protocol {
        ProtocolKind::OpenAiChat => {
            let chunk = |delta: Json, finish: Json| {
                event(json!({"model": "m", "choices": [{"delta": delta, "finish_reason": finish}]}))
            };
            for piece in [first, second] {
                text += &chunk(json!({"content": piece}), Json::Null);
            }
            for (at, id, name, arguments) in numbered(answer) {
                let arguments = arguments.to_string();
                let (head, tail) = arguments.split_at(arguments.len() / 2);
                let call = json!({"index": at, "id": id, "function": {"name": name, "arguments": head}});
                text += &chunk(json!({"tool_calls": [call]}), Json::Null);
                text += &chunk(
                    json!({"tool_calls": [{"index": at, "function": {"arguments": tail}}]}),
                    Json::Null,
                );
            }
            text += &chunk(json!({}), if wants { "tool_calls" } else { "stop" }.into());
            text += &event(json!({"choices": [], "usage": {"prompt_tokens": 10, "completion_tokens": 5}}));
            text + "data: [DONE]\n\n"
        }
        ProtocolKind::OpenAiResponses => {
            for piece in [first, second] {
                text +=
                    &event(json!({"type": "response.output_text.delta", "output_index": 1, "delta": piece}));
            }
            let response = whole(protocol, answer);
            for (at, item) in response["output"].as_array().into_iter().flatten().enumerate() {
                text +=
                    &event(json!({"type": "response.output_item.done", "output_index": at, "item": item}));
            }
            text + &event(json!({"type": "response.completed", "response": response}))
        }
        ProtocolKind::Anthropic => {
            text += &event(
                json!({"type": "message_start", "message": {"id": "r", "model": "m", "usage": {"input_tokens": 10}}}),
            );
            let block = |index: usize, start: Json, deltas: &[Json]| {
                let mut text =
                    event(json!({"type": "content_block_start", "index": index, "content_block": start}));
                for delta in deltas {
                    text += &event(json!({"type": "content_block_delta", "index": index, "delta": delta}));
                }
                text + &event(json!({"type": "content_block_stop", "index": index}))
            };
            text += &block(
                0,
                json!({"type": "thinking", "thinking": ""}),
                &[json!({"type": "signature_delta", "signature": "sealed thought"})],
            );
            let pieces = [first, second].map(|piece| json!({"type": "text_delta", "text": piece}));
            text += &block(1, json!({"type": "text", "text": ""}), &pieces);
            for (at, id, name, arguments) in numbered(answer) {
                let arguments = arguments.to_string();
                let (head, tail) = arguments.split_at(arguments.len() / 2);
                let pieces =
                    [head, tail].map(|piece| json!({"type": "input_json_delta", "partial_json": piece}));
                text +=
                    &block(2 + at, json!({"type": "tool_use", "id": id, "name": name, "input": {}}), &pieces);
            }
            text += &event(
                json!({"type": "message_delta", "delta": {"stop_reason": if wants { "tool_use" } else { "end_turn" }}, "usage": {"output_tokens": 5}}),
            );
            text + &event(json!({"type": "message_stop"}))
        }
        ProtocolKind::Gemini => {
            text += &event(json!({"candidates": [{"content": {"parts": [{"text": first}]}}]}));
            let mut last = whole(protocol, answer);
            last["candidates"][0]["content"]["parts"][0]["text"] = second.into();
            text + &event(last)
        }
        ProtocolKind::Ollama => {
            text += &format!("{}\n", json!({"model": "m", "message": {"content": first}, "done": false}));
            let mut last = whole(protocol, answer);
            last["message"]["content"] = second.into();
            text + &format!("{last}\n")
        }
    }
}
