//! Reads runs and their effects from the database.

use std::borrow::Cow;
use std::path::PathBuf;
use std::time::Duration;

use llmspell_core::effect::{Answer, Effect, EffectPath, EffectRequest, EffectResult, JournalEntry};
use llmspell_core::{Error, RecordedStream, Result, Value, from_value};
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::unsigned;
use crate::journal::RunInfo;
use crate::journal::blobs::{BlobSource, Blobs, RequestDigest, damaged, unpack};
use crate::store::{
    ArrivedParts, IndexedEffect, IndexedEnd, RunState, RunSummary, SMALL_ANSWER, StoredEffect,
};

pub(super) const SUMMARY: &str =
    "SELECT id, info, path, working_dir, started, ended, error, usage, model_calls, said, owner FROM run";

/// Returns the id in a row's first column, even if it is not text.
pub(super) fn lossy_id(row: &Row<'_>) -> String {
    let id = row.get_ref(0).map(|id| id.as_bytes().map(String::from_utf8_lossy).unwrap_or_default());
    id.unwrap_or_default().into_owned()
}

/// A row of the table `run`. Its id and start are readable even if the row is damaged.
pub(super) struct StoredRow {
    pub(super) id: String,
    pub(super) started: Option<f64>,
    pub(super) columns: rusqlite::Result<Columns>,
}

impl StoredRow {
    pub(super) fn of(row: &Row<'_>) -> Self {
        let columns = Columns::read(row);
        Self { id: lossy_id(row), started: row.get("started").ok().map(seconds), columns }
    }
}

/// The columns of a row of the table `run`.
pub(super) struct Columns {
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
    owner: Option<String>,
}

impl Columns {
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
            owner: row.get(10)?,
        })
    }

    /// Converts the columns into a summary. `lives` tells whether an owner is alive.
    pub(super) fn summary(self, lives: impl FnOnce(Option<&str>) -> bool) -> Result<RunSummary> {
        let error: Option<Error> = self.error.as_deref().map(parse).transpose()?;
        let state = match (self.ended, &error) {
            (Some(_), None) => RunState::Done,
            (Some(_), Some(_)) => RunState::Failed,
            (None, _) if lives(self.owner.as_deref()) => RunState::Running,
            (None, _) => RunState::Died,
        };
        let info: RunInfo = parse(&self.info)?;
        if info.run_id != self.id {
            return Err(damaged("it describes another run"));
        }
        Ok(RunSummary {
            info,
            path: self.path.map(PathBuf::from),
            working_dir: self.working_dir.map(PathBuf::from),
            state,
            started: seconds(self.started),
            ended: self.ended.map(seconds),
            error,
            usage: self.usage.as_deref().map(parse).transpose()?,
            model_calls: unsigned(self.model_calls),
            lines: unsigned(self.said),
        })
    }
}

fn parse<T: serde::de::DeserializeOwned>(text: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|error| damaged(&error.to_string()))
}

fn seconds(millis: i64) -> f64 {
    Duration::from_millis(unsigned(millis)).as_secs_f64()
}

/// The blobs in the database.
struct StoredBlobs<'a>(&'a Connection);

impl BlobSource for StoredBlobs<'_> {
    fn find(&self, hash: &str) -> Result<Option<Cow<'_, [u8]>>> {
        let find = || {
            let mut blob = self.0.prepare_cached("SELECT value FROM blob WHERE hash = ?1")?;
            blob.query_row([hash], |row| row.get(0)).optional()
        };
        let blob: Option<Vec<u8>> = find().map_err(failed)?;
        Ok(blob.map(Cow::Owned))
    }
}

/// Returns the index of a run's effects, in the order of their starts. The requests of the effects that a resumed run
/// performs again are missing.
pub(super) fn index(database: &Connection, run: &str) -> Result<Vec<IndexedEffect>> {
    // SQLite does not read the pages of a text to find its size in bytes. The answer of a stream tells whether it
    // failed.
    let sql = "SELECT task, number, capability, operation, request, repeatable, began, ended, place, said,
            CASE WHEN operation = 'stream' OR octet_length(answer) <= ?2 THEN answer END,
            CASE WHEN octet_length(error) <= ?2 THEN error END,
            coalesce(octet_length(answer), 0) + coalesce(octet_length(error), 0),
            answer IS NOT NULL, error IS NOT NULL
        FROM effect WHERE run = ?1";
    let mut statement = database.prepare_cached(sql).map_err(failed)?;
    let mut rows = statement.query(params![run, SMALL_ANSWER]).map_err(failed)?;
    let mut effects = Vec::new();
    while let Some(row) = rows.next().map_err(failed)? {
        effects.push(indexed(row)?);
    }
    for effect in effects.iter_mut().filter(|effect| effect.end.is_none()) {
        effect.arrived = ArrivedParts::of(&parts(database, run, &effect.path)?);
    }
    effects.sort_by(|a, b| {
        let key = |effect: &IndexedEffect| (effect.began, effect.end.as_ref().map(|end| end.order));
        key(a).cmp(&key(b)).then_with(|| (&a.path.task, a.path.count).cmp(&(&b.path.task, b.path.count)))
    });
    Ok(effects)
}

/// Reads the row of an effect, except for its parts.
fn indexed(row: &Row<'_>) -> Result<IndexedEffect> {
    let columns = EffectColumns(row);
    let (answer, error): (Option<String>, Option<String>) = (columns.get(10)?, columns.get(11)?);
    let (is_answered, is_error): (bool, bool) = (columns.get(13)?, columns.get(14)?);
    let size = unsigned(columns.get(12)?);
    let is_stream = columns.operation()? == "stream";
    // An answer with blobs cannot be unpacked without them, and so it is not small.
    let small = |text: Option<&str>| unpack(text?, &Blobs::new()).ok();
    let failed = is_error || (is_stream && stream_failed(answer.as_deref())?);
    let answer = match is_error {
        true => small(error.as_deref()).and_then(|error| from_value::<Error>(error).ok()).map(Err),
        // The parts of a stream are elsewhere.
        false if is_stream => None,
        false => small(answer.as_deref()).map(Ok),
    };
    let (order, said) = (columns.count(8)?, columns.count(9)?);
    let end = (is_answered || is_error).then_some(IndexedEnd { order, said, failed, size, answer });
    Ok(IndexedEffect {
        path: columns.path()?,
        capability: columns.get(2)?,
        operation: columns.operation()?,
        repeatable: columns.get::<i64>(5)? != 0,
        digest: RequestDigest::of_stored(&columns.get::<String>(4)?),
        request: None,
        end,
        arrived: ArrivedParts::default(),
        began: columns.began()?,
        took: columns.took()?,
    })
}

/// Returns whether the stored answer of a stream is one that ended with an error.
fn stream_failed(answer: Option<&str>) -> Result<bool> {
    let Some(answer) = answer else { return Ok(false) };
    let answer: Value = serde_json::from_str(answer).map_err(|error| damaged(&error.to_string()))?;
    Ok(
        matches!(answer.get("end"), Some(Value::List(end)) if end.get(1).is_some_and(|error| *error != Value::Nil)),
    )
}

/// Returns one effect; `None` if the run has none with this path.
pub(super) fn effect(database: &Connection, run: &str, path: &EffectPath) -> Result<Option<StoredEffect>> {
    let sql = "SELECT task, number, capability, operation, request, repeatable, began, ended, place, said, answer, error
        FROM effect WHERE run = ?1 AND task = ?2 AND number = ?3";
    let mut statement = database.prepare_cached(sql).map_err(failed)?;
    let mut rows = statement.query(params![run, path.task, path.count]).map_err(failed)?;
    let Some(row) = rows.next().map_err(failed)? else { return Ok(None) };
    let columns = EffectColumns(row);
    let ask = EffectRequest {
        capability: columns.get::<String>(2)?.into(),
        operation: columns.operation()?.into(),
        request: unpack(&columns.get::<String>(4)?, &StoredBlobs(database))?,
        repeatable: columns.get::<i64>(5)? != 0,
        if_done: None,
    };
    let end = stored_answer(database, [columns.get(10)?, columns.get(11)?])?;
    let (order, said) = (columns.count(8)?, columns.count(9)?);
    let end = end.map(|answer| EffectResult { order, said, answer });
    let mut parts = parts(database, run, path)?;
    let mut entry = JournalEntry { effect: Effect { path: columns.path()?, ask }, end };
    if entry.end.is_some() {
        entry = std::mem::take(&mut parts).into_entry(entry);
    }
    Ok(Some(StoredEffect { entry, parts, began: columns.began()?, took: columns.took()? }))
}

/// Returns the request of an effect.
pub(super) fn request(database: &Connection, run: &str, path: &EffectPath) -> Result<Value> {
    let sql = "SELECT request FROM effect WHERE run = ?1 AND task = ?2 AND number = ?3";
    let read = || {
        let mut statement = database.prepare_cached(sql)?;
        statement.query_row(params![run, path.task, path.count], |row| row.get::<_, String>(0))
    };
    unpack(&read().map_err(failed)?, &StoredBlobs(database))
}

/// Returns the answer of an effect, or the parts of a streamed one that arrived; `None` if there is neither.
pub(super) fn answer(database: &Connection, run: &str, path: &EffectPath) -> Result<Option<Answer>> {
    let sql = "SELECT operation, answer, error FROM effect WHERE run = ?1 AND task = ?2 AND number = ?3";
    let read = || {
        let mut statement = database.prepare_cached(sql)?;
        let columns = |row: &Row<'_>| Ok((row.get::<_, String>(0)?, [row.get(1)?, row.get(2)?]));
        statement.query_row(params![run, path.task, path.count], columns).optional()
    };
    let Some((operation, stored)) = read().map_err(failed)? else { return Ok(None) };
    let answer = stored_answer(database, stored)?;
    if operation != "stream" {
        return Ok(answer);
    }
    let parts = parts(database, run, path)?;
    Ok(match answer {
        Some(answer) => Some(parts.into_answer(answer)),
        None => parts.arrived().map(Ok),
    })
}

/// Converts the columns `answer` and `error`.
fn stored_answer(database: &Connection, [answer, error]: [Option<String>; 2]) -> Result<Option<Answer>> {
    let blobs = StoredBlobs(database);
    Ok(match (answer, error) {
        (_, Some(error)) => Some(Err(from_value::<Error>(unpack(&error, &blobs)?)?)),
        (Some(answer), None) => Some(Ok(unpack(&answer, &blobs)?)),
        (None, None) => None,
    })
}

fn parts(database: &Connection, run: &str, path: &EffectPath) -> Result<RecordedStream> {
    let sql = "SELECT value FROM part_of_answer WHERE run = ?1 AND task = ?2 AND number = ?3 ORDER BY place";
    let mut statement = database.prepare_cached(sql).map_err(failed)?;
    let mut rows = statement.query(params![run, path.task, path.count]).map_err(failed)?;
    let mut parts = RecordedStream::default();
    while let Some(row) = rows.next().map_err(failed)? {
        let list: String = row.get(0).map_err(failed)?;
        let list: Vec<(u64, Value)> = from_value(unpack(&list, &StoredBlobs(database))?)?;
        list.into_iter().for_each(|(order, part)| parts.push(order, part));
    }
    Ok(parts)
}

/// Converts an error of SQLite about the rows of one run: they are damaged.
fn failed(error: rusqlite::Error) -> Error {
    damaged(&error.to_string())
}

/// The first ten columns of a row of the table `effect`.
struct EffectColumns<'a>(&'a Row<'a>);

impl EffectColumns<'_> {
    fn get<T: rusqlite::types::FromSql>(&self, at: usize) -> Result<T> {
        self.0.get(at).map_err(failed)
    }

    fn count(&self, at: usize) -> Result<u64> {
        Ok(unsigned(self.get::<Option<i64>>(at)?.unwrap_or(0)))
    }

    fn path(&self) -> Result<EffectPath> {
        Ok(EffectPath { task: self.get(0)?, count: u32::try_from(self.get::<i64>(1)?).unwrap_or(0) })
    }

    fn operation(&self) -> Result<String> {
        self.get(3)
    }

    fn began(&self) -> Result<Duration> {
        Ok(Duration::from_micros(self.count(6)?))
    }

    fn took(&self) -> Result<Option<Duration>> {
        let ended: Option<i64> = self.get(7)?;
        let began = self.count(6)?;
        Ok(ended.map(|ended| Duration::from_micros(unsigned(ended).saturating_sub(began))))
    }
}
