//! The SQLite database of one spell's storage: its keys and values, and the usage that the quota is checked against.

use std::path::Path;

use llmspell_core::{Error, ErrorKind, Result};
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};

use crate::database::DatabaseKind;

/// The quota in bytes, for keys, values and files together.
const MAX_BYTES: i64 = 64 << 20;
/// The quota for the number of keys, files and folders.
const MAX_ENTRIES: i64 = 10_000;

const STORAGE: DatabaseKind = DatabaseKind {
    name: "the spell's storage",
    // `LMSP`.
    application: 0x4C4D_5350,
    steps: &["
        CREATE TABLE entry (key TEXT NOT NULL PRIMARY KEY, value TEXT NOT NULL) STRICT;
        CREATE TABLE used (what TEXT NOT NULL PRIMARY KEY, bytes INTEGER NOT NULL, entries INTEGER NOT NULL) STRICT;
        INSERT INTO used VALUES ('keys', 0, 0), ('files', 0, 0);
    "],
    hint: "move the file away to begin with an empty storage",
};

/// An amount of storage: the current usage, or a difference to it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Used {
    pub(super) bytes: i64,
    pub(super) entries: i64,
}

impl Used {
    /// Returns the usage of one entry with this many bytes.
    pub(super) fn entry(bytes: u64) -> Self {
        Self { bytes: i64::try_from(bytes).unwrap_or(i64::MAX), entries: 1 }
    }

    pub(super) fn plus(self, more: Self) -> Self {
        Self {
            bytes: self.bytes.saturating_add(more.bytes),
            entries: self.entries.saturating_add(more.entries),
        }
    }
}

#[derive(Debug)]
pub(super) struct Database(Connection);

impl Database {
    /// Opens the database, and creates it if it is missing. A file that is not such a database is left unchanged.
    pub(super) fn open(path: &Path) -> Result<Self> {
        STORAGE.open(path).map(Self)
    }

    /// Returns the value of a key. `room` is called with its size before it is copied, and can refuse.
    pub(super) fn get(&self, key: &str, room: impl FnOnce(u64) -> Result<()>) -> Result<Option<String>> {
        let mut statement =
            self.0.prepare_cached("SELECT value FROM entry WHERE key = ?1").map_err(failed)?;
        let mut rows = statement.query([key]).map_err(failed)?;
        let Some(row) = rows.next().map_err(failed)? else { return Ok(None) };
        let value = row.get_ref(0).and_then(|value| Ok(value.as_str()?)).map_err(failed)?;
        room(value.len() as u64)?;
        Ok(Some(value.to_owned()))
    }

    /// Returns the sorted keys that begin with a prefix.
    pub(super) fn keys(&self, prefix: &str) -> Result<Vec<String>> {
        let sql = "SELECT key FROM entry WHERE key >= ?1 AND substr(key, 1, length(?1)) = ?1 ORDER BY key";
        let mut statement = self.0.prepare_cached(sql).map_err(failed)?;
        let rows = statement.query_map([prefix], |row| row.get(0)).map_err(failed)?;
        rows.collect::<Result<_, _>>().map_err(failed)
    }

    /// Begins a write transaction, which excludes all other writers. It is rolled back unless it is committed.
    pub(super) fn change(&mut self) -> Result<WriteTransaction<'_>> {
        self.0.transaction_with_behavior(TransactionBehavior::Immediate).map(WriteTransaction).map_err(failed)
    }
}

/// A write transaction.
#[derive(Debug)]
pub(super) struct WriteTransaction<'a>(Transaction<'a>);

impl WriteTransaction<'_> {
    /// Whether a key has this value; `None` means that the key is missing.
    pub(super) fn is(&self, key: &str, value: Option<&str>) -> Result<bool> {
        let mut statement =
            self.0.prepare_cached("SELECT value FROM entry WHERE key = ?1").map_err(failed)?;
        let mut rows = statement.query([key]).map_err(failed)?;
        match rows.next().map_err(failed)? {
            Some(row) => {
                let found = row.get_ref(0).and_then(|found| Ok(found.as_str()?)).map_err(failed)?;
                Ok(value == Some(found))
            }
            None => Ok(value.is_none()),
        }
    }

    /// Sets a key, if the quota allows it.
    pub(super) fn set(&self, key: &str, value: &str) -> Result<()> {
        let new = Used::entry((key.len() + value.len()) as u64);
        let more = match self.size(key)? {
            Some(was) => Used { bytes: new.bytes - was.bytes, entries: 0 },
            None => new,
        };
        self.allow(more)?;
        self.execute(
            "INSERT INTO entry VALUES (?1, ?2) ON CONFLICT DO UPDATE SET value = ?2",
            params![key, value],
        )?;
        self.add("keys", more)
    }

    /// Deletes a key. Returns whether it existed.
    pub(super) fn delete(&self, key: &str) -> Result<bool> {
        let Some(was) = self.size(key)? else { return Ok(false) };
        self.execute("DELETE FROM entry WHERE key = ?1", params![key])?;
        self.add("keys", Used { bytes: -was.bytes, entries: -1 })?;
        Ok(true)
    }

    /// Checks a change of the usage against the quota. A decrease is always allowed.
    pub(super) fn allow(&self, more: Used) -> Result<()> {
        let sql = "SELECT sum(bytes), sum(entries) FROM used";
        let read = |row: &rusqlite::Row<'_>| Ok(Used { bytes: row.get(0)?, entries: row.get(1)? });
        let used = self.0.prepare_cached(sql).and_then(|mut sum| sum.query_row([], read)).map_err(failed)?;
        let then = used.plus(more);
        let too_much = |then: i64, more: i64, most: i64| more > 0 && then > most;
        if !too_much(then.bytes, more.bytes, MAX_BYTES) && !too_much(then.entries, more.entries, MAX_ENTRIES)
        {
            return Ok(());
        }
        let (bytes, entries) = (MAX_BYTES - used.bytes, MAX_ENTRIES - used.entries);
        let message = format!(
            "the spell's storage is full: of {MAX_BYTES} bytes {} are left and {} are needed, of {MAX_ENTRIES} \
             entries {} are left and {} are needed",
            bytes.max(0),
            more.bytes.max(0),
            entries.max(0),
            more.entries.max(0),
        );
        Err(Error::new(ErrorKind::Io, message)
            .hint("delete keys, or remove files, that are not needed any more"))
    }

    /// Adds to the usage of files.
    pub(super) fn add_files(&self, more: Used) -> Result<()> {
        self.add("files", more)
    }

    /// Sets the usage of files.
    pub(super) fn set_files(&self, used: Used) -> Result<()> {
        self.execute(
            "UPDATE used SET bytes = ?1, entries = ?2 WHERE what = 'files'",
            params![used.bytes, used.entries],
        )
    }

    /// Commits the transaction.
    pub(super) fn commit(self) -> Result<()> {
        self.0.commit().map_err(failed)
    }

    fn add(&self, what: &str, more: Used) -> Result<()> {
        let sql =
            "UPDATE used SET bytes = max(0, bytes + ?2), entries = max(0, entries + ?3) WHERE what = ?1";
        self.execute(sql, params![what, more.bytes, more.entries])
    }

    /// Returns the usage of a key and its value.
    fn size(&self, key: &str) -> Result<Option<Used>> {
        let sql = "SELECT octet_length(key) + octet_length(value) FROM entry WHERE key = ?1";
        let found = self
            .0
            .prepare_cached(sql)
            .and_then(|mut size| size.query_row([key], |row| row.get(0)).optional());
        Ok(found.map_err(failed)?.map(|bytes| Used { bytes, entries: 1 }))
    }

    fn execute(&self, sql: &str, parameters: impl rusqlite::Params) -> Result<()> {
        self.0
            .prepare_cached(sql)
            .and_then(|mut statement| statement.execute(parameters))
            .map(drop)
            .map_err(failed)
    }
}

fn failed(error: rusqlite::Error) -> Error {
    STORAGE.failed(error)
}
