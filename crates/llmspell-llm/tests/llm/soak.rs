//! Many concurrent calls of an unreliable provider: each ends as expected, and nothing leaks.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream;
use llmspell_core::capability::Models;
use llmspell_core::chat::{ChatRequest, Delta};
use llmspell_core::effect::Permit;
use llmspell_core::{Error, ErrorKind};
use llmspell_llm::{Client, ProtocolKind, ProviderConfig, RateLimits, RetryPolicy, Timeouts};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};

use crate::fault_server::read_request;

/// The number of concurrent calls.
const AT_ONCE: usize = 64;

/// The client's idle timeout.
const IDLE: Duration = Duration::from_millis(250);

/// The maximum number of attempts per call.
const TRIES: u32 = 3;

/// The server's reaction to an attempt.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fate {
    Good,
    Limited,
    Overloaded,
    Cut,
    Stalled,
}

/// One in five attempts gets a 429, and one in twenty each of the other faults. Every run uses the same sequence.
fn fate(call: usize, attempt: u32) -> Fate {
    let mut random = {
        // Consecutive numbers would be too similar as seeds.
        let seed = ((call as u64) << 8 | u64::from(attempt)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        fastrand::Rng::with_seed(seed ^ seed >> 32)
    };
    match random.u32(0..100) {
        0..20 => Fate::Limited,
        20..25 => Fate::Overloaded,
        25..30 => Fate::Cut,
        30..35 => Fate::Stalled,
        _ => Fate::Good,
    }
}

/// Returns how a call ends, and after how many attempts.
fn expected(call: usize) -> (Option<ErrorKind>, u32) {
    for attempt in 0..TRIES {
        let last = attempt + 1 == TRIES;
        let end = match fate(call, attempt) {
            Fate::Good => None,
            Fate::Limited if last => Some(ErrorKind::RateLimited),
            Fate::Overloaded if last => Some(ErrorKind::Overloaded),
            Fate::Limited | Fate::Overloaded => continue,
            Fate::Cut => Some(ErrorKind::StreamInterrupted),
            Fate::Stalled => Some(ErrorKind::Timeout),
        };
        return (end, attempt + 1);
    }
    unreachable!("the last try ends it")
}

/// The figures of a soak run.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    pub(crate) calls: usize,
    pub(crate) good: usize,
    /// Number of errors by kind.
    pub(crate) errors: Vec<(ErrorKind, usize)>,
    pub(crate) tries: usize,
    pub(crate) took: Duration,
    /// Memory after a quarter of the calls and after all calls, in KiB.
    pub(crate) memory: (usize, usize),
    /// Open files before and after.
    pub(crate) files: (usize, usize),
}

/// Makes this many calls.
pub(crate) async fn soak(calls: usize) -> Figures {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let open = Arc::new(AtomicUsize::new(0));
    let server = tokio::spawn(serve(listener, Arc::clone(&open)));
    let config = ProviderConfig::new("p", ProtocolKind::OpenAiChat, &url).unwrap();
    let (base, most) = (Duration::from_millis(2), Duration::from_millis(10));
    let client = Client::builder()
        .provider(config)
        .retry(RetryPolicy { retries: TRIES - 1, base, most, ..RetryPolicy::default() })
        .timeouts(Timeouts { idle: IDLE, ..Timeouts::default() })
        .pace(RateLimits { in_flight: std::num::NonZeroUsize::new(AT_ONCE), ..RateLimits::default() })
        .build()
        .unwrap();

    let files = open_files();
    let begin = Instant::now();
    let mut figures = Figures { calls, ..Figures::default() };
    let mut errors: HashMap<ErrorKind, usize> = HashMap::new();
    let mut ends = stream::iter(0..calls).map(|call| ask(&client, call)).buffer_unordered(AT_ONCE);
    while let Some((end, attempts)) = ends.next().await {
        figures.tries += attempts as usize;
        match end {
            None => figures.good += 1,
            Some(kind) => *errors.entry(kind).or_default() += 1,
        }
        if figures.good + errors.values().sum::<usize>() == calls / 4 {
            figures.memory.0 = memory();
        }
    }
    figures.took = begin.elapsed();
    figures.memory.1 = memory();
    figures.errors = errors.into_iter().collect();
    figures.errors.sort_by_key(|(kind, _)| kind.as_str());
    drop(ends);
    // The server's sockets close when it notices that the client has closed.
    while open.load(Ordering::SeqCst) > 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    figures.files = (files, open_files());
    server.abort();
    figures
}

/// Makes one call and checks that it ends as expected.
async fn ask(client: &Client, call: usize) -> (Option<ErrorKind>, u32) {
    let request = ChatRequest {
        provider: Some("p".into()),
        model: Some("m".into()),
        ..ChatRequest::prompt(format!("call {call} of many"))
    };
    let end = match client.stream(Permit::for_test(), request).await {
        Ok(pieces) => pieces.collect::<Vec<_>>().await.pop().unwrap(),
        Err(error) => Err(error),
    };
    let found = match end {
        Ok(Delta::End { reply }) => (None, reply.attempts),
        Ok(piece) => panic!("call {call} ends with {piece:?}"),
        Err(error) => (Some(error.kind()), told(&error)),
    };
    assert_eq!(found, expected(call), "call {call}");
    found
}

/// Returns the attempts of an error, which must contain all details of a call.
fn told(error: &Error) -> u32 {
    let call = error.call().unwrap();
    let begun = matches!(error.kind(), ErrorKind::StreamInterrupted | ErrorKind::Timeout);
    assert_eq!(call.partial.as_deref(), begun.then_some("begun"), "{error:?}");
    assert!(error.is_retryable() && call.provider.is_some() && call.usage.is_some(), "{error:?}");
    call.attempts
}

async fn serve(listener: TcpListener, open: Arc<AtomicUsize>) {
    let attempts: Arc<Mutex<HashMap<usize, u32>>> = Arc::default();
    while let Ok((socket, _)) = listener.accept().await {
        let (attempts, open) = (Arc::clone(&attempts), Arc::clone(&open));
        open.fetch_add(1, Ordering::SeqCst);
        tokio::spawn(async move {
            // A client that disconnects early had a stalled answer.
            let _ = answer(socket, &attempts).await;
            open.fetch_sub(1, Ordering::SeqCst);
        });
    }
}

async fn answer(mut socket: TcpStream, attempts: &Mutex<HashMap<usize, u32>>) -> std::io::Result<()> {
    let Some(request) = read_request(&mut socket).await else { return Ok(()) };
    let call: usize = request.split("call ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
    let attempt = {
        let mut attempts = attempts.lock().unwrap();
        let made = attempts.entry(call).or_default();
        *made += 1;
        *made - 1
    };
    let fate = fate(call, attempt);
    let refusal = |status: &str, headers: &str| {
        format!("HTTP/1.1 {status}\r\n{headers}content-length: 2\r\nconnection: close\r\n\r\n{{}}")
    };
    let text = match fate {
        Fate::Limited if call.is_multiple_of(8) => refusal("429 Slow", "retry-after-ms: 1\r\n"),
        Fate::Limited => refusal("429 Slow", ""),
        Fate::Overloaded => refusal("529 Full", ""),
        Fate::Good | Fate::Cut | Fate::Stalled => {
            "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n\
             data: {\"choices\": [{\"delta\": {\"content\": \"begun\"}}]}\n\n"
                .to_owned()
        }
    };
    socket.write_all(text.as_bytes()).await?;
    match fate {
        Fate::Good => {
            let end =
                "data: {\"choices\": [{\"delta\": {}, \"finish_reason\": \"stop\"}]}\n\ndata: [DONE]\n\n";
            socket.write_all(end.as_bytes()).await?;
        }
        Fate::Stalled => {
            let _ = tokio::io::AsyncReadExt::read(&mut socket, &mut [0]).await?;
        }
        Fate::Limited | Fate::Overloaded | Fate::Cut => {}
    }
    socket.shutdown().await
}

/// Returns the memory of this process, in KiB; `None` without `/proc`.
#[expect(clippy::disallowed_methods, reason = "a test looks at its own process")]
fn memory() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or_default()
}

#[expect(clippy::disallowed_methods, reason = "a test looks at its own process")]
fn open_files() -> usize {
    std::fs::read_dir("/proc/self/fd").map(Iterator::count).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_call_ends_as_it_must_and_nothing_is_left_behind() {
    let figures = soak(400).await;
    let errors: usize = figures.errors.iter().map(|(_, count)| count).sum();
    assert_eq!(figures.good + errors, figures.calls, "{figures:?}");
    assert!(figures.tries > figures.calls && errors > 20, "{figures:?}");
    assert_eq!(figures.files.0, figures.files.1, "{figures:?}");
}
