//! Replay: a journal that answers a run from the recorded effects of another run.
//!
//! [`Recorded`] looks up effects by path and compares requests. [`Replay`] is the journal on top of it, which never
//! performs an effect. A request that differs from the recording is an error, which names the first field that differs.

use std::collections::HashMap;
use std::fmt::Write as _;

use crate::commit::CommitPoint;
use crate::effect::{
    Effect, EffectPath, EffectRequest, EffectResult, EntryId, Journal, JournalEntry, Lookup,
};
use crate::error::{Error, ErrorKind, Result};
use crate::value::Value;

/// The recorded effects of a run, by path.
#[derive(Debug, Default)]
pub struct Recorded(HashMap<EffectPath, JournalEntry>);

impl Recorded {
    /// Indexes the entries of a journal.
    #[must_use]
    pub fn new(entries: Vec<JournalEntry>) -> Self {
        Self(entries.into_iter().map(|entry| (entry.effect.path.clone(), entry)).collect())
    }

    /// Returns the entry of an effect; `None` if its path is not recorded.
    ///
    /// # Errors
    /// When the recorded request at that path differs; the error names the first difference.
    pub fn find(&self, effect: &Effect) -> Result<Option<&JournalEntry>> {
        let Some(entry) = self.0.get(&effect.path) else { return Ok(None) };
        same(&entry.effect.ask, effect).map(|()| Some(entry))
    }

    /// Returns the highest number in the [order](EffectResult::order) of answers.
    #[must_use]
    pub fn last_order(&self) -> u64 {
        self.0.values().filter_map(|entry| Some(entry.end.as_ref()?.order)).max().unwrap_or(0)
    }

    /// Returns the error for an effect that is not recorded. It names the most similar entry.
    #[must_use]
    pub fn missing(&self, effect: &Effect) -> Error {
        let now = &effect.ask;
        let mut text = format!("{} {}.{} is not recorded", effect.path, now.capability, now.operation);
        let alike = |entry: &&JournalEntry| {
            let then = &entry.effect.ask;
            let same = (&then.capability, &then.operation) == (&now.capability, &now.operation);
            let near = entry.effect.path.task == effect.path.task;
            let apart = entry.effect.path.count.abs_diff(effect.path.count);
            (same, then.request == now.request, near, std::cmp::Reverse(apart))
        };
        if let Some(nearest) = self.0.values().max_by(|a, b| {
            let by_path = |entry: &JournalEntry| (entry.effect.path.task.clone(), entry.effect.path.count);
            alike(a).cmp(&alike(b)).then_with(|| by_path(b).cmp(&by_path(a)))
        }) {
            let _ = write!(text, "; the nearest recording, {}, ", nearest.effect.path);
            match nearest.effect.ask.request == now.request {
                true => text.push_str("asks the same"),
                false => text.push_str(&difference(&nearest.effect.ask, now)),
            }
        }
        mismatch(text)
    }
}

/// Checks that an effect requests what was recorded at its path.
///
/// # Errors
/// When it differs; the error names the first difference.
pub fn same(then: &EffectRequest, effect: &Effect) -> Result<()> {
    let now = &effect.ask;
    if (&then.capability, &then.operation, &then.request) == (&now.capability, &now.operation, &now.request) {
        return Ok(());
    }
    Err(mismatch(format!("{} {}", effect.path, difference(then, now))))
}

fn mismatch(message: String) -> Error {
    Error::new(ErrorKind::Replay, message)
        .hint("nothing was asked of the world; if the spell has changed, record it anew")
}

/// Describes the first difference between two requests.
fn difference(then: &EffectRequest, now: &EffectRequest) -> String {
    if (&then.capability, &then.operation) != (&now.capability, &now.operation) {
        return format!(
            "was {}.{} when it was recorded, and is {}.{} now",
            then.capability, then.operation, now.capability, now.operation
        );
    }
    let Difference { path, then: was, now: is } = Difference::first(&then.request, &now.request);
    let path = if path.is_empty() { "request" } else { &path };
    format!(
        "{}.{} differs at `{path}`: it was {} when it was recorded, and is {} now",
        now.capability,
        now.operation,
        shown(was),
        shown(is)
    )
}

/// The first difference between two values.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference<'a> {
    /// The path of the difference, such as `messages[1].text`; empty if the whole values differ.
    pub path: String,
    /// The first value's part at this path; `None` if it has none.
    pub then: Option<&'a Value>,
    /// The second value's part at this path; `None` if it has none.
    pub now: Option<&'a Value>,
}

impl<'a> Difference<'a> {
    /// Finds the first difference. For equal values, it is the whole value.
    ///
    /// ```
    /// use llmspell_core::replay::Difference;
    /// use llmspell_core::to_value;
    /// let then = to_value(&serde_json::json!({"a": [1, 2], "b": 1}))?;
    /// let now = to_value(&serde_json::json!({"a": [1, 3], "b": 2}))?;
    /// assert_eq!(Difference::first(&then, &now).path, "a[2]");
    /// # Ok::<(), llmspell_core::Error>(())
    /// ```
    #[must_use]
    pub fn first(then: &'a Value, now: &'a Value) -> Self {
        let mut found = Self { path: String::new(), then: Some(then), now: Some(now) };
        while found.step_in() {}
        found
    }

    /// Descends to the first part that differs, if there is one.
    fn step_in(&mut self) -> bool {
        let (step, then, now) = match (self.then, self.now) {
            (Some(Value::Map(was)), Some(Value::Map(is))) => {
                let mut names = was.keys().chain(is.keys().filter(|name| !was.contains_key(*name)));
                let Some(name) = names.find(|name| was.get(*name) != is.get(*name)) else { return false };
                let dot = if self.path.is_empty() { "" } else { "." };
                (format!("{dot}{name}"), was.get(name), is.get(name))
            }
            (Some(Value::List(was)), Some(Value::List(is))) => {
                let mut places = 0..was.len().max(is.len());
                let Some(at) = places.find(|at| was.get(*at) != is.get(*at)) else { return false };
                (format!("[{}]", at + 1), was.get(at), is.get(at))
            }
            _ => return false,
        };
        self.path.push_str(&step);
        (self.then, self.now) = (then, now);
        true
    }
}

/// Shortens a value for an error message: the first 60 characters of its JSON.
#[must_use]
pub fn shown(value: Option<&Value>) -> String {
    const MOST: usize = 60;
    let Some(value) = value else { return "absent".to_owned() };
    let text = serde_json::to_string(value).unwrap_or_default();
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// Replays a run: its effects are answered from a recording and never performed.
///
/// ```
/// use std::sync::Arc;
/// use llmspell_core::effect::MemoryJournal;
/// use llmspell_core::replay::Replay;
/// use llmspell_core::Context;
///
/// let journal = Arc::new(MemoryJournal::default());
/// let live = Context::builder().journal(journal.clone()).build();
/// // … run a script with `live`, and then the same script with:
/// let again = Context::builder().journal(Arc::new(Replay::new(journal.entries()))).build();
/// ```
#[derive(Debug)]
pub struct Replay(Recorded);

impl Replay {
    /// Creates a replay of these entries.
    #[must_use]
    pub fn new(entries: Vec<JournalEntry>) -> Self {
        Self(Recorded::new(entries))
    }
}

impl Journal for Replay {
    fn begin(&self, effect: Effect) -> Result<Lookup> {
        let entry = self.0.find(&effect)?.ok_or_else(|| self.0.missing(&effect))?;
        Ok(entry.end.clone().map_or(Lookup::NeverEnded, Lookup::Recorded))
    }

    fn part(&self, _: EntryId, _: u64, _: Value) -> Result<()> {
        Err(Error::internal("a replay has touched the world"))
    }

    fn finish(&self, _: EntryId, _: EffectResult) -> Result<CommitPoint> {
        Err(Error::internal("a replay has touched the world"))
    }

    fn last_order(&self) -> u64 {
        self.0.last_order()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn effect(task: &str, count: u32, operation: &'static str, request: serde_json::Value) -> Effect {
        let path = EffectPath { task: task.to_owned(), count };
        Effect { path, ask: EffectRequest::new("models", operation, &request).unwrap() }
    }

    #[test]
    fn a_miss_names_the_nearest_recording_and_the_first_field_that_differs() {
        let recorded = [
            effect("main", 1, "chat", json!({"model": "a", "messages": [{"text": "one"}, {"text": "two"}]})),
            effect("main", 2, "list", json!(null)),
            effect("main.1", 1, "chat", json!({"model": "b"})),
        ];
        let entries = recorded.map(|effect| JournalEntry { effect, end: None });
        let replay = Replay::new(entries.to_vec());
        let cases = [
            (
                effect(
                    "main",
                    1,
                    "chat",
                    json!({"model": "a", "messages": [{"text": "one"}, {"text": "2"}]}),
                ),
                r#"main#1 models.chat differs at `messages[2].text`: it was "two" when it was recorded, and is "2" now"#,
            ),
            (
                effect("main", 1, "chat", json!({"model": "a", "messages": [{"text": "one"}]})),
                r#"main#1 models.chat differs at `messages[2]`: it was {"text":"two"} when it was recorded, and is absent now"#,
            ),
            (
                effect("main", 2, "chat", json!(null)),
                "main#2 was models.list when it was recorded, and is models.chat now",
            ),
            (
                effect("main", 2, "list", json!("x".repeat(80))),
                &format!(
                    r#"main#2 models.list differs at `request`: it was null when it was recorded, and is "{}… now"#,
                    "x".repeat(59)
                ),
            ),
            (
                effect("main.1", 2, "chat", json!({"model": "c"})),
                r#"main.1#2 models.chat is not recorded; the nearest recording, main.1#1, models.chat differs at `model`: it was "b" when it was recorded, and is "c" now"#,
            ),
            (
                effect("main", 7, "list", json!(null)),
                "main#7 models.list is not recorded; the nearest recording, main#2, asks the same",
            ),
        ];
        for (asked, expected) in cases {
            let error = replay.begin(asked).unwrap_err();
            assert_eq!((error.kind(), error.message()), (ErrorKind::Replay, expected));
        }
    }
}
