//! The differences between two runs of one spell.

use std::collections::BTreeMap;

use llmspell_core::effect::{Effect, JournalEntry};
use llmspell_core::replay::{Difference, shown};
use llmspell_core::{Error, Result, Value};
use serde::Serialize;

use super::recording::place;

/// A difference between two runs at one effect path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RunDifference {
    /// The effect path, such as `main.2#7`.
    pub at: String,
    /// The operation, such as `models.chat`.
    pub operation: String,
    /// The difference: `only in the first`, `only in the second`, or the first field that differs.
    pub what: String,
}

/// Compares the effects of two runs, path by path.
///
/// # Errors
/// When an error in a run cannot be represented as data.
pub fn compare(first: &[JournalEntry], second: &[JournalEntry]) -> Result<Vec<RunDifference>> {
    let mut places: BTreeMap<_, (Option<&JournalEntry>, Option<&JournalEntry>)> = BTreeMap::new();
    for entry in first {
        places.entry(place(&entry.effect.path)).or_default().0 = Some(entry);
    }
    for entry in second {
        places.entry(place(&entry.effect.path)).or_default().1 = Some(entry);
    }
    let mut changes = Vec::new();
    for (first, second) in places.into_values() {
        let (entry, what) = match (first, second) {
            (Some(first), Some(second)) => (second, difference(first, second)?),
            (Some(first), None) => (first, Some("only in the first".to_owned())),
            (None, Some(second)) => (second, Some("only in the second".to_owned())),
            (None, None) => continue,
        };
        let Effect { path, ask } = &entry.effect;
        let operation = format!("{}.{}", ask.capability, ask.operation);
        changes.extend(what.map(|what| RunDifference { at: path.to_string(), operation, what }));
    }
    Ok(changes)
}

fn difference(first: &JournalEntry, second: &JournalEntry) -> Result<Option<String>> {
    let (then, now) = (&first.effect.ask, &second.effect.ask);
    if (&then.capability, &then.operation) != (&now.capability, &now.operation) {
        return Ok(Some(format!("was {}.{}", then.capability, then.operation)));
    }
    if then.request != now.request {
        return Ok(Some(told("request", &then.request, &now.request)));
    }
    Ok(match (answer(first)?, answer(second)?) {
        (Some((then_is, then)), Some((now_is, now))) if then_is == now_is => {
            (then != now).then(|| told(then_is, &then, &now))
        }
        (Some((then_is, _)), Some((now_is, _))) => Some(format!("{then_is} → {now_is}")),
        (Some(_), None) => Some("has not ended in the second".to_owned()),
        (None, Some(_)) => Some("has not ended in the first".to_owned()),
        (None, None) => None,
    })
}

/// Returns the result of an effect, and whether it is an answer or an error.
fn answer(entry: &JournalEntry) -> Result<Option<(&'static str, Value)>> {
    let Some(end) = &entry.end else { return Ok(None) };
    Ok(Some(match &end.answer {
        Ok(value) => ("answer", value.clone()),
        Err(error) => ("error", llmspell_core::to_value(error as &Error)?),
    }))
}

fn told(name: &str, then: &Value, now: &Value) -> String {
    let Difference { path, then, now } = Difference::first(then, now);
    let path = match path.as_str() {
        "" => name.to_owned(),
        path if path.starts_with('[') => format!("{name}{path}"),
        path => format!("{name}.{path}"),
    };
    format!("{path}: {} → {}", shown(then), shown(now))
}

#[cfg(test)]
mod tests {
    use llmspell_core::effect::{EffectRequest, EffectResult};
    use serde_json::json;

    use super::*;

    #[test]
    fn changes_are_told_place_by_place() {
        let entry =
            |path: &str, operation: &'static str, request: serde_json::Value, answer: serde_json::Value| {
                let ask = EffectRequest::new("models", operation, &request).unwrap();
                let answer = match answer {
                    serde_json::Value::Null => None,
                    serde_json::Value::Bool(_) => Some(Err(Error::runtime("boom"))),
                    answer => Some(Ok(llmspell_core::to_value(&answer).unwrap())),
                };
                let end = answer.map(|answer| EffectResult { order: 1, said: 0, answer });
                JournalEntry { effect: Effect { path: path.parse().unwrap(), ask }, end }
            };
        let first = [
            entry("main#1", "chat", json!({"model": "a"}), json!({"text": "x"})),
            entry("main#2", "chat", json!({"messages": [1, 2]}), json!(1)),
            entry("main#3", "chat", json!(1), json!(1)),
            entry("main#10", "chat", json!(1), json!(1)),
            entry("main#11", "chat", json!(1), json!(null)),
            entry("main#12", "list", json!(1), json!(1)),
        ];
        let second = [
            entry("main#1", "chat", json!({"model": "a"}), json!({"text": "y"})),
            entry("main#2", "chat", json!({"messages": [1, 3]}), json!(1)),
            entry("main#3", "chat", json!(1), json!(true)),
            entry("main#4", "chat", json!(1), json!(1)),
            entry("main#11", "chat", json!(1), json!(1)),
            entry("main#12", "chat", json!(1), json!(1)),
        ];
        let changes = compare(&first, &second).unwrap();
        let told: Vec<_> = changes.iter().map(|change| format!("{} {}", change.at, change.what)).collect();
        assert_eq!(
            told,
            [
                "main#1 answer.text: \"x\" → \"y\"",
                "main#2 request.messages[2]: 2 → 3",
                "main#3 answer → error",
                "main#4 only in the second",
                "main#10 only in the first",
                "main#11 has not ended in the first",
                "main#12 was models.list",
            ]
        );
        assert_eq!(compare(&first, &first).unwrap(), []);
    }
}
