//! A server that speaks as OpenAI does, on a thread of its own.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

/// How long each answer takes.
const TAKES: Duration = Duration::from_millis(200);
/// Connections that wait to be accepted.
const BACKLOG: u32 = 4096;

/// Starts the server and says where it is.
pub(crate) fn start() -> SocketAddr {
    let (sender, address) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let socket = TcpSocket::new_v4().expect("a socket");
            socket.bind(([127, 0, 0, 1], 0).into()).expect("a free port");
            let listener = socket.listen(BACKLOG).expect("a port to listen at");
            sender.send(listener.local_addr().expect("an address")).expect("the bench waits");
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(async move {
                    // A client that goes away has had what it wanted.
                    let _ = serve(socket).await;
                });
            }
        });
    });
    address.recv().expect("the server starts")
}

/// Answers the requests of one connection, one after the other.
async fn serve(mut socket: TcpStream) -> io::Result<()> {
    let mut received = Vec::new();
    while let Some((head, length)) = next(&mut socket, &mut received).await? {
        let request: Value = serde_json::from_slice(&received[head..head + length])?;
        received.drain(..head + length);
        let question = request["messages"][0]["content"].as_str().unwrap_or_default();
        if request["stream"] == true {
            return stream(socket, question).await;
        }
        tokio::time::sleep(TAKES).await;
        let body = json!({
            "id": "1", "object": "chat.completion", "model": "m",
            "choices": [{"index": 0, "finish_reason": "stop",
                "message": {"role": "assistant", "content": format!("<{question}>")}}],
            "usage": {"prompt_tokens": 3, "completion_tokens": 3, "total_tokens": 6},
        })
        .to_string();
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        socket.write_all((head + &body).as_bytes()).await?;
    }
    Ok(())
}

/// Reads until a whole request has come; returns the lengths of its head and of its body.
async fn next(socket: &mut TcpStream, received: &mut Vec<u8>) -> io::Result<Option<(usize, usize)>> {
    loop {
        if let Some(end) = received.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&received[..end]).to_ascii_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
            let (end, length) = (end + 4, length.unwrap_or(0));
            if received.len() >= end + length {
                return Ok(Some((end, length)));
            }
        }
        if socket.read_buf(received).await? == 0 {
            return Ok(None);
        }
    }
}

/// Streams as many chunks as the question says, each written by itself, as fast as they are taken.
async fn stream(mut socket: TcpStream, question: &str) -> io::Result<()> {
    let count: usize = question.parse().unwrap_or(1);
    socket.set_nodelay(true)?;
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";
    socket.write_all(head.as_bytes()).await?;
    let chunk = |delta: Value, finish: Value| {
        let chunk = json!({
            "id": "1", "object": "chat.completion.chunk", "model": "m",
            "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
        });
        format!("data: {chunk}\n\n")
    };
    for number in 1..=count {
        socket.write_all(chunk(json!({"content": format!("{number} ")}), Value::Null).as_bytes()).await?;
    }
    let last = chunk(json!({}), json!("stop")) + "data: [DONE]\n\n";
    socket.write_all(last.as_bytes()).await
}
