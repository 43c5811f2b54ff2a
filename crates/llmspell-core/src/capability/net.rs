//! The net capability: HTTP requests.
//!
//! [`Net`] is the trait that an HTTP implementation provides. The gate decides where connections may go: it checks each
//! host and each resolved address against the run's permissions, for redirects too, and passes the checked addresses to
//! [`Net`] in a [`ConnectPermit`]. The implementation follows no redirect by itself.

mod address;
pub(crate) mod body_bytes;
mod connect;
mod header_fields;

use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use serde::{Deserialize, Serialize};

use crate::effect::Permit;
use crate::error::Result;

pub use self::connect::ConnectPermit;
pub(crate) use self::connect::{Target, parse as parse_url};
pub use self::header_fields::HeaderFields;
pub(crate) use self::header_fields::{is_credential, is_token};

/// The maximum size of a body that is read whole, in bytes, after decompression.
pub const MAX_BODY: usize = 10 * 1024 * 1024;

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
    /// The time limit for the request and its response, with all redirects and the whole body.
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
    #[serde(with = "body_bytes")]
    pub body: Bytes,
}
