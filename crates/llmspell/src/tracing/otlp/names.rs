//! The names of span attributes.
//!
//! The names for models, HTTP, services and errors follow OpenTelemetry's semantic conventions 1.42 and its conventions
//! for generative AI (<https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-spans/>). Names that do not exist
//! there begin with `llmspell`.

pub(super) const SERVICE_NAME: &str = "service.name";
pub(super) const ERROR_TYPE: &str = "error.type";

pub(super) const GEN_AI_OPERATION_NAME: &str = "gen_ai.operation.name";
pub(super) const GEN_AI_PROVIDER_NAME: &str = "gen_ai.provider.name";
pub(super) const GEN_AI_REQUEST_MODEL: &str = "gen_ai.request.model";
pub(super) const GEN_AI_REQUEST_MAX_TOKENS: &str = "gen_ai.request.max_tokens";
pub(super) const GEN_AI_REQUEST_TEMPERATURE: &str = "gen_ai.request.temperature";
pub(super) const GEN_AI_REQUEST_TOP_P: &str = "gen_ai.request.top_p";
pub(super) const GEN_AI_REQUEST_SEED: &str = "gen_ai.request.seed";
pub(super) const GEN_AI_REQUEST_STOP_SEQUENCES: &str = "gen_ai.request.stop_sequences";
pub(super) const GEN_AI_REQUEST_STREAM: &str = "gen_ai.request.stream";
pub(super) const GEN_AI_RESPONSE_ID: &str = "gen_ai.response.id";
pub(super) const GEN_AI_RESPONSE_MODEL: &str = "gen_ai.response.model";
pub(super) const GEN_AI_RESPONSE_FINISH_REASONS: &str = "gen_ai.response.finish_reasons";
pub(super) const GEN_AI_USAGE_INPUT_TOKENS: &str = "gen_ai.usage.input_tokens";
pub(super) const GEN_AI_USAGE_OUTPUT_TOKENS: &str = "gen_ai.usage.output_tokens";
pub(super) const GEN_AI_USAGE_CACHE_READ_INPUT_TOKENS: &str = "gen_ai.usage.cache_read.input_tokens";
pub(super) const GEN_AI_USAGE_REASONING_OUTPUT_TOKENS: &str = "gen_ai.usage.reasoning.output_tokens";
pub(super) const GEN_AI_SYSTEM_INSTRUCTIONS: &str = "gen_ai.system_instructions";
pub(super) const GEN_AI_INPUT_MESSAGES: &str = "gen_ai.input.messages";
pub(super) const GEN_AI_OUTPUT_MESSAGES: &str = "gen_ai.output.messages";

pub(super) const HTTP_REQUEST_METHOD: &str = "http.request.method";
pub(super) const HTTP_RESPONSE_STATUS_CODE: &str = "http.response.status_code";
pub(super) const URL_FULL: &str = "url.full";

pub(super) const LLMSPELL_SPELL_NAME: &str = "llmspell.spell.name";
pub(super) const LLMSPELL_SPELL_VERSION: &str = "llmspell.spell.version";
pub(super) const LLMSPELL_RUN_ID: &str = "llmspell.run.id";
pub(super) const LLMSPELL_MODEL_CALLS: &str = "llmspell.run.model_calls";
pub(super) const LLMSPELL_EFFECT_PATH: &str = "llmspell.effect.path";
pub(super) const LLMSPELL_EFFECT_OPERATION: &str = "llmspell.effect.operation";
pub(super) const LLMSPELL_USAGE_COST: &str = "llmspell.usage.cost_usd";
pub(super) const LLMSPELL_USAGE_ESTIMATED: &str = "llmspell.usage.estimated";

/// Returns the conventions' name for a provider. Most providers have the same name here and there.
pub(super) fn provider(name: &str) -> &str {
    match name {
        "openai-responses" => "openai",
        "gemini" => "gcp.gemini",
        "mistral" => "mistral_ai",
        "xai" => "x_ai",
        name => name,
    }
}
