//! The models that the environment offers.

use std::sync::Arc;

use llmspell::capability::Models;
use llmspell::llm::{Client, Mock, MockReason, Pace, ProviderConfig, ProviderRow, detect, probe_local};
use llmspell::{ErrorKind, Result};

use crate::environment::Environment;

const MOCK: &str = "mock";
const OLLAMA: &str = "ollama";

/// Models to call, and what the user should know of them.
pub(crate) struct Connected {
    /// The models.
    pub(crate) models: Arc<dyn Models>,
    /// The model for requests that name none, as `provider/model`, when it is not for the spell to say.
    pub(crate) default_model: Option<String>,
    /// The models to fall back on, when they are not for the spell to say.
    pub(crate) fallback: Option<Vec<String>>,
    /// Why they are not real ones.
    pub(crate) notice: Option<String>,
}

/// Which models the command line names.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Wanted<'a> {
    /// The provider that is to be the default.
    pub(crate) provider: Option<&'a str>,
    /// The model that is to be the default, perhaps with its provider.
    pub(crate) model: Option<&'a str>,
    /// The models to fall back on.
    pub(crate) fallback: &'a [String],
    /// How fast one provider may be called.
    pub(crate) pace: Pace,
    /// Whether nothing may be connected to, not even on this machine.
    pub(crate) offline: bool,
}

impl Wanted<'_> {
    /// Whether this provider is named.
    fn names(&self, provider: &str) -> bool {
        let of_model = |model: &str| model.split_once('/').is_some_and(|(of, _)| of == provider);
        let mut models = self.model.into_iter().chain(self.fallback.iter().map(String::as_str));
        self.provider == Some(provider) || models.any(of_model)
    }
}

/// Finds the providers that can be used; the one that is wanted is the default.
///
/// # Errors
/// When `.env` or an address is wrong, or what is wanted cannot be used; the error says what to set, or names near ones.
pub(crate) async fn models(wanted: Wanted<'_>) -> Result<Connected> {
    let environment = Environment::load()?;
    let mut found = detect(|name| environment.get(name))?;
    let missing_ollama = wanted.names(OLLAMA) && found.providers.iter().all(|known| known.name() != OLLAMA);
    // A look at this machine costs a connection, so it is taken only when there is nothing else.
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
        // Who asks for the mock does not want what the spell's manifest asks for.
        (None, None) if found.mock == Some(MockReason::Asked) => Some(client.resolve(Some(MOCK), None)?),
        (None, None) => None,
        // A model that only the mock was asked for may well exist elsewhere.
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
        // The mock is not to be left for what a manifest names.
        [] if found.mock == Some(MockReason::Asked) => Some(Vec::new()),
        [] => None,
        names => Some(names.to_vec()),
    };
    Ok(Connected { models: Arc::new(client), default_model, fallback, notice })
}
