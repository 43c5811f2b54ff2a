//! The flags that grant.

use std::path::{Path, PathBuf};

use clap::Args;
use llmspell::{Error, Grant, NetRule, Permissions, Result};

/// What the spell may touch: models, and nothing else that is not granted here or in answer to a question.
#[derive(Debug, Args)]
#[command(next_help_heading = "Permissions")]
pub(crate) struct Allow {
    /// Let it reach these hosts: host or host:port; *.host is all one label beneath
    #[arg(long = "allow-net", value_name = "HOST", value_delimiter = ',', require_equals = true)]
    net: Vec<NetRule>,
    /// Let it read files in these folders
    #[arg(long = "allow-read", value_name = "DIR", value_delimiter = ',', require_equals = true, value_parser = folder)]
    read: Vec<PathBuf>,
    /// Let it write files in these folders
    #[arg(long = "allow-write", value_name = "DIR", value_delimiter = ',', require_equals = true, value_parser = folder)]
    write: Vec<PathBuf>,
    /// Let it see these environment variables
    #[arg(long = "allow-env", value_name = "NAME", value_delimiter = ',', require_equals = true)]
    env: Vec<String>,
    /// Let it start these programs
    #[arg(long = "allow-run", value_name = "PROG", value_delimiter = ',', require_equals = true)]
    run: Vec<String>,
    /// Let it use these MCP servers
    #[arg(long = "allow-mcp", value_name = "NAME", value_delimiter = ',', require_equals = true)]
    mcp: Vec<String>,
    /// Grant what its manifest asks for, without a question
    #[arg(long = "allow-asked")]
    pub(crate) asked: bool,
    /// Grant everything, as to a program of your own
    #[arg(short = 'A', long = "allow-all")]
    all: bool,
    /// Ask nothing: what no flag grants is denied
    #[arg(long)]
    pub(crate) no_prompt: bool,
}

impl Allow {
    /// What the flags grant by themselves, asked for or not. Relative paths are beneath the working folder.
    pub(crate) fn granted(&self, working_folder: &Path) -> Permissions {
        if self.all {
            return Permissions::all();
        }
        Permissions {
            net: Grant::Only(self.net.clone()),
            read: Grant::Only(self.read.clone()),
            write: Grant::Only(self.write.clone()),
            env: Grant::Only(self.env.clone()),
            run: Grant::Only(self.run.clone()),
            mcp: Grant::Only(self.mcp.clone()),
        }
        .beneath(working_folder)
    }
}

/// A folder on the command line. Shells leave `~` as it is behind a `=`.
fn folder(text: &str) -> Result<PathBuf> {
    match text {
        "" => Err(Error::config("expected a folder; `.` is the working folder")),
        text if text.starts_with('~') => {
            Err(Error::config("`~` means nothing here: write \"$HOME\", or ./~ for what has that name"))
        }
        text => Ok(text.into()),
    }
}
