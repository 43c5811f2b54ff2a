//! Parameters that a server refuses, and what it says about that.

use llmspell_core::ErrorKind;
use llmspell_core::chat::{ChatRequest, Effort, OutputSpec};
use llmspell_llm::ProtocolKind::{self, *};
use serde_json::{Value as Json, json};

use crate::fault_server::{FaultServer, Script, response};
use crate::support::{self, Caller, ask, client, sample, stream_script};

fn refusal(error: &Json) -> Script {
    response(400, "", &json!({"error": error}).to_string())
}

fn good(protocol: ProtocolKind, streamed: bool) -> Script {
    let sample = sample(protocol);
    if streamed { stream_script(protocol, &sample.stream) } else { response(200, "", &sample.whole) }
}

async fn send(
    client: &Caller,
    request: ChatRequest,
    streamed: bool,
) -> llmspell_core::Result<llmspell_core::chat::Reply> {
    if streamed { client.ask_stream(request).await.end } else { client.ask_whole(request).await }
}

/// Returns the bodies of the chats that a server received.
fn bodies(server: &FaultServer) -> Vec<Json> {
    let chats = server.requests().into_iter().filter(|request| !request.starts_with("POST /api/show"));
    chats.map(|request| serde_json::from_str(request.split_once("\r\n\r\n").unwrap().1).unwrap()).collect()
}

#[tokio::test]
async fn a_refused_parameter_is_left_out_with_a_warning_and_stays_left_out() {
    let thinking = || ChatRequest { reasoning: Some(Effort::Low), ..ask() };
    let warm = || ChatRequest { temperature: Some(0.5), ..ask() };
    let seeded = || ChatRequest { seed: Some(1), ..ask() };
    let stopped = || ChatRequest { stop: vec!["x".into()], ..ask() };
    let openai = json!({"message": "Unsupported value: 'temperature' does not support 0.5 with this model.", "param": "temperature", "code": "unsupported_value"});
    for (protocol, request, error, path, name) in [
        (OpenAiChat, warm as fn() -> ChatRequest, openai.clone(), "/temperature", "temperature"),
        (OpenAiResponses, warm, openai, "/temperature", "temperature"),
        (
            Anthropic,
            warm,
            json!({"message": "`temperature` is deprecated for this model."}),
            "/temperature",
            "temperature",
        ),
        (
            Gemini,
            warm,
            json!({"message": "temperature is not supported by this model"}),
            "/generationConfig/temperature",
            "temperature",
        ),
        (OpenAiChat, seeded, json!({"message": "property 'seed' is unsupported"}), "/seed", "seed"),
        (
            OpenAiChat,
            stopped,
            json!({"message": "Argument not supported on this model: stop"}),
            "/stop",
            "stop",
        ),
        (
            OpenAiChat,
            thinking,
            json!({"message": "Unrecognized request argument supplied: reasoning_effort"}),
            "/reasoning_effort",
            "reasoning",
        ),
        (
            OpenAiResponses,
            thinking,
            json!({"message": "Unsupported parameter: 'reasoning.effort' is not supported with this model.", "param": "reasoning.effort", "code": "unsupported_parameter"}),
            "/reasoning",
            "reasoning",
        ),
        (
            Anthropic,
            thinking,
            json!({"message": "adaptive thinking is not supported on this model"}),
            "/thinking",
            "reasoning",
        ),
        (
            Gemini,
            thinking,
            json!({"message": "Invalid JSON payload received. Unknown name \"thinkingConfig\" at 'generation_config': Cannot find field."}),
            "/generationConfig/thinkingConfig",
            "reasoning",
        ),
        (Ollama, thinking, json!("\"m\" does not support thinking"), "/think", "reasoning"),
    ] {
        for streamed in [false, true] {
            let case = format!("{protocol:?} {error} streamed={streamed}");
            let good = good(protocol, streamed);
            let scripts = vec![refusal(&error), good.clone(), good];
            let server = FaultServer::start(support::scripts(protocol, scripts)).await;
            let client = client(protocol, &server.url, |builder| builder);
            let warning = format!("p/m does not take `{name}`: it was left out");
            for attempts in [2, 1] {
                let reply = send(&client, request(), streamed).await.unwrap();
                assert_eq!(
                    (reply.attempts, &reply.warnings[..]),
                    (attempts, &[warning.clone()][..]),
                    "{case}"
                );
            }
            let sent: Vec<bool> = bodies(&server).iter().map(|body| body.pointer(path).is_some()).collect();
            assert_eq!(sent, [true, false, false], "{case}");
        }
    }
}

#[tokio::test]
async fn a_refused_parameter_with_another_form_is_sent_in_that() {
    let schema = json!({"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]});
    let output = Some(OutputSpec { schema, native: Some(true) });
    let data = ChatRequest { output, ..ask() };
    let short = ChatRequest { max_tokens: Some(9), ..ask() };
    for (request, error, before, after) in [
        (
            short.clone(),
            json!({"message": "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.", "param": "max_tokens", "code": "unsupported_parameter"}),
            "max_tokens",
            "max_completion_tokens",
        ),
        (
            data,
            json!({"message": "This response_format type is unavailable now"}),
            "response_format",
            "messages",
        ),
        (
            ask(),
            json!({"message": "Unrecognized request argument supplied: stream_options"}),
            "stream_options",
            "stream",
        ),
    ] {
        let good = good(OpenAiChat, true);
        let server = FaultServer::start(vec![refusal(&error), good.clone(), good]).await;
        let client = client(OpenAiChat, &server.url, |builder| builder);
        for attempts in [2, 1] {
            let reply = send(&client, request.clone(), true).await.unwrap();
            assert_eq!((reply.attempts, reply.warnings.len()), (attempts, 0), "{error}");
        }
        let bodies = bodies(&server);
        assert!(bodies[0].get(before).is_some(), "{error}");
        assert!(
            bodies[1..].iter().all(|body| body.get(before).is_none() && body.get(after).is_some()),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_refusal_that_cannot_be_cured_names_the_parameter_and_the_cure() {
    let unsupported = |message: &str| json!({"message": message, "code": "unsupported_parameter"});
    for (request, error, hint, attempts) in [
        // Not sent, or refused again.
        (
            ask(),
            unsupported(
                "Function tools with reasoning_effort are not supported for gpt-5.6 in /v1/chat/completions.",
            ),
            "set `reasoning = \"none\"`, or ask the model as `openai-responses/…`: it does not call tools while it reasons",
            1,
        ),
        (
            ChatRequest { max_tokens: Some(9), ..ask() },
            unsupported("Unsupported parameter: 'max_tokens'."),
            "leave `max_tokens` out, or ask the model as `openai-responses/…`",
            2,
        ),
    ] {
        for streamed in [false, true] {
            let server = FaultServer::start(vec![refusal(&error)]).await;
            let client = client(OpenAiChat, &server.url, |builder| builder);
            let failed = send(&client, request.clone(), streamed).await.unwrap_err();
            assert_eq!(
                (failed.kind(), failed.hints()),
                (ErrorKind::BadRequest, &[hint.to_owned()][..]),
                "{error}"
            );
            assert_eq!(bodies(&server).len(), attempts, "{error}");
        }
    }
}
