//! The command `llmspell`: the only crate that prints, reads the environment or exits.
//!
//! Each file of `commands` is one command; its arguments' doc comments are its help. `args` reads the command line,
//! `report` words what goes to stderr, `exit` picks the exit code.

mod args;
mod bug;
mod commands;
mod connect;
mod console;
mod environment;
mod exit;
mod figures;
mod language;
mod progress;
mod remembered;
mod report;
mod screen;
mod signals;
mod stdout;
mod terminal;
mod writer;

use std::process::ExitCode;

use crate::args::Cli;

fn main() -> ExitCode {
    bug::catch();
    let cli = Cli::read();
    let report = cli.report();
    // I/O is driven by this thread; scripts have threads of their own.
    let io = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(io) => io,
        Err(error) => return report.fail(&exit::io("cannot start", error)).into(),
    };
    let code = io.block_on(cli.execute(&report));
    // A thread that still waits for a line of input must not hold the process.
    io.shutdown_background();
    code.into()
}
