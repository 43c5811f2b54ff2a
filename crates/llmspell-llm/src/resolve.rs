//! Resolves the names of providers and models.

use llmspell_core::capability::ModelRef;
use llmspell_core::{Error, ErrorKind, Result, did_you_mean};

use crate::configured_provider::ConfiguredProvider;
use crate::mock;
use crate::providers::{PROVIDERS, ProviderRow};

/// Resolves a provider and a model. An absent one is the default: the first provider, or the provider's default model.
///
/// A model that is not in the catalogue is accepted, since catalogues age. Only the mock's list of models is complete.
pub(crate) fn resolve(
    entries: &[ConfiguredProvider],
    provider: Option<&str>,
    model: Option<&str>,
) -> Result<ModelRef> {
    let provider = provider.filter(|name| !name.is_empty());
    let model = model.filter(|name| !name.is_empty());
    let (entry, model) = match (provider, model) {
        (Some(provider), model) => {
            let entry = named(entries, provider)?;
            // `provider/model` may repeat the provider. Any other slash belongs to the model's name.
            let own = model.map(|model| {
                strip(model, provider).filter(|_| entry.model(model).is_none()).unwrap_or(model)
            });
            (entry, own)
        }
        (None, None) => (first(entries)?, None),
        (None, Some(model)) => by_model(entries, model)?,
    };
    let model = model.unwrap_or(&entry.default_model);
    if model.is_empty() {
        let message = format!("`{}` has no default model", entry.name);
        let hint = match ProviderRow::find(&entry.name) {
            Some(row) => format!("name one: `{}/…`, or set `{}`", entry.name, row.model_env),
            None => format!("name one: `{}/…`", entry.name),
        };
        return Err(Error::new(ErrorKind::UnknownModel, message).hint(hint));
    }
    if entry.is_mock && entry.model(model).is_none() {
        let models = mock::models();
        let names: Vec<&str> = models.iter().map(|model| model.name.as_str()).collect();
        let error = Error::new(ErrorKind::UnknownModel, format!("`{}` has no model `{model}`", entry.name));
        return Err(match known_hint(&entry.name, model, &names) {
            Some(hint) => error.hint(hint),
            None => error,
        });
    }
    Ok(ModelRef { provider: entry.name.clone(), model: model.to_owned() })
}

/// Resolves a name without a separate provider: `provider/model`, or a model of the default provider.
fn by_model<'a>(
    entries: &'a [ConfiguredProvider],
    name: &'a str,
) -> Result<(&'a ConfiguredProvider, Option<&'a str>)> {
    let default = first(entries)?;
    let Some((before, rest)) = name.split_once('/') else { return Ok((default, Some(name))) };
    if let Some(entry) = entries.iter().find(|entry| entry.name == before) {
        return Ok((entry, Some(rest)));
    }
    // Routers and hosts name their models `maker/model`, and the maker may also be a provider.
    if default.model(name).is_none() && ProviderRow::find(before).is_some() {
        named(entries, before)?;
    }
    Ok((default, Some(name)))
}

fn strip<'a>(model: &'a str, provider: &str) -> Option<&'a str> {
    model.strip_prefix(provider)?.strip_prefix('/')
}

fn first(entries: &[ConfiguredProvider]) -> Result<&ConfiguredProvider> {
    entries.first().ok_or_else(|| {
        Error::new(ErrorKind::NoProvider, "no provider of models is set up")
            .hint(format!("{}, or set `MOCK_LLM=true` to try without one", PROVIDERS[0].how_to_get()))
    })
}

/// Returns the provider of this name.
///
/// # Errors
/// When it is not available. The hints say how to set it up and which providers are available.
pub(crate) fn named<'a>(entries: &'a [ConfiguredProvider], name: &str) -> Result<&'a ConfiguredProvider> {
    if let Some(entry) = entries.iter().find(|entry| entry.name == name) {
        return Ok(entry);
    }
    let usable = match entries {
        [] => "no other is usable".to_owned(),
        some => format!("usable now: {}", list(some.iter().map(|entry| entry.name.as_str()))),
    };
    if let Some(row) = ProviderRow::find(name) {
        return Err(Error::new(ErrorKind::NoProvider, format!("the provider `{name}` is not set up"))
            .hint(row.how_to_get())
            .hint(usable));
    }
    let known = entries.iter().map(|entry| entry.name.as_str()).chain(PROVIDERS.iter().map(|row| row.name));
    let mut error = Error::new(ErrorKind::NoProvider, format!("there is no provider `{name}`"));
    if let Some(hint) = did_you_mean(name, known.map(|name| (name, name))) {
        error = error.hint(hint);
    }
    Err(error.hint(usable))
}

/// Returns a "did you mean" hint with similar names, if there are any.
pub(crate) fn near_hint<'a>(
    provider: &str,
    model: &str,
    known: impl Iterator<Item = &'a str>,
) -> Option<String> {
    did_you_mean(model, known.map(|name| (name, format!("{provider}/{name}"))))
}

/// Returns a "did you mean" hint with similar names, or else a hint with the first few names.
pub(crate) fn known_hint(provider: &str, model: &str, known: &[&str]) -> Option<String> {
    near_hint(provider, model, known.iter().copied()).or_else(|| {
        let few = &known[..known.len().min(3)];
        (!few.is_empty()).then(|| format!("it has {}", models(provider, few)))
    })
}

fn models(provider: &str, names: &[&str]) -> String {
    list(names.iter().map(|name| format!("{provider}/{name}")))
}

fn list(names: impl Iterator<Item = impl std::fmt::Display>) -> String {
    names.map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}
