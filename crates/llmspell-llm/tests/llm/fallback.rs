//! Fallback: a provider is down, and another one is available.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::{BoxFuture, join_all};
use futures_util::stream::{self, BoxStream};
use llmspell_core::capability::{Estimate, Models};
use llmspell_core::chat::{ChatRequest, Delta, Message, ModelInfo, Part, Reply, Role};
use llmspell_core::effect::Permit;
use llmspell_core::{CallInfo, Error, ErrorKind, Result};
use llmspell_llm::{Attempt, Client, Mock, ProtocolKind, Provider, ProviderConfig, RetryPolicy};
use serde_json::json;
use tokio::time::Instant;

use crate::fault_server::{FaultServer, Script, Step, response, stream_head};
use crate::support::{Answer, PROTOCOLS, frames, sample, scripts, stream_script};

const BACKUP: ProtocolKind = ProtocolKind::OpenAiChat;

/// A client of `p`, which plays scripts, and of `q`, which works.
async fn two(protocol: ProtocolKind, script: Script) -> (FaultServer, FaultServer, Client) {
    let first = FaultServer::start(scripts(protocol, vec![script])).await;
    let second = FaultServer::start(vec![good(false), good(true)]).await;
    let client = client(&[("p", protocol, &first.url), ("q", BACKUP, &second.url)]);
    (first, second, client)
}

fn good(streamed: bool) -> Script {
    let sample = sample(BACKUP);
    if streamed { stream_script(BACKUP, &sample.stream) } else { response(200, "", &sample.whole) }
}

fn client(providers: &[(&str, ProtocolKind, &str)]) -> Client {
    let retry = RetryPolicy { base: Duration::ZERO, ..RetryPolicy::default() };
    let builder = providers.iter().fold(Client::builder().retry(retry), |builder, (name, protocol, url)| {
        builder.provider(ProviderConfig::new(*name, *protocol, url).unwrap())
    });
    builder.build().unwrap()
}

fn asking(fallback: &[&str]) -> ChatRequest {
    ChatRequest {
        provider: Some("p".into()),
        model: Some("m".into()),
        fallback: fallback.iter().map(|name| (*name).to_owned()).collect(),
        ..ChatRequest::prompt("hello there")
    }
}

async fn streamed(client: &Client, request: ChatRequest) -> Answer {
    let mut text = String::new();
    let mut pieces = match client.stream(Permit::for_test(), request).await {
        Ok(pieces) => pieces,
        Err(error) => return Answer { text, end: Err(error) },
    };
    while let Some(piece) = pieces.next().await {
        match piece {
            Ok(Delta::Text { text: more }) => text.push_str(&more),
            Ok(Delta::Reasoning { .. }) => {}
            Ok(Delta::End { reply }) => return Answer { text, end: Ok(*reply) },
            Err(error) => return Answer { text, end: Err(error) },
        }
    }
    panic!("a stream ended without an end")
}

#[tokio::test]
async fn r21_another_model_answers_where_the_provider_is_at_fault_and_only_there() {
    let error = |message: &str| json!({"error": {"message": message}}).to_string();
    let quota = json!({"error": {"message": "pay", "code": "insufficient_quota"}}).to_string();
    for (status, body, tries, falls_back) in [
        (400, error("bad"), 1, false),
        (401, error("no"), 1, false),
        (403, error("no"), 1, false),
        (404, error("no such model"), 1, false),
        (413, error("long"), 1, false),
        (422, error("what"), 1, false),
        (402, error("pay"), 1, true),
        (429, quota, 1, true),
        (429, error("slow"), 3, true),
        (500, error("oh"), 3, true),
        (529, error("full"), 3, true),
        (200, "<html>".to_owned(), 2, true),
    ] {
        for protocol in PROTOCOLS {
            let (first, second, client) = two(protocol, response(status, "", &body)).await;
            let case = format!("{status} {body} {protocol:?}");
            match client.chat(Permit::for_test(), asking(&["q/n"])).await {
                Ok(reply) => {
                    assert!(falls_back, "{case}");
                    assert_eq!((reply.provider.as_str(), reply.model.as_str()), ("q", "m-1"), "{case}");
                    assert_eq!(reply.attempts, tries + 1, "{case}");
                    assert_eq!(reply.failed.len(), 1, "{case}");
                    assert!(reply.failed[0].starts_with("p/m: "), "{case}: {:?}", reply.failed);
                    assert!(second.requests()[0].contains(r#""model":"n""#), "{case}");
                }
                Err(error) => {
                    assert!(!falls_back, "{case}: {error:?}");
                    assert_eq!(error.call().unwrap().attempts, tries, "{case}");
                    assert_eq!(second.requests().len(), 0, "{case}");
                }
            }
            let asked = first
                .requests()
                .iter()
                .filter(|asked| !asked.contains("/api/show") && !asked.starts_with("GET "))
                .count();
            assert_eq!(asked, tries as usize, "{case}");
        }
    }
}

#[tokio::test]
async fn r21_a_server_that_is_not_there_is_fallen_back_from() {
    let second = FaultServer::start(vec![good(false)]).await;
    let client = client(&[("p", BACKUP, "http://127.0.0.1:1"), ("q", BACKUP, &second.url)]);
    let reply = client.chat(Permit::for_test(), asking(&["q/n"])).await.unwrap();
    assert_eq!((reply.provider.as_str(), reply.attempts), ("q", 4));
}

#[tokio::test]
async fn r10_a_stream_falls_back_before_its_first_piece_and_not_after_it() {
    for protocol in PROTOCOLS {
        let full = json!({"type": "error", "error": {"type": "overloaded_error", "message": "full"}});
        let before = stream_script(protocol, &frames(protocol, &[full]));
        let first = FaultServer::start(scripts(protocol, vec![before])).await;
        let second = FaultServer::start(vec![good(true)]).await;
        let both = client(&[("p", protocol, &first.url), ("q", BACKUP, &second.url)]);
        let answer = streamed(&both, asking(&["q/n"])).await;
        let reply = answer.end.unwrap();
        assert_eq!((answer.text.as_str(), reply.provider.as_str()), ("grüß 你好 🦀", "q"), "{protocol:?}");
        assert_eq!(
            (reply.attempts, reply.failed),
            (4, vec!["p/m: broke off: full".to_owned()]),
            "{protocol:?}"
        );

        let after = stream_script(protocol, &super::faults::beginning(protocol));
        let (_first, second, client) = two(protocol, after).await;
        let answer = streamed(&client, asking(&["q/n"])).await;
        let error = answer.end.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::StreamInterrupted, "{protocol:?}");
        assert_eq!(error.call().unwrap().partial.as_deref(), Some("grüß 你好 🦀"), "{protocol:?}");
        assert_eq!(second.requests().len(), 0, "{protocol:?}");
    }
}

#[tokio::test]
async fn when_all_fail_the_error_names_each_and_its_reason() {
    let busy = FaultServer::start(vec![response(503, "", r#"{"error": {"message": "busy"}}"#)]).await;
    let cut = FaultServer::start(vec![vec![stream_head("text/event-stream")]]).await;
    let strict = FaultServer::start(vec![response(401, "", r#"{"error": {"message": "who?"}}"#)]).await;
    let client = client(&[
        ("p", ProtocolKind::Gemini, &busy.url),
        ("q", BACKUP, &cut.url),
        ("r", ProtocolKind::Anthropic, &strict.url),
        ("s", BACKUP, &busy.url),
    ]);
    let error = streamed(&client, asking(&["q/n", "p/m", "q/n", "r/o", "s/m"])).await.end.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Auth, "what ended it");
    assert_eq!(
        error.message(),
        "p/m: answered 503: busy; q/n: the stream is empty: nothing; r/o: answered 401: who?"
    );
    let call = error.call().unwrap();
    assert_eq!((call.attempts, call.provider.as_deref(), call.status), (6, Some("r"), Some(401)));
    assert!(error.is_retryable() && call.usage.as_ref().is_some_and(|usage| usage.input_tokens > 0));
}

#[tokio::test]
async fn a_name_that_is_unknown_is_told_before_anything_is_sent() {
    let (first, second, client) = two(BACKUP, good(false)).await;
    for (name, kind, message) in [
        ("groq/x", ErrorKind::NoProvider, "fallback `groq/x`: the provider `groq` is not set up"),
        ("opnai/x", ErrorKind::NoProvider, "fallback `opnai/x`: there is no provider `opnai`"),
        ("q/", ErrorKind::UnknownModel, "fallback `q/`: `q` has no default model"),
    ] {
        let whole = client.chat(Permit::for_test(), asking(&["q/n", name])).await.unwrap_err();
        let streamed = streamed(&client, asking(&["q/n", name])).await.end.unwrap_err();
        for error in [whole, streamed] {
            assert_eq!((error.kind(), error.message()), (kind, message));
        }
    }
    assert_eq!((first.requests().len(), second.requests().len()), (0, 0));
}

#[test]
fn the_dearest_of_those_that_may_answer_is_set_aside_for() {
    let row = |name| ProviderConfig::from_row(llmspell_llm::ProviderRow::find(name).unwrap());
    let client =
        Client::builder().provider(row("openai")).provider(row("ollama")).mock(Mock::new()).build().unwrap();
    let estimate = |model: &str, fallback: &[&str]| {
        let (provider, model) = model.split_once('/').unwrap();
        let fallback = fallback.iter().map(|name| (*name).to_owned()).collect();
        let request = ChatRequest {
            provider: Some(provider.into()),
            model: Some(model.into()),
            fallback,
            ..ChatRequest::prompt("hi")
        };
        let Estimate { max_output, price, .. } = client.estimate(&request);
        (price.map(|price| (price.input, price.output)), max_output)
    };
    assert_eq!(estimate("mock/echo", &[]), (Some((0.0, 0.0)), Some(4_096)));
    assert_eq!(estimate("mock/echo", &["mock/echo-large"]), (Some((1.0, 2.0)), Some(4_096)));
    assert_eq!(estimate("openai/gpt-4o", &["mock/echo-large"]), (Some((2.5, 10.0)), Some(16_384)));
    assert_eq!(estimate("openai/gpt-4o", &["ollama/x"]), (Some((2.5, 10.0)), Some(16_384)));
    assert_eq!(estimate("openai/gpt-4o", &["openai/of-tomorrow"]), (None, Some(16_384)));
}

#[tokio::test]
async fn what_one_provider_signed_is_not_shown_to_another() {
    let (_first, second, client) = two(ProtocolKind::Anthropic, response(503, "", "{}")).await;
    let signed = Reply {
        text: "hm".into(),
        reasoning_parts: vec![Part::Reasoning {
            text: "secret thought".into(),
            signature: Some("sig-1".into()),
            provider: Some("p".into()),
        }],
        ..Reply::default()
    };
    let messages = vec![signed.to_message(), Message::text(Role::User, "go on")];
    client.chat(Permit::for_test(), ChatRequest { messages, ..asking(&["q/n"]) }).await.unwrap();
    let sent = second.requests().remove(0);
    assert!(sent.contains("hm") && !sent.contains("secret thought") && !sent.contains("sig-1"), "{sent}");
}

/// A provider that is down until the test changes that. Counts its calls.
#[derive(Clone, Default)]
struct Flaky {
    up: Arc<AtomicBool>,
    asked: Arc<AtomicUsize>,
    takes: Duration,
}

impl Flaky {
    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

impl Provider for Flaky {
    fn chat(&self, _: Attempt) -> BoxFuture<'static, Result<Reply>> {
        let this = self.clone();
        this.asked.fetch_add(1, Ordering::SeqCst);
        Box::pin(async move {
            tokio::time::sleep(this.takes).await;
            match this.up.load(Ordering::SeqCst) {
                true => Ok(Reply::default()),
                false => Err(Error::new(ErrorKind::Overloaded, "down")
                    .with_retryable(true)
                    .with_call(CallInfo { status: Some(503), ..CallInfo::default() })),
            }
        })
    }

    fn stream(&self, attempt: Attempt) -> BoxFuture<'static, Result<BoxStream<'static, Result<Delta>>>> {
        let reply = self.chat(attempt);
        Box::pin(async move {
            let reply = Box::new(reply.await?);
            Ok(stream::iter([Ok(Delta::End { reply })]).boxed())
        })
    }

    fn models(&self) -> BoxFuture<'static, Result<Vec<ModelInfo>>> {
        Box::pin(async { Ok(Vec::new()) })
    }
}

fn flaky(takes: Duration, retry: RetryPolicy) -> (Flaky, Flaky, Client) {
    let (first, second) = (Flaky { takes, ..Flaky::default() }, Flaky::default());
    second.up.store(true, Ordering::SeqCst);
    let client = Client::builder()
        .custom("p", Arc::new(first.clone()))
        .custom("q", Arc::new(second.clone()))
        .retry(retry)
        .build()
        .unwrap();
    (first, second, client)
}

#[tokio::test(start_paused = true)]
async fn r21_the_breaker_opens_asks_one_at_a_time_and_closes() {
    let (first, second, client) = flaky(Duration::from_secs(1), RetryPolicy::none());
    let ask = |number: usize| {
        let client = client.clone();
        async move {
            if number.is_multiple_of(2) {
                client.chat(Permit::for_test(), asking(&["q/n"])).await.unwrap()
            } else {
                streamed(&client, asking(&["q/n"])).await.end.unwrap()
            }
        }
    };
    for number in 0..20 {
        assert_eq!(ask(number).await.provider, "q");
    }
    assert_eq!((first.asked(), second.asked()), (5, 20));
    let told = ask(20).await.failed;
    assert_eq!(told, ["p/m: not asked: the last 5 tries failed, and it is asked again in 15.0 s"]);

    // Half open: one call of many probes the provider and fails; then no call passes for twice the time.
    tokio::time::sleep(Duration::from_secs(15)).await;
    join_all((0..10).map(ask)).await;
    assert_eq!(first.asked(), 6);
    tokio::time::sleep(Duration::from_secs(29)).await;
    ask(0).await;
    assert_eq!(first.asked(), 6);

    first.up.store(true, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(ask(0).await.provider, "p");
    for reply in join_all((0..10).map(ask)).await {
        assert_eq!((reply.provider.as_str(), reply.failed.len()), ("p", 0));
    }
    assert_eq!(first.asked(), 17);
}

#[tokio::test(start_paused = true)]
async fn r21_without_a_fallback_who_asks_one_after_another_is_never_turned_away() {
    let (first, _, client) = flaky(Duration::ZERO, RetryPolicy::default());
    for number in 1..=20 {
        let error = client.chat(Permit::for_test(), asking(&[])).await.unwrap_err();
        assert_eq!((error.message(), error.call().unwrap().attempts), ("down", 3));
        assert_eq!(first.asked(), number * 3);
    }
    first.up.store(true, Ordering::SeqCst);
    client.chat(Permit::for_test(), asking(&[])).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn r21_without_a_fallback_many_at_once_do_not_all_find_out() {
    let (first, _, client) = flaky(Duration::from_secs(1), RetryPolicy::default());
    let calls = join_all((0..1_000).map(|_| client.chat(Permit::for_test(), asking(&[])))).await;
    let (mut failed, mut away) = (0, 0);
    for error in calls.into_iter().map(Result::unwrap_err) {
        match error.call().unwrap() {
            CallInfo { attempts: 3, .. } => failed += 1,
            CallInfo { attempts: 0, retry_after: Some(_), .. } => {
                assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Overloaded, true));
                assert!(error.message().starts_with("p: not asked: the last "), "{error}");
                away += 1;
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(failed + away, 1_000);
    assert!(away > 900 && first.asked() < 200, "{away} turned away, {} tries", first.asked());
}

#[tokio::test(start_paused = true)]
async fn r21_what_passes_within_a_calls_tries_is_not_noticed() {
    let (first, _, client) = flaky(
        Duration::from_millis(100),
        RetryPolicy { base: Duration::from_secs(4), ..RetryPolicy::default() },
    );
    fastrand::seed(3);
    let up = Arc::clone(&first.up);
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(150)).await;
        up.store(true, Ordering::SeqCst);
    });
    let calls = join_all((0..200).map(|_| client.chat(Permit::for_test(), asking(&[])))).await;
    assert!(calls.iter().all(Result::is_ok));
}

#[tokio::test(start_paused = true)]
async fn r22_the_time_of_a_call_is_for_all_that_it_falls_back_on() {
    let (first, second, client) =
        flaky(Duration::from_secs(400), RetryPolicy { base: Duration::ZERO, ..RetryPolicy::default() });
    let begin = Instant::now();
    let error = client.chat(Permit::for_test(), asking(&["q/n"])).await.unwrap_err();
    assert_eq!((error.kind(), begin.elapsed()), (ErrorKind::Timeout, Duration::from_secs(600)));
    assert_eq!((first.asked(), second.asked()), (2, 0));
}

#[tokio::test]
async fn a_hang_is_given_up_and_fallen_back_from() {
    let hang = FaultServer::start(vec![vec![Step::Hang]]).await;
    let second = FaultServer::start(vec![good(false)]).await;
    let timeouts = llmspell_llm::Timeouts {
        first_byte: Duration::from_millis(100),
        ..llmspell_llm::Timeouts::default()
    };
    let client = Client::builder()
        .provider(ProviderConfig::new("p", BACKUP, &hang.url).unwrap())
        .provider(ProviderConfig::new("q", BACKUP, &second.url).unwrap())
        .timeouts(timeouts)
        .build()
        .unwrap();
    let reply = client.chat(Permit::for_test(), asking(&["q/n"])).await.unwrap();
    assert_eq!((reply.provider.as_str(), reply.attempts), ("q", 2));
}

#[tokio::test]
async fn a_model_with_a_fallback_does_not_wait_for_one_that_asks_for_a_while() {
    let gemini = json!({"error": {"code": 429, "message": "slow", "details": [
        {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "25s"}]}});
    for (protocol, status, headers, body) in [
        (ProtocolKind::OpenAiChat, 429, "retry-after: 25\r\n", json!({})),
        (ProtocolKind::Anthropic, 503, "retry-after: 25\r\n", json!({})),
        (ProtocolKind::Gemini, 429, "", gemini),
    ] {
        let (first, second, client) = two(protocol, response(status, headers, &body.to_string())).await;
        let begin = Instant::now();
        for _ in 0..2 {
            let reply = client.chat(Permit::for_test(), asking(&["q/n"])).await.unwrap();
            assert_eq!(reply.provider, "q", "{protocol:?}");
            let answer = streamed(&client, asking(&["q/n"])).await;
            assert_eq!(answer.end.unwrap().provider, "q", "{protocol:?}");
        }
        assert!(begin.elapsed() < Duration::from_secs(20), "{protocol:?}");
        // The hold of the first answer applies to the other calls.
        assert_eq!((first.requests().len(), second.requests().len()), (1, 4), "{protocol:?}");
    }
}

#[tokio::test]
async fn geminis_retry_delay_is_a_retry_after() {
    let body = json!({"error": {"code": 429, "message": "You exceeded your current quota, please check your plan and billing details.",
        "status": "RESOURCE_EXHAUSTED", "details": [{"retryDelay": "86400.5s"}]}});
    let server = FaultServer::start(vec![response(429, "", &body.to_string())]).await;
    let client = client(&[("p", ProtocolKind::Gemini, &server.url)]);
    let error = client.chat(Permit::for_test(), asking(&[])).await.unwrap_err();
    assert_eq!((error.kind(), error.call().unwrap().retry_after), (ErrorKind::RateLimited, Some(86_400.5)));
}
