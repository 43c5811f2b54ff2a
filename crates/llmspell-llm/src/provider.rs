//! The trait that each provider implements.

use std::fmt;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use llmspell_core::chat::{ChatRequest, Delta, ModelInfo, Reply};
use llmspell_core::embed::{EmbedRequest, Embeddings};
use llmspell_core::{Error, ErrorKind, Result};

/// One try of a call.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// The request; its `model` is the provider's own name of the model.
    pub request: Arc<ChatRequest>,
    /// An id that is the same for all tries of a call, so that the provider can detect a repeat.
    pub idempotency_key: Arc<str>,
}

/// A provider of models. It asks once and never retries; the kind of an error says whether a retry makes sense.
///
/// Dropping a future or a stream cancels the call and closes its socket.
pub trait Provider: Send + Sync {
    /// Requests a complete answer.
    fn chat(&self, attempt: Attempt) -> BoxFuture<'static, Result<Reply>>;

    /// Requests a streamed answer. The last item is [`Delta::End`]; a stream without it was cut off.
    fn stream(&self, attempt: Attempt) -> BoxFuture<'static, Result<BoxStream<'static, Result<Delta>>>>;

    /// How the provider accepts the request's output schema.
    fn takes_output(&self, _request: &ChatRequest) -> StructuredOutput {
        StructuredOutput::IfKnown
    }

    /// Whether the model accepts the request's sampling parameters, `temperature` and `top_p`. If not, they are removed
    /// from the request, and the run gets a warning.
    fn takes_sampling(&self, _request: &ChatRequest) -> SamplingSupport {
        SamplingSupport::Yes
    }

    /// Returns the maximum number of texts per embedding request.
    fn most_texts(&self) -> usize {
        100
    }

    /// Computes an embedding vector for each text. The usage is zero if the provider does not report it. A provider
    /// without embeddings returns an error of kind `unsupported`.
    fn embed(&self, _request: EmbedRequest) -> BoxFuture<'static, Result<Embeddings>> {
        let error = Error::new(ErrorKind::Unsupported, "it turns no texts into vectors");
        Box::pin(async { Err(error) })
    }

    /// Lists the models that the provider offers.
    fn models(&self) -> BoxFuture<'static, Result<Vec<ModelInfo>>>;
}

/// How a provider accepts an output schema ("structured output").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StructuredOutput {
    /// In the request, if the model is known to support it.
    IfKnown,
    /// In the request, but only as a constraint on decoding: the model does not see the schema, so the prompt must
    /// contain it too.
    Unseen,
    /// Only as instructions in the prompt.
    InWords,
}

/// Whether a model accepts the sampling parameters `temperature` and `top_p`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SamplingSupport {
    /// It accepts them.
    Yes,
    /// Not while it reasons, and for this request it would.
    NotReasoning,
    /// Never.
    No,
}

/// The source of an error without any byte of an answer, whose request may have reached the provider and may be
/// charged.
#[derive(Debug)]
pub struct Unanswered;

impl fmt::Display for Unanswered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the request was sent and not answered")
    }
}

impl std::error::Error for Unanswered {}

/// The source of an error of a request that was not sent, because it cannot be expressed or would be refused. It is no
/// attempt and no call.
#[derive(Debug)]
pub struct Unsent;

impl fmt::Display for Unsent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the request was not sent")
    }
}

impl std::error::Error for Unsent {}
