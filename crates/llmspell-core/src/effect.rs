//! Effects, and the journal that records them.
//!
//! An *effect* is one use of a capability: a model call, an HTTP request, a file access, a look at the clock. The gate
//! (`gate.rs`) describes each effect as an [`EffectRequest`] at an [`EffectPath`] and asks the run's [`Journal`] about
//! it:
//!
//! | the journal returns | meaning | the gate |
//! |---|---|---|
//! | [`Lookup::Recorded`] | the answer is in the log | returns that answer without performing the effect |
//! | [`Lookup::Stored`] | the same, and the answer is large | reads the answer when it is delivered |
//! | [`Lookup::NeverEnded`] | a recording has the start of the effect, but no end | ends the replay with an error |
//! | [`Lookup::Live`] | the effect is new | performs it with a [`Permit`] and records its [`EffectResult`] |
//!
//! Effects are named by position in the script, never by arrival order. This module also has the two simplest journals:
//! [`NoJournal`] and [`MemoryJournal`].

use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::commit::{CommitPoint, Commits};
use crate::convert::{from_value, to_value};
use crate::error::{Error, ErrorKind, Result};
use crate::outcome::Outcome;
use crate::recorded_stream::RecordedStream;
use crate::value::Value;

/// The name of an effect: its task, numbered in spawning order, and a count within that task.
///
/// The path does not depend on the order in which answers arrive, so a spell with parallel branches can be replayed.
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

/// The request of an effect, before it is performed.
#[derive(Debug, Clone, PartialEq)]
pub struct EffectRequest {
    /// The capability: `models`, `console`, ….
    pub capability: Cow<'static, str>,
    /// The operation: `chat`, `read_line`, ….
    pub operation: Cow<'static, str>,
    /// The request as data, without credentials.
    pub request: Value,
    /// Whether the effect is idempotent. If not, its start is logged before it happens (write-ahead), and it is never
    /// repeated without the user's consent.
    pub repeatable: bool,
    /// The answer to use when the user says that an effect in doubt has happened. `None` if only the outside world
    /// could know the answer. This field is not recorded.
    pub if_done: Option<Value>,
}

impl EffectRequest {
    /// Creates an idempotent request, with its data converted to a [`Value`].
    ///
    /// # Errors
    /// When the request cannot be represented as data.
    pub fn new(capability: &'static str, operation: &'static str, request: &impl Serialize) -> Result<Self> {
        Ok(Self {
            capability: capability.into(),
            operation: operation.into(),
            request: to_value(request)?,
            repeatable: true,
            if_done: None,
        })
    }

    /// Marks the request as not idempotent: repeating it would change the outside world again. `if_done` is the answer
    /// if the effect is known to have happened and its real answer is lost.
    #[must_use]
    pub fn once(self, if_done: Value) -> Self {
        Self { repeatable: false, if_done: Some(if_done), ..self }
    }
}

/// One use of a capability, at one place of the script.
#[derive(Debug, Clone, PartialEq)]
pub struct Effect {
    /// The effect's name.
    pub path: EffectPath,
    /// The request.
    pub ask: EffectRequest,
}

/// The result of an effect.
pub type Answer = Result<Value>;

/// The end of an effect, as recorded.
#[derive(Debug, Clone)]
pub struct EffectResult {
    /// The position among all answers of the run. A replay delivers answers in this order.
    pub order: u64,
    /// How many lines the run had printed and logged by then. A resumed run does not show those lines again.
    pub said: u64,
    /// The result.
    pub answer: Answer,
}

/// Identifies one entry of a journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct EntryId(pub u64);

/// The journal's response to an effect that is about to happen.
#[derive(Debug)]
pub enum Lookup {
    /// The effect is recorded with this end. It is not performed again.
    Recorded(EffectResult),
    /// The effect is recorded, and its answer is read when it is delivered. So a resumed run holds one large answer at a
    /// time.
    Stored {
        /// The position among all answers of the run.
        order: u64,
        /// The answer.
        answer: StoredAnswer,
    },
    /// The effect is recorded without an end, and the journal cannot perform anything (a replay).
    NeverEnded,
    /// The effect must be performed, but only after the record of its start is durable.
    Live {
        /// The entry that receives the end.
        entry: EntryId,
        /// The commit point of the start's record. Only effects that are not idempotent have such a record.
        start: CommitPoint,
        /// The chunks of a streamed answer that a crash interrupted. They are delivered again, and then the stream
        /// fails.
        arrived: Option<Value>,
    },
}

impl Lookup {
    /// Returns a lookup for an effect that may happen immediately.
    #[must_use]
    pub fn live(entry: EntryId) -> Self {
        Self::Live { entry, start: CommitPoint::REACHED, arrived: None }
    }
}

/// An answer that is still where the journal stores it.
pub struct StoredAnswer(Box<dyn FnOnce() -> Result<Answer> + Send>);

impl StoredAnswer {
    /// Creates an answer that this function reads. Its outer error means that the answer cannot be read.
    #[must_use]
    pub fn new(read: impl FnOnce() -> Result<Answer> + Send + 'static) -> Self {
        Self(Box::new(read))
    }

    /// Reads the answer. This may block the thread for the time of a read from disk.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn read(self) -> Result<Answer> {
        (self.0)()
    }
}

impl fmt::Debug for StoredAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StoredAnswer")
    }
}

/// Records the effects of one run.
///
/// A journal may queue its records for a writer on another thread. It then has [`Commits`], and returns for each record
/// the [`CommitPoint`] at which that record is durable.
pub trait Journal: Send + Sync {
    /// Looks up an effect, and records its start if necessary.
    ///
    /// # Errors
    /// When a replay requests something that differs from the recording, or the journal cannot be written.
    fn begin(&self, effect: Effect) -> Result<Lookup>;

    /// Records one part of a streamed answer. The first part is the head; the chunks follow. `order` is the position in
    /// the [order](EffectResult::order) of answers. Parts become durable with the next record that somebody waits for.
    ///
    /// # Errors
    /// When the journal cannot be written.
    fn part(&self, entry: EntryId, order: u64, part: Value) -> Result<()>;

    /// Records the end of an effect. An effect that the end of the run interrupted has no end.
    ///
    /// # Errors
    /// When the journal cannot be written.
    fn finish(&self, entry: EntryId, end: EffectResult) -> Result<CommitPoint>;

    /// Records the outcome of the run, and how many lines it had printed and logged by then.
    ///
    /// # Errors
    /// When the journal cannot be written.
    fn close(&self, outcome: &Outcome, said: u64) -> Result<CommitPoint> {
        let _ = (outcome, said);
        Ok(CommitPoint::REACHED)
    }

    /// Returns how far the records are durable. `None` means that records are durable immediately (no writer thread).
    fn commits(&self) -> Option<Arc<Commits>> {
        None
    }

    /// Returns whether the journal stores anything. If not, the gate does not copy answers for it.
    fn keeps(&self) -> bool {
        true
    }

    /// Returns the highest number in the [order](EffectResult::order) of answers that the journal already holds.
    fn last_order(&self) -> u64 {
        0
    }
}

/// The proof that an effect has passed the gate. Only the gate makes one, and every capability demands one.
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

    /// Returns a permit for testing a capability without a run.
    #[cfg(feature = "testing")]
    #[must_use]
    pub fn for_test() -> Self {
        Self::new("test", EffectPath { task: "main".into(), count: 1 }, None)
    }

    /// Returns a permit for testing a capability in a run that ends at `deadline`.
    #[cfg(feature = "testing")]
    #[must_use]
    pub fn for_test_until(deadline: Instant) -> Self {
        Self::new("test", EffectPath { task: "main".into(), count: 1 }, Some(deadline))
    }

    /// Returns the path of the permitted effect.
    #[must_use]
    pub fn path(&self) -> &EffectPath {
        &self.path
    }

    /// Returns a key for the `Idempotency-Key` header, by which a server recognizes a repeated request. It is a hash of
    /// the run's id and the effect's path, so a resumed run sends the same key.
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

    /// Returns the latest time at which the run ends, if known. Waiting beyond it is useless.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }
}

/// A journal that stores nothing, for runs that are never replayed or resumed.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoJournal;

impl Journal for NoJournal {
    fn begin(&self, _: Effect) -> Result<Lookup> {
        Ok(Lookup::live(EntryId(0)))
    }

    fn part(&self, _: EntryId, _: u64, _: Value) -> Result<()> {
        Ok(())
    }

    fn finish(&self, _: EntryId, _: EffectResult) -> Result<CommitPoint> {
        Ok(CommitPoint::REACHED)
    }

    fn keeps(&self) -> bool {
        false
    }
}

/// The record of one effect.
#[derive(Debug, Clone)]
pub struct JournalEntry {
    /// The effect.
    pub effect: Effect,
    /// The end; `None` while the effect is in progress.
    pub end: Option<EffectResult>,
}

impl JournalEntry {
    /// Returns the error of the effect, or the error that ended its stream.
    #[must_use]
    pub fn error(&self) -> Option<Error> {
        match &self.end.as_ref()?.answer {
            Err(error) => Some(error.clone()),
            Ok(answer) if self.effect.ask.operation == "stream" => {
                from_value::<(u64, Option<Error>)>(answer.get("end")?.clone()).ok()?.1
            }
            Ok(_) => None,
        }
    }
}

impl RecordedStream {
    /// Combines the parts with the entry's answer. An entry without parts is not changed.
    #[must_use]
    pub fn into_entry(self, mut entry: JournalEntry) -> JournalEntry {
        if let Some(end) = entry.end.take() {
            entry.end = Some(EffectResult { answer: self.into_answer(end.answer), ..end });
        }
        entry
    }
}

/// A journal in memory that lasts as long as the run.
#[derive(Debug, Default)]
pub struct MemoryJournal(Mutex<Vec<MemoryEntry>>);

#[derive(Debug)]
struct MemoryEntry {
    entry: JournalEntry,
    parts: RecordedStream,
}

impl MemoryJournal {
    /// Returns all entries so far, in the order in which the effects began.
    #[must_use]
    pub fn entries(&self) -> Vec<JournalEntry> {
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
        entries.push(MemoryEntry {
            entry: JournalEntry { effect, end: None },
            parts: RecordedStream::default(),
        });
        Ok(Lookup::live(EntryId(entries.len() as u64 - 1)))
    }

    fn part(&self, entry: EntryId, order: u64, part: Value) -> Result<()> {
        self.change(entry, |entry| entry.parts.push(order, part))
    }

    fn finish(&self, entry: EntryId, end: EffectResult) -> Result<CommitPoint> {
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
}
