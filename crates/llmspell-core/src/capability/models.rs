//! Language models.

use std::pin::Pin;
use std::task::{self, Poll, ready};

use futures_util::future::BoxFuture;
use futures_util::stream::{BoxStream, Stream};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::chat::{ChatRequest, Delta, ModelInfo, Reply, Usage};
use crate::context::{Context, Event};
use crate::effect::{Ask, EntryId, Permit};
use crate::error::{Error, ErrorKind, Result};

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

    /// Asks for a whole answer.
    fn chat(&self, permit: Permit, request: ChatRequest) -> BoxFuture<'static, Result<Reply>>;

    /// Asks for an answer piece by piece. An `Err` item, or the end without [`Delta::End`], ends the stream.
    fn stream(
        &self,
        permit: Permit,
        request: ChatRequest,
    ) -> BoxFuture<'static, Result<BoxStream<'static, Result<Delta>>>>;

    /// Lists the models of one provider, or of all.
    fn list(&self, permit: Permit, provider: Option<String>) -> BoxFuture<'static, Result<ModelListing>>;

    /// Counts the tokens of a text, as near as can be known without asking the provider.
    fn count_tokens(&self, text: &str, model: &ModelRef) -> u64;
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
        Ok(self.capability()?.providers())
    }

    /// Finds what is meant by a provider and a model; what is absent is the run's default, or the provider's.
    ///
    /// # Errors
    /// When there is no such provider or model; the error names near or usable ones.
    pub fn resolve(&self, provider: Option<&str>, model: Option<&str>) -> Result<ModelRef> {
        let unnamed = provider.is_none() && model.is_none();
        self.capability()?.resolve(provider, if unnamed { self.0.default_model() } else { model })
    }

    /// Counts the tokens of a text.
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
        let models = self.capability()?;
        let request = self.resolved(request)?;
        let ask = Ask::new("models", "chat", &request)?;
        self.0.meter().reserve_model_call()?;
        let result: Result<Reply> = self.0.gate(ask, |permit| models.chat(permit, request)).await;
        match &result {
            Ok(reply) => settle(self.0, &reply.usage),
            Err(error) => {
                if let Some(usage) = error.call().and_then(|call| call.usage.as_ref()) {
                    settle(self.0, usage);
                }
            }
        }
        result
    }

    /// Asks a model for an answer piece by piece.
    ///
    /// # Errors
    /// What the provider answers before the first piece, a limit, or the end of the run.
    pub async fn stream(&self, request: ChatRequest) -> Result<ReplyStream> {
        let models = self.capability()?;
        let request = self.resolved(request)?;
        let ask = Ask::new("models", "stream", &request)?;
        self.0.meter().reserve_model_call()?;
        let bytes: usize = request.messages.iter().map(|message| message.joined_text().len()).sum();
        let asked_tokens = (bytes as u64).div_ceil(4);
        self.0.open_stream(ask, asked_tokens, |permit| models.stream(permit, request)).await
    }

    /// Lists the models of one provider, or of all.
    ///
    /// # Errors
    /// When the provider is not known, or the run ends meanwhile.
    pub async fn list(&self, provider: Option<String>) -> Result<ModelListing> {
        let models = self.capability()?;
        let ask = Ask::new("models", "list", &provider)?;
        self.0.gate(ask, |permit| models.list(permit, provider)).await
    }

    fn resolved(&self, mut request: ChatRequest) -> Result<ChatRequest> {
        let found = self.resolve(request.provider.as_deref(), request.model.as_deref())?;
        request.provider = Some(found.provider);
        request.model = Some(found.model);
        Ok(request)
    }
}

fn settle(cx: &Context, usage: &Usage) {
    cx.meter().settle(usage);
    cx.emit(Event::Usage { usage: usage.clone() });
}

/// What a stream came to, as the journal keeps it: a stream that failed had pieces too.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct StreamRecord {
    pub(crate) deltas: Vec<Delta>,
    #[serde(default)]
    pub(crate) error: Option<Error>,
}

/// An answer that arrives in pieces. Dropping it cancels the call.
pub struct ReplyStream {
    cx: Context,
    /// Where the journal wants the answer; `None` when it came from there, or nothing is kept.
    entry: Option<EntryId>,
    pieces: BoxStream<'static, Result<Delta>>,
    record: StreamRecord,
    text: String,
    /// Tokens of the question, roughly, to charge when the answer is cut off.
    asked_tokens: u64,
    done: bool,
}

impl ReplyStream {
    pub(crate) fn new(
        cx: Context,
        entry: Option<EntryId>,
        asked_tokens: u64,
        pieces: BoxStream<'static, Result<Delta>>,
    ) -> Self {
        let record = StreamRecord::default();
        Self { cx, entry, pieces, record, text: String::new(), asked_tokens, done: false }
    }

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
        if self.entry.is_some() {
            self.record.deltas.push(delta.clone());
        }
        if let Delta::End { reply } = delta {
            self.finish(None, &reply.usage)?;
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
        match self.finish(Some(error.clone()), &usage) {
            Ok(()) => error,
            Err(journal) => journal,
        }
    }

    /// Ends the call: charges what it used and writes down what it came to.
    fn finish(&mut self, error: Option<Error>, usage: &Usage) -> Result<()> {
        self.done = true;
        settle(&self.cx, usage);
        self.record.error = error;
        match self.entry.take() {
            Some(entry) => self.cx.record(entry, &Ok(std::mem::take(&mut self.record))),
            None => Ok(()),
        }
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
        let item = match ready!(this.pieces.as_mut().poll_next(task)) {
            Some(Ok(delta)) => this.piece(&delta).map(|()| delta),
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
            settle(&self.cx, &self.estimate());
        }
    }
}

impl std::fmt::Debug for ReplyStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReplyStream").field("text", &self.text).finish_non_exhaustive()
    }
}
