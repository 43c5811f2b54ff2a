//! Model calls behind the gate.
//!
//! [`GatedModels`] is what bridges call. For each call it
//!
//! 1. reserves a call in the run's budget;
//! 2. passes the gate, which may answer from the journal;
//! 3. resolves provider, model and fallbacks, and looks in the answer cache;
//! 4. reserves tokens and cost, and calls [`Models`];
//! 5. settles the reservation with the real usage.

mod cache_key;
mod embed;
mod reserve;

use std::collections::HashSet;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{self, Poll, ready};

use futures_util::stream::{self, BoxStream, Stream, StreamExt};
use serde::Serialize;

use self::cache_key::CacheKey;
use super::{Chunk, Chunks};
use crate::budget::CountedCall;
use crate::capability::{ModelListing, ModelRef, Models, ProviderInfo};
use crate::chat::{ChatRequest, Delta, Reply, Usage};
use crate::context::Context;
use crate::effect::EffectRequest;
use crate::error::{Error, ErrorKind, Result};
use crate::event::Event;
use crate::outcome::LogLevel;
use crate::recorded_reply::{DeltaRecord, NoHead};
use crate::value::Map;

/// A provider and a model, as named by a script.
#[derive(Serialize)]
struct NamedModel<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    provider: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<&'a str>,
}

impl Context {
    /// Returns the gated view of the language models.
    #[must_use]
    pub fn models(&self) -> GatedModels<'_> {
        GatedModels(self)
    }
}

/// The models behind the gate; bridges call this.
#[derive(Debug)]
pub struct GatedModels<'a>(pub(crate) &'a Context);

impl<'a> GatedModels<'a> {
    fn capability(&self) -> Result<&'a dyn Models> {
        self.0.models_capability().ok_or_else(|| {
            Error::new(ErrorKind::NoProvider, "this runtime has no models")
                .hint("add some with `Runtime::builder().models(…)`")
        })
    }

    /// Returns the usable providers, the default first.
    ///
    /// # Errors
    /// When the runtime has no models at all.
    pub fn providers(&self) -> Result<Vec<ProviderInfo>> {
        self.0
            .gate_now(EffectRequest::new("models", "providers", &())?, |_| Ok(self.capability()?.providers()))
    }

    /// Resolves a provider and a model. Absent names are replaced by the run's default, or else by the provider's.
    ///
    /// # Errors
    /// When there is no such provider or model; the error names near or usable ones.
    pub fn resolve(&self, provider: Option<&str>, model: Option<&str>) -> Result<ModelRef> {
        let ask = EffectRequest::new("models", "resolve", &NamedModel { provider, model })?;
        self.0.gate_now(ask, |_| self.find(provider, model))
    }

    fn find(&self, provider: Option<&str>, model: Option<&str>) -> Result<ModelRef> {
        let (models, default) = (self.capability()?, self.0.default_model());
        match (provider, model) {
            (None, None) => models.resolve(None, default),
            // A name without a slash is a model of the default provider. A name with a slash goes to `resolve` alone:
            // its first part is usually a provider, and `resolve` reports one that does not exist.
            (None, Some(model)) if default.is_some() && !model.contains('/') => {
                let provider = models.resolve(None, default)?.provider;
                models.resolve(Some(&provider), Some(model))
            }
            _ => models.resolve(provider, model),
        }
    }

    /// Counts the tokens of a text. This is not an effect: it uses only what this program knows.
    ///
    /// # Errors
    /// When the runtime has no models at all.
    pub fn count_tokens(&self, text: &str, model: &ModelRef) -> Result<u64> {
        Ok(self.capability()?.count_tokens(text, model))
    }

    /// Calls a model and waits for the complete answer.
    ///
    /// # Errors
    /// The provider's error, a reached limit, or the end of the run.
    pub async fn chat(&self, request: ChatRequest) -> Result<Reply> {
        let ask = EffectRequest::new("models", "chat", &request)?;
        let mut call = self.0.count_call().await?;
        let live = async |permit| {
            let (models, mut request) = self.resolved(request)?;
            let place = CacheKey::of(self.0, &request)?;
            if let Some(place) = &place
                && let Some(reply) = place.find().await?
            {
                return Ok(reply);
            }
            self.0.reserve(&mut call, models, &mut request).await?;
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
            Err(error) if was_not_sent(error) => call.was_none(),
            // The call was interrupted. Dropping `call` charges an estimate.
            Err(error) if error.is_final() => {}
            _ => call.settled(),
        }
        if let Ok(reply) = &result {
            report(self.0, reply)?;
        }
        result
    }

    /// Calls a model and streams its answer.
    ///
    /// # Errors
    /// The provider's error before the first chunk, a reached limit, or the end of the run.
    pub async fn stream(&self, request: ChatRequest) -> Result<ReplyStream> {
        let ask = EffectRequest::new("models", "stream", &request)?;
        let mut call = self.0.count_call().await?;
        let asked_tokens = request.text_bytes().div_ceil(4);
        let live = async |permit| {
            let (models, mut request) = self.resolved(request)?;
            let place = CacheKey::of(self.0, &request)?;
            if let Some(place) = &place
                && let Some(reply) = place.find().await?
            {
                return Ok((NoHead {}, in_pieces(reply).map(|piece| piece.map(DeltaRecord)).boxed()));
            }
            self.0.reserve(&mut call, models, &mut request).await?;
            let pieces = models.stream(permit, request).await?;
            let pieces = match place {
                Some(place) => kept(pieces, place),
                None => pieces,
            };
            Ok((NoHead {}, pieces.map(|piece| piece.map(DeltaRecord)).boxed()))
        };
        let opened = Chunks::open(self.0, ask, live).await;
        if !opened.as_ref().is_err_and(Error::is_final) {
            // From here on, the stream settles the reservation.
            call.settled();
        }
        let (NoHead {}, pieces) = opened?;
        let (cx, call) = (self.0.clone(), Some(call));
        Ok(ReplyStream { cx, pieces, call, text: String::new(), asked_tokens, done: false })
    }

    /// Lists the models of one provider, or of all providers.
    ///
    /// # Errors
    /// When the provider is not known, or the run ends meanwhile.
    pub async fn list(&self, provider: Option<String>) -> Result<ModelListing> {
        let ask = EffectRequest::new("models", "list", &provider)?;
        let live = |permit| {
            let listing = self.capability().map(|models| models.list(permit, provider));
            async move { listing?.await }
        };
        self.0.gate(ask, live).await
    }

    /// Resolves provider, model and fallbacks. Only a live call needs this: a replay must not depend on what is
    /// configured.
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
    cx.ledger().settle(usage);
    cx.emit(Event::Usage { usage: usage.clone() });
}

/// The warnings that the run has already logged.
#[derive(Default)]
struct Warned(Mutex<HashSet<String>>);

/// Logs which models failed before a fallback answered, and parameters that the model does not accept. Each warning is
/// logged once per run, so the log does not depend on other runs. The reply contains the warnings, so a replay logs the
/// same.
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

/// Streams an answer that is already complete.
fn in_pieces(reply: Reply) -> BoxStream<'static, Result<Delta>> {
    let thought = reply.reasoning.clone().map(|text| Delta::Reasoning { text });
    let text = (!reply.text.is_empty()).then(|| Delta::Text { text: reply.text.clone() });
    let end = Delta::End { reply: Box::new(reply) };
    stream::iter(thought.into_iter().chain(text).chain([end]).map(Ok)).boxed()
}

/// Passes the chunks through, and caches the complete reply.
fn kept(pieces: BoxStream<'static, Result<Delta>>, place: CacheKey) -> BoxStream<'static, Result<Delta>> {
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

impl Chunk for DeltaRecord {
    fn is_last(&self) -> bool {
        matches!(self.0, Delta::End { .. })
    }
}

/// Whether a call was refused before its request was sent to a provider.
fn was_not_sent(error: &Error) -> bool {
    error.call().is_some_and(|call| call.provider.is_some() && call.attempts == 0)
}

/// A streamed answer of a model. Dropping it cancels the call.
pub struct ReplyStream {
    cx: Context,
    pieces: Chunks<DeltaRecord>,
    /// The call's reservation.
    call: Option<CountedCall>,
    text: String,
    /// Approximate number of input tokens, to charge if the answer is interrupted.
    asked_tokens: u64,
    done: bool,
}

impl ReplyStream {
    /// Returns the text that has arrived so far.
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
        if let Some(call) = self.call.as_mut().filter(|_| was_not_sent(&error)) {
            call.was_none();
        }
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

    /// Ends the call and charges its usage.
    fn settle(&mut self, usage: &Usage) {
        self.done = true;
        settle(&self.cx, usage);
        self.call = None;
    }

    /// Returns the usage to charge for a call that ended early, at about four bytes per token.
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
            Some(Ok(DeltaRecord(delta))) => this.piece(&delta).map(|()| delta),
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
