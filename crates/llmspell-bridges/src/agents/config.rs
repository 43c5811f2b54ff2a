//! The configuration of an agent, as a script writes it.

use llmspell_core::bridge::FromArgument;
use llmspell_core::cache::CachePolicy;
use llmspell_core::chat::{ChatRequest, Effort, Message, Seconds};
use llmspell_core::{Budget, Callback, Context, Error, Result, Value, from_value};
use llmspell_llm::{AgentSpec, DEFAULT_RESULT, DEFAULT_TURNS, Overflow, Tool, ToolMode};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;

use super::agents::Agent;
use crate::llm::Selection;
use crate::tools::{Registry, ToolDefinition, schema};

/// The argument of `agents.create`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AgentConfig {
    /// The agent's name: 1 to 64 letters, digits, `_` and `-`.
    name: String,
    /// What the agent does, for other agents that have it as a tool.
    #[serde(default)]
    description: Option<String>,
    /// The system prompt.
    #[serde(default)]
    system_prompt: Option<String>,
    /// The tools: names of tools, names of methods such as `"fs.read"`, tables as for `tools.register`, and agents.
    #[serde(default)]
    tools: Vec<ToolChoice>,
    /// The maximum number of turns of one run; 10 by default.
    #[serde(default)]
    max_turns: Option<u32>,
    /// The maximum that one run may spend: `model_calls`, `tokens` and `cost` in US dollars.
    #[serde(default)]
    budget: Option<Budget>,
    /// The schema of the answer, as JSON Schema or shorthand. Without it, the answer is text.
    #[serde(default)]
    output: Option<Value>,
    /// Called for each step; returning `false` stops the run.
    #[serde(default)]
    on_event: Option<Callback>,
    /// How the model calls tools: `native` (function calling), or `text` for models without it. By default, a model
    /// that is known to lack function calling is rejected.
    #[serde(default)]
    tool_mode: Option<ToolMode>,
    /// What to do when the messages exceed the context window: `drop_results` of tools, `summarize` or `fail`.
    #[serde(default)]
    overflow: Overflow,
    /// The context window in tokens, for models whose window is unknown.
    #[serde(default)]
    context_window: Option<u64>,
    /// The maximum size of a tool result that the model receives, in bytes; 32768 by default.
    #[serde(default)]
    max_result: Option<usize>,
    /// Earlier messages.
    #[serde(default)]
    messages: Vec<Message>,
    /// The model: `provider/model`, or a name that the chosen provider knows.
    #[serde(default)]
    model: Option<String>,
    /// The provider, if the model's name does not include it.
    #[serde(default)]
    provider: Option<String>,
    /// The sampling temperature, from 0. Higher values give more varied answers.
    #[serde(default)]
    temperature: Option<f64>,
    /// The maximum number of tokens in each answer.
    #[serde(default)]
    max_tokens: Option<u32>,
    /// A seed, for providers that support reproducible answers.
    #[serde(default)]
    seed: Option<u64>,
    /// How much the model should reason.
    #[serde(default)]
    reasoning: Option<Effort>,
    /// Whether cached answers to the same request may be used: `true`, or their maximum age in seconds.
    #[serde(default)]
    cache: Option<CachePolicy>,
    /// The maximum duration of each model call in seconds, including retries.
    #[serde(default)]
    timeout: Option<Seconds>,
    /// The maximum number of retries of a failed call, at most 9; 2 by default.
    #[serde(default)]
    retries: Option<u32>,
    /// Models to try in order when the provider fails.
    #[serde(default)]
    fallback: Vec<String>,
}

/// A tool in the configuration of an agent.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
struct ToolChoice(Value);

impl JsonSchema for ToolChoice {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "ToolChoice".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({"anyOf": [
            {"type": "string"},
            generator.subschema_for::<ToolDefinition>(),
            llmspell_core::bridge::object_schema::<Agent>(),
        ]})
    }
}

impl ToolChoice {
    fn tool(self, cx: &Context) -> Result<Tool> {
        match self.0 {
            Value::Str(name) => cx.state::<Registry>().find(cx, &name),
            Value::Object(object) => object.downcast::<Agent>()?.0.tool(),
            table @ Value::Map(_) => from_value::<ToolDefinition>(table)?.tool(),
            Value::Callback(_) => {
                Err(Error::argument("a function alone has no name that a model could call it by")
                    .hint("give it one: `{name = \"…\", description = \"…\", parameters = {…}, run = …}`"))
            }
            other => Err(Error::argument(format!(
                "expected the name of a tool, a table or an agent, found {}",
                other.type_name()
            ))),
        }
    }
}

impl AgentConfig {
    /// Returns the agent's specification, its description and its event callback.
    pub(super) fn spec(self, cx: &Context) -> Result<(AgentSpec, String, Option<Callback>)> {
        let name = self.name;
        let mut tools = Vec::with_capacity(self.tools.len());
        for (number, choice) in (1..).zip(self.tools) {
            let tool = choice.tool(cx);
            tools.push(tool.map_err(|error| error.prefixed(format_args!("`tools`: item {number}: ")))?);
        }
        let output = self.output.map(|written| schema(Some(written))).transpose();
        let output = output.map_err(|error| error.prefixed("`output`: "))?;
        let budget = self.budget.map(sound).transpose()?;
        let mut request = ChatRequest {
            messages: self.messages,
            system: self.system_prompt,
            model: self.model,
            provider: self.provider,
            temperature: self.temperature,
            max_tokens: self.max_tokens,
            seed: self.seed,
            reasoning: self.reasoning,
            cache: self.cache,
            timeout: self.timeout,
            retries: self.retries,
            fallback: self.fallback,
            ..ChatRequest::default()
        };
        // Resolved now, so that a wrong name fails here, and the model stays the same for the life of the agent.
        let found = Selection::resolve(cx, request.provider.as_deref(), request.model.as_deref())?;
        request.provider = Some(found.provider);
        request.model = Some(found.model);
        let description = self.description.unwrap_or_else(|| format!("Hands a task to the agent `{name}`."));
        let max_turns = self.max_turns.unwrap_or(DEFAULT_TURNS);
        if max_turns == 0 {
            return Err(Error::argument("`max_turns`: expected at least 1, found 0"));
        }
        let spec = AgentSpec {
            request,
            tools,
            max_turns,
            budget,
            output,
            tool_mode: self.tool_mode,
            overflow: self.overflow,
            context_window: self.context_window,
            max_result: self.max_result.unwrap_or(DEFAULT_RESULT),
            ..AgentSpec::named(name)
        };
        Ok((spec, description, self.on_event))
    }
}

/// Checks that a budget allows at least one call and that its cost is a valid amount.
fn sound(budget: Budget) -> Result<Budget> {
    if budget.model_calls == Some(0) {
        return Err(Error::argument("`budget`: `model_calls`: expected at least 1, found 0"));
    }
    match budget.cost {
        Some(cost) if !(cost.is_finite() && cost >= 0.0) => {
            Err(Error::argument(format!("`budget`: `cost`: expected US dollars from 0, found {cost}")))
        }
        _ => Ok(budget),
    }
}

/// The input of an agent: a text, or a whole message, for example with an image.
#[derive(Debug)]
pub struct Input(pub(super) Message);

impl FromArgument for Input {
    fn from_argument(value: Value) -> Result<Self> {
        match value {
            Value::Str(text) => Ok(Self(Message::user(text))),
            table @ Value::Map(_) => from_value(table).map(Self),
            other => {
                Err(Error::argument(format!("expected string or message table, found {}", other.type_name())))
            }
        }
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({"anyOf": [{"type": "string"}, generator.subschema_for::<Message>()]})
    }
}

/// Options for a run of an agent.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AgentRunOptions {
    /// Called for each step of this run; returning `false` stops the run.
    pub(super) on_event: Option<Callback>,
}
