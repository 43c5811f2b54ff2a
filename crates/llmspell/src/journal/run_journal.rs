//! The journal of one run that is recorded into a store.
//!
//! For each effect, [`begin`](Journal::begin) decides as follows:
//!
//! | the stored run has | the journal |
//! |---|---|
//! | the effect with its end | returns the recorded answer, or where to read it if it is large |
//! | chunks of a streamed answer without an end | delivers them again, and then the stream fails |
//! | a start without an end (in doubt) | follows the user's decision, [`InDoubt`] |
//! | nothing, or a failure that this resume retries | performs the effect and records it |
//!
//! New records go to the [writer](super::writer). An idempotent effect is recorded when it ends. An effect that is not
//! idempotent is also recorded before it happens (write-ahead).

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context as TaskContext, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use llmspell_core::commit::{CommitPoint, Commits};
use llmspell_core::effect::{Effect, EffectPath, EffectResult, EntryId, Journal, Lookup, StoredAnswer};
use llmspell_core::{Error, ErrorKind, Outcome, Result, Value, replay};
use serde::{Deserialize, Serialize};

use super::blobs::RequestDigest;
use super::writer::Queue;
use crate::spell::SpellModules;
use crate::store::{IndexedEffect, IndexedEnd, JournalRecord, RunIndex, RunStore};

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
    /// The run's store and id; `None` for a new run.
    source: Option<(Arc<dyn RunStore>, String)>,
    effects: HashMap<EffectPath, IndexedEffect>,
    /// Failures from this sequence number on are tried again.
    tried_again: u64,
    last_order: u64,
    /// How many lines earlier attempts have shown. An answer is recorded with at least this number: a resume shows
    /// again what was printed after the failures that it tries again, and must not go back further than this attempt.
    lines_shown: u64,
    /// How long the run had lasted.
    took: Duration,
    /// The effects in doubt, with the sequence number of each one's answer.
    in_doubt: HashMap<EffectPath, u64>,
    policy: InDoubt,
    /// Streamed answers that a crash interrupted. Each is delivered once.
    arrived: Mutex<HashSet<EffectPath>>,
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
    pub(crate) fn resume(
        queue: Arc<Queue>,
        store: Arc<dyn RunStore>,
        run: RunIndex,
        modules: Option<Arc<SpellModules>>,
        policy: InDoubt,
    ) -> Self {
        let tried_again = run.tried_again();
        let (mut last_order, lines_shown) = (run.last_order(), run.lines_shown());
        let ended = run.effects.iter().map(|effect| effect.began + effect.took.unwrap_or_default());
        let took = ended.max().unwrap_or_default();
        let open = || run.effects.iter().filter(|effect| effect.is_open(tried_again));
        let arrived: HashSet<_> =
            open().filter(|effect| effect.arrived.has_chunks).map(|effect| effect.path.clone()).collect();
        let in_doubt = open().filter(|effect| !effect.repeatable && !effect.arrived.has_chunks);
        let in_doubt = in_doubt.map(|effect| {
            last_order += 1;
            (effect.path.clone(), last_order)
        });
        let in_doubt = in_doubt.collect();
        let source = Some((store, run.summary.info.run_id));
        let effects = run.effects.into_iter().map(|effect| (effect.path.clone(), effect)).collect();
        let arrived = Mutex::new(arrived);
        let before =
            Before { source, effects, tried_again, last_order, lines_shown, took, in_doubt, policy, arrived };
        Self::after(queue, modules, before)
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

    /// Returns the recorded end of an effect; `None` if the effect has to be performed.
    ///
    /// # Errors
    /// When the effect requests something else than before.
    fn recorded(&self, effect: &Effect) -> Result<Option<Lookup>> {
        let Some(((store, run), known)) =
            self.before.source.as_ref().zip(self.before.effects.get(&effect.path))
        else {
            return Ok(None);
        };
        let ask = &effect.ask;
        let is_same = (&*known.capability, &*known.operation) == (&*ask.capability, &*ask.operation)
            && RequestDigest::of(&ask.request)? == known.digest;
        if !is_same {
            // The order of its fields does not make a request another one.
            let then = wait_for(store.effect(run, &effect.path))?;
            replay::same(&then.entry.effect.ask, effect)?;
        }
        if known.is_open(self.before.tried_again) {
            return Ok(None);
        }
        let Some(IndexedEnd { order, said, answer, .. }) = known.end.clone() else { return Ok(None) };
        Ok(Some(match answer {
            Some(answer) => Lookup::Recorded(EffectResult { order, said, answer }),
            None => {
                let (store, run, path) = (Arc::clone(store), run.clone(), effect.path.clone());
                let answer = StoredAnswer::new(move || wait_for(store.answer(&run, &path)));
                Lookup::Stored { order, answer }
            }
        }))
    }

    /// Returns the parts of a streamed answer that a crash interrupted.
    fn arrived(&self, path: &EffectPath) -> Result<Option<Value>> {
        let is_arrived = self.before.arrived.lock().unwrap_or_else(PoisonError::into_inner).remove(path);
        match &self.before.source {
            Some((store, run)) if is_arrived => wait_for(store.answer(run, path))?.map(Some),
            _ => Ok(None),
        }
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
        let said = self.before.lines_shown.max(self.queue.lines());
        Some(EffectResult { order, said, answer })
    }
}

/// Blocks the thread until a future of a store is ready. A store on this machine is ready at once.
fn wait_for<T>(mut future: BoxFuture<'_, T>) -> T {
    struct Unpark(Thread);

    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }

    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    loop {
        match future.as_mut().poll(&mut TaskContext::from_waker(&waker)) {
            Poll::Ready(result) => return result,
            Poll::Pending => thread::park(),
        }
    }
}

/// Returns the approximate size of a value in memory, in bytes.
pub(crate) fn value_size(value: &Value) -> usize {
    size_of::<Value>()
        + match value {
            Value::Str(text) => text.len(),
            Value::Bytes(bytes) => bytes.len(),
            Value::List(items) => items.iter().map(value_size).sum(),
            Value::Map(entries) => entries.iter().map(|(name, value)| name.len() + value_size(value)).sum(),
            _ => 0,
        }
}

fn answer_size(end: &EffectResult) -> usize {
    end.answer.as_ref().map_or(0, value_size)
}

impl Journal for RunJournal {
    fn begin(&self, effect: Effect) -> Result<Lookup> {
        if let Some(recorded) = self.recorded(&effect)? {
            return Ok(recorded);
        }
        self.record_modules()?;
        let began = self.since();
        let path = effect.path.clone();
        let arrived = self.arrived(&path)?;
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
                let bytes = value_size(&effect.ask.request);
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
            let bytes = value_size(&effect.ask.request);
            self.queue.add_lazily(JournalRecord::Started { effect, began }, bytes)?;
        }
        let bytes = value_size(&part);
        self.queue.add_lazily(JournalRecord::Part { path, order, part }, bytes).map(drop)
    }

    fn finish(&self, entry: EntryId, end: EffectResult) -> Result<CommitPoint> {
        let OpenEffect { path, began, effect } =
            self.open().remove(&entry.0).ok_or_else(|| unknown(entry))?;
        let end = EffectResult { said: end.said.max(self.before.lines_shown), ..end };
        let (ended, mut bytes) = (self.since(), answer_size(&end));
        let record = match effect {
            Some(effect) => {
                bytes += value_size(&effect.ask.request);
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
