//! Calls that fail on their way: which are retried, how long the client waits, and connection failures.

use std::time::{Duration, Instant};

use llmspell_core::ErrorKind::{self, *};
use llmspell_core::capability::Models as _;
use llmspell_core::chat::{ChatRequest, Usage};
use llmspell_core::effect::Permit;
use llmspell_llm::{ProtocolKind, RetryPolicy, Timeouts};
use serde_json::json;

use super::{attempts, beginning, good, set_up};
use crate::fault_server::{FaultServer, Script, Step, chunked, chunked_head, response, stream_head};
use crate::support::{CANARY, PROTOCOLS, ask, client, sample, stream_of, stream_script};

#[tokio::test]
async fn r3_r5_r6_what_may_pass_is_tried_again_and_what_may_not_is_not() {
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
        for protocol in PROTOCOLS {
            for streamed in [false, true] {
                let (server, client) =
                    set_up(protocol, vec![response(status, "x-request-id: req-7\r\n", &body)]).await;
                let answer = client.ask(streamed).await;
                let error = answer.end.unwrap_err();
                let case = format!("{status} {body} {protocol:?} streamed={streamed}: {error:?}");
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
async fn r3_a_try_that_works_after_some_that_did_not_counts_them() {
    for protocol in PROTOCOLS {
        for streamed in [false, true] {
            let busy = response(503, "", "{}");
            let (server, client) = set_up(protocol, vec![busy.clone(), busy, good(protocol, streamed)]).await;
            let reply = client.ask(streamed).await.end.unwrap();
            assert_eq!(reply.attempts, 3, "{protocol:?} streamed={streamed}");
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
async fn r2_a_wait_that_would_outlast_the_run_is_not_begun() {
    for streamed in [false, true] {
        let (server, client) =
            set_up(ProtocolKind::OpenAiChat, vec![response(429, "retry-after: 30\r\n", "{}")]).await;
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
async fn r7_r8_a_connection_that_fails_is_tried_again_unless_the_request_may_have_been_served() {
    let protocol = ProtocolKind::OpenAiChat;
    let quiet: Script = Vec::new();
    for (name, script, retry, tries) in [
        ("reset", vec![Step::Reset], RetryPolicy::default(), 3),
        ("closed after the request", quiet.clone(), RetryPolicy::default(), 1),
        ("closed, repeats allowed", quiet, RetryPolicy { repeat_paid: true, ..RetryPolicy::default() }, 2),
    ] {
        let server = FaultServer::start(vec![script]).await;
        let retry = RetryPolicy { base: Duration::ZERO, ..retry };
        let client = client(protocol, &server.url, |builder| builder.retry(retry));
        let error = client.ask(false).await.end.unwrap_err();
        assert_eq!((error.kind(), error.is_retryable()), (Network, true), "{name}: {error:?}");
        let estimated = error.call().unwrap().usage.as_ref().unwrap().estimated;
        assert_eq!(estimated, name != "reset", "what may have been served may have to be paid for: {name}");
        assert_eq!(attempts(&server), tries, "{name}: {error:?}");
    }

    let refused = client(protocol, "http://127.0.0.1:1", |builder| builder);
    let error = refused.ask(false).await.end.unwrap_err();
    assert_eq!((error.kind(), error.call().unwrap().attempts), (Network, 3));
    assert!(error.message().starts_with("p: no connection to 127.0.0.1:1: "), "{error}");

    // A server that answers a TLS handshake with plain text.
    let server = FaultServer::start(vec![response(200, "", "{}")]).await;
    let plain = client(protocol, &server.url.replace("http:", "https:"), |builder| builder);
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
    let protocol = ProtocolKind::OpenAiChat;
    let stream = sample(protocol).stream;
    // Seems to keep the connection alive, and closes it at the next byte.
    let kept = vec![
        chunked_head(stream_of(protocol)),
        chunked(stream.as_bytes()),
        Step::Send(b"0\r\n\r\n".to_vec()),
        Step::Hang,
    ];
    let (server, client) = set_up(protocol, vec![kept]).await;
    for _ in 0..3 {
        assert_eq!(client.ask_stream(ask()).await.end.unwrap().attempts, 1);
    }
    assert_eq!(attempts(&server), 3);
}

#[tokio::test]
async fn r19_a_redirect_is_not_followed() {
    for protocol in PROTOCOLS {
        let elsewhere = FaultServer::start(vec![response(200, "", "{}")]).await;
        for status in [301, 302, 307, 308] {
            let headers = format!("location: {}/\r\n", elsewhere.url);
            let (_server, client) = set_up(protocol, vec![response(status, &headers, "")]).await;
            for streamed in [false, true] {
                let error = client.ask(streamed).await.end.unwrap_err();
                assert_eq!(error.kind(), BadResponse, "{protocol:?} {status} streamed={streamed}");
            }
        }
        assert_eq!(elsewhere.requests(), [] as [String; 0], "{protocol:?}");
    }
}

#[tokio::test]
async fn r9_a_provider_that_is_slow_is_given_up_on() {
    let short = Duration::from_millis(100);
    let long = Timeouts::default();
    let protocol = ProtocolKind::Anthropic;
    let begun = [stream_script(protocol, &beginning(protocol)), vec![Step::Hang]].concat();
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
        let client = client(protocol, &server.url, |builder| builder.timeouts(timeouts));
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
async fn r9_pings_keep_a_stream_alive_but_not_for_ever() {
    let protocol = ProtocolKind::OpenAiChat;
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
    let client = client(protocol, &server.url, |builder| builder.timeouts(timeouts));
    let error = client.ask_stream(ask()).await.end.unwrap_err();
    assert_eq!(error.message(), "p: the call took longer than its limit of 1.2 s");
}

#[tokio::test]
async fn r5_the_key_is_seen_in_the_request_and_nowhere_else() {
    let echo = json!({"error": {"message": format!("bad key {CANARY}")}}).to_string();
    for protocol in PROTOCOLS {
        for script in [
            response(401, &format!("x-request-id: {CANARY}\r\n"), &echo),
            response(500, "", &format!("<p>{CANARY}</p>")),
            response(200, "", &echo),
            response(200, "", &format!("not JSON {CANARY}")),
            stream_script(protocol, &format!("data: {CANARY}\n\n")),
            stream_script(protocol, &format!("{CANARY}\n\n")),
        ] {
            for streamed in [false, true] {
                let (server, client) = set_up(protocol, vec![script.clone()]).await;
                let error = client.ask(streamed).await.end.unwrap_err();
                let shown = format!(
                    "{error:?} {error} {} {:?}",
                    serde_json::to_string(&error).unwrap(),
                    client.client()
                );
                assert!(!shown.contains("canary"), "{protocol:?} streamed={streamed}: {shown}");
                assert!(server.requests().last().unwrap().contains(CANARY), "{protocol:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_request_that_ollama_would_cut_is_refused() {
    let (server, client) = set_up(ProtocolKind::Ollama, vec![good(ProtocolKind::Ollama, false)]).await;
    let error = client.ask_whole(ChatRequest::prompt("x".repeat(200_000))).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ContextExceeded);
    assert_eq!(error.message(), "p: the request needs about 50004 tokens of context and the model has 32768");
    let call = error.call().unwrap();
    assert_eq!((call.limit_tokens, call.prompt_tokens, call.attempts), (Some(32_768), Some(50_004), 0));
    assert_eq!(attempts(&server), 0);
}
