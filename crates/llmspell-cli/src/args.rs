//! The command line as clap parses it. Each command converts its arguments to the options it works with.

use std::ffi::OsString;

use clap::{Parser, Subcommand};

use crate::commands::check::CheckArgs;
use crate::commands::doc::DocArgs;
use crate::commands::models::ModelsArgs;
use crate::commands::providers::ProvidersArgs;
use crate::commands::run::{RunArgs, run_flags};
use crate::commands::runs::RunsArgs;
use crate::commands::test::TestArgs;
use crate::commands::types::TypesArgs;
use crate::exit::Exit;
use crate::output_args::OutputArgs;
use crate::report::Reporter;

/// Runs spells: small sandboxed scripts that put language models to work.
#[derive(Debug, Parser)]
#[command(name = "llmspell", version, max_term_width = 100, after_help = Exit::help())]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: CliCommand,
    #[command(flatten)]
    pub(crate) talk: OutputArgs,
}

#[derive(Debug, Subcommand)]
enum CliCommand {
    Run(Box<RunArgs>),
    Runs(Box<RunsArgs>),
    Check(CheckArgs),
    Test(Box<TestArgs>),
    Models(ModelsArgs),
    Providers(ProvidersArgs),
    Doc(DocArgs),
    Types(TypesArgs),
}

/// Moves the spell's own `--name=value` arguments behind `--`, where clap takes them as positional. Elsewhere it would
/// refuse them as unknown flags.
fn arrange(words: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut words: Vec<OsString> = words.collect();
    // This works because no flag that may precede the command takes a value.
    let command = words.iter().skip(1).position(|word| !word.as_encoded_bytes().starts_with(b"-"));
    let Some(start) = command.map(|at| at + 1).filter(|at| words[*at] == "run") else { return words };
    let end = words.iter().position(|word| word == "--").unwrap_or(words.len());
    let flags = run_flags();
    let is_ours = |word: &OsString| match word.to_str().and_then(|word| word.strip_prefix("--")) {
        Some(flag) => flags.iter().any(|known| Some(known.as_str()) == flag.split('=').next()),
        None => true,
    };
    let rest = words.split_off(end);
    let (ours, of_spell): (Vec<_>, Vec<_>) = words.drain(start..).partition(is_ours);
    words.extend(ours);
    if !of_spell.is_empty() || !rest.is_empty() {
        words.push("--".into());
    }
    words.extend(of_spell);
    words.extend(rest.into_iter().skip(1));
    words
}

impl Cli {
    /// Parses the command line. Help, the version and usage errors end the process here.
    pub(crate) fn read() -> Self {
        Self::parse_from(arrange(std::env::args_os()))
    }

    /// Runs the command and returns its exit code. An error has been reported by then.
    pub(crate) async fn execute(self, report: &Reporter) -> Exit {
        let result = match self.command {
            CliCommand::Run(args) => args.execute(report).await,
            CliCommand::Runs(args) => args.execute(report).await,
            CliCommand::Check(args) => args.execute(report),
            CliCommand::Test(args) => args.execute(report).await,
            CliCommand::Models(args) => args.execute(report).await,
            CliCommand::Providers(args) => args.execute(report).await,
            CliCommand::Doc(args) => args.execute(),
            CliCommand::Types(args) => args.execute(report),
        };
        result.unwrap_or_else(|error| report.fail(&error))
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn flags_of_the_spell_go_behind_those_of_the_command() {
        for (written, arranged) in [
            ("llmspell run s --name=x -q a=b --raw", "llmspell run s -q a=b --raw -- --name=x"),
            (
                "llmspell -q run s --timeout=5s --times=5 -- b=c",
                "llmspell -q run s --timeout=5s -- --times=5 b=c",
            ),
            ("llmspell run s -m x --help", "llmspell run s -m x --help"),
            ("llmspell models --nmae=x", "llmspell models --nmae=x"),
            ("llmspell", "llmspell"),
        ] {
            let words = arrange(written.split(' ').map(OsString::from));
            assert_eq!(words, arranged.split(' ').collect::<Vec<_>>());
        }
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
