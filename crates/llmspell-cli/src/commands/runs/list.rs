//! `llmspell runs` without a subcommand.

use std::fmt::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Args;
use llmspell::{DamagedRun, Error, Result, RunList, RunState, RunSummary};
use serde::Serialize;

use super::store;
use crate::commands::run::execute::short;
use crate::exit::Exit;
use crate::format;
use crate::report::{Reporter, say};
use crate::stdout::{Format, print, print_json};
use crate::terminal::escape_name;

#[derive(Debug, Args)]
pub(super) struct ListArgs {
    /// Maximum number of runs to list
    #[arg(short = 'n', long, value_name = "COUNT", default_value_t = 20)]
    limit: usize,
    /// What to write to stdout
    #[arg(long, value_enum, default_value_t)]
    output: Format,
}

impl ListArgs {
    pub(super) async fn execute(&self, report: &Reporter) -> Result<Exit> {
        let RunList { mut runs, damaged } = store()?.list().await?;
        let all = runs.len();
        runs.truncate(self.limit);
        let printed = match self.output {
            Format::Json => print_json(&json(&runs, &damaged))?,
            Format::Text if runs.is_empty() => Exit::Done,
            Format::Text => print(&table(&runs, SystemTime::now()))?,
        };
        for DamagedRun { id, error, .. } in &damaged {
            let id = escape_name(id);
            say(&report.warning(&format!("run {id}: {error}; `llmspell runs prune {id}` removes it")));
        }
        let note = match (self.output, all - runs.len()) {
            (Format::Text, _) if all == 0 && damaged.is_empty() => report.note("no run is kept yet"),
            (Format::Text, more) if more > 0 => report.note(&format!("{more} more; -n {all} lists them all")),
            _ => None,
        };
        note.iter().for_each(|note| say(note));
        Ok(printed)
    }
}

/// Returns the runs as an array. Damaged runs come last, with the state `damaged`.
fn json<'a>(runs: &'a [RunSummary], damaged: &'a [DamagedRun]) -> Vec<ListedRun<'a>> {
    let damaged = damaged.iter().map(|DamagedRun { id, started, error }| ListedRun::Damaged {
        run_id: id,
        state: "damaged",
        started: *started,
        error,
    });
    runs.iter().map(ListedRun::Readable).chain(damaged).collect()
}

#[derive(Serialize)]
#[serde(untagged)]
enum ListedRun<'a> {
    Readable(&'a RunSummary),
    Damaged { run_id: &'a str, state: &'static str, started: Option<f64>, error: &'a Error },
}

/// Returns the name of a state.
pub(super) fn state(state: RunState) -> &'static str {
    match state {
        RunState::Running => "running",
        RunState::Done => "done",
        RunState::Failed => "failed",
        RunState::Died => "died",
    }
}

fn table(runs: &[RunSummary], now: SystemTime) -> String {
    let head = ["RUN", "STATE", "BEGAN", "TOOK", "CALLS", "COST", "SPELL"].map(str::to_owned);
    let rows: Vec<[String; 7]> = std::iter::once(head).chain(runs.iter().map(|run| row(run, now))).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let widths: [usize; 6] = std::array::from_fn(width);
    let mut text = String::new();
    for [run, state, began, took, calls, cost, spell] in &rows {
        // Writing to a string does not fail.
        let _ = writeln!(
            text,
            "{run:<w0$}  {state:<w1$}  {began:>w2$}  {took:>w3$}  {calls:>w4$}  {cost:>w5$}  {spell}",
            w0 = widths[0],
            w1 = widths[1],
            w2 = widths[2],
            w3 = widths[3],
            w4 = widths[4],
            w5 = widths[5],
        );
    }
    text
}

fn row(run: &RunSummary, now: SystemTime) -> [String; 7] {
    let unknown = || "-".to_owned();
    let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    let version = run.info.version.as_deref().map(|version| format!(" {version}")).unwrap_or_default();
    [
        escape_name(short(&run.info.run_id)),
        state(run.state).to_owned(),
        format::ago(now - run.started),
        run.ended.map_or_else(unknown, |ended| format::seconds(ended - run.started)),
        if run.ended.is_some() { run.model_calls.to_string() } else { unknown() },
        run.usage.as_ref().filter(|_| run.model_calls > 0).map_or_else(unknown, format::cost),
        escape_name(&format!("{}{version}", run.info.spell)),
    ]
}
