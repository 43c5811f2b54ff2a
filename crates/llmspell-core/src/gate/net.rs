//! HTTP requests behind the gate.
//!
//! [`GatedNet`] is what bridges call. It checks hosts and addresses, follows redirects, and records requests without
//! credentials.

mod redirect;
mod stream;

use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::StreamExt;
use serde::Serialize;

use self::redirect::RedirectFollower;
use self::stream::WholeBody;
use crate::capability::{
    HeaderFields, HttpRequest, HttpResponse, Net, Outgoing, Target, body_bytes, is_token, parse_url,
};
use crate::context::Context;
use crate::effect::{EffectRequest, Permit};
use crate::error::{Error, ErrorKind, Result};
use crate::memory_reservation::MemoryReservation;

pub use self::stream::HttpStream;

const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// A request as recorded. Credentials are removed, so that neither a recording nor a trace can leak one.
#[derive(Serialize)]
struct RecordedRequest<'a> {
    method: &'a str,
    url: &'a str,
    headers: HeaderFields,
    #[serde(with = "body_bytes")]
    body: &'a Bytes,
    follow: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    idempotent: bool,
}

impl Context {
    /// Returns the gated view of the network.
    #[must_use]
    pub fn net(&self) -> GatedNet<'_> {
        GatedNet(self)
    }
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
    /// When the request is invalid, the user has not granted its host or one of the host's addresses, the server does
    /// not answer, the body is too large, or the run ends.
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
        let mut url = parse_url(&request.url)?;
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
