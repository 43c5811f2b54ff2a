//! `llmspell runs`: lists, shows, compares, resumes and removes stored runs.

mod compare;
mod list;
mod prune;
mod resume;
mod show;

use std::sync::Arc;

use clap::{Args, Subcommand};
use llmspell::{Error, Result, RunStore, StoredRun};

pub(crate) use self::resume::ResumePlan;
use crate::environment;
use crate::exit::Exit;
use crate::report::Reporter;

/// Lists stored runs, the newest first
///
/// Each run is stored with all its requests and answers once it has an effect, unless it was started with
/// `--no-journal`. A run is named by its id, or by a unique prefix of it.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct RunsArgs {
    #[command(subcommand)]
    command: Option<RunsCommand>,
    #[command(flatten)]
    list: list::ListArgs,
}

#[derive(Debug, Subcommand)]
enum RunsCommand {
    Show(show::ShowArgs),
    Resume(Box<resume::ResumeArgs>),
    Diff(compare::DiffArgs),
    Prune(prune::PruneArgs),
}

impl RunsArgs {
    pub(crate) async fn execute(self, report: &Reporter) -> Result<Exit> {
        match self.command {
            None => self.list.execute(report).await,
            Some(RunsCommand::Show(args)) => args.execute(report).await,
            Some(RunsCommand::Resume(args)) => args.execute(report).await,
            Some(RunsCommand::Diff(args)) => args.execute().await,
            Some(RunsCommand::Prune(args)) => args.execute(report).await,
        }
    }
}

/// Returns the store of this user's runs.
///
/// # Errors
/// When the user has no state folder.
fn store() -> Result<Arc<dyn RunStore>> {
    environment::run_store().ok_or_else(|| {
        Error::config("there is no folder to keep runs in")
            .hint("set XDG_STATE_HOME, or HOME, to a whole path")
    })
}

/// Reads a whole run by its id or a prefix of it.
///
/// # Errors
/// When no run or several runs match, or the run is damaged.
async fn read(store: &dyn RunStore, id: &str) -> Result<StoredRun> {
    store.read(&store.resolve(id).await?).await
}
