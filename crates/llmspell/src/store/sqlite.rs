//! The run store in an SQLite database, including the answer cache.
//!
//! One process writes at a time; a commit takes about 60 µs. Batches with the start of an effect that is not idempotent
//! are synced to the disk (`synchronous = FULL`), so that a power failure cannot forget a request that was sent. Other
//! batches use `NORMAL`: they survive the end of the process. A power failure can lose the last ones but damages
//! nothing.
//!
//! A commit writes to the write-ahead log (WAL) only, which the operating system's cache takes in 20 µs. Moving the log
//! into the database, a checkpoint, is slow because it syncs. So SQLite's own checkpoints are off, and only methods that
//! may block make them: never [`RecordSink::try_append`], which runs on a script's thread.
//!
//! Each process holds a lock on one file next to the database, and writes the file's name into the runs that it owns.
//! If nobody holds the lock, the owner is dead, however it ended.

mod answers;
mod owner;
mod rows;
mod sweep;
mod write;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, SystemTime};

use futures_util::future::BoxFuture;
use llmspell_core::effect::{Answer, EffectPath};
use llmspell_core::{Error, ErrorKind, Result};
use rusqlite::hooks::Wal;
use rusqlite::{Connection, OptionalExtension as _, params};

use self::owner::{Owner, is_alive};
use self::rows::{SUMMARY, StoredRow, lossy_id};
use super::retention::{Retention, StoreClock, SweepStart, SweptRuns};
use super::{
    Claim, DamagedRun, IndexedEffect, JOURNAL_FORMAT, JournalRecord, Lease, NewRun, RecordSink, RunIndex,
    RunList, RunStore, StoredEffect, no_such_effect, no_such_run, owned,
};
use crate::database::DatabaseKind;
use crate::journal::blobs::{damaged, json};

/// Times of runs are milliseconds since 1970. Times of effects are microseconds since the start of the run.
const JOURNAL: DatabaseKind = DatabaseKind {
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
        // This step adds owners and epochs, streamed answers, and blobs that runs share. Before, each run had its own
        // large parts, stored as JSON: texts as strings, links of lists as objects.
        "
        ALTER TABLE run ADD COLUMN epoch BIGINT NOT NULL DEFAULT 1;
        ALTER TABLE run ADD COLUMN owner TEXT;
        ALTER TABLE run ADD COLUMN format BIGINT NOT NULL DEFAULT 1;
        CREATE TABLE part_of_answer (
            run TEXT NOT NULL REFERENCES run (id) ON DELETE CASCADE,
            task TEXT NOT NULL,
            number BIGINT NOT NULL,
            place BIGINT NOT NULL,
            value TEXT NOT NULL,
            PRIMARY KEY (run, task, number, place)
        ) WITHOUT ROWID;
        CREATE TABLE blob (
            hash TEXT NOT NULL PRIMARY KEY,
            value BLOB NOT NULL,
            used BIGINT NOT NULL
        );
        CREATE TABLE run_blob (
            run TEXT NOT NULL REFERENCES run (id) ON DELETE CASCADE,
            hash TEXT NOT NULL,
            PRIMARY KEY (run, hash)
        ) WITHOUT ROWID;
        CREATE INDEX run_of_blob ON run_blob (hash);
        INSERT OR IGNORE INTO blob SELECT hash,
            CAST(CASE WHEN value LIKE '\"%' AND json_valid(value) THEN json_extract(value, '$') ELSE value END AS BLOB), 0
            FROM part;
        INSERT INTO run_blob SELECT run, hash FROM part;
        DROP TABLE part;
    ",
        // Each commit of an effect writes one page less if the table is its own index.
        "
        CREATE TABLE new_effect (
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
        ) WITHOUT ROWID;
        INSERT INTO new_effect SELECT * FROM effect ORDER BY run, task, number;
        DROP TABLE effect;
        ALTER TABLE new_effect RENAME TO effect;
    ",
        // Runs whose rows are still to be removed, and the time of the last sweep.
        "
        CREATE TABLE removed (run TEXT NOT NULL PRIMARY KEY) WITHOUT ROWID;
        CREATE TABLE swept (at BIGINT NOT NULL);
    ",
    ],
    hint: "move the file away to begin a new journal",
};

/// The length of the write-ahead log from which it is moved into the database, in pages. SQLite's own default.
const LOG_PAGES: i32 = 1_000;

/// A run store in a local folder. Cheap to clone. Nothing is opened or created before it is needed.
#[derive(Debug, Clone)]
pub struct SqliteStore(Arc<SqliteInner>);

#[derive(Debug)]
struct SqliteInner {
    folder: PathBuf,
    database: Mutex<Option<Connection>>,
    owner: OnceLock<Owner>,
    /// The size of the write-ahead log after the last commit, in pages.
    log_pages: Arc<AtomicI32>,
    /// The last blob that the sweep under way has looked at.
    blob_cursor: Mutex<String>,
    clock: StoreClock,
}

impl SqliteStore {
    /// Returns the store in this folder, an absolute path. The folder is created with the first run.
    #[must_use]
    pub fn in_folder(folder: impl Into<PathBuf>) -> Self {
        Self::with(folder.into(), StoreClock::default())
    }

    /// Returns the store in this folder with another clock, by which runs and answers age.
    #[must_use]
    pub fn with_clock(
        folder: impl Into<PathBuf>,
        now: impl Fn() -> SystemTime + Send + Sync + 'static,
    ) -> Self {
        Self::with(folder.into(), StoreClock::new(now))
    }

    fn with(folder: PathBuf, clock: StoreClock) -> Self {
        Self(Arc::new(SqliteInner {
            folder,
            database: Mutex::default(),
            owner: OnceLock::new(),
            log_pages: Arc::default(),
            blob_cursor: Mutex::default(),
            clock,
        }))
    }

    fn now(&self) -> SystemTime {
        self.0.clock.now()
    }

    fn folder(&self) -> &Path {
        &self.0.folder
    }

    fn blob_cursor(&self) -> MutexGuard<'_, String> {
        self.0.blob_cursor.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_open(&self) -> bool {
        self.0.database.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Reads the database, if it exists.
    fn read_database<T>(&self, ask: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<Option<T>> {
        match self.exists()? {
            true => self.write(|database| ask(database)).map(Some),
            false => Ok(None),
        }
    }

    fn exists(&self) -> Result<bool> {
        let file = self.file();
        file.try_exists().map_err(|error| {
            Error::new(ErrorKind::Io, format!("cannot read {}: {error}", file.display())).with_source(error)
        })
    }

    /// Changes the database, which is created if necessary.
    fn write<T>(&self, change: impl FnOnce(&mut Connection) -> rusqlite::Result<T>) -> Result<T> {
        let mut database = self.open()?;
        let database = database.as_mut().ok_or_else(|| Error::internal("the journal is not open"))?;
        let changed = change(database).map_err(|error| JOURNAL.failed(error))?;
        self.checkpoint(database)?;
        Ok(changed)
    }

    fn is_checkpoint_due(&self) -> bool {
        self.0.log_pages.load(Ordering::Relaxed) >= LOG_PAGES
    }

    /// Moves the write-ahead log into the database if it has grown long. Pages that another process still reads stay in
    /// the log.
    fn checkpoint(&self, database: &Connection) -> Result<()> {
        if self.is_checkpoint_due() {
            self.0.log_pages.store(0, Ordering::Relaxed);
            let sql = "PRAGMA wal_checkpoint(PASSIVE)";
            database.query_row(sql, [], |_| Ok(())).map_err(|error| JOURNAL.failed(error))?;
        }
        Ok(())
    }

    fn open(&self) -> Result<MutexGuard<'_, Option<Connection>>> {
        let mut database = self.0.database.lock().unwrap_or_else(PoisonError::into_inner);
        if database.is_none() {
            private_folder(&self.0.folder)?;
            let mut opened = JOURNAL.open(&self.file())?;
            let log_pages = Arc::clone(&self.0.log_pages);
            // This hook replaces the one that makes checkpoints.
            let note = move |_: &mut Wal, pages| {
                log_pages.store(pages, Ordering::Relaxed);
                Ok(())
            };
            opened.wal_hook(Some(note)).map_err(|error| JOURNAL.failed(error))?;
            // The rows of a removed run go in slices, and not with the run.
            opened.pragma_update(None, "foreign_keys", "OFF").map_err(|error| JOURNAL.failed(error))?;
            *database = Some(opened);
        }
        Ok(database)
    }

    fn file(&self) -> PathBuf {
        self.0.folder.join("runs.db")
    }

    /// Returns the name under which this process owns runs.
    fn owner(&self) -> Result<&str> {
        if self.0.owner.get().is_none() {
            private_folder(&self.0.folder)?;
            // If another thread was first, its file stays locked and this one is removed.
            let _ = self.0.owner.set(Owner::new(&self.0.folder)?);
        }
        self.0.owner.get().map(Owner::name).ok_or_else(|| Error::internal("this process owns no runs"))
    }

    /// Returns whether the owner of a run is alive. A run without an owner's name has been released.
    fn lives(&self, owner: Option<&str>) -> bool {
        owner.is_some_and(|name| match self.0.owner.get() {
            Some(own) if own.name() == name => true,
            _ => is_alive(&self.0.folder, name),
        })
    }

    fn create_run(&self, run: &NewRun) -> Result<Lease> {
        let owner = self.owner()?;
        let NewRun { info, path, working_dir, started } = run;
        let text = |path: &Option<PathBuf>| path.as_ref().map(|path| path.to_string_lossy().into_owned());
        let info_json = json(info)?;
        let created = self.write(|database| {
            database.execute(
                "INSERT INTO run (id, info, path, working_dir, started, model_calls, said, epoch, owner, format)
                 VALUES (?1, ?2, ?3, ?4, ?5, 0, 0, 1, ?6, ?7) ON CONFLICT DO NOTHING",
                params![info.run_id, info_json, text(path), text(working_dir), moment(*started), owner, JOURNAL_FORMAT],
            )
        })?;
        match created {
            1 => Ok(Lease { run_id: info.run_id.clone(), epoch: 1 }),
            _ => Err(Error::new(
                ErrorKind::Conflict,
                format!("there is a run with the id {} already", info.run_id),
            )),
        }
    }

    fn claim_run(&self, id: &str, claim: Claim) -> Result<Lease> {
        let owner = self.owner()?;
        self.write(|database| {
            let change = database.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
            let found = change
                .query_row("SELECT epoch, owner, format FROM run WHERE id = ?1", [id], |row| {
                    Ok((row.get::<_, i64>(0)?, row.get::<_, Option<String>>(1)?, row.get::<_, i64>(2)?))
                })
                .optional()?;
            let Some((epoch, before, format)) = found else { return Ok(Err(no_such_run(id))) };
            if format > JOURNAL_FORMAT {
                let message = format!("run {id} was made by a newer llmspell");
                return Ok(Err(Error::new(ErrorKind::Unsupported, message).hint("resume it with that one")));
            }
            if claim == Claim::IfFree && self.lives(before.as_deref()) {
                return Ok(Err(owned(id)));
            }
            self.forget_last_failures(&change, id)?;
            change.execute(
                "UPDATE run SET epoch = ?2, owner = ?3, ended = NULL, error = NULL, usage = NULL WHERE id = ?1",
                params![id, epoch + 1, owner],
            )?;
            change.commit()?;
            Ok(Ok(Lease { run_id: id.to_owned(), epoch: unsigned(epoch + 1) }))
        })?
    }

    /// Removes the ends of the effects that the next owner of a failed run tries again.
    fn forget_last_failures(&self, change: &Connection, id: &str) -> rusqlite::Result<()> {
        let sql = format!("{SUMMARY} WHERE id = ?1");
        let row = change.query_row(&sql, [id], |row| Ok(StoredRow::of(row)))?;
        // A damaged run cannot be loaded, so nobody tries its effects again.
        let Ok(summary) = row.columns?.summary(|owner| self.lives(owner)) else { return Ok(()) };
        let Ok(effects) = rows::index(change, id) else { return Ok(()) };
        let index = RunIndex { summary, effects };
        let tried_again = index.tried_again();
        for IndexedEffect { path, .. } in index.effects.iter().filter(|effect| effect.has_failed(tried_again))
        {
            let effect = params![id, path.task, path.count];
            change.execute(
                "UPDATE effect SET ended = NULL, place = NULL, said = NULL, answer = NULL, error = NULL
                 WHERE run = ?1 AND task = ?2 AND number = ?3",
                effect,
            )?;
            let parts = "DELETE FROM part_of_answer WHERE run = ?1 AND task = ?2 AND number = ?3";
            change.execute(parts, effect)?;
        }
        let said = "UPDATE run SET said = ?2 WHERE id = ?1";
        change.execute(said, params![id, signed(index.lines_shown())]).map(drop)
    }

    fn release_run(&self, lease: &Lease) -> Result<()> {
        self.write(|database| {
            let sql = "UPDATE run SET owner = NULL WHERE id = ?1 AND epoch = ?2";
            database.execute(sql, params![lease.run_id, signed(lease.epoch)]).map(drop)
        })
    }

    fn list_runs(&self) -> Result<RunList> {
        let rows = self.read_database(|database| {
            let mut statement = database.prepare(&format!("{SUMMARY} ORDER BY started DESC, id DESC"))?;
            statement.query_map([], |row| Ok(StoredRow::of(row)))?.collect::<Result<Vec<_>, _>>()
        })?;
        let mut list = RunList::default();
        for StoredRow { id, started, columns } in rows.unwrap_or_default() {
            let read = columns.map_err(|error| damaged(&error.to_string()));
            match read.and_then(|columns| columns.summary(|owner| self.lives(owner))) {
                Ok(summary) => list.runs.push(summary),
                Err(error) => list.damaged.push(DamagedRun { id, started, error }),
            }
        }
        Ok(list)
    }

    fn resolve_id(&self, id: &str) -> Result<String> {
        if id.is_empty() {
            return Err(no_such_run(id));
        }
        let ids = self.read_database(|database| {
            let sql = "SELECT id FROM run WHERE substr(id, 1, length(?1)) = ?1 ORDER BY id LIMIT 2";
            database.prepare(sql)?.query_map([id], |row| Ok(lossy_id(row)))?.collect::<Result<Vec<_>, _>>()
        })?;
        let mut ids = ids.unwrap_or_default();
        match (ids.pop(), ids.pop()) {
            (Some(found), None) => Ok(found),
            (None, _) => Err(no_such_run(id)),
            _ => Err(Error::new(ErrorKind::Conflict, format!("more than one run begins with `{id}`"))),
        }
    }

    fn load_run(&self, id: &str) -> Result<RunIndex> {
        let row = self.read_database(|database| {
            let sql = format!("{SUMMARY} WHERE id = ?1");
            database.query_row(&sql, [id], |row| Ok(StoredRow::of(row))).optional()
        })?;
        let row = row.flatten().ok_or_else(|| no_such_run(id))?;
        let read = || {
            let columns = row.columns.map_err(|error| damaged(&error.to_string()))?;
            let summary = columns.summary(|owner| self.lives(owner))?;
            let effects = self.of_run(|database| rows::index(database, id))?;
            let mut index = RunIndex { summary, effects };
            let tried_again = index.tried_again();
            for effect in index.effects.iter_mut().filter(|effect| effect.is_open(tried_again)) {
                effect.request = Some(self.of_run(|database| rows::request(database, id, &effect.path))?);
            }
            Ok(index)
        };
        read().map_err(|error| of_damaged_run(id, error))
    }

    fn read_answer(&self, id: &str, path: &EffectPath) -> Result<Answer> {
        let answer = self.of_run(|database| rows::answer(database, id, path));
        answer
            .and_then(|answer| answer.ok_or_else(|| no_such_effect(path)))
            .map_err(|error| of_damaged_run(id, error))
    }

    fn read_effect(&self, id: &str, path: &EffectPath) -> Result<StoredEffect> {
        let effect = self.of_run(|database| rows::effect(database, id, path));
        effect
            .and_then(|effect| effect.ok_or_else(|| no_such_effect(path)))
            .map_err(|error| of_damaged_run(id, error))
    }

    /// Reads the rows of a run, which exists.
    fn of_run<T>(&self, read: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        self.write(|database| Ok(read(database)))?
    }

    fn remove_runs(&self, ids: &[String]) -> Result<usize> {
        if !self.exists()? {
            return Ok(0);
        }
        let mut removed = 0;
        for id in ids {
            removed += self.remove_row(id)?;
        }
        if removed > 0 {
            self.finish_removal()?;
        }
        Ok(removed)
    }
}

impl RecordSink for SqliteStore {
    fn create<'a>(&'a self, run: &'a NewRun) -> BoxFuture<'a, Result<Lease>> {
        Box::pin(async move { self.create_run(run) })
    }

    fn append<'a>(&'a self, lease: &'a Lease, records: &'a [JournalRecord]) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move { self.append_records(lease, records) })
    }

    fn try_append(&self, lease: &Lease, records: &[JournalRecord]) -> Option<Result<()>> {
        self.append_at_once(lease, records)
    }

    fn release<'a>(&'a self, lease: &'a Lease) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move { self.release_run(lease) })
    }
}

impl RunStore for SqliteStore {
    fn claim<'a>(&'a self, id: &'a str, claim: Claim) -> BoxFuture<'a, Result<Lease>> {
        Box::pin(async move { self.claim_run(id, claim) })
    }

    fn list(&self) -> BoxFuture<'_, Result<RunList>> {
        Box::pin(async move { self.list_runs() })
    }

    fn resolve<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<String>> {
        Box::pin(async move { self.resolve_id(id) })
    }

    fn load<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<RunIndex>> {
        Box::pin(async move { self.load_run(id) })
    }

    fn answer<'a>(&'a self, id: &'a str, path: &'a EffectPath) -> BoxFuture<'a, Result<Answer>> {
        Box::pin(async move { self.read_answer(id, path) })
    }

    fn effect<'a>(&'a self, id: &'a str, path: &'a EffectPath) -> BoxFuture<'a, Result<StoredEffect>> {
        Box::pin(async move { self.read_effect(id, path) })
    }

    fn remove<'a>(&'a self, ids: &'a [String]) -> BoxFuture<'a, Result<usize>> {
        Box::pin(async move { self.remove_runs(ids) })
    }

    fn sweep<'a>(&'a self, retention: &'a Retention, start: SweepStart) -> BoxFuture<'a, Result<SweptRuns>> {
        Box::pin(async move { self.sweep_slice(retention, start) })
    }

    fn remove_answers(&self, age: Duration) -> BoxFuture<'_, Result<usize>> {
        Box::pin(async move { self.remove_old_answers(age) })
    }
}

/// Names the run in an error about its rows.
fn of_damaged_run(id: &str, error: Error) -> Error {
    match error.kind() {
        ErrorKind::Replay => error
            .prefixed(format_args!("run {id}: "))
            .hint(format!("other runs are not affected; `llmspell runs prune {id}` removes this one")),
        _ => error,
    }
}

/// Creates a folder that only the user can read, because prompts are private.
fn private_folder(path: &Path) -> Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path).map_err(|error| {
        let message = format!("cannot create the folder {}: {error}", path.display());
        Error::new(ErrorKind::Io, message).with_source(error)
    })
}

/// Converts a time to milliseconds since 1970.
fn moment(time: SystemTime) -> i64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}
