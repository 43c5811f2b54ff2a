//! Builds an answer from the parts that a provider sends.
//!
//! A protocol (`protocol/`) adds text, tool calls and usage to a [`ReplyBuilder`]. While the answer streams, the reader
//! takes the new deltas out ([`ReplyBuilder::take_news`]). At the end, [`ReplyBuilder::into_reply`] returns the whole
//! answer.

use std::borrow::Cow;
use std::collections::BTreeMap;

use llmspell_core::chat::{Delta, FinishReason, Part, Reply, ToolCall, Usage};
use llmspell_core::{Error, ErrorKind, Result};
use serde::de::IgnoredAny;
use serde_json::Value as Json;

use crate::answer::{REWORD, WITHHELD};
use crate::answer_text::AnswerText;
use crate::count::count_tokens;
use crate::error::escape;
use crate::halves::without_marks;
use crate::tool_arguments;

/// The answer as far as it has been read.
#[derive(Debug, Default)]
pub(crate) struct ReplyBuilder {
    answer: AnswerText,
    /// The tool calls by the provider's index, which is the model's order.
    calls: BTreeMap<u64, ToolCallBuilder>,
    /// The call that the next piece with an index belongs to; see [`Self::add_call_piece`].
    moved: BTreeMap<u64, u64>,
    /// Reasoning that the next request must return to the provider, by index.
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

impl ToolCallBuilder {
    /// Sets the arguments: JSON as text, or as a value.
    pub(crate) fn set_arguments(&mut self, arguments: &Json) {
        self.arguments = arguments_text(arguments).into_owned();
    }

    /// Whether a piece begins another call, and cannot belong to this one.
    fn is_followed_by(&self, piece: &CallPiece<'_>) -> bool {
        let differ = |one: &str, other: &str| !one.is_empty() && !other.is_empty() && one != other;
        let is_complete = || {
            let text = self.arguments.trim();
            text.ends_with(['}', '"']) && serde_json::from_str::<IgnoredAny>(text).is_ok()
        };
        differ(&self.id, piece.id)
            || differ(&self.name, piece.name)
            || piece.arguments.trim_start().starts_with(['{', '"']) && is_complete()
    }

    /// Whether a piece is this whole call once more. Some servers send it again at the end.
    fn is_repeated_by(&self, piece: &CallPiece<'_>) -> bool {
        self.id == piece.id
            && !piece.id.is_empty()
            && self.name == piece.name
            && self.arguments == piece.arguments
    }
}

/// A piece of a streamed tool call. Absent texts are empty.
#[derive(Debug)]
pub(crate) struct CallPiece<'a> {
    pub(crate) index: u64,
    pub(crate) id: &'a str,
    pub(crate) name: &'a str,
    pub(crate) arguments: Cow<'a, str>,
}

/// Returns arguments as JSON text. The APIs specify either that or an object, and gateways mix them up.
pub(crate) fn arguments_text(arguments: &Json) -> Cow<'_, str> {
    match arguments {
        Json::String(text) => Cow::Borrowed(text),
        Json::Null => Cow::Borrowed(""),
        other => Cow::Owned(other.to_string()),
    }
}

/// Reasoning that is still arriving.
#[derive(Debug, Default)]
pub(crate) struct ThoughtBuilder {
    pub(crate) text: String,
    pub(crate) signature: String,
    /// A list that is the signature, if the provider sends one.
    pub(crate) details: Vec<Json>,
    /// Whether the provider wants the reasoning back only if the answer calls tools.
    pub(crate) only_with_calls: bool,
}

impl ThoughtBuilder {
    fn part(self) -> Option<Part> {
        let signature =
            if self.details.is_empty() { self.signature } else { Json::Array(self.details).to_string() };
        let signed = !signature.is_empty();
        signed.then(|| Part::Reasoning { text: self.text, signature: Some(signature), provider: None })
    }
}

/// The usage that the provider reports. Missing and implausible counts are `None`.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Tokens {
    pub(crate) input: Option<u64>,
    pub(crate) output: Option<u64>,
    pub(crate) cached: Option<u64>,
    /// Input tokens written to the cache, and the part of them that is kept for an hour.
    pub(crate) cache_write: Option<u64>,
    pub(crate) cache_write_hour: Option<u64>,
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

    /// Records why the model stopped, and the provider's explanation.
    pub(crate) fn stopped(&mut self, cause: StopCause, details: impl IntoIterator<Item = String>) {
        self.stop = Some(cause);
        self.finish_details.extend(details.into_iter().filter(|detail| !detail.trim().is_empty()));
    }

    /// Records the finish reason.
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

    /// Adds a piece of a streamed tool call, and returns the call that it belongs to.
    ///
    /// The index tells the calls of an answer apart, except that some servers give several calls the same index, or
    /// none, or the same id. So a new id at an index, another name, or more arguments after complete ones begin
    /// another call, and later pieces at that index belong to it.
    pub(crate) fn add_call_piece(&mut self, piece: &CallPiece<'_>) -> &mut ToolCallBuilder {
        let at = *self.moved.get(&piece.index).unwrap_or(&piece.index);
        let known = self.calls.iter().rev().find(|(_, call)| !piece.id.is_empty() && call.id == piece.id);
        let at = known.map_or(at, |(known, _)| *known);
        let (at, name) = match self.calls.get(&at) {
            Some(call) if call.is_repeated_by(piece) && at == piece.index => return self.call(at),
            Some(call) if call.is_followed_by(piece) => (self.next_call(), call.name.clone()),
            _ => (at, String::new()),
        };
        self.moved.insert(piece.index, at);
        let call = self.call(at);
        // Id and name are sent once. A repetition must not be appended.
        if call.id.is_empty() {
            call.id = piece.id.to_owned();
        }
        if call.name.is_empty() {
            call.name = if piece.name.is_empty() { name } else { piece.name.to_owned() };
        }
        call.arguments.push_str(&piece.arguments);
        call
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

    /// Returns new reasoning, after all that there is.
    pub(crate) fn next_thought(&mut self) -> &mut ThoughtBuilder {
        let index = self.thoughts.last_key_value().map_or(0, |(last, _)| last.saturating_add(1));
        self.thought(index)
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
        let tool_calls: Vec<ToolCall> = self
            .calls
            .into_values()
            .map(|call| ToolCall {
                id: call.id,
                name: call.name,
                arguments: tool_arguments::parse(without_marks(&call.arguments).into_owned()),
                signature: call.signature,
                provider: None,
            })
            .collect();
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
            .filter(|thought| !thought.only_with_calls || !tool_calls.is_empty())
            .filter_map(ThoughtBuilder::part)
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
        let cached_tokens = self.tokens.cached.unwrap_or(0).min(input_tokens);
        let cache_write_tokens = self.tokens.cache_write.unwrap_or(0).min(input_tokens - cached_tokens);
        Usage {
            input_tokens,
            output_tokens,
            cached_tokens,
            cache_write_tokens,
            cache_write_hour_tokens: self.tokens.cache_write_hour.unwrap_or(0).min(cache_write_tokens),
            reasoning_tokens: self.tokens.reasoning.unwrap_or(0).min(output_tokens),
            estimated: input.is_none() || output.is_none(),
            ..Usage::default()
        }
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
    fn pieces_of_calls_are_told_apart() {
        for (case, pieces, expected) in [
            (
                "ids at one index",
                &[(0, "a", "t", "{\"n\""), (0, "", "", ":1}"), (0, "b", "t", "{\"n\":2"), (0, "b", "", "}")]
                    [..],
                &["a t {\"n\":1}", "b t {\"n\":2}"][..],
            ),
            (
                "an id at another index",
                &[(0, "a", "t", "{"), (1, "c", "t", "{}"), (1, "a", "", "}")],
                &["a t {}", "c t {}"],
            ),
            (
                "no ids at one index",
                &[(0, "", "t", "{\"n\":1}"), (0, "", "t", "{\"n\":2}")],
                &[" t {\"n\":1}", " t {\"n\":2}"],
            ),
            (
                "no ids, arguments in pieces",
                &[
                    (0, "", "t", ""),
                    (0, "", "", "{\"n\""),
                    (0, "", "", ":1}"),
                    (0, "", "t", ""),
                    (0, "", "", "{\"n\""),
                    (0, "", "", ":2}"),
                ],
                &[" t {\"n\":1}", " t {\"n\":2}"],
            ),
            ("no ids, other names", &[(0, "", "now", ""), (0, "", "t", "{}")], &[" now {}", " t {}"]),
            (
                "one id, other indexes",
                &[(0, "a", "t", "{\"n\":1}"), (1, "a", "t", "{\"n\":2}")],
                &["a t {\"n\":1}", "a t {\"n\":2}"],
            ),
            (
                "one id, other indexes, equal calls",
                &[(0, "a", "t", "{}"), (1, "a", "t", "{}")],
                &["a t {}", "a t {}"],
            ),
            (
                "one id, other indexes, arguments in pieces",
                &[
                    (0, "a", "t", ""),
                    (0, "", "", "{\"n\":1}"),
                    (1, "a", "t", ""),
                    (1, "", "", "{\"n\":"),
                    (1, "", "", "2}"),
                ],
                &["a t {\"n\":1}", " t {\"n\":2}"],
            ),
            (
                "one id, one index",
                &[(0, "a", "t", "{\"n\":1}"), (0, "a", "t", "{\"n\":2}")],
                &["a t {\"n\":1}", "a t {\"n\":2}"],
            ),
            (
                "arguments encoded twice",
                &[(0, "", "t", "\"{}\""), (0, "", "t", "\"{\\\"n\\\":2}\"")],
                &[" t {}", " t {\"n\":2}"],
            ),
            ("a repeated name", &[(0, "a", "t", "{"), (0, "", "t", "}")], &["a t {}"]),
            (
                "a call sent again at the end",
                &[(0, "a", "t", "{\"n\":1}"), (0, "a", "t", "{\"n\":1}")],
                &["a t {\"n\":1}"],
            ),
            (
                "objects in pieces",
                &[(0, "a", "t", "{\"n\":[{}"), (0, "", "", ",{}"), (0, "", "", "]}")],
                &["a t {\"n\":[{},{}]}"],
            ),
        ] {
            let mut builder = ReplyBuilder::default();
            for (index, id, name, arguments) in pieces {
                let arguments = Cow::Borrowed(*arguments);
                builder.add_call_piece(&CallPiece { index: *index, id, name, arguments });
            }
            let calls = builder.into_reply(1).unwrap().tool_calls;
            let found: Vec<String> =
                calls.iter().map(|call| format!("{} {} {}", call.id, call.name, call.arguments)).collect();
            assert_eq!(found, expected, "{case}");
        }
    }
}
