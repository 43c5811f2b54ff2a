//! Follows the redirects of a request and enforces its time limits.
//!
//! Each hop is checked like the first request: its host, its addresses and its scheme. Credentials are sent only to
//! the origin for which they were set. At most five redirects are followed.

use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt};
use tokio::time::{Instant, timeout_at};
use url::Url;

use crate::capability::{HeaderFields, HttpHead, Incoming, Net, Outgoing, Target, is_credential};
use crate::effect::Permit;
use crate::error::{Error, ErrorKind, Result};
use crate::permission::{Grant, NetRule};

/// The maximum number of redirects of one request.
const MAX_REDIRECTS: usize = 5;
/// The maximum time until the head of an answer has arrived, including the connection.
const FIRST_BYTE: Duration = Duration::from_secs(30);
/// The maximum time until the next chunk of a body arrives.
const IDLE: Duration = Duration::from_secs(30);

/// A request that follows redirects: the network, the grant and the time limits.
pub(super) struct RedirectFollower<'a> {
    pub(super) net: &'a dyn Net,
    pub(super) grant: &'a Grant<NetRule>,
    pub(super) permit: &'a Permit,
    pub(super) deadline: Deadline,
    pub(super) follow: bool,
}

/// A response whose head has arrived, with its body as a stream.
pub(super) struct ResponseHead {
    pub(super) head: HttpHead,
    pub(super) body: BoxStream<'static, Result<Bytes>>,
}

impl RedirectFollower<'_> {
    /// Sends a request and follows its redirects.
    ///
    /// # Errors
    /// Returns an error when a hop is not granted or fails, or when there are too many redirects.
    pub(super) async fn go(self, mut target: Target, mut outgoing: Outgoing) -> Result<ResponseHead> {
        for _ in 0..=MAX_REDIRECTS {
            let url = target.url().clone();
            let incoming = self.hop(target, outgoing.clone()).await?;
            let headers = HeaderFields::received(incoming.headers)?;
            let Some(next) = self.redirect(&url, incoming.status, &headers)? else {
                let head = HttpHead { status: incoming.status, url: url.into(), headers };
                return Ok(ResponseHead { head, body: bounded(incoming.body, self.deadline) });
            };
            outgoing = outgoing.redirected(incoming.status, &url, &next)?;
            target = Target::new(next, self.grant)
                .map_err(|error| error.prefixed(format_args!("redirected by {}: ", site(&url))))?;
        }
        Err(Error::new(ErrorKind::BadResponse, format!("redirected more than {MAX_REDIRECTS} times")))
    }

    async fn hop(&self, target: Target, outgoing: Outgoing) -> Result<Incoming> {
        let late = format!("no answer from {target}");
        self.deadline
            .wait(FIRST_BYTE, &late, async {
                let dial = target.dial(self.grant, self.net, self.permit).await?;
                self.net.exchange(dial, outgoing).await
            })
            .await
    }

    fn redirect(&self, from: &Url, status: u16, headers: &HeaderFields) -> Result<Option<Url>> {
        if !self.follow || !matches!(status, 301 | 302 | 303 | 307 | 308) {
            return Ok(None);
        }
        let Some(location) = headers.get("location") else { return Ok(None) };
        let next = from.join(location).map_err(|error| {
            Error::new(ErrorKind::BadResponse, format!("{} redirects to no address: {error}", site(from)))
        })?;
        Ok(Some(next))
    }
}

impl Outgoing {
    /// Returns the request to send after a redirect (RFC 9110, section 15.4). A redirect to another origin drops the
    /// credentials. A redirect from `https` to `http` drops all headers and is refused if there is a body.
    fn redirected(mut self, status: u16, from: &Url, to: &Url) -> Result<Self> {
        let becomes_get = match status {
            301 | 302 => self.method == "POST",
            303 => self.method != "HEAD",
            _ => false,
        };
        if becomes_get {
            self.method = "GET".to_owned();
            self.body = Bytes::new();
            self.headers = self.headers.only(|name| !name.starts_with("content-"));
        }
        if from.scheme() == "https" && to.scheme() == "http" {
            if !self.body.is_empty() {
                return Err(Error::new(
                    ErrorKind::BadResponse,
                    format!("{} redirects what was sent to it to where it would go unencrypted", site(from)),
                ));
            }
            self.headers = HeaderFields::default();
        } else if from.origin() != to.origin() {
            self.headers = self.headers.only(|name| !is_credential(name));
        }
        Ok(self)
    }
}

/// Returns scheme, host and port, for error messages.
fn site(url: &Url) -> String {
    url.origin().ascii_serialization()
}

/// The deadline of a request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deadline {
    until: Instant,
    total: Duration,
}

impl Deadline {
    /// Creates a deadline `most` from now, or at the end of the run if that is earlier.
    pub(super) fn new(most: Duration, permit: &Permit) -> Self {
        let now = Instant::now();
        let left = permit.deadline().map(|end| Instant::from_std(end).saturating_duration_since(now));
        let total = left.map_or(most, |left| left.min(most));
        Self { until: now + total, total }
    }

    /// Waits for one step, at most `most` and at most until the deadline. `late` begins the error message of a
    /// timeout.
    async fn wait<T>(&self, most: Duration, late: &str, step: impl Future<Output = Result<T>>) -> Result<T> {
        let step_end = Instant::now() + most;
        timeout_at(step_end.min(self.until), step).await.unwrap_or_else(|_| {
            let span = if step_end < self.until { most } else { self.total };
            let message = format!("{late} within {} s", span.as_secs_f64());
            Err(Error::new(ErrorKind::Timeout, message).with_retryable(true))
        })
    }
}

/// Wraps a body so that a stalled connection ends it with an error. Time in which nobody reads does not count as
/// stalled, but counts against the deadline.
fn bounded(body: BoxStream<'static, Result<Bytes>>, deadline: Deadline) -> BoxStream<'static, Result<Bytes>> {
    let pieces = stream::unfold(Some(body), move |body| async move {
        let mut body = body?;
        let next = async { body.next().await.transpose() };
        match deadline.wait(IDLE, "the rest of the answer did not come", next).await {
            Ok(Some(piece)) => Some((Ok(piece), Some(body))),
            Ok(None) => None,
            Err(error) => Some((Err(error), None)),
        }
    });
    pieces.boxed()
}
