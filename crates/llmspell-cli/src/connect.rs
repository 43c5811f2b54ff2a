//! Sets up the models: finds providers in the environment, and builds the client.

use std::sync::Arc;

use llmspell::capability::Models;
use llmspell::llm::{
    Client, Mock, MockReason, ProviderConfig, ProviderRow, RateLimits, RetryPolicy, detect, probe_local,
};
use llmspell::{ErrorKind, Result};

use crate::environment::Environment;

const MOCK: &str = "mock";
const OLLAMA: &str = "ollama";

/// The models, and what the user should know about them.
pub(crate) struct ConnectedProviders {
    /// The models.
    pub(crate) models: Arc<dyn Models>,
    /// The model for requests that name none, as `provider/model`. `None` leaves the choice to the spell.
    pub(crate) default_model: Option<String>,
    /// The fallback models. `None` leaves them to the spell.
    pub(crate) fallback: Option<Vec<String>>,
    /// The reason why only the mock provider is available.
    pub(crate) notice: Option<String>,
}

/// The models that the command line asks for.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct WantedModels<'a> {
    /// The default provider.
    pub(crate) provider: Option<&'a str>,
    /// The default model, perhaps with its provider.
    pub(crate) model: Option<&'a str>,
    /// The fallback models.
    pub(crate) fallback: &'a [String],
    /// The concurrency and rate limits for each provider.
    pub(crate) pace: RateLimits,
    /// The maximum number of retries per call.
    pub(crate) retries: Option<u32>,
    /// Whether to open no connection at all, not even on this machine.
    pub(crate) offline: bool,
}

impl WantedModels<'_> {
    /// Whether the command line names this provider.
    fn names(&self, provider: &str) -> bool {
        let of_model = |model: &str| model.split_once('/').is_some_and(|(of, _)| of == provider);
        let mut models = self.model.into_iter().chain(self.fallback.iter().map(String::as_str));
        self.provider == Some(provider) || models.any(of_model)
    }
}

/// Finds the usable providers and builds a client with the requested defaults.
///
/// # Errors
/// When `.env` or an address is invalid, or a requested model cannot be used. The error says what to set, or suggests
/// similar names.
pub(crate) async fn models(wanted: WantedModels<'_>) -> Result<ConnectedProviders> {
    let environment = Environment::load()?;
    let mut found = detect(|name| environment.get(name))?;
    let missing_ollama = wanted.names(OLLAMA) && found.providers.iter().all(|known| known.name() != OLLAMA);
    // Probing for a local server costs a connection, so it is done only if nothing else was found or Ollama was named.
    if found.mock == Some(MockReason::NothingFound) || missing_ollama {
        if !wanted.offline {
            found.providers.extend(probe_local().await);
        } else if missing_ollama {
            found.providers.extend(ProviderRow::find(OLLAMA).map(ProviderConfig::from_row));
        }
    }
    let mut builder = Client::builder().io(tokio::runtime::Handle::current());
    let mock = found.providers.is_empty();
    for provider in found.providers {
        builder = builder.provider(provider);
    }
    if mock || wanted.names(MOCK) {
        builder = builder.mock(Mock::new().forgetful());
    }
    builder = builder.pace(wanted.pace);
    if let Some(retries) = wanted.retries {
        builder = builder.retry(RetryPolicy { retries, ..RetryPolicy::default() });
    }
    if let Some(provider) = wanted.provider {
        builder = builder.default_provider(provider);
    }
    let client = builder.build()?;
    let notice = found.mock.filter(|_| mock && !wanted.names(MOCK)).map(|reason| match reason {
        MockReason::Asked => "MOCK_LLM is set: using the mock provider".to_owned(),
        MockReason::NothingFound if wanted.offline => {
            "no key found: a run looks for Ollama on this machine, and else uses the mock provider".to_owned()
        }
        MockReason::NothingFound => "no key and no local server found: using the mock provider; set \
             OPENAI_API_KEY (or another provider's key), or run Ollama, for a real model"
            .to_owned(),
    });
    let default_model = match (wanted.provider, wanted.model) {
        // `MOCK_LLM` overrides the models in a manifest.
        (None, None) if found.mock == Some(MockReason::Asked) => Some(client.resolve(Some(MOCK), None)?),
        (None, None) => None,
        // With only the mock available, an unknown model may exist at a real provider: say so.
        (provider, model) => Some(client.resolve(provider, model).map_err(|error| match &notice {
            Some(notice) if error.kind() == ErrorKind::UnknownModel => error.hint(notice),
            _ => error,
        })?),
    };
    let default_model = default_model.map(|model| model.to_string());
    for name in wanted.fallback {
        client.resolve_fallback(name)?;
    }
    let fallback = match wanted.fallback {
        // `MOCK_LLM` also overrides the fallback models in a manifest.
        [] if found.mock == Some(MockReason::Asked) => Some(Vec::new()),
        [] => None,
        names => Some(names.to_vec()),
    };
    Ok(ConnectedProviders { models: Arc::new(client), default_model, fallback, notice })
}
