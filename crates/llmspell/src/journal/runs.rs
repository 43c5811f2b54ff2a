//! The runs of this machine: what each one was given and what it did, in a database.

use std::collections::HashMap;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use llmspell_core::chat::Usage;
use llmspell_core::effect::{Ask, Effect, EffectPath, End, Entry};
use llmspell_core::{Error, ErrorKind, Outcome, Result, from_value, to_value};
use rusqlite::{Connection, Row, params};
use serde::{Deserialize, Serialize};

use super::RunInfo;
use super::pack::{Parts, damaged, json, pack, pack_answer, unpack};
use crate::database::Kind;

/// One schema for SQLite and Postgres. A run's times are milliseconds since 1970, an effect's are microseconds since the
/// run began.
const JOURNAL: Kind = Kind {
    name: "the journal of runs",
    // `LMSJ`.
    application: 0x4C4D_534A,
    steps: &[
        "
        CREATE TABLE run (
            id TEXT NOT NULL PRIMARY KEY,
            info TEXT NOT NULL,
            path TEXT,
            working_dir TEXT,
            started BIGINT NOT NULL,
            ended BIGINT,
            error TEXT,
            usage TEXT,
            model_calls BIGINT NOT NULL,
            said BIGINT NOT NULL
        );
        CREATE TABLE effect (
            run TEXT NOT NULL REFERENCES run (id) ON DELETE CASCADE,
            task TEXT NOT NULL,
            number BIGINT NOT NULL,
            capability TEXT NOT NULL,
            operation TEXT NOT NULL,
            request TEXT NOT NULL,
            repeatable SMALLINT NOT NULL,
            began BIGINT NOT NULL,
            ended BIGINT,
            place BIGINT,
            said BIGINT,
            answer TEXT,
            error TEXT,
            PRIMARY KEY (run, task, number)
        );
        CREATE TABLE part (
            run TEXT NOT NULL REFERENCES run (id) ON DELETE CASCADE,
            hash TEXT NOT NULL,
            value TEXT NOT NULL,
            PRIMARY KEY (run, hash)
        );
    ",
        "
        CREATE TABLE answer (
            hash TEXT NOT NULL PRIMARY KEY,
            kept BIGINT NOT NULL,
            value TEXT NOT NULL
        );
    ",
    ],
    hint: "move the file away to begin a new journal",
};

/// How a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// Some process is at it.
    Running,
    /// It has ended well.
    Done,
    /// It has ended with an error; it can be resumed.
    Failed,
    /// Its process ended without a word; it can be resumed.
    Died,
}

/// A run, without what it did.
#[derive(Debug, Clone, Serialize)]
pub struct RunSummary {
    /// What it was given.
    #[serde(flatten)]
    pub info: RunInfo,
    /// Where its spell was loaded from; a relative path is beneath the working folder.
    pub path: Option<PathBuf>,
    /// The folder in which it looked up relative paths.
    pub working_dir: Option<PathBuf>,
    /// How it stands.
    pub state: RunState,
    /// When it began, in seconds since 1970.
    pub started: f64,
    /// When it ended, in seconds since 1970.
    pub ended: Option<f64>,
    /// Why it failed.
    pub error: Option<Error>,
    /// What its model calls used; nothing while it has not ended.
    pub usage: Option<Usage>,
    /// How many model calls it made.
    pub model_calls: u64,
    /// How many lines it had printed and logged when that was last written down.
    #[serde(skip)]
    pub said: u64,
}

/// The runs of a journal, the newest first.
#[derive(Debug, Clone, Default)]
pub struct RunList {
    /// Those that can be read.
    pub runs: Vec<RunSummary>,
    /// Those whose row is damaged: they can only be removed.
    pub damaged: Vec<DamagedRun>,
}

/// A run whose row cannot be read.
#[derive(Debug, Clone)]
pub struct DamagedRun {
    /// Its id, with U+FFFD for what is not UTF-8.
    pub id: String,
    /// When it began, in seconds since 1970, if that can still be read.
    pub started: Option<f64>,
    /// Why it cannot be read.
    pub error: Error,
}

/// An effect of a run, with its times.
#[derive(Debug, Clone)]
pub struct KeptEffect {
    /// What it was and what came of it.
    pub entry: Entry,
    /// When it began, since the run did.
    pub began: Duration,
    /// How long it took; `None` when it never ended.
    pub took: Option<Duration>,
}

/// A run with all that it did.
#[derive(Debug, Clone)]
pub struct KeptRun {
    /// What it was, and how it stands.
    pub summary: RunSummary,
    /// What it did, in the order in which it began.
    pub effects: Vec<KeptEffect>,
}

impl KeptRun {
    /// What was under way when the run ended, or failed last, and must not be done twice: nobody knows whether it happened.
    pub fn unfinished(&self) -> impl Iterator<Item = &Effect> {
        let tried_again = self.tried_again();
        let open = self.effects.iter().filter(move |effect| match &effect.entry.end {
            Some(end) => end.order >= tried_again,
            None => true,
        });
        open.map(|effect| &effect.entry.effect).filter(|effect| !effect.ask.repeatable)
    }

    /// How many of the lines that it said before are the same when it goes on.
    pub(super) fn heard(&self) -> u64 {
        let tried_again = self.tried_again();
        let ends = self.effects.iter().filter_map(|effect| effect.entry.end.as_ref());
        let (again, before): (Vec<_>, Vec<_>) = ends.partition(|end| end.order >= tried_again);
        match again.iter().map(|end| end.said).min() {
            // What it said after that may be otherwise.
            Some(said) => said,
            None => before.iter().map(|end| end.said).max().unwrap_or(0).max(self.summary.said),
        }
    }

    /// The place in the [order](End::order) from which on all failed. Whatever a run did not live through is tried again
    /// when it goes on; what it lived through happens as it did.
    pub(super) fn tried_again(&self) -> u64 {
        let ends = self.effects.iter().filter_map(|effect| effect.entry.end.as_ref());
        ends.filter(|end| end.answer.is_ok()).map(|end| end.order).max().unwrap_or(0) + 1
    }
}

/// What to do about an effect that was under way when its run ended, and must not be done twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unfinished {
    /// The script gets an error of kind `interrupted`, and decides.
    #[default]
    Fail,
    /// It did not happen: do it now.
    Repeat,
    /// It happened; it has no answer that the script would need.
    Done,
}

/// The runs that are kept in a folder. Cheap to clone; nothing is opened or made before it is needed.
#[derive(Debug, Clone)]
pub struct Runs(Arc<Store>);

#[derive(Debug)]
struct Store {
    folder: PathBuf,
    database: Mutex<Option<Connection>>,
}

impl Runs {
    /// The runs in this folder, an absolute path, which is made when the first one is kept.
    #[must_use]
    pub fn in_folder(folder: impl Into<PathBuf>) -> Self {
        Self(Arc::new(Store { folder: folder.into(), database: Mutex::default() }))
    }

    /// All runs, the newest first. A damaged row hides no other run.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn list(&self) -> Result<RunList> {
        let rows = self.read(|database| {
            let mut statement = database.prepare(&format!("{SUMMARY} ORDER BY started DESC, id DESC"))?;
            statement.query_map([], |row| Ok(StoredRow::of(row)))?.collect::<Result<Vec<_>, _>>()
        })?;
        let mut list = RunList::default();
        for StoredRow { id, started, raw } in rows.unwrap_or_default() {
            match raw.map_err(|error| damaged(&error.to_string())).and_then(|raw| self.summary(raw)) {
                Ok(summary) => list.runs.push(summary),
                Err(error) => list.damaged.push(DamagedRun { id, started, error }),
            }
        }
        Ok(list)
    }

    /// The whole id of the only run whose id begins like this. The run itself may be damaged.
    ///
    /// # Errors
    /// When there is none, or more than one, or the journal cannot be read.
    pub fn resolve(&self, id: &str) -> Result<String> {
        let ids = self.read(|database| {
            let sql = "SELECT id FROM run WHERE substr(id, 1, length(?1)) = ?1 ORDER BY id LIMIT 2";
            database.prepare(sql)?.query_map([id], |row| Ok(lossy_id(row)))?.collect::<Result<Vec<_>, _>>()
        })?;
        let mut ids = ids.unwrap_or_default();
        match (ids.pop(), ids.pop()) {
            (Some(found), None) if !id.is_empty() => Ok(found),
            (None, _) => Err(Error::new(ErrorKind::NotFound, format!("there is no run `{id}`"))
                .hint("`llmspell runs` lists them")),
            _ => Err(Error::new(ErrorKind::Conflict, format!("more than one run begins with `{id}`"))),
        }
    }

    /// The run with this id, or the only one whose id begins with it.
    ///
    /// # Errors
    /// When there is none, or more than one, or the journal cannot be read.
    pub fn find(&self, id: &str) -> Result<KeptRun> {
        let id = self.resolve(id)?;
        let row = self.read(|database| {
            database.query_row(&format!("{SUMMARY} WHERE id = ?1"), [&id], |row| Ok(StoredRow::of(row)))
        })?;
        let gone = || Error::new(ErrorKind::NotFound, format!("run {id} has been removed"));
        let raw = row.ok_or_else(gone)?.raw.map_err(|error| damaged(&error.to_string()));
        let read =
            raw.and_then(|raw| Ok(KeptRun { summary: self.summary(raw)?, effects: self.effects(&id)? }));
        read.map_err(|error| match error.kind() {
            ErrorKind::Replay => error
                .prefixed(format_args!("run {id}: "))
                .hint(format!("other runs are not affected; `llmspell runs prune {id}` removes this one")),
            _ => error,
        })
    }

    /// Whether a run with this whole id is kept.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn holds(&self, id: &str) -> Result<bool> {
        let sql = "SELECT 1 FROM run WHERE id = ?1";
        Ok(self.read(|database| database.prepare(sql)?.exists([id]))?.unwrap_or(false))
    }

    /// Removes runs for good, with all that they did. Those that are running stay. Returns how many were removed.
    ///
    /// # Errors
    /// When the journal cannot be written.
    pub fn remove<'a>(&self, ids: impl IntoIterator<Item = &'a str>) -> Result<usize> {
        let mut removed = 0;
        for id in ids {
            if self.lock(id)?.is_none() {
                continue;
            }
            removed += self.write(|database| {
                let change = database.transaction()?;
                change.execute("DELETE FROM effect WHERE run = ?1", [id])?;
                change.execute("DELETE FROM part WHERE run = ?1", [id])?;
                // A damaged id may be stored as bytes.
                let removed = change.execute("DELETE FROM run WHERE CAST(id AS TEXT) = ?1", [id])?;
                change.commit()?;
                Ok(removed)
            })?;
            let _ = std::fs::remove_file(self.lock_file(id));
        }
        if removed > 0 {
            self.write(|database| database.execute_batch("PRAGMA wal_checkpoint(TRUNCATE); VACUUM"))?;
        }
        Ok(removed)
    }

    fn effects(&self, run: &str) -> Result<Vec<KeptEffect>> {
        let found = self.read(|database| {
            let mut parts = database.prepare("SELECT hash, value FROM part WHERE run = ?1")?;
            let parts = parts.query_map([run], |row| Ok((row.get(0)?, row.get(1)?)))?;
            let parts = parts.collect::<Result<HashMap<String, String>, _>>()?;
            let sql =
                "SELECT task, number, capability, operation, request, repeatable, began, ended, place, said,
                answer, error FROM effect WHERE run = ?1 ORDER BY began, place, task, number";
            let mut effects = database.prepare(sql)?;
            let effects = effects.query_map([run], |row| Ok(effect(row, &parts)))?;
            Ok(effects.collect::<Result<Vec<_>, _>>()?.into_iter().collect::<Result<Vec<_>>>())
        })?;
        found.unwrap_or_else(|| Ok(Vec::new()))
    }

    fn summary(&self, raw: Raw) -> Result<RunSummary> {
        let error: Option<Error> = raw.error.as_deref().map(parse).transpose()?;
        let state = match (raw.ended, &error) {
            (Some(_), None) => RunState::Done,
            (Some(_), Some(_)) => RunState::Failed,
            (None, _) if self.is_running(&raw.id) => RunState::Running,
            (None, _) => RunState::Died,
        };
        let info: RunInfo = parse(&raw.info)?;
        if info.run_id != raw.id {
            return Err(damaged("it describes another run"));
        }
        Ok(RunSummary {
            info,
            path: raw.path.map(PathBuf::from),
            working_dir: raw.working_dir.map(PathBuf::from),
            state,
            started: seconds(raw.started),
            ended: raw.ended.map(seconds),
            error,
            usage: raw.usage.as_deref().map(parse).transpose()?,
            model_calls: u64::try_from(raw.model_calls).unwrap_or(0),
            said: u64::try_from(raw.said).unwrap_or(0),
        })
    }

    /// Asks the database, if there is one.
    pub(super) fn read<T>(&self, ask: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<Option<T>> {
        if !self.file().exists() {
            return Ok(None);
        }
        self.with(|database| ask(database)).map(Some)
    }

    /// Changes the database, which is made if need be.
    pub(super) fn write<T>(&self, change: impl FnOnce(&mut Connection) -> rusqlite::Result<T>) -> Result<T> {
        self.with(change)
    }

    fn with<T>(&self, work: impl FnOnce(&mut Connection) -> rusqlite::Result<T>) -> Result<T> {
        let mut database = self.open()?;
        let database = database.as_mut().ok_or_else(|| Error::internal("the journal is not open"))?;
        work(database).map_err(|error| JOURNAL.failed(error))
    }

    fn open(&self) -> Result<MutexGuard<'_, Option<Connection>>> {
        let mut database = self.0.database.lock().unwrap_or_else(PoisonError::into_inner);
        if database.is_none() {
            private_folder(&self.0.folder)?;
            *database = Some(JOURNAL.open(&self.file())?);
        }
        Ok(database)
    }

    fn file(&self) -> PathBuf {
        self.0.folder.join("runs.db")
    }

    fn lock_file(&self, id: &str) -> PathBuf {
        // The id comes from the database, so a damaged one must not name a file elsewhere.
        let name: String =
            id.chars().map(|letter| if letter.is_alphanumeric() { letter } else { '-' }).collect();
        self.0.folder.join(format!("{name}.lock"))
    }

    /// Says that this process is at a run, for as long as the file lives; `None` when another one is.
    pub(super) fn lock(&self, id: &str) -> Result<Option<File>> {
        private_folder(&self.0.folder)?;
        let path = self.lock_file(id);
        let failed = |error| {
            Error::new(ErrorKind::Io, format!("cannot lock {}: {error}", path.display())).with_source(error)
        };
        let file = File::options().create(true).truncate(false).write(true).open(&path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(failed(error)),
        }
    }

    /// Forgets that this process was at a run.
    pub(super) fn unlock(&self, id: &str, lock: File) {
        // First the name, then the lock: nobody can take a lock that is about to lose its name. A file that stays is no
        // harm.
        let _ = std::fs::remove_file(self.lock_file(id));
        drop(lock);
    }

    fn is_running(&self, id: &str) -> bool {
        let file = File::options().write(true).open(self.lock_file(id));
        file.is_ok_and(|file| matches!(file.try_lock(), Err(TryLockError::WouldBlock)))
    }
}

/// Makes a folder for the user alone: prompts are private.
fn private_folder(path: &Path) -> Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path).map_err(|error| {
        let message = format!("cannot make the folder {}: {error}", path.display());
        Error::new(ErrorKind::Io, message).with_source(error)
    })
}

const SUMMARY: &str =
    "SELECT id, info, path, working_dir, started, ended, error, usage, model_calls, said FROM run";

/// The id in a row's first column, whatever it holds.
fn lossy_id(row: &Row<'_>) -> String {
    let id = row.get_ref(0).map(|id| id.as_bytes().map(String::from_utf8_lossy).unwrap_or_default());
    id.unwrap_or_default().into_owned()
}

/// A row of the table of runs, with what can be told of it when it is damaged.
struct StoredRow {
    id: String,
    started: Option<f64>,
    raw: rusqlite::Result<Raw>,
}

impl StoredRow {
    fn of(row: &Row<'_>) -> Self {
        let raw = Raw::read(row);
        let started = row.get("started").ok().map(seconds);
        Self { id: lossy_id(row), started, raw }
    }
}

/// The columns of a row of the table of runs.
struct Raw {
    id: String,
    info: String,
    path: Option<String>,
    working_dir: Option<String>,
    started: i64,
    ended: Option<i64>,
    error: Option<String>,
    usage: Option<String>,
    model_calls: i64,
    said: i64,
}

impl Raw {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            id: row.get(0)?,
            info: row.get(1)?,
            path: row.get(2)?,
            working_dir: row.get(3)?,
            started: row.get(4)?,
            ended: row.get(5)?,
            error: row.get(6)?,
            usage: row.get(7)?,
            model_calls: row.get(8)?,
            said: row.get(9)?,
        })
    }
}

fn effect(row: &Row<'_>, parts: &HashMap<String, String>) -> Result<KeptEffect> {
    let failed = |error| JOURNAL.failed(error);
    let text = |at: usize| row.get::<_, String>(at).map_err(failed);
    let number = |at: usize| row.get::<_, Option<i64>>(at).map_err(failed);
    let json = |at: usize| -> Result<Option<llmspell_core::Value>> {
        let found = row.get_ref(at).and_then(|found| Ok(found.as_str_or_null()?)).map_err(failed)?;
        found.map(|text| unpack(text, parts)).transpose()
    };
    let ask = Ask {
        capability: text(2)?.into(),
        operation: text(3)?.into(),
        request: json(4)?.unwrap_or_default(),
        repeatable: number(5)? != Some(0),
    };
    let count = number(1)?.and_then(|count| u32::try_from(count).ok()).unwrap_or(0);
    let path = EffectPath { task: text(0)?, count };
    let answer = match (json(10)?, json(11)?) {
        (_, Some(error)) => Some(Err(from_value::<Error>(error)?)),
        (answer, None) => answer.map(Ok),
    };
    let unsigned = |number: Option<i64>| u64::try_from(number.unwrap_or(0)).unwrap_or(0);
    let (order, said) = (unsigned(number(8)?), unsigned(number(9)?));
    let end = answer.map(|answer| End { order, said, answer });
    let began = unsigned(number(6)?);
    let took = number(7)?.map(|ended| Duration::from_micros(unsigned(Some(ended)).saturating_sub(began)));
    let entry = Entry { effect: Effect { path, ask }, end };
    Ok(KeptEffect { entry, began: Duration::from_micros(began), took })
}

fn parse<T: serde::de::DeserializeOwned>(text: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|error| damaged(&error.to_string()))
}

fn seconds(millis: i64) -> f64 {
    Duration::from_millis(u64::try_from(millis).unwrap_or(0)).as_secs_f64()
}

/// A moment, in milliseconds since 1970.
pub(super) fn moment(time: SystemTime) -> i64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

fn micros(span: Duration) -> i64 {
    i64::try_from(span.as_micros()).unwrap_or(i64::MAX)
}

/// Keeps the parts of one run.
struct RunParts<'a> {
    run: &'a str,
    known: &'a mut std::collections::HashSet<String>,
    new: Vec<(String, String)>,
}

impl Parts for RunParts<'_> {
    fn has(&mut self, hash: &str) -> bool {
        !self.known.insert(hash.to_owned())
    }

    fn keep(&mut self, hash: String, part: String) {
        self.new.push((hash, part));
    }
}

impl RunParts<'_> {
    fn write(&self, database: &Connection) -> rusqlite::Result<()> {
        let mut statement = database.prepare_cached(
            "INSERT INTO part (run, hash, value) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
        )?;
        self.new.iter().try_for_each(|(hash, part)| statement.execute([self.run, hash, part]).map(drop))
    }
}

/// One run's rows, for the run itself to write.
pub(super) struct Rows<'a> {
    pub(super) runs: &'a Runs,
    pub(super) run: &'a str,
    pub(super) known: &'a mut std::collections::HashSet<String>,
}

impl Rows<'_> {
    /// Writes down that the run has begun, begins again, or knows more of itself.
    pub(super) fn begin_run(
        &self,
        info: &RunInfo,
        path: Option<&Path>,
        working_dir: Option<&Path>,
        started: SystemTime,
    ) -> Result<()> {
        let info = json(info)?;
        let text = |path: Option<&Path>| path.map(|path| path.to_string_lossy().into_owned());
        self.runs.write(|database| {
            database.execute(
                "INSERT INTO run (id, info, path, working_dir, started, model_calls, said)
                 VALUES (?1, ?2, ?3, ?4, ?5, 0, 0)
                 ON CONFLICT (id) DO UPDATE SET info = excluded.info, ended = NULL, error = NULL, usage = NULL",
                params![self.run, info, text(path), text(working_dir), moment(started)],
            )
        })?;
        Ok(())
    }

    /// Writes down that an effect began.
    pub(super) fn begin(&mut self, effect: &Effect, began: Duration) -> Result<()> {
        self.put(effect, began, None)
    }

    /// Writes down that an effect has ended, whether its beginning was written down or not.
    pub(super) fn finish(
        &mut self,
        effect: &Effect,
        began: Duration,
        ended: Duration,
        end: &End,
    ) -> Result<()> {
        self.put(effect, began, Some((ended, end)))
    }

    fn put(&mut self, effect: &Effect, began: Duration, end: Option<(Duration, &End)>) -> Result<()> {
        let mut parts = RunParts { run: self.run, known: self.known, new: Vec::new() };
        let Effect { path, ask } = effect;
        let request = pack(&ask.request, &mut parts)?;
        let (mut answer, mut error) = (None, None);
        match end.map(|(_, end)| &end.answer) {
            Some(Ok(value)) => answer = Some(pack_answer(value, &mut parts)?),
            Some(Err(failed)) => error = Some(pack_answer(&to_value(failed)?, &mut parts)?),
            None => {}
        }
        let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        let (run, parts) = (self.run, parts);
        self.runs.write(|database| {
            let change = match parts.new.is_empty() {
                true => None,
                false => Some(database.unchecked_transaction()?),
            };
            parts.write(database)?;
            database
                .prepare_cached(
                    "INSERT INTO effect (run, task, number, capability, operation, request, repeatable, began, ended,
                        place, said, answer, error)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)
                     ON CONFLICT (run, task, number) DO UPDATE SET began = excluded.began, ended = excluded.ended,
                        place = excluded.place, said = excluded.said, answer = excluded.answer, error = excluded.error",
                )?
                .execute(params![
                    run,
                    path.task,
                    path.count,
                    ask.capability,
                    ask.operation,
                    request,
                    ask.repeatable,
                    micros(began),
                    end.map(|(ended, _)| micros(ended)),
                    end.map(|(_, end)| number(end.order)),
                    end.map(|(_, end)| number(end.said)),
                    answer,
                    error,
                ])?;
            change.map_or(Ok(()), rusqlite::Transaction::commit)
        })
    }

    /// Writes down how the run ended.
    pub(super) fn end_run(&self, outcome: &Outcome, said: u64) -> Result<()> {
        let error = outcome.error.as_ref().map(json).transpose()?;
        let usage = json(&outcome.usage)?;
        let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        let (calls, said) = (number(outcome.model_calls), number(said));
        self.runs.write(|database| {
            database.execute(
                "UPDATE run SET ended = ?2, error = ?3, usage = ?4, model_calls = ?5, said = max(said, ?6) WHERE id = ?1",
                params![self.run, moment(SystemTime::now()), error, usage, calls, said],
            )
        })?;
        Ok(())
    }
}
