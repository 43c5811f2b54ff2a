//! HTTP header fields: which ones a script may set, which ones are credentials, and how many are allowed.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};

/// The maximum number of header fields in a request or response.
const MAX_FIELDS: usize = 100;
/// The maximum size of all header fields together, in bytes.
const MAX_BYTES: usize = 64 * 1024;

/// HTTP header fields in order, with names in lower case. Lookup ignores case.
///
/// ```
/// use llmspell_core::capability::HeaderFields;
/// let mut headers = HeaderFields::default();
/// headers.set("Accept", "text/html").unwrap();
/// assert_eq!(headers.get("ACCEPT"), Some("text/html"));
/// assert!(headers.set("Host", "example.com").is_err());
/// ```
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct HeaderFields(Vec<(String, String)>);

impl HeaderFields {
    /// Sets a field of a request. Replaces a field with the same name.
    ///
    /// # Errors
    /// Returns an error when the name or value is not valid, the field belongs to the connection, or there are too
    /// many fields.
    pub fn set(&mut self, name: &str, value: &str) -> Result<()> {
        if !is_token(name) {
            return Err(Error::argument(format!("`{}` is no name of a header", name.escape_debug())));
        }
        let name = name.to_ascii_lowercase();
        if is_ours(&name) {
            return Err(Error::argument(format!("the header `{name}` cannot be set: the connection does")));
        }
        // Allowed are visible characters, spaces and tabs (RFC 9110, section 5.5), and characters beyond ASCII.
        if value.chars().any(|letter| letter.is_control() && letter != '\t') {
            return Err(Error::argument(format!(
                "the header `{name}` has a line end or a control character"
            )));
        }
        self.0.retain(|(known, _)| *known != name);
        self.0.push((name, value.trim().to_owned()));
        self.bounded().map_err(|why| Error::argument(format!("a request takes no more than {why}")))
    }

    /// Takes the fields of a response unchanged, except that names become lower case.
    ///
    /// # Errors
    /// Returns a `bad_response` error when the fields are too many or too large.
    pub(crate) fn received(fields: Vec<(String, String)>) -> Result<Self> {
        let headers =
            Self(fields.into_iter().map(|(name, value)| (name.to_ascii_lowercase(), value)).collect());
        headers
            .bounded()
            .map_err(|why| Error::new(ErrorKind::BadResponse, format!("the response has more than {why}")))?;
        Ok(headers)
    }

    fn bounded(&self) -> Result<(), String> {
        if self.0.len() > MAX_FIELDS {
            return Err(format!("{MAX_FIELDS} headers"));
        }
        let bytes: usize = self.0.iter().map(|(name, value)| name.len() + value.len()).sum();
        if bytes > MAX_BYTES { Err(format!("{} KB of headers", MAX_BYTES / 1024)) } else { Ok(()) }
    }

    /// Returns the value of a field; the first one if the name occurs several times.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// Iterates over all fields. Names are in lower case.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Returns the fields whose names satisfy a condition.
    pub(crate) fn only(&self, wished: impl Fn(&str) -> bool) -> Self {
        Self(self.0.iter().filter(|(name, _)| wished(name)).cloned().collect())
    }

    /// Returns the fields with the value of each credential replaced by `[redacted]`.
    pub(crate) fn redacted(&self) -> Self {
        let field = |(name, value): &(String, String)| {
            let value = if is_credential(name) { "[redacted]" } else { value };
            (name.clone(), value.to_owned())
        };
        Self(self.0.iter().map(field).collect())
    }
}

/// Hides credentials.
impl fmt::Debug for HeaderFields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.redacted().iter()).finish()
    }
}

/// Returns whether a name is a token (RFC 9110, section 5.6.2).
pub(crate) fn is_token(name: &str) -> bool {
    !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

/// Returns whether a field belongs to the connection. A script that could set `host` would reach another host than
/// the checked one; one that could set `content-length` could smuggle a second request.
fn is_ours(name: &str) -> bool {
    const OURS: [&str; 9] = [
        "connection",
        "content-length",
        "expect",
        "host",
        "keep-alive",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ];
    OURS.contains(&name) || name.starts_with("proxy-")
}

/// Returns whether a field is a credential. Credentials are not recorded, and a redirect to another origin drops
/// them.
pub(crate) fn is_credential(name: &str) -> bool {
    const WORDS: [&str; 8] =
        ["auth", "cookie", "credential", "key", "password", "secret", "session", "token"];
    WORDS.iter().any(|word| name.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_sets_what_is_its_own() {
        for (name, value, expected) in [
            ("X-Note", "a\tb é", ""),
            ("Host", "a", "the header `host` cannot be set: the connection does"),
            ("content-LENGTH", "1", "the header `content-length` cannot be set: the connection does"),
            (
                "Transfer-Encoding",
                "chunked",
                "the header `transfer-encoding` cannot be set: the connection does",
            ),
            ("Connection", "close", "the header `connection` cannot be set: the connection does"),
            ("Keep-Alive", "1", "the header `keep-alive` cannot be set: the connection does"),
            ("TE", "trailers", "the header `te` cannot be set: the connection does"),
            ("Trailer", "x", "the header `trailer` cannot be set: the connection does"),
            ("Upgrade", "h2c", "the header `upgrade` cannot be set: the connection does"),
            (
                "Proxy-Authorization",
                "x",
                "the header `proxy-authorization` cannot be set: the connection does",
            ),
            ("Proxy-Anything", "x", "the header `proxy-anything` cannot be set: the connection does"),
            ("", "x", "`` is no name of a header"),
            ("Host ", "x", "`Host ` is no name of a header"),
            ("a:b", "x", "`a:b` is no name of a header"),
            ("a\r\nHost", "x", "`a\\r\\nHost` is no name of a header"),
            ("ｈost", "x", "`ｈost` is no name of a header"),
            ("x", "a\r\nHost: b", "the header `x` has a line end or a control character"),
            ("x", "a\nb", "the header `x` has a line end or a control character"),
            ("x", "a\0b", "the header `x` has a line end or a control character"),
            ("x", "\u{85}", "the header `x` has a line end or a control character"),
        ] {
            let said = HeaderFields::default()
                .set(name, value)
                .map_or_else(|error| error.message().to_owned(), |()| String::new());
            assert_eq!(said, expected, "{name:?}: {value:?}");
        }
    }

    #[test]
    fn headers_are_bounded_in_number_and_bytes() {
        let many = |count, bytes| {
            let fields = (0..count).map(|at| (format!("x{at}"), "y".repeat(bytes))).collect();
            HeaderFields::received(fields).map(drop).map_err(|error| error.message().to_owned())
        };
        assert_eq!(many(100, 1), Ok(()));
        assert_eq!(many(101, 1), Err("the response has more than 100 headers".into()));
        assert_eq!(many(2, 40_000), Err("the response has more than 64 KB of headers".into()));
    }

    #[test]
    fn what_is_shown_or_written_down_holds_no_credentials() {
        let mut headers = HeaderFields::default();
        for name in ["Authorization", "Cookie", "X-Api-Key", "api-key", "X-Auth-Token", "Accept"] {
            headers.set(name, "hunter2").unwrap();
        }
        let shown = format!("{headers:?}");
        assert_eq!(shown.matches("hunter2").count(), 1, "{shown}");
        assert_eq!(headers.redacted().get("accept"), Some("hunter2"));
    }
}
