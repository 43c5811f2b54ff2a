//! What a provider of models can do.

use std::fmt;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use llmspell_core::chat::{ChatRequest, Delta, ModelInfo, Reply};
use llmspell_core::embed::{EmbedRequest, Embeddings};
use llmspell_core::{Error, ErrorKind, Result};

/// One try of one call.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// What is asked; its `model` is the provider's own name.
    pub request: Arc<ChatRequest>,
    /// The same for each try of one call, so that a provider can tell a repeat.
    pub idempotency_key: Arc<str>,
}

/// A provider: asks once, never retries, and says what went wrong by the kind of error.
///
/// Dropping a future or a stream cancels the call and closes its socket.
pub trait Provider: Send + Sync {
    /// Asks for a whole answer.
    fn chat(&self, attempt: Attempt) -> BoxFuture<'static, Result<Reply>>;

    /// Asks for an answer piece by piece. The last piece is [`Delta::End`]; without it the answer was cut.
    fn stream(&self, attempt: Attempt) -> BoxFuture<'static, Result<BoxStream<'static, Result<Delta>>>>;

    /// How it takes a request that says what the answer must be.
    fn takes_output(&self, _request: &ChatRequest) -> TakesOutput {
        TakesOutput::IfKnown
    }

    /// Whether the model takes the request's `temperature` and `top_p`. Where it does not, they are left out of the
    /// request, and the run is warned.
    fn takes_sampling(&self, _request: &ChatRequest) -> TakesSampling {
        TakesSampling::Yes
    }

    /// The most texts that it turns into vectors at once.
    fn most_texts(&self) -> usize {
        100
    }

    /// Turns texts into vectors, whose usage is nothing where the provider does not say. An error of the kind
    /// `unsupported` says that it does not.
    fn embed(&self, _request: EmbedRequest) -> BoxFuture<'static, Result<Embeddings>> {
        let error = Error::new(ErrorKind::Unsupported, "it turns no texts into vectors");
        Box::pin(async { Err(error) })
    }

    /// Lists the models it offers, as far as it says.
    fn models(&self) -> BoxFuture<'static, Result<Vec<ModelInfo>>>;
}

/// How a provider takes the schema that an answer must fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TakesOutput {
    /// As a part of the request, where the model is known to.
    IfKnown,
    /// As a part of the request, which the model does not see: it has to be told beside.
    Unseen,
    /// In words only.
    InWords,
}

/// Whether a model takes sampling parameters: `temperature` and `top_p`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TakesSampling {
    /// It does.
    Yes,
    /// Not while it reasons, which it would for this request.
    NotReasoning,
    /// Never.
    No,
}

/// The source of an error whose request may have reached the provider, and may have been paid for, though no byte
/// of an answer came.
#[derive(Debug)]
pub struct Unanswered;

impl fmt::Display for Unanswered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the request was sent and not answered")
    }
}

impl std::error::Error for Unanswered {}
