//! The outcome of a run, and its log entries.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::chat::Usage;
use crate::error::Error;
use crate::value::{Map, Value};

/// The severity of a log entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogLevel {
    /// Details for the author of the spell.
    Debug,
    /// A normal event, such as the start of a task.
    Info,
    /// A problem that the spell survived.
    Warn,
    /// A failure.
    Error,
}

impl LogLevel {
    /// Returns the level's name in scripts and JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}

/// One line of a spell's log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LogEntry {
    /// The time, in seconds since 1970.
    pub time: f64,
    /// The severity.
    pub level: LogLevel,
    /// The message.
    pub message: String,
    /// Additional structured data.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub fields: Map,
    /// The spell's name.
    pub spell: String,
    /// The run's id.
    pub run_id: String,
}

impl LogEntry {
    /// Returns the current time in seconds since 1970, the unit of [`time`](Self::time).
    #[must_use]
    pub fn now() -> f64 {
        SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64()
    }
}

/// The complete result of a run, which can be serialized.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Outcome {
    /// The run's id.
    pub run_id: String,
    /// The spell's name.
    pub spell: String,
    /// The value that the spell returned.
    pub value: Value,
    /// The error, if the spell failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Error>,
    /// The usage of its model calls.
    pub usage: Usage,
    /// How many model calls it made.
    pub model_calls: u64,
    /// How many answers have no known price. Their cost is missing from `usage`.
    #[serde(skip_serializing_if = "is_zero")]
    pub unpriced_calls: u64,
    /// Wall-clock time, in seconds.
    #[serde(with = "seconds")]
    pub duration: Duration,
    /// Processor time, in seconds.
    #[serde(with = "seconds")]
    pub cpu: Duration,
    /// The log entries.
    pub logs: Vec<LogEntry>,
    /// The printed text.
    pub output: String,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl Outcome {
    /// Returns the value, or the error.
    ///
    /// # Errors
    /// When the spell failed.
    pub fn into_result(self) -> crate::Result<Value> {
        match self.error {
            Some(error) => Err(error),
            None => Ok(self.value),
        }
    }
}

mod seconds {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(span: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(span.as_secs_f64())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        Duration::try_from_secs_f64(f64::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outcome_survives_json() {
        let outcome = Outcome {
            run_id: "r1".into(),
            value: Value::List(vec![Value::Nil, Value::from("x")]),
            error: Some(Error::runtime("boom")),
            duration: Duration::from_millis(1500),
            output: "hi\n".into(),
            ..Outcome::default()
        };
        let text = serde_json::to_string(&outcome).unwrap();
        let back: Outcome = serde_json::from_str(&text).unwrap();
        assert_eq!(serde_json::to_string(&back).unwrap(), text);
        assert_eq!(back.value, outcome.value);
        assert_eq!(back.into_result().unwrap_err().message(), "boom");
    }
}
