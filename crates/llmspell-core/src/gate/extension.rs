//! The gated view of an embedding program's capability.

use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::capability::Extension;
use crate::context::Context;
use crate::effect::{EffectRequest, Permit};
use crate::error::{Error, ErrorKind, Result};

impl Context {
    /// Returns the gated view of a capability of the embedding program.
    ///
    /// # Errors
    /// When the program has not put it into the [`World`](crate::World).
    pub fn extension<T: Extension>(&self) -> Result<GatedExtension<'_, T>> {
        let capability = self.extension_capability::<T>().ok_or_else(|| {
            Error::new(ErrorKind::Unsupported, format!("this runtime has no `{}`", T::NAME))
        })?;
        Ok(GatedExtension { cx: self, capability })
    }
}

/// The gated view of an extension.
#[derive(Debug)]
pub struct GatedExtension<'a, T> {
    cx: &'a Context,
    capability: Arc<T>,
}

impl<T: Extension> GatedExtension<'_, T> {
    /// Creates the request of an effect. It is idempotent unless [`EffectRequest::once`] marks it.
    ///
    /// # Errors
    /// When the request cannot be represented as data.
    pub fn request(&self, operation: &'static str, request: &impl Serialize) -> Result<EffectRequest> {
        EffectRequest::new(T::NAME, operation, request)
    }

    /// Performs an effect that uses `item`, which the user must have granted, and waits for its answer. A recorded
    /// answer is returned without calling `live`.
    ///
    /// # Errors
    /// When `item` is not granted, the run has ended, or `live` fails.
    pub async fn effect<R, F>(
        &self,
        item: &str,
        request: EffectRequest,
        live: impl FnOnce(Arc<T>, Permit) -> F,
    ) -> Result<R>
    where
        R: Serialize + DeserializeOwned,
        F: Future<Output = Result<R>>,
    {
        if !self.cx.permissions().grants(T::NAME, item) {
            let message = format!("`{item}` is not granted for `{}`", T::NAME);
            return Err(Error::denied(message).hint("the program that runs the spell grants it"));
        }
        let request = EffectRequest { capability: T::NAME.into(), ..request };
        let capability = Arc::clone(&self.capability);
        self.cx.gate(request, |permit| live(capability, permit)).await
    }
}
