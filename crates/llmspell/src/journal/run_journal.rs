//! The journal of one run that is recorded into a store.
//!
//! For each effect, [`begin`](Journal::begin) decides as follows:
//!
//! | the stored run has | the journal |
//! |---|---|
//! | the effect with its end | returns the recorded answer |
//! | chunks of a streamed answer without an end | delivers them again, and then the stream fails |
//! | a start without an end (in doubt) | follows the user's decision, [`InDoubt`] |
//! | nothing, or an end that the resume tries again | performs the effect and records it |
//!
//! New records go to the [writer](super::writer). An idempotent effect is recorded when it ends. An effect that is not
//! idempotent is also recorded before it happens (write-ahead).

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use llmspell_core::commit::{CommitPoint, Commits};
use llmspell_core::effect::{Effect, EffectPath, EffectResult, EntryId, Journal, Lookup};
use llmspell_core::replay::Recorded;
use llmspell_core::{Error, ErrorKind, Outcome, Result, Value};
use serde::{Deserialize, Serialize};

use super::writer::Queue;
use crate::spell::SpellModules;
use crate::store::{JournalRecord, StoredRun};

/// The decision about effects in doubt: effects that are not idempotent and were in progress when their run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InDoubt {
    /// The effect fails with kind `interrupted`, which the script may handle.
    #[default]
    Fail,
    /// It has not happened: perform it now.
    Repeat,
    /// It has happened. If its answer cannot be known, the effect fails with kind `interrupted`.
    Done,
}

/// Records one run into a store.
pub(crate) struct RunJournal {
    queue: Arc<Queue>,
    /// When this process began or resumed the run.
    started: Instant,
    before: Before,
    open: Mutex<HashMap<u64, OpenEffect>>,
    next: AtomicU64,
    /// The modules that the run loads, for its row in the store.
    modules: Option<Arc<SpellModules>>,
    /// How many modules are recorded so far.
    recorded_modules: AtomicUsize,
    /// Whether this journal writes a recording. A recording is written even for a run without effects, and includes
    /// effects that never ended.
    is_recording: bool,
}

/// The effects of the run before it was resumed.
#[derive(Default)]
struct Before {
    recorded: Recorded,
    last_order: u64,
    /// How long the run had lasted.
    took: Duration,
    /// The effects in doubt, with the sequence number of each one's answer.
    in_doubt: HashMap<EffectPath, u64>,
    policy: InDoubt,
    /// Chunks of streamed answers that a crash interrupted.
    arrived: Mutex<HashMap<EffectPath, Value>>,
}

/// An effect in progress.
struct OpenEffect {
    path: EffectPath,
    began: Duration,
    /// The effect, until its start is recorded.
    effect: Option<Effect>,
}

impl RunJournal {
    /// Creates the journal of a new run.
    pub(crate) fn new(queue: Arc<Queue>, modules: Option<Arc<SpellModules>>) -> Self {
        Self::after(queue, modules, Before::default())
    }

    /// Creates the journal of a resumed run.
    ///
    /// # Errors
    /// When the stored run cannot be read.
    pub(crate) fn resume(
        queue: Arc<Queue>,
        run: StoredRun,
        modules: Option<Arc<SpellModules>>,
        policy: InDoubt,
    ) -> Result<Self> {
        let mut run = run;
        let ended = run.effects.iter().map(|effect| effect.began + effect.took.unwrap_or_default());
        let took = ended.max().unwrap_or_default();
        let in_doubt: Vec<_> = run.in_doubt().map(|effect| effect.path.clone()).collect();
        let tried_again = run.tried_again();
        let orders = run.effects.iter().flat_map(|effect| {
            let end = effect.entry.end.as_ref().map_or(0, |end| end.order);
            [end, effect.parts.last_order()]
        });
        let mut last_order = orders.max().unwrap_or(0);
        let mut arrived = HashMap::new();
        for effect in &mut run.effects {
            effect.entry.end.take_if(|end| end.order >= tried_again);
            let parts = std::mem::take(&mut effect.parts);
            if effect.entry.end.is_none() {
                let path = &effect.entry.effect.path;
                arrived.extend(parts.arrived().map(|answer| (path.clone(), answer)));
            }
        }
        let in_doubt = in_doubt.into_iter().filter(|path| !arrived.contains_key(path));
        let in_doubt = in_doubt.map(|path| {
            last_order += 1;
            (path, last_order)
        });
        let in_doubt = in_doubt.collect();
        let recorded = Recorded::new(run.effects.into_iter().map(|effect| effect.entry).collect());
        let before = Before { recorded, last_order, took, in_doubt, policy, arrived: Mutex::new(arrived) };
        Ok(Self::after(queue, modules, before))
    }

    fn after(queue: Arc<Queue>, modules: Option<Arc<SpellModules>>, before: Before) -> Self {
        Self {
            queue,
            started: Instant::now(),
            before,
            open: Mutex::default(),
            next: AtomicU64::new(0),
            modules,
            recorded_modules: AtomicUsize::new(0),
            is_recording: false,
        }
    }

    /// Records the modules that the run has looked for since the last effect. They become durable before any effect
    /// that may depend on them, so a resume can compare every module that influenced the run.
    fn record_modules(&self) -> Result<()> {
        let Some(modules) = &self.modules else { return Ok(()) };
        let count = modules.count();
        if self.recorded_modules.swap(count, Ordering::Relaxed) < count {
            self.queue.add_lazily(JournalRecord::Modules(modules.all()?), 0)?;
        }
        Ok(())
    }

    /// Turns the journal into one for a recording, which a replay can follow to its end.
    pub(crate) fn recording(mut self) -> Self {
        self.is_recording = true;
        self
    }

    /// Returns the running time. The time between the end of a run and its resumption does not count.
    fn since(&self) -> Duration {
        self.before.took + self.started.elapsed()
    }

    fn open(&self) -> MutexGuard<'_, HashMap<u64, OpenEffect>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn under_way(&self, effect: OpenEffect) -> EntryId {
        let entry = self.next.fetch_add(1, Ordering::Relaxed);
        self.open().insert(entry, effect);
        EntryId(entry)
    }

    /// Returns the answer of an effect in doubt, unless it is to be repeated.
    fn decided(&self, effect: &Effect) -> Option<EffectResult> {
        let order = *self.before.in_doubt.get(&effect.path)?;
        let path = &effect.path;
        let interrupted = |what: &str| Err(Error::new(ErrorKind::Interrupted, format!("{path} {what}")));
        let answer = match (self.before.policy, &effect.ask.if_done) {
            (InDoubt::Repeat, _) => return None,
            (InDoubt::Done, Some(answer)) => Ok(answer.clone()),
            (InDoubt::Done, None) => interrupted("happened before the run was resumed; its answer is lost"),
            (InDoubt::Fail, _) => {
                interrupted("was under way when the run ended: nobody knows whether it happened")
            }
        };
        Some(EffectResult { order, said: 0, answer })
    }
}

/// Returns the approximate size of a value in the queue, in bytes.
fn size(value: &Value) -> usize {
    size_of::<Value>()
        + match value {
            Value::Str(text) => text.len(),
            Value::Bytes(bytes) => bytes.len(),
            Value::List(items) => items.iter().map(size).sum(),
            Value::Map(entries) => entries.iter().map(|(name, value)| name.len() + size(value)).sum(),
            _ => 0,
        }
}

fn answer_size(end: &EffectResult) -> usize {
    end.answer.as_ref().map_or(0, size)
}

impl Journal for RunJournal {
    fn begin(&self, effect: Effect) -> Result<Lookup> {
        let known = self.before.recorded.find(&effect)?;
        if let Some(end) = known.and_then(|entry| entry.end.as_ref()) {
            return Ok(Lookup::Recorded(end.clone()));
        }
        self.record_modules()?;
        let began = self.since();
        let path = effect.path.clone();
        let arrived = self.before.arrived.lock().unwrap_or_else(PoisonError::into_inner).remove(&path);
        if arrived.is_some() {
            // The start is in the store already.
            let entry = self.under_way(OpenEffect { path, began, effect: None });
            return Ok(Lookup::Live { entry, start: CommitPoint::REACHED, arrived });
        }
        if let Some(end) = self.decided(&effect) {
            let bytes = answer_size(&end);
            let done = JournalRecord::Done { effect, began, ended: began, end: end.clone() };
            self.queue.add(done, bytes)?;
            return Ok(Lookup::Recorded(end));
        }
        let (start, effect) = match effect.ask.repeatable {
            true => (CommitPoint::REACHED, Some(effect)),
            false => {
                let bytes = size(&effect.ask.request);
                // The gate waits for this record at once, and nothing happens before it is durable.
                (self.queue.add_lazily(JournalRecord::Started { effect, began }, bytes)?, None)
            }
        };
        let entry = self.under_way(OpenEffect { path, began, effect });
        Ok(Lookup::Live { entry, start, arrived: None })
    }

    fn part(&self, entry: EntryId, order: u64, part: Value) -> Result<()> {
        let (path, start) = {
            let mut open = self.open();
            let open = open.get_mut(&entry.0).ok_or_else(|| unknown(entry))?;
            (open.path.clone(), open.effect.take().map(|effect| (effect, open.began)))
        };
        if let Some((effect, began)) = start {
            let bytes = size(&effect.ask.request);
            self.queue.add_lazily(JournalRecord::Started { effect, began }, bytes)?;
        }
        let bytes = size(&part);
        self.queue.add_lazily(JournalRecord::Part { path, order, part }, bytes).map(drop)
    }

    fn finish(&self, entry: EntryId, end: EffectResult) -> Result<CommitPoint> {
        let OpenEffect { path, began, effect } =
            self.open().remove(&entry.0).ok_or_else(|| unknown(entry))?;
        let (ended, mut bytes) = (self.since(), answer_size(&end));
        let record = match effect {
            Some(effect) => {
                bytes += size(&effect.ask.request);
                JournalRecord::Done { effect, began, ended, end }
            }
            None => JournalRecord::Ended { path, ended, end },
        };
        self.queue.add(record, bytes)
    }

    fn close(&self, outcome: &Outcome, said: u64) -> Result<CommitPoint> {
        if self.is_recording {
            let mut open: Vec<_> = std::mem::take(&mut *self.open()).into_iter().collect();
            open.sort_unstable_by_key(|(number, _)| *number);
            for OpenEffect { began, effect, .. } in open.into_iter().map(|(_, open)| open) {
                if let Some(effect) = effect {
                    self.queue.add_lazily(JournalRecord::Started { effect, began }, 0)?;
                }
            }
        } else if !self.queue.is_open() {
            return Ok(CommitPoint::REACHED);
        }
        self.record_modules()?;
        self.queue.add(JournalRecord::closed(outcome, said), 0)
    }

    fn commits(&self) -> Option<Arc<Commits>> {
        Some(Arc::clone(self.queue.commits()))
    }

    fn last_order(&self) -> u64 {
        self.before.last_order
    }
}

impl Drop for RunJournal {
    fn drop(&mut self) {
        self.queue.abandon();
    }
}

fn unknown(entry: EntryId) -> Error {
    Error::internal(format!("the journal has no entry {}", entry.0))
}
