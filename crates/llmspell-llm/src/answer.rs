//! Checks that an answer has text where a caller needs it.

use llmspell_core::chat::{FinishReason, Reply};
use llmspell_core::{Error, ErrorKind, Result};

/// Returns the text of an answer.
///
/// # Errors
/// `empty_response` when the text is empty because the model did not finish, called a tool, or was blocked. An empty
/// text that the model finished is returned.
pub fn text_of(reply: &Reply) -> Result<&str> {
    if !reply.text.is_empty() {
        return Ok(&reply.text);
    }
    let (message, hint) = match reply.finish_reason {
        FinishReason::Stop | FinishReason::Other => return Ok(&reply.text),
        FinishReason::Length => {
            ("the model used up its tokens before it answered", "raise `max_tokens` or lower `reasoning`")
        }
        FinishReason::ToolCalls => (
            "the model wants a tool to be called and says nothing",
            "`llm.generate` returns its `tool_calls`",
        ),
        FinishReason::ContentFilter => ("the provider held the answer back", "ask in other words"),
        FinishReason::Refusal => ("the model declined to answer", "ask in other words"),
    };
    let mut error = Error::new(ErrorKind::EmptyResponse, message).hint(hint);
    let call = error.call_mut();
    call.provider = Some(reply.provider.clone());
    call.attempts = reply.attempts;
    call.usage = Some(reply.usage.clone());
    Err(error)
}
