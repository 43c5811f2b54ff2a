//! Requests that a server refuses because of the model: too long, still loading, or without the capability.

use std::time::Duration;

use llmspell_core::ErrorKind::*;
use llmspell_core::chat::{ChatRequest, ToolSpec};
use llmspell_llm::ProtocolKind::{self, *};
use llmspell_llm::{RetryPolicy, Timeouts};
use serde_json::{Value as Json, json};

use crate::fault_server::{FaultServer, Script, response};
use crate::support::{self, Caller, PROTOCOLS, Sample, answered, ask, client, frames, sample, stream_script};

async fn refused(protocol: ProtocolKind, status: u16, body: &Json, streamed: bool) -> llmspell_core::Error {
    let scripts = support::scripts(protocol, vec![response(status, "", &body.to_string())]);
    let server = FaultServer::start(scripts).await;
    client(protocol, &server.url, |builder| builder).ask(streamed).await.end.unwrap_err()
}

/// The answer to a request that is too long: the protocol, the status, the body, the limit and the prompt.
type TooLong = (ProtocolKind, u16, Json, Option<u64>, Option<u64>);

fn too_long() -> Vec<TooLong> {
    vec![
        (
            OpenAiChat,
            400,
            json!({"error": {"message": "This model's maximum context length is 8192 tokens. However, your messages resulted in 9000 tokens.", "type": "invalid_request_error", "param": "messages", "code": "context_length_exceeded"}}),
            Some(8_192),
            Some(9_000),
        ),
        (
            OpenAiChat,
            413,
            json!({"error": {"message": "Request too large for model `m` on tokens per minute (TPM): Limit 6000, Requested 9000, please reduce your message size and try again.", "type": "tokens", "code": "rate_limit_exceeded"}}),
            Some(6_000),
            Some(9_000),
        ),
        (
            OpenAiChat,
            400,
            json!({"error": {"code": 400, "message": "the request exceeds the available context size, try increasing it", "type": "exceed_context_size_error", "n_prompt_tokens": 9000, "n_ctx": 8192}}),
            Some(8_192),
            Some(9_000),
        ),
        (
            OpenAiChat,
            400,
            json!({"object": "error", "message": "This model's maximum context length is 4096 tokens. However, you requested 5000 tokens (4900 in the messages, 100 in the completion).", "type": "BadRequestError", "code": 400}),
            Some(4_096),
            Some(4_900),
        ),
        (
            OpenAiResponses,
            400,
            json!({"error": {"message": "Your input exceeds the context window of this model. Please adjust your input and try again.", "code": "context_length_exceeded"}}),
            None,
            None,
        ),
        (
            Anthropic,
            400,
            json!({"type": "error", "error": {"type": "invalid_request_error", "message": "prompt is too long: 210000 tokens > 200000 maximum"}}),
            Some(200_000),
            Some(210_000),
        ),
        (
            Gemini,
            400,
            json!({"error": {"code": 400, "message": "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).", "status": "INVALID_ARGUMENT"}}),
            Some(1_048_576),
            Some(1_200_000),
        ),
        (
            Ollama,
            400,
            json!({"error": "prompt too long; exceeded max context length by 12 tokens"}),
            None,
            None,
        ),
        (Ollama, 500, json!({"error": "the input length exceeds the context length"}), None, None),
    ]
}

#[tokio::test]
async fn a_request_that_is_too_long_is_the_same_error_in_every_dialect() {
    for (protocol, status, body, limit, prompt) in too_long() {
        for streamed in [false, true] {
            let error = refused(protocol, status, &body, streamed).await;
            let case = format!("{protocol:?} {body} streamed={streamed}: {error:?}");
            assert_eq!((error.kind(), error.is_retryable()), (ContextExceeded, false), "{case}");
            let call = error.call().unwrap();
            assert_eq!((call.limit_tokens, call.prompt_tokens), (limit, prompt), "{case}");
            assert_eq!((call.status, call.attempts, error.hints().len()), (Some(status), 1, 1), "{case}");
        }
    }
    // The Responses API may say so in its stream.
    let failed = json!({"type": "response.failed", "response": {"status": "failed", "error": {"code": "context_length_exceeded", "message": "Your input exceeds the context window of this model."}}});
    let sample = Sample { whole: String::new(), stream: frames(OpenAiResponses, &[failed]) };
    assert_eq!(answered(OpenAiResponses, &sample, true).await.end.unwrap_err().kind(), ContextExceeded);
}

#[tokio::test]
async fn what_is_refused_for_another_reason_has_its_own_kind_and_cure() {
    for (protocol, status, body, kind, hint) in [
        (
            OpenAiChat,
            400,
            json!({"error": {"message": "'max_tokens' or 'max_completion_tokens' is too large: 40000. This model's maximum context length is 32768 tokens and your request has 20 input tokens (40000 > 32768 - 20).", "type": "BadRequestError", "code": 400}}),
            BadRequest,
            "max_tokens",
        ),
        (
            Anthropic,
            400,
            json!({"type": "error", "error": {"type": "invalid_request_error", "message": "input length and `max_tokens` exceed context limit: 20 + 200000 > 200000, decrease input length or `max_tokens` and try again"}}),
            BadRequest,
            "max_tokens",
        ),
        (
            Ollama,
            400,
            json!({"error": "registry.ollama.ai/library/m:latest does not support tools"}),
            Unsupported,
            "tool_mode = \"text\"",
        ),
    ] {
        for streamed in [false, true] {
            let error = refused(protocol, status, &body, streamed).await;
            let case = format!("{protocol:?} {body} streamed={streamed}: {error:?}");
            assert_eq!(error.kind(), kind, "{case}");
            assert!(error.hints()[0].contains(hint), "{case}");
        }
    }
}

#[tokio::test]
async fn a_request_that_cannot_be_sent_is_no_attempt() {
    let server = FaultServer::start(vec![]).await;
    let request = ChatRequest { stop: vec!["x".into()], ..ask() };
    let client = client(OpenAiResponses, &server.url, |builder| builder);
    let tools = vec![ToolSpec { name: "add".into(), description: "adds".into(), parameters: json!({}) }];
    for request in [request.clone(), ChatRequest { tools, ..request }] {
        for error in [
            client.ask_whole(request.clone()).await.unwrap_err(),
            client.ask_stream(request).await.end.unwrap_err(),
        ] {
            assert_eq!((error.kind(), error.call().unwrap().attempts), (Unsupported, 0), "{error:?}");
        }
    }
    assert!(server.requests().is_empty());
}

/// The answers of servers that are loading a model.
fn loading() -> [(u16, Json); 3] {
    [
        (503, json!({"error": {"code": 503, "message": "Loading model", "type": "unavailable_error"}})),
        (503, json!({"error": "Model m is currently loading", "estimated_time": 20.0})),
        (500, json!({"error": "llm server loading model"})),
    ]
}

async fn loads(protocol: ProtocolKind, scripts: Vec<Script>, time: Timeouts) -> (FaultServer, Caller) {
    let server = FaultServer::start(support::scripts(protocol, scripts)).await;
    let retry = RetryPolicy { base: Duration::from_millis(5), ..RetryPolicy::none() };
    let client = client(protocol, &server.url, |builder| builder.retry(retry).timeouts(time));
    (server, client)
}

#[tokio::test]
async fn r3_a_server_that_loads_its_model_is_waited_for_and_that_is_no_attempt() {
    for (status, body) in loading() {
        for protocol in PROTOCOLS {
            for streamed in [false, true] {
                let mut scripts = vec![response(status, "", &body.to_string()); 4];
                scripts.push(match streamed {
                    true => stream_script(protocol, &sample(protocol).stream),
                    false => response(200, "", &sample(protocol).whole),
                });
                let (server, client) = loads(protocol, scripts, Timeouts::default()).await;
                let reply = client.ask(streamed).await.end.unwrap();
                let case = format!("{protocol:?} {body} streamed={streamed}");
                assert_eq!(reply.attempts, 1, "{case}");
                let chats = server.requests().iter().filter(|asked| !asked.contains("/api/show")).count();
                assert_eq!(chats, 5, "{case}");
            }
        }
    }
}

#[tokio::test]
async fn r3_a_model_that_is_not_loaded_in_time_is_an_error_of_its_own() {
    for protocol in PROTOCOLS {
        for streamed in [false, true] {
            let scripts = vec![response(503, "", &loading()[0].1.to_string())];
            let time = Timeouts { total: Duration::from_millis(150), ..Timeouts::default() };
            let (_server, client) = loads(protocol, scripts, time).await;
            let error = client.ask(streamed).await.end.unwrap_err();
            let case = format!("{protocol:?} streamed={streamed}: {error:?}");
            assert_eq!((error.kind(), error.is_retryable()), (ModelLoading, true), "{case}");
            let call = error.call().unwrap();
            assert_eq!((call.status, call.attempts), (Some(503), 0), "{case}");
        }
    }
}
