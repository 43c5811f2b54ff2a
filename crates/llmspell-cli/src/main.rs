//! The command `llmspell`. This is the only crate that prints, reads the environment or exits the process.
//!
//! Each file in `commands` is one command, and the doc comments on its arguments are its help text. `args` parses the
//! command line, `report` formats everything on stderr, and `exit` maps errors to exit codes. Data goes to stdout, all
//! else to stderr.

mod args;
mod commands;
mod connect;
mod console;
mod environment;
mod exit;
mod format;
mod grant_store;
mod language;
mod output_args;
mod panic_hook;
mod progress;
mod report;
mod run_view;
mod signals;
mod stdout;
mod terminal;
mod writer;

use std::process::ExitCode;

use crate::args::Cli;

fn main() -> ExitCode {
    panic_hook::catch();
    let cli = Cli::read();
    let report = cli.talk.report();
    // I/O is driven by this thread; scripts run on threads of their own.
    let io = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(io) => io,
        Err(error) => return report.fail(&exit::io("cannot start", error)).into(),
    };
    let code = io.block_on(cli.execute(&report));
    // A blocked thread, such as one that waits for a line of input, must not keep the process alive.
    io.shutdown_background();
    code.into()
}
