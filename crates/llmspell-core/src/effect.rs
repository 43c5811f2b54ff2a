//! One recorded touch of the world, and the journal that keeps it.

use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::str::FromStr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::commit::{CommitPoint, Commits};
use crate::convert::to_value;
use crate::error::{Error, ErrorKind, Result};
use crate::outcome::Outcome;
use crate::step::Said;
use crate::stream_record::Parts;
use crate::value::Value;

/// Where in the spell an effect happens: the task, by order of spawning, and a count within it.
///
/// Never arrival order, so that a spell with parallel branches replays exactly.
///
/// ```
/// use llmspell_core::effect::EffectPath;
/// let path = EffectPath { task: "main.2".into(), count: 7 };
/// assert_eq!(path.to_string(), "main.2#7");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct EffectPath {
    /// The task: `main`, `main.1`, `main.1.3`, …; `step(fetch)`, `step(fetch).1`, … in a named step.
    pub task: String,
    /// The effect's number within its task, from 1.
    pub count: u32,
}

impl fmt::Display for EffectPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.task, self.count)
    }
}

impl FromStr for EffectPath {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let parts = text.split_once('#').and_then(|(task, count)| Some((task, count.parse().ok()?)));
        let (task, count) = parts.ok_or_else(|| {
            Error::new(ErrorKind::Replay, format!("the journal is damaged: `{text}` is no place"))
        })?;
        Ok(Self { task: task.to_owned(), count })
    }
}

/// A task of the spell: gives its effects and its child tasks their numbers.
#[derive(Debug)]
pub struct Task {
    path: String,
    effects: AtomicU32,
    children: AtomicU32,
    /// What is said in the named step that it is part of.
    said: Option<Arc<Said>>,
}

impl Task {
    /// The spell's first task.
    #[must_use]
    pub fn main() -> Self {
        Self::named("main".into(), None)
    }

    fn named(path: String, said: Option<Arc<Said>>) -> Self {
        Self { path, effects: AtomicU32::new(0), children: AtomicU32::new(0), said }
    }

    /// The task of a named step that this one takes.
    pub(crate) fn step(&self, name: &str) -> Self {
        // What has a meaning in paths is written otherwise.
        let name = name.replace('%', "%25").replace('.', "%2E").replace('#', "%23");
        Self::named(format!("step({name})"), Some(Arc::new(Said::within(self.said.clone()))))
    }

    /// What is said in the named step that it is part of.
    pub(crate) fn said(&self) -> Option<&Said> {
        self.said.as_deref()
    }

    /// The next task that this one spawns.
    #[must_use]
    pub fn child(&self) -> Self {
        let number = self.children.fetch_add(1, Ordering::Relaxed) + 1;
        Self::named(format!("{}.{number}", self.path), self.said.clone())
    }

    /// The path of the next effect of this task.
    #[must_use]
    pub fn next_effect(&self) -> EffectPath {
        EffectPath { task: self.path.clone(), count: self.effects.fetch_add(1, Ordering::Relaxed) + 1 }
    }
}

/// What a capability is about to be asked.
#[derive(Debug, Clone, PartialEq)]
pub struct Ask {
    /// The capability: `models`, `console`, ….
    pub capability: Cow<'static, str>,
    /// What it is to do: `chat`, `read_line`, ….
    pub operation: Cow<'static, str>,
    /// The request as data; it never holds a key.
    pub request: Value,
    /// Whether it may be asked again where nobody knows whether it was.
    pub repeatable: bool,
    /// The answer to give when the user says that an effect in doubt has happened. Where only the world could tell the
    /// answer, there is none. It is not part of what is recorded.
    pub if_done: Option<Value>,
}

impl Ask {
    /// An ask with its request turned into data; it may be repeated.
    ///
    /// # Errors
    /// When the request cannot be data.
    pub fn new(capability: &'static str, operation: &'static str, request: &impl Serialize) -> Result<Self> {
        Ok(Self {
            capability: capability.into(),
            operation: operation.into(),
            request: to_value(request)?,
            repeatable: true,
            if_done: None,
        })
    }

    /// The same, for an effect that is not idempotent: doing it twice would leave another world behind. `if_done` is its
    /// answer when it is known to have happened and nothing else is.
    #[must_use]
    pub fn once(self, if_done: Value) -> Self {
        Self { repeatable: false, if_done: Some(if_done), ..self }
    }
}

/// One touch of the world.
#[derive(Debug, Clone, PartialEq)]
pub struct Effect {
    /// Where in the spell.
    pub path: EffectPath,
    /// What is asked of which capability.
    pub ask: Ask,
}

/// What an effect came to.
pub type Answer = Result<Value>;

/// How an effect ended.
#[derive(Debug, Clone)]
pub struct End {
    /// Its place in the order in which the run's effects ended. A replay hands the answers out in that order.
    pub order: u64,
    /// How many lines the run had printed and logged by then. A run that is resumed does not say them again.
    pub said: u64,
    /// What it came to.
    pub answer: Answer,
}

/// Names one entry of a journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct EntryId(pub u64);

/// What a journal says of an effect that is about to happen.
#[derive(Debug)]
pub enum Lookup {
    /// It happened before: this is what it came to, and the world is left alone.
    Recorded(End),
    /// It began before and never ended, and nothing may happen now.
    NeverEnded,
    /// It has to happen, and not before its start is durable. Its end goes to this entry.
    Live {
        /// What it is called from here on.
        entry: EntryId,
        /// The record of its start. Only an effect that is not idempotent has one.
        start: CommitPoint,
        /// What had arrived of an answer in parts when the run died: it is delivered again, and then the answer fails.
        arrived: Option<Value>,
    },
}

impl Lookup {
    /// An effect that may happen at once.
    #[must_use]
    pub fn live(entry: EntryId) -> Self {
        Self::Live { entry, start: CommitPoint::REACHED, arrived: None }
    }
}

/// Records what a run did. Each run has its own.
///
/// A journal may queue its records for a writer on another thread. It then has [`Commits`], and returns for each record
/// the [`CommitPoint`] at which that record is durable.
pub trait Journal: Send + Sync {
    /// Records that an effect is about to happen, or finds its answer.
    ///
    /// # Errors
    /// When a replay asks for something else than was recorded, or the journal cannot be written.
    fn begin(&self, effect: Effect) -> Result<Lookup>;

    /// Records one part of an answer that arrives in parts; `order` is its place in the [order](End::order) of the
    /// answers. The first part is the head of the answer. Parts become durable with the next record that somebody waits
    /// for, so nobody waits for them.
    ///
    /// # Errors
    /// When the journal cannot be written.
    fn part(&self, entry: EntryId, order: u64, part: Value) -> Result<()>;

    /// Records the end of an effect. An effect that the end of the run cut off has no end.
    ///
    /// # Errors
    /// When the journal cannot be written.
    fn finish(&self, entry: EntryId, end: End) -> Result<CommitPoint>;

    /// Records the outcome of the run, and how many lines it had printed and logged by then.
    ///
    /// # Errors
    /// When the journal cannot be written.
    fn close(&self, outcome: &Outcome, said: u64) -> Result<CommitPoint> {
        let _ = (outcome, said);
        Ok(CommitPoint::REACHED)
    }

    /// How far its records are durable. A journal without a writer has none: its records are durable at once.
    fn commits(&self) -> Option<Arc<Commits>> {
        None
    }

    /// Whether anything that is written down is kept. Where it is not, no answer is copied for it.
    fn keeps(&self) -> bool {
        true
    }

    /// The last number in the [order](End::order) of what it holds already.
    fn last_order(&self) -> u64 {
        0
    }
}

/// The proof that the gate was passed. Only the gate makes one, and only a permit opens a capability.
#[derive(Debug)]
pub struct Permit {
    run_id: String,
    path: EffectPath,
    deadline: Option<Instant>,
}

impl Permit {
    pub(crate) fn new(run_id: &str, path: EffectPath, deadline: Option<Instant>) -> Self {
        Self { run_id: run_id.to_owned(), path, deadline }
    }

    /// A permit for testing a capability by itself, outside any run.
    #[cfg(feature = "testing")]
    #[must_use]
    pub fn for_test() -> Self {
        Self::new("test", Task::main().next_effect(), None)
    }

    /// A permit for testing a capability as in a run that ends at this moment.
    #[cfg(feature = "testing")]
    #[must_use]
    pub fn for_test_until(deadline: Instant) -> Self {
        Self::new("test", Task::main().next_effect(), Some(deadline))
    }

    /// The effect that it permits.
    #[must_use]
    pub fn path(&self) -> &EffectPath {
        &self.path
    }

    /// A key by which a server can tell that it gets one request twice, for the header `Idempotency-Key`. It is a hash of
    /// the run's id and the effect's path, so it is the same when the run is resumed.
    ///
    /// <https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/>
    #[must_use]
    pub fn idempotency_key(&self) -> String {
        let hash =
            Sha256::new().chain_update(&self.run_id).chain_update([0]).chain_update(self.path.to_string());
        hash.finalize().iter().take(16).fold("llmspell-".to_owned(), |mut key, byte| {
            // Writing to a string does not fail.
            let _ = write!(key, "{byte:02x}");
            key
        })
    }

    /// When the run is over at the latest, if that is known: there is no use in waiting for anything beyond it.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }
}

/// A journal that keeps nothing, for a run that nobody will replay or resume.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoJournal;

impl Journal for NoJournal {
    fn begin(&self, _: Effect) -> Result<Lookup> {
        Ok(Lookup::live(EntryId(0)))
    }

    fn part(&self, _: EntryId, _: u64, _: Value) -> Result<()> {
        Ok(())
    }

    fn finish(&self, _: EntryId, _: End) -> Result<CommitPoint> {
        Ok(CommitPoint::REACHED)
    }

    fn keeps(&self) -> bool {
        false
    }
}

/// What a journal holds of one effect.
#[derive(Debug, Clone)]
pub struct Entry {
    /// What was done.
    pub effect: Effect,
    /// How it ended; `None` while it has not.
    pub end: Option<End>,
}

/// A journal that lasts as long as the run.
#[derive(Debug, Default)]
pub struct MemoryJournal(Mutex<Vec<MemoryEntry>>);

#[derive(Debug)]
struct MemoryEntry {
    entry: Entry,
    parts: Parts,
}

impl MemoryJournal {
    /// Everything recorded so far, in the order in which it began.
    #[must_use]
    pub fn entries(&self) -> Vec<Entry> {
        let entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        entries.iter().map(|MemoryEntry { entry, parts }| parts.clone().into_entry(entry.clone())).collect()
    }

    fn change(&self, id: EntryId, change: impl FnOnce(&mut MemoryEntry)) -> Result<()> {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = usize::try_from(id.0).ok().and_then(|at| entries.get_mut(at));
        found.map(change).ok_or_else(|| Error::internal(format!("the journal has no entry {}", id.0)))
    }
}

impl Journal for MemoryJournal {
    fn begin(&self, effect: Effect) -> Result<Lookup> {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        entries.push(MemoryEntry { entry: Entry { effect, end: None }, parts: Parts::default() });
        Ok(Lookup::live(EntryId(entries.len() as u64 - 1)))
    }

    fn part(&self, entry: EntryId, order: u64, part: Value) -> Result<()> {
        self.change(entry, |entry| entry.parts.push(order, part))
    }

    fn finish(&self, entry: EntryId, end: End) -> Result<CommitPoint> {
        self.change(entry, |entry| entry.entry.end = Some(end))?;
        Ok(CommitPoint::REACHED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idempotency_key_is_of_the_run_and_the_effect() {
        let key = |run: &str, path: &str| Permit::new(run, path.parse().unwrap(), None).idempotency_key();
        assert_eq!(key("r1", "main#1"), key("r1", "main#1"));
        let keys = [key("r1", "main#1"), key("r1", "main#2"), key("r2", "main#1"), key("r1m", "ain#1")];
        let different: std::collections::HashSet<_> = keys.iter().collect();
        assert_eq!(different.len(), keys.len());
        assert_eq!(keys[0].len(), "llmspell-".len() + 32);
    }

    #[test]
    fn tasks_and_effects_are_numbered_by_order_of_spawning() {
        let main = Task::main();
        let (first, second) = (main.child(), main.child());
        let inner = second.child();
        assert_eq!(main.next_effect().to_string(), "main#1");
        assert_eq!(inner.next_effect().to_string(), "main.2.1#1");
        assert_eq!(first.next_effect().to_string(), "main.1#1");
        assert_eq!(main.next_effect().to_string(), "main#2");
    }
}
