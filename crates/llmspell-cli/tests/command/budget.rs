//! Budgets: concurrent calls cannot overspend together, and paid answers are recorded.

use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::support::{Folder, Seen, finish, folder, read_request};

/// A model whose answers each use ten input and ten output tokens. Counts its requests.
fn model() -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let asked = Arc::<AtomicUsize>::default();
    let count = Arc::clone(&asked);
    thread::spawn(move || {
        for socket in listener.incoming() {
            let (mut socket, count) = (socket.unwrap(), Arc::clone(&count));
            thread::spawn(move || {
                let (_, request) = read_request(&mut socket);
                count.fetch_add(1, Ordering::SeqCst);
                answer(&mut socket, request.contains("\"stream\":true"));
            });
        }
    });
    (format!("http://{address}/v1"), asked)
}

fn answer(socket: &mut TcpStream, streamed: bool) {
    const USAGE: &str = r#""usage":{"prompt_tokens":10,"completion_tokens":10,"total_tokens":20}"#;
    let (kind, body) = if streamed {
        let chunk = r#"{"id":"1","object":"chat.completion.chunk","model":"m","choices":[{"index":0,"delta":{"content":"short"},"finish_reason":null}]}"#;
        let end = r#"{"id":"1","object":"chat.completion.chunk","model":"m","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#;
        let usage =
            format!(r#"{{"id":"1","object":"chat.completion.chunk","model":"m","choices":[],{USAGE}}}"#);
        ("text/event-stream", format!("data: {chunk}\n\ndata: {end}\n\ndata: {usage}\n\ndata: [DONE]\n\n"))
    } else {
        let choice = r#"{"index":0,"finish_reason":"stop","message":{"role":"assistant","content":"short"}}"#;
        let body =
            format!(r#"{{"id":"1","object":"chat.completion","model":"m","choices":[{choice}],{USAGE}}}"#);
        ("application/json", body)
    };
    let length = body.len();
    // A client that no longer waits has disconnected.
    let _ = write!(
        socket,
        "HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
    );
}

const CHATS: &str = r#"
    local calls = {}
    for i = 1, 100 do
        calls[i] = promise.spawn(function()
            print(llm.chat("a question of some words", {max_tokens = tonumber(params.most)}))
        end)
    end
    promise.all(calls):await()
"#;

const STREAMS: &str = r#"
    local calls = {}
    for i = 1, 100 do
        calls[i] = promise.spawn(function()
            local request = {messages = {{role = "user", content = "a question of some words"}}}
            request.max_tokens = tonumber(params.most)
            llm.stream_chat(request, function(piece) print(piece) end)
        end)
    end
    promise.all(calls):await()
"#;

fn run(folder: &Folder, model: &str, base_url: &str, words: &[&str]) -> Seen {
    let words: Vec<&str> = ["run", "spell.luau", "--model", model].iter().chain(words).copied().collect();
    let mut command = folder.command(&words);
    command.env_remove("MOCK_LLM").env("OPENAI_API_KEY", "key").env("OPENAI_BASE_URL", base_url);
    finish(&mut command)
}

#[test]
fn of_a_hundred_calls_at_once_no_more_are_sent_than_are_paid_for() {
    for source in [CHATS, STREAMS] {
        let folder = folder(&[("spell.luau", source)]);
        for (words, sent, error) in [
            (&["--max-calls=10"][..], 10, "model_calls limit of 10: 10 made, 0 left"),
            (
                &["--max-tokens=200", "most=10"],
                10,
                "tokens limit of 200: 200 used, 0 left, and the next call may take 20",
            ),
            // Each call may use everything that is left, until that is too little for a call.
            (
                &["--max-tokens=200"],
                9,
                "tokens limit of 200: 180 used, 20 left, and the next call may take 8202",
            ),
            // Ten tokens each way cost $0.0000225 with gpt-5-mini.
            (
                &["--max-cost=0.000225", "most=10"],
                10,
                "cost limit of $0.000225: $0.000225 spent, $0.000000 left, and the next call may cost $0.000023",
            ),
        ] {
            let (base_url, asked) = model();
            let ran = run(&folder, "openai/gpt-5-mini", &base_url, words);
            let (calls, tokens) = (asked.load(Ordering::SeqCst), sent * 10);
            let lines: Vec<&str> = ran.stderr.lines().collect();
            assert_eq!((ran.code, calls), (4, sent), "{words:?} {}", ran.stderr);
            assert_eq!(ran.stdout, "short\n".repeat(sent), "{words:?}: what was paid for is kept");
            let used = format!("note: {sent} model calls, {tokens}→{tokens} tokens, $0.0002, TIME");
            assert_eq!(lines[0], used, "{words:?}");
            assert_eq!(lines[1], format!("error: the spell reached its {error}"), "{words:?}");
        }
    }
}

#[test]
fn what_was_paid_for_before_the_budget_was_spent_is_in_the_outcome() {
    let folder = folder(&[("spell.luau", CHATS)]);
    let (base_url, _) = model();
    let ran = run(&folder, "openai/gpt-5-mini", &base_url, &["--max-calls=10", "--output=json", "-q"]);
    let outcome: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(outcome["output"], "short\n".repeat(10));
    assert_eq!(outcome["error"]["kind"], "limit.model_calls");
    assert_eq!((&outcome["model_calls"], &outcome["usage"]["output_tokens"]), (&10.into(), &100.into()));
}

#[test]
fn a_model_without_a_known_price_needs_leave_where_cost_is_limited() {
    let folder = folder(&[("spell.luau", "print(llm.chat('hi'))")]);
    let (base_url, asked) = model();
    let refused = run(&folder, "openai/unheard-of", &base_url, &["--max-cost=1"]);
    let error = "the price of openai/unheard-of is not known, and the run has a cost limit of $1.0000";
    assert_eq!((refused.code, refused.stdout.as_str()), (2, ""));
    assert!(refused.stderr.contains(&format!("error: {error}\n  at spell.luau:1\n")), "{}", refused.stderr);
    assert_eq!(asked.load(Ordering::SeqCst), 0);
    let allowed = run(&folder, "openai/unheard-of", &base_url, &["--max-cost=1", "--allow-unpriced"]);
    let used = "note: 1 model call, 10→10 tokens, cost unknown, TIME\n";
    assert_eq!((allowed.code, allowed.stdout.as_str(), allowed.stderr.as_str()), (0, "short\n", used));
}

#[test]
fn a_call_in_the_middle_of_a_stream_does_not_wait_for_the_streams_end() {
    let source = r#"
        llm.stream_chat("tell", function(piece)
            print(piece, llm.chat("and what is that?"))
        end)
    "#;
    let folder = folder(&[("spell.luau", source)]);
    let (base_url, _) = model();
    let ran = run(&folder, "openai/gpt-5-mini", &base_url, &["--max-calls=1", "-q"]);
    let error = "error: the spell reached its model_calls limit of 1: 1 made, 0 left\n";
    assert_eq!((ran.code, ran.stderr.as_str()), (4, error));
    let ran = run(&folder, "openai/gpt-5-mini", &base_url, &["--max-tokens=8300", "-q"]);
    assert_eq!(ran.code, 4, "{}", ran.stderr);
    assert!(ran.stderr.contains("tokens limit of 8300: 0 used, "), "{}", ran.stderr);
}
