//! Adapts the messages of a conversation to the provider that receives them.
//!
//! A conversation may hold answers of several models: after a fallback, or because a script switches. What belongs to
//! one provider only is translated or left out for the others:
//!
//! - *Call ids.* Each call gets an id of its own that the API accepts, and its result refers to that.
//! - *Arguments.* Malformed arguments become an empty object, because the APIs parse the history.
//! - *Signatures.* Signed reasoning and the signatures of calls go only to the provider that made them.

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};

use llmspell_core::chat::{Content, Message, Part, Role, ToolCall};

use crate::tool_arguments;

/// The ids of tool calls that an API accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CallIds {
    /// Any text of at most this many bytes.
    Any(usize),
    /// Letters, digits, `_` and `-`.
    Word,
    /// Nine letters and digits.
    Nine,
}

impl CallIds {
    fn accepts(self, id: &str) -> bool {
        let is_plain = |letter: u8| letter.is_ascii_alphanumeric();
        match self {
            Self::Any(most) => !id.is_empty() && id.len() <= most,
            Self::Word => {
                !id.is_empty() && id.bytes().all(|letter| is_plain(letter) || matches!(letter, b'_' | b'-'))
            }
            Self::Nine => id.len() == CODE_LENGTH && id.bytes().all(is_plain),
        }
    }
}

/// A reader of the messages of one request, in their order.
#[derive(Debug)]
pub(super) struct History<'a> {
    /// The name of the provider that receives the messages.
    provider: &'a str,
    call_ids: CallIds,
    used: HashSet<String>,
    /// The new ids of the calls of the last answer that have no result yet, by their ids.
    open: HashMap<String, VecDeque<String>>,
}

impl<'a> History<'a> {
    pub(super) fn new(provider: &'a str, call_ids: CallIds) -> Self {
        Self { provider, call_ids, used: HashSet::new(), open: HashMap::new() }
    }

    /// Returns the parts of the next message.
    pub(super) fn parts(&mut self, message: &Message) -> Vec<Part> {
        let parts = match &message.content {
            Content::Text(text) => return vec![Part::Text { text: text.clone() }],
            Content::Parts(parts) => parts,
        };
        if message.role == Role::Assistant {
            self.open.clear();
        }
        parts.iter().filter_map(|part| self.part(part)).collect()
    }

    fn part(&mut self, part: &Part) -> Option<Part> {
        Some(match part {
            Part::ToolCall(call) => {
                let id = self.call_id(&call.id);
                self.open.entry(call.id.clone()).or_default().push_back(id.clone());
                Part::ToolCall(ToolCall {
                    id,
                    name: call.name.clone(),
                    arguments: tool_arguments::sendable(&call.arguments),
                    signature: call.signature.clone().filter(|_| self.owns(call.provider.as_deref())),
                    provider: None,
                })
            }
            Part::ToolResult { id, content, is_error } => {
                let open = self.open.get_mut(id).and_then(VecDeque::pop_front);
                let id =
                    open.unwrap_or_else(|| if self.call_ids.accepts(id) { id.clone() } else { code(id, 0) });
                Part::ToolResult { id, content: content.clone(), is_error: *is_error }
            }
            Part::Reasoning { provider, .. } if !self.owns(provider.as_deref()) => return None,
            Part::Text { .. } | Part::Image { .. } | Part::Reasoning { .. } => part.clone(),
        })
    }

    /// Whether signatures of this provider go to the provider that receives the messages.
    fn owns(&self, signer: Option<&str>) -> bool {
        signer.is_none_or(|signer| signer == self.provider)
    }

    /// Returns the id of a call, or another one if the API rejects it or an earlier call has it.
    fn call_id(&mut self, given: &str) -> String {
        let mut id = given.to_owned();
        for number in 0_u64.. {
            if self.call_ids.accepts(&id) && self.used.insert(id.clone()) {
                break;
            }
            id = code(given, number);
        }
        id
    }
}

/// The number of letters of a code: the only length that Mistral accepts.
const CODE_LENGTH: usize = 9;

/// Returns letters and digits that stand for an id. The same id gives the same code in each request, so that a
/// provider's prompt cache recognises the conversation.
fn code(id: &str, number: u64) -> String {
    const LETTERS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut hasher = DefaultHasher::new();
    (id, number).hash(&mut hasher);
    let mut rest = hasher.finish();
    let mut letter = || {
        let at = rest % 62;
        rest /= 62;
        char::from(LETTERS[usize::try_from(at).unwrap_or_default()])
    };
    (0..CODE_LENGTH).map(|_| letter()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn call(id: &str) -> Part {
        Part::ToolCall(ToolCall {
            id: id.into(),
            name: "t".into(),
            arguments: json!({}),
            signature: None,
            provider: None,
        })
    }

    fn result(id: &str) -> Part {
        Part::ToolResult { id: id.into(), content: String::new(), is_error: false }
    }

    /// Returns the ids of the calls and of the results of a conversation, as a provider receives them.
    fn written(call_ids: CallIds, turns: &[&[&str]]) -> (Vec<String>, Vec<String>) {
        let mut history = History::new("p", call_ids);
        let (mut calls, mut results) = (Vec::new(), Vec::new());
        for turn in turns {
            let message = |role, make: fn(&str) -> Part| Message {
                role,
                content: Content::Parts(turn.iter().map(|id| make(id)).collect()),
            };
            for part in history.parts(&message(Role::Assistant, call)) {
                let Part::ToolCall(call) = part else { panic!("{part:?}") };
                calls.push(call.id);
            }
            for part in history.parts(&message(Role::Tool, result)) {
                let Part::ToolResult { id, .. } = part else { panic!("{part:?}") };
                results.push(id);
            }
        }
        (calls, results)
    }

    #[test]
    fn each_call_has_an_id_of_its_own_that_the_api_accepts_and_its_result_has_the_same() {
        let turns: &[&[&str]] = &[
            &["a1", "a1", ""],
            &["a1", "functions.weather:0"],
            &["toolu_01-x", "Ab3Ab3Ab3", "größe", &"x".repeat(80)],
        ];
        for (call_ids, unchanged) in [
            (CallIds::Any(40), &["a1", "functions.weather:0", "toolu_01-x", "Ab3Ab3Ab3", "größe"][..]),
            (CallIds::Word, &["a1", "toolu_01-x", "Ab3Ab3Ab3", &"x".repeat(80)]),
            (CallIds::Nine, &["Ab3Ab3Ab3"]),
        ] {
            let (calls, results) = written(call_ids, turns);
            assert_eq!(calls, results, "{call_ids:?}");
            assert_eq!(calls.iter().collect::<HashSet<_>>().len(), 9, "{call_ids:?} {calls:?}");
            assert!(calls.iter().all(|id| call_ids.accepts(id)), "{call_ids:?} {calls:?}");
            let given: Vec<&str> = turns.iter().copied().flatten().copied().collect();
            let kept: Vec<&str> =
                calls.iter().zip(given).filter(|(id, given)| id == given).map(|(_, given)| given).collect();
            assert_eq!(kept, unchanged, "{call_ids:?}");
            assert_eq!(written(call_ids, turns), (calls, results), "the same in each request");
        }
    }

    #[test]
    fn a_result_without_a_call_keeps_its_id_where_it_may() {
        let mut history = History::new("p", CallIds::Word);
        let content = Content::Parts(vec![result("a"), result("a:0")]);
        let parts = history.parts(&Message { role: Role::Tool, content });
        assert_eq!(parts, [result("a"), result(&code("a:0", 0))]);
    }

    #[test]
    fn what_another_provider_signed_is_left_out() {
        let signed = |provider: Option<&str>| {
            let provider = provider.map(str::to_owned);
            let Part::ToolCall(call) = call("a") else { panic!() };
            let call = ToolCall { signature: Some("s".into()), provider: provider.clone(), ..call };
            let reasoning = Part::Reasoning { text: "hm".into(), signature: Some("s".into()), provider };
            Message { role: Role::Assistant, content: Content::Parts(vec![reasoning, Part::ToolCall(call)]) }
        };
        for (signer, is_kept) in [(None, true), (Some("p"), true), (Some("q"), false)] {
            let parts = History::new("p", CallIds::Any(40)).parts(&signed(signer));
            let signatures = parts.iter().filter(|part| match part {
                Part::ToolCall(call) => call.signature.is_some(),
                part => matches!(part, Part::Reasoning { .. }),
            });
            assert_eq!(signatures.count(), if is_kept { 2 } else { 0 }, "{signer:?}");
        }
    }
}
