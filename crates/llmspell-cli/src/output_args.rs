//! The flags of every command, which say how it writes to stderr.

use std::io::IsTerminal;

use clap::Args;
use llmspell::LogLevel;

use crate::report::Reporter;
use crate::terminal::no_color;

/// The flags of every command.
#[derive(Debug, Args)]
pub(crate) struct OutputArgs {
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

impl OutputArgs {
    /// Returns how to write to stderr.
    pub(crate) fn report(&self) -> Reporter {
        let stderr = std::io::stderr().is_terminal();
        Reporter {
            level: match (self.quiet, self.verbose) {
                (true, _) => LogLevel::Warn,
                (_, true) => LogLevel::Debug,
                _ => LogLevel::Info,
            },
            colour: stderr && !no_color(),
            escape: stderr && !self.raw,
            raw: self.raw,
        }
    }
}
