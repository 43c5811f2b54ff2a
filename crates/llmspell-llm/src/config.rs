//! The configuration of a provider, and the time limits of calls.

use std::fmt;
use std::time::Duration;

use llmspell_core::{Error, Result};
use reqwest::Url;
use secrecy::SecretString;

use crate::providers::{ProtocolKind, ProviderRow};

/// The configuration of a provider, including its key.
#[derive(Clone)]
pub struct ProviderConfig {
    pub(crate) name: String,
    pub(crate) protocol: ProtocolKind,
    pub(crate) key: Option<SecretString>,
    pub(crate) base_url: Url,
    pub(crate) default_model: String,
    pub(crate) found_by: String,
    pub(crate) local: bool,
    pub(crate) explicit: bool,
}

impl ProviderConfig {
    /// Creates the configuration of a built-in provider, without a key.
    #[must_use]
    #[expect(clippy::missing_panics_doc, reason = "a test parses the address of each row")]
    pub fn from_row(row: &ProviderRow) -> Self {
        Self {
            name: row.name.to_owned(),
            protocol: row.protocol,
            key: None,
            base_url: row.base_url.parse().expect("the address of a row is a URL"),
            default_model: row.default_model.to_owned(),
            found_by: "configuration".to_owned(),
            local: row.local,
            explicit: row.explicit,
        }
    }

    /// Creates the configuration of a provider that uses one of the known wire protocols.
    ///
    /// # Errors
    /// When the base URL is invalid.
    pub fn new(name: impl Into<String>, protocol: ProtocolKind, base_url: &str) -> Result<Self> {
        let base_url = parse_base_url(base_url)?;
        Ok(Self {
            name: name.into(),
            protocol,
            key: None,
            base_url,
            default_model: String::new(),
            found_by: "configuration".to_owned(),
            local: protocol == ProtocolKind::Ollama,
            explicit: false,
        })
    }

    /// Sets the key. It is sent only to the origin of the base URL.
    #[must_use]
    pub fn key(mut self, key: impl Into<SecretString>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// Sets the base URL.
    ///
    /// # Errors
    /// When it is invalid.
    pub fn base_url(mut self, base_url: &str) -> Result<Self> {
        self.base_url = parse_base_url(base_url)?;
        Ok(self)
    }

    /// Sets the model used if none is named.
    #[must_use]
    pub fn default_model(mut self, model: impl Into<String>) -> Self {
        self.default_model = model.into();
        self
    }

    /// Sets a description for the user of where the configuration comes from.
    #[must_use]
    pub fn found_by(mut self, found_by: impl Into<String>) -> Self {
        self.found_by = found_by.into();
        self
    }

    /// Returns the provider's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl ProviderConfig {
    /// Whether the base URL is OpenAI's own, including regional ones and private links. Other servers are only
    /// compatible with OpenAI, and may lack what its own models need.
    pub(crate) fn is_openai(&self) -> bool {
        const HOST: &str = "api.openai.com";
        let is_within = |host: &str| host.strip_suffix(HOST).is_some_and(|before| before.ends_with('.'));
        self.base_url.host_str().is_some_and(|host| host == HOST || is_within(host))
    }
}

/// Does not show the key.
impl fmt::Debug for ProviderConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProviderConfig")
            .field("name", &self.name)
            .field("protocol", &self.protocol)
            .field("key", &self.key.as_ref().map(|_| "[hidden]"))
            .field("base_url", &self.base_url.as_str())
            .field("default_model", &self.default_model)
            .field("found_by", &self.found_by)
            .finish_non_exhaustive()
    }
}

/// The time limits of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// For connecting. Default 10 s.
    pub connect: Duration,
    /// From sending the request to the head of the answer. A complete answer is generated before its head is sent.
    /// Default 5 min.
    pub first_byte: Duration,
    /// Between two reads of the body. Any bytes count, also keep-alive pings. Default 60 s.
    pub idle: Duration,
    /// For the whole call, including retries and queueing. Pings do not extend it. Default 10 min.
    pub total: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            first_byte: Duration::from_secs(300),
            idle: Duration::from_secs(60),
            total: Duration::from_secs(600),
        }
    }
}

/// Parses a base URL as users write it. `host:port` without a scheme means `http`.
pub(crate) fn parse_base_url(text: &str) -> Result<Url> {
    let text = text.trim();
    let with_scheme = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    let bad = |why: &str| {
        // The text is not shown, because it may contain a password.
        Error::config(format!("the base URL {why}")).hint("an example: `https://api.openai.com/v1`")
    };
    let url = Url::parse(&with_scheme).map_err(|error| bad(&format!("does not parse: {error}")))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(bad("is neither http nor https"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(bad("must not hold a user or password"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(bad("must not have a query or a fragment"));
    }
    Ok(url)
}

/// Whether a URL is on this machine.
pub(crate) fn is_loopback(url: &Url) -> bool {
    url.host_str().is_some_and(|host| {
        let host = host.trim_start_matches('[').trim_end_matches(']');
        host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_as_users_write_it() {
        for (text, url) in [
            ("https://api.openai.com/v1", "https://api.openai.com/v1"),
            ("127.0.0.1:11434", "http://127.0.0.1:11434/"),
            ("localhost:1", "http://localhost:1/"),
        ] {
            assert_eq!(parse_base_url(text).unwrap().as_str(), url);
        }
        for (text, message) in [
            ("http://", "the base URL does not parse: empty host"),
            ("ftp://x", "the base URL is neither http nor https"),
            ("http://me:secret@x/", "the base URL must not hold a user or password"),
            ("http://x/?key=secret", "the base URL must not have a query or a fragment"),
        ] {
            assert_eq!(parse_base_url(text).unwrap_err().to_string(), message);
        }
    }

    #[test]
    fn loopback_is_told_by_the_address() {
        for (url, expected) in [
            ("http://127.0.0.1:1/", true),
            ("http://[::1]:1/", true),
            ("http://localhost/", true),
            ("http://127.0.0.1.example.com/", false),
            ("http://10.0.0.1/", false),
        ] {
            assert_eq!(is_loopback(&Url::parse(url).unwrap()), expected, "{url}");
        }
    }

    #[test]
    fn debug_does_not_show_the_key() {
        let config = ProviderConfig::from_row(&crate::PROVIDERS[0]).key("sk-canary");
        assert!(!format!("{config:?}").contains("canary"));
    }
}
