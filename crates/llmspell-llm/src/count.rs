//! Counts tokens without a tokenizer.

use llmspell_core::chat::{ChatRequest, Content, Message, Part};

/// Tokens of a text, roughly: four bytes of Latin script each, two bytes of others, one for each ideograph.
///
/// ```
/// use llmspell_llm::count_tokens;
/// assert_eq!(count_tokens(""), 0);
/// assert_eq!(count_tokens("The quick brown fox jumps over the lazy dog."), 11);
/// assert_eq!(count_tokens("你好世界"), 4);
/// ```
#[must_use]
pub fn count_tokens(text: &str) -> u64 {
    // In quarters of a token, so that short words do not each round up.
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

/// What a picture is taken to cost: between what the providers charge for a small and a large one.
const IMAGE_TOKENS: u64 = 1_000;

/// What the frame of a message costs beyond its text.
const MESSAGE_TOKENS: u64 = 4;

/// Tokens of a whole request, roughly.
pub(crate) fn count_request(request: &ChatRequest) -> u64 {
    count_messages(&request.messages) + count_frame(request)
}

/// Tokens of what was said.
pub(crate) fn count_messages(messages: &[Message]) -> u64 {
    let of_content = |content: &Content| match content {
        Content::Text(text) => count_tokens(text),
        Content::Parts(parts) => parts.iter().map(count_part).sum(),
    };
    messages.iter().map(|message| MESSAGE_TOKENS + of_content(&message.content)).sum()
}

/// Tokens of all in a request but its messages: what is the same each time that an agent asks.
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
