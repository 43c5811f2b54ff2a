//! Exit codes, and the mapping from kinds of errors to them.

use std::io;
use std::process::ExitCode;

use clap::ValueEnum;
use llmspell::{Error, ErrorKind};

/// The exit codes of the process. The doc comment of each is its meaning in the help, the README and the guides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Exit {
    /// success
    Done = 0,
    /// the spell failed
    Failed = 1,
    /// wrong use: unknown spell, provider or model, wrong parameter, unreadable `.env`
    WrongUse = 2,
    /// permission denied
    Denied = 3,
    /// budget spent: tokens, cost or model calls
    Budget = 4,
    /// another limit reached: processor time, wall time, memory, output or tasks
    Limit = 5,
    /// the provider failed
    Provider = 6,
    /// no answer of the model matched its schema
    Output = 7,
    /// the run differs from its recording
    Replay = 8,
    /// a bug in llmspell
    Bug = 70,
    /// paused: before the run can resume, you must decide about an effect in doubt
    Paused = 75,
    /// interrupted
    Interrupted = 130,
    // Shells report this code for a program that SIGPIPE ended.
    /// stdout was closed
    Closed = 141,
}

impl Exit {
    /// Returns the code for an error. A spell's own HTTP request can fail with the same kinds as a provider, but gets
    /// another code.
    pub(crate) fn of(error: &Error) -> Self {
        match Self::of_kind(error.kind()) {
            Self::Provider if !error.is_provider() => Self::Failed,
            exit => exit,
        }
    }

    fn of_kind(kind: ErrorKind) -> Self {
        use ErrorKind as K;
        match kind {
            K::Load | K::Config | K::Conflict | K::NotFound | K::NoProvider | K::UnknownModel => {
                Self::WrongUse
            }
            K::PermissionDenied => Self::Denied,
            K::Budget => Self::Budget,
            K::Limit(limit) if limit.row().is_spending => Self::Budget,
            K::Limit(_) => Self::Limit,
            kind if kind.is_provider() => Self::Provider,
            K::OutputInvalid => Self::Output,
            K::Replay => Self::Replay,
            K::Interrupted => Self::Paused,
            K::Internal => Self::Bug,
            K::Cancelled => Self::Interrupted,
            // Syntax, runtime, argument, assertion, stopped, I/O and HTTP errors are failures of the spell.
            _ => Self::Failed,
        }
    }

    /// Returns the section of the help that lists all codes.
    pub(crate) fn help() -> String {
        let meaning = |exit: &Self| exit.to_possible_value().and_then(|value| value.get_help().cloned());
        let row = |exit: &Self| format!("  {:<5}{}", *exit as u8, meaning(exit).unwrap_or_default());
        let rows: Vec<String> = Self::value_variants().iter().map(row).collect();
        format!("Exit codes:\n{}", rows.join("\n"))
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        (exit as u8).into()
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
    std::process::exit(exit as i32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_its_code() {
        let table = [
            (1, "syntax runtime argument assertion stopped io http"),
            (2, "load config conflict not_found no_provider unknown_model"),
            (3, "permission.denied"),
            (4, "limit.tokens limit.cost limit.model_calls"),
            (5, "limit.cpu limit.wall limit.memory limit.output limit.tasks"),
            (
                6,
                "auth quota rate_limited overloaded bad_request context_exceeded model_loading unsupported network \
                 timeout bad_response empty_response content_filtered bad_stream stream_interrupted",
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
                assert_eq!(Exit::of_kind(kind) as u8, code, "{name}");
            }
        }
    }

    #[test]
    fn a_failed_request_of_the_spell_is_not_a_failed_provider() {
        for kind in [ErrorKind::Network, ErrorKind::Timeout, ErrorKind::BadResponse] {
            let mut error = Error::new(kind, "no answer");
            assert_eq!(Exit::of(&error), Exit::Failed);
            error.call_mut().provider = Some("openai".into());
            assert_eq!(Exit::of(&error), Exit::Provider);
        }
    }
}
