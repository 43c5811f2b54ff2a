//! Decides to which addresses a request may connect.
//!
//! The URL is parsed once. Its host is checked against the grant before any name is resolved, and then each resolved
//! address is checked as well. The result is a [`ConnectPermit`]: a proof of the check, and the only input from which a
//! [`Net`] connects. DNS rebinding is thus not possible, because the checked addresses are the ones to which the host
//! connects.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use url::{Host, Url};

use super::Net;
use super::address::special;
use crate::effect::Permit;
use crate::error::{Error, ErrorKind, Result};
use crate::permission::{Grant, NetRule};

/// The maximum length of a URL in bytes, which common servers accept.
const MAX_URL: usize = 8 * 1024;
/// The maximum number of characters of a URL that an error message repeats.
const SHOWN: usize = 200;

/// A permitted connection. Only the gate creates one, from a URL whose host was granted and whose addresses were all
/// checked. The network connects to these addresses and to no others.
#[derive(Debug)]
pub struct ConnectPermit {
    url: Url,
    addresses: Vec<IpAddr>,
    is_public: bool,
}

impl ConnectPermit {
    /// Returns the URL to request: `http` or `https`, with a host, and without user or password.
    #[must_use]
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// Returns the addresses to which to connect, at the port of the URL. If the host of the URL is an address, it is
    /// the only one.
    #[must_use]
    pub fn addresses(&self) -> &[IpAddr] {
        &self.addresses
    }

    /// Returns whether all addresses are public. A connection to an address that is not public was granted to this
    /// run only, and must not be reused for another run.
    #[must_use]
    pub fn is_public(&self) -> bool {
        self.is_public
    }
}

/// A host and port that the run was granted, before its addresses are known.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    url: Url,
    host: Host,
    port: u16,
}

/// Parses a URL that a script wrote.
pub(crate) fn parse(text: &str) -> Result<Url> {
    if text.len() > MAX_URL {
        return Err(wrong(text, &format!("it is longer than {} KB", MAX_URL / 1024)));
    }
    // The parser would drop tabs and line ends, so the URL that a person reads would differ from the one that is
    // requested.
    if text.chars().any(char::is_control) {
        return Err(wrong(text, "it holds control characters"));
    }
    Url::parse(text).map_err(|error| {
        let error_text = error.to_string();
        let problem = wrong(text, &error_text);
        match error {
            url::ParseError::RelativeUrlWithoutBase => problem.hint("begin it with https:// or http://"),
            _ => problem,
        }
    })
}

fn wrong(text: &str, why: &str) -> Error {
    let shown: String = text.chars().take(SHOWN).flat_map(char::escape_debug).collect();
    Error::new(ErrorKind::Parse, format!("`{shown}` cannot be fetched: {why}"))
}

impl Target {
    /// Checks the scheme, host and port of a URL.
    ///
    /// # Errors
    /// Returns an error when the scheme is not `http` or `https`, when the URL contains a user or password, or when
    /// the host was not granted. The hint then names the flag that would grant it.
    pub(crate) fn new(mut url: Url, grant: &Grant<NetRule>) -> Result<Self> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err(wrong(url.as_str(), &format!("`{}` is neither http nor https", url.scheme())));
        }
        if !url.username().is_empty() || url.password().is_some() {
            // The URL is not repeated, because it may contain a password.
            return Err(Error::new(ErrorKind::Parse, "a URL must not hold a user or a password")
                .hint("send them in an `Authorization` header"));
        }
        url.set_fragment(None);
        let (Some(host), Some(port)) = (url.host().map(|host| host.to_owned()), url.port_or_known_default())
        else {
            return Err(wrong(url.as_str(), "it has no host"));
        };
        let target = Self { url, host, port };
        if grants(grant, &target.host, port) {
            return Ok(target);
        }
        Err(Error::denied(format!("the spell was not granted {target}"))
            .hint(format!("run it with --allow-net={target}")))
    }

    pub(crate) fn url(&self) -> &Url {
        &self.url
    }

    /// Resolves the host and checks each address. One forbidden address makes the whole request fail.
    ///
    /// # Errors
    /// Returns an error when the host has no address, or when an address is not public and was not granted itself.
    pub(crate) async fn dial(
        self,
        grant: &Grant<NetRule>,
        net: &dyn Net,
        permit: &Permit,
    ) -> Result<ConnectPermit> {
        let addresses = match &self.host {
            Host::Ipv4(address) => vec![IpAddr::V4(*address)],
            Host::Ipv6(address) => vec![IpAddr::V6(*address)],
            // Names of the local host are not resolved, so a wrong answer is not possible (RFC 6761, section 6.3).
            Host::Domain(name) if is_localhost(name) => LOOPBACK.to_vec(),
            Host::Domain(name) => net.resolve(permit, name).await?,
        };
        if addresses.is_empty() {
            return Err(Error::new(ErrorKind::Network, format!("{} has no address", self.host)));
        }
        for address in &addresses {
            self.check(*address, grant)?;
        }
        let is_public = addresses.iter().all(|address| special(*address).is_none());
        Ok(ConnectPermit { url: self.url, addresses, is_public })
    }

    fn check(&self, address: IpAddr, grant: &Grant<NetRule>) -> Result<()> {
        let Some(special) = special(address) else { return Ok(()) };
        let local = matches!(&self.host, Host::Domain(name) if is_localhost(name)) && address.is_loopback();
        let host = match address {
            IpAddr::V4(address) => Host::Ipv4(address),
            IpAddr::V6(address) => Host::Ipv6(address),
        };
        let named = !special.embeds && (local || grants(grant, &host, self.port));
        if named || *grant == Grant::All {
            return Ok(());
        }
        let leads = match &self.host {
            Host::Domain(_) => format!("{self} leads to {address}, {}", special.what),
            _ => format!("{address} is {}", special.what),
        };
        Err(if special.embeds {
            Error::denied(format!("{leads}, which cannot be granted")).hint("use the IPv4 address itself")
        } else {
            Error::denied(format!("{leads}, which was not granted"))
                .hint(format!("if it is meant, run the spell with --allow-net={host}:{}", self.port))
        })
    }
}

/// Writes the host and port in the form of a rule.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

const LOOPBACK: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];

fn is_localhost(name: &str) -> bool {
    name == "localhost" || name.ends_with(".localhost")
}

fn grants(grant: &Grant<NetRule>, host: &Host, port: u16) -> bool {
    match grant {
        Grant::All => true,
        Grant::Only(rules) => rules.iter().any(|rule| rule.allows(host, port)),
    }
}
