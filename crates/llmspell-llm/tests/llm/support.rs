//! Clients, requests and answers that the tests share.

use std::time::Duration;

use futures_util::StreamExt;
use llmspell_core::capability::Models;
use llmspell_core::chat::{ChatRequest, Delta, Reply};
use llmspell_core::effect::Permit;
use llmspell_core::{Error, Result};
use llmspell_llm::{Client, ClientBuilder, ProtocolKind, ProviderConfig, RetryPolicy};
use serde_json::{Value as Json, json};

use crate::fault_server::{FaultServer, Script, Step, response, stream_head};

pub(crate) const PROTOCOLS: [ProtocolKind; 5] = [
    ProtocolKind::OpenAiChat,
    ProtocolKind::OpenAiResponses,
    ProtocolKind::Anthropic,
    ProtocolKind::Gemini,
    ProtocolKind::Ollama,
];

/// An API key that must not appear outside a request's header.
pub(crate) const CANARY: &str = "sk-canary-0123456789";

pub(crate) struct Caller(Client);

/// Returns a client of one provider, `p`, that retries without waiting.
pub(crate) fn client(
    protocol: ProtocolKind,
    url: &str,
    more: impl FnOnce(ClientBuilder) -> ClientBuilder,
) -> Caller {
    let config = ProviderConfig::new("p", protocol, url).unwrap().key(CANARY);
    let retry = RetryPolicy { base: Duration::ZERO, ..RetryPolicy::default() };
    Caller(more(Client::builder().provider(config).retry(retry)).build().unwrap())
}

/// Returns a request to the model `m` of the provider `p`.
pub(crate) fn ask() -> ChatRequest {
    ChatRequest { provider: Some("p".into()), model: Some("m".into()), ..ChatRequest::prompt("hello there") }
}

/// The result of a stream: its joined chunks, and its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) text: String,
    pub(crate) end: Result<Reply>,
}

impl Caller {
    pub(crate) async fn ask_whole(&self, request: ChatRequest) -> Result<Reply> {
        self.0.chat(Permit::for_test(), filled(request)).await
    }

    pub(crate) async fn ask_stream(&self, request: ChatRequest) -> Answer {
        let mut text = String::new();
        let mut pieces = match self.0.stream(Permit::for_test(), filled(request)).await {
            Ok(pieces) => pieces,
            Err(error) => return Answer { text, end: Err(error) },
        };
        let mut end = Err(Error::internal("the stream ended without an end"));
        while let Some(piece) = pieces.next().await {
            match piece {
                Ok(Delta::Text { text: more }) => text.push_str(&more),
                Ok(Delta::Reasoning { .. }) => {}
                Ok(Delta::End { reply }) => end = Ok(*reply),
                Err(error) => end = Err(error),
            }
        }
        Answer { text, end }
    }

    /// Makes a call, complete or streamed.
    pub(crate) async fn ask(&self, streamed: bool) -> Answer {
        if streamed {
            return self.ask_stream(ask()).await;
        }
        let end = self.ask_whole(ask()).await;
        Answer { text: end.as_ref().map(|reply| reply.text.clone()).unwrap_or_default(), end }
    }

    pub(crate) fn client(&self) -> &Client {
        &self.0
    }
}

fn filled(mut request: ChatRequest) -> ChatRequest {
    request.provider.get_or_insert_with(|| "p".into());
    request.model.get_or_insert_with(|| "m".into());
    request
}

/// Returns the scripts of a server, preceded by the answer to Ollama's first request.
pub(crate) fn scripts(protocol: ProtocolKind, mut scripts: Vec<Script>) -> Vec<Script> {
    if protocol == ProtocolKind::Ollama {
        scripts.insert(0, response(200, "", r#"{"model_info": {"llama.context_length": 32768}}"#));
    }
    scripts
}

/// One answer of an API, complete and as a stream.
pub(crate) struct Sample {
    pub(crate) whole: String,
    pub(crate) stream: String,
}

/// The MIME type of a stream.
pub(crate) fn stream_of(protocol: ProtocolKind) -> &'static str {
    if protocol == ProtocolKind::Ollama { "application/x-ndjson" } else { "text/event-stream" }
}

/// A stream that ends with its connection.
pub(crate) fn stream_script(protocol: ProtocolKind, stream: &str) -> Script {
    vec![stream_head(stream_of(protocol)), Step::Send(stream.as_bytes().to_vec())]
}

/// Frames chunks like an API.
pub(crate) fn frames(protocol: ProtocolKind, chunks: &[Json]) -> String {
    chunks
        .iter()
        .map(|chunk| match (protocol, chunk["type"].as_str()) {
            (ProtocolKind::Ollama, _) => format!("{chunk}\n"),
            (ProtocolKind::Anthropic | ProtocolKind::OpenAiResponses, Some(kind)) => {
                format!("event: {kind}\ndata: {chunk}\n\n")
            }
            _ => format!("data: {chunk}\n\n"),
        })
        .collect()
}

/// Returns an answer with the text in `pieces`, one per chunk of the stream. `finish` is the finish reason in the API's
/// own terms. The Responses API has none: there, `finish` is the status or the reason of an incomplete answer.
pub(crate) fn said(protocol: ProtocolKind, pieces: &[&str], finish: &str) -> Sample {
    let text = pieces.concat();
    let (whole, stream): (Json, Vec<Json>) = match protocol {
        ProtocolKind::OpenAiChat => {
            let chunk = |delta: Json, finish: Json| json!({"id": "r", "choices": [{"delta": delta, "finish_reason": finish}]});
            let whole =
                json!({"id": "r", "choices": [{"message": {"content": text}, "finish_reason": finish}]});
            let stream = pieces.iter().map(|piece| chunk(json!({"content": piece}), Json::Null));
            (whole, stream.chain([chunk(json!({}), json!(finish))]).collect())
        }
        ProtocolKind::OpenAiResponses => {
            let output = json!([{"type": "message", "content": [{"type": "output_text", "text": text}]}]);
            let whole = match finish {
                "completed" | "failed" | "cancelled" => {
                    json!({"id": "r", "status": finish, "output": output})
                }
                reason => {
                    json!({"id": "r", "status": "incomplete", "output": output, "incomplete_details": {"reason": reason}})
                }
            };
            let stream =
                pieces.iter().map(|piece| json!({"type": "response.output_text.delta", "delta": piece}));
            let begin = json!({"type": "response.created", "response": {"id": "r"}});
            let end = json!({"type": "response.completed", "response": whole});
            let stream = [begin].into_iter().chain(stream).chain([end]).collect();
            (whole, stream)
        }
        ProtocolKind::Anthropic => {
            let whole =
                json!({"id": "r", "content": [{"type": "text", "text": text}], "stop_reason": finish});
            let begin = [
                json!({"type": "message_start", "message": {"id": "r", "content": []}}),
                json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}),
            ];
            let stream = pieces.iter().map(|piece| {
                json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": piece}})
            });
            let end = [
                json!({"type": "content_block_stop", "index": 0}),
                json!({"type": "message_delta", "delta": {"stop_reason": finish}}),
                json!({"type": "message_stop"}),
            ];
            (whole, begin.into_iter().chain(stream).chain(end).collect())
        }
        ProtocolKind::Gemini => {
            let chunk = |text: &str, finish: Json| json!({"responseId": "r", "candidates": [{"content": {"parts": [{"text": text}]}, "finishReason": finish}]});
            let stream =
                pieces.iter().map(|piece| chunk(piece, Json::Null)).chain([chunk("", json!(finish))]);
            (chunk(&text, json!(finish)), stream.collect())
        }
        ProtocolKind::Ollama => {
            let line = |text: &str, done: bool| json!({"message": {"content": text}, "done": done, "done_reason": if done { json!(finish) } else { Json::Null }});
            let stream = pieces.iter().map(|piece| line(piece, false)).chain([line("", true)]);
            (line(&text, true), stream.collect())
        }
    };
    let done = if protocol == ProtocolKind::OpenAiChat { "data: [DONE]\n\n" } else { "" };
    Sample { whole: whole.to_string(), stream: frames(protocol, &stream) + done }
}

/// The finish reason of a complete answer, in the words of [`said`].
pub(crate) fn complete(protocol: ProtocolKind) -> &'static str {
    match protocol {
        ProtocolKind::OpenAiChat | ProtocolKind::Ollama => "stop",
        ProtocolKind::OpenAiResponses => "completed",
        ProtocolKind::Anthropic => "end_turn",
        ProtocolKind::Gemini => "STOP",
    }
}

/// Asks a server that gives this answer, whole or streamed.
pub(crate) async fn answered(protocol: ProtocolKind, sample: &Sample, streamed: bool) -> Answer {
    let script =
        if streamed { stream_script(protocol, &sample.stream) } else { response(200, "", &sample.whole) };
    let server = FaultServer::start(scripts(protocol, vec![script])).await;
    client(protocol, &server.url, |builder| builder.retry(RetryPolicy::none())).ask(streamed).await
}

/// `grüß 你好 🦀`, then the calls `add {"a": 1}` and `now`; 11 input tokens, 5 output tokens.
pub(crate) fn sample(protocol: ProtocolKind) -> Sample {
    let (whole, stream) = match protocol {
        ProtocolKind::OpenAiChat => openai(),
        ProtocolKind::OpenAiResponses => responses(),
        ProtocolKind::Anthropic => anthropic(),
        ProtocolKind::Gemini => gemini(),
        ProtocolKind::Ollama => ollama(),
    };
    let done = if protocol == ProtocolKind::OpenAiChat { "data: [DONE]\n\n" } else { "" };
    Sample { whole: whole.to_string(), stream: frames(protocol, &stream) + done }
}

fn openai() -> (Json, Vec<Json>) {
    let usage = json!({"prompt_tokens": 11, "completion_tokens": 5});
    let whole = json!({"id": "r", "model": "m-1", "usage": usage, "choices": [{"finish_reason": "tool_calls", "message": {
        "role": "assistant", "content": "grüß 你好 🦀", "tool_calls": [
            {"id": "c1", "type": "function", "function": {"name": "add", "arguments": "{\"a\": 1}"}},
            {"id": "c2", "type": "function", "function": {"name": "now", "arguments": ""}}]}}]});
    let chunk = |delta: Json, finish: Json| json!({"id": "r", "model": "m-1", "choices": [{"delta": delta, "finish_reason": finish}]});
    let call = |more: Json| chunk(json!({"tool_calls": [more]}), Json::Null);
    let stream = vec![
        chunk(json!({"role": "assistant", "content": ""}), Json::Null),
        chunk(json!({"content": "grüß "}), Json::Null),
        chunk(json!({}), Json::Null),
        chunk(json!({"content": "你好 🦀"}), Json::Null),
        // Out of order and interleaved, with the arguments split in the middle.
        call(json!({"index": 1, "id": "c2", "function": {"name": "now", "arguments": ""}})),
        call(json!({"index": 0, "id": "c1", "function": {"name": "add", "arguments": "{\"a\""}})),
        call(json!({"index": 0, "function": {"arguments": ": 1}"}})),
        chunk(json!({}), json!("tool_calls")),
        json!({"id": "r", "model": "m-1", "choices": [], "usage": usage}),
    ];
    (whole, stream)
}

fn responses() -> (Json, Vec<Json>) {
    let output = json!([
        {"type": "reasoning", "summary": []},
        {"type": "message", "content": [{"type": "output_text", "text": "grüß 你好 🦀"}]},
        {"type": "function_call", "call_id": "c1", "name": "add", "arguments": "{\"a\": 1}"},
        {"type": "function_call", "call_id": "c2", "name": "now", "arguments": "{}"},
    ]);
    let whole = json!({"id": "r", "model": "m-1", "status": "completed", "output": output, "usage": {"input_tokens": 11, "output_tokens": 5}});
    let added = |index: u64, id: &str, name: &str| json!({"type": "response.output_item.added", "output_index": index, "item": {"type": "function_call", "call_id": id, "name": name}});
    let stream = vec![
        json!({"type": "response.created", "response": {"id": "r"}}),
        json!({"type": "response.output_text.delta", "output_index": 1, "delta": "grüß "}),
        json!({"type": "response.output_text.delta", "output_index": 1, "delta": "你好 🦀"}),
        added(2, "c1", "add"),
        added(3, "c2", "now"),
        json!({"type": "response.function_call_arguments.delta", "output_index": 2, "delta": "{\"a\""}),
        json!({"type": "response.function_call_arguments.delta", "output_index": 2, "delta": ": 1}"}),
        json!({"type": "response.something.new", "output_index": 2}),
        json!({"type": "response.completed", "response": whole}),
    ];
    (whole, stream)
}

fn anthropic() -> (Json, Vec<Json>) {
    let whole = json!({"id": "r", "type": "message", "model": "m-1", "stop_reason": "tool_use", "content": [
            {"type": "text", "text": "grüß 你好 🦀"},
            {"type": "tool_use", "id": "c1", "name": "add", "input": {"a": 1}},
            {"type": "tool_use", "id": "c2", "name": "now", "input": {}}],
        "usage": {"input_tokens": 8, "cache_read_input_tokens": 2, "cache_creation_input_tokens": 1, "output_tokens": 5}});
    let start = |index: u64, block: Json| json!({"type": "content_block_start", "index": index, "content_block": block});
    let delta =
        |index: u64, delta: Json| json!({"type": "content_block_delta", "index": index, "delta": delta});
    let stop = |index: u64| json!({"type": "content_block_stop", "index": index});
    let usage = json!({"input_tokens": 8, "cache_read_input_tokens": 2, "cache_creation_input_tokens": 1, "output_tokens": 1});
    let stream = vec![
        json!({"type": "message_start", "message": {"id": "r", "model": "m-1", "usage": usage}}),
        start(0, json!({"type": "text", "text": ""})),
        json!({"type": "ping"}),
        delta(0, json!({"type": "text_delta", "text": "grüß "})),
        delta(0, json!({"type": "citations_delta", "citation": {}})),
        delta(0, json!({"type": "text_delta", "text": "你好 🦀"})),
        stop(0),
        start(1, json!({"type": "tool_use", "id": "c1", "name": "add", "input": {}})),
        delta(1, json!({"type": "input_json_delta", "partial_json": "{\"a\""})),
        delta(1, json!({"type": "input_json_delta", "partial_json": ": 1}"})),
        stop(1),
        start(2, json!({"type": "tool_use", "id": "c2", "name": "now", "input": {}})),
        stop(2),
        start(3, json!({"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}})),
        delta(3, json!({"type": "input_json_delta", "partial_json": "{\"query\": 1}"})),
        stop(3),
        json!({"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 5}}),
        json!({"type": "message_stop"}),
    ];
    (whole, stream)
}

fn gemini() -> (Json, Vec<Json>) {
    let usage = json!({"promptTokenCount": 11, "candidatesTokenCount": 3, "thoughtsTokenCount": 2});
    let answer = |parts: Json, finish: Json| json!({"responseId": "r", "modelVersion": "m-1", "usageMetadata": usage, "candidates": [{"content": {"parts": parts}, "finishReason": finish}]});
    let calls = json!([{"functionCall": {"name": "add", "args": {"a": 1}}, "thoughtSignature": "sig"}, {"functionCall": {"name": "now", "args": {}}}]);
    let mut parts = vec![json!({"text": "grüß 你好 🦀"})];
    parts.extend(calls.as_array().unwrap().iter().cloned());
    let whole = answer(parts.into(), json!("STOP"));
    let stream = vec![
        answer(json!([{"text": "grüß "}]), Json::Null),
        answer(json!([{"text": "你好 🦀"}]), Json::Null),
        answer(calls, Json::Null),
        answer(json!([{"text": ""}]), json!("STOP")),
    ];
    (whole, stream)
}

fn ollama() -> (Json, Vec<Json>) {
    let calls = json!([{"function": {"name": "add", "arguments": {"a": 1}}}, {"function": {"name": "now", "arguments": {}}}]);
    let whole = json!({"model": "m-1", "message": {"role": "assistant", "content": "grüß 你好 🦀", "tool_calls": calls},
        "done": true, "done_reason": "stop", "prompt_eval_count": 11, "eval_count": 5});
    let piece = |message: Json| json!({"model": "m-1", "message": message, "done": false});
    let stream = vec![
        piece(json!({"content": "grüß "})),
        piece(json!({"content": "你好 🦀"})),
        piece(json!({"content": "", "tool_calls": calls})),
        json!({"model": "m-1", "message": {"content": ""}, "done": true, "done_reason": "stop", "prompt_eval_count": 11, "eval_count": 5}),
    ];
    (whole, stream)
}
