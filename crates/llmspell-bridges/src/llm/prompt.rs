//! What a model is asked, in the three ways in which scripts may say it.

use llmspell_core::bridge::FromArgument;
use llmspell_core::cache::CachePolicy;
use llmspell_core::chat::{ChatRequest, Effort, Message, OutputSpec, Seconds, ToolSpec};
use llmspell_core::{Error, Result, Value, from_value};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;

/// A question: a text, a list of messages, or a whole request.
#[derive(Debug)]
pub struct Prompt(ChatRequest);

impl Prompt {
    /// The request, where what the options say counts more.
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

/// How to ask: what a request says beside its messages.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ChatOptions {
    /// Standing instructions.
    system: Option<String>,
    /// The model: `provider/model`, or a name that the chosen provider knows.
    model: Option<String>,
    /// The provider, where the model's name does not say it.
    provider: Option<String>,
    /// How much chance plays a part, from 0.
    temperature: Option<f64>,
    /// Considers only the likeliest words that make up this share.
    top_p: Option<f64>,
    /// The most tokens the answer may have.
    max_tokens: Option<u32>,
    /// Texts at which the model stops.
    stop: Option<Vec<String>>,
    /// A seed for providers that can repeat an answer.
    seed: Option<u64>,
    /// How hard the model should think.
    reasoning: Option<Effort>,
    /// The tools the model may call.
    tools: Option<Vec<ToolSpec>>,
    /// What the answer must be. Nothing is checked here: the answer is still a text.
    output: Option<OutputSpec>,
    /// Whether an answer to the same request that was kept before will do: `true`, or the most seconds that it may be old.
    cache: Option<CachePolicy>,
    /// The most seconds the whole call may take, retries included.
    timeout: Option<Seconds>,
    /// Models to ask instead, one after another, when this one's provider fails before any of its answer was seen.
    fallback: Option<Vec<String>>,
}

impl ChatOptions {
    /// Every field by name: one that a request gains and the options lack does not compile.
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
            fallback: self.fallback.unwrap_or(request.fallback),
        }
    }
}
