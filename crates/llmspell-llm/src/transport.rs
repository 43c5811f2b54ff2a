//! Sends requests: the one HTTP client, its time limits and its caps.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use llmspell_core::{Error, ErrorKind, Result};
use reqwest::header::{ACCEPT, CONNECTION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, ClientBuilder, Method, Url, redirect, retry};
use rustls::{ClientConfig, RootCertStore};

use crate::config::Timeouts;
use crate::error::{from_transport, root_cause};

/// The most bytes an answer may have.
pub(crate) const MAX_BODY: usize = 64 << 20;

/// How long a connection is kept for the next call.
const POOL_IDLE: Duration = Duration::from_secs(30);

/// A request ready to be sent.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) url: Url,
    pub(crate) headers: HeaderMap,
    /// JSON to post; without it the request is a `GET`.
    pub(crate) body: Option<Vec<u8>>,
}

/// The HTTP client, made at the first call: a spell that asks no model does not pay for it.
#[derive(Debug, Default)]
pub(crate) struct Transport {
    client: OnceLock<Client>,
    timeouts: Timeouts,
}

impl Transport {
    pub(crate) fn new(timeouts: Timeouts) -> Self {
        Self { client: OnceLock::new(), timeouts }
    }

    /// One that finds a host at this address.
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

    /// Sends a request and waits for the head of the answer, whatever its status.
    ///
    /// # Errors
    /// When no answer comes in time, or the connection fails.
    pub(crate) async fn send(&self, outgoing: Outgoing) -> Result<Incoming> {
        let address = address(&outgoing.url);
        let client = self.client()?;
        let method = if outgoing.body.is_some() { Method::POST } else { Method::GET };
        let plain = outgoing.url.scheme() == "http";
        let mut request = client.request(method, outgoing.url).headers(outgoing.headers);
        // Servers on one's own machine close kept connections when it suits them: llama.cpp right after a stream,
        // many others after five seconds. A request that meets the close may have been served and is not sent again,
        // so each gets a connection of its own, which is cheap where there is no TLS.
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
        Ok(Incoming { response, received: 0, idle: self.timeouts.idle })
    }
}

/// The one way to set up an HTTP client, for models and for spells alike: TLS by rustls with ring and the roots that are
/// built in, no proxy from the environment, no redirects, no retries, and answers as they come, packed or not.
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
        // Retries are made in one layer, and that is not this one.
        .retry(retry::never())
        .no_gzip()
        .no_deflate()
        .user_agent(concat!("llmspell/", env!("CARGO_PKG_VERSION"))))
}

fn build(timeouts: &Timeouts) -> Result<Client> {
    http_client()?
        .connect_timeout(timeouts.connect)
        // Shorter than servers keep theirs: a request must not meet a connection that is being closed.
        .pool_idle_timeout(POOL_IDLE)
        .build()
        .map_err(|error| Error::internal(format!("the HTTP client cannot be set up: {}", root_cause(&error))))
}

/// Host and port, as errors name an address.
fn address(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port_or_known_default().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// The answer to a request, its head read and its body still to come.
#[derive(Debug)]
pub(crate) struct Incoming {
    response: reqwest::Response,
    received: usize,
    idle: Duration,
}

/// Why a body ended early.
#[derive(Debug)]
pub(crate) enum BodyError {
    /// The connection was lost or the body was shorter than announced.
    Cut(String),
    /// Nothing came for too long.
    Idle(Duration),
    /// More came than is taken in.
    TooLarge,
}

impl Incoming {
    pub(crate) fn status(&self) -> u16 {
        self.response.status().as_u16()
    }

    pub(crate) fn headers(&self) -> &HeaderMap {
        self.response.headers()
    }

    /// Whether nothing of the body has come.
    pub(crate) fn is_empty(&self) -> bool {
        self.received == 0
    }

    /// The MIME type without its parameters, in lower case; empty when none is given.
    pub(crate) fn content_type(&self) -> String {
        let value =
            self.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
    }

    /// The next bytes of the body into `sink`; `false` at its end.
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

    /// The body, or its beginning when it is longer than `most` bytes.
    pub(crate) async fn beginning(&mut self, most: usize) -> Vec<u8> {
        let mut body = Vec::new();
        while body.len() < most && matches!(self.read(|bytes| body.extend_from_slice(bytes)).await, Ok(true))
        {
        }
        body.truncate(most);
        body
    }

    /// The whole body.
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

/// Headers that every request to a provider has.
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
