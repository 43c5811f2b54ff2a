//! Exit codes: which one belongs to which kind of error.

use std::io;
use std::process::ExitCode;

use llmspell::{Error, ErrorKind, Limit};

/// The code the process ends with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Exit(u8);

impl Exit {
    /// All went well.
    pub(crate) const DONE: Self = Self(0);
    /// The spell failed.
    pub(crate) const FAILED: Self = Self(1);
    /// A bug in llmspell.
    pub(crate) const BUG: Self = Self(70);
    /// Nobody reads what is printed; what a shell says of a program that SIGPIPE ended.
    pub(crate) const UNHEARD: Self = Self(141);

    const WRONG_USE: Self = Self(2);
    const DENIED: Self = Self(3);
    const BUDGET: Self = Self(4);
    const LIMIT: Self = Self(5);
    const PROVIDER: Self = Self(6);
    const REPLAY: Self = Self(8);
    const INTERRUPTED: Self = Self(130);

    /// The code for an error of this kind.
    pub(crate) fn of(kind: ErrorKind) -> Self {
        use ErrorKind as K;
        match kind {
            K::Load | K::Config | K::Conflict | K::NotFound | K::NoProvider | K::UnknownModel => {
                Self::WRONG_USE
            }
            K::PermissionDenied => Self::DENIED,
            K::Limit(Limit::Tokens | Limit::Cost | Limit::ModelCalls) => Self::BUDGET,
            K::Limit(_) => Self::LIMIT,
            kind if kind.is_provider() => Self::PROVIDER,
            K::Replay => Self::REPLAY,
            K::Internal => Self::BUG,
            K::Cancelled => Self::INTERRUPTED,
            // Syntax, runtime, argument, stopped, I/O: the spell failed.
            _ => Self::FAILED,
        }
    }

    /// The number itself.
    pub(crate) fn code(self) -> i32 {
        self.0.into()
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        exit.0.into()
    }
}

/// An error of the command's own input and output.
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
            (1, "syntax runtime argument stopped io"),
            (2, "load config conflict not_found no_provider unknown_model"),
            (3, "permission.denied"),
            (4, "limit.tokens limit.cost limit.model_calls"),
            (5, "limit.cpu limit.wall limit.memory limit.output limit.tasks"),
            (
                6,
                "auth quota rate_limited overloaded bad_request unsupported network timeout bad_response \
                 empty_response bad_stream stream_interrupted",
            ),
            (8, "replay"),
            (70, "internal"),
            (130, "cancelled"),
        ];
        for (code, kinds) in table {
            for name in kinds.split_whitespace() {
                let kind = ErrorKind::from_name(name).expect(name);
                assert_eq!(Exit::of(kind).code(), code, "{name}");
            }
        }
    }
}
