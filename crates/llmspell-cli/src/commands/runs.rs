//! `llmspell runs`: the runs that are kept.

mod compare;
mod list;
mod prune;
mod resume;
mod show;

use std::sync::Arc;

use clap::{Args, Subcommand};
use llmspell::{Error, Result, RunStore, StoredRun};

pub(crate) use self::resume::Again;
use crate::environment;
use crate::exit::Exit;
use crate::report::Report;

/// Lists the runs that are kept, the newest first
///
/// Every run that did anything is kept, with all that it asked and was answered, unless it was told `--no-journal`. A run
/// is named by its id, or by as much of its beginning as no other one has.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct RunsArgs {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    list: list::ListArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    Show(show::ShowArgs),
    Resume(Box<resume::ResumeArgs>),
    Diff(compare::DiffArgs),
    Prune(prune::PruneArgs),
}

impl RunsArgs {
    pub(crate) async fn execute(self, report: &Report) -> Result<Exit> {
        match self.command {
            None => self.list.execute(report).await,
            Some(Command::Show(args)) => args.execute(report).await,
            Some(Command::Resume(args)) => args.execute(report).await,
            Some(Command::Diff(args)) => args.execute().await,
            Some(Command::Prune(args)) => args.execute(report).await,
        }
    }
}

/// The store of this user's runs.
///
/// # Errors
/// When there is no folder for it.
fn store() -> Result<Arc<dyn RunStore>> {
    environment::run_store().ok_or_else(|| {
        Error::config("there is no folder to keep runs in")
            .hint("set XDG_STATE_HOME, or HOME, to a whole path")
    })
}

/// A run by its id, or the beginning of it.
///
/// # Errors
/// When there is none, or more than one, or it is damaged.
async fn find(store: &dyn RunStore, id: &str) -> Result<StoredRun> {
    store.load(&store.resolve(id).await?).await
}
