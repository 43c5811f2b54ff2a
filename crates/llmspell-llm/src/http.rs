//! A provider that is called over HTTP: a wire protocol, a base URL, a key and the transport.

use std::borrow::Cow;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream, StreamExt};
use llmspell_core::chat::{ChatRequest, Delta, ModelInfo, Reply, Usage};
use llmspell_core::embed::{EmbedRequest, Embeddings};
use llmspell_core::{Error, ErrorKind, Result};
use reqwest::Url;
use secrecy::ExposeSecret;
use serde_json::Value as Json;

use crate::config::ProviderConfig;
use crate::count::count_request;
use crate::error::{from_body, from_status, interrupted, is_error, quote, request_id, without_key};
use crate::event_decoder::{EventDecoder, StreamEvent};
use crate::halves;
use crate::limiter::Limiter;
use crate::model_rules;
use crate::protocol::{Protocol, protocol_of};
use crate::provider::{Attempt, Provider, SamplingSupport, StructuredOutput, Unsent};
use crate::refused::Parameter;
use crate::reply_builder::ReplyBuilder;
use crate::transport::{BodyError, ProviderRequest, ProviderResponse, Transport, headers};

/// The maximum number of bytes read of an error's body.
const MOST_ERROR_BODY: usize = 64 << 10;

/// How long to wait for the end of a stream's body after the answer is complete, so that the connection can be reused.
const LAST_WORDS: std::time::Duration = std::time::Duration::from_millis(10);

/// A provider that is called over HTTP.
#[derive(Clone)]
pub(crate) struct HttpProvider(Arc<HttpProviderInner>);

struct HttpProviderInner {
    config: ProviderConfig,
    /// The wire protocol of everything but chats, and of the chats of most models.
    protocol: &'static dyn Protocol,
    transport: Arc<Transport>,
    /// Receives the status and the headers of each answer.
    limiter: Arc<Limiter>,
}

/// The provider's wire form of a request.
pub(crate) struct WireRequest<'a> {
    /// The model; empty if there is none.
    model: &'a str,
    path: Vec<Cow<'a, str>>,
    query: Option<&'static str>,
    body: Option<&'a Json>,
    idempotency_key: Option<&'a str>,
}

impl<'a> WireRequest<'a> {
    /// Returns a `GET` request.
    pub(crate) fn get(path: &[&'a str]) -> Self {
        Self {
            model: "",
            path: path.iter().copied().map(Cow::Borrowed).collect(),
            query: None,
            body: None,
            idempotency_key: None,
        }
    }

    /// Returns a `POST` request that asks about a model and changes nothing.
    pub(crate) fn post(model: &'a str, path: &[&'a str], body: &'a Json) -> Self {
        Self { model, body: Some(body), ..Self::get(path) }
    }
}

impl Provider for HttpProvider {
    fn chat(&self, attempt: Attempt) -> BoxFuture<'static, Result<Reply>> {
        let this = self.clone();
        Box::pin(async move {
            let body = this.protocol(&attempt.request).body(&this.0.config, &attempt.request, false);
            let body = body.map_err(|error| error.with_source(Unsent))?;
            this.chat_with(attempt, body).await
        })
    }

    fn stream(&self, attempt: Attempt) -> BoxFuture<'static, Result<BoxStream<'static, Result<Delta>>>> {
        let this = self.clone();
        Box::pin(async move {
            let body = this.protocol(&attempt.request).body(&this.0.config, &attempt.request, true);
            let body = body.map_err(|error| error.with_source(Unsent))?;
            this.stream_with(attempt, body).await
        })
    }

    fn takes_output(&self, request: &ChatRequest) -> StructuredOutput {
        if model_rules::is_refused(&self.0.config, request, Parameter::Output) {
            return StructuredOutput::InWords;
        }
        self.protocol(request).takes_output(request)
    }

    fn takes_sampling(&self, request: &ChatRequest) -> SamplingSupport {
        model_rules::takes_sampling(&self.0.config, request)
    }

    fn most_texts(&self) -> usize {
        self.0.protocol.most_texts()
    }

    fn embed(&self, request: EmbedRequest) -> BoxFuture<'static, Result<Embeddings>> {
        let this = self.clone();
        Box::pin(async move {
            let Some((path, body)) = this.0.protocol.embed(&request) else {
                let message = format!("{}: it turns no texts into vectors", this.0.config.name);
                return Err(Error::new(ErrorKind::Unsupported, message));
            };
            let model = request.model.as_deref().unwrap_or_default();
            let ask = WireRequest { model, path, query: None, body: Some(&body), idempotency_key: None };
            let json = this.whole(&ask).await?;
            let (vectors, input_tokens) = this.0.protocol.vectors(&json);
            let usage = Usage { input_tokens: input_tokens.unwrap_or(0), ..Usage::default() };
            Ok(Embeddings { vectors, usage, ..Embeddings::default() })
        })
    }

    fn models(&self) -> BoxFuture<'static, Result<Vec<ModelInfo>>> {
        let this = self.clone();
        Box::pin(async move {
            let json = this.whole(&WireRequest::get(this.0.protocol.models_path())).await?;
            Ok(this.0.protocol.models(&json))
        })
    }
}

impl HttpProvider {
    pub(crate) fn new(config: ProviderConfig, transport: Arc<Transport>, limiter: Arc<Limiter>) -> Self {
        let protocol = protocol_of(config.protocol);
        Self(Arc::new(HttpProviderInner { config, protocol, transport, limiter }))
    }

    /// Returns the wire protocol of a chat.
    fn protocol(&self, request: &ChatRequest) -> &'static dyn Protocol {
        protocol_of(model_rules::protocol(&self.0.config, request))
    }

    /// Requests a complete answer with a prepared body.
    pub(crate) async fn chat_with(&self, attempt: Attempt, body: Json) -> Result<Reply> {
        let protocol = self.protocol(&attempt.request);
        let mut incoming = self.send(&ask(protocol, false, &body, &attempt)).await?;
        let content_type = incoming.content_type();
        if !content_type.is_empty() && !content_type.ends_with("json")
            || content_type == protocol.stream_format().mime()
        {
            let pieces = self.pieces(protocol, incoming, &attempt, "JSON").await?;
            return last(pieces).await;
        }
        let head = self.head(&incoming);
        let read = async {
            let json = self.read_whole(&mut incoming).await?;
            self.reply(self.build(protocol, &json, &attempt)?, count_request(&attempt.request))
        };
        read.await.map_err(|error| self.named(head.stamp(error)))
    }

    /// Reads a complete answer. Gemini sends a list of chunks unless it is asked for events.
    fn build(&self, protocol: &'static dyn Protocol, json: &Json, attempt: &Attempt) -> Result<ReplyBuilder> {
        let mut builder = self.builder(&attempt.request);
        match json.as_array() {
            Some(chunks) => chunks.iter().for_each(|chunk| protocol.piece(chunk, &mut builder)),
            None => protocol.whole(json, &mut builder)?,
        }
        builder.end_text();
        match builder.failed.take() {
            Some(failed) => Err(with_partial(from_body(&failed, self.0.config.key.as_ref()), builder.text())),
            None => Ok(builder),
        }
    }

    fn reader(
        &self,
        protocol: &'static dyn Protocol,
        incoming: ProviderResponse,
        attempt: &Attempt,
    ) -> ReplyReader {
        ReplyReader {
            provider: self.clone(),
            protocol,
            head: self.head(&incoming),
            incoming,
            decoder: EventDecoder::new(protocol.stream_format()),
            builder: self.builder(&attempt.request),
            broken: None,
            asked: count_request(&attempt.request),
        }
    }

    /// Requests a streamed answer with a prepared body.
    pub(crate) async fn stream_with(
        &self,
        attempt: Attempt,
        body: Json,
    ) -> Result<BoxStream<'static, Result<Delta>>> {
        let protocol = self.protocol(&attempt.request);
        let incoming = self.send(&ask(protocol, true, &body, &attempt)).await?;
        self.pieces(protocol, incoming, &attempt, "a stream").await
    }

    /// Returns the pieces of an answer. Some servers stream, or answer completely, whatever is asked for, and some name
    /// the wrong type. The answer is paid for, so it is used.
    async fn pieces(
        &self,
        protocol: &'static dyn Protocol,
        mut incoming: ProviderResponse,
        attempt: &Attempt,
        wanted: &str,
    ) -> Result<BoxStream<'static, Result<Delta>>> {
        let content_type = incoming.content_type();
        if protocol.stream_format().is_named(&content_type) {
            return Ok(pieces(self.reader(protocol, incoming, attempt)));
        }
        let head = self.head(&incoming);
        let (bytes, end) = incoming.body().await;
        let built = match read_json(&bytes) {
            Ok(json) if end.is_ok() && !is_error(&json) && (json.is_object() || json.is_array()) => {
                self.build(protocol, &json, attempt)
            }
            _ if end.is_ok() && protocol.stream_format().begins(&bytes) => {
                let mut reading = self.reader(protocol, incoming, attempt);
                reading.decoder.push(&bytes);
                return Ok(pieces(reading));
            }
            _ => {
                let why = format!("{wanted} was asked for, `{content_type}` came");
                Err(self.not_understood(&bytes[..bytes.len().min(MOST_ERROR_BODY)], &why))
            }
        };
        let mut builder = built.map_err(|error| self.named(head.stamp(error)))?;
        let mut deltas: Vec<Result<Delta>> = std::iter::from_fn(|| builder.take_news()).map(Ok).collect();
        let reply = self.reply(builder, count_request(&attempt.request));
        let end = reply.map(|reply| Delta::End { reply: Box::new(reply) });
        deltas.push(end.map_err(|error| self.named(head.stamp(error))));
        Ok(stream::iter(deltas).boxed())
    }

    fn builder(&self, request: &ChatRequest) -> ReplyBuilder {
        ReplyBuilder::new(model_rules::begins_with_reasoning(&self.0.config, request))
    }

    /// Returns the whole answer. The key is removed from the provider's words in an error.
    fn reply(&self, builder: ReplyBuilder, asked: u64) -> Result<Reply> {
        let key = self.0.config.key.as_ref();
        builder.into_reply(asked).map_err(|error| error.reworded(|words| without_key(words, key)))
    }

    /// Sends a request and reads a complete JSON answer.
    pub(crate) async fn whole(&self, ask: &WireRequest<'_>) -> Result<Json> {
        let mut incoming = self.send(ask).await?;
        let head = self.head(&incoming);
        self.read_whole(&mut incoming).await.map_err(|error| self.named(head.stamp(error)))
    }

    async fn read_whole(&self, incoming: &mut ProviderResponse) -> Result<Json> {
        let content_type = incoming.content_type();
        let (bytes, end) = incoming.body().await;
        let why = match end {
            Ok(()) => match read_json(&bytes) {
                Ok(json) if is_error(&json) => return Err(from_body(&json, self.0.config.key.as_ref())),
                Ok(json) if json.is_object() || json.is_array() => return Ok(json),
                _ if !content_type.is_empty() && !content_type.ends_with("json") => {
                    format!("JSON was asked for, `{content_type}` came")
                }
                Ok(json) => return Ok(json),
                Err(error) => format!("the answer is no JSON ({error})"),
            },
            Err(BodyError::Cut(cause)) => format!("the answer was cut off ({cause})"),
            Err(BodyError::TooLarge) => "the answer is larger than 64 MiB".to_owned(),
            Err(BodyError::Idle(limit)) => return Err(idle(limit)),
        };
        Err(self.not_understood(&bytes, &why))
    }

    async fn send(&self, ask: &WireRequest<'_>) -> Result<ProviderResponse> {
        let outgoing = self.outgoing(ask)?;
        let mut incoming = self.0.transport.send(outgoing).await.map_err(|error| self.named(error))?;
        let status = incoming.status();
        self.0.limiter.heard(ask.model, status, incoming.headers());
        if (200..300).contains(&status) {
            return Ok(incoming);
        }
        let body = incoming.beginning(MOST_ERROR_BODY).await;
        Err(self.named(from_status(status, incoming.headers(), &body, self.0.config.key.as_ref())))
    }

    fn outgoing(&self, ask: &WireRequest<'_>) -> Result<ProviderRequest> {
        let config = &self.0.config;
        let mut url = self.url(&ask.path)?;
        url.set_query(ask.query);
        let mut pairs = self.0.protocol.headers(config.key.as_ref().map(ExposeSecret::expose_secret));
        pairs.extend(ask.idempotency_key.map(|key| ("idempotency-key", key.to_owned())));
        let headers = headers(pairs).map_err(|error| self.named(error))?;
        let body = ask
            .body
            .map(serde_json::to_vec)
            .transpose()
            .map_err(|error| Error::internal(error.to_string()))?;
        Ok(ProviderRequest { url, headers, body })
    }

    /// Returns the URL of a path below the base URL. Segments are escaped, so a model name cannot add one.
    fn url(&self, path: &[Cow<'_, str>]) -> Result<Url> {
        let base = &self.0.config.base_url;
        let mut url = base.clone();
        {
            let given: Vec<&str> =
                base.path_segments().into_iter().flatten().filter(|part| !part.is_empty()).collect();
            let implied = self.0.protocol.implied_path(&given);
            let mut segments =
                url.path_segments_mut().map_err(|()| Error::config("the base URL cannot be called"))?;
            segments.pop_if_empty().extend(implied).extend(path.iter());
        }
        // The key belongs to this origin and must not go to another one.
        if url.origin() != base.origin() {
            return Err(Error::internal("a request would leave the origin of its provider"));
        }
        Ok(url)
    }

    /// Returns the error for an unexpected answer. If the body is a provider's error, that is returned.
    fn not_understood(&self, bytes: &[u8], why: &str) -> Error {
        let key = self.0.config.key.as_ref();
        if let Ok(json) = serde_json::from_slice::<Json>(bytes)
            && is_error(&json)
        {
            return from_body(&json, key);
        }
        let text = without_key(&String::from_utf8_lossy(bytes), key);
        let found = if text.is_empty() { "nothing".to_owned() } else { quote(text.as_bytes()) };
        let message = format!("{}: {found}", without_key(why, key));
        Error::new(ErrorKind::BadResponse, message).with_retryable(true)
    }

    fn head(&self, incoming: &ProviderResponse) -> ReplyHead {
        let request_id = request_id(incoming.headers(), self.0.config.key.as_ref());
        ReplyHead { status: incoming.status(), request_id }
    }

    fn named(&self, mut error: Error) -> Error {
        error.call_mut().provider.get_or_insert_with(|| self.0.config.name.clone());
        error.prefixed(format_args!("{}: ", self.0.config.name))
    }
}

/// Returns the wire form of a chat.
fn ask<'a>(
    protocol: &'static dyn Protocol,
    stream: bool,
    body: &'a Json,
    attempt: &'a Attempt,
) -> WireRequest<'a> {
    let model = attempt.request.model.as_deref().unwrap_or_default();
    WireRequest {
        model,
        path: protocol.path(model, stream),
        query: protocol.query(stream),
        body: Some(body),
        idempotency_key: Some(&attempt.idempotency_key),
    }
}

/// The status and the request id of an answer, for errors that follow.
struct ReplyHead {
    status: u16,
    request_id: Option<String>,
}

impl ReplyHead {
    fn stamp(&self, mut error: Error) -> Error {
        let call = error.call_mut();
        call.status.get_or_insert(self.status);
        call.request_id = call.request_id.take().or_else(|| self.request_id.clone());
        error
    }
}

/// Parses a body as leniently as a stream: ignores a byte order mark, and replaces bytes that are not UTF-8 by U+FFFD.
fn read_json(bytes: &[u8]) -> serde_json::Result<Json> {
    let text = String::from_utf8_lossy(bytes);
    halves::from_str(text.strip_prefix('\u{feff}').unwrap_or(&text))
}

fn idle(limit: std::time::Duration) -> Error {
    Error::new(
        ErrorKind::Timeout,
        format!("nothing came for {} s in the middle of the answer", limit.as_secs_f64()),
    )
    .with_retryable(true)
}

/// Adds the text that came before a failure to its error.
fn with_partial(mut error: Error, text: &str) -> Error {
    if !text.is_empty() {
        error.call_mut().partial = Some(text.to_owned());
    }
    error
}

/// A streamed answer that is being read.
struct ReplyReader {
    provider: HttpProvider,
    protocol: &'static dyn Protocol,
    head: ReplyHead,
    incoming: ProviderResponse,
    decoder: EventDecoder,
    builder: ReplyBuilder,
    /// The error of a stream. It is returned after the deltas that came before it.
    broken: Option<Error>,
    asked: u64,
}

/// Returns the pieces of a streamed answer.
fn pieces(reading: ReplyReader) -> BoxStream<'static, Result<Delta>> {
    let pieces = stream::unfold(Some(reading), |reading| async move {
        let mut reading = reading?;
        match reading.next().await {
            Ok(end @ Delta::End { .. }) => Some((Ok(end), None)),
            Ok(delta) => Some((Ok(delta), Some(reading))),
            Err(error) => Some((Err(reading.provider.named(reading.head.stamp(error))), None)),
        }
    });
    pieces.boxed()
}

/// Reads a streamed answer to its end.
async fn last(mut pieces: BoxStream<'static, Result<Delta>>) -> Result<Reply> {
    while let Some(piece) = pieces.next().await {
        if let Delta::End { reply } = piece? {
            return Ok(*reply);
        }
    }
    Err(interrupted(""))
}

impl ReplyReader {
    async fn next(&mut self) -> Result<Delta> {
        loop {
            if self.builder.ended || self.broken.is_some() {
                self.builder.end_text();
            }
            if let Some(delta) = self.builder.take_news() {
                return Ok(delta);
            }
            if let Some(error) = self.broken.take() {
                return Err(error);
            }
            if self.builder.ended {
                let _ = tokio::time::timeout(LAST_WORDS, self.incoming.read(|_| {})).await;
                let reply = self.provider.reply(std::mem::take(&mut self.builder), self.asked)?;
                return Ok(Delta::End { reply: Box::new(reply) });
            }
            if let Err(error) = self.read().await {
                self.broken = Some(error);
            }
        }
    }

    /// Reads the next event, or more bytes if none is complete.
    async fn read(&mut self) -> Result<()> {
        if let Some(frame) = self.decoder.next()? {
            return self.frame(&frame);
        }
        let decoder = &mut self.decoder;
        match self.incoming.read(|bytes| decoder.push(bytes)).await {
            Ok(true) => Ok(()),
            Ok(false) => self.end(None),
            Err(BodyError::Cut(cause)) => self.end(Some(cause)),
            Err(BodyError::Idle(limit)) => Err(idle(limit)),
            Err(BodyError::TooLarge) => {
                Err(Error::new(ErrorKind::BadStream, "the stream is larger than 64 MiB"))
            }
        }
    }

    fn frame(&mut self, frame: &StreamEvent) -> Result<()> {
        if frame.data.trim() == "[DONE]" {
            self.builder.ended |= self.protocol.ends_with_finish();
            return Ok(());
        }
        if frame.data.trim().is_empty() {
            return Ok(());
        }
        let json: Json = halves::piece_from_str(&frame.data)
            .ok()
            .filter(|json: &Json| json.is_object() || is_error(json.get(0).unwrap_or(&Json::Null)))
            .ok_or_else(|| {
                let data = without_key(&frame.data, self.provider.0.config.key.as_ref());
                let message = format!(
                    "chunk {} of the stream is no JSON object: {}",
                    frame.number,
                    quote(data.as_bytes())
                );
                Error::new(ErrorKind::BadStream, message)
            })?;
        if frame.event == "error" || is_error(json.get(0).unwrap_or(&json)) {
            return Err(from_body(&json, self.provider.0.config.key.as_ref()));
        }
        self.protocol.piece(&json, &mut self.builder);
        if self.builder.is_spliced {
            return Err(interrupted(": another answer began in its stream"));
        }
        match self.builder.failed.take() {
            Some(failed) => Err(from_body(&failed, self.provider.0.config.key.as_ref())),
            None => Ok(()),
        }
    }

    /// Decides at the end of the connection whether the answer is complete.
    fn end(&mut self, cause: Option<String>) -> Result<()> {
        if cause.is_none() && self.incoming.is_empty() {
            return Err(self.provider.not_understood(&[], "the stream is empty"));
        }
        let why = cause.map(|cause| format!(" ({cause})")).unwrap_or_default();
        if let Ok(Some(frame)) = self.decoder.rest()
            && let Err(error) = self.frame(&frame)
        {
            // An incomplete chunk is the usual sign of a cut. Any other error in it says more.
            return Err(if error.kind() == ErrorKind::BadStream { interrupted(&why) } else { error });
        }
        let finished = self.protocol.ends_with_finish() && self.builder.stop.is_some();
        if self.builder.ended || finished {
            self.builder.ended = true;
            return Ok(());
        }
        Err(interrupted(&why))
    }
}

#[cfg(test)]
mod tests;
