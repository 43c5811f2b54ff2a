//! What commands find goes to stdout; whoever reads it may have gone.

use std::io::{self, Write};

use llmspell::Result;
use serde::Serialize;

use crate::exit::{self, Exit};

/// Prints text.
///
/// # Errors
/// When stdout cannot be written for another reason than that nobody reads it.
pub(crate) fn print(text: &str) -> Result<Exit> {
    let mut stdout = io::stdout().lock();
    written(stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()))
}

/// Prints a value as JSON.
///
/// # Errors
/// When stdout cannot be written for another reason than that nobody reads it.
pub(crate) fn print_json(value: &impl Serialize) -> Result<Exit> {
    let text = serde_json::to_string_pretty(value).map_err(|error| exit::io("cannot print", error.into()))?;
    print(&format!("{text}\n"))
}

/// What it means to the command that stdout was written, or not.
///
/// # Errors
/// When it could not be for another reason than that nobody reads it.
pub(crate) fn written(result: io::Result<()>) -> Result<Exit> {
    match result {
        Ok(()) => Ok(Exit::DONE),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Exit::UNHEARD),
        Err(error) => Err(exit::io("cannot write to stdout", error)),
    }
}
