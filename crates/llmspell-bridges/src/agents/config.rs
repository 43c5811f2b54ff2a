//! An agent as a script writes it.

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

/// What `agents.create` takes.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AgentConfig {
    /// Its name: 1 to 64 letters, digits, `_` and `-`.
    name: String,
    /// What it does, for an agent that has it as a tool.
    #[serde(default)]
    description: Option<String>,
    /// Standing instructions.
    #[serde(default)]
    system_prompt: Option<String>,
    /// What it may call: names of tools and of methods such as `"fs.read"`, tables as `tools.register` takes them, agents.
    #[serde(default)]
    tools: Vec<ToolChoice>,
    /// The most turns that one run may take; 10 unless given.
    #[serde(default)]
    max_turns: Option<u32>,
    /// What one run may spend at most: `model_calls`, `tokens` and `cost` in US dollars.
    #[serde(default)]
    budget: Option<Budget>,
    /// What its answer has to be, as JSON Schema or in the short form; else it is text.
    #[serde(default)]
    output: Option<Value>,
    /// Is called with each step; returning `false` stops the run.
    #[serde(default)]
    on_event: Option<Callback>,
    /// How the model is told of its tools: `native`, or `text` for a model that calls none. When it is not said, a model that
    /// is known to call none is refused.
    #[serde(default)]
    tool_mode: Option<ToolMode>,
    /// What to do when what was said is more than the model can read: `drop_results` of tools, `summarize` or `fail`.
    #[serde(default)]
    overflow: Overflow,
    /// The most tokens that the model can read and write, where that is not known by its name.
    #[serde(default)]
    context_window: Option<u64>,
    /// The most bytes of a tool's result that the model is told; 32768 unless given.
    #[serde(default)]
    max_result: Option<usize>,
    /// What was said before.
    #[serde(default)]
    messages: Vec<Message>,
    /// The model: `provider/model`, or a name that the chosen provider knows.
    #[serde(default)]
    model: Option<String>,
    /// The provider, where the model's name does not say it.
    #[serde(default)]
    provider: Option<String>,
    /// How much chance plays a part, from 0.
    #[serde(default)]
    temperature: Option<f64>,
    /// The most tokens that each answer may have.
    #[serde(default)]
    max_tokens: Option<u32>,
    /// A seed for providers that can repeat an answer.
    #[serde(default)]
    seed: Option<u64>,
    /// How hard the model should think.
    #[serde(default)]
    reasoning: Option<Effort>,
    /// Whether answers to the same question that were kept before will do.
    #[serde(default)]
    cache: Option<CachePolicy>,
    /// The most seconds that each call of the model may take, retries included.
    #[serde(default)]
    timeout: Option<Seconds>,
    /// Models to ask instead, one after another, when this one's provider fails.
    #[serde(default)]
    fallback: Vec<String>,
}

/// A tool as an agent is given it.
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
    /// The agent, what it does, and who hears of it.
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
            fallback: self.fallback,
            ..ChatRequest::default()
        };
        // A wrong name is found now, and the model stays the same for as long as the agent lives.
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

/// A budget that allows a call, and whose cost is an amount.
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

/// What an agent is given to do: a text, or a whole message, such as one with an image.
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

/// How an agent is run.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AgentRunOptions {
    /// Is called with each step of this run; returning `false` stops it.
    pub(super) on_event: Option<Callback>,
}
