//! The provider and model that a run has selected.

use std::sync::{Mutex, PoisonError};

use llmspell_core::capability::ModelRef;
use llmspell_core::chat::ChatRequest;
use llmspell_core::{Context, Result};

/// The model that the spell selected for this run; `None` means the runtime's default.
#[derive(Default)]
pub(crate) struct Selection(Mutex<Option<ModelRef>>);

impl Selection {
    /// Returns the model for requests that name none.
    pub(super) fn current(cx: &Context) -> Result<ModelRef> {
        Self::resolve(cx, None, None)
    }

    pub(super) fn choose_provider(cx: &Context, name: &str) -> Result<()> {
        let found = cx.models().resolve(Some(name), None)?;
        Self::choose(cx, found);
        Ok(())
    }

    pub(super) fn choose_model(cx: &Context, model: &str) -> Result<()> {
        let found = Self::resolve(cx, None, Some(model))?;
        Self::choose(cx, found);
        Ok(())
    }

    /// Resolves the model of a request. The run's selection fills in what the request leaves open.
    pub(crate) fn resolve(cx: &Context, provider: Option<&str>, model: Option<&str>) -> Result<ModelRef> {
        match Self::meant(cx, provider, model)? {
            Some(chosen) => cx.models().resolve(Some(&chosen.provider), Some(&chosen.model)),
            None => cx.models().resolve(provider, model),
        }
    }

    /// Writes the run's selection into a request that leaves the provider or model open.
    pub(super) fn complete(cx: &Context, request: &mut ChatRequest) -> Result<()> {
        if let Some(chosen) = Self::meant(cx, request.provider.as_deref(), request.model.as_deref())? {
            request.provider = Some(chosen.provider);
            request.model = Some(chosen.model);
        }
        Ok(())
    }

    /// Returns the part of the run's selection that applies; `None` when the request stands alone.
    fn meant(cx: &Context, provider: Option<&str>, model: Option<&str>) -> Result<Option<ModelRef>> {
        let Some(chosen) = Self::chosen(cx) else { return Ok(None) };
        Ok(match (provider, model) {
            (None, None) => Some(chosen),
            (Some(provider), None) if chosen.provider == provider => Some(chosen),
            (None, Some(model)) if !names_provider(cx, model)? => {
                Some(ModelRef { provider: chosen.provider, model: model.to_owned() })
            }
            _ => None,
        })
    }

    fn chosen(cx: &Context) -> Option<ModelRef> {
        cx.state::<Self>().0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn choose(cx: &Context, model: ModelRef) {
        *cx.state::<Self>().0.lock().unwrap_or_else(PoisonError::into_inner) = Some(model);
    }
}

/// Returns whether a name has the form `provider/model`. A slash is not enough, because some model names contain one.
fn names_provider(cx: &Context, model: &str) -> Result<bool> {
    let Some((prefix, _)) = model.split_once('/') else { return Ok(false) };
    Ok(cx.models().providers()?.iter().any(|provider| provider.name == prefix))
}
