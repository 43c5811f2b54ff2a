//! Appends records to a run.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

use llmspell_core::effect::{Effect, EffectPath, EffectResult};
use llmspell_core::{Error, Result, to_value};
use rusqlite::{Connection, params};

use super::{JOURNAL, SqliteStore, moment, signed};
use crate::database::PATIENCE;
use crate::journal::RunInfo;
use crate::journal::blobs::{Blob, BlobSink, damaged, json, pack, pack_answer};
use crate::store::{JournalRecord, Lease, fenced};

impl SqliteStore {
    pub(super) fn append_records(&self, lease: &Lease, records: &[JournalRecord]) -> Result<()> {
        let guard = self.open()?;
        let database = guard.as_ref().ok_or_else(|| Error::internal("the journal is not open"))?;
        let result = match records.iter().any(JournalRecord::is_write_ahead) {
            true => {
                sync(database, "FULL")?;
                let result = append(database, lease, records, self.now());
                sync(database, "NORMAL")?;
                result
            }
            false => append(database, lease, records, self.now()),
        };
        self.checkpoint(database)?;
        result
    }

    /// Appends records if nothing has to be waited for: no sync to the disk, no checkpoint, no other user of the
    /// database.
    pub(super) fn append_at_once(&self, lease: &Lease, records: &[JournalRecord]) -> Option<Result<()>> {
        if self.is_checkpoint_due() || records.iter().any(JournalRecord::is_write_ahead) {
            return None;
        }
        let guard = self.0.database.try_lock().ok()?;
        let database = guard.as_ref()?;
        database.busy_timeout(Duration::ZERO).ok()?;
        let result = append(database, lease, records, self.now());
        match (database.busy_timeout(PATIENCE), result) {
            (Err(error), _) => Some(Err(JOURNAL.failed(error))),
            // Another process is writing.
            (Ok(()), Err(error)) if error.is_retryable() => None,
            (Ok(()), result) => Some(result),
        }
    }
}

fn sync(database: &Connection, mode: &str) -> Result<()> {
    database.pragma_update(None, "synchronous", mode).map_err(|error| JOURNAL.failed(error))
}

fn append(database: &Connection, lease: &Lease, records: &[JournalRecord], now: SystemTime) -> Result<()> {
    let failed = |error| JOURNAL.failed(error);
    let change = Change::begin(database).map_err(failed)?;
    let is_owner = change
        .0
        .prepare_cached("SELECT 1 FROM run WHERE id = ?1 AND epoch = ?2")
        .and_then(|mut owner| owner.exists(params![lease.run_id, signed(lease.epoch)]));
    if !is_owner.map_err(failed)? {
        return Err(fenced(lease));
    }
    let mut run = RunRows { database: change.0, run: &lease.run_id, now };
    // A batch may contain thousands of parts of one answer, so consecutive ones share a row.
    for records in records.chunk_by(|one, next| one.part_of().is_some() && one.part_of() == next.part_of()) {
        match records {
            [JournalRecord::Part { path, order, .. }, ..] => run.parts(path, *order, records)?,
            records => records.iter().try_for_each(|record| run.add(record))?,
        }
    }
    change.commit().map_err(failed)
}

/// A transaction whose statements are cached: it begins and ends with each effect, and parsing `BEGIN` and `COMMIT`
/// anew took longer than the rest. Dropped before its end, it is rolled back.
struct Change<'a>(&'a Connection);

impl<'a> Change<'a> {
    fn begin(database: &'a Connection) -> rusqlite::Result<Self> {
        database.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        Ok(Self(database))
    }

    fn commit(self) -> rusqlite::Result<()> {
        self.0.prepare_cached("COMMIT")?.execute([]).map(drop)
    }
}

impl Drop for Change<'_> {
    fn drop(&mut self) {
        if !self.0.is_autocommit() {
            // When it fails, the next transaction cannot begin, and says so.
            let _ = self.0.execute_batch("ROLLBACK");
        }
    }
}

/// The rows of one run, within a transaction.
struct RunRows<'a> {
    database: &'a Connection,
    run: &'a str,
    now: SystemTime,
}

impl BlobSink for RunRows<'_> {
    const TAKES_BYTES: bool = true;

    fn keep(&mut self, hash: &str, blob: Blob<'_>) -> Result<()> {
        let named = self.execute(
            "INSERT INTO run_blob (run, hash) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
            params![self.run, hash],
        )?;
        if named == 1 {
            self.execute(
                "INSERT INTO blob (hash, value, used) VALUES (?1, ?2, ?3)
                 ON CONFLICT (hash) DO UPDATE SET used = excluded.used",
                params![hash, blob.bytes(), moment(self.now)],
            )?;
        }
        Ok(())
    }
}

impl RunRows<'_> {
    fn execute(&self, sql: &str, values: &[&dyn rusqlite::ToSql]) -> Result<usize> {
        let mut statement = self.database.prepare_cached(sql).map_err(|error| JOURNAL.failed(error))?;
        statement.execute(values).map_err(|error| JOURNAL.failed(error))
    }

    fn add(&mut self, record: &JournalRecord) -> Result<()> {
        match record {
            JournalRecord::Started { effect, began } => self.start(effect, *began),
            JournalRecord::Part { path, order, .. } => self.parts(path, *order, std::slice::from_ref(record)),
            JournalRecord::Ended { path, ended, end } => self.end(path, *ended, end),
            JournalRecord::Done { effect, began, ended, end } => self.done(effect, *began, *ended, end),
            JournalRecord::Modules(modules) => self.modules(modules),
            JournalRecord::Lines(lines) => {
                let sql = "UPDATE run SET said = ?2 WHERE id = ?1";
                self.execute(sql, params![self.run, signed(*lines)]).map(drop)
            }
            JournalRecord::Closed { at, error, usage, model_calls, lines } => {
                let error = error.as_ref().map(json).transpose()?;
                let (usage, model_calls) = (json(usage)?, signed(*model_calls));
                self.execute(
                    "UPDATE run SET ended = ?2, error = ?3, usage = ?4, model_calls = ?5, said = max(said, ?6),
                        owner = NULL WHERE id = ?1",
                    params![self.run, moment(*at), error, usage, model_calls, signed(*lines)],
                )
                .map(drop)
            }
        }
    }

    fn start(&mut self, effect: &Effect, began: Duration) -> Result<()> {
        let Effect { path: EffectPath { task, count }, ask } = effect;
        let request = pack(&ask.request, self)?;
        // The effect may have a failed attempt from before the run was resumed.
        self.execute(
            "DELETE FROM part_of_answer WHERE run = ?1 AND task = ?2 AND number = ?3",
            params![self.run, task, count],
        )?;
        self.execute(
            "INSERT INTO effect (run, task, number, capability, operation, request, repeatable, began)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
             ON CONFLICT (run, task, number) DO UPDATE SET request = excluded.request, began = excluded.began,
                ended = NULL, place = NULL, said = NULL, answer = NULL, error = NULL",
            params![
                self.run,
                task,
                count,
                ask.capability,
                ask.operation,
                request,
                ask.repeatable,
                micros(began)
            ],
        )
        .map(drop)
    }

    /// Adds consecutive parts of one answer, as a list of pairs of order and part.
    fn parts(&mut self, path: &EffectPath, first: u64, parts: &[JournalRecord]) -> Result<()> {
        let mut list = String::from("[");
        for record in parts {
            if let JournalRecord::Part { order, part, .. } = record {
                if list.len() > 1 {
                    list.push(',');
                }
                // Writing to a string does not fail.
                let _ = write!(list, "[{order},{}]", pack_answer(part, self)?);
            }
        }
        list.push(']');
        self.execute(
            "INSERT INTO part_of_answer (run, task, number, place, value) VALUES (?1, ?2, ?3, ?4, ?5)",
            params![self.run, path.task, path.count, signed(first), list],
        )
        .map(drop)
    }

    fn end(&mut self, path: &EffectPath, ended: Duration, end: &EffectResult) -> Result<()> {
        let (answer, error) = self.answer(end)?;
        let (order, said) = (signed(end.order), signed(end.said));
        self.execute(
            "UPDATE effect SET ended = ?4, place = ?5, said = ?6, answer = ?7, error = ?8
             WHERE run = ?1 AND task = ?2 AND number = ?3",
            params![self.run, path.task, path.count, micros(ended), order, said, answer, error],
        )
        .map(drop)
    }

    fn done(&mut self, effect: &Effect, began: Duration, ended: Duration, end: &EffectResult) -> Result<()> {
        let Effect { path: EffectPath { task, count }, ask } = effect;
        let request = pack(&ask.request, self)?;
        let (answer, error) = self.answer(end)?;
        self.execute(
            "INSERT INTO effect (run, task, number, capability, operation, request, repeatable, began, ended, place, said,
                answer, error)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)
             ON CONFLICT (run, task, number) DO UPDATE SET request = excluded.request, began = excluded.began,
                ended = excluded.ended, place = excluded.place, said = excluded.said, answer = excluded.answer,
                error = excluded.error",
            params![
                self.run,
                task,
                count,
                ask.capability,
                ask.operation,
                request,
                ask.repeatable,
                micros(began),
                micros(ended),
                signed(end.order),
                signed(end.said),
                answer,
                error
            ],
        )
        .map(drop)
    }

    fn modules(&self, modules: &BTreeMap<String, Option<String>>) -> Result<()> {
        let failed = |error| JOURNAL.failed(error);
        let sql = "SELECT info FROM run WHERE id = ?1";
        let info: String = self.database.query_row(sql, [self.run], |row| row.get(0)).map_err(failed)?;
        let mut info: RunInfo = serde_json::from_str(&info).map_err(|error| damaged(&error.to_string()))?;
        for (path, digest) in modules {
            info.modules.entry(path.clone()).or_insert_with(|| digest.clone());
        }
        self.execute("UPDATE run SET info = ?2 WHERE id = ?1", params![self.run, json(&info)?]).map(drop)
    }

    /// Returns the columns `answer` and `error` of an end.
    fn answer(&mut self, end: &EffectResult) -> Result<(Option<String>, Option<String>)> {
        Ok(match &end.answer {
            Ok(value) => (Some(pack_answer(value, self)?), None),
            Err(error) => (None, Some(pack_answer(&to_value(error)?, self)?)),
        })
    }
}

fn micros(span: Duration) -> i64 {
    i64::try_from(span.as_micros()).unwrap_or(i64::MAX)
}
