//! A small HTTP/1.1 server that plays a script of bytes for each connection, and records its requests.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;

/// One step of the server on a connection whose request it has read.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    /// Sends bytes.
    Send(Vec<u8>),
    /// Waits until the test continues it.
    Wait,
    /// Pauses.
    Pause(Duration),
    /// Resets the connection.
    Reset,
    /// Stays silent until the client disconnects, and reports that to the test.
    Hang,
}

/// The steps for one request. After the last step, the connection is closed.
pub(crate) type Script = Vec<Step>;

/// A server on a loopback port.
pub(crate) struct FaultServer {
    pub(crate) url: String,
    requests: Arc<Mutex<Vec<(Instant, String)>>>,
    gate: Arc<Semaphore>,
    gone: mpsc::UnboundedReceiver<()>,
    accepting: JoinHandle<()>,
}

impl FaultServer {
    /// Plays the scripts in order, one per connection, and then the last one repeatedly.
    pub(crate) async fn start(scripts: Vec<Script>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let gate = Arc::new(Semaphore::new(0));
        let (tell, gone) = mpsc::unbounded_channel();
        let (kept, doors) = (Arc::clone(&requests), Arc::clone(&gate));
        let accepting = tokio::spawn(async move {
            for number in 0_usize.. {
                let Ok((socket, _)) = listener.accept().await else { return };
                let script = scripts.get(number).or(scripts.last()).cloned().unwrap_or_default();
                tokio::spawn(play(socket, script, Arc::clone(&kept), Arc::clone(&doors), tell.clone()));
            }
        });
        Self { url, requests, gate, gone, accepting }
    }

    /// Returns the requests so far, with head and body.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().iter().map(|(_, request)| request.clone()).collect()
    }

    /// Returns the arrival time of each request.
    pub(crate) fn times(&self) -> Vec<Instant> {
        self.requests.lock().unwrap().iter().map(|(time, _)| *time).collect()
    }

    /// Continues one [`Step::Wait`].
    pub(crate) fn go_on(&self) {
        self.gate.add_permits(1);
    }

    /// Waits until the client of a [`Step::Hang`] has disconnected.
    pub(crate) async fn client_gone(&mut self) {
        self.gone.recv().await.unwrap();
    }
}

impl Drop for FaultServer {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn play(
    mut socket: TcpStream,
    script: Script,
    requests: Arc<Mutex<Vec<(Instant, String)>>>,
    gate: Arc<Semaphore>,
    gone: mpsc::UnboundedSender<()>,
) {
    let Some(request) = read_request(&mut socket).await else { return };
    requests.lock().unwrap().push((Instant::now(), request));
    socket.set_nodelay(true).unwrap();
    for step in script {
        match step {
            Step::Send(bytes) => {
                if socket.write_all(&bytes).await.is_err() {
                    return;
                }
                socket.flush().await.unwrap();
            }
            Step::Wait => gate.acquire().await.unwrap().forget(),
            Step::Pause(span) => tokio::time::sleep(span).await,
            Step::Reset => {
                // Closing with a linger time of zero sends a reset.
                socket.set_zero_linger().unwrap();
                return;
            }
            Step::Hang => {
                let mut byte = [0];
                // The end of the stream or an error both mean that the client has disconnected.
                let _ = socket.read(&mut byte).await;
                let _ = gone.send(());
                return;
            }
        }
    }
    let _ = socket.shutdown().await;
    // Read the rest, or closing would send a reset.
    let _ = tokio::time::timeout(Duration::from_secs(1), socket.read(&mut [0; 64])).await;
}

/// Reads one request with its body, whose length must be given.
pub(crate) async fn read_request(socket: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    loop {
        let mut more = [0; 4096];
        let count = socket.read(&mut more).await.ok().filter(|count| *count > 0)?;
        bytes.extend_from_slice(&more[..count]);
        // The first byte of a TLS handshake: no request will follow.
        if bytes[0] == 0x16 {
            return Some(format!("a TLS greeting: {}", String::from_utf8_lossy(&bytes)));
        }
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head
            .lines()
            .find_map(|line| {
                line.to_ascii_lowercase().strip_prefix("content-length:").map(|n| n.trim().parse().unwrap())
            })
            .unwrap_or(0_usize);
        if body.len() >= length {
            return Some(text);
        }
    }
}

/// A complete response with its length, after which the connection is closed.
pub(crate) fn response(status: u16, headers: &str, body: &str) -> Script {
    let text = format!(
        "HTTP/1.1 {status} Status\r\ncontent-type: application/json\r\n{headers}content-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    vec![Step::Send(text.into_bytes())]
}

/// The head of a stream that ends with its connection.
pub(crate) fn stream_head(content_type: &str) -> Step {
    Step::Send(
        format!("HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\nconnection: close\r\n\r\n").into_bytes(),
    )
}

/// A chunk of a body in chunked coding.
pub(crate) fn chunked(bytes: &[u8]) -> Step {
    let mut chunk = format!("{:x}\r\n", bytes.len()).into_bytes();
    chunk.extend_from_slice(bytes);
    chunk.extend_from_slice(b"\r\n");
    Step::Send(chunk)
}

/// The head of a stream in chunked coding.
pub(crate) fn chunked_head(content_type: &str) -> Step {
    Step::Send(
        format!("HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\ntransfer-encoding: chunked\r\n\r\n")
            .into_bytes(),
    )
}
