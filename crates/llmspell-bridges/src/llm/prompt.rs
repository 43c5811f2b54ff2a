//! The prompt of a model call, which scripts can write in three ways.

use llmspell_core::bridge::FromArgument;
use llmspell_core::cache::CachePolicy;
use llmspell_core::chat::{ChatRequest, Effort, Message, OutputSpec, Seconds, ToolSpec};
use llmspell_core::{Error, Result, Value, from_value};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;

/// A prompt: a text, a list of messages, or a whole request.
#[derive(Debug)]
pub struct Prompt(ChatRequest);

impl Prompt {
    /// Returns the request. Options override its fields.
    pub(super) fn with(self, options: Option<ChatOptions>) -> ChatRequest {
        match options {
            Some(options) => options.over(self.0),
            None => self.0,
        }
    }
}

impl From<String> for Prompt {
    fn from(text: String) -> Self {
        Self(ChatRequest::prompt(text))
    }
}

impl FromArgument for Prompt {
    fn from_argument(value: Value) -> Result<Self> {
        let request = match value {
            Value::Str(text) => ChatRequest::prompt(text),
            list @ Value::List(_) => ChatRequest { messages: from_value(list)?, ..ChatRequest::default() },
            table @ Value::Map(_) => from_value(table)?,
            other => {
                return Err(Error::argument(format!(
                    "expected string, list of messages or request table, found {}",
                    other.type_name()
                )));
            }
        };
        if request.messages.is_empty() {
            return Err(Error::argument("expected at least one message, found none"));
        }
        Ok(Self(request))
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({"anyOf": [
            {"type": "string"},
            generator.subschema_for::<Vec<Message>>(),
            generator.subschema_for::<ChatRequest>(),
        ]})
    }
}

/// Options of a request: all its fields except the messages.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ChatOptions {
    /// The system prompt.
    system: Option<String>,
    /// The model: `provider/model`, or a name that the chosen provider knows.
    model: Option<String>,
    /// The provider, if the model's name does not include it.
    provider: Option<String>,
    /// The sampling temperature, from 0. Higher values give more varied answers.
    temperature: Option<f64>,
    /// Nucleus sampling: only the likeliest tokens are considered whose probabilities add up to this share.
    top_p: Option<f64>,
    /// The maximum number of tokens in the answer.
    max_tokens: Option<u32>,
    /// Stop sequences: the model stops at any of these texts.
    stop: Option<Vec<String>>,
    /// A seed, for providers that support reproducible answers.
    seed: Option<u64>,
    /// How much the model should reason.
    reasoning: Option<Effort>,
    /// The tools the model may call.
    tools: Option<Vec<ToolSpec>>,
    /// The schema for structured output. The answer is not checked against it here and is still text.
    output: Option<OutputSpec>,
    /// Whether a cached answer to the same request may be used: `true`, or its maximum age in seconds.
    cache: Option<CachePolicy>,
    /// The maximum duration of the whole call in seconds, including retries.
    timeout: Option<Seconds>,
    /// The maximum number of retries of a failed call, at most 9; 2 by default.
    retries: Option<u32>,
    /// Models to try in order when the provider fails before any part of its answer was received.
    fallback: Option<Vec<String>>,
}

impl ChatOptions {
    /// Names every field of the request, so that a new field does not compile until the options handle it.
    fn over(self, request: ChatRequest) -> ChatRequest {
        ChatRequest {
            messages: request.messages,
            system: self.system.or(request.system),
            model: self.model.or(request.model),
            provider: self.provider.or(request.provider),
            temperature: self.temperature.or(request.temperature),
            top_p: self.top_p.or(request.top_p),
            max_tokens: self.max_tokens.or(request.max_tokens),
            stop: self.stop.unwrap_or(request.stop),
            seed: self.seed.or(request.seed),
            reasoning: self.reasoning.or(request.reasoning),
            tools: self.tools.unwrap_or(request.tools),
            output: self.output.or(request.output),
            cache: self.cache.or(request.cache),
            timeout: self.timeout.or(request.timeout),
            retries: self.retries.or(request.retries),
            fallback: self.fallback.unwrap_or(request.fallback),
        }
    }
}
