//! The network gate: redirects, limits and recording, over an invented network.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt, pending, ready};
use futures_util::stream::{self, BoxStream, StreamExt};
use llmspell_core::capability::{ConnectPermit, HttpRequest, Incoming, MAX_BODY, Net, Outgoing};
use llmspell_core::effect::{Journal, MemoryJournal, Permit};
use llmspell_core::replay::Replay;
use llmspell_core::{Context, Error, Grant, Limits, Permissions, Result};
use proptest::prelude::*;
use tokio::time::Instant;

type Respond = Box<dyn Fn(&str) -> Option<Incoming> + Send + Sync>;

/// A network in which every name has one public address. It records its requests, one line per hop.
struct Made {
    /// Answers a URL; `None` never answers.
    respond: Respond,
    asked: Mutex<Vec<String>>,
}

impl Made {
    fn new(respond: impl Fn(&str) -> Option<Incoming> + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self { respond: Box::new(respond), asked: Mutex::default() })
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

impl Net for Made {
    fn resolve(&self, _: &Permit, _: &str) -> BoxFuture<'static, Result<Vec<IpAddr>>> {
        ready(Ok(vec!["93.184.216.34".parse().unwrap()])).boxed()
    }

    fn exchange(&self, dial: ConnectPermit, outgoing: Outgoing) -> BoxFuture<'static, Result<Incoming>> {
        let fields: Vec<_> =
            outgoing.headers.iter().map(|(name, value)| format!(" {name}={value}")).collect();
        let body = String::from_utf8_lossy(&outgoing.body).into_owned();
        let line = format!("{} {}{} {body}", outgoing.method, dial.url(), fields.concat());
        self.asked.lock().unwrap().push(line.trim_end().to_owned());
        match (self.respond)(dial.url().as_str()) {
            Some(incoming) => ready(Ok(incoming)).boxed(),
            None => pending().boxed(),
        }
    }
}

fn incoming(body: BoxStream<'static, Result<Bytes>>) -> Option<Incoming> {
    Some(Incoming { status: 200, headers: Vec::new(), body })
}

fn respond(status: u16, location: &str) -> Option<Incoming> {
    let headers = if location.is_empty() { Vec::new() } else { vec![("Location".into(), location.into())] };
    let pieces = ["o", "k"].map(|piece| Ok(Bytes::from_static(piece.as_bytes())));
    Some(Incoming { status, headers, body: stream::iter(pieces).boxed() })
}

fn run(net: &Arc<Made>, grants: &str) -> Context {
    let net: Arc<dyn Net> = Arc::clone(net) as _;
    let rules = grants.split_whitespace().map(|rule| rule.parse().unwrap());
    let permissions = Permissions { net: rules.collect(), ..Permissions::default() };
    Context::builder().permissions(permissions).net(net).build()
}

/// A request with two credentials and an ordinary header; a `POST` also has a body.
fn request(method: &str, url: &str) -> HttpRequest {
    let mut request = HttpRequest::new(method, url);
    for (name, value) in [("Authorization", "hunter2"), ("X-Api-Key", "hunter2"), ("X-Note", "n")] {
        request.headers.set(name, value).unwrap();
    }
    if method == "POST" {
        request.headers.set("Content-Type", "text/plain").unwrap();
        request.body = Bytes::from_static(b"body");
    }
    request
}

#[tokio::test]
async fn redirects_are_followed_as_browsers_do_and_secrets_stay_where_they_belong() {
    const KEYS: &str = "authorization=hunter2 x-api-key=hunter2 x-note=n";
    for (method, url, status, to, second) in [
        ("GET", "https://a.test/", 302, "/next", "GET https://a.test/next KEYS"),
        ("GET", "https://a.test/", 308, "//b.test/", "GET https://b.test/ x-note=n"),
        ("GET", "https://a.test/", 302, "https://a.test:444/", "GET https://a.test:444/ x-note=n"),
        ("GET", "https://a.test/", 302, "http://a.test/", "GET http://a.test/"),
        ("GET", "http://a.test/", 302, "https://a.test/", "GET https://a.test/ x-note=n"),
        ("POST", "https://a.test/", 301, "/next", "GET https://a.test/next KEYS"),
        ("POST", "https://a.test/", 302, "/next", "GET https://a.test/next KEYS"),
        ("PUT", "https://a.test/", 302, "/next", "PUT https://a.test/next KEYS"),
        ("PUT", "https://a.test/", 303, "/next", "GET https://a.test/next KEYS"),
        ("HEAD", "https://a.test/", 303, "/next", "HEAD https://a.test/next KEYS"),
        (
            "POST",
            "https://a.test/",
            307,
            "/next",
            "POST https://a.test/next KEYS content-type=text/plain body",
        ),
        (
            "POST",
            "https://a.test/",
            308,
            "//b.test/",
            "POST https://b.test/ x-note=n content-type=text/plain body",
        ),
    ] {
        let net = Made::new(move |asked| if asked == url { respond(status, to) } else { respond(200, "") });
        let (response, _) = run(&net, "a.test b.test").net().fetch(request(method, url)).await.unwrap();
        assert_eq!(net.asked()[1..], [second.replace("KEYS", KEYS)], "{method} {url} {status} {to}");
        assert_eq!(response.head.url, second.split(' ').nth(1).unwrap());
        assert_eq!(response.body, "ok");
    }
}

#[tokio::test]
async fn a_redirect_that_cannot_be_followed_is_an_error_and_one_that_is_not_wanted_an_answer() {
    for (method, to, expected) in [
        (
            "GET",
            "https://c.test/x",
            "permission.denied: redirected by https://a.test: the spell was not granted c.test:443",
        ),
        (
            "GET",
            "http://a.test/",
            "permission.denied: redirected by https://a.test: the spell was not granted a.test:80",
        ),
        (
            "GET",
            "file:///etc/passwd",
            "parse: redirected by https://a.test: `file:///etc/passwd` cannot be fetched: `file` is neither http nor https",
        ),
        (
            "GET",
            "https://u:p@a.test/",
            "parse: redirected by https://a.test: a URL must not hold a user or a password",
        ),
        ("GET", "https://[", "bad_response: https://a.test redirects to no address: invalid IPv6 address"),
        ("GET", "/again", "bad_response: redirected more than 5 times"),
        (
            "POST",
            "http://a.test/",
            "bad_response: https://a.test redirects what was sent to it to where it would go unencrypted",
        ),
    ] {
        let net = Made::new(move |_| respond(307, to));
        let error =
            run(&net, "a.test:443").net().fetch(request(method, "https://a.test/")).await.unwrap_err();
        assert_eq!(format!("{}: {}", error.kind(), error.message()), expected);
    }
    let net = Made::new(|_| respond(302, "https://c.test/"));
    let stay = HttpRequest { follow: false, ..request("GET", "https://a.test/") };
    let (response, _) = run(&net, "a.test").net().fetch(stay).await.unwrap();
    assert_eq!((response.head.status, response.head.headers.get("LOCATION")), (302, Some("https://c.test/")));
}

/// Returns an error and the seconds until it occurred.
async fn failure(net: &Arc<Made>, timeout: u64) -> String {
    let request = HttpRequest { timeout: Duration::from_secs(timeout), ..request("GET", "https://a.test/") };
    let begun = Instant::now();
    let error = run(net, "a.test").net().fetch(request).await.unwrap_err();
    format!("{} s: {}: {}", begun.elapsed().as_secs(), error.kind(), error.message())
}

/// A body that sends a byte every `seconds`, forever.
fn dripping(seconds: u64) -> Arc<Made> {
    Made::new(move |_| {
        let wait = move |()| async move {
            tokio::time::sleep(Duration::from_secs(seconds)).await;
            Some((Ok(Bytes::from_static(b"x")), ()))
        };
        incoming(stream::unfold((), wait).boxed())
    })
}

#[tokio::test(start_paused = true)]
async fn everything_ends() {
    let silent = Made::new(|_| None);
    assert_eq!(failure(&silent, 60).await, "30 s: timeout: no answer from a.test:443 within 30 s");
    assert_eq!(failure(&silent, 5).await, "5 s: timeout: no answer from a.test:443 within 5 s");
    let rest = "timeout: the rest of the answer did not come within";
    assert_eq!(failure(&dripping(31), 600).await, format!("30 s: {rest} 30 s"));
    assert_eq!(failure(&dripping(7), 60).await, format!("60 s: {rest} 60 s"));
    let endless =
        Made::new(|_| incoming(stream::repeat_with(|| Ok(Bytes::from_static(&[b'x'; 65536]))).boxed()));
    assert_eq!(failure(&endless, 60).await, "0 s: bad_response: the answer is larger than 10 MB");
    let bomb = Made::new(|_| {
        let headers = (0..101).map(|at| (format!("x{at}"), String::new())).collect();
        Some(Incoming { status: 200, headers, body: stream::empty().boxed() })
    });
    assert_eq!(failure(&bomb, 60).await, "0 s: bad_response: the response has more than 100 headers");
}

#[tokio::test]
async fn a_body_counts_against_the_memory_of_the_run_while_it_is_held() {
    let net = Made::new(|_| incoming(stream::iter([Ok(Bytes::from(vec![b'x'; MAX_BODY]))]).boxed()));
    let cx = run(&net, "a.test");
    let (response, held) = cx.net().fetch(request("GET", "https://a.test/")).await.unwrap();
    assert_eq!(cx.meter().held_memory(), response.body.len() as u64);
    drop(held);
    assert_eq!(cx.meter().held_memory(), 0);

    let limits = Limits { memory: 1024 * 1024, ..Limits::default() };
    let permissions = Permissions { net: Grant::All, ..Permissions::default() };
    let cx = Context::builder().permissions(permissions).limits(limits).net(net).build();
    let error = cx.net().fetch(request("GET", "https://a.test/")).await.unwrap_err();
    assert_eq!(error.kind().as_str(), "limit.memory");
}

/// Makes a fetch, an interrupted stream, a stream that is left early, and a failing request. Returns their results.
async fn touch(cx: &Context) -> Vec<String> {
    let (whole, _) = cx.net().fetch(request("POST", "https://a.test/whole")).await.unwrap();
    let mut came = vec![format!("{whole:?}")];
    for take in [3, 1] {
        let mut pieces = cx.net().stream(request("GET", "https://a.test/cut")).await.unwrap();
        for _ in 0..take {
            came.push(match pieces.next().await {
                Ok(piece) => format!("{:?}", piece.unwrap_or_default()),
                Err(error) => error.to_string(),
            });
        }
    }
    came.push(cx.net().fetch(request("GET", "https://a.test/loop")).await.unwrap_err().to_string());
    came
}

#[tokio::test]
async fn what_was_fetched_is_written_down_without_credentials_and_answered_from_there() {
    let net = Made::new(|url| {
        if url.ends_with("loop") {
            return respond(302, "/loop");
        }
        let cut = url.ends_with("cut").then(|| Err(Error::runtime("the line is cut")));
        let pieces = [&b"text"[..], b"\xff\x00"].map(|piece| Ok(Bytes::from_static(piece)));
        incoming(stream::iter(pieces.into_iter().chain(cut)).boxed())
    });
    let build = |journal: Arc<dyn Journal>, net: Arc<dyn Net>| {
        let permissions = Permissions { net: Grant::All, ..Permissions::default() };
        Context::builder().permissions(permissions).journal(journal).net(net).build()
    };
    let journal = Arc::new(MemoryJournal::default());
    let live = touch(&build(journal.clone(), net)).await;
    let streamed =
        ["b\"text\"", "b\"\\xff\\0\"", "the line is cut", "b\"text\"", "redirected more than 5 times"];
    assert_eq!(live[1..], streamed);

    let entries = journal.entries();
    let operations: Vec<_> = entries.iter().map(|entry| &*entry.effect.ask.operation).collect();
    assert_eq!(operations, ["fetch", "stream", "stream", "fetch"], "redirects are part of their request");
    assert!(entries.iter().all(|entry| entry.end.is_some()));
    assert!(!format!("{entries:?}").contains("hunter2"));

    let silent = Made::new(|_| None);
    assert_eq!(touch(&build(Arc::new(Replay::new(entries)), Arc::clone(&silent) as _)).await, live);
    assert!(silent.asked().is_empty());
}

#[tokio::test]
async fn a_run_that_is_cancelled_waits_no_longer() {
    let net = Made::new(|_| None);
    let cx = run(&net, "a.test");
    let waiting = cx.clone();
    let fetch = tokio::spawn(async move { waiting.net().fetch(request("GET", "https://a.test/")).await });
    while net.asked().is_empty() {
        tokio::task::yield_now().await;
    }
    cx.cancel();
    assert!(fetch.await.unwrap().unwrap_err().is_cancelled());
}

#[tokio::test]
async fn a_method_is_a_word_that_only_asks() {
    let net = Made::new(|_| respond(200, ""));
    for method in ["CONNECT", "trace", "GET /", "", "G\r\nET"] {
        let error =
            run(&net, "a.test").net().fetch(HttpRequest::new(method, "https://a.test/")).await.unwrap_err();
        assert_eq!(error.kind().as_str(), "argument", "{method}");
    }
    assert!(net.asked().is_empty());
}

fn url_like() -> impl Strategy<Value = String> {
    const PARTS: [&str; 29] = [
        "http",
        "https",
        ":",
        "//",
        "/",
        "\\",
        "@",
        "#",
        "?",
        "%",
        ".",
        "a.test",
        "b.test",
        "[",
        "]",
        "::1",
        "127.0.0.1",
        "0x7f",
        "。",
        "\t",
        "\n",
        "\0",
        "%2e",
        "xn--",
        "ａ",
        "localhost",
        ":80",
        "ß",
        "\u{ad}",
    ];
    let parts = prop::collection::vec(prop::sample::select(PARTS.to_vec()), 0..12);
    prop_oneof![
        any::<String>(),
        parts.clone().prop_map(|parts| parts.concat()),
        parts.prop_map(|parts| format!("http://{}", parts.concat())),
        any::<String>().prop_map(|text| format!("http://a.test{text}")),
    ]
}

proptest! {
    #[test]
    fn whatever_the_text_only_what_was_granted_is_dialled(text in url_like()) {
        let net = Made::new(|_| respond(200, ""));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let fetched = runtime.block_on(run(&net, "a.test").net().fetch(HttpRequest::new("GET", text)));
        match (&fetched, &net.asked()[..]) {
            (Ok(_), [asked]) => {
                let rest = asked.strip_prefix("GET http://a.test").or(asked.strip_prefix("GET https://a.test"));
                prop_assert!(rest.is_some_and(|rest| rest.starts_with(['/', ':'])), "{}", asked);
            }
            (Err(_), []) => {}
            other => prop_assert!(false, "{:?}", other),
        }
    }
}
