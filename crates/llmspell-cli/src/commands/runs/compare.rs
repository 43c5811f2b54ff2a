//! `llmspell runs diff`.

use std::fmt::Write as _;
use std::path::Path;

use clap::Args;
use llmspell::effect::JournalEntry;
use llmspell::{Recording, Result, RunStore, compare};

use super::{read, store};
use crate::exit::Exit;
use crate::stdout::{Format, print, print_json};
use crate::terminal::escape_name;

/// Compares the effects of two runs of a spell
///
/// Each run is given by its id, or as a recording by its file. The exit code is 1 if the runs differ.
#[derive(Debug, Args)]
pub(super) struct DiffArgs {
    /// The first run
    #[arg(value_name = "RUN")]
    first: String,
    /// The second run
    #[arg(value_name = "RUN")]
    second: String,
    /// What to write to stdout
    #[arg(long, value_enum, default_value_t)]
    output: Format,
}

impl DiffArgs {
    pub(super) async fn execute(&self) -> Result<Exit> {
        let store = store()?;
        let first = entries(&*store, &self.first).await?;
        let changes = compare(&first, &entries(&*store, &self.second).await?)?;
        let printed = match self.output {
            Format::Json => print_json(&changes)?,
            Format::Text => {
                let mut text = String::new();
                for change in &changes {
                    // Writing to a string does not fail.
                    let _ = writeln!(
                        text,
                        "{}",
                        escape_name(&format!("{} {}  {}", change.at, change.operation, change.what))
                    );
                }
                print(&text)?
            }
        };
        Ok(if changes.is_empty() { printed } else { printed.max(Exit::Failed) })
    }
}

async fn entries(store: &dyn RunStore, named: &str) -> Result<Vec<JournalEntry>> {
    let file = Path::new(named);
    if file.is_file() {
        return Ok(Recording::read(file)?.entries);
    }
    Ok(read(store, named).await?.effects.into_iter().map(|effect| effect.entry).collect())
}
