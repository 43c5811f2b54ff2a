//! Embeddings behind the gate.

use super::{GatedModels, settle};
use crate::effect::EffectRequest;
use crate::embed::{EmbedRequest, Embeddings};
use crate::error::{Error, Result};

impl GatedModels<'_> {
    /// Computes the embedding vectors of texts. Without a model, the provider's default embedding model is used.
    ///
    /// # Errors
    /// Returns the provider's error, or an error when a limit is reached, the run has ended, or the provider has no
    /// embedding models.
    pub async fn embed(&self, request: EmbedRequest) -> Result<Embeddings> {
        let ask = EffectRequest::new("models", "embed", &request)?;
        let mut call = self.0.count_call().await?;
        let live = async |permit| {
            let (models, mut request) = (self.capability()?, request);
            let found = self.find(request.provider.as_deref(), request.model.as_deref())?;
            request.model = Some(match request.model {
                Some(_) => found.model,
                None => models.embed_model(&found.provider)?,
            });
            request.provider = Some(found.provider);
            self.0.reserve(&mut call, models, &mut request.as_question()).await?;
            models.embed(permit, request).await
        };
        let result: Result<Embeddings> = self.0.gate(ask, live).await;
        let used = match &result {
            Ok(made) => Some(&made.usage),
            Err(error) => error.call().and_then(|call| call.usage.as_ref()),
        };
        if let Some(used) = used {
            settle(self.0, used);
        }
        // A call that a limit or a cancellation cut off is charged its estimate when `call` is dropped. All other
        // calls are settled here.
        if !result.as_ref().is_err_and(Error::is_final) {
            call.settled();
        }
        result
    }
}
