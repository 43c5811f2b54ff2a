//! The command line as it is written; each command turns its part into what it means.

use std::io::IsTerminal;

use clap::{Args, Parser, Subcommand, ValueEnum};
use llmspell::LogLevel;

use crate::commands::check::CheckArgs;
use crate::commands::doc::DocArgs;
use crate::commands::models::ModelsArgs;
use crate::commands::providers::ProvidersArgs;
use crate::commands::run::RunArgs;
use crate::exit::Exit;
use crate::report::Report;

/// Runs spells: small sandboxed scripts that put language models to work.
///
/// Exit codes: 0 done · 1 the spell failed · 2 wrong use · 3 permission denied · 4 budget spent · 5 time, memory or
/// other limit · 6 the provider failed · 8 replay mismatch · 130 interrupted.
#[derive(Debug, Parser)]
#[command(name = "llmspell", version, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    talk: Talk,
}

/// Flags of every command.
#[derive(Debug, Args)]
struct Talk {
    /// Say only what is wrong: warnings and errors
    #[arg(short, long, global = true, display_order = 100, conflicts_with = "verbose")]
    quiet: bool,
    /// Say more: the spell's debug logs too
    #[arg(short, long, global = true, display_order = 101)]
    verbose: bool,
    /// Write text to a terminal as it is, control characters and all
    #[arg(long, global = true, display_order = 102)]
    raw: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(Box<RunArgs>),
    Check(CheckArgs),
    Models(ModelsArgs),
    Providers(ProvidersArgs),
    Doc(DocArgs),
}

/// How a command that prints a table writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    #[default]
    Text,
    /// One JSON value.
    Json,
}

impl Cli {
    /// How to talk to the user.
    pub(crate) fn report(&self) -> Report {
        let stderr = std::io::stderr().is_terminal();
        Report {
            level: match (self.talk.quiet, self.talk.verbose) {
                (true, _) => LogLevel::Warn,
                (_, true) => LogLevel::Debug,
                _ => LogLevel::Info,
            },
            colour: stderr && !no_color(),
            escape: stderr && !self.talk.raw,
            raw: self.talk.raw,
        }
    }

    /// Runs the command to its exit code; what goes wrong has been reported then.
    pub(crate) async fn execute(self, report: &Report) -> Exit {
        let result = match self.command {
            Command::Run(args) => args.execute(report).await,
            Command::Check(args) => args.execute(report),
            Command::Models(args) => args.execute(report).await,
            Command::Providers(args) => args.execute(report).await,
            Command::Doc(args) => args.execute(),
        };
        result.unwrap_or_else(|error| report.fail(&error))
    }
}

/// See no-color.org: any value but an empty one turns colour off.
#[expect(clippy::disallowed_methods, reason = "how the command prints is its own affair")]
fn no_color() -> bool {
    std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
