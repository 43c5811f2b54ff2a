//! Streaming over a real socket: chunks reach the script as they arrive, and the end of a run closes its socket at
//! once.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use llmspell::llm::{Client, ProtocolKind, ProviderConfig};
use llmspell::{Event, Run, Runtime, Spell};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

const SCRIPT: &str = "
    local pieces = {}
    local err = llm.stream_chat('count', function(text)
        table.insert(pieces, text)
        print(text)
    end)
    return err and err.kind or table.concat(pieces, '|')";

const HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";

fn chunk(text: &str, finish: &str) -> String {
    format!(
        "data: {{\"id\":\"1\",\"object\":\"chat.completion.chunk\",\"model\":\"m\",\"choices\":[{{\"index\":0,\
         \"delta\":{{\"content\":\"{text}\"}},\"finish_reason\":{finish}}}]}}\n\n"
    )
}

/// A server that has read one request and sent the first chunk of its answer.
async fn answering(listener: TcpListener) -> TcpStream {
    let (mut socket, _) = listener.accept().await.unwrap();
    let mut request = Vec::new();
    while !request.ends_with(b"}") {
        let read = socket.read_buf(&mut request).await.unwrap();
        assert!(read > 0, "the request ended early");
    }
    socket.write_all(HEAD.as_bytes()).await.unwrap();
    socket.write_all(chunk("one", "null").as_bytes()).await.unwrap();
    socket
}

async fn listen() -> (TcpListener, Runtime) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/v1", listener.local_addr().unwrap());
    let provider = ProviderConfig::new("slow", ProtocolKind::OpenAiChat, &url).unwrap().default_model("m");
    let models = Client::builder().provider(provider).io(tokio::runtime::Handle::current()).build().unwrap();
    (listener, Runtime::builder().workers(1).models(Arc::new(models)).build().unwrap())
}

fn start(runtime: &Runtime) -> (Run, llmspell::Events) {
    runtime.run(Spell::from_source("stream.luau", SCRIPT).unwrap()).start_with_events()
}

async fn first_output(events: &mut llmspell::Events) -> String {
    loop {
        match events.next().await.expect("the run ended without output") {
            Event::Output { text } => return text,
            _ => continue,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_piece_reaches_the_script_before_the_last_leaves_the_server() {
    let (listener, runtime) = listen().await;
    let (go_on, waiting) = oneshot::channel();
    let server = tokio::spawn(async move {
        let mut socket = answering(listener).await;
        // The rest is sent only after the script has printed the first chunk.
        waiting.await.unwrap();
        socket.write_all(chunk("two", "\"stop\"").as_bytes()).await.unwrap();
        socket.write_all(b"data: [DONE]\n\n").await.unwrap();
        socket.shutdown().await.unwrap();
    });
    let (run, mut events) = start(&runtime);
    assert_eq!(first_output(&mut events).await, "one\n");
    go_on.send(()).unwrap();
    let outcome = run.outcome().await;
    assert_eq!(outcome.into_result().unwrap(), "one|two".into());
    server.await.unwrap();
}

/// Waits for the first chunk, and ends the run with `end`. Returns how long the server's socket stayed open.
async fn closed_after(end: impl FnOnce(Run)) -> Duration {
    let (listener, runtime) = listen().await;
    let server = tokio::spawn(async move {
        let mut socket = answering(listener).await;
        let read = socket.read(&mut [0; 16]).await;
        assert!(matches!(read, Ok(0) | Err(_)), "the client sent more");
        Instant::now()
    });
    let (run, mut events) = start(&runtime);
    assert_eq!(first_output(&mut events).await, "one\n");
    let ended = Instant::now();
    end(run);
    server.await.unwrap().duration_since(ended)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancelling_closes_the_socket_at_once() {
    let mut kept = None;
    let took = closed_after(|run| {
        run.cancel();
        kept = Some(run);
    })
    .await;
    assert!(took < Duration::from_millis(100), "{took:?}");
    let outcome = kept.unwrap().outcome().await;
    assert!(outcome.error.is_some_and(|error| error.is_cancelled()));
    assert!(outcome.usage.output_tokens > 0 && outcome.usage.estimated, "{:?}", outcome.usage);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropping_the_run_closes_the_socket_at_once() {
    let took = closed_after(drop).await;
    assert!(took < Duration::from_millis(100), "{took:?}");
}
