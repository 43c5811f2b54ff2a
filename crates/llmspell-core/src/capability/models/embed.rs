//! Texts become vectors behind the gate.

use super::{GatedModels, settle};
use crate::effect::Ask;
use crate::embed::{EmbedRequest, Embeddings};
use crate::error::{Error, Result};

impl GatedModels<'_> {
    /// Turns texts into vectors. A request that names no model means the provider's own for this.
    ///
    /// # Errors
    /// What the provider answers, a limit, or the end of the run; also when the provider turns no texts into vectors.
    pub async fn embed(&self, request: EmbedRequest) -> Result<Embeddings> {
        let ask = Ask::new("models", "embed", &request)?;
        let mut call = self.0.count_call().await?;
        let live = async |permit| {
            let (models, mut request) = (self.capability()?, request);
            let found = self.find(request.provider.as_deref(), request.model.as_deref())?;
            request.model = Some(match request.model {
                Some(_) => found.model,
                None => models.embed_model(&found.provider)?,
            });
            request.provider = Some(found.provider);
            self.0.set_aside(&mut call, models, &mut request.as_question()).await?;
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
        // Only what was cut off is charged by a guess.
        if !result.as_ref().is_err_and(Error::is_final) {
            call.settled();
        }
        result
    }
}
