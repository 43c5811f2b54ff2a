//! Reads runs and their effects from the database.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

use llmspell_core::effect::{Effect, EffectPath, EffectRequest, EffectResult, JournalEntry};
use llmspell_core::{Error, RecordedStream, Result, Value, from_value};
use rusqlite::{Connection, Row};

use super::unsigned;
use crate::journal::RunInfo;
use crate::journal::blobs::{Blobs, damaged, unpack};
use crate::store::{RunState, RunSummary, StoredEffect};

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

/// Returns the effects of a run, in the order of their starts. The outer error is the database's, the inner one reports
/// a damaged run.
pub(super) fn effects(database: &Connection, run: &str) -> rusqlite::Result<Result<Vec<StoredEffect>>> {
    let mut blobs =
        database.prepare("SELECT hash, value FROM run_blob JOIN blob USING (hash) WHERE run = ?1")?;
    let blobs =
        blobs.query_map([run], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Result<Blobs, _>>()?;

    let sql = "SELECT task, number, value FROM part_of_answer WHERE run = ?1 ORDER BY task, number, place";
    let mut statement = database.prepare(sql)?;
    let found = statement.query_map([run], |row| {
        Ok(((row.get::<_, String>(0)?, row.get::<_, i64>(1)?), row.get::<_, String>(2)?))
    })?;
    let mut parts: HashMap<(String, i64), Vec<String>> = HashMap::new();
    for row in found {
        let (effect, list) = row?;
        parts.entry(effect).or_default().push(list);
    }

    let sql = "SELECT task, number, capability, operation, request, repeatable, began, ended, place, said, answer, error
        FROM effect WHERE run = ?1 ORDER BY began, place, task, number";
    let mut statement = database.prepare(sql)?;
    let rows = statement.query_map([run], |row| Ok(effect(row, &blobs, &mut parts)))?;
    Ok(rows.collect::<Result<Vec<_>, _>>()?.into_iter().collect())
}

fn effect(
    row: &Row<'_>,
    blobs: &Blobs,
    parts: &mut HashMap<(String, i64), Vec<String>>,
) -> Result<StoredEffect> {
    let failed = |error: rusqlite::Error| damaged(&error.to_string());
    let text = |at: usize| row.get::<_, String>(at).map_err(failed);
    let number = |at: usize| row.get::<_, Option<i64>>(at).map_err(failed);
    let json = |at: usize| -> Result<Option<Value>> {
        let found: Option<String> = row.get(at).map_err(failed)?;
        found.map(|text| unpack(&text, blobs)).transpose()
    };
    let ask = EffectRequest {
        capability: text(2)?.into(),
        operation: text(3)?.into(),
        request: json(4)?.unwrap_or_default(),
        repeatable: number(5)? != Some(0),
        if_done: None,
    };
    let (task, count) = (text(0)?, number(1)?.unwrap_or(0));
    let mut arrived = RecordedStream::default();
    for list in parts.remove(&(task.clone(), count)).unwrap_or_default() {
        let list: Vec<(u64, Value)> = from_value(unpack(&list, blobs)?)?;
        list.into_iter().for_each(|(order, part)| arrived.push(order, part));
    }
    let path = EffectPath { task, count: u32::try_from(count).unwrap_or(0) };
    let answer = match (json(10)?, json(11)?) {
        (_, Some(error)) => Some(Err(from_value::<Error>(error)?)),
        (answer, None) => answer.map(Ok),
    };
    let count = |number: Option<i64>| unsigned(number.unwrap_or(0));
    let (order, said) = (count(number(8)?), count(number(9)?));
    let end = answer.map(|answer| EffectResult { order, said, answer });
    let began = count(number(6)?);
    let took = number(7)?.map(|ended| Duration::from_micros(unsigned(ended).saturating_sub(began)));
    let mut entry = JournalEntry { effect: Effect { path, ask }, end };
    if entry.end.is_some() {
        entry = std::mem::take(&mut arrived).into_entry(entry);
    }
    Ok(StoredEffect { entry, parts: arrived, began: Duration::from_micros(began), took })
}
