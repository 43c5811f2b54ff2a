//! Exit codes, and the mapping from kinds of errors to them.

use std::io;
use std::process::ExitCode;

use llmspell::{Error, ErrorKind, Limit};

/// An exit code of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Exit(u8);

impl Exit {
    /// Success.
    pub(crate) const DONE: Self = Self(0);
    /// The spell failed.
    pub(crate) const FAILED: Self = Self(1);
    /// A bug in llmspell.
    pub(crate) const BUG: Self = Self(70);
    /// The reader of stdout has closed it. Shells report this code for a program that SIGPIPE ended.
    pub(crate) const UNHEARD: Self = Self(141);

    const WRONG_USE: Self = Self(2);
    const DENIED: Self = Self(3);
    const BUDGET: Self = Self(4);
    const LIMIT: Self = Self(5);
    const PROVIDER: Self = Self(6);
    const OUTPUT: Self = Self(7);
    const REPLAY: Self = Self(8);
    const PAUSED: Self = Self(75);
    const INTERRUPTED: Self = Self(130);

    /// Returns the code for an error. A spell's own HTTP request can fail with the same kinds as a provider, but gets
    /// another code.
    pub(crate) fn of(error: &Error) -> Self {
        match Self::of_kind(error.kind()) {
            Self::PROVIDER if !error.is_provider() => Self::FAILED,
            exit => exit,
        }
    }

    fn of_kind(kind: ErrorKind) -> Self {
        use ErrorKind as K;
        match kind {
            K::Load | K::Config | K::Conflict | K::NotFound | K::NoProvider | K::UnknownModel => {
                Self::WRONG_USE
            }
            K::PermissionDenied => Self::DENIED,
            K::Budget | K::Limit(Limit::Tokens | Limit::Cost | Limit::ModelCalls) => Self::BUDGET,
            K::Limit(_) => Self::LIMIT,
            kind if kind.is_provider() => Self::PROVIDER,
            K::OutputInvalid => Self::OUTPUT,
            K::Replay => Self::REPLAY,
            K::Interrupted => Self::PAUSED,
            K::Internal => Self::BUG,
            K::Cancelled => Self::INTERRUPTED,
            // Syntax, runtime, argument, assertion, stopped, I/O and HTTP errors are failures of the spell.
            _ => Self::FAILED,
        }
    }

    /// Returns the code as a number.
    pub(crate) fn code(self) -> i32 {
        self.0.into()
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        exit.0.into()
    }
}

/// Returns an I/O error of the command itself.
pub(crate) fn io(what: &str, error: io::Error) -> Error {
    Error::new(ErrorKind::Io, format!("{what}: {error}")).with_source(error)
}

/// Ends the process at once, whatever its threads are doing.
#[expect(
    clippy::disallowed_methods,
    reason = "a native that holds its thread can only be ended with the process"
)]
pub(crate) fn now(exit: Exit) -> ! {
    std::process::exit(exit.code())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_the_code_that_the_documentation_says() {
        let table = [
            (1, "syntax runtime argument assertion stopped io http"),
            (2, "load config conflict not_found no_provider unknown_model"),
            (3, "permission.denied"),
            (4, "limit.tokens limit.cost limit.model_calls"),
            (5, "limit.cpu limit.wall limit.memory limit.output limit.tasks"),
            (
                6,
                "auth quota rate_limited overloaded bad_request unsupported network timeout bad_response \
                 empty_response bad_stream stream_interrupted",
            ),
            (7, "output_invalid"),
            (8, "replay"),
            (70, "internal"),
            (75, "interrupted"),
            (130, "cancelled"),
        ];
        for (code, kinds) in table {
            for name in kinds.split_whitespace() {
                let kind = ErrorKind::from_name(name).expect(name);
                assert_eq!(Exit::of_kind(kind).code(), code, "{name}");
            }
        }
    }

    #[test]
    fn a_failed_request_of_the_spell_is_not_a_failed_provider() {
        for kind in [ErrorKind::Network, ErrorKind::Timeout, ErrorKind::BadResponse] {
            let mut error = Error::new(kind, "no answer");
            assert_eq!(Exit::of(&error), Exit::FAILED);
            error.call_mut().provider = Some("openai".into());
            assert_eq!(Exit::of(&error), Exit::PROVIDER);
        }
    }
}
