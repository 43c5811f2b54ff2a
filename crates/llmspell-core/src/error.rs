//! The error type of the whole project.
//!
//! An [`Error`] has a kind, a message, and optionally a source location, a traceback, hints for the user and
//! structured details. The kind decides what a script reads as `err.kind` and which exit code the command returns.

mod kind;

use std::fmt;
use std::sync::Arc;

use serde::de::{Expected, Unexpected};
use serde::{Deserialize, Serialize};

use crate::chat::Usage;
use crate::limits::Limit;
use crate::value::Value;

pub use self::kind::ErrorKind;

/// A result with [`Error`] as its default error type.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A position in a source file. Lines and columns count from 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceLocation {
    /// The file name as the user knows it.
    pub file: String,
    /// The line, from 1.
    pub line: u32,
    /// The column, from 1, if the engine knows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<u32>,
}

impl fmt::Display for SourceLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)?;
        match self.column {
            Some(column) => write!(f, ":{column}"),
            None => Ok(()),
        }
    }
}

/// One frame of a traceback.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StackFrame {
    /// The position of the call.
    pub place: SourceLocation,
    /// The function's name, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub function: Option<String>,
}

/// Details of a failed call to a model provider, or of a failed HTTP request of the script.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct CallInfo {
    /// The provider that failed; absent for an HTTP request of the script.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// The HTTP status, if the server answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The id that the provider gave the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// The number of attempts.
    pub attempts: u32,
    /// The seconds to wait that the provider asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<f64>,
    /// The model's context window in tokens, if a request exceeded it and the provider reports it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit_tokens: Option<u64>,
    /// The length of the prompt in tokens, if it exceeded the context window and is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt_tokens: Option<u64>,
    /// The beginning of the response body, when a server refused an HTTP request of the script. For a model's tool call
    /// that its provider could not read, the model's text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// The text received before the failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partial: Option<String>,
    /// The usage of the failed call; `estimated` is set when the provider did not report it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
}

/// The mismatch between a model's answer and the requested schema.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputInfo {
    /// The path in the answer, such as `$.items[2].name`. Array indexes count from 0.
    pub path: String,
    /// What the schema requires at that path.
    pub expected: String,
    /// What the answer has at that path.
    pub got: String,
    /// The beginning of the model's answer.
    pub raw: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Detail {
    kind: ErrorKind,
    message: String,
    #[serde(default)]
    retryable: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    place: Option<SourceLocation>,
    /// The source lines around `place`, formatted for a terminal without colour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    excerpt: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    traceback: Vec<StackFrame>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    hints: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    value: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    call: Option<Box<CallInfo>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    output: Option<Box<OutputInfo>>,
    #[serde(skip)]
    source: Option<Arc<dyn std::error::Error + Send + Sync>>,
}

/// What happened, where, and what the user can do about it.
///
/// `Display` writes the message alone. The location, traceback and hints are data for the caller to format.
///
/// ```
/// use llmspell_core::{Error, ErrorKind};
/// let error = Error::new(ErrorKind::Load, "there is no spell `gret`").hint("did you mean `greet`?");
/// assert!(error.is_load());
/// assert_eq!(error.to_string(), "there is no spell `gret`");
/// ```
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Error(Box<Detail>);

/// The maximum size of a message or hint, in bytes. A script could otherwise create messages as large as its memory
/// limit.
pub const MAX_MESSAGE: usize = 64 * 1024;

fn cut(mut text: String) -> String {
    if text.len() > MAX_MESSAGE {
        text.truncate(text.floor_char_boundary(MAX_MESSAGE));
        text.shrink_to_fit();
        text.push('…');
    }
    text
}

impl Error {
    /// Creates an error with a kind and a message. A message longer than [`MAX_MESSAGE`] bytes is truncated.
    #[must_use]
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Detail {
            kind,
            message: cut(message.into()),
            retryable: false,
            place: None,
            excerpt: None,
            traceback: Vec::new(),
            hints: Vec::new(),
            value: None,
            call: None,
            output: None,
            source: None,
        }))
    }

    /// Creates a `syntax` error: the script does not compile.
    #[must_use]
    pub fn syntax(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Syntax, message)
    }

    /// Creates a `runtime` error: the script raised an error.
    #[must_use]
    pub fn runtime(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Runtime, message)
    }

    /// Creates an `argument` error: a host function was called with a wrong argument.
    #[must_use]
    pub fn argument(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Argument, message)
    }

    /// Creates a `load` error: a spell or one of its files cannot be loaded.
    #[must_use]
    pub fn load(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Load, message)
    }

    /// Creates a `config` error: a setting, manifest field or parameter is wrong.
    #[must_use]
    pub fn config(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Config, message)
    }

    /// Creates a `permission.denied` error: the spell was not granted the access.
    #[must_use]
    pub fn denied(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::PermissionDenied, message)
    }

    /// Creates an error for a limit that was reached. `value` is the limit in readable form.
    ///
    /// ```
    /// use llmspell_core::{Error, Limit};
    /// let error = Error::limit(Limit::Cpu, "30s");
    /// assert_eq!(error.to_string(), "the spell reached its cpu limit of 30s");
    /// ```
    #[must_use]
    pub fn limit(limit: Limit, value: impl fmt::Display) -> Self {
        Self::new(ErrorKind::Limit(limit), format!("the spell reached its {limit} limit of {value}"))
    }

    /// Creates a `cancelled` error: the run was cancelled from outside.
    #[must_use]
    pub fn cancelled() -> Self {
        Self::new(ErrorKind::Cancelled, "the run was cancelled")
    }

    /// Creates an `internal` error: an inconsistent state, which is a bug in llmspell.
    #[must_use]
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Internal, message).hint("this is a bug in llmspell; please report it")
    }

    /// Adds a line that tells the user what to do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hints.push(cut(hint.into()));
        self
    }

    /// Sets the source location, unless a deeper layer has already set it.
    #[must_use]
    pub fn at(mut self, place: SourceLocation) -> Self {
        self.0.place.get_or_insert(place);
        self
    }

    /// Sets the formatted source lines around the location.
    #[must_use]
    pub fn with_excerpt(mut self, excerpt: impl Into<String>) -> Self {
        self.0.excerpt = Some(excerpt.into());
        self
    }

    /// Sets the traceback, innermost call first.
    #[must_use]
    pub fn with_traceback(mut self, frames: Vec<StackFrame>) -> Self {
        self.0.traceback = frames;
        self
    }

    /// Sets the value that a script raised instead of a message.
    #[must_use]
    pub fn with_value(mut self, value: Value) -> Self {
        self.0.value = Some(value);
        self
    }

    /// Sets whether the same call may succeed later.
    #[must_use]
    pub fn with_retryable(mut self, retryable: bool) -> Self {
        self.0.retryable = retryable;
        self
    }

    /// Attaches the details of a failed call to a provider.
    #[must_use]
    pub fn with_call(mut self, call: CallInfo) -> Self {
        self.0.call = Some(Box::new(call));
        self
    }

    /// Attaches the mismatch between an answer and its schema.
    #[must_use]
    pub fn with_output(mut self, output: OutputInfo) -> Self {
        self.0.output = Some(Box::new(output));
        self
    }

    /// Sets the error that caused this one.
    #[must_use]
    pub fn with_source(mut self, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        self.0.source = Some(Arc::new(source));
        self
    }

    /// Rewrites the message and each hint with a function.
    #[must_use]
    pub fn reworded(mut self, word: impl Fn(&str) -> String) -> Self {
        self.0.message = cut(word(&self.0.message));
        for hint in &mut self.0.hints {
            *hint = cut(word(hint));
        }
        self
    }

    /// Puts a prefix before the message, such as `argument 2: `.
    #[must_use]
    pub fn prefixed(mut self, prefix: impl fmt::Display) -> Self {
        self.0.message = cut(format!("{prefix}{}", self.0.message));
        self
    }

    /// Returns the kind of error.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Returns the message: what happened, in one sentence.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// Returns the source location.
    #[must_use]
    pub fn place(&self) -> Option<&SourceLocation> {
        self.0.place.as_ref()
    }

    /// Returns the source lines around the location, formatted for a terminal without colour.
    #[must_use]
    pub fn excerpt(&self) -> Option<&str> {
        self.0.excerpt.as_deref()
    }

    /// Returns the calls that led to the error, innermost first.
    #[must_use]
    pub fn traceback(&self) -> &[StackFrame] {
        &self.0.traceback
    }

    /// Returns the hints: what the user can do.
    #[must_use]
    pub fn hints(&self) -> &[String] {
        &self.0.hints
    }

    /// Returns the value that a script raised instead of a message.
    #[must_use]
    pub fn value(&self) -> Option<&Value> {
        self.0.value.as_ref()
    }

    /// Returns whether the same call may succeed later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.0.retryable
    }

    /// Returns the details of the failed call to a provider.
    #[must_use]
    pub fn call(&self) -> Option<&CallInfo> {
        self.0.call.as_deref()
    }

    /// Returns the details of the failed call for modification. Attaches empty details if there are none.
    pub fn call_mut(&mut self) -> &mut CallInfo {
        self.0.call.get_or_insert_default()
    }

    /// Returns the mismatch between an answer and its schema.
    #[must_use]
    pub fn output(&self) -> Option<&OutputInfo> {
        self.0.output.as_deref()
    }

    /// Returns whether the script itself is at fault.
    #[must_use]
    pub fn is_script(&self) -> bool {
        matches!(self.kind(), ErrorKind::Syntax | ErrorKind::Runtime | ErrorKind::Argument)
    }

    /// Returns whether a spell or one of its files could not be loaded.
    #[must_use]
    pub fn is_load(&self) -> bool {
        self.kind() == ErrorKind::Load
    }

    /// Returns whether a setting, manifest field or parameter is wrong.
    #[must_use]
    pub fn is_config(&self) -> bool {
        self.kind() == ErrorKind::Config
    }

    /// Returns whether the sandbox denied an access.
    #[must_use]
    pub fn is_security(&self) -> bool {
        self.kind() == ErrorKind::PermissionDenied
    }

    /// Returns whether a limit was reached.
    #[must_use]
    pub fn is_limit(&self) -> bool {
        matches!(self.kind(), ErrorKind::Limit(_))
    }

    /// Returns whether the run was cancelled.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.kind() == ErrorKind::Cancelled
    }

    /// Returns whether no code of the spell may run after this error: true for limits and cancellation.
    #[must_use]
    pub fn is_final(&self) -> bool {
        self.is_limit() || self.is_cancelled()
    }

    /// Returns whether a model provider failed.
    ///
    /// HTTP requests of the script can fail with `network`, `timeout` and `bad_response` too. Those kinds count only
    /// if the call details name a provider.
    #[must_use]
    pub fn is_provider(&self) -> bool {
        let shared = matches!(self.kind(), ErrorKind::Network | ErrorKind::Timeout | ErrorKind::BadResponse);
        self.kind().is_provider() && (!shared || self.call().is_some_and(|call| call.provider.is_some()))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_ref().map(|source| &**source as _)
    }
}

/// Lets the conversions between [`Value`] and Rust types report errors through serde.
impl serde::de::Error for Error {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::argument(message.to_string())
    }

    /// Names the range of numbers, for which serde has the name of the Rust type only.
    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let expected = expected.to_string();
        let range = match expected.as_str() {
            "u8" => "a whole number from 0 to 255",
            "u16" => "a whole number from 0 to 65535",
            "u32" => "a whole number from 0 to 4294967295",
            "u64" | "usize" => "a whole number from 0 on",
            other => other,
        };
        Self::argument(format!("expected {range}, found {found}"))
    }
}

impl serde::ser::Error for Error {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::argument(message.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_survives_json_with_everything_but_its_source() {
        let place = SourceLocation { file: "main.luau".into(), line: 3, column: None };
        let error = Error::runtime("boom")
            .at(place.clone())
            .hint("do not")
            .with_value(Value::from(7))
            .with_traceback(vec![StackFrame { place, function: Some("f".into()) }])
            .with_call(CallInfo { status: Some(429), attempts: 3, ..CallInfo::default() });
        let text = serde_json::to_string(&error).unwrap();
        let back: Error = serde_json::from_str(&text).unwrap();
        assert_eq!(serde_json::to_string(&back).unwrap(), text);
        assert_eq!(back.call().unwrap().status, Some(429));
        assert_eq!(back.value(), Some(&Value::from(7)));
    }

    #[test]
    fn the_deepest_place_wins() {
        let at = |line| SourceLocation { file: "a".into(), line, column: None };
        assert_eq!(Error::runtime("x").at(at(1)).at(at(2)).place(), Some(&at(1)));
    }
}
