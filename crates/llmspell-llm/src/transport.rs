//! The transport: sends requests with one shared HTTP client, and enforces time limits and size limits.
//!
//! It knows no protocol and no provider, and it never retries.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use llmspell_core::{Error, ErrorKind, Result};
use reqwest::header::{ACCEPT, CONNECTION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, ClientBuilder, Method, Url, redirect, retry};
use rustls::{ClientConfig, RootCertStore};

use crate::config::Timeouts;
use crate::error::{from_transport, root_cause};

/// The maximum size in bytes of an answer.
pub(crate) const MAX_BODY: usize = 64 << 20;

/// How long an idle connection is kept for reuse.
const POOL_IDLE: Duration = Duration::from_secs(30);

/// A request that is ready to be sent.
#[derive(Debug)]
pub(crate) struct ProviderRequest {
    pub(crate) url: Url,
    pub(crate) headers: HeaderMap,
    /// The JSON to post. Without it the request is a `GET`.
    pub(crate) body: Option<Vec<u8>>,
}

/// The HTTP client. It is created at the first call, so spells that do not call a model do not pay for it.
#[derive(Debug, Default)]
pub(crate) struct Transport {
    client: OnceLock<Client>,
    timeouts: Timeouts,
}

impl Transport {
    pub(crate) fn new(timeouts: Timeouts) -> Self {
        Self { client: OnceLock::new(), timeouts }
    }

    /// Creates a transport that resolves a host to this address.
    #[cfg(test)]
    pub(crate) fn resolving(host: &str, address: std::net::SocketAddr) -> Self {
        let client = http_client().unwrap().resolve(host, address).build().unwrap();
        Self { client: OnceLock::from(client), timeouts: Timeouts::default() }
    }

    fn client(&self) -> Result<&Client> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        let client = build(&self.timeouts)?;
        Ok(self.client.get_or_init(|| client))
    }

    /// Sends a request and waits for the head of the answer. Any status is a success here.
    ///
    /// # Errors
    /// When no answer comes in time, or the connection fails.
    pub(crate) async fn send(&self, outgoing: ProviderRequest) -> Result<ProviderResponse> {
        let address = address(&outgoing.url);
        let client = self.client()?;
        let method = if outgoing.body.is_some() { Method::POST } else { Method::GET };
        let plain = outgoing.url.scheme() == "http";
        let mut request = client.request(method, outgoing.url).headers(outgoing.headers);
        // Local servers close idle connections unpredictably: llama.cpp right after a stream, many others after five
        // seconds. A request that meets the close may have been served, so it is not sent again. Therefore each request
        // over plain HTTP gets a new connection, which is cheap without TLS.
        if plain {
            request = request.header(CONNECTION, HeaderValue::from_static("close"));
        }
        if let Some(body) = outgoing.body {
            request = request.header(CONTENT_TYPE, HeaderValue::from_static("application/json")).body(body);
        }
        let limit = self.timeouts.first_byte;
        let response = match tokio::time::timeout(limit, request.send()).await {
            Ok(sent) => sent.map_err(|error| from_transport(&error, &address))?,
            Err(_) => {
                let message = format!("no answer from {address} within {} s", limit.as_secs_f64());
                return Err(Error::new(ErrorKind::Timeout, message)
                    .with_retryable(true)
                    .with_source(crate::provider::Unanswered));
            }
        };
        Ok(ProviderResponse { response, received: 0, idle: self.timeouts.idle })
    }
}

/// Returns the settings of all HTTP clients, for models and for spells: TLS by rustls with ring and built-in root
/// certificates. No proxy from the environment, no redirects, no retries, no decompression.
///
/// # Errors
/// When TLS cannot be set up.
#[expect(clippy::disallowed_methods, reason = "the one place that sets up clients")]
pub fn http_client() -> Result<ClientBuilder> {
    let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut tls = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::internal(format!("TLS cannot be set up: {error}")))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Client::builder()
        .tls_backend_preconfigured(tls)
        .no_proxy()
        .redirect(redirect::Policy::none())
        // Retries are in `retry.rs` only.
        .retry(retry::never())
        .no_gzip()
        .no_deflate()
        .user_agent(concat!("llmspell/", env!("CARGO_PKG_VERSION"))))
}

fn build(timeouts: &Timeouts) -> Result<Client> {
    http_client()?
        .connect_timeout(timeouts.connect)
        // Shorter than the idle timeout of servers, so that a request does not meet a connection that is being closed.
        .pool_idle_timeout(POOL_IDLE)
        .build()
        .map_err(|error| Error::internal(format!("the HTTP client cannot be set up: {}", root_cause(&error))))
}

/// Returns host and port for error messages.
fn address(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port_or_known_default().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// An answer whose head has been read and whose body is still to come.
#[derive(Debug)]
pub(crate) struct ProviderResponse {
    response: reqwest::Response,
    received: usize,
    idle: Duration,
}

/// Why a body ended early.
#[derive(Debug)]
pub(crate) enum BodyError {
    /// The connection was lost, or the body was shorter than announced.
    Cut(String),
    /// Nothing arrived within the idle timeout.
    Idle(Duration),
    /// The body exceeds [`MAX_BODY`].
    TooLarge,
}

impl ProviderResponse {
    pub(crate) fn status(&self) -> u16 {
        self.response.status().as_u16()
    }

    pub(crate) fn headers(&self) -> &HeaderMap {
        self.response.headers()
    }

    /// Whether no byte of the body has arrived.
    pub(crate) fn is_empty(&self) -> bool {
        self.received == 0
    }

    /// Returns the MIME type without parameters, in lower case; empty if there is none.
    pub(crate) fn content_type(&self) -> String {
        let value =
            self.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
    }

    /// Reads the next bytes of the body into `sink`. Returns `false` at the end.
    pub(crate) async fn read(&mut self, mut sink: impl FnMut(&[u8])) -> Result<bool, BodyError> {
        let chunk = tokio::time::timeout(self.idle, self.response.chunk())
            .await
            .map_err(|_| BodyError::Idle(self.idle))?
            .map_err(|error| BodyError::Cut(root_cause(&error)))?;
        let Some(bytes) = chunk else { return Ok(false) };
        self.received = self.received.saturating_add(bytes.len());
        if self.received > MAX_BODY {
            return Err(BodyError::TooLarge);
        }
        sink(&bytes);
        Ok(true)
    }

    /// Reads the body, at most `most` bytes of it.
    pub(crate) async fn beginning(&mut self, most: usize) -> Vec<u8> {
        let mut body = Vec::new();
        while body.len() < most && matches!(self.read(|bytes| body.extend_from_slice(bytes)).await, Ok(true))
        {
        }
        body.truncate(most);
        body
    }

    /// Reads the whole body. If that fails, returns what was read and the error.
    pub(crate) async fn body(&mut self) -> (Vec<u8>, Result<(), BodyError>) {
        let mut body = Vec::new();
        loop {
            match self.read(|bytes| body.extend_from_slice(bytes)).await {
                Ok(true) => {}
                Ok(false) => return (body, Ok(())),
                Err(error) => return (body, Err(error)),
            }
        }
    }
}

/// Builds the headers of a request to a provider. The values in `pairs` are marked sensitive.
pub(crate) fn headers(pairs: impl IntoIterator<Item = (&'static str, String)>) -> Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    headers.insert(
        ACCEPT,
        HeaderValue::from_static("application/json, text/event-stream, application/x-ndjson"),
    );
    for (name, text) in pairs {
        let mut value = HeaderValue::from_str(&text).map_err(|_| {
            Error::new(ErrorKind::Auth, "the key has characters that no key has")
                .hint("is there a line break or a quotation mark around it?")
        })?;
        value.set_sensitive(true);
        headers.insert(HeaderName::from_static(name), value);
    }
    Ok(headers)
}
