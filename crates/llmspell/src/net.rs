//! The real network: the connections for the HTTP requests of spells.
//!
//! [`Sockets`] implements the [`Net`] capability on a dedicated thread. It connects only to the IP addresses in a
//! [`ConnectPermit`], which only the gate can make after it has checked them. DNS lookup and connection are therefore
//! two separate calls, and a name that resolves differently the second time (DNS rebinding) gains nothing.
//!
//! Connections to public addresses are pooled for all runs. A connection to another address was granted to one run and
//! is never reused. Redirects are not followed here: the gate follows them, and checks each hop.

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
use llmspell_core::capability::{ConnectPermit, Incoming, Net, Outgoing};
use llmspell_core::effect::Permit;
use llmspell_core::{Error, ErrorKind, Result};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Method, Request, Response};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio_util::task::AbortOnDropHandle;

/// The timeout of a connection, TLS handshake included.
const CONNECT: Duration = Duration::from_secs(10);
/// How long an idle connection stays open. Usual servers keep theirs longer, so a reused connection is rarely stale.
const POOL_IDLE: Duration = Duration::from_secs(30);
/// The most DNS lookups at once; each one occupies a thread.
const LOOKUPS: usize = 16;
/// How many chunks of a body may wait for the reader. Further ones stay in the socket, which slows the sender down.
const WAITING_PIECES: usize = 8;

/// The real network, shared by all runs of a runtime. Its thread starts with the first request.
///
/// A [`RuntimeBuilder`](crate::RuntimeBuilder) uses it by default. A program that resolves names in its own way can
/// wrap it in another [`Net`].
#[derive(Default)]
pub struct Sockets(OnceLock<Arc<Wire>>);

/// A handle of the thread that drives the sockets, and the HTTP clients that run on it.
struct Wire {
    io: Handle,
    /// Pools connections for all runs, since they lead to public addresses.
    public: Client,
    /// Pools nothing: a connection to an address that is not public was granted to one run only.
    private: Client,
    /// Stops the thread when it is dropped.
    _stop: oneshot::Sender<()>,
}

tokio::task_local! {
    /// The checked addresses of the request that is being sent.
    static ADDRESSES: Vec<SocketAddr>;
}

/// The DNS resolver of the HTTP clients. It returns the addresses that the gate checked for this request, and fails
/// outside of a request. Clients do not call it for hosts that are IP addresses; the gate has checked those directly.
struct CheckedResolver;

impl Resolve for CheckedResolver {
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

    fn exchange(&self, dial: ConnectPermit, outgoing: Outgoing) -> BoxFuture<'static, Result<Incoming>> {
        let wire = self.wire();
        Box::pin(async move {
            let wire = wire?;
            let client = if dial.is_public() { &wire.public } else { &wire.private };
            let (head, arrived) = oneshot::channel();
            let (pieces, body) = mpsc::channel(WAITING_PIECES);
            let task = wire.spawn(carry(client.clone(), dial, outgoing, head, pieces));
            match arrived.await {
                Ok((status, headers)) => Ok(Incoming { status, headers, body: body_of(body, task) }),
                // The task ended before it sent a response head, so it holds the error.
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
                // The result does not matter: a message and a dropped sender both mean stop.
                let _ = runtime.block_on(stopped);
                runtime.shutdown_background();
            })
            .map_err(failed)?;
        Ok(Self { io, public, private, _stop: stop })
    }

    /// Runs a task on the thread of the sockets. The task is aborted when the handle is dropped.
    fn spawn<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> AbortOnDropHandle<T> {
        AbortOnDropHandle::new(self.io.spawn(work))
    }
}

/// Builds a client that pools this many idle connections for each host.
fn client(idle: usize) -> Result<Client> {
    llmspell_llm::http_client()?
        .dns_resolver(CheckedResolver)
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

type StatusAndHeaders = (u16, Vec<(String, String)>);

/// Sends a request, passes on the head of the response, and then the chunks of its body.
async fn carry(
    client: Client,
    dial: ConnectPermit,
    outgoing: Outgoing,
    head: oneshot::Sender<StatusAndHeaders>,
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

fn request(dial: &ConnectPermit, outgoing: Outgoing) -> Result<Request> {
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
        // Servers expect a body with these methods, so an empty one is declared (RFC 9110, section 8.6).
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

/// Returns the chunks of the body in order, then the error of the task if it failed: a truncated body never looks
/// complete.
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
        // An invalid certificate will be invalid at the next try too, so only other errors are retryable.
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
