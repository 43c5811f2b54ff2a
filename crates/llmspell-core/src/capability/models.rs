//! Language models.

mod embed;

use std::collections::HashSet;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{self, Poll, ready};

use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream, Stream, StreamExt};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::budget::Call;
use crate::cache::Place;
use crate::chat::{ChatRequest, Delta, ModelInfo, Reply, Usage};
use crate::context::{Context, Event};
use crate::convert::from_value;
use crate::effect::{Ask, Entry, Permit};
use crate::embed::{EmbedRequest, Embeddings};
use crate::error::{Error, ErrorKind, Result};
use crate::gate::{self, Chunks};
use crate::outcome::LogLevel;
use crate::stream_record::StreamRecord;
use crate::value::Map;

/// A provider and the model it is to use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ModelRef {
    /// The provider's name.
    pub provider: String,
    /// The provider's name of the model.
    pub model: String,
}

impl std::fmt::Display for ModelRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.provider, self.model)
    }
}

/// A provider that can be used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProviderInfo {
    /// Its name.
    pub name: String,
    /// The model it uses when none is named.
    pub default_model: String,
    /// Where it was found: `OPENAI_API_KEY`, `--provider`, a reachable server, ….
    pub found_by: String,
    /// The address it is called at, without credentials; absent for `mock`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base_url: Option<String>,
}

/// The models of one or more providers; one provider's failure does not hide the others.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct ModelListing {
    /// What could be listed.
    pub models: Vec<ModelInfo>,
    /// What could not, with the provider named in each.
    pub errors: Vec<Error>,
}

/// What a model costs: US dollars for a million tokens.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Price {
    /// Of what it reads.
    pub input: f64,
    /// Of what it writes.
    pub output: f64,
}

impl Price {
    /// What so many tokens cost, in US dollars.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "counts of tokens are far below 2^53")]
    pub fn of(self, input_tokens: u64, output_tokens: u64) -> f64 {
        (input_tokens as f64 * self.input + output_tokens as f64 * self.output) / 1e6
    }
}

/// What is known of a call before it is made.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Estimate {
    /// Tokens that the model will read, roughly.
    pub input_tokens: u64,
    /// The most tokens that it can write, if that is known.
    pub max_output: Option<u32>,
    /// What it costs; `None` when that is not known.
    pub price: Option<Price>,
}

/// Calls language models.
///
/// `chat` and `stream` are handed a request whose `provider` and `model` were resolved by
/// [`resolve`](Models::resolve). Dropping the future or the stream cancels the call and closes its socket.
pub trait Models: Send + Sync {
    /// The usable providers, in the order they were found; the first is the default.
    fn providers(&self) -> Vec<ProviderInfo>;

    /// Finds what a request means by `provider` and `model`; what is absent is the default.
    ///
    /// # Errors
    /// When there is no such provider or model; the error names near or usable ones.
    fn resolve(&self, provider: Option<&str>, model: Option<&str>) -> Result<ModelRef>;

    /// Finds a model to fall back on by its name, `provider/model` or one that the default provider knows.
    ///
    /// What is before a slash is a provider here: one that is misspelt would else be taken for the name of a model, and
    /// that would be found out only when it is needed.
    ///
    /// # Errors
    /// As [`resolve`](Models::resolve) has them.
    fn resolve_fallback(&self, name: &str) -> Result<ModelRef> {
        let (provider, model) = name.split_once('/').map_or((None, name), |(of, model)| (Some(of), model));
        self.resolve(provider, Some(model))
            .map_err(|error| error.prefixed(format_args!("fallback `{name}`: ")))
    }

    /// Asks for a whole answer.
    fn chat(&self, permit: Permit, request: ChatRequest) -> BoxFuture<'static, Result<Reply>>;

    /// Asks for an answer piece by piece. An `Err` item, or the end without [`Delta::End`], ends the stream.
    fn stream(
        &self,
        permit: Permit,
        request: ChatRequest,
    ) -> BoxFuture<'static, Result<BoxStream<'static, Result<Delta>>>>;

    /// The model that a provider turns texts into vectors with when none is named.
    ///
    /// # Errors
    /// When it turns none; the error names those that do.
    fn embed_model(&self, provider: &str) -> Result<String> {
        Err(cannot_embed(provider))
    }

    /// Turns texts into vectors. Dropping the future cancels the call.
    fn embed(&self, _permit: Permit, request: EmbedRequest) -> BoxFuture<'static, Result<Embeddings>> {
        Box::pin(async move { Err(cannot_embed(request.provider.as_deref().unwrap_or("the provider"))) })
    }

    /// Lists the models of one provider, or of all.
    fn list(&self, permit: Permit, provider: Option<String>) -> BoxFuture<'static, Result<ModelListing>>;

    /// Counts the tokens of a text, as near as can be known without asking the provider.
    fn count_tokens(&self, text: &str, model: &ModelRef) -> u64;

    /// What a call may take, for a run with a limit of tokens or of cost to set aside. Unless it is said otherwise, nothing
    /// is known but the text: four bytes a token.
    fn estimate(&self, request: &ChatRequest) -> Estimate {
        Estimate { input_tokens: request.text_bytes().div_ceil(4), ..Estimate::default() }
    }
}

fn cannot_embed(provider: &str) -> Error {
    Error::new(ErrorKind::Unsupported, format!("{provider}: it turns no texts into vectors"))
}

/// A provider and a model as a script names them.
#[derive(Serialize)]
struct Named<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    provider: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<&'a str>,
}

/// The models behind the gate: what a bridge calls.
#[derive(Debug)]
pub struct GatedModels<'a>(pub(crate) &'a Context);

impl<'a> GatedModels<'a> {
    fn capability(&self) -> Result<&'a dyn Models> {
        self.0.models_capability().ok_or_else(|| {
            Error::new(ErrorKind::NoProvider, "this runtime has no models")
                .hint("add some with `Runtime::builder().models(…)`")
        })
    }

    /// The usable providers, the default first.
    ///
    /// # Errors
    /// When the runtime has no models at all.
    pub fn providers(&self) -> Result<Vec<ProviderInfo>> {
        self.0.gate_now(Ask::new("models", "providers", &())?, |_| Ok(self.capability()?.providers()))
    }

    /// Finds what is meant by a provider and a model; what is absent is the run's default, or the provider's.
    ///
    /// # Errors
    /// When there is no such provider or model; the error names near or usable ones.
    pub fn resolve(&self, provider: Option<&str>, model: Option<&str>) -> Result<ModelRef> {
        let ask = Ask::new("models", "resolve", &Named { provider, model })?;
        self.0.gate_now(ask, |_| self.find(provider, model))
    }

    fn find(&self, provider: Option<&str>, model: Option<&str>) -> Result<ModelRef> {
        let (models, default) = (self.capability()?, self.0.default_model());
        match (provider, model) {
            (None, None) => models.resolve(None, default),
            // A slash alone does not say that a provider is named: some have it in the names of their models. But what
            // has one is most likely a provider that does not exist, which the models explain best.
            (None, Some(model)) if default.is_some() && !model.contains('/') => {
                let provider = models.resolve(None, default)?.provider;
                models.resolve(Some(&provider), Some(model))
            }
            _ => models.resolve(provider, model),
        }
    }

    /// Counts the tokens of a text. It is no touch of the world, only what this program knows.
    ///
    /// # Errors
    /// When the runtime has no models at all.
    pub fn count_tokens(&self, text: &str, model: &ModelRef) -> Result<u64> {
        Ok(self.capability()?.count_tokens(text, model))
    }

    /// Asks a model and waits for the whole answer.
    ///
    /// # Errors
    /// What the provider answers, a limit, or the end of the run.
    pub async fn chat(&self, request: ChatRequest) -> Result<Reply> {
        let ask = Ask::new("models", "chat", &request)?;
        let mut call = self.0.count_call().await?;
        let live = async |permit| {
            let (models, mut request) = self.resolved(request)?;
            let place = Place::of(self.0, &request)?;
            if let Some(place) = &place
                && let Some(reply) = place.find().await?
            {
                return Ok(reply);
            }
            self.0.set_aside(&mut call, models, &mut request).await?;
            let reply = models.chat(permit, request).await?;
            if let Some(place) = place {
                place.keep(&reply).await?;
            }
            Ok(reply)
        };
        let result: Result<Reply> = self.0.gate(ask, live).await;
        let used = match &result {
            Ok(reply) => Some(&reply.usage),
            Err(error) => error.call().and_then(|call| call.usage.as_ref()),
        };
        if let Some(used) = used {
            settle(self.0, used);
        }
        match &result {
            Ok(reply) if reply.cached => call.was_none(),
            // Only what was cut off is charged by a guess.
            Err(error) if error.is_final() => {}
            _ => call.settled(),
        }
        if let Ok(reply) = &result {
            report(self.0, reply)?;
        }
        result
    }

    /// Asks a model for an answer piece by piece.
    ///
    /// # Errors
    /// What the provider answers before the first piece, a limit, or the end of the run.
    pub async fn stream(&self, request: ChatRequest) -> Result<ReplyStream> {
        let ask = Ask::new("models", "stream", &request)?;
        let mut call = self.0.count_call().await?;
        let asked_tokens = request.text_bytes().div_ceil(4);
        let live = async |permit| {
            let (models, mut request) = self.resolved(request)?;
            let place = Place::of(self.0, &request)?;
            if let Some(place) = &place
                && let Some(reply) = place.find().await?
            {
                return Ok((NoHead {}, in_pieces(reply).map(|piece| piece.map(Kept)).boxed()));
            }
            self.0.set_aside(&mut call, models, &mut request).await?;
            let pieces = models.stream(permit, request).await?;
            let pieces = match place {
                Some(place) => kept(pieces, place),
                None => pieces,
            };
            Ok((NoHead {}, pieces.map(|piece| piece.map(Kept)).boxed()))
        };
        let opened = Chunks::open(self.0, ask, live).await;
        if !opened.as_ref().is_err_and(Error::is_final) {
            // From here on, the stream settles.
            call.settled();
        }
        let (NoHead {}, pieces) = opened?;
        let (cx, call) = (self.0.clone(), Some(call));
        Ok(ReplyStream { cx, pieces, call, text: String::new(), asked_tokens, done: false })
    }

    /// Lists the models of one provider, or of all.
    ///
    /// # Errors
    /// When the provider is not known, or the run ends meanwhile.
    pub async fn list(&self, provider: Option<String>) -> Result<ModelListing> {
        let ask = Ask::new("models", "list", &provider)?;
        let live = |permit| {
            let listing = self.capability().map(|models| models.list(permit, provider));
            async move { listing?.await }
        };
        self.0.gate(ask, live).await
    }

    /// The models and what they are asked: only now does it matter which there are.
    fn resolved(&self, mut request: ChatRequest) -> Result<(&'a dyn Models, ChatRequest)> {
        let models = self.capability()?;
        let found = self.find(request.provider.as_deref(), request.model.as_deref())?;
        request.provider = Some(found.provider);
        request.model = Some(found.model);
        if request.fallback.is_empty() {
            request.fallback = self.0.fallback().to_vec();
        }
        for name in &mut request.fallback {
            *name = models.resolve_fallback(name)?.to_string();
        }
        Ok((models, request))
    }
}

pub(crate) fn settle(cx: &Context, usage: &Usage) {
    cx.purse().settle(usage);
    cx.emit(Event::Usage { usage: usage.clone() });
}

/// The warnings that a run has logged.
#[derive(Default)]
struct Warned(Mutex<HashSet<String>>);

/// Logs that another model answered than was asked, and what a model did not take: that once in a run, so that the log
/// of a run does not depend on the runs before it. A replay logs the same: the answer says it.
fn report(cx: &Context, reply: &Reply) -> Result<()> {
    for warning in &reply.warnings {
        let is_new =
            cx.state::<Warned>().0.lock().unwrap_or_else(PoisonError::into_inner).insert(warning.clone());
        if is_new {
            cx.log(LogLevel::Warn, warning.clone(), Map::new())?;
        }
    }
    if reply.failed.is_empty() {
        return Ok(());
    }
    let (failed, provider, model) = (reply.failed.join("; "), &reply.provider, &reply.model);
    cx.log(LogLevel::Warn, format!("{failed}; {provider}/{model} answered"), Map::new())
}

impl Entry {
    /// The whole answer of a model, when the effect is a call that got one.
    #[must_use]
    pub fn reply(&self) -> Option<Reply> {
        let answer = self.end.as_ref()?.answer.as_ref().ok()?;
        match (&*self.effect.ask.capability, &*self.effect.ask.operation) {
            ("models", "chat") => from_value(answer.clone()).ok(),
            ("models", "stream") => {
                let record: StreamRecord<NoHead, Kept> = from_value(answer.clone()).ok()?;
                record.chunks.into_iter().rev().find_map(|(_, delta)| match delta {
                    Kept(Delta::End { reply }) => Some(*reply),
                    _ => None,
                })
            }
            _ => None,
        }
    }
}

/// An answer that is whole already, as one that arrives.
fn in_pieces(reply: Reply) -> BoxStream<'static, Result<Delta>> {
    let thought = reply.reasoning.clone().map(|text| Delta::Reasoning { text });
    let text = (!reply.text.is_empty()).then(|| Delta::Text { text: reply.text.clone() });
    let end = Delta::End { reply: Box::new(reply) };
    stream::iter(thought.into_iter().chain(text).chain([end]).map(Ok)).boxed()
}

/// The same pieces, of which what they come to is kept.
fn kept(pieces: BoxStream<'static, Result<Delta>>, place: Place) -> BoxStream<'static, Result<Delta>> {
    let place = Arc::new(place);
    let keep = move |piece: Result<Delta>| {
        let place = Arc::clone(&place);
        async move {
            if let Ok(Delta::End { reply }) = &piece {
                place.keep(reply).await?;
            }
            piece
        }
    };
    pieces.then(keep).boxed()
}

/// Nothing comes before the pieces of an answer.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct NoHead {}

/// A piece as the journal keeps it: thousands of them are text and nothing else, and are written so.
#[derive(Debug, Clone)]
struct Kept(Delta);

impl Serialize for Kept {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0 {
            Delta::Text { text } => serializer.serialize_str(text),
            delta => delta.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Kept {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Text(String),
            Delta(Delta),
        }
        Written::deserialize(deserializer).map(|written| match written {
            Written::Text(text) => Self(Delta::Text { text }),
            Written::Delta(delta) => Self(delta),
        })
    }
}

impl gate::Chunk for Kept {
    fn is_last(&self) -> bool {
        matches!(self.0, Delta::End { .. })
    }
}

/// An answer that arrives in pieces. Dropping it cancels the call.
pub struct ReplyStream {
    cx: Context,
    pieces: Chunks<Kept>,
    /// What is set aside for it.
    call: Option<Call>,
    text: String,
    /// Tokens of the question, roughly, to charge when the answer is cut off.
    asked_tokens: u64,
    done: bool,
}

impl ReplyStream {
    /// The text that has arrived so far.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    fn piece(&mut self, delta: &Delta) -> Result<()> {
        if let Delta::Text { text } = delta {
            self.text.push_str(text);
            self.cx.emit(Event::Chunk { text: text.clone() });
        }
        if let Delta::End { reply } = delta {
            if let Some(call) = self.call.as_mut().filter(|_| reply.cached) {
                call.was_none();
            }
            self.settle(&reply.usage);
            self.pieces.close()?;
            report(&self.cx, reply)?;
        }
        Ok(())
    }

    fn fail(&mut self, mut error: Error) -> Error {
        let estimate = self.estimate();
        let call = error.call_mut();
        if !self.text.is_empty() {
            call.partial.get_or_insert_with(|| self.text.clone());
        }
        let usage = call.usage.get_or_insert(estimate).clone();
        self.settle(&usage);
        error
    }

    fn set_idle(&mut self, idle: bool) {
        if let Some(call) = &mut self.call {
            call.set_idle(idle);
        }
    }

    /// Ends the call: charges what it used.
    fn settle(&mut self, usage: &Usage) {
        self.done = true;
        settle(&self.cx, usage);
        self.call = None;
    }

    /// What a call that ended early is charged: about four bytes a token, as a first guess everywhere.
    fn estimate(&self) -> Usage {
        let output_tokens = (self.text.len() as u64).div_ceil(4);
        Usage { input_tokens: self.asked_tokens, output_tokens, estimated: true, ..Usage::default() }
    }
}

impl Stream for ReplyStream {
    type Item = Result<Delta>;

    fn poll_next(mut self: Pin<&mut Self>, task: &mut task::Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if this.done {
            return Poll::Ready(None);
        }
        this.set_idle(false);
        let piece = ready!(this.pieces.poll(task));
        this.set_idle(true);
        let item = match piece {
            Some(Ok(Kept(delta))) => this.piece(&delta).map(|()| delta),
            Some(Err(error)) => Err(this.fail(error)),
            None => Err(this.fail(
                Error::new(ErrorKind::StreamInterrupted, "the stream ended before the model had finished")
                    .with_retryable(true),
            )),
        };
        Poll::Ready(Some(item))
    }
}

impl Drop for ReplyStream {
    fn drop(&mut self) {
        if !self.done {
            let estimate = self.estimate();
            self.settle(&estimate);
        }
    }
}

impl std::fmt::Debug for ReplyStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReplyStream").field("text", &self.text).finish_non_exhaustive()
    }
}
