//! The models capability: calls to language models.
//!
//! [`Models`] is the trait that a client implements. Retries, rate limits and fallbacks are the client's task.

use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::chat::{ChatRequest, Delta, ModelInfo, Reply};
use crate::effect::Permit;
use crate::embed::{EmbedRequest, Embeddings};
use crate::error::{Error, ErrorKind, Result};
pub use crate::price::{Estimate, Price};

/// A provider and one of its models.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ModelRef {
    /// The provider's name.
    pub provider: String,
    /// The provider's name for the model.
    pub model: String,
}

impl std::fmt::Display for ModelRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.provider, self.model)
    }
}

/// A provider that is configured and usable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProviderInfo {
    /// Its name.
    pub name: String,
    /// The model for requests that name none.
    pub default_model: String,
    /// How it was found: `OPENAI_API_KEY`, `--provider`, a reachable server, ….
    pub found_by: String,
    /// The base URL, without credentials; absent for `mock`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base_url: Option<String>,
}

/// The models of one or more providers. The failure of one provider does not hide the others.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct ModelListing {
    /// The models of the providers that answered.
    pub models: Vec<ModelInfo>,
    /// The errors of the other providers; each names its provider.
    pub errors: Vec<Error>,
}

/// Calls language models.
///
/// `chat` and `stream` receive a request whose `provider` and `model` were resolved by
/// [`resolve`](Models::resolve). Dropping the future or the stream cancels the call and closes its socket.
pub trait Models: Send + Sync {
    /// Returns the usable providers in the order in which they were found. The first one is the default.
    fn providers(&self) -> Vec<ProviderInfo>;

    /// Resolves the `provider` and `model` of a request; defaults replace absent ones.
    ///
    /// # Errors
    /// When there is no such provider or model; the error names near or usable ones.
    fn resolve(&self, provider: Option<&str>, model: Option<&str>) -> Result<ModelRef>;

    /// Resolves the name of a fallback model: `provider/model`, or a model of the default provider.
    ///
    /// The part before a slash must be a provider. Otherwise, a misspelt provider would be taken for a part of a
    /// model's name, and the mistake would show only when the fallback is needed.
    ///
    /// # Errors
    /// Those of [`resolve`](Models::resolve).
    fn resolve_fallback(&self, name: &str) -> Result<ModelRef> {
        let (provider, model) = name.split_once('/').map_or((None, name), |(of, model)| (Some(of), model));
        self.resolve(provider, Some(model))
            .map_err(|error| error.prefixed(format_args!("fallback `{name}`: ")))
    }

    /// Requests a complete answer.
    fn chat(&self, permit: Permit, request: ChatRequest) -> BoxFuture<'static, Result<Reply>>;

    /// Requests a streamed answer. An `Err` item ends the stream, and so does an end without [`Delta::End`].
    fn stream(
        &self,
        permit: Permit,
        request: ChatRequest,
    ) -> BoxFuture<'static, Result<BoxStream<'static, Result<Delta>>>>;

    /// Returns the provider's default model for embeddings.
    ///
    /// # Errors
    /// When the provider has no embeddings; the error names providers that have.
    fn embed_model(&self, provider: &str) -> Result<String> {
        Err(cannot_embed(provider))
    }

    /// Computes embedding vectors of texts. Dropping the future cancels the call.
    fn embed(&self, _permit: Permit, request: EmbedRequest) -> BoxFuture<'static, Result<Embeddings>> {
        Box::pin(async move { Err(cannot_embed(request.provider.as_deref().unwrap_or("the provider"))) })
    }

    /// Lists the models of one provider, or of all providers.
    fn list(&self, permit: Permit, provider: Option<String>) -> BoxFuture<'static, Result<ModelListing>>;

    /// Counts the tokens of a text, as exactly as possible without asking the provider.
    fn count_tokens(&self, text: &str, model: &ModelRef) -> u64;

    /// Estimates a call, so that a run with a token or cost limit can reserve its usage. The default implementation
    /// knows only the text, and assumes four bytes per token.
    fn estimate(&self, request: &ChatRequest) -> Estimate {
        Estimate { input_tokens: request.text_bytes().div_ceil(4), ..Estimate::default() }
    }
}

fn cannot_embed(provider: &str) -> Error {
    Error::new(ErrorKind::Unsupported, format!("{provider}: it turns no texts into vectors"))
}
