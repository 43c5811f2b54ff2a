//! A run store in memory, for tests and for programs that inspect runs while they last.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use futures_util::future::BoxFuture;
use llmspell_core::cache::Cache;
use llmspell_core::effect::{Answer, Effect, EffectPath, EffectResult, JournalEntry};
use llmspell_core::{Error, ErrorKind, RecordedStream, Result, Value};

use super::retention::{DAY, Retention, StoreClock, SweepDecision, SweepStart, SweptRuns, decide};
use super::{
    ArrivedParts, Claim, IndexedEffect, IndexedEnd, JournalRecord, Lease, NewRun, RecordSink, RunIndex,
    RunList, RunState, RunStore, RunSummary, StoredEffect, fenced, no_such_effect, no_such_run, owned,
};
use crate::journal::blobs::RequestDigest;
use crate::journal::value_size;

/// Stores runs and cached answers in memory.
#[derive(Debug, Default)]
pub struct MemoryStore {
    runs: Mutex<HashMap<String, MemoryRun>>,
    answers: Mutex<Vec<CachedAnswer>>,
    swept: Mutex<Option<SystemTime>>,
    clock: StoreClock,
}

#[derive(Debug)]
struct MemoryRun {
    new: NewRun,
    epoch: u64,
    is_owned: bool,
    ended: Option<SystemTime>,
    error: Option<Error>,
    usage: Option<llmspell_core::chat::Usage>,
    model_calls: u64,
    lines: u64,
    effects: Vec<StoredEffect>,
    places: HashMap<EffectPath, usize>,
}

#[derive(Debug)]
struct CachedAnswer {
    request: Value,
    answer: Value,
    kept: SystemTime,
}

impl MemoryStore {
    /// Sets the clock by which runs and answers age.
    #[must_use]
    pub fn with_clock(self, now: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        Self { clock: StoreClock::new(now), ..self }
    }

    fn sweep_runs(&self, retention: &Retention, start: SweepStart) -> Result<SweptRuns> {
        let now = self.clock.now();
        let mut last = self.swept.lock().unwrap_or_else(PoisonError::into_inner);
        let mut swept = SweptRuns { is_done: true, ..SweptRuns::default() };
        let is_due = last.is_none_or(|last| now.duration_since(last).is_ok_and(|since| since >= DAY));
        if start == SweepStart::IfDue && !is_due {
            return Ok(swept);
        }
        *last = Some(now);
        let oldest = retention.oldest(now);
        let mut runs = self.runs();
        let mut size: u64 = runs.values().map(MemoryRun::size).sum();
        let mut aged: Vec<_> = runs.iter().map(|(id, run)| (run.new.started, id.clone())).collect();
        aged.sort();
        for (started, id) in aged {
            let Some(run) = runs.get(&id) else { continue };
            let is_old = oldest.is_some_and(|oldest| started < oldest);
            let is_recent = now.duration_since(started).is_ok_and(|age| age <= DAY);
            if !is_old && (is_recent || retention.bytes.is_none_or(|bytes| size <= bytes)) {
                break;
            }
            match decide(run.summary().state, || Ok(run.index()?.in_doubt().next().is_some()))? {
                SweepDecision::Remove => {
                    let freed = run.size();
                    (size, swept.freed) = (size - freed, swept.freed + freed);
                    swept.runs += 1;
                    runs.remove(&id);
                }
                SweepDecision::Running => swept.running += 1,
                SweepDecision::InDoubt => swept.in_doubt += 1,
            }
        }
        if let Some(oldest) = oldest {
            swept.answers = self.remove_kept_until(oldest);
        }
        Ok(swept)
    }

    fn remove_kept_until(&self, newest: SystemTime) -> usize {
        let mut answers = self.answers();
        let before = answers.len();
        answers.retain(|known| known.kept > newest);
        before - answers.len()
    }

    fn runs(&self) -> MutexGuard<'_, HashMap<String, MemoryRun>> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn append_records(&self, lease: &Lease, records: &[JournalRecord]) -> Result<()> {
        let mut runs = self.runs();
        let run = runs.get_mut(&lease.run_id).filter(|run| run.epoch == lease.epoch);
        let run = run.ok_or_else(|| fenced(lease))?;
        records.iter().for_each(|record| run.add(record));
        Ok(())
    }

    fn find_effect(&self, id: &str, path: &EffectPath) -> Result<StoredEffect> {
        let mut runs = self.runs();
        let run = runs.get_mut(id).ok_or_else(|| no_such_run(id))?;
        let mut effect = run.effect(path).ok_or_else(|| no_such_effect(path))?.clone();
        if effect.entry.end.is_some() {
            effect.entry = std::mem::take(&mut effect.parts).into_entry(effect.entry);
        }
        Ok(effect)
    }

    fn answers(&self) -> MutexGuard<'_, Vec<CachedAnswer>> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl MemoryRun {
    fn summary(&self) -> RunSummary {
        let seconds =
            |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        RunSummary {
            info: self.new.info.clone(),
            path: self.new.path.clone(),
            working_dir: self.new.working_dir.clone(),
            state: match (self.ended, &self.error) {
                (Some(_), None) => RunState::Done,
                (Some(_), Some(_)) => RunState::Failed,
                (None, _) if self.is_owned => RunState::Running,
                (None, _) => RunState::Died,
            },
            started: seconds(self.new.started),
            ended: self.ended.map(seconds),
            error: self.error.clone(),
            usage: self.usage.clone(),
            model_calls: self.model_calls,
            lines: self.lines,
        }
    }

    fn index(&self) -> Result<RunIndex> {
        let mut effects = self.effects.iter().map(indexed).collect::<Result<Vec<_>>>()?;
        effects.sort_by_key(|effect| effect.began);
        Ok(RunIndex { summary: self.summary(), effects })
    }

    /// Returns the approximate size of the run's requests and answers, in bytes.
    fn size(&self) -> u64 {
        let effects = self.effects.iter().map(|StoredEffect { entry, .. }| {
            let answer = entry.end.as_ref().and_then(|end| end.answer.as_ref().ok()).map_or(0, value_size);
            value_size(&entry.effect.ask.request) + answer
        });
        effects.map(|size| size as u64).sum()
    }

    fn add(&mut self, record: &JournalRecord) {
        match record {
            JournalRecord::Started { effect, began } => self.put(effect, *began, None),
            JournalRecord::Part { path, order, part } => {
                if let Some(effect) = self.effect(path) {
                    effect.parts.push(*order, part.clone());
                }
            }
            JournalRecord::Ended { path, ended, end } => {
                if let Some(effect) = self.effect(path) {
                    effect.took = Some(ended.saturating_sub(effect.began));
                    effect.entry.end = Some(end.clone());
                }
            }
            JournalRecord::Done { effect, began, ended, end } => {
                self.put(effect, *began, Some((*ended, end.clone())))
            }
            JournalRecord::Modules(modules) => {
                for (path, digest) in modules {
                    self.new.info.modules.entry(path.clone()).or_insert_with(|| digest.clone());
                }
            }
            JournalRecord::Lines(lines) => self.lines = *lines,
            JournalRecord::Closed { at, error, usage, model_calls, lines } => {
                (self.ended, self.is_owned) = (Some(*at), false);
                self.error.clone_from(error);
                (self.usage, self.model_calls) = (Some(usage.clone()), *model_calls);
                self.lines = self.lines.max(*lines);
            }
        }
    }

    fn put(&mut self, effect: &Effect, began: Duration, end: Option<(Duration, EffectResult)>) {
        let (took, end) = match end {
            Some((ended, end)) => (Some(ended.saturating_sub(began)), Some(end)),
            None => (None, None),
        };
        let entry = JournalEntry { effect: effect.clone(), end };
        let stored = StoredEffect { entry, parts: RecordedStream::default(), began, took };
        match self.effect(&effect.path) {
            Some(known) => *known = stored,
            None => {
                self.places.insert(effect.path.clone(), self.effects.len());
                self.effects.push(stored);
            }
        }
    }

    fn effect(&mut self, path: &EffectPath) -> Option<&mut StoredEffect> {
        self.effects.get_mut(*self.places.get(path)?)
    }
}

fn indexed(stored: &StoredEffect) -> Result<IndexedEffect> {
    let StoredEffect { entry, parts, began, took } = stored;
    let JournalEntry { effect: Effect { path, ask }, end } = entry;
    let end = end.as_ref().map(|end| IndexedEnd {
        order: end.order,
        said: end.said,
        failed: entry.error().is_some(),
        size: 0,
        // Answers are in memory anyway, but those in parts have to be put together.
        answer: (*parts == RecordedStream::default()).then(|| end.answer.clone()),
    });
    Ok(IndexedEffect {
        path: path.clone(),
        capability: ask.capability.to_string(),
        operation: ask.operation.to_string(),
        repeatable: ask.repeatable,
        digest: RequestDigest::of(&ask.request)?,
        request: Some(ask.request.clone()),
        end,
        arrived: ArrivedParts::of(parts),
        began: *began,
        took: *took,
    })
}

impl Cache for MemoryStore {
    fn find<'a>(
        &'a self,
        request: &'a Value,
        max_age: Option<Duration>,
    ) -> BoxFuture<'a, Result<Option<Value>>> {
        let oldest = max_age.and_then(|age| self.clock.now().checked_sub(age));
        let answers = self.answers();
        let found = answers.iter().find(|known| known.request == *request);
        let found = found.filter(|known| oldest.is_none_or(|oldest| known.kept >= oldest));
        Box::pin(std::future::ready(Ok(found.map(|known| known.answer.clone()))))
    }

    fn keep<'a>(&'a self, request: &'a Value, answer: &'a Value) -> BoxFuture<'a, Result<()>> {
        let mut answers = self.answers();
        answers.retain(|known| known.request != *request);
        let (request, answer) = (request.clone(), answer.clone());
        answers.push(CachedAnswer { request, answer, kept: self.clock.now() });
        Box::pin(std::future::ready(Ok(())))
    }
}

impl RecordSink for MemoryStore {
    fn create<'a>(&'a self, run: &'a NewRun) -> BoxFuture<'a, Result<Lease>> {
        Box::pin(async move {
            let id = &run.info.run_id;
            let mut runs = self.runs();
            if runs.contains_key(id) {
                let message = format!("there is a run with the id {id} already");
                return Err(Error::new(ErrorKind::Conflict, message));
            }
            let new = MemoryRun {
                new: run.clone(),
                epoch: 1,
                is_owned: true,
                ended: None,
                error: None,
                usage: None,
                model_calls: 0,
                lines: 0,
                effects: Vec::new(),
                places: HashMap::new(),
            };
            runs.insert(id.clone(), new);
            Ok(Lease { run_id: id.clone(), epoch: 1 })
        })
    }

    fn append<'a>(&'a self, lease: &'a Lease, records: &'a [JournalRecord]) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move { self.append_records(lease, records) })
    }

    fn try_append(&self, lease: &Lease, records: &[JournalRecord]) -> Option<Result<()>> {
        Some(self.append_records(lease, records))
    }

    fn release<'a>(&'a self, lease: &'a Lease) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let mut runs = self.runs();
            if let Some(run) = runs.get_mut(&lease.run_id).filter(|run| run.epoch == lease.epoch) {
                run.is_owned = false;
            }
            Ok(())
        })
    }
}

impl RunStore for MemoryStore {
    fn claim<'a>(&'a self, id: &'a str, claim: Claim) -> BoxFuture<'a, Result<Lease>> {
        Box::pin(async move {
            let mut runs = self.runs();
            let run = runs.get_mut(id).ok_or_else(|| no_such_run(id))?;
            if run.is_owned && claim == Claim::IfFree {
                return Err(owned(id));
            }
            let index = run.index()?;
            let (tried_again, lines) = (index.tried_again(), index.lines_shown());
            for effect in &mut run.effects {
                if effect.entry.end.as_ref().is_some_and(|end| end.order >= tried_again) {
                    (effect.entry.end, effect.took, effect.parts) = (None, None, RecordedStream::default());
                }
            }
            run.lines = lines;
            run.epoch += 1;
            (run.is_owned, run.ended, run.error, run.usage) = (true, None, None, None);
            Ok(Lease { run_id: id.to_owned(), epoch: run.epoch })
        })
    }

    fn list(&self) -> BoxFuture<'_, Result<RunList>> {
        Box::pin(async move {
            let mut runs: Vec<_> = self.runs().values().map(MemoryRun::summary).collect();
            runs.sort_by(|a, b| {
                b.started.total_cmp(&a.started).then_with(|| b.info.run_id.cmp(&a.info.run_id))
            });
            Ok(RunList { runs, damaged: Vec::new() })
        })
    }

    fn resolve<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<String>> {
        Box::pin(async move {
            let runs = self.runs();
            let mut found = runs.keys().filter(|known| !id.is_empty() && known.starts_with(id));
            match (found.next(), found.next()) {
                (Some(found), None) => Ok(found.clone()),
                (None, _) => Err(no_such_run(id)),
                _ => Err(Error::new(ErrorKind::Conflict, format!("more than one run begins with `{id}`"))),
            }
        })
    }

    fn load<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<RunIndex>> {
        Box::pin(async move {
            let runs = self.runs();
            let run = runs.get(id).ok_or_else(|| no_such_run(id))?;
            run.index()
        })
    }

    fn answer<'a>(&'a self, id: &'a str, path: &'a EffectPath) -> BoxFuture<'a, Result<Answer>> {
        Box::pin(async move {
            let StoredEffect { entry, parts, .. } = self.find_effect(id, path)?;
            let answer = entry.end.map(|end| end.answer).or_else(|| parts.arrived().map(Ok));
            answer.ok_or_else(|| no_such_effect(path))
        })
    }

    fn effect<'a>(&'a self, id: &'a str, path: &'a EffectPath) -> BoxFuture<'a, Result<StoredEffect>> {
        Box::pin(async move { self.find_effect(id, path) })
    }

    fn remove<'a>(&'a self, ids: &'a [String]) -> BoxFuture<'a, Result<usize>> {
        Box::pin(async move {
            let mut runs = self.runs();
            let before = runs.len();
            runs.retain(|id, run| run.is_owned || !ids.contains(id));
            Ok(before - runs.len())
        })
    }

    fn remove_answers(&self, age: Duration) -> BoxFuture<'_, Result<usize>> {
        let newest = self.clock.now().checked_sub(age).unwrap_or(SystemTime::UNIX_EPOCH);
        Box::pin(std::future::ready(Ok(self.remove_kept_until(newest))))
    }

    fn sweep<'a>(&'a self, retention: &'a Retention, start: SweepStart) -> BoxFuture<'a, Result<SweptRuns>> {
        Box::pin(std::future::ready(self.sweep_runs(retention, start)))
    }
}
