//! One recorded touch of the world, and the journal that keeps it.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::convert::to_value;
use crate::error::{Error, ErrorKind, Result};
use crate::outcome::Outcome;
use crate::step::Said;
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
        })
    }

    /// The same, of something that would leave another world behind if it were done twice.
    #[must_use]
    pub fn once(self) -> Self {
        Self { repeatable: false, ..self }
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
    /// It has to happen; its end goes to this entry.
    Live(EntryId),
}

/// Keeps what a run did. One a run.
pub trait Journal: Send + Sync {
    /// Writes down that an effect is about to happen, or finds its answer.
    ///
    /// # Errors
    /// When a replay asks for something else than was recorded, or the journal cannot be written.
    fn begin(&self, effect: Effect) -> Result<Lookup>;

    /// Writes down what it came to. An effect that the end of the run cut off has no end.
    ///
    /// # Errors
    /// When the journal cannot be written.
    fn finish(&self, entry: EntryId, end: End) -> Result<()>;

    /// Writes down what the run came to, and how many lines it had printed and logged by then.
    ///
    /// # Errors
    /// When the journal cannot be written.
    fn close(&self, outcome: &Outcome, said: u64) -> Result<()> {
        let _ = (outcome, said);
        Ok(())
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

    fn finish(&self, _: EntryId, _: End) -> Result<()> {
        Ok(())
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
        entries.push(Entry { effect, end: None });
        Ok(Lookup::Live(EntryId(entries.len() as u64 - 1)))
    }

    fn finish(&self, entry: EntryId, end: End) -> Result<()> {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = usize::try_from(entry.0).ok().and_then(|at| entries.get_mut(at));
        found.ok_or_else(|| Error::internal(format!("the journal has no entry {}", entry.0)))?.end =
            Some(end);
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
