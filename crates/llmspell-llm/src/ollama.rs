//! Ollama: sets the context length of each request, because the server silently truncates a prompt that exceeds it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use llmspell_core::chat::{ChatRequest, Delta, ModelInfo, Reply};
use llmspell_core::embed::{EmbedRequest, Embeddings};
use llmspell_core::{Error, ErrorKind, Result};
use serde_json::{Value as Json, json};

use crate::config::ProviderConfig;
use crate::count::count_request;
use crate::error::SHORTEN;
use crate::http::{HttpProvider, WireRequest};
use crate::limiter::Limiter;
use crate::protocol::protocol_of;
use crate::provider::{Attempt, Provider, StructuredOutput, Unsent};
use crate::reply_builder::count;
use crate::transport::Transport;

/// The context length of a request that needs no more.
const USUAL_CONTEXT: u64 = 8_192;

/// The tokens reserved for an answer without `max_tokens`.
const USUAL_ANSWER: u64 = 1_024;

/// A provider that uses Ollama's native API.
#[derive(Clone)]
pub(crate) struct OllamaProvider {
    http: HttpProvider,
    config: ProviderConfig,
    /// The maximum context length of each model, as the server reports it.
    windows: Arc<Mutex<HashMap<String, Option<u64>>>>,
}

impl OllamaProvider {
    pub(crate) fn new(config: ProviderConfig, transport: Arc<Transport>, limiter: Arc<Limiter>) -> Self {
        Self { http: HttpProvider::new(config.clone(), transport, limiter), config, windows: Arc::default() }
    }

    async fn body(&self, request: &ChatRequest, stream: bool) -> Result<Json> {
        let unsent = |error: Error| error.with_source(Unsent);
        let mut body =
            protocol_of(self.config.protocol).body(&self.config, request, stream).map_err(unsent)?;
        let window = self.window(request.model.as_deref().unwrap_or_default()).await?;
        body["options"]["num_ctx"] = context(request, window)
            .map_err(|error| unsent(error.prefixed(format_args!("{}: ", self.config.name))))?
            .into();
        Ok(body)
    }

    /// Returns the maximum context length of a model, if the server reports it. It is requested only once.
    async fn window(&self, model: &str) -> Result<Option<u64>> {
        let known = self.windows.lock().unwrap_or_else(PoisonError::into_inner).get(model).copied();
        if let Some(window) = known {
            return Ok(window);
        }
        let window = match self
            .http
            .whole(&WireRequest::post(model, &["api", "show"], &json!({"model": model})))
            .await
        {
            Ok(shown) => shown["model_info"].as_object().and_then(|info| {
                info.iter()
                    .find(|(name, _)| name.ends_with(".context_length"))
                    .and_then(|(_, size)| count(size))
            }),
            // Servers that are only compatible with Ollama may lack this endpoint.
            Err(error) if matches!(error.kind(), ErrorKind::BadRequest | ErrorKind::BadResponse) => None,
            Err(error) => return Err(error),
        };
        self.windows.lock().unwrap_or_else(PoisonError::into_inner).insert(model.to_owned(), window);
        Ok(window)
    }
}

impl Provider for OllamaProvider {
    fn chat(&self, attempt: Attempt) -> BoxFuture<'static, Result<Reply>> {
        let this = self.clone();
        Box::pin(async move {
            let body = this.body(&attempt.request, false).await?;
            this.http.chat_with(attempt, body).await
        })
    }

    fn stream(&self, attempt: Attempt) -> BoxFuture<'static, Result<BoxStream<'static, Result<Delta>>>> {
        let this = self.clone();
        Box::pin(async move {
            let body = this.body(&attempt.request, true).await?;
            this.http.stream_with(attempt, body).await
        })
    }

    fn takes_output(&self, request: &ChatRequest) -> StructuredOutput {
        self.http.takes_output(request)
    }

    fn most_texts(&self) -> usize {
        self.http.most_texts()
    }

    fn embed(&self, request: EmbedRequest) -> BoxFuture<'static, Result<Embeddings>> {
        self.http.embed(request)
    }

    fn models(&self) -> BoxFuture<'static, Result<Vec<ModelInfo>>> {
        self.http.models()
    }
}

/// Returns the context length for a request: the default, or more if the request needs it.
///
/// # Errors
/// When the request exceeds the model's maximum.
fn context(request: &ChatRequest, window: Option<u64>) -> Result<u64> {
    let asked = count_request(request);
    let needed = asked + request.max_tokens.map_or(USUAL_ANSWER, u64::from);
    let window = window.unwrap_or(u64::MAX);
    // An answer without `max_tokens` may become shorter than reserved. The prompt cannot.
    let least = if request.max_tokens.is_some() { needed } else { asked };
    if least > window {
        let message = format!("the request needs about {least} tokens of context and the model has {window}");
        if asked <= window / 2 {
            return Err(Error::new(ErrorKind::BadRequest, message).hint("lower `max_tokens`"));
        }
        let mut error = Error::new(ErrorKind::ContextExceeded, message).hint(SHORTEN);
        let call = error.call_mut();
        (call.limit_tokens, call.prompt_tokens) = (Some(window), Some(asked));
        return Err(error);
    }
    // In steps, because the server reloads the model for each new context length.
    let steps = needed.next_multiple_of(2_048);
    Ok(steps.max(USUAL_CONTEXT).min(window))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_context_fits_the_request_and_the_model() {
        let request =
            |bytes: usize, max_tokens| ChatRequest { max_tokens, ..ChatRequest::prompt("x".repeat(bytes)) };
        for (bytes, max_tokens, window, expected) in [
            (4, None, None, Ok(8_192)),
            (4, None, Some(2_048), Ok(2_048)),
            (40_000, None, Some(131_072), Ok(12_288)),
            (40_000, Some(10_000), Some(131_072), Ok(20_480)),
            (
                40_000,
                None,
                Some(8_192),
                Err("the request needs about 10004 tokens of context and the model has 8192"),
            ),
            (
                4_000,
                Some(8_000),
                Some(8_192),
                Err("the request needs about 9004 tokens of context and the model has 8192"),
            ),
        ] {
            let found =
                context(&request(bytes, max_tokens), window).map_err(|error| error.message().to_owned());
            assert_eq!(found, expected.map_err(str::to_owned), "{bytes} {max_tokens:?} {window:?}");
        }
    }
}
