//! `llmspell runs prune`.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Args;
use llmspell::{Result, RunState, RunSummary, parse_span};

use super::kept;
use crate::exit::Exit;
use crate::report::{Report, say};

/// Removes runs for good, with all that they asked and were answered
///
/// Without a run's name, those that began more than 30 days ago, and answers in the cache that are older. A run that is
/// under way stays.
#[derive(Debug, Args)]
pub(super) struct PruneArgs {
    /// Remove these
    #[arg(value_name = "RUN", conflicts_with_all = ["older_than", "all"])]
    runs: Vec<String>,
    /// Remove those that began longer ago, such as 7d or 12h
    #[arg(long, value_name = "TIME", value_parser = parse_span, default_value = "30d")]
    older_than: Duration,
    /// Remove them all
    #[arg(long, conflicts_with = "older_than")]
    all: bool,
}

impl PruneArgs {
    pub(super) fn execute(&self, report: &Report) -> Result<Exit> {
        let runs = kept()?;
        let chosen: Vec<RunSummary> = match self.runs.as_slice() {
            [] => {
                let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                let before = (now - self.older_than.min(now)).as_secs_f64();
                runs.list()?.into_iter().filter(|run| self.all || run.started < before).collect()
            }
            named => named.iter().map(|run| Ok(runs.find(run)?.summary)).collect::<Result<_>>()?,
        };
        let busy = chosen.iter().filter(|run| run.state == RunState::Running).count();
        let removed = runs.remove(chosen.iter().map(|run| run.info.run_id.as_str()))?;
        let answers = match (self.runs.is_empty(), self.all) {
            (false, _) => 0,
            (true, true) => runs.remove_answers(Duration::ZERO)?,
            (true, false) => runs.remove_answers(self.older_than)?,
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
        Ok(Exit::DONE)
    }
}
