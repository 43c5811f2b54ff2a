//! The built-in providers: one row of data each.

/// The wire protocol of a provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProtocolKind {
    /// OpenAI's Chat Completions, which most other providers accept too. At OpenAI's own address, models that need the
    /// Responses API are called through that.
    OpenAiChat,
    /// OpenAI's Responses, for any model and address.
    OpenAiResponses,
    /// Anthropic's Messages.
    Anthropic,
    /// Gemini's `generateContent`.
    Gemini,
    /// Ollama's native API.
    Ollama,
}

/// A built-in provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProviderRow {
    /// The name, as in `provider/model`.
    pub name: &'static str,
    /// The wire protocol.
    pub protocol: ProtocolKind,
    /// The environment variable with the API key; empty if it needs none.
    pub key_env: &'static str,
    /// Another environment variable with the API key, which other tools of the provider read; empty if there is none.
    pub other_key_env: &'static str,
    /// The environment variable that overrides the base URL.
    pub base_url_env: &'static str,
    /// The environment variable with the default model.
    pub model_env: &'static str,
    /// The base URL.
    pub base_url: &'static str,
    /// Whether each user has an address of their own; then `base_url` is only an example.
    pub own_address: bool,
    /// The model used if none is named.
    pub default_model: &'static str,
    /// The embedding model used if none is named; `None` if the provider has no default for it.
    pub embed_model: Option<&'static str>,
    /// Whether it runs on the user's machine and is free.
    pub local: bool,
    /// Whether it is a second protocol of a provider listed above. Such a row is used only by its name.
    pub explicit: bool,
}

/// All built-in providers, in the order of detection.
pub const PROVIDERS: &[ProviderRow] = &[
    ProviderRow {
        name: "openai",
        protocol: ProtocolKind::OpenAiChat,
        key_env: "OPENAI_API_KEY",
        other_key_env: "",
        base_url_env: "OPENAI_BASE_URL",
        model_env: "OPENAI_MODEL",
        base_url: "https://api.openai.com/v1",
        own_address: false,
        default_model: "gpt-5.4-mini",
        embed_model: Some("text-embedding-3-small"),
        local: false,
        explicit: false,
    },
    ProviderRow {
        name: "anthropic",
        protocol: ProtocolKind::Anthropic,
        key_env: "ANTHROPIC_API_KEY",
        other_key_env: "",
        base_url_env: "ANTHROPIC_BASE_URL",
        model_env: "ANTHROPIC_MODEL",
        base_url: "https://api.anthropic.com/v1",
        own_address: false,
        default_model: "claude-sonnet-5",
        embed_model: None,
        local: false,
        explicit: false,
    },
    ProviderRow {
        name: "gemini",
        protocol: ProtocolKind::Gemini,
        key_env: "GEMINI_API_KEY",
        other_key_env: "GOOGLE_API_KEY",
        base_url_env: "GEMINI_BASE_URL",
        model_env: "GEMINI_MODEL",
        base_url: "https://generativelanguage.googleapis.com/v1beta",
        own_address: false,
        default_model: "gemini-flash-latest",
        embed_model: Some("gemini-embedding-001"),
        local: false,
        explicit: false,
    },
    compatible(
        "groq",
        "GROQ_API_KEY",
        "GROQ_BASE_URL",
        "GROQ_MODEL",
        "https://api.groq.com/openai/v1",
        "openai/gpt-oss-120b",
    ),
    compatible(
        "mistral",
        "MISTRAL_API_KEY",
        "MISTRAL_BASE_URL",
        "MISTRAL_MODEL",
        "https://api.mistral.ai/v1",
        "mistral-small-latest",
    ),
    compatible(
        "deepseek",
        "DEEPSEEK_API_KEY",
        "DEEPSEEK_BASE_URL",
        "DEEPSEEK_MODEL",
        "https://api.deepseek.com/v1",
        "deepseek-chat",
    ),
    compatible("xai", "XAI_API_KEY", "XAI_BASE_URL", "XAI_MODEL", "https://api.x.ai/v1", "grok-4.5-latest"),
    compatible(
        "openrouter",
        "OPENROUTER_API_KEY",
        "OPENROUTER_BASE_URL",
        "OPENROUTER_MODEL",
        "https://openrouter.ai/api/v1",
        "openrouter/auto",
    ),
    compatible(
        "together",
        "TOGETHER_API_KEY",
        "TOGETHER_BASE_URL",
        "TOGETHER_MODEL",
        "https://api.together.xyz/v1",
        "openai/gpt-oss-120b",
    ),
    compatible(
        "fireworks",
        "FIREWORKS_API_KEY",
        "FIREWORKS_BASE_URL",
        "FIREWORKS_MODEL",
        "https://api.fireworks.ai/inference/v1",
        "accounts/fireworks/models/gpt-oss-120b",
    ),
    compatible(
        "cerebras",
        "CEREBRAS_API_KEY",
        "CEREBRAS_BASE_URL",
        "CEREBRAS_MODEL",
        "https://api.cerebras.ai/v1",
        "gpt-oss-120b",
    ),
    compatible(
        "moonshot",
        "MOONSHOT_API_KEY",
        "MOONSHOT_BASE_URL",
        "MOONSHOT_MODEL",
        "https://api.moonshot.ai/v1",
        "kimi-k2.6",
    ),
    ProviderRow {
        name: "azure",
        protocol: ProtocolKind::OpenAiChat,
        key_env: "AZURE_OPENAI_API_KEY",
        other_key_env: "",
        base_url_env: "AZURE_OPENAI_ENDPOINT",
        model_env: "AZURE_OPENAI_MODEL",
        base_url: "https://RESOURCE.openai.azure.com/openai/v1",
        own_address: true,
        // A model is called by the name of its deployment.
        default_model: "",
        embed_model: None,
        local: false,
        explicit: false,
    },
    ProviderRow {
        name: "openai-responses",
        protocol: ProtocolKind::OpenAiResponses,
        key_env: "OPENAI_API_KEY",
        other_key_env: "",
        base_url_env: "OPENAI_BASE_URL",
        model_env: "OPENAI_MODEL",
        base_url: "https://api.openai.com/v1",
        own_address: false,
        default_model: "gpt-5.4-mini",
        embed_model: Some("text-embedding-3-small"),
        local: false,
        explicit: true,
    },
    ProviderRow {
        name: "ollama",
        protocol: ProtocolKind::Ollama,
        key_env: "",
        other_key_env: "",
        base_url_env: "OLLAMA_HOST",
        model_env: "OLLAMA_MODEL",
        base_url: "http://127.0.0.1:11434",
        own_address: false,
        default_model: "llama3.2",
        embed_model: Some("nomic-embed-text"),
        local: true,
        explicit: false,
    },
];

/// Returns a row for a provider that uses OpenAI's Chat Completions.
const fn compatible(
    name: &'static str,
    key_env: &'static str,
    base_url_env: &'static str,
    model_env: &'static str,
    base_url: &'static str,
    default_model: &'static str,
) -> ProviderRow {
    ProviderRow {
        name,
        protocol: ProtocolKind::OpenAiChat,
        key_env,
        other_key_env: "",
        base_url_env,
        model_env,
        base_url,
        own_address: false,
        default_model,
        embed_model: None,
        local: false,
        explicit: false,
    }
}

impl ProviderRow {
    /// Returns the row with this name.
    ///
    /// ```
    /// use llmspell_llm::ProviderRow;
    /// assert_eq!(ProviderRow::find("groq").map(|row| row.key_env), Some("GROQ_API_KEY"));
    /// ```
    #[must_use]
    pub fn find(name: &str) -> Option<&'static Self> {
        PROVIDERS.iter().find(|row| row.name == name)
    }

    /// Tells a user how to make the provider available.
    #[must_use]
    pub fn how_to_get(&self) -> String {
        if self.local {
            format!("start it at {}, or set `{}`", self.base_url, self.base_url_env)
        } else if self.own_address {
            format!(
                "set `{}` to its key and `{}` to its address, such as `{}`",
                self.key_env, self.base_url_env, self.base_url
            )
        } else {
            format!("set `{}` to its key", self.key_env)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_addresses_parse() {
        for (at, row) in PROVIDERS.iter().enumerate() {
            assert!(!PROVIDERS[..at].iter().any(|other| other.name == row.name), "{}", row.name);
            assert!(!row.name.contains('/'), "{}", row.name);
            assert!(reqwest::Url::parse(row.base_url).is_ok(), "{}", row.base_url);
        }
    }
}
