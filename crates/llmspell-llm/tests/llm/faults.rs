//! What each fault of a provider comes to, for each API, whole and streamed.

use std::time::{Duration, Instant};

use llmspell_core::ErrorKind::{self, *};
use llmspell_core::capability::Models as _;
use llmspell_core::chat::{ChatRequest, FinishReason, Usage};
use llmspell_core::effect::Permit;
use llmspell_llm::{RetryPolicy, ShapeKind, Timeouts};
use serde_json::{Value as Json, json};

use crate::fault_server::{FaultServer, Script, Step, chunked, chunked_head, response, stream_head};
use crate::support::{
    self, Answer, CANARY, Caller, SHAPES, ask, client, frames, sample, stream_of, stream_script,
};

/// A server that plays these scripts, and a client of it.
async fn set_up(shape: ShapeKind, scripts: Vec<Script>) -> (FaultServer, Caller) {
    let server = FaultServer::start(support::scripts(shape, scripts)).await;
    let client = client(shape, &server.url, |builder| builder);
    (server, client)
}

/// How often a model was asked: a provider may be asked for its models as well, and Ollama for a model's size.
fn attempts(server: &FaultServer) -> usize {
    server
        .requests()
        .iter()
        .filter(|request| !request.starts_with("POST /api/show") && !request.starts_with("GET "))
        .count()
}

/// The first chunks of a stream, up to where it has said `grüß 你好 🦀` and nothing of an end.
fn beginning(shape: ShapeKind) -> String {
    let stream = sample(shape).stream;
    let at = stream.find('🦀').unwrap();
    let end = if shape == ShapeKind::Ollama { "\n" } else { "\n\n" };
    let after = stream[at..].find(end).unwrap() + end.len();
    stream[..at + after].to_owned()
}

/// A whole good answer, either way.
fn good(shape: ShapeKind, streamed: bool) -> Script {
    let sample = sample(shape);
    if streamed { stream_script(shape, &sample.stream) } else { response(200, "", &sample.whole) }
}

/// An error as it was, in one line.
fn told(answer: &Answer) -> String {
    match &answer.end {
        Ok(reply) => format!("ok {:?}", reply.finish_reason),
        Err(error) => {
            let call = error.call().unwrap();
            format!(
                "{} retryable={} status={:?} attempts={} {}",
                error.kind(),
                error.is_retryable(),
                call.status,
                call.attempts,
                error.message()
            )
        }
    }
}

#[tokio::test]
async fn what_may_pass_is_tried_again_and_what_may_not_is_not() {
    let error = |message: &str| json!({"error": {"message": message}}).to_string();
    for (status, body, kind, tries) in [
        (400, error("bad"), BadRequest, 1),
        (401, error("no"), Auth, 1),
        (403, error("no"), Auth, 1),
        (404, error("no such model"), UnknownModel, 1),
        (413, error("long"), BadRequest, 1),
        (422, error("what"), BadRequest, 1),
        (429, json!({"error": {"message": "pay", "code": "insufficient_quota"}}).to_string(), Quota, 1),
        (429, error("slow"), RateLimited, 3),
        (408, error("late"), Overloaded, 3),
        (409, error("busy"), Overloaded, 3),
        (500, error("oh"), Overloaded, 3),
        (502, "<html>".to_owned(), Overloaded, 3),
        (503, String::new(), Overloaded, 3),
        (
            529,
            json!({"type": "error", "error": {"type": "overloaded_error", "message": "full"}}).to_string(),
            Overloaded,
            3,
        ),
    ] {
        for shape in SHAPES {
            for streamed in [false, true] {
                let (server, client) =
                    set_up(shape, vec![response(status, "x-request-id: req-7\r\n", &body)]).await;
                let answer = client.ask(streamed).await;
                let error = answer.end.unwrap_err();
                let case = format!("{status} {body} {shape:?} streamed={streamed}: {error:?}");
                assert_eq!(error.kind(), kind, "{case}");
                assert_eq!(attempts(&server), tries, "{case}");
                let call = error.call().unwrap();
                assert_eq!(call.usage, Some(Usage::default()), "nothing was used: {case}");
                assert_eq!(
                    (call.status, call.request_id.as_deref()),
                    (Some(status), Some("req-7")),
                    "{case}"
                );
                assert_eq!((call.provider.as_deref(), call.attempts as usize), (Some("p"), tries), "{case}");
            }
        }
    }
}

#[tokio::test]
async fn a_try_that_works_after_some_that_did_not_counts_them() {
    for shape in SHAPES {
        for streamed in [false, true] {
            let busy = response(503, "", "{}");
            let (server, client) = set_up(shape, vec![busy.clone(), busy, good(shape, streamed)]).await;
            let reply = client.ask(streamed).await.end.unwrap();
            assert_eq!(reply.attempts, 3, "{shape:?} streamed={streamed}");
            let keys: Vec<String> = server
                .requests()
                .iter()
                .filter_map(|request| {
                    request.lines().find(|line| line.starts_with("idempotency-key")).map(str::to_owned)
                })
                .collect();
            assert_eq!(keys.len(), 3);
            assert!(keys.iter().all(|key| *key == keys[0]), "one key for all tries: {keys:?}");
        }
    }
}

#[tokio::test]
async fn a_wait_that_is_asked_for_is_kept() {
    let (server, client) = set_up(
        ShapeKind::OpenAiChat,
        vec![response(429, "retry-after-ms: 300\r\n", "{}"), good(ShapeKind::OpenAiChat, false)],
    )
    .await;
    let before = Instant::now();
    assert_eq!(client.ask(false).await.end.unwrap().attempts, 2);
    assert!(before.elapsed() >= Duration::from_millis(300));
    drop(server);

    let (server, client) =
        set_up(ShapeKind::OpenAiChat, vec![response(429, "retry-after: 86400\r\n", "{}")]).await;
    let error = client.ask(false).await.end.unwrap_err();
    assert_eq!(error.call().unwrap().retry_after, Some(86_400.0));
    assert_eq!(attempts(&server), 1);
}

#[tokio::test]
async fn a_wait_that_would_outlast_the_run_is_not_begun() {
    for streamed in [false, true] {
        let (server, client) =
            set_up(ShapeKind::OpenAiChat, vec![response(429, "retry-after: 30\r\n", "{}")]).await;
        let permit = Permit::for_test_until(Instant::now() + Duration::from_secs(20));
        let error = if streamed {
            client.client().stream(permit, ask()).await.err().unwrap()
        } else {
            client.client().chat(permit, ask()).await.unwrap_err()
        };
        assert_eq!((error.kind(), error.call().unwrap().retry_after), (RateLimited, Some(30.0)));
        let hint = &error.hints()[0];
        assert!(
            hint.starts_with("not tried again: a wait of 3") && hint.ends_with("the time that is left"),
            "{hint}"
        );
        assert_eq!(attempts(&server), 1);
    }
}

#[tokio::test]
async fn a_stream_that_ends_too_soon_is_an_error_with_the_text_so_far() {
    for shape in SHAPES {
        let so_far = beginning(shape);
        let cut = vec![chunked_head(stream_of(shape)), chunked(so_far.as_bytes())];
        let half = format!("{so_far}{}", if shape == ShapeKind::Ollama { "{\"mess" } else { "data: {\"cho" });
        for (name, script) in [
            ("end of the connection", stream_script(shape, &so_far)),
            ("no end of the coding", cut.clone()),
            ("reset", [cut, vec![Step::Wait, Step::Reset]].concat()),
            ("half a chunk", stream_script(shape, &half)),
            ("no end of the last chunk", stream_script(shape, so_far.trim_end())),
        ] {
            let (server, client) = set_up(shape, vec![script]).await;
            server.go_on();
            let answer = client.ask_stream(ask()).await;
            let error = answer.end.unwrap_err();
            let case = format!("{shape:?} {name}: {error:?}");
            assert_eq!(error.kind(), StreamInterrupted, "{case}");
            let call = error.call().unwrap();
            // A reset may overtake what was sent before it.
            if name != "reset" {
                assert_eq!(answer.text, "grüß 你好 🦀", "{case}");
                assert_eq!(call.partial.as_deref(), Some("grüß 你好 🦀"), "{case}");
                assert!(call.usage.as_ref().unwrap().estimated, "{case}");
            }
            assert_eq!(attempts(&server), 1, "{case}");
        }
    }
}

#[tokio::test]
async fn the_ends_of_a_stream_that_count() {
    use ShapeKind::*;
    let text = json!({"choices": [{"delta": {"content": "hi"}}]});
    let finish = json!({"choices": [{"delta": {}, "finish_reason": "stop"}]});
    let openai = |chunks: &[&Json], done: bool| {
        let chunks: Vec<Json> = chunks.iter().map(|chunk| (*chunk).clone()).collect();
        frames(OpenAiChat, &chunks) + if done { "data: [DONE]\n\n" } else { "" }
    };
    let start =
        json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": "hi"}});
    let delta =
        json!({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 1}});
    let gemini = |finish: Json| {
        frames(
            Gemini,
            &[json!({"candidates": [{"content": {"parts": [{"text": "hi"}]}, "finishReason": finish}]})],
        )
    };
    for (name, shape, stream, expected) in [
        ("finish and [DONE]", OpenAiChat, openai(&[&text, &finish], true), "ok Stop"),
        ("finish without [DONE]", OpenAiChat, openai(&[&text, &finish], false), "ok Stop"),
        (
            "[DONE] that nothing ended",
            OpenAiChat,
            openai(&[&text, &finish], false) + "data: [DONE]",
            "ok Stop",
        ),
        (
            "[DONE] and nothing else",
            OpenAiChat,
            openai(&[], true),
            "empty_response retryable=true status=Some(200) attempts=1 p: the model's answer is empty",
        ),
        (
            "an empty text",
            OpenAiChat,
            openai(&[&json!({"choices": [{"delta": {"content": ""}}]}), &finish], true),
            "ok Stop",
        ),
        (
            "stop reason without message_stop",
            Anthropic,
            frames(Anthropic, &[start.clone(), delta.clone()]),
            "stream_interrupted retryable=true status=Some(200) attempts=1 p: the stream ended before the model had finished",
        ),
        (
            "message_stop",
            Anthropic,
            frames(Anthropic, &[start, delta, json!({"type": "message_stop"})]),
            "ok Stop",
        ),
        ("a finish reason", Gemini, gemini(json!("MAX_TOKENS")), "ok Length"),
        (
            "no finish reason",
            Gemini,
            gemini(Json::Null),
            "stream_interrupted retryable=true status=Some(200) attempts=1 p: the stream ended before the model had finished",
        ),
    ] {
        let (_server, client) = set_up(shape, vec![stream_script(shape, &stream)]).await;
        assert_eq!(told(&client.ask_stream(ask()).await), expected, "{name}");
    }
}

#[tokio::test]
async fn an_error_inside_a_stream_is_told_by_its_kind() {
    let overloaded = json!({"type": "error", "error": {"type": "overloaded_error", "message": "full"}});
    for shape in SHAPES {
        // Before the first text it is tried again, after it it is not.
        let first = stream_script(shape, &frames(shape, std::slice::from_ref(&overloaded)));
        let (_server, client) = set_up(shape, vec![first, good(shape, true)]).await;
        assert_eq!(client.ask_stream(ask()).await.end.unwrap().attempts, 2, "{shape:?}");

        let late = beginning(shape) + &frames(shape, std::slice::from_ref(&overloaded));
        let (server, client) = set_up(shape, vec![stream_script(shape, &late)]).await;
        let error = client.ask_stream(ask()).await.end.unwrap_err();
        assert_eq!((error.kind(), error.message()), (Overloaded, "p: broke off: full"), "{shape:?}");
        assert_eq!(error.call().unwrap().partial.as_deref(), Some("grüß 你好 🦀"), "{shape:?}");
        assert_eq!(attempts(&server), 1, "{shape:?}");
    }
}

#[tokio::test]
async fn a_chunk_that_is_damaged_is_named() {
    for shape in SHAPES {
        let damaged = if shape == ShapeKind::Ollama { "{oops\n" } else { "data: {oops\n\n" };
        let number = frames_in(shape, &beginning(shape)) + 1;
        let (server, client) = set_up(shape, vec![stream_script(shape, &(beginning(shape) + damaged))]).await;
        let error = client.ask_stream(ask()).await.end.unwrap_err();
        assert_eq!(error.kind(), BadStream, "{shape:?}");
        assert_eq!(
            error.message(),
            format!("p: chunk {number} of the stream is no JSON object: `{{oops`"),
            "{shape:?}"
        );
        assert_eq!(attempts(&server), 1);
    }
}

fn frames_in(shape: ShapeKind, stream: &str) -> usize {
    stream.matches(if shape == ShapeKind::Ollama { "\n" } else { "\n\n" }).count()
}

#[tokio::test]
async fn a_whole_answer_that_is_none_is_quoted_and_tried_once_more() {
    let typed = |kind: &str, length: usize, body: &str| {
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
        );
        vec![Step::Send(head.into_bytes())]
    };
    for (name, script, message) in [
        (
            "html",
            typed("text/html", 13, "<html>\n</html"),
            r"p: JSON was asked for, `text/html` came: `<html>\n</html`",
        ),
        (
            "truncated JSON",
            response(200, "", "{\"choices\": ["),
            "p: the answer is no JSON (EOF while parsing a list at line 1 column 13): `{\"choices\": [`",
        ),
        (
            "nothing",
            response(200, "", ""),
            "p: the answer is no JSON (EOF while parsing a value at line 1 column 0): nothing",
        ),
        ("a short body", typed("application/json", 100, "{}"), "p: the answer was cut off ("),
    ] {
        for shape in SHAPES {
            let (server, client) = set_up(shape, vec![script.clone()]).await;
            let error = client.ask(false).await.end.unwrap_err();
            assert_eq!(error.kind(), BadResponse, "{name} {shape:?}");
            assert!(error.message().starts_with(message), "{name} {shape:?}: {error}");
            assert_eq!(attempts(&server), 2, "{name} {shape:?}");
        }
    }
}

#[tokio::test]
async fn a_stream_of_no_bytes_is_no_answer_and_tried_once_more() {
    for shape in SHAPES {
        let (server, client) = set_up(shape, vec![stream_script(shape, "")]).await;
        assert_eq!(
            told(&client.ask(true).await),
            "bad_response retryable=true status=Some(200) attempts=2 p: the stream is empty: nothing"
        );
        assert_eq!(attempts(&server), 2, "{shape:?}");
        let (_server, client) = set_up(shape, vec![stream_script(shape, ""), good(shape, true)]).await;
        assert_eq!(client.ask(true).await.end.unwrap().attempts, 2, "{shape:?}");
    }
}

#[tokio::test]
async fn an_answer_that_holds_nothing_is_an_error() {
    use ShapeKind::*;
    for (shape, body, expected) in [
        (OpenAiChat, json!({"choices": []}), Err(EmptyResponse)),
        (OpenAiChat, json!({}), Err(EmptyResponse)),
        (
            OpenAiChat,
            json!({"choices": [{"message": {"content": null}, "finish_reason": "stop"}]}),
            Err(EmptyResponse),
        ),
        (
            OpenAiChat,
            json!({"choices": [{"message": {"content": null}, "finish_reason": "length"}]}),
            Ok(FinishReason::Length),
        ),
        (
            OpenAiChat,
            json!({"choices": [{"message": {"content": ""}, "finish_reason": "content_filter"}]}),
            Ok(FinishReason::ContentFilter),
        ),
        (
            OpenAiChat,
            json!({"choices": [{"message": {"refusal": "no"}, "finish_reason": "stop"}]}),
            Ok(FinishReason::Refusal),
        ),
        (OpenAiResponses, json!({"status": "completed", "output": []}), Err(EmptyResponse)),
        (
            OpenAiResponses,
            json!({"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}, "output": [{"type": "reasoning"}]}),
            Ok(FinishReason::Length),
        ),
        (
            OpenAiResponses,
            json!({"status": "incomplete", "incomplete_details": {"reason": "content_filter"}, "output": []}),
            Ok(FinishReason::ContentFilter),
        ),
        (
            OpenAiResponses,
            json!({"status": "failed", "error": {"code": "rate_limit_exceeded", "message": "slow"}}),
            Err(RateLimited),
        ),
        (Anthropic, json!({"content": []}), Err(EmptyResponse)),
        (Anthropic, json!({"content": [], "stop_reason": "refusal"}), Ok(FinishReason::Refusal)),
        (Gemini, json!({}), Err(EmptyResponse)),
        (Gemini, json!({"candidates": [{"finishReason": "STOP"}]}), Err(EmptyResponse)),
        (Gemini, json!({"promptFeedback": {"blockReason": "SAFETY"}}), Ok(FinishReason::ContentFilter)),
        (Ollama, json!({"done": true}), Err(EmptyResponse)),
    ] {
        let (_server, client) = set_up(shape, vec![response(200, "", &body.to_string())]).await;
        let found =
            client.ask(false).await.end.map(|reply| reply.finish_reason).map_err(|error| error.kind());
        assert_eq!(found, expected, "{shape:?} {body}");
    }
}

#[tokio::test]
async fn an_answer_of_no_words_is_the_same_whole_and_streamed() {
    use ShapeKind::*;
    let done = |reason: &str| json!({"type": "message_delta", "delta": {"stop_reason": reason}});
    let ended = json!({"type": "message_stop"});
    let incomplete = json!({"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}});
    for (shape, chunks, expected) in [
        (OpenAiChat, vec![json!({"choices": [{"delta": {}, "finish_reason": "stop"}]})], Err(EmptyResponse)),
        (
            OpenAiChat,
            vec![json!({"choices": [{"delta": {"content": null}, "finish_reason": "length"}]})],
            Ok(FinishReason::Length),
        ),
        (
            OpenAiChat,
            vec![json!({"choices": [{"delta": {"content": ""}, "finish_reason": "stop"}]})],
            Ok(FinishReason::Stop),
        ),
        (
            OpenAiResponses,
            vec![json!({"type": "response.incomplete", "response": incomplete})],
            Ok(FinishReason::Length),
        ),
        (Anthropic, vec![done("end_turn"), ended.clone()], Err(EmptyResponse)),
        (Anthropic, vec![done("refusal"), ended], Ok(FinishReason::Refusal)),
        (Gemini, vec![json!({"candidates": [{"finishReason": "STOP"}]})], Err(EmptyResponse)),
        (Gemini, vec![json!({"candidates": [{"finishReason": "SAFETY"}]})], Ok(FinishReason::ContentFilter)),
        (Ollama, vec![json!({"done": true, "done_reason": "length"})], Ok(FinishReason::Length)),
    ] {
        let stream = frames(shape, &chunks);
        let (_server, client) = set_up(shape, vec![stream_script(shape, &stream)]).await;
        let found = client.ask(true).await.end.map(|reply| reply.finish_reason).map_err(|error| error.kind());
        assert_eq!(found, expected, "{shape:?} {stream}");
    }
}

#[tokio::test]
async fn usage_that_cannot_be_is_estimated_and_never_credits() {
    for usage in [
        json!(null),
        json!({}),
        json!({"prompt_tokens": 0, "completion_tokens": 0}),
        json!({"prompt_tokens": -5, "completion_tokens": -5}),
        json!({"prompt_tokens": 9e18, "completion_tokens": u64::MAX}),
    ] {
        let body = json!({"choices": [{"message": {"content": "12345678"}, "finish_reason": "stop"}], "usage": usage});
        let (_server, client) =
            set_up(ShapeKind::OpenAiChat, vec![response(200, "", &body.to_string())]).await;
        let found = client.ask(false).await.end.unwrap().usage;
        assert_eq!((found.input_tokens, found.output_tokens, found.estimated), (7, 2, true), "{usage}");
        assert_eq!(found.cost_usd, None, "no known price is no price");
    }
}

#[tokio::test]
async fn what_anthropic_counts_at_the_beginning_is_not_the_whole() {
    let stream: String = sample(ShapeKind::Anthropic).stream.replace(r#""output_tokens":5"#, r#""other":5"#);
    let (_server, client) =
        set_up(ShapeKind::Anthropic, vec![stream_script(ShapeKind::Anthropic, &stream)]).await;
    let usage = client.ask(true).await.end.unwrap().usage;
    assert_eq!((usage.input_tokens, usage.estimated), (11, true));
    assert!(usage.output_tokens > 5, "{usage:?}");
}

#[tokio::test]
async fn a_connection_that_fails_is_tried_again_unless_the_request_may_have_been_served() {
    let shape = ShapeKind::OpenAiChat;
    let quiet: Script = Vec::new();
    for (name, script, retry, tries) in [
        ("reset", vec![Step::Reset], RetryPolicy::default(), 3),
        ("closed after the request", quiet.clone(), RetryPolicy::default(), 1),
        ("closed, repeats allowed", quiet, RetryPolicy { repeat_paid: true, ..RetryPolicy::default() }, 2),
    ] {
        let server = FaultServer::start(vec![script]).await;
        let retry = RetryPolicy { base: Duration::ZERO, ..retry };
        let client = client(shape, &server.url, |builder| builder.retry(retry));
        let error = client.ask(false).await.end.unwrap_err();
        assert_eq!((error.kind(), error.is_retryable()), (Network, true), "{name}: {error:?}");
        let estimated = error.call().unwrap().usage.as_ref().unwrap().estimated;
        assert_eq!(estimated, name != "reset", "what may have been served may have to be paid for: {name}");
        assert_eq!(attempts(&server), tries, "{name}: {error:?}");
    }

    let refused = client(shape, "http://127.0.0.1:1", |builder| builder);
    let error = refused.ask(false).await.end.unwrap_err();
    assert_eq!((error.kind(), error.call().unwrap().attempts), (Network, 3));
    assert!(error.message().starts_with("p: no connection to 127.0.0.1:1: "), "{error}");

    // A server that answers a TLS greeting with plain text.
    let server = FaultServer::start(vec![response(200, "", "{}")]).await;
    let plain = client(shape, &server.url.replace("http:", "https:"), |builder| builder);
    let error = plain.ask(false).await.end.unwrap_err();
    assert_eq!((error.kind(), error.is_retryable(), attempts(&server)), (Network, false, 1), "{error:?}");
    let greeting = server.requests().remove(0);
    assert!(
        greeting.contains("h2") && greeting.contains("http/1.1"),
        "both protocols are offered: {greeting:?}"
    );
    assert!(error.message().starts_with("p: no secure connection to 127.0.0.1:"), "{error}");
}

#[tokio::test]
async fn a_connection_that_a_server_offers_to_keep_is_not_relied_on() {
    let shape = ShapeKind::OpenAiChat;
    let stream = sample(shape).stream;
    // Keeps the connection as it seems, and hangs up at the next byte.
    let kept = vec![
        chunked_head(stream_of(shape)),
        chunked(stream.as_bytes()),
        Step::Send(b"0\r\n\r\n".to_vec()),
        Step::Hang,
    ];
    let (server, client) = set_up(shape, vec![kept]).await;
    for _ in 0..3 {
        assert_eq!(client.ask_stream(ask()).await.end.unwrap().attempts, 1);
    }
    assert_eq!(attempts(&server), 3);
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    for shape in SHAPES {
        let elsewhere = FaultServer::start(vec![response(200, "", "{}")]).await;
        for status in [301, 302, 307, 308] {
            let headers = format!("location: {}/\r\n", elsewhere.url);
            let (_server, client) = set_up(shape, vec![response(status, &headers, "")]).await;
            let error = client.ask(false).await.end.unwrap_err();
            assert_eq!(error.kind(), BadResponse, "{shape:?} {status}");
        }
        assert_eq!(elsewhere.requests(), [] as [String; 0], "{shape:?}");
    }
}

#[tokio::test]
async fn a_provider_that_is_slow_is_given_up_on() {
    let short = Duration::from_millis(100);
    let long = Timeouts::default();
    let shape = ShapeKind::Anthropic;
    let begun = [stream_script(shape, &beginning(shape)), vec![Step::Hang]].concat();
    for (name, script, timeouts, message) in [
        ("no first byte", vec![Step::Hang], Timeouts { first_byte: short, ..long }, "no answer from "),
        (
            "silence in the middle",
            begun.clone(),
            Timeouts { idle: short, ..long },
            "p: nothing came for 0.1 s",
        ),
        (
            "no end in time",
            begun,
            Timeouts { total: short, ..long },
            "p: the call took longer than its limit of 0.1 s",
        ),
    ] {
        let mut server = FaultServer::start(vec![script]).await;
        let client = client(shape, &server.url, |builder| builder.timeouts(timeouts));
        let error = client.ask_stream(ask()).await.end.unwrap_err();
        assert_eq!(error.kind(), Timeout, "{name}");
        assert!(
            error.message().trim_start_matches("p: ").starts_with(message.trim_start_matches("p: ")),
            "{name}: {error}"
        );
        server.client_gone().await;
        assert_eq!(attempts(&server), 1, "{name}");
    }
}

#[tokio::test]
async fn pings_keep_a_stream_alive_but_not_for_ever() {
    let shape = ShapeKind::OpenAiChat;
    let mut script = vec![stream_head("text/event-stream")];
    for _ in 0..400 {
        script.push(Step::Send(b": ping\n\n".to_vec()));
        script.push(Step::Pause(Duration::from_millis(20)));
    }
    let timeouts = Timeouts {
        idle: Duration::from_millis(600),
        total: Duration::from_millis(1_200),
        ..Timeouts::default()
    };
    let server = FaultServer::start(vec![script]).await;
    let client = client(shape, &server.url, |builder| builder.timeouts(timeouts));
    let error = client.ask_stream(ask()).await.end.unwrap_err();
    assert_eq!(error.message(), "p: the call took longer than its limit of 1.2 s");
}

#[tokio::test]
async fn invalid_bytes_become_a_mark_and_not_a_failure() {
    let mut stream =
        b"data: {\"choices\": [{\"delta\": {\"content\": \"a\xffb\"}, \"finish_reason\": \"stop\"}]}\n\n"
            .to_vec();
    stream.splice(0..0, *b"\xef\xbb\xbf");
    let script = vec![stream_head("text/event-stream"), Step::Send(stream)];
    let mut whole =
        b"\xef\xbb\xbf{\"choices\": [{\"message\": {\"content\": \"a\xffb\"}, \"finish_reason\": \"stop\"}]}"
            .to_vec();
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        whole.len()
    );
    whole.splice(0..0, head.into_bytes());
    for (streamed, script) in [(true, script), (false, vec![Step::Send(whole)])] {
        let (_server, client) = set_up(ShapeKind::OpenAiChat, vec![script]).await;
        let answer = client.ask(streamed).await;
        assert_eq!((answer.text.as_str(), told(&answer).as_str()), ("a\u{fffd}b", "ok Stop"));
    }
}

#[tokio::test]
async fn a_tool_calls_index_is_a_name_and_not_a_size() {
    let call = json!({"choices": [{"delta": {"tool_calls": [
        {"index": u64::MAX, "id": "c", "function": {"name": "f", "arguments": "{\"a"}}]}, "finish_reason": "tool_calls"}]});
    let stream = frames(ShapeKind::OpenAiChat, &[call]);
    let (_server, client) =
        set_up(ShapeKind::OpenAiChat, vec![stream_script(ShapeKind::OpenAiChat, &stream)]).await;
    let reply = client.ask_stream(ask()).await.end.unwrap();
    assert_eq!((reply.tool_calls.len(), &reply.tool_calls[0].arguments), (1, &json!("{\"a")));
}

#[tokio::test]
async fn the_key_is_seen_in_the_request_and_nowhere_else() {
    let echo = json!({"error": {"message": format!("bad key {CANARY}")}}).to_string();
    for shape in SHAPES {
        for script in [
            response(401, &format!("x-request-id: {CANARY}\r\n"), &echo),
            response(500, "", &format!("<p>{CANARY}</p>")),
            response(200, "", &echo),
            response(200, "", &format!("not JSON {CANARY}")),
            stream_script(shape, &format!("data: {CANARY}\n\n")),
            stream_script(shape, &format!("{CANARY}\n\n")),
        ] {
            for streamed in [false, true] {
                let (server, client) = set_up(shape, vec![script.clone()]).await;
                let error = client.ask(streamed).await.end.unwrap_err();
                let shown = format!(
                    "{error:?} {error} {} {:?}",
                    serde_json::to_string(&error).unwrap(),
                    client.client()
                );
                assert!(!shown.contains("canary"), "{shape:?} streamed={streamed}: {shown}");
                assert!(server.requests().last().unwrap().contains(CANARY), "{shape:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_request_that_ollama_would_cut_is_refused() {
    let (server, client) = set_up(ShapeKind::Ollama, vec![good(ShapeKind::Ollama, false)]).await;
    let error = client.ask_whole(ChatRequest::prompt("x".repeat(200_000))).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BadRequest);
    assert_eq!(error.message(), "p: the request needs about 50004 tokens of context and the model has 32768");
    assert_eq!(attempts(&server), 0);
}
