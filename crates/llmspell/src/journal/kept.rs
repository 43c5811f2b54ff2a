//! The journal of one run of this machine.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use llmspell_core::effect::{Effect, EffectPath, End, EntryId, Journal, Lookup};
use llmspell_core::replay::Recorded;
use llmspell_core::{Error, ErrorKind, Outcome, Result, Value};

use super::RunInfo;
use super::runs::{KeptRun, Rows, Runs, Unfinished};
use crate::spell::{Spell, SpellModules, change};

/// Keeps what a run does in the database, and answers what it did before it was resumed. The database is opened at the
/// first effect.
///
/// An effect that may be repeated is written down when it has ended: until then it has not happened. One that may not is
/// written down before it happens too.
pub(crate) struct Kept {
    runs: Runs,
    info: RunInfo,
    spell: Spell,
    modules: Option<Arc<SpellModules>>,
    working_dir: Option<PathBuf>,
    /// The clock's time of the run's beginning, and the same for measuring.
    started: (SystemTime, Instant),
    before: Before,
    now: Mutex<Now>,
}

/// What the run did before it was resumed.
#[derive(Default)]
struct Before {
    recorded: Recorded,
    last_order: u64,
    /// How long it ran.
    took: Duration,
    /// How many of its lines were heard that it says again.
    heard: u64,
    /// How the effects that nobody knows of are taken.
    decided: HashMap<EffectPath, End>,
}

#[derive(Default)]
struct Now {
    /// The sign that this process is at the run; absent before the first effect.
    lock: Option<File>,
    /// What is under way.
    open: HashMap<u64, (Effect, Duration)>,
    next: u64,
    /// The parts that are written.
    parts: HashSet<String>,
    /// How many modules are written.
    modules: usize,
}

impl Kept {
    /// A journal for a run that begins.
    pub(crate) fn new(
        runs: Runs,
        info: RunInfo,
        spell: Spell,
        modules: Option<Arc<SpellModules>>,
        working_dir: Option<PathBuf>,
    ) -> Self {
        let started = (SystemTime::now(), Instant::now());
        let (before, now) = (Before::default(), Mutex::default());
        Self { runs, info, spell, modules, working_dir, started, before, now }
    }

    /// The same, for a run that goes on.
    pub(crate) fn resume(
        runs: Runs,
        mut run: KeptRun,
        spell: Spell,
        modules: Option<Arc<SpellModules>>,
        unfinished: Unfinished,
    ) -> Self {
        let ended = run.effects.iter().map(|effect| effect.began + effect.took.unwrap_or_default());
        let took = ended.max().unwrap_or_default();
        let open: Vec<_> = run.unfinished().map(|effect| effect.path.clone()).collect();
        let heard = run.heard();
        let tried_again = run.tried_again();
        for effect in &mut run.effects {
            effect.entry.end.take_if(|end| end.order >= tried_again);
        }
        let working_dir = run.summary.working_dir.clone();
        let info = run.summary.info.clone();
        let recorded = Recorded::new(run.effects.into_iter().map(|effect| effect.entry).collect());
        let mut last_order = recorded.last_order();
        let mut decided = HashMap::new();
        for path in open {
            let answer = match unfinished {
                Unfinished::Repeat => continue,
                Unfinished::Done => Ok(Value::Nil),
                Unfinished::Fail => Err(interrupted(&path)),
            };
            last_order += 1;
            decided.insert(path, End { order: last_order, said: 0, answer });
        }
        let before = Before { recorded, last_order, took, decided, heard };
        Self { before, ..Self::new(runs, info, spell, modules, working_dir) }
    }

    /// How many lines the run had printed and logged before it was resumed, and prints again.
    pub(crate) fn heard(&self) -> u64 {
        self.before.heard
    }

    fn now(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn rows<'a>(&'a self, now: &'a mut Now) -> Rows<'a> {
        Rows { runs: &self.runs, run: &self.info.run_id, known: &mut now.parts }
    }

    /// Since the run began; what lies between its end and its resumption does not count.
    fn since(&self) -> Duration {
        self.before.took + self.started.1.elapsed()
    }

    /// Writes down the run itself at its first effect, and again when it has looked for more modules since. So a run that
    /// dies has all modules in its row that could have had a part in its effects.
    fn open(&self, now: &mut Now) -> Result<()> {
        let modules = self.modules.as_ref().map_or(0, |modules| modules.count());
        if now.lock.is_some() && now.modules == modules {
            return Ok(());
        }
        let id = &self.info.run_id;
        let lock =
            match now.lock {
                Some(_) => None,
                None => Some(self.runs.lock(id)?.ok_or_else(|| {
                    Error::new(ErrorKind::Conflict, format!("another process is at run {id}"))
                })?),
            };
        let info = self.info()?;
        self.rows(now).begin_run(&info, self.spell.origin(), self.working_dir.as_deref(), self.started.0)?;
        now.lock = now.lock.take().or(lock);
        now.modules = modules;
        Ok(())
    }

    /// What the run was given, with the modules that it has looked for by now.
    fn info(&self) -> Result<RunInfo> {
        let mut info = self.info.clone();
        if info.digest.is_empty() {
            info.digest = self.spell.digest()?;
        }
        if let Some(modules) = &self.modules {
            for (path, digest) in modules.all()? {
                // Of a run that goes on with a changed spell, the row has what it began with, as with the digest.
                info.modules.entry(path).or_insert(digest);
            }
        }
        Ok(info)
    }
}

impl KeptRun {
    /// The spell, if it is the one that ran, to [resume](crate::Cast::resume) the run with: it loads the modules that the
    /// run had loaded only as they were.
    ///
    /// # Errors
    /// Of kind `conflict` when the spell or such a module has changed; and when a file cannot be read.
    pub fn same_spell(&self, spell: Spell) -> Result<Spell> {
        let RunInfo { run_id, digest, modules, .. } = &self.summary.info;
        let changed = |message: String| Err(Error::new(ErrorKind::Conflict, message));
        for (path, before) in modules {
            if let Some(change) = change(before.as_deref(), spell.module_digest(path)?.as_deref()) {
                return changed(format!("{path} was {change} since run {run_id} began"));
            }
        }
        if spell.digest()? != *digest {
            return changed(format!("the spell has changed since run {run_id} began"));
        }
        Ok(spell.pinned_to(modules.clone()))
    }
}

fn interrupted(path: &EffectPath) -> Error {
    let message = format!("{path} was under way when the run ended: nobody knows whether it happened");
    Error::new(ErrorKind::Interrupted, message)
}

impl Journal for Kept {
    fn begin(&self, effect: Effect) -> Result<Lookup> {
        let known = self.before.recorded.find(&effect)?;
        if let Some(end) = known.and_then(|entry| entry.end.as_ref()) {
            return Ok(Lookup::Recorded(end.clone()));
        }
        let began = self.since();
        let mut now = self.now();
        self.open(&mut now)?;
        if let Some(end) = self.before.decided.get(&effect.path) {
            self.rows(&mut now).finish(&effect, began, began, end)?;
            return Ok(Lookup::Recorded(end.clone()));
        }
        if !effect.ask.repeatable {
            self.rows(&mut now).begin(&effect, began)?;
        }
        let entry = now.next;
        now.next += 1;
        now.open.insert(entry, (effect, began));
        Ok(Lookup::Live(EntryId(entry)))
    }

    fn finish(&self, entry: EntryId, end: End) -> Result<()> {
        let ended = self.since();
        let mut now = self.now();
        let found = now.open.remove(&entry.0);
        let (effect, began) =
            found.ok_or_else(|| Error::internal(format!("the journal has no entry {}", entry.0)))?;
        self.rows(&mut now).finish(&effect, began, ended, &end)
    }

    fn close(&self, outcome: &Outcome, said: u64) -> Result<()> {
        let mut now = self.now();
        if now.lock.is_none() {
            return Ok(());
        }
        let modules = self.open(&mut now);
        let Some(lock) = now.lock.take() else { return modules };
        let ended = self.rows(&mut now).end_run(outcome, said).and(modules);
        self.runs.unlock(&self.info.run_id, lock);
        ended
    }

    fn last_order(&self) -> u64 {
        self.before.last_order
    }
}

#[cfg(test)]
mod tests {
    use llmspell_core::capability::Modules as _;
    use llmspell_core::effect::Ask;

    use super::*;

    #[expect(clippy::disallowed_methods, reason = "a test lays out its files itself")]
    #[test]
    fn a_module_is_in_the_row_before_the_next_effect_begins() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["main.luau", "first.luau", "late.luau"] {
            std::fs::write(folder.path().join(name), name).unwrap();
        }
        let spell = Spell::load(&folder.path().join("main.luau")).unwrap();
        let modules = spell.modules();
        let runs = Runs::in_folder(folder.path().join("runs"));
        let info = RunInfo { run_id: "r".to_owned(), ..RunInfo::default() };
        let kept = Kept::new(runs.clone(), info, spell, modules.clone(), None);
        let effect = |count| Effect {
            path: EffectPath { task: "main".to_owned(), count },
            ask: Ask {
                capability: "models".into(),
                operation: "chat".into(),
                request: Value::Nil,
                repeatable: true,
            },
        };
        let modules = modules.unwrap();
        for (count, (module, known)) in (1..).zip([
            ("first.luau", ["first.luau"].as_slice()),
            ("none.luau", &["first.luau", "none.luau"]),
            ("late.luau", &["first.luau", "late.luau", "none.luau"]),
        ]) {
            let found = modules.read(module).unwrap();
            kept.begin(effect(count)).unwrap();
            // As a process that dies here leaves it.
            let stored = runs.find("r").unwrap().summary.info.modules;
            assert_eq!(stored.keys().collect::<Vec<_>>(), known);
            assert_eq!(stored[module].is_some(), found.is_some());
        }
    }
}
