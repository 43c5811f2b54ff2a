//! The answer cache in the SQLite database.

use std::fmt::Write as _;
use std::time::Duration;

use futures_util::future::BoxFuture;
use llmspell_core::cache::Cache;
use llmspell_core::{Result, Value};
use ring::digest::{SHA256, digest};
use rusqlite::{OptionalExtension as _, params};

use super::{SqliteStore, moment};
use crate::journal::blobs::{damaged, json};

impl Cache for SqliteStore {
    fn find<'a>(
        &'a self,
        request: &'a Value,
        max_age: Option<Duration>,
    ) -> BoxFuture<'a, Result<Option<Value>>> {
        Box::pin(async move { self.find_answer(request, max_age) })
    }

    fn keep<'a>(&'a self, request: &'a Value, answer: &'a Value) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move { self.keep_answer(request, answer) })
    }
}

impl SqliteStore {
    fn find_answer(&self, request: &Value, max_age: Option<Duration>) -> Result<Option<Value>> {
        let oldest = max_age.map_or(i64::MIN, |age| self.since(age));
        let hash = hash(request)?;
        let found: Option<String> = self
            .read_database(|database| {
                database
                    .prepare_cached("SELECT value FROM answer WHERE hash = ?1 AND kept >= ?2")?
                    .query_row(params![hash, oldest], |row| row.get(0))
                    .optional()
            })?
            .flatten();
        found.map(|text| serde_json::from_str(&text).map_err(|error| damaged(&error.to_string()))).transpose()
    }

    fn keep_answer(&self, request: &Value, answer: &Value) -> Result<()> {
        let (hash, answer) = (hash(request)?, json(answer)?);
        self.write(|database| {
            database
                .prepare_cached(
                    "INSERT INTO answer (hash, kept, value) VALUES (?1, ?2, ?3)
                     ON CONFLICT (hash) DO UPDATE SET kept = excluded.kept, value = excluded.value",
                )?
                .execute(params![hash, moment(self.now()), answer])
        })?;
        Ok(())
    }

    /// Returns the time `age` ago.
    fn since(&self, age: Duration) -> i64 {
        self.now().checked_sub(age).map_or(i64::MIN, moment)
    }

    pub(super) fn remove_old_answers(&self, age: Duration) -> Result<usize> {
        if self.read_database(|_| Ok(()))?.is_none() {
            return Ok(0);
        }
        self.write(|database| database.execute("DELETE FROM answer WHERE kept <= ?1", [self.since(age)]))
    }
}

/// Returns the hash of a request, which does not depend on the order of its fields.
fn hash(request: &Value) -> Result<String> {
    let hash = digest(&SHA256, json(&sorted(request.clone()))?.as_bytes());
    Ok(hash.as_ref().iter().fold(String::with_capacity(64), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    }))
}

fn sorted(value: Value) -> Value {
    match value {
        Value::Map(map) => {
            let mut map: llmspell_core::Map =
                map.into_iter().map(|(name, value)| (name, sorted(value))).collect();
            map.sort_unstable_keys();
            Value::Map(map)
        }
        Value::List(items) => Value::List(items.into_iter().map(sorted).collect()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json as value;

    use super::*;

    fn of(json: &serde_json::Value) -> Value {
        llmspell_core::to_value(json).unwrap()
    }

    #[test]
    fn an_answer_is_found_by_its_request_however_that_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::in_folder(folder.path());
        let (request, answer) =
            (of(&value!({"a": {"x": 1, "y": [1, 2]}, "b": 2})), of(&value!({"text": "x"})));
        assert_eq!(store.find_answer(&request, None).unwrap(), None);
        assert_eq!(store.remove_old_answers(Duration::ZERO).unwrap(), 0);
        assert!(folder.path().read_dir().unwrap().next().is_none(), "a look makes no database");
        store.keep_answer(&request, &answer).unwrap();
        let same = of(&value!({"b": 2, "a": {"y": [1, 2], "x": 1}}));
        let other = of(&value!({"b": 2, "a": {"y": [2, 1], "x": 1}}));
        assert_eq!(store.find_answer(&same, None).unwrap(), Some(answer.clone()));
        assert_eq!(store.find_answer(&other, None).unwrap(), None);
        assert_eq!(store.find_answer(&request, Some(Duration::MAX)).unwrap(), Some(answer));
        let newer = of(&value!({"text": "y"}));
        store.keep_answer(&same, &newer).unwrap();
        assert_eq!(store.find_answer(&request, Some(Duration::from_secs(3_600))).unwrap(), Some(newer));
        store.write(|database| database.execute("UPDATE answer SET kept = kept - 10000", [])).unwrap();
        assert_eq!(store.find_answer(&request, Some(Duration::from_secs(9))).unwrap(), None, "it is too old");
        assert!(store.find_answer(&request, Some(Duration::from_secs(3_600))).unwrap().is_some());
        assert_eq!(store.remove_old_answers(Duration::from_secs(3_600)).unwrap(), 0);
        assert_eq!(store.remove_old_answers(Duration::from_secs(9)).unwrap(), 1);
        assert_eq!(store.find_answer(&request, None).unwrap(), None);
    }
}
