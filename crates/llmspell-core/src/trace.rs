//! Summaries of effects for traces.

use serde::{Deserialize, Serialize};

use crate::chat::Usage;
use crate::effect::{Effect, JournalEntry};
use crate::value::Value;

/// The maximum number of characters of a request that a trace shows.
const SUBJECT: usize = 60;

/// The stage of an effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EffectStage {
    /// The effect begins.
    Began,
    /// The effect has ended.
    Ended,
    /// The effect was answered from the journal and did not run again.
    Recorded,
}

/// The summary of an effect, emitted when it begins and when it ends.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EffectEvent {
    /// The path of the effect in the run, such as `main.2#7`.
    pub at: String,
    /// The operation, such as `models.chat`.
    pub operation: String,
    /// The stage.
    pub stage: EffectStage,
    /// The subject: a path, a URL, a key, or the model that answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// The duration in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub took: Option<f64>,
    /// The usage of a model call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
    /// The error, as its kind and message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl EffectEvent {
    /// Summarizes an effect that begins.
    #[must_use]
    pub fn of(effect: &Effect) -> Self {
        Self {
            at: effect.path.to_string(),
            operation: format!("{}.{}", effect.ask.capability, effect.ask.operation),
            stage: EffectStage::Began,
            subject: subject(&effect.ask.request),
            took: None,
            usage: None,
            error: None,
        }
    }

    /// Summarizes an effect that has ended or was cut off by the end of the run.
    #[must_use]
    pub fn ended(entry: &JournalEntry, stage: EffectStage, took: Option<f64>) -> Self {
        let mut event = Self { stage, took, ..Self::of(&entry.effect) };
        if let Some(reply) = entry.reply() {
            event.subject = Some(format!("{}/{}", reply.provider, reply.model));
            event.usage = Some(reply.usage);
        }
        event.error = entry.error().map(|error| format!("{}: {}", error.kind(), error.message()));
        event
    }
}

/// Returns the subject of a request: the request itself if it is text, else its most telling field.
fn subject(request: &Value) -> Option<String> {
    let text = match request {
        Value::Map(request) => ["path", "url", "key", "model"].iter().find_map(|name| request.get(*name))?,
        request => request,
    };
    let text = text.as_str().filter(|text| !text.is_empty())?;
    let mut shown: String = text.chars().take(SUBJECT + 1).collect();
    if shown.chars().count() > SUBJECT {
        shown.pop();
        shown.push('…');
    }
    Some(shown)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_request_is_told_by_what_says_best_what_it_is_about() {
        for (request, told) in [
            (json!("key"), Some("key".to_owned())),
            (json!({"method": "GET", "url": "http://a/"}), Some("http://a/".to_owned())),
            (json!("x".repeat(61)), Some("x".repeat(60) + "…")),
            (json!(""), None),
            (json!(7), None),
            (json!({"count": 1}), None),
        ] {
            assert_eq!(subject(&crate::to_value(&request).unwrap()), told);
        }
    }
}
