//! The flags that grant permissions.

use std::path::{Path, PathBuf};

use clap::Args;
use llmspell::{Error, Grant, NetRule, Permissions, Result};

/// The permissions of the spell. Models are always allowed; everything else must be granted by a flag or an answer.
#[derive(Debug, Args)]
#[command(next_help_heading = "Permissions")]
pub(crate) struct Allow {
    /// Let the spell reach these hosts: host or host:port; *.host matches names with one more label
    #[arg(long = "allow-net", value_name = "HOST", value_delimiter = ',', require_equals = true)]
    net: Vec<NetRule>,
    /// Let the spell read files in these folders
    #[arg(long = "allow-read", value_name = "DIR", value_delimiter = ',', require_equals = true, value_parser = folder)]
    read: Vec<PathBuf>,
    /// Let the spell write files in these folders
    #[arg(long = "allow-write", value_name = "DIR", value_delimiter = ',', require_equals = true, value_parser = folder)]
    write: Vec<PathBuf>,
    /// Grant everything that the spell's manifest asks for, without a question
    #[arg(long = "allow-asked")]
    pub(crate) asked: bool,
    /// Grant all permissions
    #[arg(short = 'A', long = "allow-all")]
    all: bool,
    /// Never ask for permissions: deny what is not granted already
    #[arg(long)]
    pub(crate) no_prompt: bool,
}

impl Allow {
    /// Returns the permissions that the flags grant, whether the spell asks for them or not. Relative paths start
    /// at the working folder.
    pub(crate) fn granted(&self, working_folder: &Path) -> Permissions {
        if self.all {
            return Permissions::all();
        }
        Permissions {
            net: Grant::Only(self.net.clone()),
            read: Grant::Only(self.read.clone()),
            write: Grant::Only(self.write.clone()),
            ..Permissions::default()
        }
        .beneath(working_folder)
    }
}

/// Parses a folder on the command line. Shells do not expand `~` after a `=`.
fn folder(text: &str) -> Result<PathBuf> {
    match text {
        "" => Err(Error::config("expected a folder; `.` is the working folder")),
        text if text.starts_with('~') => {
            Err(Error::config("`~` means nothing here: write \"$HOME\", or ./~ for what has that name"))
        }
        text => Ok(text.into()),
    }
}
