//! Rules about requests to a model: which protocol it needs, and whether it accepts sampling parameters.
//!
//! For listed models the catalogue decides. Catalogues age, so for other models a rule decides by family and version;
//! an unknown version is treated like the newest. The rules apply to the provider's own API. Servers that are only
//! compatible with OpenAI (a gateway, Azure, a local server) get Chat Completions with all parameters of the request.

use llmspell_core::chat::{ChatRequest, Effort};

use crate::catalogue;
use crate::config::ProviderConfig;
use crate::provider::SamplingSupport;
use crate::providers::ProtocolKind;
use crate::refused::{self, Parameter};

/// A major and a minor version.
type Version = (u32, u32);

/// Returns the protocol for a chat.
///
/// The choice depends on the model and on the request's `reasoning`, but not on its tools. So a conversation keeps its
/// protocol, and the model's encrypted reasoning can be carried from turn to turn.
pub(crate) fn protocol(config: &ProviderConfig, request: &ChatRequest) -> ProtocolKind {
    if config.protocol != ProtocolKind::OpenAiChat || !config.is_openai() {
        return config.protocol;
    }
    let model = model(request);
    catalogue::request_facts("openai", model).protocol.unwrap_or_else(|| {
        if needs_responses(model, request.reasoning) {
            ProtocolKind::OpenAiResponses
        } else {
            config.protocol
        }
    })
}

/// Whether Chat Completions reject function tools. From GPT-5.4 on they do while the model reasons, and from GPT-5.6 on
/// models reason by default.
fn needs_responses(model: &str, reasoning: Option<Effort>) -> bool {
    // Search models support Chat Completions only.
    let Some(version) = gpt_version(model).filter(|_| !model.contains("-search")) else { return false };
    version >= (5, 6) || version >= (5, 4) && asks_to_reason(reasoning)
}

/// Returns the name of `max_tokens` in Chat Completions. OpenAI's models that reason reject `max_tokens`, also behind a
/// gateway, and most compatible servers do not know `max_completion_tokens`.
pub(crate) fn max_tokens_name(config: &ProviderConfig, request: &ChatRequest) -> &'static str {
    let model = model(request);
    let own = model.rsplit_once('/').map_or(model, |(_, name)| name);
    let is_newer = is_o_series(own) || gpt_version(own).is_some_and(|version| version >= (5, 0));
    if (config.is_openai() || is_newer) != is_refused(config, request, Parameter::MaxTokens) {
        "max_completion_tokens"
    } else {
        "max_tokens"
    }
}

/// Whether the server refused a parameter for this model before.
pub(crate) fn is_refused(config: &ProviderConfig, request: &ChatRequest, parameter: Parameter) -> bool {
    refused::is_refused(config.base_url.as_str(), model(request), parameter)
}

/// Whether the model reasons, so that its encrypted reasoning can be requested. Models that do not reason reject that.
pub(crate) fn reasons(config: &ProviderConfig, request: &ChatRequest) -> bool {
    let model = model(request);
    let known = catalogue::find(&config.name, model).and_then(|known| known.capabilities);
    asks_to_reason(request.reasoning)
        || known.map_or_else(|| config.is_openai() && reasons_by_default(model), |known| known.reasoning)
}

/// Whether a model's answers begin within reasoning, without an opening tag, because its chat template opens the tag.
/// The names are of open models; the servers that run them may also report the reasoning separately.
pub(crate) fn begins_with_reasoning(config: &ProviderConfig, request: &ChatRequest) -> bool {
    let model = model(request).to_ascii_lowercase();
    let is_open = ["qwq", "deepseek-r1"].iter().any(|name| model.contains(name))
        || model.contains("qwen3") && model.contains("thinking");
    is_open && config.protocol == ProtocolKind::OpenAiChat && request.reasoning != Some(Effort::None)
}

/// Whether the model accepts `temperature` and `top_p` for this request.
pub(crate) fn takes_sampling(config: &ProviderConfig, request: &ChatRequest) -> SamplingSupport {
    let model = model(request);
    let listed = |provider| catalogue::request_facts(provider, model).sampling;
    match config.protocol {
        ProtocolKind::Anthropic => {
            let takes = listed("anthropic").unwrap_or_else(|| !is_claude_without_sampling(model));
            match (takes, asks_to_reason(request.reasoning)) {
                (false, _) => SamplingSupport::No,
                (true, true) => SamplingSupport::NotReasoning,
                (true, false) => SamplingSupport::Yes,
            }
        }
        ProtocolKind::Gemini if listed("gemini") == Some(false) => SamplingSupport::No,
        ProtocolKind::OpenAiChat | ProtocolKind::OpenAiResponses if config.is_openai() => {
            let reasons = match request.reasoning {
                Some(how) => how != Effort::None,
                None => listed("openai").map_or_else(|| reasons_by_default(model), |takes| !takes),
            };
            if reasons { SamplingSupport::NotReasoning } else { SamplingSupport::Yes }
        }
        _ => SamplingSupport::Yes,
    }
}

fn model(request: &ChatRequest) -> &str {
    request.model.as_deref().unwrap_or_default()
}

fn asks_to_reason(reasoning: Option<Effort>) -> bool {
    reasoning.is_some_and(|how| how != Effort::None)
}

/// Whether an OpenAI model reasons by default: the `o` series, GPT-5.0, and from GPT-5.5 on.
fn reasons_by_default(model: &str) -> bool {
    is_o_series(model)
        || !model.contains("-chat")
            && gpt_version(model).is_some_and(|version| version == (5, 0) || version >= (5, 5))
}

fn is_o_series(model: &str) -> bool {
    model.strip_prefix('o').is_some_and(|rest| rest.starts_with(|first: char| first.is_ascii_digit()))
}

/// Returns the version in the name of a GPT model, also a fine-tuned one: (5, 6) for `gpt-5.6-luna`, none for `gpt-4o`.
fn gpt_version(model: &str) -> Option<Version> {
    let name = model.strip_prefix("ft:").unwrap_or(model).strip_prefix("gpt-")?;
    let number = &name[..name.find(['-', ':']).unwrap_or(name.len())];
    let (major, minor) = number.split_once('.').unwrap_or((number, "0"));
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// Whether a model is a Claude without sampling parameters: Opus from 4.7 on, other families from 5 on.
fn is_claude_without_sampling(model: &str) -> bool {
    let last = if model.contains("opus") { (4, 6) } else { (4, u32::MAX) };
    // A name without a version is an alias of the newest model.
    model.contains("claude-") && claude_version(model).is_none_or(|version| version > last)
}

/// Returns the version in the name of a Claude model: (4, 7) for `claude-opus-4-7-20260416`, (3, 5) for
/// `claude-3-5-sonnet-latest`.
pub(crate) fn claude_version(model: &str) -> Option<Version> {
    let (_, name) = model.split_once("claude-")?;
    let number = |part: &str| part.parse().ok().filter(|_| part.len() <= 2);
    let mut parts = name.split(['-', '.', '@']).map(number).skip_while(Option::is_none);
    Some((parts.next()??, parts.next().flatten().unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ProviderRow;

    #[test]
    fn the_limit_of_tokens_has_the_name_that_the_model_knows() {
        for (url, model, expected) in [
            ("https://api.openai.com/v1", "gpt-4o", "max_completion_tokens"),
            ("https://gateway.example/v1", "gpt-4o", "max_tokens"),
            ("https://gateway.example/v1", "gpt-5.4-mini", "max_completion_tokens"),
            ("https://gateway.example/v1", "openai/gpt-6", "max_completion_tokens"),
            ("https://gateway.example/v1", "o4-mini", "max_completion_tokens"),
            ("https://gateway.example/v1", "openai/gpt-oss-120b", "max_tokens"),
            ("http://127.0.0.1:8080/v1", "local-model", "max_tokens"),
        ] {
            let config = config("openai").base_url(url).unwrap();
            assert_eq!(max_tokens_name(&config, &asking(model, None)), expected, "{model} at {url}");
        }
    }

    const AZURE: &str = "https://me.openai.azure.com/openai/v1";

    fn config(provider: &str) -> ProviderConfig {
        ProviderConfig::from_row(ProviderRow::find(provider).unwrap())
    }

    fn asking(model: &str, reasoning: Option<Effort>) -> ChatRequest {
        ChatRequest { model: Some(model.into()), reasoning, ..ChatRequest::default() }
    }

    #[test]
    fn openai_models_that_reason_go_to_responses_at_openais_own_address() {
        for (model, reasoning, responses) in [
            ("gpt-4o", None, false),
            ("gpt-4.1-2025-04-14", None, false),
            ("gpt-5", None, false),
            ("gpt-5-mini", Some(Effort::High), false),
            ("gpt-5.4-mini", None, false),
            ("gpt-5.4-mini", Some(Effort::None), false),
            ("gpt-5.4-mini", Some(Effort::Low), true),
            ("gpt-5.6", None, true),
            ("gpt-5.6", Some(Effort::None), true),
            ("gpt-5.6-2026-07-01", None, true),
            ("gpt-5.6-luna", None, true),
            ("gpt-6-sol", None, true),
            // Not in the catalogue.
            ("gpt-6", None, true),
            ("gpt-6-mini", None, true),
            ("gpt-6-mini-2026-11-03", None, true),
            ("gpt-6.2-nano", None, true),
            ("gpt-10", None, true),
            ("ft:gpt-6-mini:me::abc", None, true),
            ("gpt-6-search-api", None, false),
            ("gpt-6x", None, false),
            ("o9", None, false),
            ("text-embedding-9", None, false),
            // Listed in the catalogue with this protocol only, as are their dated snapshots.
            ("gpt-5-codex", None, true),
            ("o3-pro", None, true),
            ("o3-pro-2030-01-01", None, true),
        ] {
            let request = asking(model, reasoning);
            let found = protocol(&config("openai"), &request);
            let expected = if responses { ProtocolKind::OpenAiResponses } else { ProtocolKind::OpenAiChat };
            assert_eq!(found, expected, "{model} {reasoning:?}");
            for url in [AZURE, "http://127.0.0.1:8080/v1", "https://api.openai.com.example.org/v1"] {
                let elsewhere = config("openai").base_url(url).unwrap();
                assert_eq!(protocol(&elsewhere, &request), ProtocolKind::OpenAiChat, "{model} at {url}");
            }
            for url in ["https://eu.api.openai.com/v1", "http://api.openai.com:8080"] {
                assert_eq!(protocol(&config("openai").base_url(url).unwrap(), &request), expected, "{url}");
            }
            assert_eq!(protocol(&config("openrouter"), &request), ProtocolKind::OpenAiChat, "{model}");
            // A provider with an explicit protocol keeps it.
            let named = config("openai-responses").base_url(AZURE).unwrap();
            assert_eq!(protocol(&named, &request), ProtocolKind::OpenAiResponses, "{model}");
        }
    }

    #[test]
    fn sampling_parameters_go_to_the_models_that_take_them() {
        use SamplingSupport::{No, NotReasoning, Yes};
        for (provider, model, reasoning, expected) in [
            ("anthropic", "claude-3-5-sonnet-latest", None, Yes),
            ("anthropic", "claude-haiku-4-5", None, Yes),
            ("anthropic", "claude-haiku-4-5", Some(Effort::None), Yes),
            ("anthropic", "claude-haiku-4-5", Some(Effort::Low), NotReasoning),
            ("anthropic", "claude-sonnet-4-6", None, Yes),
            ("anthropic", "claude-opus-4-6-20260205", None, Yes),
            ("anthropic", "claude-opus-4-6", Some(Effort::High), NotReasoning),
            ("anthropic", "claude-sonnet-4-20250514", None, Yes),
            ("anthropic", "claude-opus-4-7", None, No),
            ("anthropic", "claude-opus-4-8-20260801", None, No),
            ("anthropic", "claude-sonnet-5", None, No),
            ("anthropic", "claude-sonnet-5", Some(Effort::None), No),
            ("anthropic", "claude-mythos-preview", None, No),
            // Not in the catalogue.
            ("anthropic", "claude-sonnet-5-20260930", None, No),
            ("anthropic", "claude-haiku-6", None, No),
            ("anthropic", "claude-opus-latest", None, No),
            ("anthropic", "eu.anthropic.claude-opus-5@20260701", None, No),
            ("anthropic", "kimi-k3", None, Yes),
            ("gemini", "gemini-2.5-flash", None, Yes),
            ("gemini", "gemini-3.6-flash", None, No),
            ("openai", "gpt-4o", None, Yes),
            ("openai", "gpt-5.4-mini", None, Yes),
            ("openai", "gpt-5.4-mini", Some(Effort::Low), NotReasoning),
            ("openai", "gpt-5-chat-latest", None, Yes),
            ("openai", "gpt-5", None, NotReasoning),
            ("openai", "o3-2025-04-16", None, NotReasoning),
            ("openai", "gpt-5.6", None, NotReasoning),
            ("openai", "gpt-5.6", Some(Effort::None), Yes),
            ("openai-responses", "gpt-6-mini", None, NotReasoning),
            ("openrouter", "anthropic/claude-opus-5", Some(Effort::Low), Yes),
            ("ollama", "gpt-6", Some(Effort::Low), Yes),
        ] {
            let request = asking(model, reasoning);
            let found = takes_sampling(&config(provider), &request);
            assert_eq!(found, expected, "{provider}/{model} {reasoning:?}");
        }
        let elsewhere = config("openai").base_url(AZURE).unwrap();
        assert_eq!(takes_sampling(&elsewhere, &asking("gpt-6", None)), Yes);
        let gateway = config("anthropic").base_url("http://127.0.0.1:1").unwrap();
        assert_eq!(takes_sampling(&gateway, &asking("claude-opus-5", None)), No, "the model is the same");
    }

    #[test]
    fn open_models_that_reason_first_are_known_by_name() {
        for (provider, model, reasoning, expected) in [
            ("openai", "Qwen/QwQ-32B", None, true),
            ("openai", "Qwen/Qwen3-30B-A3B-Thinking-2507", None, true),
            ("openai", "deepseek-ai/DeepSeek-R1-Distill-Qwen-7B", Some(Effort::High), true),
            ("openai", "deepseek-ai/DeepSeek-R1-Distill-Qwen-7B", Some(Effort::None), false),
            ("openai", "Qwen/Qwen3-30B-A3B-Instruct-2507", None, false),
            ("openai", "gpt-5", None, false),
            ("ollama", "qwq", None, false),
        ] {
            let found = begins_with_reasoning(&config(provider), &asking(model, reasoning));
            assert_eq!(found, expected, "{provider}/{model} {reasoning:?}");
        }
    }

    #[test]
    fn versions_are_read_from_names() {
        for (model, version) in [
            ("gpt-5.6-luna", Some((5, 6))),
            ("gpt-6", Some((6, 0))),
            ("gpt-4o", None),
            ("gpt-4-0613", Some((4, 0))),
            ("gpt-oss-120b", None),
            ("gpt-99999999999", None),
            ("gpt-", None),
            ("gpt-5.", None),
        ] {
            assert_eq!(gpt_version(model), version, "{model}");
        }
        for (model, version) in [
            ("claude-opus-4-7-20260416", Some((4, 7))),
            ("claude-3-5-sonnet-20241022", Some((3, 5))),
            ("claude-sonnet-4-20250514", Some((4, 0))),
            ("claude-2.1", Some((2, 1))),
            ("claude-opus-latest", None),
            ("claude-", None),
            ("m", None),
        ] {
            assert_eq!(claude_version(model), version, "{model}");
        }
    }
}
