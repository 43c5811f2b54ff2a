//! Recognizes the error of a request that is longer than the model's context window, in the words of each provider.
//!
//! The providers agree on neither a status nor a code, so the message decides. The patterns are those of OpenAI,
//! Anthropic, Gemini, Mistral, Groq, Cohere, xAI, Moonshot, Zhipu, DashScope, OpenRouter and Fireworks, and of the
//! servers llama.cpp, Ollama, vLLM, SGLang, TGI and LM Studio.

use std::sync::LazyLock;

use regex_lite::Regex;
use serde_json::Value as Json;

use crate::reply_builder::count;

/// Codes that name the error.
const CODES: [&str; 5] = [
    "context_length_exceeded",
    "context_window_exceeded",
    "exceed_context_size",
    "max_prompt_tokens_exceeded",
    "string_too_long_for_context",
];

/// Parts of messages that name the error, in lower case.
const PHRASES: [&str; 22] = [
    "maximum context length",
    "max context length",
    "model's context length",
    "the context length",
    "context size",
    "context window",
    "context limit",
    "loaded with context length",
    "prompt is too long",
    "prompt too long",
    "input is too long",
    "input token count",
    "prompt token count",
    "too long to fit into the model",
    "longer than the maximum model length",
    "maximum prompt length",
    "prompt exceeds max length",
    "range of input length",
    "exceeded model token limit",
    "request too large for",
    "reduce the length of the messages",
    "too many tokens: size limit exceeded",
];

/// Patterns of the context window in tokens. The first match counts; `N` is a number.
const LIMITS: [&str; 9] = [
    r"limit N, requested",
    r"> N",
    r"allowed \(?N",
    r"N maximum context length",
    r"must be <= N",
    r"limit(?: for this model)? (?:is|of) N",
    r"less than N tokens",
    r"\[1, N\]",
    // The gap excludes the letter `b`: in "context window exceeded by 12 tokens", 12 is not the limit.
    r"(?:context length|context size|context window|token limit|prompt length|model length)[^0-9b]{0,40}N",
];

/// Patterns of the length of the prompt.
const PROMPTS: [&str; 14] = [
    r"N (?:tokens )?(?:in the messages|of text input|from the input)",
    r"N `inputs`",
    r"(?:has|passed) N input tokens",
    r"N \+ [0-9]+ >",
    r"too long: N",
    r"contains N tokens",
    r"token count (?:of )?\(?N",
    r"(?:input|prompt|request) \((?:total )?(?:length )?N",
    r"(?:input|total) length \(?N",
    r"current length is N",
    r"resulted in N",
    r"first N tokens",
    r"given: N",
    r"requested:? (?:about )?N",
];

/// Patterns of the requested length of the answer.
const ANSWERS: [&str; 5] = [
    r"N (?:tokens )?(?:in the completion|in the output|for the completion)",
    r"\+ N >",
    r"requested N output tokens",
    r"too large: N",
    r"N `max_new_tokens`",
];

type Patterns = LazyLock<Vec<Regex>>;

static LIMIT: Patterns = LazyLock::new(|| compiled(&LIMITS));
static PROMPT: Patterns = LazyLock::new(|| compiled(&PROMPTS));
static ANSWER: Patterns = LazyLock::new(|| compiled(&ANSWERS));

/// Compiles patterns. A test checks that each one is valid.
fn compiled(patterns: &[&str]) -> Vec<Regex> {
    patterns.iter().filter_map(|pattern| Regex::new(&pattern.replace('N', "([0-9][0-9,]*)")).ok()).collect()
}

/// What does not fit into the context window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ContextOverflow {
    /// The prompt, with the numbers that the provider reports.
    Prompt { limit: Option<u64>, prompt: Option<u64> },
    /// The answer that `max_tokens` asks for. The prompt fits.
    MaxTokens,
}

/// Reads a provider's error: its codes in lower case, its message, and its other fields.
pub(crate) fn overflow(code: &str, message: &str, error: &Json) -> Option<ContextOverflow> {
    let message = message.to_lowercase();
    let has_code = CODES.iter().any(|known| code.contains(known));
    if !has_code && !PHRASES.iter().any(|phrase| message.contains(phrase)) {
        return None;
    }
    let limit = count(&error["n_ctx"]).or_else(|| number(&LIMIT, &message));
    let prompt = count(&error["n_prompt_tokens"]).or_else(|| number(&PROMPT, &message));
    let answer = number(&ANSWER, &message);
    // Prompt and answer share the window. The larger share is at fault.
    Some(match (limit, prompt, answer) {
        (Some(limit), Some(prompt), Some(answer)) if prompt < limit && answer > prompt => {
            ContextOverflow::MaxTokens
        }
        _ => ContextOverflow::Prompt { limit, prompt },
    })
}

fn number(patterns: &[Regex], message: &str) -> Option<u64> {
    let digits = patterns.iter().find_map(|pattern| pattern.captures(message)?.get(1))?;
    digits.as_str().replace(',', "").parse().ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_pattern_is_valid() {
        assert_eq!((LIMIT.len(), PROMPT.len(), ANSWER.len()), (LIMITS.len(), PROMPTS.len(), ANSWERS.len()));
    }

    #[test]
    fn each_providers_words_are_understood() {
        for (who, message, limit, prompt) in [
            (
                "OpenAI",
                "This model's maximum context length is 8192 tokens. However, your messages resulted in 9000 tokens.",
                8_192,
                9_000,
            ),
            (
                "OpenAI, with an answer",
                "This model's maximum context length is 8192 tokens. However, you requested 9000 tokens (8500 in the messages, 500 in the completion). Please reduce the length of the messages or completion.",
                8_192,
                8_500,
            ),
            (
                "OpenRouter",
                "This endpoint's maximum context length is 8192 tokens. However, you requested about 9000 tokens (8900 of text input, 100 in the output).",
                8_192,
                8_900,
            ),
            ("Anthropic", "prompt is too long: 210000 tokens > 200000 maximum", 200_000, 210_000),
            (
                "Anthropic, with an answer",
                "input length and `max_tokens` exceed context limit: 188240 + 21333 > 200000, decrease input length or `max_tokens` and try again",
                200_000,
                188_240,
            ),
            (
                "Gemini",
                "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).",
                1_048_576,
                1_200_000,
            ),
            (
                "Groq",
                "Request too large for model `m` in organization `o` service tier `on_demand` on tokens per minute (TPM): Limit 6000, Requested 9000, please reduce your message size and try again.",
                6_000,
                9_000,
            ),
            (
                "Mistral",
                "Prompt contains 40000 tokens, too large for model with 32768 maximum context length",
                32_768,
                40_000,
            ),
            (
                "llama.cpp",
                "request (9000 tokens) exceeds the available context size (8192 tokens), try increasing it",
                8_192,
                9_000,
            ),
            (
                "vLLM",
                "You passed 5000 input tokens and requested 100 output tokens. However, the model's context length is only 4096 tokens, resulting in a maximum input length of 3996 tokens.",
                4_096,
                5_000,
            ),
            (
                "vLLM, an answer that is too long with it",
                "'max_tokens' or 'max_completion_tokens' is too large: 4000. This model's maximum context length is 32768 tokens and your request has 30000 input tokens (4000 > 32768 - 30000).",
                32_768,
                30_000,
            ),
            (
                "vLLM, decoder",
                "The decoder prompt (length 5000) is longer than the maximum model length of 4096.",
                4_096,
                5_000,
            ),
            (
                "vLLM, total",
                "The prompt (total length 5000) is too long to fit into the model (context length 4096).",
                4_096,
                5_000,
            ),
            (
                "vLLM, input length",
                "Input length (5000) exceeds model's maximum context length (4096).",
                4_096,
                5_000,
            ),
            (
                "SGLang",
                "Requested token count exceeds the model's maximum context length of 4096 tokens. You requested a total of 5000 tokens: 4900 tokens from the input messages and 100 tokens for the completion.",
                4_096,
                4_900,
            ),
            (
                "SGLang, input",
                "The input (5000 tokens) is longer than the model's context length (4096 tokens).",
                4_096,
                5_000,
            ),
            (
                "LM Studio",
                "Trying to keep the first 5000 tokens when context the overflows. However, the model is loaded with context length of only 4096 tokens, which is not enough.",
                4_096,
                5_000,
            ),
            (
                "xAI",
                "This model's maximum prompt length is 131072 but the request contains 140000 tokens.",
                131_072,
                140_000,
            ),
            ("Moonshot", "Your request exceeded model token limit: 8192 (requested: 9000)", 8_192, 9_000),
            (
                "Cerebras",
                "Please reduce the length of the messages or completion. Current length is 9000 while limit is 8192",
                8_192,
                9_000,
            ),
            (
                "Fireworks",
                "The prompt is too long: 140,000, model maximum context length: 131,071",
                131_071,
                140_000,
            ),
            ("Copilot", "prompt token count of 70000 exceeds the limit of 64000", 64_000, 70_000),
        ] {
            let found = overflow("", message, &Json::Null);
            let expected = ContextOverflow::Prompt { limit: Some(limit), prompt: Some(prompt) };
            assert_eq!(found, Some(expected), "{who}");
        }
    }

    #[test]
    fn numbers_may_be_missing_or_in_fields() {
        let unknown = ContextOverflow::Prompt { limit: None, prompt: None };
        for (code, message, error, expected) in [
            (
                "exceed_context_size_error ",
                "the request exceeds the available context size, try increasing it",
                json!({"n_prompt_tokens": 9000, "n_ctx": 8192}),
                ContextOverflow::Prompt { limit: Some(8_192), prompt: Some(9_000) },
            ),
            ("context_length_exceeded ", "no", Json::Null, unknown),
            (
                "context_length_exceeded ",
                "Your input exceeds the context window of this model.",
                Json::Null,
                unknown,
            ),
            ("", "Input is too long for requested model.", Json::Null, unknown),
            ("", "the input length exceeds the context length", Json::Null, unknown),
            ("", "prompt too long; exceeded max context length by 12 tokens", Json::Null, unknown),
            (
                "",
                "Range of input length should be [1, 30720]",
                Json::Null,
                ContextOverflow::Prompt { limit: Some(30_720), prompt: None },
            ),
        ] {
            assert_eq!(overflow(code, message, &error), Some(expected), "{message}");
        }
    }

    #[test]
    fn max_tokens_beyond_the_window_is_another_mistake() {
        for message in [
            "'max_tokens' or 'max_completion_tokens' is too large: 40000. This model's maximum context length is 32768 tokens and your request has 20 input tokens (40000 > 32768 - 20).",
            "This model's maximum context length is 8192 tokens. However, you requested 100020 tokens (20 in the messages, 100000 in the completion).",
            "input length and `max_tokens` exceed context limit: 20 + 200000 > 200000, decrease input length or `max_tokens` and try again",
        ] {
            assert_eq!(
                overflow("context_length_exceeded", message, &Json::Null),
                Some(ContextOverflow::MaxTokens)
            );
        }
        for message in [
            "max_tokens is too large: 200000. This model supports at most 16384 completion tokens",
            "max_tokens: 100000 > 64000, which is the maximum allowed number of output tokens",
            "Rate limit reached for m on tokens per min (TPM): Limit 30000, Used 29000, Requested 2000.",
            "Too many tokens, please wait before trying again.",
            "the model is too large",
        ] {
            assert_eq!(overflow("", message, &Json::Null), None, "{message}");
        }
    }
}
