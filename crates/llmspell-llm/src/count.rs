//! Estimates token counts without a tokenizer.
//!
//! The estimate depends only on the text, so it is the same for all models and in a replay.

use llmspell_core::chat::{ChatRequest, Content, Message, Part};

/// Estimates the tokens of a text: one per four ASCII characters, per two characters of other alphabets, and per
/// ideograph or emoji.
///
/// ```
/// use llmspell_llm::count_tokens;
/// assert_eq!(count_tokens(""), 0);
/// assert_eq!(count_tokens("The quick brown fox jumps over the lazy dog."), 11);
/// assert_eq!(count_tokens("你好世界"), 4);
/// ```
#[must_use]
pub fn count_tokens(text: &str) -> u64 {
    // Summed in quarters of a token, so that short words do not each round up.
    let quarters: u64 = text
        .chars()
        .map(|letter| match letter {
            '\0'..='\u{7f}' => 1,
            // Han, kana, Hangul, and the planes of rarer ideographs and emoji.
            '\u{2e80}'..='\u{9fff}' | '\u{ac00}'..='\u{d7ff}' | '\u{f900}'..='\u{faff}' | '\u{ff00}'.. => 4,
            _ => 2,
        })
        .sum();
    quarters.div_ceil(4)
}

/// The assumed tokens of an image: between the providers' charges for small and large ones.
const IMAGE_TOKENS: u64 = 1_000;

/// The tokens of a message beyond its text.
const MESSAGE_TOKENS: u64 = 4;

/// Estimates the tokens of a whole request.
pub(crate) fn count_request(request: &ChatRequest) -> u64 {
    count_messages(&request.messages) + count_frame(request)
}

/// Estimates the tokens of messages.
pub(crate) fn count_messages(messages: &[Message]) -> u64 {
    let of_content = |content: &Content| match content {
        Content::Text(text) => count_tokens(text),
        Content::Parts(parts) => parts.iter().map(count_part).sum(),
    };
    messages.iter().map(|message| MESSAGE_TOKENS + of_content(&message.content)).sum()
}

/// Estimates the tokens of a request without its messages. They are the same in each turn of an agent.
pub(crate) fn count_frame(request: &ChatRequest) -> u64 {
    let system = request.system.as_deref().map_or(0, |text| MESSAGE_TOKENS + count_tokens(text));
    let tools: u64 = request
        .tools
        .iter()
        .map(|tool| {
            count_tokens(&tool.name)
                + count_tokens(&tool.description)
                + count_tokens(&tool.parameters.to_string())
        })
        .sum();
    let output = request.output.as_ref().map_or(0, |output| count_tokens(&output.schema.to_string()));
    system + tools + output
}

fn count_part(part: &Part) -> u64 {
    match part {
        Part::Text { text } | Part::Reasoning { text, .. } => count_tokens(text),
        Part::Image { .. } => IMAGE_TOKENS,
        Part::ToolCall(call) => count_tokens(&call.name) + count_tokens(&call.arguments.to_string()),
        Part::ToolResult { content, .. } => count_tokens(content),
    }
}
