//! Rate limits, as the provider's server observes them.

use std::num::{NonZeroU32, NonZeroUsize};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use llmspell_core::ErrorKind;
use llmspell_core::capability::Models;
use llmspell_core::chat::{ChatRequest, Seconds};
use llmspell_core::effect::Permit;
use llmspell_core::embed::EmbedRequest;
use llmspell_llm::{Client, Mock, ProtocolKind, ProviderConfig, RateLimits, RetryPolicy};

use crate::fault_server::{FaultServer, Script, response};
use crate::support::{PROTOCOLS, ask, client, sample, scripts, stream_script};

fn good(headers: &str) -> Script {
    response(200, headers, &sample(ProtocolKind::OpenAiChat).whole)
}

/// Returns a client of one provider, `p`, that never retries.
fn once(url: &str, key: &str, pace: RateLimits) -> Client {
    let config = ProviderConfig::new("p", ProtocolKind::OpenAiChat, url).unwrap().key(key);
    Client::builder().provider(config).retry(RetryPolicy::none()).pace(pace).build().unwrap()
}

#[tokio::test]
async fn r1_after_a_429_nobody_of_its_key_calls_before_the_time() {
    const WAIT: Duration = Duration::from_millis(400);
    let slow = |status| response(status, "retry-after-ms: 400\r\n", "{}");
    let spent = "x-ratelimit-remaining-tokens: 0\r\nx-ratelimit-reset-tokens: 400ms\r\n";
    for first in [slow(429), slow(503), slow(529), good(spent)] {
        let server = FaultServer::start(vec![first, good("")]).await;
        let clients = ["k", "k", "another"].map(|key| once(&server.url, key, RateLimits::default()));
        let _ = clients[0].chat(Permit::for_test(), ask()).await;
        let begin = Instant::now();
        let (held, free) = tokio::join!(
            clients[1].chat(Permit::for_test(), ask()),
            clients[2].chat(Permit::for_test(), ask()),
        );
        assert_eq!((held.unwrap().attempts, free.unwrap().attempts), (1, 1));
        let times = server.times();
        // The wait begins when the client reads the answer, which is after the server received the first request.
        assert!(times[2] - times[0] >= WAIT, "{:?}", times[2] - times[0]);
        assert!(times[1] - begin < WAIT, "another key is another's");
    }
}

#[tokio::test]
async fn r2_a_wait_that_is_too_long_is_no_wait_for_anybody() {
    for (headers, timeout, told) in [
        ("retry-after: 86400\r\n", 600.0, Some(86_000.0..=86_400.0)),
        ("retry-after: 1e400\r\n", 600.0, Some(4e9..=5e9)),
        ("retry-after: 60\r\n", 5.0, Some(59.0..=60.0)),
        ("retry-after: NaN\r\n", 600.0, None),
        ("retry-after: -1\r\n", 600.0, None),
        ("x-ratelimit-remaining-requests: 0\r\nx-ratelimit-reset-requests: 9h\r\n", 5.0, Some(119.0..=120.0)),
    ] {
        let server = FaultServer::start(vec![response(429, headers, "{}"), good("")]).await;
        let client = once(&server.url, "k", RateLimits::default());
        let asked = || ChatRequest { timeout: Some(Seconds::try_from(timeout).unwrap()), ..ask() };
        let first = client.chat(Permit::for_test(), asked()).await.unwrap_err();
        assert_eq!(first.kind(), ErrorKind::RateLimited, "{headers}");
        let begin = Instant::now();
        let next = client.chat(Permit::for_test(), asked()).await;
        assert!(begin.elapsed() < Duration::from_secs(3), "{headers}");
        match told {
            None => assert_eq!(next.unwrap().attempts, 1, "{headers}"),
            Some(range) => {
                let error = next.unwrap_err();
                let call = error.call().unwrap();
                assert_eq!(
                    (error.kind(), error.is_retryable(), call.attempts),
                    (ErrorKind::RateLimited, true, 0)
                );
                assert!(call.retry_after.is_some_and(|wait| range.contains(&wait)), "{headers}: {call:?}");
                assert!(error.message().starts_with("p: the provider asked not to be called"), "{error}");
                assert_eq!(server.requests().len(), 1, "{headers}");
            }
        }
    }
}

#[tokio::test]
async fn r2_a_wait_is_of_the_model_that_asked_for_it_and_lets_a_fallback_pass() {
    for protocol in PROTOCOLS {
        for streamed in [false, true] {
            let case = format!("{protocol:?} streamed={streamed}");
            let works = sample(protocol);
            let works = if streamed {
                stream_script(protocol, &works.stream)
            } else {
                response(200, "", &works.whole)
            };
            let full = response(429, "retry-after: 86400\r\n", "{}");
            let server = FaultServer::start(scripts(protocol, vec![full, works])).await;
            let client = client(protocol, &server.url, |builder| builder);
            let asking = async |model: &str, fallback: &[&str]| {
                let fallback = fallback.iter().map(|name| (*name).to_owned()).collect();
                let request = ChatRequest { model: Some(model.into()), fallback, ..ask() };
                if streamed { client.ask_stream(request).await.end } else { client.ask_whole(request).await }
            };
            let begin = Instant::now();
            let error = asking("m", &[]).await.unwrap_err();
            let call = error.call().unwrap();
            assert_eq!((call.attempts, call.retry_after), (1, Some(86_400.0)), "{case}: {error:?}");
            asking("n", &[]).await.unwrap();
            let sent = server.requests().len();
            let error = asking("m", &[]).await.unwrap_err();
            assert!(
                error.message().starts_with("p: the provider asked not to be called with `m`"),
                "{case}: {error}"
            );
            assert_eq!(server.requests().len(), sent, "{case}");
            let reply = asking("m", &["p/n"]).await.unwrap();
            assert_eq!((reply.attempts, reply.failed.len()), (1, 1), "{case}: {reply:?}");
            assert!(begin.elapsed() < Duration::from_secs(5), "{case}");
        }
    }
}

#[tokio::test]
async fn r2_models_for_vectors_and_for_words_do_not_hold_each_other() {
    let vectors = response(200, "", r#"{"data": [{"index": 0, "embedding": [1.0]}]}"#);
    let full = response(429, "retry-after: 86400\r\n", "{}");
    let server = FaultServer::start(vec![full.clone(), good(""), full, vectors]).await;
    let client = once(&server.url, "k", RateLimits::default());
    let embed = |model: &str| {
        let model = Some(model.to_owned());
        let request = EmbedRequest {
            texts: vec!["x".into()],
            provider: Some("p".into()),
            model,
            ..EmbedRequest::default()
        };
        client.embed(Permit::for_test(), request)
    };
    assert_eq!(embed("e").await.unwrap_err().call().unwrap().retry_after, Some(86_400.0));
    client.chat(Permit::for_test(), ask()).await.unwrap();
    let asked = ChatRequest { model: Some("n".into()), ..ask() };
    assert!(client.chat(Permit::for_test(), asked).await.is_err());
    embed("f").await.unwrap();
    assert_eq!(embed("e").await.unwrap_err().call().unwrap().attempts, 0);
}

#[tokio::test]
async fn r24_the_server_sees_no_more_than_the_rate_and_every_call_ends() {
    // Thirty immediately, and then 4.4 per second.
    let pace = RateLimits { requests_per_minute: NonZeroU32::new(300), ..RateLimits::default() };
    let server = FaultServer::start(vec![good("")]).await;
    let client = once(&server.url, "k", pace);
    let begin = Instant::now();
    let replies = join_all((0..36).map(|_| client.chat(Permit::for_test(), ask()))).await;
    assert!(replies.iter().all(Result::is_ok), "{replies:?}");
    let times = server.times();
    assert_eq!(times.len(), 36);
    for (at, time) in times.iter().enumerate().skip(30) {
        let least = Duration::from_millis(225) * u32::try_from(at - 29).unwrap();
        assert!(*time - begin > least, "call {at} after {:?}", *time - begin);
    }
}

#[tokio::test(start_paused = true)]
async fn r24_a_hundred_calls_at_sixty_a_minute_take_their_time() {
    let pace = RateLimits { requests_per_minute: NonZeroU32::new(60), ..RateLimits::default() };
    let client = Client::builder().mock(Mock::new().forgetful()).pace(pace).build().unwrap();
    let asked = || ChatRequest { provider: Some("mock".into()), model: Some("echo".into()), ..ask() };
    let begin = tokio::time::Instant::now();
    let calls = join_all((0..100).map(|_| client.chat(Permit::for_test(), asked())));
    assert!(calls.await.iter().all(Result::is_ok));
    assert_eq!(begin.elapsed().as_secs(), 104);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_waits_for_its_next_try_holds_no_place() {
    fastrand::seed(7);
    let failure = llmspell_core::Error::new(ErrorKind::Overloaded, "busy").with_retryable(true);
    let retry = RetryPolicy {
        base: Duration::from_secs(60),
        most: Duration::from_secs(60),
        ..RetryPolicy::default()
    };
    let pace = RateLimits { in_flight: NonZeroUsize::new(1), ..RateLimits::default() };
    let mock = Mock::new().error(failure);
    let client = Client::builder().mock(mock.clone()).retry(retry).pace(pace).build().unwrap();
    let asked = || ChatRequest { provider: Some("mock".into()), model: Some("echo".into()), ..ask() };
    let begin = tokio::time::Instant::now();
    let first = tokio::spawn(client.chat(Permit::for_test(), asked()));
    while mock.requests().is_empty() {
        tokio::task::yield_now().await;
    }
    assert_eq!(client.chat(Permit::for_test(), asked()).await.unwrap().attempts, 1);
    assert_eq!(begin.elapsed(), Duration::ZERO);
    assert_eq!(first.await.unwrap().unwrap().attempts, 2);
    assert!(begin.elapsed() > Duration::ZERO);
}

#[tokio::test]
async fn headers_that_are_garbage_change_nothing() {
    for protocol in PROTOCOLS {
        let mut headers = String::new();
        for (which, text) in
            [("limit", "-5"), ("remaining", "0"), ("reset", "soon"), ("limit", "99999999999999999999")]
        {
            headers += &format!(
                "x-ratelimit-{which}-requests: {text}\r\nanthropic-ratelimit-tokens-{which}: {text}\r\n"
            );
        }
        let server =
            FaultServer::start(scripts(protocol, vec![response(200, &headers, &sample(protocol).whole)]))
                .await;
        let config = ProviderConfig::new("p", protocol, &server.url).unwrap();
        let client = Client::builder().provider(config).build().unwrap();
        for _ in 0..3 {
            client.chat(Permit::for_test(), ask()).await.unwrap();
        }
    }
}
