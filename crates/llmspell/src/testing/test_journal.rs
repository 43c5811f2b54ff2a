//! The journals of spell tests.
//!
//! [`TestJournal`] is the journal of a run that a test starts. It answers an effect from the first source that applies:
//!
//! 1. a fault that the test injects (`fail`);
//! 2. a typed line (`input`), or the scripted models and pages, which run live behind the gate;
//! 3. the recording of the case. With `--update`, the outside world answers instead and the answer is recorded.
//!
//! [`DenyAll`] is the journal of the test script itself.

use std::collections::{HashSet, VecDeque};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use llmspell_core::commit::CommitPoint;
use llmspell_core::effect::{
    Answer, Effect, EffectPath, EffectRequest, EffectResult, EntryId, Journal, JournalEntry, Lookup,
    MemoryJournal,
};
use llmspell_core::replay::Recorded;
use llmspell_core::{Error, ErrorKind, Result, Value};

use super::options::{Fault, RunOptions};

/// The first sequence number of scripted answers, which are released after all others.
const AFTER_ALL: u64 = 1 << 62;

/// The entry of scripted effects, which are not stored.
const SCRIPTED: EntryId = EntryId(u64::MAX);

/// The hint for a recording that is missing or does not match.
const ANEW: &str = "`llmspell test --update` records it";

/// The source of answers that the test does not script.
enum OtherAnswers {
    /// A recording.
    Replay { recorded: Recorded, entries: Vec<(EffectPath, String)>, asked: Mutex<HashSet<EffectPath>> },
    /// The recording is missing; this is its file.
    Missing(String),
    /// The outside world; answers are recorded.
    Record(MemoryJournal),
}

/// An injected fault, with the number of effects that have matched it.
struct Armed {
    name: String,
    fault: Fault,
    kind: Option<ErrorKind>,
    met: AtomicU32,
}

impl Armed {
    fn new(name: &str, fault: Fault) -> Result<Self> {
        let kind = match fault.kind.as_deref() {
            None => None,
            Some(kind) => Some(
                ErrorKind::from_name(kind)
                    .ok_or_else(|| Error::argument(format!("`{kind}` is not a kind of error")))?,
            ),
        };
        Ok(Self { name: name.to_owned(), fault, kind, met: AtomicU32::new(0) })
    }

    /// Counts a matching effect, and returns the error if this effect is to fail.
    fn strikes(&self, ask: &EffectRequest) -> Option<Error> {
        let (capability, operation) = (&*ask.capability, &*ask.operation);
        let is_meant = match self.name.split_once('.') {
            Some(named) => named == (capability, operation),
            // Only `chat` and `stream` are calls; resolving a model's name is not.
            None if capability == "models" => {
                self.name == capability && matches!(operation, "chat" | "stream")
            }
            None => self.name == capability,
        };
        if !is_meant {
            return None;
        }
        let number = self.met.fetch_add(1, Ordering::Relaxed) + 1;
        if self.fault.at.is_some_and(|at| at != number) {
            return None;
        }
        let kind = self.kind.unwrap_or(match capability {
            "net" => ErrorKind::Network,
            "models" => ErrorKind::Overloaded,
            _ => ErrorKind::Io,
        });
        Some(Error::new(kind, &self.fault.message))
    }

    fn has_struck(&self) -> bool {
        self.met.load(Ordering::Relaxed) >= self.fault.at.unwrap_or(1)
    }
}

/// The journal of one run in a test.
pub(super) struct TestJournal {
    rest: OtherAnswers,
    faults: Vec<Armed>,
    input: Mutex<VecDeque<String>>,
    models: bool,
    net: bool,
    order: AtomicU64,
}

impl TestJournal {
    /// Creates a journal that answers from a recording. Without a recording, a run that needs one fails with the file's
    /// name.
    pub(super) fn replay(
        entries: Option<Vec<JournalEntry>>,
        file: &str,
        options: &RunOptions,
    ) -> Result<Self> {
        let rest = match entries {
            Some(entries) => {
                let ended = entries.iter().filter(|entry| entry.end.is_some());
                let listed =
                    ended.map(|entry| (entry.effect.path.clone(), named(&entry.effect.ask))).collect();
                OtherAnswers::Replay {
                    recorded: Recorded::new(entries),
                    entries: listed,
                    asked: Mutex::default(),
                }
            }
            None => OtherAnswers::Missing(file.to_owned()),
        };
        Self::new(rest, options)
    }

    /// Creates a journal that records the answers of the outside world.
    pub(super) fn record(options: &RunOptions) -> Result<Self> {
        Self::new(OtherAnswers::Record(MemoryJournal::default()), options)
    }

    fn new(rest: OtherAnswers, options: &RunOptions) -> Result<Self> {
        let faults = options.fail.iter().map(|(name, fault)| Armed::new(name, fault.0.clone()));
        Ok(Self {
            rest,
            faults: faults.collect::<Result<_>>()?,
            input: Mutex::new(options.input.iter().cloned().collect()),
            models: options.model.is_some(),
            net: options.http.is_some(),
            order: AtomicU64::new(AFTER_ALL),
        })
    }

    /// Returns the recorded entries.
    pub(super) fn recorded(&self) -> Vec<JournalEntry> {
        match &self.rest {
            OtherAnswers::Record(journal) => journal.entries(),
            OtherAnswers::Replay { .. } | OtherAnswers::Missing(_) => Vec::new(),
        }
    }

    /// Checks that the run requested everything that was prepared for it.
    ///
    /// # Errors
    /// When a fault matched no effect, or the recording contains effects that the run did not request.
    pub(super) fn check(&self) -> Result<()> {
        if let Some(armed) = self.faults.iter().find(|armed| !armed.has_struck()) {
            let met = armed.met.load(Ordering::Relaxed);
            let message = match armed.fault.at {
                Some(at) if met > 0 => {
                    format!("`fail`: number {at} of `{}` was to fail, and there were {met}", armed.name)
                }
                _ => format!("`fail`: the spell did nothing that is named `{}`", armed.name),
            };
            let hint = "`llmspell runs show` lists what a run did, by these names";
            return Err(Error::new(ErrorKind::Assertion, message).hint(hint));
        }
        if let OtherAnswers::Replay { entries, asked, .. } = &self.rest {
            let asked = lock(asked);
            let mut left = entries.iter().filter(|(path, _)| !asked.contains(path));
            if let Some((path, what)) = left.next() {
                let more = match left.count() {
                    0 => String::new(),
                    more => format!(", and {more} more"),
                };
                return Err(Error::new(
                    ErrorKind::Replay,
                    format!("the recording holds {path} {what}, which the spell did not ask for{more}"),
                )
                .hint("nothing was asked of the world; if the spell has changed, record it anew")
                .hint(ANEW));
            }
        }
        Ok(())
    }

    fn answer(&self, answer: Answer) -> Lookup {
        Lookup::Recorded(EffectResult { order: self.order.fetch_add(1, Ordering::Relaxed), said: 0, answer })
    }
}

fn named(ask: &EffectRequest) -> String {
    format!("{}.{}", ask.capability, ask.operation)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Journal for TestJournal {
    fn begin(&self, effect: Effect) -> Result<Lookup> {
        let mut struck = None;
        for armed in &self.faults {
            // Every fault counts the effects that match it, even if another fault applies.
            struck = armed.strikes(&effect.ask).or(struck);
        }
        if let Some(error) = struck {
            return Ok(self.answer(Err(error)));
        }
        match (&*effect.ask.capability, &*effect.ask.operation) {
            ("console", "read_line") => {
                let line = lock(&self.input).pop_front();
                return Ok(self.answer(Ok(line.map_or(Value::Nil, Value::from))));
            }
            ("models", _) if self.models => return Ok(Lookup::live(SCRIPTED)),
            ("net", _) if self.net => return Ok(Lookup::live(SCRIPTED)),
            // Scripted models and pages use real time, so sleeping must too.
            ("clock", "sleep") if self.models || self.net => return Ok(Lookup::live(SCRIPTED)),
            _ => {}
        }
        match &self.rest {
            OtherAnswers::Record(journal) => journal.begin(effect),
            OtherAnswers::Replay { recorded, asked, .. } => {
                let found =
                    recorded.find(&effect).and_then(|found| found.ok_or_else(|| recorded.missing(&effect)));
                let entry = found.map_err(|error| error.hint(ANEW))?;
                lock(asked).insert(effect.path);
                Ok(entry.end.clone().map_or(Lookup::NeverEnded, Lookup::Recorded))
            }
            OtherAnswers::Missing(file) => Err(Error::new(
                ErrorKind::Replay,
                format!("there is no recording {file} to answer {} {}", effect.path, named(&effect.ask)),
            )
            .hint(ANEW)),
        }
    }

    fn part(&self, entry: EntryId, order: u64, part: Value) -> Result<()> {
        match &self.rest {
            OtherAnswers::Record(journal) if entry != SCRIPTED => journal.part(entry, order, part),
            _ => Ok(()),
        }
    }

    fn finish(&self, entry: EntryId, end: EffectResult) -> Result<CommitPoint> {
        match &self.rest {
            _ if entry == SCRIPTED => Ok(CommitPoint::REACHED),
            OtherAnswers::Record(journal) => journal.finish(entry, end),
            OtherAnswers::Replay { .. } | OtherAnswers::Missing(_) => {
                Err(Error::internal("a test has touched the world"))
            }
        }
    }

    fn last_order(&self) -> u64 {
        match &self.rest {
            OtherAnswers::Replay { recorded, .. } => recorded.last_order(),
            OtherAnswers::Missing(_) | OtherAnswers::Record(_) => 0,
        }
    }
}

/// The journal of a test script. It allows only the clock and random numbers; everything else belongs to the tested
/// spell.
pub(super) struct DenyAll;

impl Journal for DenyAll {
    fn begin(&self, effect: Effect) -> Result<Lookup> {
        if matches!(&*effect.ask.capability, "clock" | "random") {
            return Ok(Lookup::live(SCRIPTED));
        }
        let message = format!("a test does no {} itself: what is live is off", named(&effect.ask));
        let error = Error::new(ErrorKind::Unsupported, message).hint("`test.run` runs the spell, which may");
        Ok(Lookup::Recorded(EffectResult { order: 0, said: 0, answer: Err(error) }))
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
