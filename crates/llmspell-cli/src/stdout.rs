//! Output of commands on stdout. A closed pipe, as with `llmspell models | head`, is not an error.

use std::io::{self, Write};

use clap::ValueEnum;
use llmspell::Result;
use serde::Serialize;

use crate::exit::{self, Exit};

/// The format of a command's result on stdout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Format {
    /// Text for people.
    #[default]
    Text,
    /// One JSON value.
    Json,
}

/// Prints text.
///
/// # Errors
/// When stdout cannot be written, except because its reader has closed it.
pub(crate) fn print(text: &str) -> Result<Exit> {
    let mut stdout = io::stdout().lock();
    written(stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()))
}

/// Prints a value as JSON.
///
/// # Errors
/// When stdout cannot be written, except because its reader has closed it.
pub(crate) fn print_json(value: &impl Serialize) -> Result<Exit> {
    let text = serde_json::to_string_pretty(value).map_err(|error| exit::io("cannot print", error.into()))?;
    print(&format!("{text}\n"))
}

/// Converts the result of a write to stdout to an exit code.
///
/// # Errors
/// When the write failed, except because the reader has closed stdout.
pub(crate) fn written(result: io::Result<()>) -> Result<Exit> {
    match result {
        Ok(()) => Ok(Exit::Done),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Exit::Closed),
        Err(error) => Err(exit::io("cannot write to stdout", error)),
    }
}
