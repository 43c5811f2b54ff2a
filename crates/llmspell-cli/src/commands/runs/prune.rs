//! `llmspell runs prune`.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Args;
use llmspell::{Result, Retention, RunList, RunStore, SweepStart, SweptRuns, parse_size, parse_span, sweep};

use super::store;
use crate::exit::Exit;
use crate::report::{Reporter, say};

/// Removes runs permanently, with all their requests and answers
///
/// If no run is given, removes runs that began more than 30 days ago and cached answers older than that, and then the
/// oldest runs until the journal is smaller than 1 GB. Runs in progress, runs with effects in doubt and, whatever their
/// size, runs of the last day stay. The same happens once a day at the end of a run.
#[derive(Debug, Args)]
pub(super) struct PruneArgs {
    /// The runs to remove
    #[arg(value_name = "RUN", conflicts_with_all = ["older_than", "max_size", "all"])]
    runs: Vec<String>,
    /// Remove runs that began longer ago than this, such as 7d or 12h
    #[arg(long, value_name = "TIME", value_parser = parse_span, default_value = "30d")]
    older_than: Duration,
    /// Remove the oldest runs until the journal is smaller than this, such as 500MB
    #[arg(long, value_name = "SIZE", value_parser = parse_size, default_value = "1GB")]
    max_size: u64,
    /// Remove all runs, those in doubt too
    #[arg(long, conflicts_with_all = ["older_than", "max_size"])]
    all: bool,
}

impl PruneArgs {
    pub(super) async fn execute(&self, report: &Reporter) -> Result<Exit> {
        let store = store()?;
        let pruned = match self.runs.is_empty() && !self.all {
            true => self.sweep(&*store).await?,
            false => self.remove(&*store).await?,
        };
        report.note(&described(&pruned)).iter().for_each(|note| say(note));
        Ok(Exit::Done)
    }

    /// Removes the named runs, or all.
    async fn remove(&self, store: &dyn RunStore) -> Result<SweptRuns> {
        let chosen = match self.all {
            true => ids(&store.list().await?),
            false => {
                let mut chosen = Vec::new();
                for run in &self.runs {
                    chosen.push(store.resolve(run).await?);
                }
                chosen
            }
        };
        let runs = store.remove(&chosen).await?;
        let answers = if self.all { store.remove_answers(Duration::ZERO).await? } else { 0 };
        Ok(SweptRuns { runs, answers, running: chosen.len() - runs, ..SweptRuns::default() })
    }

    /// Removes old runs, and damaged ones that are old or whose age is unknown.
    async fn sweep(&self, store: &dyn RunStore) -> Result<SweptRuns> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let oldest = (now - self.older_than.min(now)).as_secs_f64();
        let damaged = store.list().await?.damaged.into_iter();
        let damaged = damaged.filter(|run| run.started.is_none_or(|started| started < oldest));
        let damaged = store.remove(&damaged.map(|run| run.id).collect::<Vec<_>>()).await?;
        let retention = Retention { age: Some(self.older_than), bytes: Some(self.max_size) };
        let swept = sweep(store, &retention, SweepStart::Now, Duration::MAX).await?;
        Ok(SweptRuns { runs: swept.runs + damaged, ..swept })
    }
}

fn ids(list: &RunList) -> Vec<String> {
    let runs = list.runs.iter().map(|run| &run.info.run_id);
    runs.chain(list.damaged.iter().map(|run| &run.id)).cloned().collect()
}

/// Describes what was removed and what was not.
fn described(pruned: &SweptRuns) -> String {
    const MEGABYTE: u64 = 1 << 20;
    let SweptRuns { runs, answers, in_doubt, running, freed, .. } = pruned;
    let plural = |count: usize| if count == 1 { "" } else { "s" };
    let mut text = format!("{runs} run{} removed", plural(*runs));
    let mut add = |part: String| {
        text.push_str(", ");
        text.push_str(&part);
    };
    if *answers > 0 {
        add(format!("{answers} answer{} out of the cache", plural(*answers)));
    }
    if *freed >= MEGABYTE {
        add(format!("{} MB freed", freed / MEGABYTE));
    }
    if *running > 0 {
        add(format!("{running} still running"));
    }
    if *in_doubt > 0 {
        add(format!("{in_doubt} kept with effects in doubt"));
    }
    text
}
