//! The world of the generated scripts: a model that also calls tools, a user, a server on loopback, granted folders.

use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;

use fastrand::Rng;
use futures_util::future::BoxFuture;
use llmspell::capability::{Console, Models};
use llmspell::effect::Permit;
use llmspell::llm::{Client, Mock};
use llmspell::{Permissions, Result, Runtime, RuntimeBuilder};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A user who always types the same.
struct Typist;

impl Console for Typist {
    fn read_line(&self, _: Permit, _: String) -> BoxFuture<'static, Result<Option<String>>> {
        Box::pin(async { Ok(Some("1".to_owned())) })
    }
}

/// Returns a runtime in its own folder.
pub(crate) fn runtime(folder: &Path, rng: &mut Rng) -> RuntimeBuilder {
    let client = Client::builder().mock(mock(rng)).build().unwrap();
    Runtime::builder()
        .workers(1)
        .storage(folder.join("storage"))
        .working_dir(folder)
        .models(Arc::new(client) as Arc<dyn Models>)
        .console(Arc::new(Typist))
}

pub(crate) fn permissions(folder: &Path, port: u16) -> Permissions {
    let granted = || [folder.join("granted")].into_iter().collect();
    let net = [format!("127.0.0.1:{port}").parse().unwrap()].into_iter().collect();
    Permissions { read: granted(), write: granted(), net, ..Permissions::default() }
}

/// A model whose first answers also call tools, with valid and invalid arguments.
fn mock(rng: &mut Rng) -> Mock {
    (0..rng.usize(0..6)).fold(Mock::new(), |mock, _| match rng.u32(0..6) {
        0 => mock.reply(r#"{"name": "Ada", "age": [1e400, null]}"#),
        1 => mock.reply("```json\n[1, 2,\n"),
        2 => mock.cut("half an ans"),
        3 => mock.garbled(),
        _ => {
            let names = ["calculator", "fs_read", "web_fetch", "read_file", "helper", "nobody", ""];
            let arguments = [
                json!({"expression": "2 ^ 2000"}),
                json!({"path": "granted/a.txt", "max_bytes": u64::MAX}),
                json!({"url": "http://127.0.0.1:1/", "input": {}}),
                json!([[], null]),
                json!("text"),
            ];
            let calls: Vec<_> = (0..rng.usize(1..4))
                .map(|_| ((*rng.choice(&names).unwrap()).to_owned(), rng.choice(&arguments).unwrap().clone()))
                .collect();
            mock.reply_tool_calls("", calls)
        }
    })
}

/// Starts a server and returns its port.
pub(crate) async fn serve() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            tokio::spawn(answer(socket));
        }
    });
    port
}

/// Answers one request. The client may have disconnected.
async fn answer(mut socket: TcpStream) -> std::io::Result<()> {
    let mut request = Vec::new();
    let (head, length) = loop {
        if socket.read_buf(&mut request).await? == 0 {
            return Ok(());
        }
        let text = String::from_utf8_lossy(&request);
        if let Some((head, _)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            break (head.to_owned(), length.map_or(0, |length| length.parse().unwrap()));
        }
    };
    while request.len() < head.len() + 4 + length {
        request.clear();
        if socket.read_buf(&mut request).await? == 0 {
            break;
        }
    }
    let (status, headers, body): (_, _, &[u8]) = match head.split(' ').nth(1).unwrap_or_default() {
        "/json" => ("200 OK", "Content-Type: application/json\r\n", br#"{"names": ["Ada", null, 1e400]}"#),
        "/bytes" => ("200 OK", "X-Odd: \u{e9}\r\n", b"a\xff\xfeb"),
        "/again" => ("302 Found", "Location: /json\r\n", b""),
        "/long" => ("200 OK", "Content-Type: text/html\r\n", &[b'<'; 100_000]),
        _ => ("404 Not Found", "Retry-After: 1e400\r\n", b"nothing"),
    };
    let head =
        format!("HTTP/1.1 {status}\r\n{headers}Connection: close\r\nContent-Length: {}\r\n\r\n", body.len());
    socket.write_all(head.as_bytes()).await?;
    socket.write_all(body).await?;
    socket.shutdown().await
}
