//! One error type for the whole project: a kind, a message, a place and what the user can do about it.

mod kind;

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::chat::Usage;
use crate::limits::Limit;
use crate::value::Value;

pub use self::kind::ErrorKind;

/// A result whose error is llmspell's own.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A position in a source file. Lines and columns count from 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The file as the user knows it.
    pub file: String,
    /// The line, from 1.
    pub line: u32,
    /// The column, from 1, where the engine knows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<u32>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)?;
        match self.column {
            Some(column) => write!(f, ":{column}"),
            None => Ok(()),
        }
    }
}

/// One step of a traceback, innermost first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frame {
    /// Where the call was.
    pub place: Place,
    /// The function, where it has a name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub function: Option<String>,
}

/// What a failed call to a provider, or a failed HTTP request, is known to have been.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct CallInfo {
    /// The provider that failed; none where the spell's own HTTP request did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// The HTTP status, if one came.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The provider's own id of the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// How often the call was tried.
    pub attempts: u32,
    /// Seconds the provider asked to wait.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<f64>,
    /// The beginning of the answer to an HTTP request of the spell that was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// The text that had arrived before the failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partial: Option<String>,
    /// What the failed call used, marked when it is an estimate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
}

/// Where a model's answer does not fit the schema that was asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputInfo {
    /// The place in the answer, such as `$.items[2].name`; arrays count from 0.
    pub path: String,
    /// What would fit there.
    pub expected: String,
    /// What is there.
    pub got: String,
    /// The beginning of the answer as the model wrote it.
    pub raw: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Detail {
    kind: ErrorKind,
    message: String,
    #[serde(default)]
    retryable: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    place: Option<Place>,
    /// The lines around `place`, drawn for a terminal without colour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    excerpt: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    traceback: Vec<Frame>,
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

/// What happened, where, and what to do about it.
///
/// `Display` is the message alone; place, traceback and hints are data that the caller lays out.
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

/// The most bytes of a message or hint: a script can make them as long as its memory allows, and nobody reads that.
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
    /// An error of this kind with nothing but a message; what is past [`MAX_MESSAGE`] bytes of it is cut off.
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

    /// A script that does not compile.
    #[must_use]
    pub fn syntax(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Syntax, message)
    }

    /// An error raised by a script.
    #[must_use]
    pub fn runtime(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Runtime, message)
    }

    /// A wrong argument to a host function.
    #[must_use]
    pub fn argument(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Argument, message)
    }

    /// A spell or one of its files that cannot be loaded.
    #[must_use]
    pub fn load(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Load, message)
    }

    /// A wrong setting, manifest field or parameter.
    #[must_use]
    pub fn config(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Config, message)
    }

    /// Something the spell was not granted.
    #[must_use]
    pub fn denied(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::PermissionDenied, message)
    }

    /// A limit that was reached, with its value as a person would write it.
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

    /// A run that was cancelled from outside.
    #[must_use]
    pub fn cancelled() -> Self {
        Self::new(ErrorKind::Cancelled, "the run was cancelled")
    }

    /// A bug in llmspell: a state that cannot be.
    #[must_use]
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Internal, message).hint("this is a bug in llmspell; please report it")
    }

    /// Adds a line that says what to do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hints.push(cut(hint.into()));
        self
    }

    /// Sets where it happened, unless a deeper layer already did.
    #[must_use]
    pub fn at(mut self, place: Place) -> Self {
        self.0.place.get_or_insert(place);
        self
    }

    /// Sets the drawing of the source around the place.
    #[must_use]
    pub fn with_excerpt(mut self, excerpt: impl Into<String>) -> Self {
        self.0.excerpt = Some(excerpt.into());
        self
    }

    /// Sets the traceback, innermost call first.
    #[must_use]
    pub fn with_traceback(mut self, frames: Vec<Frame>) -> Self {
        self.0.traceback = frames;
        self
    }

    /// Keeps the value that a script raised in place of a message.
    #[must_use]
    pub fn with_value(mut self, value: Value) -> Self {
        self.0.value = Some(value);
        self
    }

    /// Says whether the same call may work later.
    #[must_use]
    pub fn with_retryable(mut self, retryable: bool) -> Self {
        self.0.retryable = retryable;
        self
    }

    /// Keeps what is known of a failed call to a provider.
    #[must_use]
    pub fn with_call(mut self, call: CallInfo) -> Self {
        self.0.call = Some(Box::new(call));
        self
    }

    /// Keeps where an answer does not fit its schema.
    #[must_use]
    pub fn with_output(mut self, output: OutputInfo) -> Self {
        self.0.output = Some(Box::new(output));
        self
    }

    /// Keeps the error that caused this one.
    #[must_use]
    pub fn with_source(mut self, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        self.0.source = Some(Arc::new(source));
        self
    }

    /// The same with its message and its hints in other words.
    #[must_use]
    pub fn reworded(mut self, word: impl Fn(&str) -> String) -> Self {
        self.0.message = cut(word(&self.0.message));
        for hint in &mut self.0.hints {
            *hint = cut(word(hint));
        }
        self
    }

    /// Puts words before the message: `argument 2: …`.
    #[must_use]
    pub fn prefixed(mut self, prefix: impl fmt::Display) -> Self {
        self.0.message = cut(format!("{prefix}{}", self.0.message));
        self
    }

    /// What sort of error it is.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// What happened, in one sentence.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// Where it happened.
    #[must_use]
    pub fn place(&self) -> Option<&Place> {
        self.0.place.as_ref()
    }

    /// The source around the place, drawn for a terminal without colour.
    #[must_use]
    pub fn excerpt(&self) -> Option<&str> {
        self.0.excerpt.as_deref()
    }

    /// The calls that led there, innermost first.
    #[must_use]
    pub fn traceback(&self) -> &[Frame] {
        &self.0.traceback
    }

    /// What the user can do.
    #[must_use]
    pub fn hints(&self) -> &[String] {
        &self.0.hints
    }

    /// The value a script raised in place of a message.
    #[must_use]
    pub fn value(&self) -> Option<&Value> {
        self.0.value.as_ref()
    }

    /// Whether the same call may work later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.0.retryable
    }

    /// What is known of the failed call to a provider.
    #[must_use]
    pub fn call(&self) -> Option<&CallInfo> {
        self.0.call.as_deref()
    }

    /// The same as [`call`](Self::call), to add to; made empty when there was none.
    pub fn call_mut(&mut self) -> &mut CallInfo {
        self.0.call.get_or_insert_default()
    }

    /// Where an answer does not fit its schema.
    #[must_use]
    pub fn output(&self) -> Option<&OutputInfo> {
        self.0.output.as_deref()
    }

    /// Whether the script itself is at fault.
    #[must_use]
    pub fn is_script(&self) -> bool {
        matches!(self.kind(), ErrorKind::Syntax | ErrorKind::Runtime | ErrorKind::Argument)
    }

    /// Whether a spell or one of its files could not be loaded.
    #[must_use]
    pub fn is_load(&self) -> bool {
        self.kind() == ErrorKind::Load
    }

    /// Whether a setting, manifest field or parameter is wrong.
    #[must_use]
    pub fn is_config(&self) -> bool {
        self.kind() == ErrorKind::Config
    }

    /// Whether the sandbox refused something.
    #[must_use]
    pub fn is_security(&self) -> bool {
        self.kind() == ErrorKind::PermissionDenied
    }

    /// Whether a limit was reached.
    #[must_use]
    pub fn is_limit(&self) -> bool {
        matches!(self.kind(), ErrorKind::Limit(_))
    }

    /// Whether the run was cancelled.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.kind() == ErrorKind::Cancelled
    }

    /// Whether no code of the spell may run after it: limits and cancellation.
    #[must_use]
    pub fn is_final(&self) -> bool {
        self.is_limit() || self.is_cancelled()
    }

    /// Whether a model provider failed. Where other connections fail in the same way, the error of a provider names it.
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

/// So that conversions between [`Value`] and Rust types can speak through serde.
impl serde::de::Error for Error {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::argument(message.to_string())
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
        let place = Place { file: "main.luau".into(), line: 3, column: None };
        let error = Error::runtime("boom")
            .at(place.clone())
            .hint("do not")
            .with_value(Value::from(7))
            .with_traceback(vec![Frame { place, function: Some("f".into()) }])
            .with_call(CallInfo { status: Some(429), attempts: 3, ..CallInfo::default() });
        let text = serde_json::to_string(&error).unwrap();
        let back: Error = serde_json::from_str(&text).unwrap();
        assert_eq!(serde_json::to_string(&back).unwrap(), text);
        assert_eq!(back.call().unwrap().status, Some(429));
        assert_eq!(back.value(), Some(&Value::from(7)));
    }

    #[test]
    fn the_deepest_place_wins() {
        let at = |line| Place { file: "a".into(), line, column: None };
        assert_eq!(Error::runtime("x").at(at(1)).at(at(2)).place(), Some(&at(1)));
    }
}
