//! The bridge `http` in spells, with a real server.

use std::io::Write as _;
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::GzEncoder;
use llmspell::{Limits, NetRule, Outcome, Permissions, Runtime, Spell};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::server::{Server, answer, read_request};

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::best());
    packed.write_all(bytes).unwrap();
    packed.finish().unwrap()
}

/// Answers by path: an echo of the request, a status, JSON, bytes that are not text, and compressed bodies.
fn respond(request: &str) -> Vec<u8> {
    let path = request.split(' ').nth(1).unwrap_or_default();
    match path.split('?').next().unwrap_or_default() {
        "/missing" => answer(404, "retry-after: 7\r\n", "no such page"),
        "/busy" => answer(503, "", ""),
        "/json" => {
            answer(200, "Content-Type: application/json\r\nX-Two: 1\r\nX-Two: 2\r\n", r#"{"names":["Ada"]}"#)
        }
        "/bytes" => answer(200, "", b"a\xffb"),
        "/packed" => answer(200, "content-encoding: gzip\r\n", gzip(b"unpacked")),
        "/bomb" => answer(200, "content-encoding: gzip\r\n", gzip(&vec![0; 64 << 20])),
        "/cut" => b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nonly this".to_vec(),
        "/moved" => answer(302, "location: /json\r\n", ""),
        "/nonsense" => b"this is no HTTP\r\n\r\n".to_vec(),
        "/key" => {
            let key = request.lines().find_map(|line| line.strip_prefix("idempotency-key: "));
            answer(200, "", key.unwrap_or("no key"))
        }
        "/many" => answer(200, &"x: y\r\n".repeat(200), ""),
        _ => answer(200, "", request.lines().next().unwrap_or_default()),
    }
}

async fn cast(script: &str, server: &Server, limits: impl FnOnce(&mut Limits)) -> Outcome {
    let rule: NetRule = format!("127.0.0.1:{}", server.port).parse().unwrap();
    let permissions = Permissions { net: [rule].into_iter().collect(), ..Permissions::default() };
    let runtime = Runtime::builder().workers(1).build().unwrap();
    let script = format!("local url = params.url\n{script}");
    let spell = Spell::from_source("http.luau", script).unwrap();
    let cast = runtime.run(spell).permissions(permissions).param("url", server.url(""));
    cast.limits(limits).start().outcome().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_script_sees_of_the_web_what_the_reference_says() {
    let server = Server::start(respond).await;
    for (script, expected) in [
        (
            "return http.get(url .. '/echo', {query = {a = {'x y', true, 2}}})",
            "GET /echo?a=x+y&a=true&a=2 HTTP/1.1",
        ),
        ("return http.delete(url .. '/echo')", "DELETE /echo HTTP/1.1"),
        ("return http.put(url .. '/echo', 'body')", "PUT /echo HTTP/1.1"),
        ("return http.get(url .. '/packed')", "unpacked"),
        ("return http.post(url .. '/key', 'order')", "no key"),
        (
            "local key = http.post(url .. '/key', 'order', {idempotent = true}) return `{#key} {key:sub(1, 9)}`",
            "41 llmspell-",
        ),
        (
            "return http.post(url .. '/key', 'x', {idempotent = true, headers = {['Idempotency-Key'] = 'mine'}})",
            "mine",
        ),
        ("return http.get(url .. '/moved')", r#"{"names":["Ada"]}"#),
        ("return http.get(url .. '/bytes')", "a\u{fffd}b"),
        (
            "local _, e = http.get(url .. '/missing') return `{e.kind} {e.status} {e.body} {e.retryable} {e.retry_after}`",
            "http 404 no such page false 7",
        ),
        (
            "local _, e = http.get(url .. '/missing?key=secret') return e.message",
            "http://127.0.0.1:PORT/missing answered 404",
        ),
        ("local _, e = http.get(url .. '/busy') return `{e.status} {e.retryable}`", "503 true"),
        (
            "local _, e = http.get(url .. '/bomb') return `{e.kind} {e.message}`",
            "bad_response the answer is larger than 10 MB",
        ),
        ("local _, e = http.get(url .. '/cut') return e.kind", "bad_response"),
        ("local _, e = http.get(url .. '/nonsense') return e.kind", "bad_response"),
        ("local _, e = http.get(url .. '/many') return e.kind", "bad_response"),
        (
            "local _, e = http.get('http://127.0.0.1:1/') return `{e.kind} {e.hint}`",
            "permission.denied run it with --allow-net=127.0.0.1:1",
        ),
        (
            "local _, e = http.get('nonsense') return `{e.kind} {e.hint}`",
            "parse begin it with https:// or http://",
        ),
        (
            "local r = http.request {url = url .. '/missing'} return `{r.status} {r.ok} {r.body}`",
            "404 false no such page",
        ),
        (
            "local r = http.request {url = url .. '/json'} return `{r.headers['CONTENT-type']} {r.headers['x-two']} {r:json().names[1]} {r.headers.none}`",
            "application/json 1 Ada nil",
        ),
        (
            "local r = http.request {url = url .. '/moved', follow = false} return `{r.status} {r.headers.Location}`",
            "302 /json",
        ),
        ("local r = http.request {url = url .. '/moved'} return r.url", "http://127.0.0.1:PORT/json"),
        (
            "local r = http.request {url = url .. '/bytes'} return `{#r:bytes()} {string.byte(r:bytes(), 2)}`",
            "3 255",
        ),
        (
            "local r = http.request {url = url .. '/echo', method = 'patch'} return r.body",
            "PATCH /echo HTTP/1.1",
        ),
        (
            "local ok, e = pcall(http.get, url, {headers = {Host = 'x'}}) return `{ok} {e}`",
            "false http.luau:2: the header `host` cannot be set: the connection does",
        ),
        (
            "local ok, e = pcall(http.get, url, {timout = 1}) return `{ok} {e}`",
            "false http.luau:2: argument 2 (`options`): `RequestOptions` has no field `timout`; it has `headers`, `query`, `json`, `timeout`, `idempotent`, `on_chunk`",
        ),
        (
            "local text = '' local body, e = http.get(url .. '/packed', {on_chunk = function(t) text ..= t end}) return `{text}|{body}|{e}`",
            "unpacked||nil",
        ),
        (
            "local body, e = http.get(url .. '/packed', {on_chunk = function() return 'enough' end}) return `{body} {e.kind} {e}`",
            "nil stopped enough",
        ),
        (
            "local body, e = http.get(url .. '/packed', {on_chunk = function() return false end}) return `{body}|{e}`",
            "|nil",
        ),
        (
            "local _, e = http.get(url .. '/missing', {on_chunk = error}) return `{e.status} {e.body}`",
            "404 no such page",
        ),
        (
            "local n = 0 http.get(url .. '/bomb', {on_chunk = function(t) n += #t end}) return tostring(n)",
            "67108864",
        ),
    ] {
        let outcome = cast(script, &server, |_| {}).await;
        let expected = expected.replace("PORT", &server.port.to_string());
        assert_eq!(outcome.into_result().unwrap(), expected.as_str().into(), "{script}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_sent_is_what_the_script_said() {
    let server = Server::start(respond).await;
    for (script, lines) in [
        (
            "http.post(url, {title = 'Hello'})",
            &["content-type: application/json", r#"{"title":"Hello"}"#][..],
        ),
        ("http.post(url, 'a,b', 'text/csv')", &["content-type: text/csv", "a,b"]),
        (
            "http.post(url, 'a', {headers = {['X-Key'] = 5}})",
            &["content-type: text/plain;charset=UTF-8", "x-key: 5"],
        ),
        ("http.post(url)", &["content-length: 0"]),
        (
            "http.request {url = url, method = 'PUT', json = {1, 2}}",
            &["content-type: application/json", "[1,2]"],
        ),
        ("http.get(url)", &["accept: */*", "accept-encoding: gzip,deflate"]),
    ] {
        cast(script, &server, |_| {}).await.into_result().unwrap();
        let seen = server.seen().pop().unwrap();
        for line in lines {
            assert!(seen.lines().any(|seen| seen == *line), "{script} sent {seen}, not {line}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_spell_without_a_grant_is_told_which_flag_to_add_and_nobody_hears_of_it() {
    let server = Server::start(respond).await;
    let runtime = Runtime::builder().workers(1).build().unwrap();
    let script = "local body, err = http.get(params.url) error(err)";
    let spell = Spell::from_source("http.luau", script).unwrap();
    let outcome = runtime.run(spell).param("url", server.url("/")).start().outcome().await;
    let error = outcome.error.unwrap();
    assert_eq!(error.kind().as_str(), "permission.denied");
    assert_eq!(error.hints(), [format!("run it with --allow-net=127.0.0.1:{}", server.port)]);
    assert_eq!(server.seen(), Vec::<String>::new());
}

/// Cancels a run in the middle of a body. Returns how long its socket stayed open, while the script waits for more or,
/// if `busy`, never returns from the first chunk.
async fn closed_after(busy: bool) -> Duration {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        read_request(&mut socket).await;
        socket
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n\xe2\x82\xac and\xe2")
            .await
            .unwrap();
        assert!(matches!(socket.read(&mut [0; 16]).await, Ok(0) | Err(_)), "the client sent more");
        Instant::now()
    });
    let permissions =
        Permissions { net: ["127.0.0.1".parse().unwrap()].into_iter().collect(), ..Permissions::default() };
    let runtime = Runtime::builder().workers(1).build().unwrap();
    let script = "http.get(params.url, {on_chunk = function(text)
        print(text)
        while params.busy do end
    end})";
    let spell = Spell::from_source("http.luau", script).unwrap();
    let cast = runtime.run(spell).permissions(permissions);
    let cast = cast.param("url", format!("http://127.0.0.1:{port}/")).param("busy", busy);
    let (run, mut events) = cast.start_with_events();
    // The incomplete character is held back.
    assert_eq!(events.next().await, Some(llmspell::Event::Output { text: "€ and\n".into() }));
    let cancelled = Instant::now();
    run.cancel();
    let took = server.await.unwrap().duration_since(cancelled);
    assert!(run.outcome().await.error.unwrap().is_cancelled());
    took
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ending_a_run_closes_its_sockets_at_once() {
    for busy in [false, true] {
        let took = closed_after(busy).await;
        assert!(took < Duration::from_millis(100), "{took:?} with busy = {busy}");
    }
}
