//! Detects the providers for which the environment has a key or a local address.

use std::time::Duration;

use llmspell_core::Result;
use tokio::net::TcpStream;

use crate::config::{ProviderConfig, Timeouts, is_loopback, parse_base_url};
use crate::limiter::Limiter;
use crate::ollama::OllamaProvider;
use crate::provider::Provider as _;
use crate::providers::{PROVIDERS, ProtocolKind, ProviderRow};
use crate::rate_limits::RateLimits;
use crate::transport::Transport;

/// The environment variable that selects the mock.
const MOCK: &str = "MOCK_LLM";

/// Ollama's default port.
const OLLAMA_PORT: u16 = 11_434;

/// Why the mock is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MockReason {
    /// `MOCK_LLM` selects it.
    Asked,
    /// No provider was found.
    NothingFound,
}

/// The providers of an environment.
#[derive(Debug, Clone)]
pub struct Detected {
    /// The providers, the default first.
    pub providers: Vec<ProviderConfig>,
    /// Why the mock is used instead, if it is.
    pub mock: Option<MockReason>,
}

/// Detects providers by environment variables, which `lookup` returns.
///
/// A provider is found if its key is set, or if its base URL is set and local.
///
/// ```
/// use llmspell_llm::{MockReason, detect};
/// let found = detect(|name| (name == "GROQ_API_KEY").then(|| "gsk-…".to_owned()))?;
/// assert_eq!(found.providers[0].name(), "groq");
/// assert_eq!(detect(|_| None)?.mock, Some(MockReason::NothingFound));
/// # Ok::<(), llmspell_core::Error>(())
/// ```
///
/// # Errors
/// When a base URL is invalid; the error names the variable.
pub fn detect(lookup: impl Fn(&str) -> Option<String>) -> Result<Detected> {
    let lookup = |name: &str| {
        if name.is_empty() {
            return None;
        }
        lookup(name).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
    };
    if lookup(MOCK).is_some_and(|text| matches!(text.to_lowercase().as_str(), "1" | "true" | "yes" | "on")) {
        return Ok(Detected { providers: Vec::new(), mock: Some(MockReason::Asked) });
    }
    let mut providers = Vec::new();
    for row in PROVIDERS {
        providers.extend(find(row, &lookup)?);
    }
    let mock = providers.is_empty().then_some(MockReason::NothingFound);
    Ok(Detected { providers, mock })
}

fn find(row: &ProviderRow, lookup: &impl Fn(&str) -> Option<String>) -> Result<Option<ProviderConfig>> {
    let key = [row.key_env, row.other_key_env].into_iter().find_map(|name| Some((name, lookup(name)?)));
    let mut config = ProviderConfig::from_row(row);
    let mut near = false;
    if let Some(text) = lookup(row.base_url_env) {
        let mut url = parse_base_url(&text)
            .map_err(|error| error.prefixed(format_args!("`{}`: ", row.base_url_env)))?;
        if row.protocol == ProtocolKind::Ollama {
            // The server reads this variable too, as its listen address: it may be `0.0.0.0` and without a port.
            if url.host_str() == Some("0.0.0.0") {
                let _ = url.set_host(Some("127.0.0.1"));
            }
            if url.port().is_none() && !text.contains("://") {
                let _ = url.set_port(Some(OLLAMA_PORT));
            }
        }
        if row.own_address && url.path() == "/" {
            url.set_path(config.base_url.path());
        }
        near = row.local || is_loopback(&url);
        config.base_url = url;
    } else if row.own_address {
        return Ok(None);
    }
    let found_by = match &key {
        Some((name, _)) => *name,
        None if near => row.base_url_env,
        None => return Ok(None),
    };
    if let Some(model) = lookup(row.model_env) {
        config = config.default_model(model);
    }
    config.key = key.map(|(_, key)| key.into());
    Ok(Some(config.found_by(found_by)))
}

/// Looks for an Ollama server on this machine, and makes its first model the default.
///
/// This opens a connection, so call it only if nothing else was found.
pub async fn probe_local() -> Option<ProviderConfig> {
    const PATIENCE: Duration = Duration::from_millis(150);
    const LISTING: Duration = Duration::from_secs(2);
    let connect = TcpStream::connect(("127.0.0.1", OLLAMA_PORT));
    tokio::time::timeout(PATIENCE, connect).await.ok()?.ok()?;
    let row = ProviderRow::find("ollama")?;
    let config = ProviderConfig::from_row(row).found_by(format!("a server at {}", row.base_url));
    let timeouts = Timeouts { connect: PATIENCE, first_byte: LISTING, idle: LISTING, total: LISTING };
    let limiter = Limiter::of(&config, RateLimits::default());
    let ollama = OllamaProvider::new(config.clone(), Transport::new(timeouts).into(), limiter);
    let models = ollama.models().await.ok()?;
    Some(config.default_model(&models.first()?.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(environment: &[(&str, &str)]) -> Result<String> {
        let detected = detect(|name| {
            environment.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        })?;
        let providers: Vec<String> = detected
            .providers
            .iter()
            .map(|config| {
                let key = if config.key.is_some() { " with a key" } else { "" };
                format!(
                    "{} {} at {} by {}{key}",
                    config.name, config.default_model, config.base_url, config.found_by
                )
            })
            .collect();
        Ok(match detected.mock {
            Some(reason) => format!("{providers:?} mock: {reason:?}"),
            None => providers.join("; "),
        })
    }

    #[test]
    fn what_the_environment_holds_is_found_in_the_order_of_the_rows() {
        for (environment, expected) in [
            (&[][..], "[] mock: NothingFound"),
            (&[("OPENAI_API_KEY", "  ")], "[] mock: NothingFound"),
            (&[("MOCK_LLM", "true"), ("GROQ_API_KEY", "k")], "[] mock: Asked"),
            (
                &[
                    ("MOCK_LLM", "false"),
                    ("MISTRAL_API_KEY", "k"),
                    ("ANTHROPIC_API_KEY", "k"),
                    ("ANTHROPIC_MODEL", "m"),
                ],
                "anthropic m at https://api.anthropic.com/v1 by ANTHROPIC_API_KEY with a key; \
                 mistral mistral-small-latest at https://api.mistral.ai/v1 by MISTRAL_API_KEY with a key",
            ),
            (
                &[("OPENAI_BASE_URL", "http://127.0.0.1:8080/v1")],
                "openai gpt-5.4-mini at http://127.0.0.1:8080/v1 by OPENAI_BASE_URL; \
                 openai-responses gpt-5.4-mini at http://127.0.0.1:8080/v1 by OPENAI_BASE_URL",
            ),
            (&[("OPENAI_BASE_URL", "https://example.com/v1")], "[] mock: NothingFound"),
            (
                &[("GOOGLE_API_KEY", "k")],
                "gemini gemini-flash-latest at https://generativelanguage.googleapis.com/v1beta by GOOGLE_API_KEY with a key",
            ),
            (
                &[("GEMINI_API_KEY", "k"), ("GOOGLE_API_KEY", "other")],
                "gemini gemini-flash-latest at https://generativelanguage.googleapis.com/v1beta by GEMINI_API_KEY with a key",
            ),
            (
                &[
                    ("AZURE_OPENAI_API_KEY", "k"),
                    ("AZURE_OPENAI_ENDPOINT", "https://me.openai.azure.com/"),
                    ("AZURE_OPENAI_MODEL", "mine"),
                ],
                "azure mine at https://me.openai.azure.com/openai/v1 by AZURE_OPENAI_API_KEY with a key",
            ),
            (
                &[
                    ("AZURE_OPENAI_API_KEY", "k"),
                    ("AZURE_OPENAI_ENDPOINT", "https://me.openai.azure.com/openai/v1"),
                ],
                "azure  at https://me.openai.azure.com/openai/v1 by AZURE_OPENAI_API_KEY with a key",
            ),
            (&[("AZURE_OPENAI_API_KEY", "k")], "[] mock: NothingFound"),
            (&[("OLLAMA_HOST", "0.0.0.0")], "ollama llama3.2 at http://127.0.0.1:11434/ by OLLAMA_HOST"),
            (&[("OLLAMA_HOST", "http://box:80")], "ollama llama3.2 at http://box/ by OLLAMA_HOST"),
        ] {
            assert_eq!(found(environment).unwrap(), expected, "{environment:?}");
        }
    }

    #[test]
    fn a_bad_address_names_its_variable() {
        let error = found(&[("GROQ_BASE_URL", "ftp://x"), ("GROQ_API_KEY", "k")]).unwrap_err();
        assert_eq!(error.to_string(), "`GROQ_BASE_URL`: the base URL is neither http nor https");
    }
}
