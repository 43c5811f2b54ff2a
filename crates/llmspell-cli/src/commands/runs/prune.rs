//! `llmspell runs prune`.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Args;
use llmspell::{Result, RunList, parse_span};

use super::store;
use crate::exit::Exit;
use crate::report::{Reporter, say};

/// Removes runs permanently, with all their requests and answers
///
/// If no run is given, removes runs that began more than 30 days ago and cached answers older than that. Runs in
/// progress are not removed.
#[derive(Debug, Args)]
pub(super) struct PruneArgs {
    /// The runs to remove
    #[arg(value_name = "RUN", conflicts_with_all = ["older_than", "all"])]
    runs: Vec<String>,
    /// Remove runs that began longer ago than this, such as 7d or 12h
    #[arg(long, value_name = "TIME", value_parser = parse_span, default_value = "30d")]
    older_than: Duration,
    /// Remove all runs
    #[arg(long, conflicts_with = "older_than")]
    all: bool,
}

impl PruneArgs {
    pub(super) async fn execute(&self, report: &Reporter) -> Result<Exit> {
        let store = store()?;
        let chosen = match self.runs.as_slice() {
            [] => self.old(&store.list().await?),
            named => {
                let mut chosen = Vec::new();
                for run in named {
                    chosen.push(store.resolve(run).await?);
                }
                chosen
            }
        };
        let removed = store.remove(&chosen).await?;
        let busy = chosen.len() - removed;
        let answers = match (self.runs.is_empty(), self.all) {
            (false, _) => 0,
            (true, true) => store.remove_answers(Duration::ZERO).await?,
            (true, false) => store.remove_answers(self.older_than).await?,
        };
        let plural = |count| if count == 1 { "" } else { "s" };
        let mut text = format!("{removed} run{} removed", plural(removed));
        if answers > 0 {
            // Writing to a string does not fail.
            let _ = write!(text, ", {answers} answer{} out of the cache", plural(answers));
        }
        if busy > 0 {
            let _ = write!(text, ", {busy} still running");
        }
        report.note(&text).iter().for_each(|note| say(note));
        Ok(Exit::Done)
    }

    /// Returns the runs that began long enough ago. Damaged runs without a readable start count as old.
    fn old(&self, list: &RunList) -> Vec<String> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let before = (now - self.older_than.min(now)).as_secs_f64();
        let runs = list.runs.iter().map(|run| (&run.info.run_id, Some(run.started)));
        let damaged = list.damaged.iter().map(|run| (&run.id, run.started));
        runs.chain(damaged)
            .filter(|(_, started)| self.all || started.is_none_or(|started| started < before))
            .map(|(id, _)| id.clone())
            .collect()
    }
}
