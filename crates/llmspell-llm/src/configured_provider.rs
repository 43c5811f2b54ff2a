//! A provider with its settings, as a client holds it.

use std::sync::Arc;

use llmspell_core::capability::Price;
use llmspell_core::chat::{ChatRequest, ModelInfo, Usage};

use crate::limiter::Limiter;
use crate::provider::Provider;
use crate::refused::{self, Parameter};
use crate::{catalogue, mock};

/// A configured provider.
pub(crate) struct ConfiguredProvider {
    pub(crate) name: String,
    pub(crate) default_model: String,
    pub(crate) is_mock: bool,
    pub(crate) found_by: String,
    pub(crate) base_url: Option<String>,
    pub(crate) local: bool,
    pub(crate) explicit: bool,
    pub(crate) provider: Arc<dyn Provider>,
    /// Shared by all clients of this process that call the same origin with the same key.
    pub(crate) limiter: Arc<Limiter>,
}

impl ConfiguredProvider {
    /// Returns what the catalogue knows about a model.
    pub(crate) fn model(&self, name: &str) -> Option<ModelInfo> {
        if self.is_mock {
            return mock::models().into_iter().find(|model| model.name == name);
        }
        catalogue::find(&self.name, name)
    }

    /// Whether the server refused a parameter for the request's model before.
    pub(crate) fn refuses(&self, request: &ChatRequest, parameter: Parameter) -> bool {
        let model = request.model.as_deref().unwrap_or_default();
        self.base_url.as_deref().is_some_and(|url| refused::is_refused(url, model, parameter))
    }

    /// Returns a model's price and its maximum number of output tokens, if known.
    pub(crate) fn terms(&self, model: &str) -> (Option<Price>, Option<u32>) {
        let model = self.model(model);
        let price = match self.local {
            true => Some(Price::default()),
            false => model.as_ref().and_then(catalogue::price),
        };
        (price, model.and_then(|model| u32::try_from(model.max_output?).ok()))
    }

    /// Sets the cost of usage, and what the provider's cache saved.
    pub(crate) fn price(&self, model: &str, usage: &mut Usage) {
        if self.local {
            usage.cost_usd = Some(0.0);
            return;
        }
        let cost = self.model(model).and_then(|model| catalogue::cost(&model, usage));
        usage.cost_usd = cost.map(|cost| cost.cost);
        usage.saved_usd = cost.and_then(|cost| cost.saved);
    }
}
