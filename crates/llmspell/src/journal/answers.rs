//! Answers of models that may serve again, beside the runs that asked for them first.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

use llmspell_core::cache::Cache;
use llmspell_core::{Result, Value};
use ring::digest::{SHA256, digest};
use rusqlite::{OptionalExtension as _, params};

use super::pack::{damaged, json};
use super::runs::{Runs, moment};

impl Cache for Runs {
    fn find(&self, request: &Value, max_age: Option<Duration>) -> Result<Option<Value>> {
        let oldest = max_age.map_or(i64::MIN, since);
        let hash = hash(request)?;
        let found: Option<String> = self
            .read(|database| {
                database
                    .prepare_cached("SELECT value FROM answer WHERE hash = ?1 AND kept >= ?2")?
                    .query_row(params![hash, oldest], |row| row.get(0))
                    .optional()
            })?
            .flatten();
        found.map(|text| serde_json::from_str(&text).map_err(|error| damaged(&error.to_string()))).transpose()
    }

    fn keep(&self, request: &Value, answer: &Value) -> Result<()> {
        let (hash, answer) = (hash(request)?, json(answer)?);
        self.write(|database| {
            database
                .prepare_cached(
                    "INSERT INTO answer (hash, kept, value) VALUES (?1, ?2, ?3)
                     ON CONFLICT (hash) DO UPDATE SET kept = excluded.kept, value = excluded.value",
                )?
                .execute(params![hash, moment(SystemTime::now()), answer])
        })?;
        Ok(())
    }
}

impl Runs {
    /// Removes the answers in the cache that are older for good, and returns how many there were.
    ///
    /// # Errors
    /// When the journal cannot be written.
    pub fn remove_answers(&self, age: Duration) -> Result<usize> {
        if self.read(|_| Ok(()))?.is_none() {
            return Ok(0);
        }
        self.write(|database| database.execute("DELETE FROM answer WHERE kept <= ?1", [since(age)]))
    }
}

/// The moment that was so long ago.
fn since(age: Duration) -> i64 {
    SystemTime::now().checked_sub(age).map_or(i64::MIN, moment)
}

/// The hash of a request, whatever the order in which a script wrote its fields.
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
    fn an_answer_is_found_by_what_was_asked_and_not_by_how_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let runs = Runs::in_folder(folder.path());
        let cache: &dyn Cache = &runs;
        let (request, answer) =
            (of(&value!({"a": {"x": 1, "y": [1, 2]}, "b": 2})), of(&value!({"text": "x"})));
        assert_eq!(cache.find(&request, None).unwrap(), None);
        assert_eq!(runs.remove_answers(Duration::ZERO).unwrap(), 0);
        assert!(folder.path().read_dir().unwrap().next().is_none(), "a look makes no database");
        cache.keep(&request, &answer).unwrap();
        let same = of(&value!({"b": 2, "a": {"y": [1, 2], "x": 1}}));
        let other = of(&value!({"b": 2, "a": {"y": [2, 1], "x": 1}}));
        assert_eq!(cache.find(&same, None).unwrap(), Some(answer.clone()));
        assert_eq!(cache.find(&other, None).unwrap(), None);
        assert_eq!(cache.find(&request, Some(Duration::MAX)).unwrap(), Some(answer));
        let newer = of(&value!({"text": "y"}));
        cache.keep(&same, &newer).unwrap();
        assert_eq!(cache.find(&request, Some(Duration::from_secs(3_600))).unwrap(), Some(newer));
        runs.write(|database| database.execute("UPDATE answer SET kept = kept - 10000", [])).unwrap();
        assert_eq!(cache.find(&request, Some(Duration::from_secs(9))).unwrap(), None, "it is too old");
        assert!(cache.find(&request, Some(Duration::from_secs(3_600))).unwrap().is_some());
        assert_eq!(runs.remove_answers(Duration::from_secs(3_600)).unwrap(), 0);
        assert_eq!(runs.remove_answers(Duration::from_secs(9)).unwrap(), 1);
        assert_eq!(cache.find(&request, None).unwrap(), None);
    }
}
