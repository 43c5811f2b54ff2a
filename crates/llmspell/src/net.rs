//! The real network: sockets of the spells' own requests, on a thread of their own, to addresses that the gate checked.

use std::collections::BTreeSet;
use std::error::Error as StdError;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream, StreamExt};
use llmspell_core::capability::{Dial, Incoming, Net, Outgoing};
use llmspell_core::effect::Permit;
use llmspell_core::{Error, ErrorKind, Result};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Method, Request, Response};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio_util::task::AbortOnDropHandle;

/// How long a connection may take, TLS included.
const CONNECT: Duration = Duration::from_secs(10);
/// How long a connection is kept for the next request; shorter than the usual servers keep theirs.
const POOL_IDLE: Duration = Duration::from_secs(30);
/// The most names that are looked up at once, each of which holds a thread.
const LOOKUPS: usize = 16;
/// Pieces of a body that may wait for whoever reads them; more are left in the socket.
const WAITING_PIECES: usize = 8;

/// The real network, shared by all runs of a runtime. Nothing is started before the first request.
///
/// A [`RuntimeBuilder`](crate::RuntimeBuilder) has it by itself; a program that wants to look names up in its own way
/// puts a [`Net`] around it.
#[derive(Default)]
pub struct Sockets(OnceLock<Arc<Wire>>);

/// The thread that drives the sockets, and the clients on it.
struct Wire {
    io: Handle,
    /// Keeps its connections for whoever asks next: all of them lead to public addresses.
    public: Client,
    /// Keeps none: a connection to an address that is not public was granted to one run and serves no other.
    private: Client,
    /// Ends the thread when it is dropped.
    _stop: oneshot::Sender<()>,
}

tokio::task_local! {
    /// The addresses of the dial that is being made.
    static ADDRESSES: Vec<SocketAddr>;
}

/// Hands a client the addresses that the gate checked for the dial at hand; a lookup outside any dial fails. Not asked
/// for hosts that are addresses themselves, which the gate checked as they are.
struct Checked;

impl Resolve for Checked {
    fn resolve(&self, _: Name) -> Resolving {
        let addresses = ADDRESSES.try_with(Clone::clone);
        Box::pin(async { Ok(Box::new(addresses?.into_iter()) as Addrs) })
    }
}

impl Sockets {
    fn wire(&self) -> Result<Arc<Wire>> {
        if let Some(wire) = self.0.get() {
            return Ok(Arc::clone(wire));
        }
        let wire = Arc::new(Wire::start()?);
        Ok(Arc::clone(self.0.get_or_init(|| wire)))
    }
}

impl std::fmt::Debug for Sockets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sockets").field("started", &self.0.get().is_some()).finish()
    }
}

impl Net for Sockets {
    fn resolve(&self, _: &Permit, name: &str) -> BoxFuture<'static, Result<Vec<IpAddr>>> {
        let (wire, name) = (self.wire(), name.to_owned());
        Box::pin(async move {
            let lookup = wire?.spawn(look_up(name));
            lookup.await.map_err(|_| gone())?
        })
    }

    fn exchange(&self, dial: Dial, outgoing: Outgoing) -> BoxFuture<'static, Result<Incoming>> {
        let wire = self.wire();
        Box::pin(async move {
            let wire = wire?;
            let client = if dial.is_public() { &wire.public } else { &wire.private };
            let (head, arrived) = oneshot::channel();
            let (pieces, body) = mpsc::channel(WAITING_PIECES);
            let task = wire.spawn(carry(client.clone(), dial, outgoing, head, pieces));
            match arrived.await {
                Ok((status, headers)) => Ok(Incoming { status, headers, body: body_of(body, task) }),
                // It ended before there was a head: it says why.
                Err(_) => Err(task.await.map_err(|_| gone())?.err().unwrap_or_else(gone)),
            }
        })
    }
}

impl Wire {
    fn start() -> Result<Self> {
        let failed = |error: io::Error| {
            Error::new(ErrorKind::Io, format!("the network cannot be set up: {error}")).with_source(error)
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(LOOKUPS)
            .build()
            .map_err(failed)?;
        let io = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        let (public, private) = (client(usize::MAX)?, client(0)?);
        thread::Builder::new()
            .name("spell-net".into())
            .spawn(move || {
                // Its end is all that is waited for.
                let _ = runtime.block_on(stopped);
                runtime.shutdown_background();
            })
            .map_err(failed)?;
        Ok(Self { io, public, private, _stop: stop })
    }

    /// Runs work where the sockets are driven; it ends when the handle is dropped.
    fn spawn<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> AbortOnDropHandle<T> {
        AbortOnDropHandle::new(self.io.spawn(work))
    }
}

/// A client that keeps so many idle connections a host; one that keeps none shares none either.
fn client(idle: usize) -> Result<Client> {
    llmspell_llm::http_client()?
        .dns_resolver(Checked)
        .connect_timeout(CONNECT)
        .pool_max_idle_per_host(idle)
        .pool_idle_timeout(POOL_IDLE)
        .gzip(true)
        .deflate(true)
        .build()
        .map_err(|error| Error::internal(format!("the HTTP client cannot be set up: {}", root_cause(&error))))
}

async fn look_up(name: String) -> Result<Vec<IpAddr>> {
    let found = tokio::net::lookup_host((name.as_str(), 0)).await.map_err(|error| {
        Error::new(ErrorKind::Network, format!("{name} cannot be found: {error}")).with_retryable(true)
    })?;
    let mut seen = BTreeSet::new();
    Ok(found.map(|address| address.ip()).filter(|address| seen.insert(*address)).collect())
}

type Head = (u16, Vec<(String, String)>);

/// Sends a request, says what the head of the answer is, and hands on its body.
async fn carry(
    client: Client,
    dial: Dial,
    outgoing: Outgoing,
    head: oneshot::Sender<Head>,
    pieces: mpsc::Sender<Bytes>,
) -> Result<()> {
    let place = dial.url().origin().ascii_serialization();
    let addresses = dial.addresses().iter().map(|address| SocketAddr::new(*address, 0)).collect();
    let request = request(&dial, outgoing)?;
    let sent = ADDRESSES.scope(addresses, client.execute(request)).await;
    let mut response = sent.map_err(|error| unanswered(&error, &place))?;
    if head.send((response.status().as_u16(), fields(&response))).is_err() {
        return Ok(());
    }
    loop {
        let piece = response.chunk().await.map_err(|error| {
            let message = format!("the answer of {place} was cut off: {}", root_cause(&error));
            Error::new(ErrorKind::BadResponse, message).with_retryable(true)
        })?;
        let Some(piece) = piece else { return Ok(()) };
        if pieces.send(piece).await.is_err() {
            return Ok(());
        }
    }
}

fn request(dial: &Dial, outgoing: Outgoing) -> Result<Request> {
    let method = Method::from_bytes(outgoing.method.as_bytes())
        .map_err(|_| Error::argument(format!("`{}` is no method", outgoing.method)))?;
    let mut request = Request::new(method, dial.url().clone());
    let mut headers = HeaderMap::new();
    for (name, value) in outgoing.headers.iter() {
        let wrong = || Error::argument(format!("the header `{name}` cannot be sent"));
        let value = HeaderValue::from_bytes(value.as_bytes()).map_err(|_| wrong())?;
        headers.insert(HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong())?, value);
    }
    if !outgoing.body.is_empty() {
        *request.body_mut() = Some(outgoing.body.into());
    } else if matches!(&*outgoing.method, "POST" | "PUT" | "PATCH") {
        // These usually have a body: one that is empty is said to be (RFC 9110, section 8.6).
        headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    }
    *request.headers_mut() = headers;
    Ok(request)
}

fn fields(response: &Response) -> Vec<(String, String)> {
    let field = |(name, value): (&HeaderName, &HeaderValue)| {
        (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
    };
    response.headers().iter().map(field).collect()
}

/// The pieces as they come, then how the task ended: a body that was cut never looks whole.
fn body_of(
    pieces: mpsc::Receiver<Bytes>,
    task: AbortOnDropHandle<Result<()>>,
) -> BoxStream<'static, Result<Bytes>> {
    let body = stream::unfold(Some((pieces, task)), |body| async {
        let (mut pieces, task) = body?;
        match pieces.recv().await {
            Some(piece) => Some((Ok(piece), Some((pieces, task)))),
            None => {
                let ended = task.await.unwrap_or_else(|_| Err(gone()));
                ended.err().map(|error| (Err(error), None))
            }
        }
    });
    body.boxed()
}

fn unanswered(error: &reqwest::Error, place: &str) -> Error {
    let cause = root_cause(error);
    if error.is_connect() {
        if error.is_timeout() {
            let message = format!("no connection to {place} within {} s", CONNECT.as_secs());
            return Error::new(ErrorKind::Timeout, message).with_retryable(true);
        }
        // What is wrong with a certificate stays wrong.
        let passing = causes(error)
            .filter_map(|cause| cause.downcast_ref::<io::Error>())
            .all(|error| error.kind() != io::ErrorKind::InvalidData);
        return Error::new(ErrorKind::Network, format!("cannot connect to {place}: {cause}"))
            .with_retryable(passing);
    }
    let kind = match causes(error).any(|cause| cause.is::<io::Error>()) {
        true => ErrorKind::Network,
        false => ErrorKind::BadResponse,
    };
    Error::new(kind, format!("no answer from {place}: {cause}")).with_retryable(true)
}

fn causes<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |error: &&'a (dyn StdError + 'static)| (*error).source())
}

fn root_cause(error: &(dyn StdError + 'static)) -> String {
    causes(error).last().map(ToString::to_string).unwrap_or_default()
}

fn gone() -> Error {
    Error::internal("the thread of the network is gone")
}
