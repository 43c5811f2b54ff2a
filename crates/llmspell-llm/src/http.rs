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
use crate::error::{from_body, from_status, is_error, quote, request_id, without_key};
use crate::event_decoder::{EventDecoder, StreamEvent};
use crate::limiter::Limiter;
use crate::model_rules;
use crate::protocol::{Protocol, protocol_of};
use crate::provider::{Attempt, Provider, SamplingSupport, StructuredOutput};
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
            let body = this.protocol(&attempt.request).body(&this.0.config, &attempt.request, false)?;
            this.chat_with(attempt, body).await
        })
    }

    fn stream(&self, attempt: Attempt) -> BoxFuture<'static, Result<BoxStream<'static, Result<Delta>>>> {
        let this = self.clone();
        Box::pin(async move {
            let body = this.protocol(&attempt.request).body(&this.0.config, &attempt.request, true)?;
            this.stream_with(attempt, body).await
        })
    }

    fn takes_output(&self, request: &ChatRequest) -> StructuredOutput {
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
        let head = self.head(&incoming);
        let read = async {
            let json = self.read_whole(&mut incoming).await?;
            let mut builder = self.builder(&attempt.request);
            protocol.whole(&json, &mut builder)?;
            match builder.failed.take() {
                Some(failed) => {
                    builder.end_text();
                    Err(with_partial(from_body(&failed, self.0.config.key.as_ref()), builder.text()))
                }
                None => self.reply(builder, count_request(&attempt.request)),
            }
        };
        read.await.map_err(|error| self.named(head.stamp(error)))
    }

    /// Requests a streamed answer with a prepared body.
    pub(crate) async fn stream_with(
        &self,
        attempt: Attempt,
        body: Json,
    ) -> Result<BoxStream<'static, Result<Delta>>> {
        let protocol = self.protocol(&attempt.request);
        let mut incoming = self.send(&ask(protocol, true, &body, &attempt)).await?;
        let content_type = incoming.content_type();
        let stream_format = protocol.stream_format();
        if !stream_format.is_named(&content_type) {
            let head = self.head(&incoming);
            let beginning = incoming.beginning(MOST_ERROR_BODY).await;
            let why = format!("a stream was asked for, `{content_type}` came");
            return Err(self.named(head.stamp(self.not_understood(&beginning, &why))));
        }
        let reading = ReplyReader {
            provider: self.clone(),
            protocol,
            head: self.head(&incoming),
            incoming,
            decoder: EventDecoder::new(stream_format),
            builder: self.builder(&attempt.request),
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
    serde_json::from_str(text.strip_prefix('\u{feff}').unwrap_or(&text))
}

fn idle(limit: std::time::Duration) -> Error {
    Error::new(
        ErrorKind::Timeout,
        format!("nothing came for {} s in the middle of the answer", limit.as_secs_f64()),
    )
    .with_retryable(true)
}

/// Returns the error for a stream that ended too soon.
pub(crate) fn interrupted(why: &str) -> Error {
    Error::new(ErrorKind::StreamInterrupted, format!("the stream ended before the model had finished{why}"))
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
mod tests {
    //! Tests calls to OpenAI's own host name, which tests from outside cannot use.

    use std::net::SocketAddr;
    use std::sync::Mutex;

    use llmspell_core::capability::Models;
    use llmspell_core::chat::{Message, Part, Role, ToolSpec};
    use llmspell_core::effect::Permit;
    use serde_json::json;
    use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;
    use crate::rate_limits::RateLimits;
    use crate::{Client, ProviderRow};

    type Asked = Arc<Mutex<Vec<(String, Json)>>>;

    /// Starts a server that answers like OpenAI. Returns its address and the list of received paths and bodies.
    async fn openai() -> (SocketAddr, Asked) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, asked) = (listener.local_addr().unwrap(), Asked::default());
        let kept = Arc::clone(&asked);
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                answer(socket, &kept).await;
            }
        });
        (address, asked)
    }

    async fn answer(socket: TcpStream, asked: &Asked) {
        let mut socket = BufReader::new(socket);
        let (mut path, mut length) = (String::new(), 0);
        loop {
            let mut line = String::new();
            socket.read_line(&mut line).await.unwrap();
            let line = line.trim().to_ascii_lowercase();
            if path.is_empty() {
                path = line.split(' ').nth(1).unwrap().to_owned();
            }
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            if line.is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        socket.read_exact(&mut body).await.unwrap();
        let body: Json = serde_json::from_slice(&body).unwrap();
        asked.lock().unwrap().push((path.clone(), body.clone()));
        let (status, kind, text) = match path.as_str() {
            "/v1/responses" => {
                let response = json!({"id": "r", "model": "gpt-6-mini-2026-11-03", "status": "completed",
                    "usage": {"input_tokens": 11, "output_tokens": 5}, "output": [
                        {"type": "reasoning", "id": "rs", "summary": [], "encrypted_content": "sealed"},
                        {"type": "function_call", "call_id": "c1", "name": "add", "arguments": "{\"a\": 1}"}]});
                if body["stream"] == true {
                    let mut text = String::new();
                    for (at, item) in response["output"].as_array().unwrap().iter().enumerate() {
                        let done =
                            json!({"type": "response.output_item.done", "output_index": at, "item": item});
                        text += &format!("data: {done}\n\n");
                    }
                    let end = json!({"type": "response.completed", "response": response});
                    (200, "text/event-stream", format!("{text}data: {end}\n\n"))
                } else {
                    (200, "application/json", response.to_string())
                }
            }
            "/v1/embeddings" => {
                (200, "application/json", json!({"data": [{"index": 0, "embedding": [1.0]}]}).to_string())
            }
            _ => (400, "application/json", json!({"error": {"message": "use /v1/responses"}}).to_string()),
        };
        let head = format!(
            "HTTP/1.1 {status} S\r\ncontent-type: {kind}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
            text.len()
        );
        socket.write_all(format!("{head}{text}").as_bytes()).await.unwrap();
    }

    fn client(address: SocketAddr) -> Client {
        let config = ProviderConfig::from_row(ProviderRow::find("openai").unwrap())
            .base_url(&format!("http://api.openai.com:{}/v1", address.port()))
            .unwrap();
        let transport = Arc::new(Transport::resolving("api.openai.com", address));
        let provider = HttpProvider::new(config, transport, Limiter::alone(RateLimits::default()));
        Client::builder().custom("openai", Arc::new(provider)).build().unwrap()
    }

    #[tokio::test]
    async fn an_openai_model_that_reasons_calls_tools_through_responses() {
        let tool = ToolSpec {
            name: "add".into(),
            description: "adds".into(),
            parameters: json!({"type": "object"}),
        };
        let request = |messages| ChatRequest {
            messages,
            provider: Some("openai".into()),
            model: Some("gpt-6-mini".into()),
            temperature: Some(0.0),
            tools: vec![tool.clone()],
            ..ChatRequest::default()
        };
        for streamed in [false, true] {
            let (address, asked) = openai().await;
            let client = client(address);
            let mut messages = vec![Message::user("add one")];
            for _ in 0..2 {
                let reply = if streamed {
                    let pieces = client.stream(Permit::for_test(), request(messages.clone())).await.unwrap();
                    let end = pieces.collect::<Vec<_>>().await.pop().unwrap().unwrap();
                    let Delta::End { reply } = end else { panic!("{end:?}") };
                    *reply
                } else {
                    client.chat(Permit::for_test(), request(messages.clone())).await.unwrap()
                };
                assert_eq!((reply.provider.as_str(), reply.attempts), ("openai", 1));
                assert_eq!((reply.usage.input_tokens, reply.usage.output_tokens), (11, 5));
                assert_eq!(reply.tool_calls[0].arguments, json!({"a": 1}));
                assert_eq!(reply.warnings.len(), 1, "{:?}", reply.warnings);
                messages.push(reply.to_message());
                let result = Part::ToolResult { id: "c1".into(), content: "2".into(), is_error: false };
                messages.push(Message {
                    role: Role::Tool,
                    content: llmspell_core::chat::Content::Parts(vec![result]),
                });
            }
            let asked = asked.lock().unwrap();
            assert!(asked.iter().all(|(path, _)| path == "/v1/responses"), "{asked:?}");
            assert!(asked[0].1.get("temperature").is_none(), "{asked:?}");
            assert_eq!(asked[0].1["include"], json!(["reasoning.encrypted_content"]));
            assert_eq!(asked[1].1["input"][1]["encrypted_content"], "sealed", "{asked:?}");
        }
    }

    #[tokio::test]
    async fn other_calls_of_openai_go_where_they_went() {
        let (address, asked) = openai().await;
        let client = client(address);
        let chat = ChatRequest {
            provider: Some("openai".into()),
            model: Some("gpt-4o".into()),
            ..ChatRequest::prompt("hi")
        };
        assert_eq!(client.chat(Permit::for_test(), chat).await.unwrap_err().kind(), ErrorKind::BadRequest);
        let embed = EmbedRequest {
            texts: vec!["hi".into()],
            provider: Some("openai".into()),
            model: Some("text-embedding-3-small".into()),
            ..EmbedRequest::default()
        };
        assert_eq!(client.embed(Permit::for_test(), embed).await.unwrap().vectors, [[1.0]]);
        let paths: Vec<String> = asked.lock().unwrap().iter().map(|(path, _)| path.clone()).collect();
        assert_eq!(paths, ["/v1/chat/completions", "/v1/embeddings"]);
    }
}
