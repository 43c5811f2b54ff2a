//! Traces: tracers are notified when an effect begins and when it ends.
//!
//! [`Traced`] is a journal that wraps the run's journal and notifies the tracers of what passes through. No other part
//! of a run knows about traces.

mod otlp;

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use llmspell_core::commit::{CommitPoint, Commits};
use llmspell_core::effect::{
    Effect, EffectResult, EntryId, Journal, JournalEntry, Lookup, NoJournal, StoredAnswer,
};
use llmspell_core::trace::{EffectEvent, EffectStage};
use llmspell_core::{Error, Event, Outcome, RecordedStream, Result, Sink, SpellInfo, Value};

use crate::sink::Collector;
use crate::store::StoredEffect;

pub use otlp::{Otlp, OtlpConfig};

/// Receives the effects of one run, on the script's thread, so it should return quickly.
pub trait Tracer: fmt::Debug + Send + Sync {
    /// Called when an effect begins.
    fn began(&self, effect: &Effect) {
        let _ = effect;
    }

    /// Called when an effect has ended. `recorded` means that the answer came from the journal, in a resumed or
    /// replayed run.
    fn ended(&self, effect: &StoredEffect, recorded: bool);

    /// Called when the run has ended.
    fn closed(&self, run: &TracedRun<'_>) {
        let _ = run;
    }
}

/// A finished run, for its trace.
#[derive(Debug)]
pub struct TracedRun<'a> {
    /// The spell and the run's id.
    pub spell: &'a SpellInfo,
    /// The start time.
    pub started: SystemTime,
    /// The outcome.
    pub outcome: &'a Outcome,
    /// The effects that the end of the run interrupted.
    pub unfinished: Vec<StoredEffect>,
}

impl Tracer for Collector {
    fn began(&self, effect: &Effect) {
        self.emit(Event::Effect(EffectEvent::of(effect)));
    }

    fn ended(&self, effect: &StoredEffect, recorded: bool) {
        let stage = if recorded { EffectStage::Recorded } else { EffectStage::Ended };
        let took = effect.took.filter(|_| !recorded).map(|took| took.as_secs_f64());
        self.emit(Event::Effect(EffectEvent::ended(&effect.entry, stage, took)));
    }
}

/// A journal that notifies tracers.
pub(crate) struct Traced {
    journal: Arc<dyn Journal>,
    tracers: Vec<Arc<dyn Tracer>>,
    spell: SpellInfo,
    /// The start of the run, as wall-clock time and as a monotonic time.
    started: (SystemTime, Instant),
    open: Mutex<HashMap<u64, OpenSpan>>,
    next: AtomicU64,
}

/// An effect in progress.
struct OpenSpan {
    /// Its entry in the wrapped journal.
    entry: EntryId,
    effect: Effect,
    began: Duration,
    parts: RecordedStream,
}

impl Traced {
    pub(crate) fn new(
        journal: Option<Arc<dyn Journal>>,
        tracers: Vec<Arc<dyn Tracer>>,
        spell: SpellInfo,
    ) -> Self {
        let journal = journal.unwrap_or_else(|| Arc::new(NoJournal));
        let started = (SystemTime::now(), Instant::now());
        Self { journal, tracers, spell, started, open: Mutex::default(), next: AtomicU64::new(0) }
    }

    fn open(&self) -> MutexGuard<'_, HashMap<u64, OpenSpan>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, entry: JournalEntry, began: Duration, recorded: bool) {
        tell(&self.tracers, entry, began, self.started.1, recorded);
    }
}

fn tell(tracers: &[Arc<dyn Tracer>], entry: JournalEntry, began: Duration, started: Instant, recorded: bool) {
    let took = Some(started.elapsed().saturating_sub(began));
    let kept = StoredEffect { entry, parts: RecordedStream::default(), began, took };
    tracers.iter().for_each(|tracer| tracer.ended(&kept, recorded));
}

impl Journal for Traced {
    fn begin(&self, effect: Effect) -> Result<Lookup> {
        let began = self.started.1.elapsed();
        match self.journal.begin(effect.clone())? {
            Lookup::Recorded(end) => {
                self.tell(JournalEntry { effect, end: Some(end.clone()) }, began, true);
                Ok(Lookup::Recorded(end))
            }
            Lookup::Stored { order, answer } => {
                let (tracers, started) = (self.tracers.clone(), self.started.1);
                let answer = StoredAnswer::new(move || {
                    let answer = answer.read()?;
                    let end = EffectResult { order, said: 0, answer };
                    let entry = JournalEntry { effect, end: Some(end.clone()) };
                    tell(&tracers, entry, began, started, true);
                    Ok(end.answer)
                });
                Ok(Lookup::Stored { order, answer })
            }
            Lookup::NeverEnded => Ok(Lookup::NeverEnded),
            Lookup::Live { entry, start, arrived } => {
                self.tracers.iter().for_each(|tracer| tracer.began(&effect));
                let number = self.next.fetch_add(1, Ordering::Relaxed);
                self.open()
                    .insert(number, OpenSpan { entry, effect, began, parts: RecordedStream::default() });
                Ok(Lookup::Live { entry: EntryId(number), start, arrived })
            }
        }
    }

    fn part(&self, entry: EntryId, order: u64, part: Value) -> Result<()> {
        let entry = {
            let mut open = self.open();
            let effect = open.get_mut(&entry.0);
            let effect =
                effect.ok_or_else(|| Error::internal(format!("the trace has no effect {}", entry.0)))?;
            effect.parts.push(order, part.clone());
            effect.entry
        };
        self.journal.part(entry, order, part)
    }

    fn finish(&self, entry: EntryId, end: EffectResult) -> Result<CommitPoint> {
        let OpenSpan { entry, effect, began, parts } = self
            .open()
            .remove(&entry.0)
            .ok_or_else(|| Error::internal(format!("the trace has no effect {}", entry.0)))?;
        let point = self.journal.finish(entry, end.clone())?;
        let whole = parts.into_entry(JournalEntry { effect, end: Some(end) });
        self.tell(whole, began, false);
        Ok(point)
    }

    fn close(&self, outcome: &Outcome, said: u64) -> Result<CommitPoint> {
        let mut unfinished: Vec<_> = std::mem::take(&mut *self.open()).into_values().collect();
        unfinished.sort_by_key(|open| open.began);
        let unfinished = unfinished.into_iter().map(|OpenSpan { effect, began, .. }| StoredEffect {
            entry: JournalEntry { effect, end: None },
            parts: RecordedStream::default(),
            began,
            took: None,
        });
        let (spell, started) = (&self.spell, self.started.0);
        let run = TracedRun { spell, started, outcome, unfinished: unfinished.collect() };
        self.tracers.iter().for_each(|tracer| tracer.closed(&run));
        self.journal.close(outcome, said)
    }

    fn commits(&self) -> Option<Arc<Commits>> {
        self.journal.commits()
    }

    fn last_order(&self) -> u64 {
        self.journal.last_order()
    }
}
