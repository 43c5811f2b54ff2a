//! The provider and model that a run has chosen.

use std::sync::{Mutex, PoisonError};

use llmspell_core::capability::ModelRef;
use llmspell_core::chat::ChatRequest;
use llmspell_core::{Context, Result};

/// What the spell chose for this run; nothing means the runtime's default.
#[derive(Default)]
pub(super) struct Selection(Mutex<Option<ModelRef>>);

impl Selection {
    /// The model that answers when a request names none.
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

    /// Finds the model that a request means: what it leaves open is what the run has chosen.
    pub(super) fn resolve(cx: &Context, provider: Option<&str>, model: Option<&str>) -> Result<ModelRef> {
        let chosen = Self::chosen(cx);
        match (provider, model) {
            (None, None) => chosen.map_or_else(|| cx.models().resolve(None, None), Ok),
            (Some(provider), None) => match chosen {
                Some(chosen) if chosen.provider == provider => Ok(chosen),
                _ => cx.models().resolve(Some(provider), None),
            },
            (None, Some(model)) if !names_provider(cx, model)? => {
                let provider = match chosen {
                    Some(chosen) => Some(chosen.provider),
                    // Most likely a provider that does not exist, which the models explain best.
                    None if model.contains('/') => None,
                    None => Some(cx.models().resolve(None, None)?.provider),
                };
                cx.models().resolve(provider.as_deref(), Some(model))
            }
            _ => cx.models().resolve(provider, model),
        }
    }

    /// Writes the model that a request means into it.
    pub(super) fn complete(cx: &Context, request: &mut ChatRequest) -> Result<()> {
        let found = Self::resolve(cx, request.provider.as_deref(), request.model.as_deref())?;
        request.provider = Some(found.provider);
        request.model = Some(found.model);
        Ok(())
    }

    fn chosen(cx: &Context) -> Option<ModelRef> {
        cx.state::<Self>().0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn choose(cx: &Context, model: ModelRef) {
        *cx.state::<Self>().0.lock().unwrap_or_else(PoisonError::into_inner) = Some(model);
    }
}

/// Whether a model is written `provider/model`. A slash alone does not say so: some providers have it in their names.
fn names_provider(cx: &Context, model: &str) -> Result<bool> {
    let Some((prefix, _)) = model.split_once('/') else { return Ok(false) };
    Ok(cx.models().providers()?.iter().any(|provider| provider.name == prefix))
}
