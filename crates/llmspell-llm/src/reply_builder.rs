//! Builds an answer from the parts that a provider sends.
//!
//! A protocol (`protocol/`) adds text, tool calls and usage to a [`ReplyBuilder`]. While the answer streams, the reader
//! takes the new deltas out ([`ReplyBuilder::take_news`]). At the end, [`ReplyBuilder::into_reply`] returns the whole
//! answer.

use std::collections::BTreeMap;

use llmspell_core::chat::{Delta, FinishReason, Part, Reply, ToolCall, Usage};
use llmspell_core::{Error, ErrorKind, Result};
use serde_json::Value as Json;

use crate::answer::{REWORD, WITHHELD};
use crate::answer_text::AnswerText;
use crate::count::count_tokens;
use crate::error::escape;

/// The answer as far as it has been read.
#[derive(Debug, Default)]
pub(crate) struct ReplyBuilder {
    answer: AnswerText,
    /// The tool calls by the provider's index, which is the model's order.
    calls: BTreeMap<u64, ToolCallBuilder>,
    /// Indexes whose pieces now belong to another call; see [`Self::call_with_id`].
    moved: BTreeMap<u64, u64>,
    /// Signed reasoning that the next request must return to the provider, by index.
    thoughts: BTreeMap<u64, ThoughtBuilder>,
    /// Why the model stopped, if it has.
    pub(crate) stop: Option<StopCause>,
    pub(crate) tokens: Tokens,
    pub(crate) id: Option<String>,
    /// Whether more than one chunk of a stream had the same id.
    pub(crate) repeats_id: bool,
    pub(crate) model: Option<String>,
    /// The provider's own words about how the answer ended, for errors.
    pub(crate) finish_details: Vec<String>,
    /// Whether the stream's end marker was read.
    pub(crate) ended: bool,
    /// The provider's error, if the answer contains one.
    pub(crate) failed: Option<Json>,
    /// Whether a second answer began in the stream of this one.
    pub(crate) is_spliced: bool,
}

/// Why a model stopped, as a protocol reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StopCause {
    /// The model, or a limit of the request, ended the answer.
    Finished(FinishReason),
    /// The provider failed in the middle of the answer.
    ProviderFailed,
    /// The model wrote a tool call that the provider cannot read.
    Malformed,
}

/// A tool call whose arguments are still arriving.
#[derive(Debug, Default)]
pub(crate) struct ToolCallBuilder {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) arguments: String,
    pub(crate) signature: Option<String>,
}

/// Reasoning that is still arriving.
#[derive(Debug, Default)]
pub(crate) struct ThoughtBuilder {
    pub(crate) text: String,
    pub(crate) signature: String,
}

/// The usage that the provider reports. Missing and implausible counts are `None`.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Tokens {
    pub(crate) input: Option<u64>,
    pub(crate) output: Option<u64>,
    pub(crate) cached: Option<u64>,
    pub(crate) reasoning: Option<u64>,
}

/// The largest token count that is believed. Larger ones are taken for mistakes of the provider.
const MOST_TOKENS: u64 = 100_000_000;

/// Reads a token count. Negative, malformed and implausible ones are `None`.
pub(crate) fn count(json: &Json) -> Option<u64> {
    json.as_u64()
        .or_else(|| {
            let number = json.as_f64()?;
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "in range by the test"
            )]
            (number >= 0.0 && number <= MOST_TOKENS as f64).then_some(number as u64)
        })
        .filter(|count| *count <= MOST_TOKENS)
}

impl ReplyBuilder {
    /// Creates the builder of an answer. `is_opened` says that the model's chat template begins the answer within
    /// reasoning; see [`AnswerText`].
    pub(crate) fn new(is_opened: bool) -> Self {
        Self { answer: AnswerText::new(is_opened), ..Self::default() }
    }

    /// Begins the answer with this id. If another one has begun, two answers were spliced into one stream.
    pub(crate) fn begin(&mut self, id: Option<String>) {
        let has_begun = self.answer.has_begun() || !self.calls.is_empty() || !self.thoughts.is_empty();
        self.is_spliced |= has_begun || self.id.is_some() && self.id != id;
        self.id = id;
    }

    /// Adds text of the answer. Reasoning in it, between tags, is separated from it.
    pub(crate) fn add_text(&mut self, text: &str) {
        self.answer.add(text);
    }

    /// Adds text of the reasoning before the answer.
    pub(crate) fn add_reasoning(&mut self, text: &str) {
        self.answer.add_reasoning(text);
    }

    /// Sets why the model stopped, with the provider's words about it.
    pub(crate) fn stopped(&mut self, cause: StopCause, details: impl IntoIterator<Item = String>) {
        self.stop = Some(cause);
        self.finish_details.extend(details.into_iter().filter(|detail| !detail.trim().is_empty()));
    }

    /// Sets that the model finished for this reason.
    pub(crate) fn finished(&mut self, reason: FinishReason) {
        self.stop = Some(StopCause::Finished(reason));
    }

    /// Returns the text that has arrived.
    pub(crate) fn text(&self) -> &str {
        self.answer.text()
    }

    /// Ends the text, so that nothing of it is held back.
    pub(crate) fn end_text(&mut self) {
        self.answer.end();
    }

    /// Returns the tool call with this index, created if it is new.
    pub(crate) fn call(&mut self, index: u64) -> &mut ToolCallBuilder {
        self.calls.entry(index).or_default()
    }

    /// Returns the tool call that a piece with this index and perhaps an id belongs to.
    ///
    /// Some servers give all calls of an answer the same index. A new id at an index that has one begins another call,
    /// and later pieces at that index without an id belong to it.
    pub(crate) fn call_with_id(&mut self, index: u64, id: Option<&str>) -> &mut ToolCallBuilder {
        let begun = *self.moved.get(&index).unwrap_or(&index);
        let at = match id.filter(|id| !id.is_empty()) {
            Some(id) => match self.calls.iter().find(|(_, call)| call.id == id) {
                Some((known, _)) => *known,
                None if self.calls.get(&begun).is_some_and(|call| !call.id.is_empty()) => self.next_call(),
                None => begun,
            },
            None => begun,
        };
        if at != begun {
            self.moved.insert(index, at);
        }
        self.call(at)
    }

    /// Returns the tool call with this index, if there is one.
    pub(crate) fn begun_call(&mut self, index: u64) -> Option<&mut ToolCallBuilder> {
        self.calls.get_mut(&index)
    }

    /// Returns the index after that of the last tool call.
    pub(crate) fn next_call(&self) -> u64 {
        self.calls.last_key_value().map_or(0, |(last, _)| last.saturating_add(1))
    }

    /// Returns the reasoning with this index, created if it is new.
    pub(crate) fn thought(&mut self, index: u64) -> &mut ThoughtBuilder {
        self.thoughts.entry(index).or_default()
    }

    /// Returns the next delta that was not taken yet.
    pub(crate) fn take_news(&mut self) -> Option<Delta> {
        self.answer.take_news()
    }

    /// Returns the whole answer. `asked` is the estimated token count of the request, for providers that do not report
    /// it.
    ///
    /// # Errors
    /// `empty_response` when the model finished without a text or a call, `content_filtered` when the provider withheld
    /// the answer, and the provider's failure. The error has the usage and the partial text.
    pub(crate) fn into_reply(mut self, asked: u64) -> Result<Reply> {
        self.end_text();
        let usage = self.usage(asked);
        if let Some(mut error) = self.failure() {
            let call = error.call_mut();
            call.usage = Some(usage);
            call.partial = Some(self.answer.into_parts().0).filter(|text| !text.is_empty());
            return Err(error);
        }
        let mut tool_calls: Vec<ToolCall> = Vec::with_capacity(self.calls.len());
        for (index, call) in self.calls {
            // Some providers send no id, but the result of a call must refer to one.
            let id = if call.id.is_empty() { format!("call_{index}") } else { call.id };
            let arguments = parse_arguments(call.arguments);
            tool_calls.push(ToolCall { id, name: call.name, arguments, signature: call.signature });
        }
        let finish_reason = match self.stop {
            None | Some(StopCause::Finished(FinishReason::Stop)) if !tool_calls.is_empty() => {
                FinishReason::ToolCalls
            }
            Some(StopCause::Finished(reason)) => reason,
            _ => FinishReason::default(),
        };
        let (text, reasoning) = self.answer.into_parts();
        let reasoning_parts = self
            .thoughts
            .into_values()
            .filter(|thought| !thought.signature.is_empty())
            .map(|thought| Part::Reasoning { text: thought.text, signature: Some(thought.signature) })
            .collect();
        Ok(Reply {
            text,
            model: self.model.unwrap_or_default(),
            finish_reason,
            tool_calls,
            reasoning,
            reasoning_parts,
            usage,
            id: self.id,
            ..Reply::default()
        })
    }

    /// Returns the error of an answer that is none.
    fn failure(&self) -> Option<Error> {
        let details: String =
            self.finish_details.iter().map(|detail| format!(": {}", escape(detail))).collect();
        let is_blank = self.text().trim().is_empty() && self.calls.is_empty();
        let (kind, message) = match self.stop {
            Some(StopCause::ProviderFailed) => {
                (ErrorKind::Overloaded, "the provider failed in the middle of the answer")
            }
            Some(StopCause::Malformed) => {
                (ErrorKind::BadResponse, "the model wrote a tool call that the provider cannot read")
            }
            Some(StopCause::Finished(FinishReason::ContentFilter)) => {
                let message = format!("{WITHHELD}{details}");
                return Some(Error::new(ErrorKind::ContentFiltered, message).hint(REWORD));
            }
            // An answer that was cut off or refused may have no text.
            Some(StopCause::Finished(FinishReason::Length | FinishReason::Refusal)) => return None,
            _ if !is_blank => return None,
            _ if !self.answer.reasoning().is_empty() || !self.thoughts.is_empty() => {
                (ErrorKind::EmptyResponse, "the model reasoned and gave no answer")
            }
            _ => (ErrorKind::EmptyResponse, "the model's answer is empty"),
        };
        Some(Error::new(kind, format!("{message}{details}")).with_retryable(true))
    }

    fn usage(&self, asked: u64) -> Usage {
        let written = count_tokens(self.text())
            + count_tokens(self.answer.reasoning())
            + self
                .calls
                .values()
                .map(|call| count_tokens(&call.name) + count_tokens(&call.arguments))
                .sum::<u64>();
        // Some providers report 0 although there were tokens. Such a count is not used.
        let input = self.tokens.input.filter(|tokens| *tokens > 0);
        let output = self.tokens.output.filter(|tokens| *tokens > 0 || written == 0);
        let input_tokens = input.unwrap_or(asked);
        let output_tokens = output.unwrap_or(written);
        Usage {
            input_tokens,
            output_tokens,
            cached_tokens: self.tokens.cached.unwrap_or(0).min(input_tokens),
            reasoning_tokens: self.tokens.reasoning.unwrap_or(0).min(output_tokens),
            cost_usd: None,
            estimated: input.is_none() || output.is_none(),
        }
    }
}

/// Parses the arguments of a call. If they are not a JSON object, returns the raw text.
fn parse_arguments(text: String) -> Json {
    if text.trim().is_empty() {
        return Json::Object(serde_json::Map::new());
    }
    match serde_json::from_str(&text) {
        Ok(object @ Json::Object(_)) => object,
        _ => Json::String(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn counts_that_cannot_be_are_none() {
        for (written, expected) in [
            (json!(3), Some(3)),
            (json!(3.0), Some(3)),
            (json!(-1), None),
            (json!(1e300), None),
            (json!(u64::MAX), None),
            (json!("3"), None),
            (json!(null), None),
        ] {
            assert_eq!(count(&written), expected, "{written}");
        }
    }

    #[test]
    fn usage_that_is_missing_or_absurd_is_estimated() {
        let usage = |input, output| {
            let mut builder = ReplyBuilder {
                tokens: Tokens { input, output, ..Tokens::default() },
                ..ReplyBuilder::default()
            };
            builder.add_text("12345678");
            let usage = builder.into_reply(7).unwrap().usage;
            (usage.input_tokens, usage.output_tokens, usage.estimated)
        };
        assert_eq!(usage(Some(5), Some(1)), (5, 1, false));
        assert_eq!(usage(None, Some(1)), (7, 1, true));
        assert_eq!(usage(Some(0), Some(0)), (7, 2, true));
    }

    #[test]
    fn calls_that_share_an_index_are_told_by_their_ids() {
        let mut builder = ReplyBuilder::default();
        for (index, id, arguments) in [
            (0, Some("a"), "{\"n\""),
            (0, None, ":1}"),
            (0, Some("b"), "{\"n\""),
            (0, Some("b"), ":2"),
            (0, None, "}"),
            (1, Some("c"), "{}"),
            (1, Some("a"), ""),
        ] {
            let call = builder.call_with_id(index, id);
            if let Some(id) = id {
                call.id = id.into();
            }
            call.arguments.push_str(arguments);
        }
        let calls = builder.into_reply(1).unwrap().tool_calls;
        let found: Vec<_> = calls.iter().map(|call| (call.id.as_str(), call.arguments.to_string())).collect();
        assert_eq!(found, [("a", r#"{"n":1}"#.into()), ("b", r#"{"n":2}"#.into()), ("c", "{}".to_owned())]);
    }

    #[test]
    fn arguments_are_an_object_or_the_raw_text() {
        for (text, expected) in [
            ("", json!({})),
            (r#"{"a":1}"#, json!({"a": 1})),
            (r#"{"a":"#, json!(r#"{"a":"#)),
            ("[1]", json!("[1]")),
        ] {
            assert_eq!(parse_arguments(text.into()), expected, "{text}");
        }
    }
}
