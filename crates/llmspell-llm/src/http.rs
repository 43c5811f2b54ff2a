//! A provider behind HTTP: a shape, an address, a key and the transport.

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
use crate::draft::Draft;
use crate::error::{from_body, from_status, is_error, quote, request_id, without_key};
use crate::frames::{Frame, Frames};
use crate::limiter::Limiter;
use crate::provider::{Attempt, Provider, TakesOutput};
use crate::shape::{Shape, shape_of};
use crate::transport::{BodyError, Incoming, Outgoing, Transport, headers};

/// The most bytes of an error's body that are read.
const MOST_ERROR_BODY: usize = 64 << 10;

/// How long the end of a stream's body is waited for after the answer is whole, so that its connection can be used
/// again.
const LAST_WORDS: std::time::Duration = std::time::Duration::from_millis(10);

/// A provider that is called over HTTP.
#[derive(Clone)]
pub(crate) struct HttpProvider(Arc<Inner>);

struct Inner {
    config: ProviderConfig,
    shape: &'static dyn Shape,
    transport: Arc<Transport>,
    /// Learns from the head of each answer.
    limiter: Arc<Limiter>,
}

/// A request as a shape has it.
pub(crate) struct Ask<'a> {
    path: Vec<Cow<'a, str>>,
    query: Option<&'static str>,
    body: Option<&'a Json>,
    idempotency_key: Option<&'a str>,
}

impl<'a> Ask<'a> {
    /// Reads what is at a path.
    pub(crate) fn get(path: &[&'a str]) -> Self {
        Self {
            path: path.iter().copied().map(Cow::Borrowed).collect(),
            query: None,
            body: None,
            idempotency_key: None,
        }
    }

    /// Posts to a path, without changing anything there.
    pub(crate) fn post(path: &[&'a str], body: &'a Json) -> Self {
        Self { body: Some(body), ..Self::get(path) }
    }
}

impl Provider for HttpProvider {
    fn chat(&self, attempt: Attempt) -> BoxFuture<'static, Result<Reply>> {
        let this = self.clone();
        Box::pin(async move {
            let body = this.0.shape.body(&this.0.config, &attempt.request, false)?;
            this.chat_with(attempt, body).await
        })
    }

    fn stream(&self, attempt: Attempt) -> BoxFuture<'static, Result<BoxStream<'static, Result<Delta>>>> {
        let this = self.clone();
        Box::pin(async move {
            let body = this.0.shape.body(&this.0.config, &attempt.request, true)?;
            this.stream_with(attempt, body).await
        })
    }

    fn takes_output(&self, request: &ChatRequest) -> TakesOutput {
        self.0.shape.takes_output(request)
    }

    fn most_texts(&self) -> usize {
        self.0.shape.most_texts()
    }

    fn embed(&self, request: EmbedRequest) -> BoxFuture<'static, Result<Embeddings>> {
        let this = self.clone();
        Box::pin(async move {
            let Some((path, body)) = this.0.shape.embed(&request) else {
                let message = format!("{}: it turns no texts into vectors", this.0.config.name);
                return Err(Error::new(ErrorKind::Unsupported, message));
            };
            let ask = Ask { path, query: None, body: Some(&body), idempotency_key: None };
            let json = this.whole(&ask).await?;
            let (vectors, input_tokens) = this.0.shape.vectors(&json);
            let usage = Usage { input_tokens: input_tokens.unwrap_or(0), ..Usage::default() };
            Ok(Embeddings { vectors, usage, ..Embeddings::default() })
        })
    }

    fn models(&self) -> BoxFuture<'static, Result<Vec<ModelInfo>>> {
        let this = self.clone();
        Box::pin(async move {
            let json = this.whole(&Ask::get(this.0.shape.models_path())).await?;
            Ok(this.0.shape.models(&json))
        })
    }
}

impl HttpProvider {
    pub(crate) fn new(config: ProviderConfig, transport: Arc<Transport>, limiter: Arc<Limiter>) -> Self {
        let shape = shape_of(config.shape);
        Self(Arc::new(Inner { config, shape, transport, limiter }))
    }

    /// Asks for a whole answer with a body that is already written.
    pub(crate) async fn chat_with(&self, attempt: Attempt, body: Json) -> Result<Reply> {
        let model = attempt.request.model.as_deref().unwrap_or_default();
        let mut incoming = self.send(&self.ask(model, false, &body, &attempt)).await?;
        let head = self.head(&incoming);
        let read = async {
            let json = self.read_whole(&mut incoming).await?;
            let mut draft = Draft::default();
            self.0.shape.whole(&json, &mut draft)?;
            match draft.failed.take() {
                Some(failed) => Err(from_body(&failed, self.0.config.key.as_ref())),
                None => draft.into_reply(count_request(&attempt.request)),
            }
        };
        read.await.map_err(|error| self.named(head.stamp(error)))
    }

    /// Asks for an answer piece by piece with a body that is already written.
    pub(crate) async fn stream_with(
        &self,
        attempt: Attempt,
        body: Json,
    ) -> Result<BoxStream<'static, Result<Delta>>> {
        let model = attempt.request.model.as_deref().unwrap_or_default();
        let mut incoming = self.send(&self.ask(model, true, &body, &attempt)).await?;
        let content_type = incoming.content_type();
        let framing = self.0.shape.framing();
        if !framing.is_named(&content_type) {
            let head = self.head(&incoming);
            let beginning = incoming.beginning(MOST_ERROR_BODY).await;
            let why = format!("a stream was asked for, `{content_type}` came");
            return Err(self.named(head.stamp(self.not_understood(&beginning, &why))));
        }
        let reading = Reading {
            provider: self.clone(),
            head: self.head(&incoming),
            incoming,
            frames: Frames::new(framing),
            draft: Draft::default(),
            broken: None,
            asked: count_request(&attempt.request),
        };
        let pieces = stream::unfold(Some(reading), |reading| async move {
            let mut reading = reading?;
            match reading.next().await {
                Ok(end @ Delta::End { .. }) => Some((Ok(end), None)),
                Ok(delta) => Some((Ok(delta), Some(reading))),
                Err(error) => Some((Err(reading.provider.named(reading.head.stamp(error))), None)),
            }
        });
        Ok(pieces.boxed())
    }

    /// Sends a request and reads the JSON of a whole answer.
    pub(crate) async fn whole(&self, ask: &Ask<'_>) -> Result<Json> {
        let mut incoming = self.send(ask).await?;
        let head = self.head(&incoming);
        self.read_whole(&mut incoming).await.map_err(|error| self.named(head.stamp(error)))
    }

    async fn read_whole(&self, incoming: &mut Incoming) -> Result<Json> {
        let content_type = incoming.content_type();
        let (bytes, end) = incoming.body().await;
        let why = match end {
            Ok(()) if !content_type.is_empty() && !content_type.ends_with("json") => {
                format!("JSON was asked for, `{content_type}` came")
            }
            Ok(()) => match read_json(&bytes) {
                Ok(json) if is_error(&json) => return Err(from_body(&json, self.0.config.key.as_ref())),
                Ok(json) => return Ok(json),
                Err(error) => format!("the answer is no JSON ({error})"),
            },
            Err(BodyError::Cut(cause)) => format!("the answer was cut off ({cause})"),
            Err(BodyError::TooLarge) => "the answer is larger than 64 MiB".to_owned(),
            Err(BodyError::Idle(limit)) => return Err(idle(limit)),
        };
        Err(self.not_understood(&bytes, &why))
    }

    async fn send(&self, ask: &Ask<'_>) -> Result<Incoming> {
        let outgoing = self.outgoing(ask)?;
        let mut incoming = self.0.transport.send(outgoing).await.map_err(|error| self.named(error))?;
        let status = incoming.status();
        self.0.limiter.heard(status, incoming.headers());
        if (200..300).contains(&status) {
            return Ok(incoming);
        }
        let body = incoming.beginning(MOST_ERROR_BODY).await;
        Err(self.named(from_status(status, incoming.headers(), &body, self.0.config.key.as_ref())))
    }

    fn ask<'a>(&self, model: &'a str, stream: bool, body: &'a Json, attempt: &'a Attempt) -> Ask<'a> {
        let shape = self.0.shape;
        let key = Some(&*attempt.idempotency_key);
        Ask {
            path: shape.path(model, stream),
            query: shape.query(stream),
            body: Some(body),
            idempotency_key: key,
        }
    }

    fn outgoing(&self, ask: &Ask<'_>) -> Result<Outgoing> {
        let config = &self.0.config;
        let mut url = self.url(&ask.path)?;
        url.set_query(ask.query);
        let mut pairs = self.0.shape.headers(config.key.as_ref().map(ExposeSecret::expose_secret));
        pairs.extend(ask.idempotency_key.map(|key| ("idempotency-key", key.to_owned())));
        let headers = headers(pairs).map_err(|error| self.named(error))?;
        let body = ask
            .body
            .map(serde_json::to_vec)
            .transpose()
            .map_err(|error| Error::internal(error.to_string()))?;
        Ok(Outgoing { url, headers, body })
    }

    /// The address of a path below the base URL. Segments are escaped, so a model's name stays one.
    fn url(&self, path: &[Cow<'_, str>]) -> Result<Url> {
        let base = &self.0.config.base_url;
        let mut url = base.clone();
        {
            let given: Vec<&str> =
                base.path_segments().into_iter().flatten().filter(|part| !part.is_empty()).collect();
            let implied = self.0.shape.implied_path(&given);
            let mut segments =
                url.path_segments_mut().map_err(|()| Error::config("the base URL cannot be called"))?;
            segments.pop_if_empty().extend(implied).extend(path.iter());
        }
        // The key is bound to this origin.
        if url.origin() != base.origin() {
            return Err(Error::internal("a request would leave the origin of its provider"));
        }
        Ok(url)
    }

    /// An answer that is not what was asked for; where it says why, that is the error.
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

    fn head(&self, incoming: &Incoming) -> Head {
        let request_id = request_id(incoming.headers(), self.0.config.key.as_ref());
        Head { status: incoming.status(), request_id }
    }

    fn named(&self, mut error: Error) -> Error {
        error.call_mut().provider.get_or_insert_with(|| self.0.config.name.clone());
        error.prefixed(format_args!("{}: ", self.0.config.name))
    }
}

/// What the head of an answer said, for errors in what follows it.
struct Head {
    status: u16,
    request_id: Option<String>,
}

impl Head {
    fn stamp(&self, mut error: Error) -> Error {
        let call = error.call_mut();
        call.status.get_or_insert(self.status);
        call.request_id = call.request_id.take().or_else(|| self.request_id.clone());
        error
    }
}

/// Reads a body as the chunks of a stream are read: without its byte order mark, and with U+FFFD in the place of bytes
/// that are not UTF-8.
fn read_json(bytes: &[u8]) -> serde_json::Result<Json> {
    let text = String::from_utf8_lossy(bytes);
    serde_json::from_str(text.strip_prefix('\u{feff}').unwrap_or(&text))
}

fn idle(limit: std::time::Duration) -> Error {
    Error::new(
        ErrorKind::Timeout,
        format!("nothing came for {} s in the middle of the answer", limit.as_secs_f64()),
    )
    .with_retryable(true)
}

/// A stream that ended too soon.
pub(crate) fn interrupted(why: &str) -> Error {
    Error::new(ErrorKind::StreamInterrupted, format!("the stream ended before the model had finished{why}"))
        .with_retryable(true)
}

/// An answer that is being streamed.
struct Reading {
    provider: HttpProvider,
    head: Head,
    incoming: Incoming,
    frames: Frames,
    draft: Draft,
    /// Why the stream ended too soon; told when what came before has been given out.
    broken: Option<Error>,
    asked: u64,
}

impl Reading {
    async fn next(&mut self) -> Result<Delta> {
        loop {
            if let Some(delta) = self.draft.take_news() {
                return Ok(delta);
            }
            if let Some(error) = self.broken.take() {
                return Err(error);
            }
            if self.draft.ended {
                let _ = tokio::time::timeout(LAST_WORDS, self.incoming.read(|_| {})).await;
                let reply = std::mem::take(&mut self.draft).into_reply(self.asked)?;
                return Ok(Delta::End { reply: Box::new(reply) });
            }
            if let Some(frame) = self.frames.next()? {
                self.frame(&frame)?;
                continue;
            }
            let frames = &mut self.frames;
            match self.incoming.read(|bytes| frames.push(bytes)).await {
                Ok(true) => {}
                Ok(false) => self.broken = self.end(None).err(),
                Err(BodyError::Cut(cause)) => self.broken = self.end(Some(cause)).err(),
                Err(BodyError::Idle(limit)) => return Err(idle(limit)),
                Err(BodyError::TooLarge) => {
                    return Err(Error::new(ErrorKind::BadStream, "the stream is larger than 64 MiB"));
                }
            }
        }
    }

    fn frame(&mut self, frame: &Frame) -> Result<()> {
        let shape = self.provider.0.shape;
        if frame.data.trim() == "[DONE]" {
            self.draft.ended |= shape.ends_with_finish();
            return Ok(());
        }
        if frame.data.trim().is_empty() {
            return Ok(());
        }
        let json: Json = serde_json::from_str(&frame.data)
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
        shape.piece(&json, &mut self.draft);
        match self.draft.failed.take() {
            Some(failed) => Err(from_body(&failed, self.provider.0.config.key.as_ref())),
            None => Ok(()),
        }
    }

    /// The connection is at its end: is the answer?
    fn end(&mut self, cause: Option<String>) -> Result<()> {
        if cause.is_none() && self.incoming.is_empty() {
            return Err(self.provider.not_understood(&[], "the stream is empty"));
        }
        let why = cause.map(|cause| format!(" ({cause})")).unwrap_or_default();
        if let Ok(Some(frame)) = self.frames.rest()
            && let Err(error) = self.frame(&frame)
        {
            // Half a chunk is what a cut looks like; anything else it said is worth more.
            return Err(if error.kind() == ErrorKind::BadStream { interrupted(&why) } else { error });
        }
        let finished = self.provider.0.shape.ends_with_finish() && self.draft.finish.is_some();
        if self.draft.ended || finished {
            self.draft.ended = true;
            return Ok(());
        }
        Err(interrupted(&why))
    }
}
