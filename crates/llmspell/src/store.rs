//! Run stores: where runs and what they did outlive their process.
//!
//! A [`RunStore`] keeps for each run what it was given ([`RunInfo`]) and the records of its effects. `llmspell runs`,
//! resume, and the answer cache work on this trait, so they work with every store. All stores pass one suite of tests,
//! `tests/store/`.
//!
//! # Ownership
//!
//! A run has at most one owner. [`create`](RecordSink::create) and [`claim`](RunStore::claim) return a [`Lease`], and each
//! claim raises the run's *epoch*. Every append carries its lease, and the store refuses it when the epoch has moved on.
//! This fence, and nothing else, keeps two processes from writing one run: whether an owner is still alive is a hint for
//! deciding if a claim is polite.
//!
//! # What is durable when
//!
//! [`append`](RecordSink::append) commits a batch of records whole or not at all. When it returns, the batch survives the
//! end of the process. A batch that holds a [`Record::Started`] that somebody waits for also survives a power failure.
//!
//! # What a run leaves behind
//!
//! - An idempotent effect ([`Record::Done`]) is recorded when it ends: until then it has not happened.
//! - A non-idempotent effect is recorded before it happens (`Started`) and when it ends (`Ended`). A start without an end
//!   is *in doubt*: nobody knows whether it happened.
//! - An answer that arrives in parts has a `Started`, its `Part`s, and an `Ended`.

mod file;
mod memory;
mod sqlite;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use futures_util::future::BoxFuture;
use llmspell_core::cache::Cache;
use llmspell_core::chat::Usage;
use llmspell_core::effect::{Effect, EffectPath, End, Entry};
use llmspell_core::{Error, ErrorKind, Outcome, Parts, Result, Value};
use serde::Serialize;

pub(crate) use self::file::RecordingFile;
pub use self::memory::MemoryStore;
pub use self::sqlite::SqliteStore;
use crate::journal::RunInfo;
use crate::spell::{Spell, change};

/// Takes in the records of runs. See the [module](self) for the rules that every implementation follows.
///
/// Methods may block the thread that polls their futures for as long as a disk takes, so a busy program polls them on a
/// thread of their own.
pub trait RecordSink: Send + Sync + fmt::Debug {
    /// Creates a run, owned by this process.
    ///
    /// # Errors
    /// `conflict` when there is a run with this id; `io` when the store cannot be written.
    fn create<'a>(&'a self, run: &'a NewRun) -> BoxFuture<'a, Result<Lease>>;

    /// Appends records to a run, all or none.
    ///
    /// # Errors
    /// `conflict` when the lease is stale: another process has claimed the run. `io` when the store cannot be written.
    fn append<'a>(&'a self, lease: &'a Lease, records: &'a [Record]) -> BoxFuture<'a, Result<()>>;

    /// Gives a run up without an outcome; it can be claimed again. A stale lease changes nothing.
    ///
    /// # Errors
    /// `io` when the store cannot be written.
    fn release<'a>(&'a self, lease: &'a Lease) -> BoxFuture<'a, Result<()>>;
}

/// Keeps runs, so that they can be looked at and resumed, and cached answers.
pub trait RunStore: RecordSink + Cache {
    /// Takes a run over, so that it can go on. Its earlier owner, if it still lives, can write nothing more.
    ///
    /// # Errors
    /// `not_found` when there is no such run; `conflict` when its owner lives and `claim` is [`Claim::IfFree`];
    /// `unsupported` when a newer program made it.
    fn claim<'a>(&'a self, id: &'a str, claim: Claim) -> BoxFuture<'a, Result<Lease>>;

    /// All runs, the newest first. A damaged row hides no other run.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn list(&self) -> BoxFuture<'_, Result<RunList>>;

    /// The whole id of the only run whose id begins like this. The run itself may be damaged.
    ///
    /// # Errors
    /// `not_found` when there is none, `conflict` when there are several.
    fn resolve<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<String>>;

    /// A run with all that it did, by its whole id.
    ///
    /// # Errors
    /// `not_found` when there is none; `replay` when it is damaged.
    fn load<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<StoredRun>>;

    /// Removes runs for good, with all that they did, and returns how many there were. Runs with a living owner stay.
    ///
    /// # Errors
    /// When the store cannot be written.
    fn remove<'a>(&'a self, ids: &'a [String]) -> BoxFuture<'a, Result<usize>>;

    /// Removes the cached answers that are at least this old, and returns how many there were.
    ///
    /// # Errors
    /// When the store cannot be written.
    fn remove_answers(&self, age: Duration) -> BoxFuture<'_, Result<usize>>;
}

/// The version of what journals hold. A run of a newer one is not resumed.
pub(crate) const JOURNAL_FORMAT: i64 = 2;

/// A run that begins.
#[derive(Debug, Clone)]
pub struct NewRun {
    /// What it is given.
    pub info: RunInfo,
    /// Where its spell was loaded from.
    pub path: Option<PathBuf>,
    /// The folder in which it looks up relative paths.
    pub working_dir: Option<PathBuf>,
    /// When it began.
    pub started: SystemTime,
}

/// The right to append to a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// The run.
    pub run_id: String,
    /// How many owners the run has had, this one included.
    pub epoch: u64,
}

/// How a run is claimed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// Only when no living process owns it.
    IfFree,
    /// In any case: the earlier owner is fenced.
    TakeOver,
}

/// One record of a run. Times are measured since the run began.
#[derive(Debug, Clone)]
pub enum Record {
    /// An effect starts.
    Started {
        /// The effect.
        effect: Effect,
        /// When.
        began: Duration,
    },
    /// A part of the answer of an effect that has started has arrived.
    Part {
        /// The effect.
        path: EffectPath,
        /// The part's place in the order of the run's answers.
        order: u64,
        /// The part; the first is the head of the answer.
        part: Value,
    },
    /// An effect that has started has ended.
    Ended {
        /// The effect.
        path: EffectPath,
        /// When.
        ended: Duration,
        /// Its answer. Of an answer in parts, only its end.
        end: End,
    },
    /// An effect of which no start was recorded has ended.
    Done {
        /// The effect.
        effect: Effect,
        /// When it began.
        began: Duration,
        /// When it ended.
        ended: Duration,
        /// Its answer.
        end: End,
    },
    /// The modules that the run has looked for, with the SHA-256 of each; `None` where there was no such file. What the run
    /// began with stays.
    Modules(BTreeMap<String, Option<String>>),
    /// The run has printed and logged so many lines, or is about to.
    Lines(u64),
    /// The run has ended.
    Closed {
        /// When.
        at: SystemTime,
        /// Why it failed.
        error: Option<Error>,
        /// What its model calls used.
        usage: Usage,
        /// How many model calls it made.
        model_calls: u64,
        /// How many lines it printed and logged.
        lines: u64,
    },
}

impl Record {
    /// The effect, if this is a part of its answer.
    pub(crate) fn part_of(&self) -> Option<&EffectPath> {
        match self {
            Self::Part { path, .. } => Some(path),
            _ => None,
        }
    }

    /// The end of a run.
    #[must_use]
    pub fn closed(outcome: &Outcome, lines: u64) -> Self {
        Self::Closed {
            at: SystemTime::now(),
            error: outcome.error.clone(),
            usage: outcome.usage.clone(),
            model_calls: outcome.model_calls,
            lines,
        }
    }
}

/// Whether a run is running, or how it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// A living process owns it.
    Running,
    /// It has succeeded.
    Done,
    /// It has ended with an error; it can be resumed.
    Failed,
    /// Its process ended before it did; it can be resumed.
    Died,
}

/// A run, without what it did.
#[derive(Debug, Clone, Serialize)]
pub struct RunSummary {
    /// What it was given.
    #[serde(flatten)]
    pub info: RunInfo,
    /// Where its spell was loaded from; a relative path is relative to the working folder.
    pub path: Option<PathBuf>,
    /// The folder in which it looked up relative paths.
    pub working_dir: Option<PathBuf>,
    /// Whether it is running, or how it ended.
    pub state: RunState,
    /// When it began, in seconds since 1970.
    pub started: f64,
    /// When it ended, in seconds since 1970.
    pub ended: Option<f64>,
    /// Why it failed.
    pub error: Option<Error>,
    /// What its model calls used; nothing while it has not ended.
    pub usage: Option<Usage>,
    /// How many model calls it made.
    pub model_calls: u64,
    /// How many lines it had printed and logged when that was last recorded.
    #[serde(skip)]
    pub lines: u64,
}

/// The runs of a store, the newest first.
#[derive(Debug, Clone, Default)]
pub struct RunList {
    /// Those that can be read.
    pub runs: Vec<RunSummary>,
    /// Those whose row is damaged: they can only be removed.
    pub damaged: Vec<DamagedRun>,
}

/// A run whose row cannot be read.
#[derive(Debug, Clone)]
pub struct DamagedRun {
    /// Its id, with U+FFFD for what is not UTF-8.
    pub id: String,
    /// When it began, in seconds since 1970, if that can still be read.
    pub started: Option<f64>,
    /// Why it cannot be read.
    pub error: Error,
}

/// An effect of a run, with its times.
#[derive(Debug, Clone)]
pub struct StoredEffect {
    /// What was done, and its answer.
    pub entry: Entry,
    /// What has arrived of an answer in parts that has no end.
    pub parts: Parts,
    /// When it began, since the run did.
    pub began: Duration,
    /// How long it took; `None` when it never ended.
    pub took: Option<Duration>,
}

/// A run with all that it did.
#[derive(Debug, Clone)]
pub struct StoredRun {
    /// What it was given, and its state.
    pub summary: RunSummary,
    /// What it did, in the order in which it began.
    pub effects: Vec<StoredEffect>,
}

impl StoredRun {
    /// The non-idempotent effects in doubt: nobody knows whether they happened, since the run ended, or failed last, while
    /// they were under way.
    pub fn in_doubt(&self) -> impl Iterator<Item = &Effect> {
        let tried_again = self.tried_again();
        let open = self.effects.iter().filter(move |effect| match &effect.entry.end {
            Some(end) => end.order >= tried_again,
            None => true,
        });
        open.map(|effect| &effect.entry.effect).filter(|effect| !effect.ask.repeatable)
    }

    /// The spell, if it is the one that ran, to [resume](crate::Cast::resume) the run with: it loads the modules that the
    /// run had loaded only as they were.
    ///
    /// # Errors
    /// Of kind `conflict` when the spell or such a module has changed; and when a file cannot be read.
    pub fn same_spell(&self, spell: Spell) -> Result<Spell> {
        let RunInfo { run_id, digest, modules, .. } = &self.summary.info;
        let changed = |message: String| Err(Error::new(ErrorKind::Conflict, message));
        for (path, before) in modules {
            if let Some(change) = change(before.as_deref(), spell.module_digest(path)?.as_deref()) {
                return changed(format!("{path} was {change} since run {run_id} began"));
            }
        }
        if spell.digest()? != *digest {
            return changed(format!("the spell has changed since run {run_id} began"));
        }
        Ok(spell.pinned_to(modules.clone()))
    }

    /// How many of its lines are not shown again when it goes on.
    pub(crate) fn lines_shown(&self) -> u64 {
        let tried_again = self.tried_again();
        let ends = self.effects.iter().filter_map(|effect| effect.entry.end.as_ref());
        let (again, before): (Vec<_>, Vec<_>) = ends.partition(|end| end.order >= tried_again);
        match again.iter().map(|end| end.said).min() {
            // What it says after that may be different this time.
            Some(lines) => lines,
            None => before.iter().map(|end| end.said).max().unwrap_or(0).max(self.summary.lines),
        }
    }

    /// The place in the [order](End::order) from which on every effect failed. A run that goes on tries these again;
    /// failures before that place were survived and happen as they did.
    pub(crate) fn tried_again(&self) -> u64 {
        let succeeded = self.effects.iter().filter(|effect| effect.entry.error().is_none());
        succeeded.filter_map(|effect| Some(effect.entry.end.as_ref()?.order)).max().unwrap_or(0) + 1
    }
}

/// The error of an append with a stale lease.
fn fenced(lease: &Lease) -> Error {
    let id = &lease.run_id;
    Error::new(
        ErrorKind::Conflict,
        format!("another process has taken over run {id}; this one can write nothing more"),
    )
    .hint(format!("`llmspell runs show {id}` shows how far it is"))
}

fn no_such_run(id: &str) -> Error {
    Error::new(ErrorKind::NotFound, format!("there is no run `{id}`")).hint("`llmspell runs` lists them")
}

fn owned(id: &str) -> Error {
    Error::new(ErrorKind::Conflict, format!("run {id} is under way in another process"))
}
