//! What a trace shows of an effect.

use serde::{Deserialize, Serialize};

use crate::chat::Usage;
use crate::effect::{Effect, Entry};
use crate::value::Value;

/// Letters of a request that are shown.
const SUBJECT: usize = 60;

/// How far an effect is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EffectStage {
    /// It begins.
    Began,
    /// It has ended.
    Ended,
    /// It ended before: its answer comes from the journal, and the world is left alone.
    Recorded,
}

/// An effect in short, as it begins and as it ends.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EffectEvent {
    /// Where in the spell, such as `main.2#7`.
    pub at: String,
    /// What is done, such as `models.chat`.
    pub operation: String,
    /// How far it is.
    pub stage: EffectStage,
    /// What it is about: a path, an address, a key, the model that answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// How long it took, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub took: Option<f64>,
    /// What a model call used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
    /// What went wrong: the error's kind and its message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl EffectEvent {
    /// What is known of an effect that begins.
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

    /// What is known of an effect that has ended, or was cut off by the end of the run.
    #[must_use]
    pub fn ended(entry: &Entry, stage: EffectStage, took: Option<f64>) -> Self {
        let mut event = Self { stage, took, ..Self::of(&entry.effect) };
        if let Some(reply) = entry.reply() {
            event.subject = Some(format!("{}/{}", reply.provider, reply.model));
            event.usage = Some(reply.usage);
        }
        event.error = entry.error().map(|error| format!("{}: {}", error.kind(), error.message()));
        event
    }
}

/// What a request is about: the text it is, or the part of it that says so best.
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
