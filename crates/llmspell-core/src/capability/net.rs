//! The network.

mod address;
mod dial;
mod headers;
mod journey;
mod stream;

use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::{BoxStream, StreamExt};
use serde::{Deserialize, Serialize};

use self::dial::Target;
use self::headers::is_token;
use self::journey::Journey;
use self::stream::{Whole, data};
use crate::context::Context;
use crate::effect::{Ask, Permit};
use crate::error::{Error, ErrorKind, Result};
use crate::held::Held;

pub use self::dial::Dial;
pub use self::headers::Headers;
pub use self::stream::HttpStream;

/// The most bytes of a body that is taken in whole, after it was unpacked.
pub const MAX_BODY: usize = 10 * 1024 * 1024;

const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// How long a request may take when it does not say so.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Speaks HTTP with whom the gate has checked.
///
/// Dropping a future or a body closes its connection.
pub trait Net: Send + Sync {
    /// Finds all addresses of a name, public or not: what may be dialled is not decided here.
    fn resolve(&self, permit: &Permit, name: &str) -> BoxFuture<'static, Result<Vec<IpAddr>>>;

    /// Sends one request and reads the head of its answer, whatever its status. Connects to the addresses of the dial
    /// and to no others; follows no redirect, uses no proxy and tries nothing twice. The body comes unpacked.
    fn exchange(&self, dial: Dial, outgoing: Outgoing) -> BoxFuture<'static, Result<Incoming>>;
}

/// What a [`Net`] sends to the URL of a [`Dial`].
#[derive(Debug, Clone)]
pub struct Outgoing {
    /// The method in capitals.
    pub method: String,
    /// What the script sets.
    pub headers: Headers,
    /// What is sent; empty for nothing.
    pub body: Bytes,
}

/// What a [`Net`] receives.
pub struct Incoming {
    /// The status.
    pub status: u16,
    /// The header fields as they came.
    pub headers: Vec<(String, String)>,
    /// The body, unpacked. An `Err` ends it; its end without one says that it is whole.
    pub body: BoxStream<'static, Result<Bytes>>,
}

/// What a script asks of the network.
#[derive(Debug, Clone)]
pub struct HttpRequest {
    /// `GET`, `POST`, …; in any case.
    pub method: String,
    /// Where to; `http` or `https`.
    pub url: String,
    /// Names and values to add to the URL's query.
    pub query: Vec<(String, String)>,
    /// Header fields.
    pub headers: Headers,
    /// What is sent; empty for nothing.
    pub body: Bytes,
    /// How long it may take with all its redirects and the whole answer.
    pub timeout: Duration,
    /// Whether a redirect is followed; else it is the answer.
    pub follow: bool,
    /// Whether the request may be sent again when a run is resumed: it carries the effect's
    /// [key](Permit::idempotency_key) in the header `Idempotency-Key`, by which the server tells a repetition.
    pub idempotent: bool,
}

impl HttpRequest {
    /// A request without a body that follows redirects and may take a minute.
    #[must_use]
    pub fn new(method: impl Into<String>, url: impl Into<String>) -> Self {
        Self {
            method: method.into(),
            url: url.into(),
            query: Vec::new(),
            headers: Headers::default(),
            body: Bytes::new(),
            timeout: TIMEOUT,
            follow: true,
            idempotent: false,
        }
    }
}

/// The head of an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpHead {
    /// The status.
    pub status: u16,
    /// Where it came from in the end.
    pub url: String,
    /// Its header fields.
    pub headers: Headers,
}

/// A whole answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpResponse {
    /// What came before the body.
    pub head: HttpHead,
    /// The body, unpacked.
    #[serde(with = "data")]
    pub body: Bytes,
}

/// A request as the journal keeps it: never with credentials, so that neither a recording nor a trace can leak one.
#[derive(Serialize)]
struct Asked<'a> {
    method: &'a str,
    url: &'a str,
    headers: Headers,
    #[serde(with = "data")]
    body: &'a Bytes,
    follow: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    idempotent: bool,
}

/// The network behind the gate.
#[derive(Debug)]
pub struct GatedNet<'a>(pub(crate) &'a Context);

impl<'a> GatedNet<'a> {
    /// Sends a request and waits for the whole answer, whatever its status.
    ///
    /// What comes back is counted against the run's memory for as long as the second part of the result lives.
    ///
    /// # Errors
    /// When the request is none, its host or one of its addresses was not granted, there is no answer, or the answer
    /// is too large; and when the run ends meanwhile.
    pub async fn fetch(&self, request: HttpRequest) -> Result<(HttpResponse, Held)> {
        let net = self.capability()?;
        let call = Call::new(request, self.0)?;
        let ask = call.ask("fetch")?;
        let held = self.0.hold(call.outgoing.body.len() as u64)?;
        let response: HttpResponse = self
            .0
            .gate(ask, |permit| async move {
                let mut arrived = call.go(self.0, net, &permit).await?;
                let mut whole = Whole::new(held);
                while let Some(piece) = arrived.body.next().await.transpose()? {
                    whole.push(&piece)?;
                }
                Ok(HttpResponse { head: arrived.head, body: whole.into_bytes() })
            })
            .await?;
        let held = self.0.hold(response.body.len() as u64)?;
        Ok((response, held))
    }

    /// Sends a request and waits for the head of its answer; the body comes piece by piece.
    ///
    /// # Errors
    /// As [`fetch`](Self::fetch), as far as it goes.
    pub async fn stream(&self, request: HttpRequest) -> Result<HttpStream> {
        let net = self.capability()?;
        let call = Call::new(request, self.0)?;
        let ask = call.ask("stream")?;
        HttpStream::open(self.0, ask, |permit| async move { call.go(self.0, net, &permit).await }).await
    }

    fn capability(&self) -> Result<&'a dyn Net> {
        self.0
            .net_capability()
            .ok_or_else(|| Error::new(ErrorKind::Unsupported, "this runtime has no network"))
    }
}

/// A request whose first host was granted.
struct Call {
    target: Target,
    outgoing: Outgoing,
    timeout: Duration,
    follow: bool,
    idempotent: bool,
}

impl Call {
    fn new(request: HttpRequest, cx: &Context) -> Result<Self> {
        // The connection's own, and TRACE, which would echo credentials.
        let method = request.method.to_ascii_uppercase();
        if !is_token(&method) || matches!(&*method, "CONNECT" | "TRACE") {
            return Err(Error::argument(format!("`{}` is no method to fetch with", method.escape_debug())));
        }
        let mut url = dial::parse(&request.url)?;
        if !request.query.is_empty() {
            url.query_pairs_mut().extend_pairs(request.query);
        }
        let target = Target::new(url, &cx.permissions().net)?;
        let outgoing = Outgoing { method, headers: request.headers, body: request.body };
        let HttpRequest { timeout, follow, idempotent, .. } = request;
        Ok(Self { target, outgoing, timeout, follow, idempotent })
    }

    fn ask(&self, operation: &'static str) -> Result<Ask> {
        let Outgoing { method, headers, body } = &self.outgoing;
        let url = self.target.url().as_str();
        // As RFC 9110, section 9.2.2 has it, and with the header by which a server knows a repetition.
        let repeatable = self.idempotent
            || matches!(&**method, "GET" | "HEAD" | "OPTIONS" | "PUT" | "DELETE")
            || headers.get(IDEMPOTENCY_KEY).is_some();
        let ask = Ask::new(
            "net",
            operation,
            &Asked {
                method,
                url,
                headers: headers.redacted(),
                body,
                follow: self.follow,
                idempotent: self.idempotent,
            },
        )?;
        Ok(Ask { repeatable, ..ask })
    }

    async fn go(mut self, cx: &Context, net: &dyn Net, permit: &Permit) -> Result<journey::Arrived> {
        if self.idempotent && self.outgoing.headers.get(IDEMPOTENCY_KEY).is_none() {
            self.outgoing.headers.set(IDEMPOTENCY_KEY, &permit.idempotency_key())?;
        }
        let patience = journey::Patience::new(self.timeout, permit);
        let grant = &cx.permissions().net;
        Journey { net, grant, permit, patience, follow: self.follow }.go(self.target, self.outgoing).await
    }
}
