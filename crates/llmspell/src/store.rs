//! Run stores: runs and their records outlive their process here.
//!
//! A [`RunStore`] holds for each run its inputs ([`RunInfo`]) and the records of its effects. `llmspell runs`, resume
//! and the answer cache work on this trait, so they work with every store. All stores pass one test suite,
//! `tests/store.rs`.
//!
//! | implementation | for |
//! |---|---|
//! | [`SqliteStore`] | runs on this machine; several processes may use one store |
//! | [`MemoryStore`] | tests, and programs that inspect runs while they last |
//! | `RecordingFile` | recording one run into a file; only a [`RecordSink`] |
//!
//! # The life of a run
//!
//! 1. [`create`](RecordSink::create) adds the run, just before its first record. The caller owns it and receives a
//!    [`Lease`].
//! 2. [`append`](RecordSink::append) adds batches of [`JournalRecord`]s, the last one with [`JournalRecord::Closed`].
//! 3. If the process dies, or calls [`release`](RecordSink::release), the run has no owner.
//! 4. To resume the run, a process calls [`claim`](RunStore::claim) and receives a new lease.
//!
//! # Ownership
//!
//! A run has at most one owner. Each claim raises the run's *epoch*. Every append carries its lease, and the store
//! refuses a lease with an older epoch. Only this fence keeps two processes from writing one run. Whether the owner is
//! still alive is a hint: it decides whether a claim with [`Claim::IfFree`] succeeds.
//!
//! # Durability
//!
//! [`append`](RecordSink::append) commits a batch completely or not at all. When it returns, the batch survives the end
//! of the process. If the batch contains the [`JournalRecord::Started`] of an effect that is not idempotent, it also
//! survives a power failure.
//!
//! # The records of an effect
//!
//! - An idempotent effect has one record, [`JournalRecord::Done`], written when it ends.
//! - An effect that is not idempotent is recorded before it happens (`Started`) and when it ends (`Ended`). A start
//!   without an end is *in doubt*: nobody knows whether the effect happened.
//! - A streamed answer has a `Started`, its `Part`s and an `Ended`.
//!
//! # Example
//!
//! | the script does | records |
//! |---|---|
//! | `llm.chat("hi")`, idempotent | `Done(main#1)` |
//! | `http.post(url)`, not idempotent | `Started(main#2)`, then the request, then `Ended(main#2)` |
//! | `print("hello")` | `Lines(1)` |
//! | returns | `Closed` |

mod file;
mod memory;
mod retention;
mod sqlite;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use futures_util::future::BoxFuture;
use llmspell_core::cache::Cache;
use llmspell_core::chat::Usage;
use llmspell_core::effect::{Answer, Effect, EffectPath, EffectResult, JournalEntry};
use llmspell_core::{Error, ErrorKind, Outcome, RecordedStream, Result, Value};
use serde::Serialize;

pub(crate) use self::file::RecordingFile;
pub use self::memory::MemoryStore;
pub use self::retention::{Retention, SweepStart, SweptRuns, sweep};
pub use self::sqlite::SqliteStore;
use crate::journal::RunInfo;
use crate::journal::blobs::{RequestDigest, damaged};
use crate::spell::{Spell, change};

/// Receives the records of runs. The [module](self) describes the rules for implementations.
///
/// Methods may block the thread that polls their futures while they access a disk, so a busy program polls them on a
/// separate thread.
pub trait RecordSink: Send + Sync + fmt::Debug {
    /// Creates a run that this process owns.
    ///
    /// # Errors
    /// `conflict` if a run with this id exists; `io` when the store cannot be written.
    fn create<'a>(&'a self, run: &'a NewRun) -> BoxFuture<'a, Result<Lease>>;

    /// Appends records to a run, all of them or none.
    ///
    /// # Errors
    /// `conflict` when the lease is stale: another process has claimed the run. `io` when the store cannot be written.
    fn append<'a>(&'a self, lease: &'a Lease, records: &'a [JournalRecord]) -> BoxFuture<'a, Result<()>>;

    /// Appends records on the calling thread if that takes only a moment; it never waits for another process, a network
    /// or the disk. Returns `None` without an effect if [`append`](Self::append) is needed. That is always correct.
    ///
    /// # Errors
    /// Those of `append`.
    fn try_append(&self, lease: &Lease, records: &[JournalRecord]) -> Option<Result<()>> {
        let _ = (lease, records);
        None
    }

    /// Gives up a run without an outcome, so that it can be claimed. A stale lease has no effect.
    ///
    /// # Errors
    /// `io` when the store cannot be written.
    fn release<'a>(&'a self, lease: &'a Lease) -> BoxFuture<'a, Result<()>>;
}

/// Stores runs and cached answers. Stored runs can be inspected and resumed.
pub trait RunStore: RecordSink + Cache {
    /// Takes over a run in order to resume it. The previous owner, if it is still alive, can no longer append. The last
    /// failures of a run that failed are forgotten, because the new owner tries those effects again.
    ///
    /// # Errors
    /// `not_found` if the run does not exist; `conflict` if its owner is alive and `claim` is [`Claim::IfFree`];
    /// `unsupported` if a newer version of this program wrote the run.
    fn claim<'a>(&'a self, id: &'a str, claim: Claim) -> BoxFuture<'a, Result<Lease>>;

    /// Lists all runs, the newest first. A damaged row hides no other run.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn list(&self) -> BoxFuture<'_, Result<RunList>>;

    /// Returns the full id of the only run whose id has this prefix. The run itself may be damaged.
    ///
    /// # Errors
    /// `not_found` if there is no such run, `conflict` if there are several.
    fn resolve<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<String>>;

    /// Loads the index of a run, by its full id. Large answers are not part of it, so it needs little memory.
    ///
    /// # Errors
    /// `not_found` if the run does not exist; `replay` if it is damaged.
    fn load<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<RunIndex>>;

    /// Returns the recorded answer of an effect. Of a streamed answer without an end, it returns the parts that
    /// arrived.
    ///
    /// The script's thread blocks on this future, which must therefore not depend on that thread.
    ///
    /// # Errors
    /// `replay` if the answer is missing or damaged.
    fn answer<'a>(&'a self, id: &'a str, path: &'a EffectPath) -> BoxFuture<'a, Result<Answer>>;

    /// Returns an effect with its request and answer.
    ///
    /// # Errors
    /// `replay` if the effect is missing or damaged.
    fn effect<'a>(&'a self, id: &'a str, path: &'a EffectPath) -> BoxFuture<'a, Result<StoredEffect>>;

    /// Reads a whole run with all requests and answers, for display.
    ///
    /// # Errors
    /// Those of [`load`](Self::load) and [`effect`](Self::effect).
    fn read<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<StoredRun>> {
        Box::pin(async move {
            let RunIndex { summary, effects: indexed } = self.load(id).await?;
            let mut effects = Vec::with_capacity(indexed.len());
            for effect in indexed {
                effects.push(self.effect(id, &effect.path).await?);
            }
            Ok(StoredRun { summary, effects })
        })
    }

    /// Removes runs and their effects permanently. Returns how many were removed. Runs with a living owner are not
    /// removed.
    ///
    /// # Errors
    /// When the store cannot be written.
    fn remove<'a>(&'a self, ids: &'a [String]) -> BoxFuture<'a, Result<usize>>;

    /// Removes a slice of the runs and cached answers that `retention` does not keep. It takes about 50 ms. The
    /// function [`sweep`] repeats it.
    ///
    /// # Errors
    /// When the store cannot be read or written.
    fn sweep<'a>(&'a self, retention: &'a Retention, start: SweepStart) -> BoxFuture<'a, Result<SweptRuns>>;

    /// Removes cached answers of at least this age. Returns how many were removed.
    ///
    /// # Errors
    /// When the store cannot be written.
    fn remove_answers(&self, age: Duration) -> BoxFuture<'_, Result<usize>>;
}

/// The version of the record format. Runs with a newer version are not resumed.
pub(crate) const JOURNAL_FORMAT: i64 = 2;

/// A run to create.
#[derive(Debug, Clone)]
pub struct NewRun {
    /// The inputs.
    pub info: RunInfo,
    /// The origin of its spell.
    pub path: Option<PathBuf>,
    /// The folder for relative paths.
    pub working_dir: Option<PathBuf>,
    /// The start time.
    pub started: SystemTime,
}

/// The right to append to a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// The run's id.
    pub run_id: String,
    /// The run's epoch: how many owners it has had, including this one.
    pub epoch: u64,
}

/// The conditions of a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// Only if no living process owns the run.
    IfFree,
    /// Always; the previous owner is fenced.
    TakeOver,
}

/// A record of a run. Durations are measured from the start of the run.
#[derive(Debug, Clone)]
pub enum JournalRecord {
    /// An effect starts.
    Started {
        /// The effect.
        effect: Effect,
        /// The time of the start.
        began: Duration,
    },
    /// A part of a streamed answer arrived.
    Part {
        /// The effect's path.
        path: EffectPath,
        /// The sequence number of the part among the run's answers.
        order: u64,
        /// The part. The first one is the head of the answer.
        part: Value,
    },
    /// A started effect ended.
    Ended {
        /// The effect's path.
        path: EffectPath,
        /// The time of the end.
        ended: Duration,
        /// The answer; for a streamed answer, only its end.
        end: EffectResult,
    },
    /// An effect without a recorded start ended.
    Done {
        /// The effect.
        effect: Effect,
        /// The time of the start.
        began: Duration,
        /// The time of the end.
        ended: Duration,
        /// The answer.
        end: EffectResult,
    },
    /// The SHA-256 of each module that the run has looked for; `None` if there is no such file. Entries from the
    /// beginning of the run are not overwritten.
    Modules(BTreeMap<String, Option<String>>),
    /// The number of lines that the run has printed and logged, or is about to.
    Lines(u64),
    /// The run ended.
    Closed {
        /// The time of the end.
        at: SystemTime,
        /// The error, if it failed.
        error: Option<Error>,
        /// The usage of its model calls.
        usage: Usage,
        /// How many model calls it made.
        model_calls: u64,
        /// How many lines it printed and logged.
        lines: u64,
    },
}

impl JournalRecord {
    /// Returns whether this is the start of an effect that is not idempotent. It must survive a power failure, because
    /// the effect would be repeated without it.
    pub(crate) fn is_write_ahead(&self) -> bool {
        matches!(self, Self::Started { effect, .. } if !effect.ask.repeatable)
    }

    /// Returns the effect's path, if this is a part of its answer.
    pub(crate) fn part_of(&self) -> Option<&EffectPath> {
        match self {
            Self::Part { path, .. } => Some(path),
            _ => None,
        }
    }

    /// Creates the record of a run's end.
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

/// The state of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// A living process owns it.
    Running,
    /// It succeeded.
    Done,
    /// It ended with an error and can be resumed.
    Failed,
    /// Its process died, so it can be resumed.
    Died,
}

/// A run without its effects.
#[derive(Debug, Clone, Serialize)]
pub struct RunSummary {
    /// The inputs.
    #[serde(flatten)]
    pub info: RunInfo,
    /// The origin of its spell. A relative path is relative to the working folder.
    pub path: Option<PathBuf>,
    /// The folder for relative paths.
    pub working_dir: Option<PathBuf>,
    /// The state.
    pub state: RunState,
    /// The start, in seconds since 1970.
    pub started: f64,
    /// The end, in seconds since 1970.
    pub ended: Option<f64>,
    /// The error, if it failed.
    pub error: Option<Error>,
    /// The usage of its model calls; `None` until it has ended.
    pub usage: Option<Usage>,
    /// How many model calls it made.
    pub model_calls: u64,
    /// How many lines it had printed and logged, according to the last record.
    #[serde(skip)]
    pub lines: u64,
}

/// The runs of a store, the newest first.
#[derive(Debug, Clone, Default)]
pub struct RunList {
    /// The readable runs.
    pub runs: Vec<RunSummary>,
    /// The runs with a damaged row, which can only be removed.
    pub damaged: Vec<DamagedRun>,
}

/// A run whose row cannot be read.
#[derive(Debug, Clone)]
pub struct DamagedRun {
    /// The id, with U+FFFD for invalid UTF-8.
    pub id: String,
    /// The start, in seconds since 1970, if it is readable.
    pub started: Option<f64>,
    /// The reason.
    pub error: Error,
}

/// An effect of a run, with its times.
#[derive(Debug, Clone)]
pub struct StoredEffect {
    /// The effect and its answer.
    pub entry: JournalEntry,
    /// The parts of a streamed answer that has no end.
    pub parts: RecordedStream,
    /// The start of the effect, measured from the start of the run.
    pub began: Duration,
    /// The duration; `None` if the effect never ended.
    pub took: Option<Duration>,
}

/// A run with its effects.
#[derive(Debug, Clone)]
pub struct StoredRun {
    /// The inputs and the state.
    pub summary: RunSummary,
    /// The effects, in the order of their starts.
    pub effects: Vec<StoredEffect>,
}

/// The index of a run: everything that a resume has to know before it starts. Large answers stay in the store until
/// their effects ask for them.
#[derive(Debug, Clone)]
pub struct RunIndex {
    /// The inputs and the state.
    pub summary: RunSummary,
    /// The effects, in the order of their starts.
    pub effects: Vec<IndexedEffect>,
}

/// An effect in the index of its run.
#[derive(Debug, Clone)]
pub struct IndexedEffect {
    /// The effect's name.
    pub path: EffectPath,
    /// The capability: `models`, `net`, ….
    pub capability: String,
    /// The operation: `chat`, `fetch`, ….
    pub operation: String,
    /// Whether the effect is idempotent.
    pub repeatable: bool,
    /// The digest of the request.
    pub digest: RequestDigest,
    /// The request, if a resumed run may perform the effect again.
    pub request: Option<Value>,
    /// The end; `None` if the effect never ended.
    pub end: Option<IndexedEnd>,
    /// The parts of a streamed answer that has no end.
    pub arrived: ArrivedParts,
    /// The start of the effect, measured from the start of the run.
    pub began: Duration,
    /// The duration; `None` if the effect never ended.
    pub took: Option<Duration>,
}

/// The end of an effect in the index of its run.
#[derive(Debug, Clone)]
pub struct IndexedEnd {
    /// The position among all answers of the run.
    pub order: u64,
    /// How many lines the run had printed and logged by then.
    pub said: u64,
    /// Whether the effect failed.
    pub failed: bool,
    /// The size of the stored answer in bytes, without its large texts and bytes.
    pub size: u64,
    /// The answer, if it is small.
    pub answer: Option<Answer>,
}

/// How much of a streamed answer arrived before a crash.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ArrivedParts {
    /// The sequence number of the last part; 0 without parts.
    pub last_order: u64,
    /// Whether a chunk arrived, and not only the head. A resumed run then delivers the parts again.
    pub has_chunks: bool,
}

impl ArrivedParts {
    fn of(parts: &RecordedStream) -> Self {
        Self { last_order: parts.last_order(), has_chunks: parts.clone().arrived().is_some() }
    }
}

/// The size up to which the index holds an answer, in bytes of its stored form.
const SMALL_ANSWER: i64 = 256;

impl RunIndex {
    /// Returns the effects in doubt. They are not idempotent, and were in progress when the run ended or were among its
    /// last failures, so nobody knows whether they happened.
    pub fn in_doubt(&self) -> impl Iterator<Item = &IndexedEffect> {
        let tried_again = self.tried_again();
        self.effects.iter().filter(move |effect| !effect.repeatable && effect.is_open(tried_again))
    }

    /// Checks that `spell` is the spell that ran. Returns it for [`RunBuilder::resume`](crate::RunBuilder::resume),
    /// restricted to the modules that the run had loaded, in the same versions.
    ///
    /// # Errors
    /// `conflict` if the spell or one of these modules has changed; also when a file cannot be read.
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

    /// Returns how many lines are not shown again when the run is resumed.
    pub(crate) fn lines_shown(&self) -> u64 {
        let tried_again = self.tried_again();
        let ends = self.effects.iter().filter_map(|effect| effect.end.as_ref());
        let (again, before): (Vec<_>, Vec<_>) = ends.partition(|end| end.order >= tried_again);
        match again.iter().map(|end| end.said).max() {
            // Lines after the last failure may differ this time. Those before it were shown, and none is shown twice.
            Some(lines) => lines,
            None => before.iter().map(|end| end.said).max().unwrap_or(0).max(self.summary.lines),
        }
    }

    /// Returns the sequence number from which every answer is a failure of a run that failed. A resumed run tries these
    /// effects again. The script survived the failures before that number, so they are replayed. If the process died,
    /// the script may have survived all of them and printed lines since, so all are replayed.
    pub(crate) fn tried_again(&self) -> u64 {
        if self.summary.state != RunState::Failed {
            return u64::MAX;
        }
        let ends = self.effects.iter().filter_map(|effect| effect.end.as_ref());
        ends.filter(|end| !end.failed).map(|end| end.order).max().unwrap_or(0) + 1
    }

    /// Returns the highest sequence number of an answer or a part of one.
    pub(crate) fn last_order(&self) -> u64 {
        let orders = self.effects.iter().map(|effect| match &effect.end {
            Some(end) => end.order.max(effect.arrived.last_order),
            None => effect.arrived.last_order,
        });
        orders.max().unwrap_or(0)
    }
}

impl IndexedEffect {
    /// Returns whether the effect ended at or after `tried_again`, which is a failure.
    fn has_failed(&self, tried_again: u64) -> bool {
        self.end.as_ref().is_some_and(|end| end.order >= tried_again)
    }

    /// Returns whether a resumed run may perform the effect again: it has no end, or failed at or after `tried_again`.
    pub(crate) fn is_open(&self, tried_again: u64) -> bool {
        self.end.as_ref().is_none_or(|end| end.order >= tried_again)
    }
}

/// Returns the error of an append with a stale lease.
fn fenced(lease: &Lease) -> Error {
    let id = &lease.run_id;
    Error::new(
        ErrorKind::Conflict,
        format!("another process has taken over run {id}; this one can write nothing more"),
    )
    .hint(format!("`llmspell runs show {id}` shows how far it is"))
}

fn no_such_effect(path: &EffectPath) -> Error {
    damaged(&format!("effect {path} is missing"))
}

fn no_such_run(id: &str) -> Error {
    Error::new(ErrorKind::NotFound, format!("there is no run `{id}`")).hint("`llmspell runs` lists them")
}

fn owned(id: &str) -> Error {
    Error::new(ErrorKind::Conflict, format!("run {id} is under way in another process"))
}
