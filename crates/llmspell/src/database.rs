//! SQLite databases: opening, versions, waiting for other processes and error texts.
//!
//! SQLite is used because several processes may write one database at once. In WAL mode with `synchronous = NORMAL` a
//! committed write survives the end of the process, including a kill. A power failure may take back the last writes but
//! never damages the database (<https://sqlite.org/pragma.html#pragma_synchronous>).

use std::path::Path;
use std::time::{Duration, Instant};

use llmspell_core::{Error, ErrorKind, Result};
use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};

/// How long to wait for another process that holds the write lock.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
/// How long to wait before the next try, for the statement for which SQLite does not wait.
const PAUSE: Duration = Duration::from_millis(2);

/// The description of one kind of database: how to recognize, create and migrate it.
#[derive(Debug)]
pub(crate) struct DatabaseKind {
    /// The content, as errors name it: `the …`.
    pub(crate) name: &'static str,
    /// SQLite's `application_id`, which marks a database of this kind in its header.
    pub(crate) application: i32,
    /// The migrations, in order: each makes one version from the previous one, and the first starts from an empty
    /// database.
    pub(crate) steps: &'static [&'static str],
    /// The advice to the user when the database cannot be read.
    pub(crate) hint: &'static str,
}

impl DatabaseKind {
    fn newest(&self) -> i32 {
        i32::try_from(self.steps.len()).unwrap_or(i32::MAX)
    }

    /// Opens the database, creates it if it is missing, and migrates it to the newest version. A database of another
    /// program or of a newer version is left unchanged.
    pub(crate) fn open(&self, path: &Path) -> Result<Connection> {
        let shown = path.display();
        let damaged = |error| match self.failed(error) {
            error if error.is_retryable() => error,
            error => {
                error.prefixed(format_args!("{shown}: ")).hint(format!("nothing was changed; {}", self.hint))
            }
        };
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX
            | OpenFlags::SQLITE_OPEN_NOFOLLOW;
        let mut database = Connection::open_with_flags(path, flags).map_err(damaged)?;
        database.busy_timeout(PATIENCE).map_err(damaged)?;
        database.pragma_update(None, "synchronous", "NORMAL").map_err(damaged)?;
        if !self.is_current(&database).map_err(damaged)? {
            self.bring_up(&mut database).map_err(damaged)?;
            if !self.is_current(&database).map_err(damaged)? {
                let error = format!("{shown} is not a database of {} that this llmspell can use", self.name);
                return Err(Error::new(ErrorKind::Io, error)
                    .hint("another program or a newer llmspell made it; nothing was changed"));
            }
        }
        Ok(database)
    }

    fn is_current(&self, database: &Connection) -> rusqlite::Result<bool> {
        Ok(number(database, "application_id")? == self.application
            && number(database, "user_version")? == self.newest())
    }

    /// Creates or migrates the database. One of another kind, or of a newer version, is left unchanged. Two processes
    /// may do this at the same time.
    fn bring_up(&self, database: &mut Connection) -> rusqlite::Result<()> {
        let tables: i64 = database.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
        let application = number(database, "application_id")?;
        let empty = tables == 0 && application == 0;
        if !empty && application != self.application {
            return Ok(());
        }
        if empty {
            // Lets space that is free again be returned to the file system in small steps. It can only be chosen before
            // the first table.
            database.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
            let since = Instant::now();
            // Setting the journal mode is the only statement that does not honour `busy_timeout`.
            while let Err(error) = database.pragma_update(None, "journal_mode", "WAL") {
                if !is_busy(&error) || since.elapsed() > PATIENCE {
                    return Err(error);
                }
                std::thread::sleep(PAUSE);
            }
        }
        let change = database.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let version = number(&change, "user_version")?;
        let Some(steps) = usize::try_from(version).ok().and_then(|done| self.steps.get(done..)) else {
            return Ok(());
        };
        for step in steps {
            change.execute_batch(step)?;
        }
        change.pragma_update(None, "application_id", self.application)?;
        change.pragma_update(None, "user_version", self.newest())?;
        change.commit()
    }

    /// Converts an error of SQLite. An error because of another writer is retryable.
    pub(crate) fn failed(&self, error: rusqlite::Error) -> Error {
        if is_busy(&error) {
            let message = format!("another process has been writing to {} for too long", self.name);
            return Error::new(ErrorKind::Io, message).with_retryable(true).with_source(error);
        }
        Error::new(ErrorKind::Io, format!("{} failed: {error}", self.name)).with_source(error)
    }
}

fn number(database: &Connection, name: &str) -> rusqlite::Result<i32> {
    database.pragma_query_value(None, name, |row| row.get(0))
}

fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}
