//! Embeddings: sends texts to a provider in batches of the size that it accepts.

use llmspell_core::chat::Usage;
use llmspell_core::effect::Permit;
use llmspell_core::embed::{EmbedRequest, Embeddings};
use llmspell_core::{Error, ErrorKind, Result};

use crate::client::Client;
use crate::configured_provider::ConfiguredProvider;
use crate::fallback::add;
use crate::provider_call::{CallDeadline, ProviderCall};
use crate::providers::ProviderRow;
use crate::resolve::named;

/// Returns the embedding model that a provider uses if none is named.
pub(crate) fn usual_model(entry: &ConfiguredProvider) -> Option<&'static str> {
    if entry.is_mock {
        return Some(crate::mock::DEFAULT_MODEL);
    }
    ProviderRow::find(&entry.name)?.embed_model
}

/// Returns the error for a provider without embeddings. It names providers that have them.
pub(crate) fn unsupported(client: &Client, name: &str) -> Error {
    let able: Vec<&str> = client
        .entries()
        .iter()
        .filter(|entry| entry.name != name && usual_model(entry).is_some())
        .map(|entry| entry.name.as_str())
        .collect();
    let message = format!("{name}: it turns no texts into vectors, or not without a `model`");
    let error = Error::new(ErrorKind::Unsupported, message);
    match able.as_slice() {
        [] => {
            let known: Vec<&str> = crate::PROVIDERS
                .iter()
                .filter(|row| row.embed_model.is_some() && !row.explicit)
                .map(|row| row.name)
                .collect();
            error.hint(format!("set up one that does: {}", known.join(", ")))
        }
        able => error.hint(format!("name a `provider` that does: {}", able.join(", "))),
    }
}

impl Client {
    pub(crate) async fn embed_now(self, permit: Permit, request: EmbedRequest) -> Result<Embeddings> {
        let entry = named(self.entries(), request.provider.as_deref().unwrap_or_default())?;
        let time = CallDeadline::new(self.total(request.timeout), &permit);
        let mut made = Embeddings {
            model: request.model.clone().unwrap_or_default(),
            provider: entry.name.clone(),
            ..Embeddings::default()
        };
        for texts in request.texts.chunks(entry.provider.most_texts().max(1)) {
            let batch = EmbedRequest { texts: texts.to_vec(), ..without_texts(&request) };
            match self.embed_batch(entry, batch, time).await {
                Ok(batch) => {
                    made.vectors.extend(batch.vectors);
                    made.usage = add(made.usage, &batch.usage);
                }
                Err(mut error) => {
                    let call = error.call_mut();
                    let used = call.usage.take().unwrap_or_default();
                    call.usage = Some(add(made.usage, &used));
                    return Err(error);
                }
            }
        }
        Ok(made)
    }

    async fn embed_batch(
        &self,
        entry: &ConfiguredProvider,
        batch: EmbedRequest,
        time: CallDeadline,
    ) -> Result<Embeddings> {
        let model = batch.model.as_deref().unwrap_or_default();
        let mut call = ProviderCall::begin(entry, model, self.retry(), time);
        let result = call.tries(|| entry.provider.embed(batch.clone())).await;
        let mut made = match result {
            Ok(made) if made.vectors.len() == batch.texts.len() => made,
            Ok(made) => {
                let (sent, came) = (batch.texts.len(), made.vectors.len());
                let message = format!("{}: {sent} texts were sent, {came} vectors came", entry.name);
                let error = Error::new(ErrorKind::BadResponse, message);
                return Err(call.explain(error, &batch.as_question(), "").await);
            }
            Err(error) if error.kind() == ErrorKind::Unsupported => {
                return Err(unsupported(self, &entry.name));
            }
            Err(error) => return Err(call.explain(error, &batch.as_question(), "").await),
        };
        if made.usage == Usage::default() {
            let input_tokens = batch.texts.iter().map(|text| crate::count_tokens(text)).sum();
            made.usage = Usage { input_tokens, estimated: true, ..Usage::default() };
        }
        entry.price(model, &mut made.usage);
        Ok(made)
    }
}

fn without_texts(request: &EmbedRequest) -> EmbedRequest {
    EmbedRequest {
        texts: Vec::new(),
        model: request.model.clone(),
        provider: request.provider.clone(),
        dimensions: request.dimensions,
        timeout: request.timeout,
    }
}
