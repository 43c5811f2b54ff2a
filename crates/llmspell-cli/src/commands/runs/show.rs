//! `llmspell runs show`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Args;
use llmspell::trace::{EffectEvent, EffectStage};
use llmspell::{Result, RunSummary, StoredEffect, StoredRun, Value};
use serde::Serialize;

use super::list::state;
use super::{read, store};
use crate::exit::Exit;
use crate::format;
use crate::report::Reporter;
use crate::stdout::{Format, print, print_json};
use crate::terminal::escape_name;

/// Shows the effects of a run as a tree of its tasks, with times, tokens and cost
#[derive(Debug, Args)]
pub(super) struct ShowArgs {
    /// The run's id, or a unique prefix
    run: String,
    /// What to write to stdout; JSON includes all requests and answers
    #[arg(long, value_enum, default_value_t)]
    output: Format,
}

impl ShowArgs {
    pub(super) async fn execute(&self, report: &Reporter) -> Result<Exit> {
        let run = read(&*store()?, &self.run).await?;
        match self.output {
            Format::Json => print_json(&ShownRun::of(&run)),
            Format::Text => print(&report.safe_out(&text(&run))),
        }
    }
}

#[derive(Serialize)]
struct ShownRun<'a> {
    #[serde(flatten)]
    summary: &'a RunSummary,
    effects: Vec<ShownEffect<'a>>,
}

#[derive(Serialize)]
struct ShownEffect<'a> {
    at: String,
    operation: String,
    request: &'a Value,
    /// The start, in seconds since the start of the run.
    began: f64,
    /// The duration in seconds; absent if the effect never ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    took: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    answer: Option<&'a Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a llmspell::Error>,
}

impl<'a> ShownRun<'a> {
    fn of(run: &'a StoredRun) -> Self {
        let effects = run.effects.iter().map(|done| {
            let answer = done.entry.end.as_ref().map(|end| end.answer.as_ref());
            ShownEffect {
                at: done.entry.effect.path.to_string(),
                operation: operation(done),
                request: &done.entry.effect.ask.request,
                began: done.began.as_secs_f64(),
                took: done.took.map(|took| took.as_secs_f64()),
                answer: answer.and_then(Result::ok),
                error: answer.and_then(Result::err),
            }
        });
        Self { summary: &run.summary, effects: effects.collect() }
    }
}

fn operation(done: &StoredEffect) -> String {
    let ask = &done.entry.effect.ask;
    format!("{}.{}", ask.capability, ask.operation)
}

fn text(run: &StoredRun) -> String {
    let summary = &run.summary;
    let mut text = String::new();
    let mut row = |name: &str, value: &str| {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{name:<6}  {value}");
    };
    row("run", &escape_name(&summary.info.run_id));
    let version = summary.info.version.as_deref().map(|version| format!(" {version}")).unwrap_or_default();
    row("spell", &escape_name(&format!("{}{version}", summary.info.spell)));
    for (name, value) in &summary.info.params {
        row("param", &format!("{} = {}", escape_name(name), serde_json::json!(value)));
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    row("began", &format::ago(now - summary.started));
    let took = summary.ended.map(|ended| format!(" after {}", format::seconds(ended - summary.started)));
    let took = took.unwrap_or_default();
    row("state", &format!("{}{took}", state(summary.state)));
    if let Some(error) = &summary.error {
        row("error", &escape_name(error.message()));
    }
    if let Some(usage) = summary.usage.as_ref().filter(|_| summary.model_calls > 0) {
        let calls = summary.model_calls;
        let plural = if calls == 1 { "" } else { "s" };
        let (tokens, cost) = (format::tokens(usage), format::cost(usage));
        row("models", &format!("{calls} call{plural}, {tokens}, cost {cost}"));
    }
    let tree = ShownTask::tree(&run.effects);
    if !run.effects.is_empty() {
        text.push_str("\nmain\n");
        tree.draw("", &mut text);
    }
    text
}

/// A task of the run, with its effects and its child tasks.
#[derive(Default)]
struct ShownTask<'a> {
    effects: Vec<&'a StoredEffect>,
    tasks: BTreeMap<&'a str, ShownTask<'a>>,
}

enum TreeBranch<'t, 'a> {
    Effect(&'a StoredEffect),
    Task(&'a str, &'t ShownTask<'a>),
}

impl<'a> ShownTask<'a> {
    fn tree(effects: &'a [StoredEffect]) -> Self {
        let mut root = Self::default();
        for effect in effects {
            let mut task = &mut root;
            // A step is the root of its own path.
            for name in effect.entry.effect.path.task.split('.').filter(|name| *name != "main") {
                task = task.tasks.entry(name).or_default();
            }
            task.effects.push(effect);
        }
        root
    }

    /// Returns the time of the first effect in the task.
    fn began(&self) -> std::time::Duration {
        let own = self.effects.iter().map(|effect| effect.began);
        own.chain(self.tasks.values().map(Self::began)).min().unwrap_or_default()
    }

    fn draw(&self, indent: &str, text: &mut String) {
        let effects = self.effects.iter().map(|effect| (effect.began, TreeBranch::Effect(effect)));
        let tasks = self.tasks.iter().map(|(name, task)| (task.began(), TreeBranch::Task(name, task)));
        let mut branches: Vec<_> = effects.chain(tasks).collect();
        branches.sort_by_key(|(began, _)| *began);
        let last = branches.len().saturating_sub(1);
        for (at, (_, branch)) in branches.iter().enumerate() {
            let (corner, deeper) = if at == last { ("└─", "   ") } else { ("├─", "│  ") };
            match branch {
                TreeBranch::Effect(effect) => {
                    let _ = writeln!(text, "{indent}{corner} {}", line(effect));
                }
                TreeBranch::Task(name, task) => {
                    let kind = if name.starts_with("step(") { "" } else { "task " };
                    let _ = writeln!(text, "{indent}{corner} {kind}{}", escape_name(name));
                    task.draw(&format!("{indent}{deeper}"), text);
                }
            }
        }
    }
}

/// Describes an effect in one line: operation, result and duration.
fn line(done: &StoredEffect) -> String {
    let took = done.took.map(|took| took.as_secs_f64());
    let line = format::effect(&EffectEvent::ended(&done.entry, EffectStage::Ended, took));
    if done.entry.end.is_none() { format!("{line}  never ended") } else { line }
}
