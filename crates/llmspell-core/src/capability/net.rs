//! The net capability: HTTP requests.
//!
//! [`Net`] is the trait that an HTTP implementation provides. [`GatedNet`] is what bridges call. This module decides
//! where connections may go: it checks each host and each resolved address against the run's permissions, for redirects
//! too, and passes the checked addresses to [`Net`] in a [`ConnectPermit`]. The implementation follows no redirect by
//! itself.

mod address;
mod connect;
mod header_fields;
mod redirect;
mod stream;

use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::{BoxStream, StreamExt};
use serde::{Deserialize, Serialize};

use self::connect::Target;
use self::header_fields::is_token;
use self::redirect::RedirectFollower;
use self::stream::{WholeBody, data};
use crate::context::Context;
use crate::effect::{EffectRequest, Permit};
use crate::error::{Error, ErrorKind, Result};
use crate::memory_reservation::MemoryReservation;

pub use self::connect::ConnectPermit;
pub use self::header_fields::HeaderFields;
pub use self::stream::HttpStream;

/// The maximum size of a body that is read whole, in bytes, after decompression.
pub const MAX_BODY: usize = 10 * 1024 * 1024;

const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// The default time limit of a request.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Performs HTTP exchanges with addresses that the gate has checked.
///
/// Dropping a future or a body closes its connection.
pub trait Net: Send + Sync {
    /// Resolves a host name to all its addresses, public or not. The gate decides later which of them may be used.
    fn resolve(&self, permit: &Permit, name: &str) -> BoxFuture<'static, Result<Vec<IpAddr>>>;

    /// Sends one request and reads the head of its response, whatever the status. Connects only to the addresses of the
    /// permit. Follows no redirect, uses no proxy and does not retry. The body is returned decompressed.
    fn exchange(&self, dial: ConnectPermit, outgoing: Outgoing) -> BoxFuture<'static, Result<Incoming>>;
}

/// A request that a [`Net`] sends to the URL of a [`ConnectPermit`].
#[derive(Debug, Clone)]
pub struct Outgoing {
    /// The method, in upper case.
    pub method: String,
    /// The header fields from the script.
    pub headers: HeaderFields,
    /// The body; may be empty.
    pub body: Bytes,
}

/// A response that a [`Net`] receives.
pub struct Incoming {
    /// The status code.
    pub status: u16,
    /// The header fields, unchanged.
    pub headers: Vec<(String, String)>,
    /// The decompressed body. It is complete if it ends without an `Err`.
    pub body: BoxStream<'static, Result<Bytes>>,
}

/// A request by a script.
#[derive(Debug, Clone)]
pub struct HttpRequest {
    /// The method: `GET`, `POST`, …, in upper or lower case.
    pub method: String,
    /// The URL; its scheme is `http` or `https`.
    pub url: String,
    /// Names and values to append to the URL's query.
    pub query: Vec<(String, String)>,
    /// Header fields.
    pub headers: HeaderFields,
    /// The body; may be empty.
    pub body: Bytes,
    /// The time limit for the whole exchange, including redirects and the body.
    pub timeout: Duration,
    /// Whether redirects are followed. If not, a redirect is the response.
    pub follow: bool,
    /// Whether a resumed run may repeat the request. If so, it carries the effect's [key](Permit::idempotency_key) in
    /// the header `Idempotency-Key`, by which the server recognizes a repetition.
    pub idempotent: bool,
}

impl HttpRequest {
    /// Creates a request without a body that follows redirects and may take 60 seconds.
    #[must_use]
    pub fn new(method: impl Into<String>, url: impl Into<String>) -> Self {
        Self {
            method: method.into(),
            url: url.into(),
            query: Vec::new(),
            headers: HeaderFields::default(),
            body: Bytes::new(),
            timeout: TIMEOUT,
            follow: true,
            idempotent: false,
        }
    }
}

/// The head of a response.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpHead {
    /// The status code.
    pub status: u16,
    /// The final URL, after redirects.
    pub url: String,
    /// The header fields.
    pub headers: HeaderFields,
}

/// A complete response.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpResponse {
    /// Status, URL and header fields.
    pub head: HttpHead,
    /// The decompressed body.
    #[serde(with = "data")]
    pub body: Bytes,
}

/// A request as recorded. Credentials are removed, so that neither a recording nor a trace can leak one.
#[derive(Serialize)]
struct RecordedRequest<'a> {
    method: &'a str,
    url: &'a str,
    headers: HeaderFields,
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
    /// Sends a request and waits for the complete response, whatever its status.
    ///
    /// The body is charged to the run's `memory` limit until the second part of the result is dropped.
    ///
    /// # Errors
    /// When the request is invalid, its host or one of its addresses is not granted, there is no response, the body is
    /// too large, or the run ends.
    pub async fn fetch(&self, request: HttpRequest) -> Result<(HttpResponse, MemoryReservation)> {
        let net = self.capability()?;
        let call = GrantedRequest::new(request, self.0)?;
        let ask = call.ask("fetch")?;
        let held = self.0.hold(call.outgoing.body.len() as u64)?;
        let response: HttpResponse = self
            .0
            .gate(ask, |permit| async move {
                let mut arrived = call.go(self.0, net, &permit).await?;
                let mut whole = WholeBody::new(held);
                while let Some(piece) = arrived.body.next().await.transpose()? {
                    whole.push(&piece)?;
                }
                Ok(HttpResponse { head: arrived.head, body: whole.into_bytes() })
            })
            .await?;
        let held = self.0.hold(response.body.len() as u64)?;
        Ok((response, held))
    }

    /// Sends a request and waits for the head of the response. The body is streamed.
    ///
    /// # Errors
    /// Those of [`fetch`](Self::fetch) that can occur before the body.
    pub async fn stream(&self, request: HttpRequest) -> Result<HttpStream> {
        let net = self.capability()?;
        let call = GrantedRequest::new(request, self.0)?;
        let ask = call.ask("stream")?;
        HttpStream::open(self.0, ask, |permit| async move { call.go(self.0, net, &permit).await }).await
    }

    fn capability(&self) -> Result<&'a dyn Net> {
        self.0
            .net_capability()
            .ok_or_else(|| Error::new(ErrorKind::Unsupported, "this runtime has no network"))
    }
}

/// A request whose first host is granted.
struct GrantedRequest {
    target: Target,
    outgoing: Outgoing,
    timeout: Duration,
    follow: bool,
    idempotent: bool,
}

impl GrantedRequest {
    fn new(request: HttpRequest, cx: &Context) -> Result<Self> {
        // CONNECT belongs to the connection, and TRACE would echo credentials.
        let method = request.method.to_ascii_uppercase();
        if !is_token(&method) || matches!(&*method, "CONNECT" | "TRACE") {
            return Err(Error::argument(format!("`{}` is no method to fetch with", method.escape_debug())));
        }
        let mut url = connect::parse(&request.url)?;
        if !request.query.is_empty() {
            url.query_pairs_mut().extend_pairs(request.query);
        }
        let target = Target::new(url, &cx.permissions().net)?;
        let outgoing = Outgoing { method, headers: request.headers, body: request.body };
        let HttpRequest { timeout, follow, idempotent, .. } = request;
        Ok(Self { target, outgoing, timeout, follow, idempotent })
    }

    fn ask(&self, operation: &'static str) -> Result<EffectRequest> {
        let Outgoing { method, headers, body } = &self.outgoing;
        let url = self.target.url().as_str();
        // Idempotent methods: RFC 9110, section 9.2.2. With the key header, the server recognizes a repetition.
        let repeatable = self.idempotent
            || matches!(&**method, "GET" | "HEAD" | "OPTIONS" | "PUT" | "DELETE")
            || headers.get(IDEMPOTENCY_KEY).is_some();
        let ask = EffectRequest::new(
            "net",
            operation,
            &RecordedRequest {
                method,
                url,
                headers: headers.redacted(),
                body,
                follow: self.follow,
                idempotent: self.idempotent,
            },
        )?;
        Ok(EffectRequest { repeatable, ..ask })
    }

    async fn go(mut self, cx: &Context, net: &dyn Net, permit: &Permit) -> Result<redirect::ResponseHead> {
        if self.idempotent && self.outgoing.headers.get(IDEMPOTENCY_KEY).is_none() {
            self.outgoing.headers.set(IDEMPOTENCY_KEY, &permit.idempotency_key())?;
        }
        let deadline = redirect::Deadline::new(self.timeout, permit);
        let grant = &cx.permissions().net;
        RedirectFollower { net, grant, permit, deadline, follow: self.follow }
            .go(self.target, self.outgoing)
            .await
    }
}
