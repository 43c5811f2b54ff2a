//! One recorded touch of the world, and the journal that keeps it.

use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::convert::to_value;
use crate::error::{Error, Result};
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
    /// The task: `main`, `main.1`, `main.1.3`, ….
    pub task: String,
    /// The effect's number within its task, from 1.
    pub count: u32,
}

impl fmt::Display for EffectPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.task, self.count)
    }
}

/// A task of the spell: gives its effects and its child tasks their numbers.
#[derive(Debug)]
pub struct Task {
    path: String,
    effects: AtomicU32,
    children: AtomicU32,
}

impl Task {
    /// The spell's first task.
    #[must_use]
    pub fn main() -> Self {
        Self::named("main".into())
    }

    fn named(path: String) -> Self {
        Self { path, effects: AtomicU32::new(0), children: AtomicU32::new(0) }
    }

    /// The next task that this one spawns.
    #[must_use]
    pub fn child(&self) -> Self {
        let number = self.children.fetch_add(1, Ordering::Relaxed) + 1;
        Self::named(format!("{}.{number}", self.path))
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
    pub capability: &'static str,
    /// What it is to do: `chat`, `read_line`, ….
    pub operation: &'static str,
    /// The request as data; it never holds a key.
    pub request: Value,
}

impl Ask {
    /// An ask with its request turned into data.
    ///
    /// # Errors
    /// When the request cannot be data.
    pub fn new(capability: &'static str, operation: &'static str, request: &impl Serialize) -> Result<Self> {
        Ok(Self { capability, operation, request: to_value(request)? })
    }
}

/// One touch of the world.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Effect {
    /// Where in the spell.
    pub path: EffectPath,
    /// The capability: `models`, `console`, ….
    pub capability: &'static str,
    /// What it was asked to do.
    pub operation: &'static str,
    /// What it was asked.
    pub request: Value,
}

/// What an effect came to.
pub type Answer = Result<Value>;

/// Names one entry of a journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct EntryId(pub u64);

/// What a journal says of an effect that is about to happen.
#[derive(Debug)]
pub enum Lookup {
    /// It happened before: this is what it came to, and the world is left alone.
    Recorded(Answer),
    /// It has to happen; its answer goes to this entry.
    Live(EntryId),
}

/// Keeps what a run did. One a run.
pub trait Journal: Send + Sync {
    /// Writes down that an effect is about to happen, or finds its answer.
    ///
    /// # Errors
    /// When a replay asks for something else than was recorded, or the journal cannot be written.
    fn begin(&self, effect: Effect) -> Result<Lookup>;

    /// Writes down what it came to.
    ///
    /// # Errors
    /// When the journal cannot be written.
    fn finish(&self, entry: EntryId, answer: Answer) -> Result<()>;

    /// Whether anything that is written down is kept. Where it is not, no answer is copied for it.
    fn keeps(&self) -> bool {
        true
    }
}

/// The proof that the gate was passed. Only the gate makes one, and only a permit opens a capability.
#[derive(Debug)]
pub struct Permit {
    path: EffectPath,
    deadline: Option<Instant>,
}

impl Permit {
    pub(crate) fn new(path: EffectPath, deadline: Option<Instant>) -> Self {
        Self { path, deadline }
    }

    /// A permit for testing a capability by itself, outside any run.
    #[cfg(feature = "testing")]
    #[must_use]
    pub fn for_test() -> Self {
        Self::new(Task::main().next_effect(), None)
    }

    /// A permit for testing a capability as in a run that ends at this moment.
    #[cfg(feature = "testing")]
    #[must_use]
    pub fn for_test_until(deadline: Instant) -> Self {
        Self::new(Task::main().next_effect(), Some(deadline))
    }

    /// The effect that it permits.
    #[must_use]
    pub fn path(&self) -> &EffectPath {
        &self.path
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
        Ok(Lookup::Live(EntryId(0)))
    }

    fn finish(&self, _: EntryId, _: Answer) -> Result<()> {
        Ok(())
    }

    fn keeps(&self) -> bool {
        false
    }
}

/// One entry of a [`MemoryJournal`].
#[derive(Debug, Clone)]
pub struct Entry {
    /// What was done.
    pub effect: Effect,
    /// What it came to; `None` while it has not ended.
    pub answer: Option<Answer>,
}

/// A journal that lasts as long as the run.
#[derive(Debug, Default)]
pub struct MemoryJournal(Mutex<Vec<Entry>>);

impl MemoryJournal {
    /// Everything written so far, in the order in which it began.
    #[must_use]
    pub fn entries(&self) -> Vec<Entry> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Journal for MemoryJournal {
    fn begin(&self, effect: Effect) -> Result<Lookup> {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        entries.push(Entry { effect, answer: None });
        Ok(Lookup::Live(EntryId(entries.len() as u64 - 1)))
    }

    fn finish(&self, entry: EntryId, answer: Answer) -> Result<()> {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = usize::try_from(entry.0).ok().and_then(|at| entries.get_mut(at));
        found.ok_or_else(|| Error::internal(format!("the journal has no entry {}", entry.0)))?.answer =
            Some(answer);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
