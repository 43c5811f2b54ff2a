//! Traces: whoever listens hears of each effect as it begins and ends.
//!
//! They are a view of the journal. What it is told passes through here, and no other part of a run knows of it.

mod otlp;

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use llmspell_core::effect::{Effect, End, Entry, EntryId, Journal, Lookup, NoJournal};
use llmspell_core::trace::{EffectEvent, EffectStage};
use llmspell_core::{Error, Event, Outcome, Result, Sink, SpellInfo};

use crate::journal::KeptEffect;
use crate::sink::Collector;

pub use otlp::{Otlp, OtlpConfig};

/// Hears of the effects of one run, on its thread: it should hand over and return.
pub trait Tracer: fmt::Debug + Send + Sync {
    /// An effect begins.
    fn began(&self, effect: &Effect) {
        let _ = effect;
    }

    /// An effect has ended; one that is `recorded` did before the run was resumed or played again.
    fn ended(&self, effect: &KeptEffect, recorded: bool);

    /// The run has ended.
    fn closed(&self, run: &TracedRun<'_>) {
        let _ = run;
    }
}

/// A run that has ended, for its trace.
#[derive(Debug)]
pub struct TracedRun<'a> {
    /// The spell and the run's id.
    pub spell: &'a SpellInfo,
    /// When it began.
    pub started: SystemTime,
    /// What it came to.
    pub outcome: &'a Outcome,
    /// What its end cut off.
    pub unfinished: Vec<KeptEffect>,
}

impl Tracer for Collector {
    fn began(&self, effect: &Effect) {
        self.emit(Event::Effect(EffectEvent::of(effect)));
    }

    fn ended(&self, effect: &KeptEffect, recorded: bool) {
        let stage = if recorded { EffectStage::Recorded } else { EffectStage::Ended };
        let took = effect.took.filter(|_| !recorded).map(|took| took.as_secs_f64());
        self.emit(Event::Effect(EffectEvent::ended(&effect.entry, stage, took)));
    }
}

/// A journal whose entries are told to tracers.
pub(crate) struct Traced {
    journal: Arc<dyn Journal>,
    tracers: Vec<Arc<dyn Tracer>>,
    spell: SpellInfo,
    /// The clock's time of the run's beginning, and the same for measuring.
    started: (SystemTime, Instant),
    open: Mutex<HashMap<u64, Open>>,
    next: AtomicU64,
}

/// An effect under way.
struct Open {
    /// Its number in the journal itself.
    entry: EntryId,
    effect: Effect,
    began: Duration,
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

    fn open(&self) -> MutexGuard<'_, HashMap<u64, Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, effect: Effect, began: Duration, end: End, recorded: bool) {
        let took = Some(self.started.1.elapsed().saturating_sub(began));
        let kept = KeptEffect { entry: Entry { effect, end: Some(end) }, began, took };
        self.tracers.iter().for_each(|tracer| tracer.ended(&kept, recorded));
    }
}

impl Journal for Traced {
    fn begin(&self, effect: Effect) -> Result<Lookup> {
        let began = self.started.1.elapsed();
        match self.journal.begin(effect.clone())? {
            Lookup::Recorded(end) => {
                self.tell(effect, began, end.clone(), true);
                Ok(Lookup::Recorded(end))
            }
            Lookup::NeverEnded => Ok(Lookup::NeverEnded),
            Lookup::Live(entry) => {
                self.tracers.iter().for_each(|tracer| tracer.began(&effect));
                let number = self.next.fetch_add(1, Ordering::Relaxed);
                self.open().insert(number, Open { entry, effect, began });
                Ok(Lookup::Live(EntryId(number)))
            }
        }
    }

    fn finish(&self, entry: EntryId, end: End) -> Result<()> {
        let Open { entry, effect, began } = self
            .open()
            .remove(&entry.0)
            .ok_or_else(|| Error::internal(format!("the trace has no effect {}", entry.0)))?;
        self.journal.finish(entry, end.clone())?;
        self.tell(effect, began, end, false);
        Ok(())
    }

    fn close(&self, outcome: &Outcome, said: u64) -> Result<()> {
        let mut unfinished: Vec<_> = std::mem::take(&mut *self.open()).into_values().collect();
        unfinished.sort_by_key(|open| open.began);
        let unfinished = unfinished.into_iter().map(|Open { effect, began, .. }| KeptEffect {
            entry: Entry { effect, end: None },
            began,
            took: None,
        });
        let (spell, started) = (&self.spell, self.started.0);
        let run = TracedRun { spell, started, outcome, unfinished: unfinished.collect() };
        self.tracers.iter().for_each(|tracer| tracer.closed(&run));
        self.journal.close(outcome, said)
    }

    fn last_order(&self) -> u64 {
        self.journal.last_order()
    }
}
