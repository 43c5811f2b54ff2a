//! The kinds of errors and their names.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::limits::{LIMITS, Limit};

/// The kind of an error. Scripts read it as `err.kind`; the command derives its exit code from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The script does not compile.
    Syntax,
    /// The script raised an error.
    Runtime,
    /// A host function was called with wrong arguments.
    Argument,
    /// A spell, its manifest or one of its files could not be loaded.
    Load,
    /// The configuration, a manifest field or a parameter is wrong.
    Config,
    /// A name is taken, or matches more than one thing.
    Conflict,
    /// A named thing does not exist.
    NotFound,
    /// The spell was not granted what it asked for.
    PermissionDenied,
    /// A limit was reached. No code of the spell runs afterwards.
    Limit(Limit),
    /// A part of the run, such as an agent, has used up its budget. The run goes on.
    Budget,
    /// An agent reached its maximum number of turns without an answer.
    TurnLimit,
    /// The run was cancelled from outside.
    Cancelled,
    /// A callback asked the operation to stop.
    Stopped,
    /// A text cannot be parsed, for example malformed JSON.
    Parse,
    /// A value does not match its schema.
    Schema,
    /// An input or output operation of the host failed, for example on a closed stdin.
    Io,
    /// No provider is usable, or the named provider is unknown.
    NoProvider,
    /// The request is longer than the model's context window. `limit_tokens` and `prompt_tokens` hold the numbers, if the
    /// provider reports them.
    ContextExceeded,
    /// The server was still loading the model when the time was up.
    ModelLoading,
    /// The provider does not know the model.
    UnknownModel,
    /// The provider rejected the API key, or there is none.
    Auth,
    /// The account has no credit left.
    Quota,
    /// The rate limit was exceeded.
    RateLimited,
    /// The provider is overloaded or had an internal error.
    Overloaded,
    /// The provider rejected the request as malformed.
    BadRequest,
    /// The model, provider or build does not support the request.
    Unsupported,
    /// A server answered an HTTP request of the spell with a status of 400 or above.
    Http,
    /// The connection failed before an answer arrived.
    Network,
    /// The provider or server took too long.
    Timeout,
    /// The answer of the provider or server could not be understood.
    BadResponse,
    /// The provider's answer was empty.
    EmptyResponse,
    /// The provider withheld the answer, or stopped it. `partial` holds the text received so far.
    ContentFiltered,
    /// No answer of the model matches the requested schema.
    OutputInvalid,
    /// An event of a stream could not be understood.
    BadStream,
    /// A stream ended before the model had finished. `partial` holds the text received so far.
    StreamInterrupted,
    /// The effect was in doubt when the run was resumed: it had started, and may or may not have happened.
    Interrupted,
    /// A recording does not match the requests of the spell.
    Replay,
    /// An assertion of a test failed.
    Assertion,
    /// A bug in llmspell.
    Internal,
}

/// The names of the kinds. Those of limits are in [`LIMITS`].
const KINDS: &[(ErrorKind, &str)] = &[
    (ErrorKind::Syntax, "syntax"),
    (ErrorKind::Runtime, "runtime"),
    (ErrorKind::Argument, "argument"),
    (ErrorKind::Load, "load"),
    (ErrorKind::Config, "config"),
    (ErrorKind::Conflict, "conflict"),
    (ErrorKind::NotFound, "not_found"),
    (ErrorKind::PermissionDenied, "permission.denied"),
    (ErrorKind::Budget, "budget"),
    (ErrorKind::TurnLimit, "turn_limit"),
    (ErrorKind::Cancelled, "cancelled"),
    (ErrorKind::Stopped, "stopped"),
    (ErrorKind::Parse, "parse"),
    (ErrorKind::Schema, "schema"),
    (ErrorKind::Io, "io"),
    (ErrorKind::NoProvider, "no_provider"),
    (ErrorKind::UnknownModel, "unknown_model"),
    (ErrorKind::Auth, "auth"),
    (ErrorKind::Quota, "quota"),
    (ErrorKind::RateLimited, "rate_limited"),
    (ErrorKind::Overloaded, "overloaded"),
    (ErrorKind::BadRequest, "bad_request"),
    (ErrorKind::ContextExceeded, "context_exceeded"),
    (ErrorKind::Unsupported, "unsupported"),
    (ErrorKind::ModelLoading, "model_loading"),
    (ErrorKind::Http, "http"),
    (ErrorKind::Network, "network"),
    (ErrorKind::Timeout, "timeout"),
    (ErrorKind::BadResponse, "bad_response"),
    (ErrorKind::EmptyResponse, "empty_response"),
    (ErrorKind::ContentFiltered, "content_filtered"),
    (ErrorKind::OutputInvalid, "output_invalid"),
    (ErrorKind::BadStream, "bad_stream"),
    (ErrorKind::StreamInterrupted, "stream_interrupted"),
    (ErrorKind::Interrupted, "interrupted"),
    (ErrorKind::Replay, "replay"),
    (ErrorKind::Assertion, "assertion"),
    (ErrorKind::Internal, "internal"),
];

impl ErrorKind {
    /// Returns the name that scripts and JSON use, such as `limit.cpu`.
    ///
    /// ```
    /// use llmspell_core::{ErrorKind, Limit};
    /// assert_eq!(ErrorKind::Limit(Limit::Cpu).as_str(), "limit.cpu");
    /// ```
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Limit(limit) => limit.row().kind,
            kind => KINDS.iter().find(|(known, _)| *known == kind).map_or("internal", |(_, name)| name),
        }
    }

    /// Returns the kind with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        let limit = LIMITS.iter().find(|row| row.kind == name).map(|row| Self::Limit(row.limit));
        limit.or_else(|| KINDS.iter().find(|(_, known)| *known == name).map(|(kind, _)| *kind))
    }

    /// Returns whether the kind means that a model provider failed or does not exist.
    #[must_use]
    pub fn is_provider(self) -> bool {
        matches!(
            self,
            Self::NoProvider
                | Self::UnknownModel
                | Self::Auth
                | Self::Quota
                | Self::RateLimited
                | Self::Overloaded
                | Self::BadRequest
                | Self::ContextExceeded
                | Self::ModelLoading
                | Self::Unsupported
                | Self::Network
                | Self::Timeout
                | Self::BadResponse
                | Self::EmptyResponse
                | Self::ContentFiltered
                | Self::BadStream
                | Self::StreamInterrupted
        )
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for ErrorKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for ErrorKind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        Self::from_name(&name)
            .ok_or_else(|| serde::de::Error::custom(format_args!("`{name}` is not a kind of error")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_name_of_its_own_and_survives_json() {
        let limits = LIMITS.iter().map(|row| (ErrorKind::Limit(row.limit), row.kind));
        for (kind, name) in KINDS.iter().copied().chain(limits) {
            assert_eq!(kind.as_str(), name);
            let text = serde_json::to_string(&kind).unwrap();
            assert_eq!(serde_json::from_str::<ErrorKind>(&text).unwrap(), kind);
        }
    }
}
