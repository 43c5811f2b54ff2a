//! Checks that an answer has text where a caller needs it.

use llmspell_core::chat::{FinishReason, Reply};
use llmspell_core::{Error, ErrorKind, Result};

/// The message of `content_filtered`.
pub(crate) const WITHHELD: &str = "the provider withheld the answer";

/// The hint for an answer that was withheld or refused.
pub(crate) const REWORD: &str = "ask in other words";

/// Returns the text of an answer.
///
/// # Errors
/// `content_filtered` when the provider withheld the answer or a part of it. `empty_response` when the text is empty
/// because the model did not finish, called a tool, or refused. An empty text that the model finished is returned.
pub fn text_of(reply: &Reply) -> Result<&str> {
    let empty = ErrorKind::EmptyResponse;
    let (kind, message, hint) = match reply.finish_reason {
        FinishReason::ContentFilter => (ErrorKind::ContentFiltered, WITHHELD, REWORD),
        _ if !reply.text.is_empty() => return Ok(&reply.text),
        FinishReason::Stop | FinishReason::Other => return Ok(&reply.text),
        FinishReason::Length => (
            empty,
            "the model used up its tokens before it answered",
            "raise `max_tokens` or lower `reasoning`",
        ),
        FinishReason::ToolCalls => (
            empty,
            "the model wants a tool to be called and says nothing",
            "`llm.generate` returns its `tool_calls`",
        ),
        FinishReason::Refusal => (empty, "the model declined to answer", REWORD),
    };
    let mut error = Error::new(kind, message).hint(hint);
    let call = error.call_mut();
    call.partial = Some(reply.text.clone()).filter(|text| !text.is_empty());
    call.provider = Some(reply.provider.clone());
    call.attempts = reply.attempts;
    call.usage = Some(reply.usage.clone());
    Err(error)
}
