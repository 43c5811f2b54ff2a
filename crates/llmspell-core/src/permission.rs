//! Permissions: what a manifest asks for, what the user granted, and what a run may access.
//!
//! [`Permissions`] are allow lists. An empty list denies everything, and a manifest can only *ask*: only the user's
//! grant gives access. Models need no permission; they are limited by the budget.

mod cover;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use url::Host;

pub(crate) use self::cover::normal;
use crate::error::{Error, Result};

/// What a run may access. The default is nothing.
///
/// Calls of models are not covered here; they are limited by the budget. Nothing is accessible that the user did not
/// grant.
///
/// The serialized form is used in stored runs and recordings. Deserializing never fails on a grant that this version
/// does not know: the unknown grant is dropped, so a run can only lose rights. Manifests are parsed by stricter
/// rules.
///
/// ```
/// use llmspell_core::{Grant, Permissions};
/// let stored: Permissions = serde_json::from_str(r#"{"net": "all", "read": ["data"], "cameras": ["front"]}"#)?;
/// assert_eq!(stored.net, Grant::All);
/// assert_eq!(serde_json::to_string(&stored.read)?, r#"["data"]"#);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Permissions {
    /// Hosts that may be reached.
    pub net: Grant<NetRule>,
    /// Folders and files that may be read. Relative paths start in the working folder; in a manifest, in the spell's
    /// folder.
    pub read: Grant<PathBuf>,
    /// Folders and files that may be written.
    pub write: Grant<PathBuf>,
    /// Rows for the [extensions](crate::capability::Extension) of an embedding program, by their names. Only the
    /// program grants them.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub named: BTreeMap<String, Grant<String>>,
}

impl Permissions {
    /// Returns permissions for everything that llmspell itself reaches, for a spell that the user trusts like a program
    /// of their own. [Named](Self::named) rows are granted by their names only.
    #[must_use]
    pub fn all() -> Self {
        Self { net: Grant::All, read: Grant::All, write: Grant::All, named: BTreeMap::new() }
    }

    /// Returns whether the row of this name grants an item.
    #[must_use]
    pub fn grants(&self, name: &str, item: &str) -> bool {
        match self.named.get(name) {
            None => false,
            Some(Grant::All) => true,
            Some(Grant::Only(items)) => items.iter().any(|granted| granted == item),
        }
    }

    /// Returns whether nothing is granted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// The serialized form of [`Grant::All`].
const ALL: &str = "all";

/// An allow list: everything that is not on it is denied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Grant<T> {
    /// Only the listed items.
    Only(Vec<T>),
    /// Everything. Only the user can grant it; a manifest cannot ask for it.
    All,
}

impl<T> Default for Grant<T> {
    fn default() -> Self {
        Self::Only(Vec::new())
    }
}

impl<T> FromIterator<T> for Grant<T> {
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Self {
        Self::Only(items.into_iter().collect())
    }
}

impl<T: Serialize> Serialize for Grant<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Only(items) => items.serialize(serializer),
            Self::All => serializer.serialize_str(ALL),
        }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Grant<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        /// A newer version may have stored a word or a rule that this version does not know.
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Stored<T> {
            Word(String),
            Rules(Vec<StoredRule<T>>),
            Unknown(IgnoredAny),
        }
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum StoredRule<T> {
            Known(T),
            Unknown(IgnoredAny),
        }
        Ok(match Stored::deserialize(deserializer)? {
            Stored::Word(word) if word == ALL => Self::All,
            Stored::Rules(rules) => rules
                .into_iter()
                .filter_map(|rule| match rule {
                    StoredRule::Known(rule) => Some(rule),
                    StoredRule::Unknown(_) => None,
                })
                .collect(),
            Stored::Word(_) | Stored::Unknown(_) => Self::default(),
        })
    }
}

/// A rule for hosts: one host by name or address, or all direct subdomains of a name, at one port or at any port.
///
/// ```
/// use llmspell_core::NetRule;
/// for rule in ["example.com", "example.com:8080", "*.wikipedia.org", "127.0.0.1:11434", "[::1]:80"] {
///     assert_eq!(rule.parse::<NetRule>().unwrap().to_string(), rule);
/// }
/// assert!("*.com".parse::<NetRule>().is_err());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetRule {
    hosts: Hosts,
    port: Option<u16>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Hosts {
    One(Host),
    /// All names with exactly one label more than this name.
    Beneath(String),
}

impl NetRule {
    /// Returns the granted port; `None` means any port.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// Returns whether the rule grants this host at this port. The host must come from a parsed URL, because only
    /// parsing gives an address a single spelling.
    #[must_use]
    pub fn allows(&self, host: &Host, port: u16) -> bool {
        if self.port.is_some_and(|granted| granted != port) {
            return false;
        }
        match (&self.hosts, host) {
            (Hosts::One(granted), host) => granted == host,
            (Hosts::Beneath(parent), Host::Domain(name)) => {
                name.split_once('.').is_some_and(|(label, rest)| !label.is_empty() && rest == parent)
            }
            (Hosts::Beneath(_), _) => false,
        }
    }
}

impl FromStr for NetRule {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = |why: &str| {
            Error::config(format!("`{text}` is not a host: {why}")).hint(
                "write a host as example.com, example.com:8080, *.example.com, 127.0.0.1:8080 or [::1]:80",
            )
        };
        let end_of_host = text.rfind(']').map_or(0, |at| at + 1);
        let (host, port) = match text[end_of_host..].rfind(':').map(|at| at + end_of_host) {
            Some(at) => {
                let port = text[at + 1..].parse().ok().filter(|port| *port > 0);
                (&text[..at], Some(port.ok_or_else(|| wrong("a port is a number from 1 to 65535"))?))
            }
            None => (text, None),
        };
        let parse = |host: &str| Host::parse(host).map_err(|error| wrong(&error.to_string()));
        let hosts = match host.strip_prefix("*.") {
            Some(parent) => match parse(parent)? {
                Host::Domain(parent) if is_beneath_a_top_level(&parent) => Hosts::Beneath(parent),
                _ => return Err(wrong("a star stands for one label before a name of two or more")),
            },
            None if host.contains('*') => {
                return Err(wrong("a star stands for one whole label, before a name of two or more"));
            }
            None => Hosts::One(parse(host)?),
        };
        Ok(Self { hosts, port })
    }
}

/// Returns whether a name has at least two labels and no further star.
fn is_beneath_a_top_level(name: &str) -> bool {
    name.trim_end_matches('.').contains('.') && !name.contains('*')
}

impl fmt::Display for NetRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.hosts {
            Hosts::One(host) => write!(f, "{host}")?,
            Hosts::Beneath(parent) => write!(f, "*.{parent}")?,
        }
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

impl Serialize for NetRule {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for NetRule {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_grants_the_hosts_it_names_and_no_others() {
        for (rule, host, port, allowed) in [
            ("example.com", "example.com", 443, true),
            ("EXAMPLE.com", "example.com", 8080, true),
            ("example.com:443", "example.com", 80, false),
            ("example.com", "www.example.com", 443, false),
            ("*.example.com", "www.example.com", 443, true),
            ("*.example.com", "example.com", 443, false),
            ("*.example.com", "a.b.example.com", 443, false),
            ("*.example.com", "evilexample.com", 443, false),
            ("127.0.0.1", "0x7f.1", 80, true),
            ("127.0.0.1", "[::ffff:127.0.0.1]", 80, false),
            ("[::1]:80", "[0:0:0:0:0:0:0:1]", 80, true),
        ] {
            let asked = Host::parse(host).unwrap();
            assert_eq!(
                rule.parse::<NetRule>().unwrap().allows(&asked, port),
                allowed,
                "{rule} and {host}:{port}"
            );
        }
    }

    #[test]
    fn what_is_no_rule_is_refused() {
        for text in [
            "",
            "*",
            "*.com",
            "*.",
            "a*.example.com",
            "*.*.example.com",
            "*.127.0.0.1",
            "example.com:0",
            "example.com:http",
            "example.com:",
            "http://example.com",
            "example.com/path",
            "user@example.com",
            "a b",
        ] {
            assert!(text.parse::<NetRule>().is_err(), "{text}");
        }
    }

    #[test]
    fn stored_permissions_read_back_and_unknown_grants_are_left_out() {
        let all = Permissions::all();
        let stored = serde_json::to_string(&all).unwrap();
        assert_eq!(serde_json::from_str::<Permissions>(&stored).unwrap(), all);
        for (stored, read) in [
            (r#"{"net": ["*", "example.com", 7]}"#, r#"["example.com"]"#),
            (r#"{"net": "some"}"#, "[]"),
            (r#"{"net": {"only": ["example.com"]}}"#, "[]"),
            (r#"{"net": null}"#, "[]"),
            (r#"{"cameras": "all"}"#, "[]"),
            (r#"{"net": ["example.com"], "env": ["HOME"], "run": "all", "mcp": []}"#, r#"["example.com"]"#),
        ] {
            let permissions: Permissions = serde_json::from_str(stored).unwrap();
            assert_eq!(serde_json::to_string(&permissions.net).unwrap(), read, "{stored}");
        }
    }
}
