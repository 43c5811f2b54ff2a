//! The command line as clap parses it. Each command converts its arguments to the options it works with.

use std::ffi::OsString;
use std::io::IsTerminal;

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use llmspell::LogLevel;

use crate::commands::check::CheckArgs;
use crate::commands::doc::DocArgs;
use crate::commands::models::ModelsArgs;
use crate::commands::providers::ProvidersArgs;
use crate::commands::run::RunArgs;
use crate::commands::runs::RunsArgs;
use crate::commands::test::TestArgs;
use crate::commands::types::TypesArgs;
use crate::exit::Exit;
use crate::report::Reporter;

/// Runs spells: small sandboxed scripts that put language models to work.
#[derive(Debug, Parser)]
#[command(name = "llmspell", version, max_term_width = 100, after_help = Exit::help())]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: CliCommand,
    #[command(flatten)]
    talk: OutputArgs,
}

/// The flags of every command.
#[derive(Debug, Args)]
struct OutputArgs {
    /// Print only warnings and errors to stderr
    #[arg(short, long, global = true, display_order = 100, conflicts_with = "verbose")]
    quiet: bool,
    /// Print more, such as the spell's debug logs and its agents' tool calls
    #[arg(short, long, global = true, display_order = 101)]
    verbose: bool,
    /// Write control characters to a terminal without escaping them
    #[arg(long, global = true, display_order = 102)]
    raw: bool,
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

/// The format of a command's result on stdout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Format {
    /// Text for people.
    #[default]
    Text,
    /// One JSON value.
    Json,
}

/// Returns the long flags of `run`, without dashes.
pub(crate) fn run_flags() -> Vec<String> {
    let cli = Cli::command();
    let run = cli.find_subcommand("run");
    let flags = cli.get_arguments().chain(run.into_iter().flat_map(clap::Command::get_arguments));
    let flags = flags.filter_map(|flag| flag.get_long().map(str::to_owned));
    flags.chain(["help".to_owned()]).collect()
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

    /// Returns how to write to stderr.
    pub(crate) fn report(&self) -> Reporter {
        let stderr = std::io::stderr().is_terminal();
        Reporter {
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

/// Whether colour is turned off, by any value of `NO_COLOR` except an empty one (see no-color.org).
#[expect(clippy::disallowed_methods, reason = "how the command prints is its own affair")]
pub(crate) fn no_color() -> bool {
    std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
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
