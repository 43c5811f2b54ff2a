//! Removes runs from the database, in slices.
//!
//! The row of a run goes first, in one transaction with an entry in the table `removed`. From then on the run does not
//! exist. Its other rows go in slices, however many there are, and after a crash the next sweep continues. Freed pages
//! return to the file system by incremental vacuum: `VACUUM` would copy the whole database.

use std::time::{Duration, Instant, SystemTime};

use llmspell_core::Result;
use rusqlite::{Connection, OptionalExtension as _, Transaction, TransactionBehavior, params};

use super::rows::{SUMMARY, StoredRow};
use super::{SqliteStore, moment, owner, unsigned};
use crate::database::PATIENCE;
use crate::store::retention::{DAY, SLICE, SweepDecision, decide};
use crate::store::{Retention, RunSummary, SweepStart, SweptRuns};

impl SqliteStore {
    pub(super) fn sweep_slice(&self, retention: &Retention, start: SweepStart) -> Result<SweptRuns> {
        let done = SweptRuns { is_done: true, ..SweptRuns::default() };
        if (start == SweepStart::IfDue && !self.is_open()) || !self.exists()? {
            return Ok(done);
        }
        let now = self.now();
        if start == SweepStart::IfDue
            && self.write(|database| last_sweep(database))? > moment(before(now, DAY))
        {
            return Ok(done);
        }
        let size = self.write(|database| pages(database, "page_count"))?;
        let mut swept = SweptRuns::default();
        swept.is_done = self.sweep_until(retention, now, Instant::now() + SLICE, &mut swept)?;
        if swept.is_done {
            self.write(|database| {
                return_log(database)?;
                database.execute("DELETE FROM swept", [])?;
                database.execute("INSERT INTO swept (at) VALUES (?1)", [moment(now)])
            })?;
            owner::remove_stale(self.folder(), before(SystemTime::now(), DAY));
        }
        swept.freed = size.saturating_sub(self.write(|database| pages(database, "page_count"))?);
        Ok(swept)
    }

    /// Removes as much as possible until this moment. Returns whether nothing is left to remove.
    fn sweep_until(
        &self,
        retention: &Retention,
        now: SystemTime,
        until: Instant,
        swept: &mut SweptRuns,
    ) -> Result<bool> {
        let oldest = retention.oldest(now);
        let size_counts = before(now, DAY);
        for run in self.runs_before(oldest.map_or(size_counts, |oldest| oldest.max(size_counts)))? {
            // The rows of removed runs count until they are gone.
            if !self.remove_rows(now, until)? {
                return Ok(false);
            }
            let is_old = oldest.is_some_and(|oldest| run.started < seconds(oldest));
            if !is_old && !self.is_larger_than(retention.bytes)? {
                break;
            }
            let id = &run.info.run_id;
            match decide(run.state, || Ok(self.load_run(id)?.in_doubt().next().is_some()))? {
                SweepDecision::Remove => swept.runs += self.remove_row(id)?,
                SweepDecision::Running => swept.running += 1,
                SweepDecision::InDoubt => swept.in_doubt += 1,
            }
            if Instant::now() >= until {
                return Ok(false);
            }
        }
        if !self.remove_rows(now, until)? {
            return Ok(false);
        }
        if let Some(oldest) = oldest {
            let sql = "DELETE FROM answer WHERE kept <= ?1";
            swept.answers += self.write(|database| database.execute(sql, [moment(oldest)]))?;
        }
        Ok(self.remove_unused_blobs(now, until)? && self.return_pages(until)?)
    }

    /// Returns the readable runs that began before this time, the oldest first.
    fn runs_before(&self, time: SystemTime) -> Result<Vec<RunSummary>> {
        let rows = self.write(|database| {
            let sql = format!("{SUMMARY} WHERE started < ?1 ORDER BY started");
            let mut statement = database.prepare(&sql)?;
            statement.query_map([moment(time)], |row| Ok(StoredRow::of(row)))?.collect::<Result<Vec<_>, _>>()
        })?;
        let read = |row: StoredRow| row.columns.ok()?.summary(|owner| self.lives(owner)).ok();
        Ok(rows.into_iter().filter_map(read).collect())
    }

    fn is_larger_than(&self, bytes: Option<u64>) -> Result<bool> {
        let Some(bytes) = bytes else { return Ok(false) };
        let used = self.write(|database| {
            Ok(pages(database, "page_count")?.saturating_sub(pages(database, "freelist_count")?))
        })?;
        Ok(used > bytes)
    }

    /// Removes the row of a run, unless a living process owns the run. Its other rows are left to
    /// [`remove_rows`](Self::remove_rows).
    pub(super) fn remove_row(&self, id: &str) -> Result<usize> {
        self.write(|database| {
            let change = database.transaction_with_behavior(TransactionBehavior::Immediate)?;
            // In a damaged row, the id or the owner may not be text.
            let owner: Option<Option<String>> = change
                .query_row("SELECT owner FROM run WHERE CAST(id AS TEXT) = ?1", [id], |row| {
                    Ok(row.get(0).unwrap_or_default())
                })
                .optional()?;
            if self.lives(owner.flatten().as_deref()) {
                return Ok(0);
            }
            change.execute("INSERT INTO removed (run) VALUES (?1) ON CONFLICT DO NOTHING", [id])?;
            let removed = change.execute("DELETE FROM run WHERE CAST(id AS TEXT) = ?1", [id])?;
            change.commit()?;
            Ok(removed)
        })
    }

    /// Removes rows of removed runs until this moment. Returns whether none are left.
    fn remove_rows(&self, now: SystemTime, until: Instant) -> Result<bool> {
        let unused = moment(before(now, DAY));
        self.write(|database| {
            if !database.prepare_cached("SELECT 1 FROM removed")?.exists([])? {
                return Ok(true);
            }
            let change = database.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let is_done = loop {
                let run = "SELECT run FROM removed LIMIT 1";
                let run: Option<String> = change.query_row(run, [], |row| row.get(0)).optional()?;
                let Some(run) = run else { break true };
                if remove_some_rows(&change, &run, unused)? == 0 {
                    change.execute("DELETE FROM removed WHERE run = ?1", [run])?;
                }
                if Instant::now() >= until {
                    break false;
                }
            };
            change.commit()?;
            Ok(is_done)
        })
    }

    /// Removes blobs that no run has used for a day. Returns whether all blobs were looked at.
    fn remove_unused_blobs(&self, now: SystemTime, until: Instant) -> Result<bool> {
        let unused = moment(before(now, DAY));
        let mut at = self.blob_cursor();
        loop {
            let hashes = self.write(|database| {
                let sql = "SELECT hash, EXISTS (SELECT 1 FROM run_blob WHERE run_blob.hash = page.hash)
                    FROM (SELECT hash FROM blob WHERE hash > ?1 ORDER BY hash LIMIT 500) AS page";
                let mut statement = database.prepare_cached(sql)?;
                let hashes = statement.query_map([at.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))?;
                let hashes = hashes.collect::<Result<Vec<(String, bool)>, _>>()?;
                for (hash, is_used) in &hashes {
                    if !is_used {
                        remove_blob(database, hash, unused)?;
                    }
                }
                Ok(hashes)
            })?;
            match hashes.into_iter().next_back() {
                Some((hash, _)) => at.clone_from(&hash),
                None => {
                    at.clear();
                    return Ok(true);
                }
            }
            if Instant::now() >= until {
                return Ok(false);
            }
        }
    }

    /// Returns free pages to the file system until this moment. Returns whether none are left.
    fn return_pages(&self, until: Instant) -> Result<bool> {
        loop {
            // Between two steps, other processes may write.
            let left = self.write(|database| {
                let mut vacuum = database.prepare_cached("PRAGMA incremental_vacuum(64)")?;
                let mut returned = vacuum.query([])?;
                // Each row is one page.
                while returned.next()?.is_some() {}
                pages(database, "freelist_count")
            })?;
            match left {
                0 => return Ok(true),
                _ if Instant::now() >= until => return Ok(false),
                _ => {}
            }
        }
    }

    /// Deletes the rows that removed runs have left, and returns the free pages to the file system, however
    /// long that takes.
    pub(super) fn finish_removal(&self) -> Result<()> {
        while !self.remove_rows(self.now(), Instant::now() + SLICE)? {}
        while !self.return_pages(Instant::now() + SLICE)? {}
        self.write(|database| return_log(database))
    }
}

/// Removes some rows of a run. Returns how many.
fn remove_some_rows(change: &Transaction<'_>, run: &str, unused: i64) -> rusqlite::Result<usize> {
    const MOST: i64 = 50;
    let effects = change
        .prepare_cached(
            "DELETE FROM effect WHERE run = ?1 AND (task, number) IN
                (SELECT task, number FROM effect WHERE run = ?1 LIMIT ?2)",
        )?
        .execute(params![run, MOST])?;
    let parts = change
        .prepare_cached(
            "DELETE FROM part_of_answer WHERE run = ?1 AND (task, number, place) IN
                (SELECT task, number, place FROM part_of_answer WHERE run = ?1 LIMIT ?2)",
        )?
        .execute(params![run, MOST])?;
    // A blob may be large.
    let blob = "SELECT hash FROM run_blob WHERE run = ?1 LIMIT 1";
    let blob: Option<String> = change.prepare_cached(blob)?.query_row([run], |row| row.get(0)).optional()?;
    let blobs = match blob {
        Some(hash) => {
            let named = "DELETE FROM run_blob WHERE run = ?1 AND hash = ?2";
            let named = change.prepare_cached(named)?.execute(params![run, hash])?;
            remove_blob(change, &hash, unused)?;
            named
        }
        None => 0,
    };
    Ok(effects + parts + blobs)
}

/// Removes a blob if no run has it and none has used it since `unused`.
fn remove_blob(database: &Connection, hash: &str, unused: i64) -> rusqlite::Result<usize> {
    let sql = "DELETE FROM blob WHERE hash = ?1 AND used <= ?2
        AND NOT EXISTS (SELECT 1 FROM run_blob WHERE run_blob.hash = ?1)";
    database.prepare_cached(sql)?.execute(params![hash, unused])
}

/// Returns when the last sweep finished, in milliseconds since 1970.
fn last_sweep(database: &Connection) -> rusqlite::Result<i64> {
    database.query_row("SELECT coalesce(max(at), 0) FROM swept", [], |row| row.get(0))
}

/// Returns the size of a count of pages in bytes.
fn pages(database: &Connection, count: &str) -> rusqlite::Result<u64> {
    let number = |name: &str| database.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    Ok(unsigned(number(count)? * number("page_size")?))
}

/// Moves the write-ahead log into the database and empties it, unless another process is using it.
fn return_log(database: &Connection) -> rusqlite::Result<()> {
    database.busy_timeout(Duration::ZERO)?;
    let moved = database.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
    database.busy_timeout(PATIENCE)?;
    moved
}

fn before(time: SystemTime, span: Duration) -> SystemTime {
    time.checked_sub(span).unwrap_or(SystemTime::UNIX_EPOCH)
}

fn seconds(time: SystemTime) -> f64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}
