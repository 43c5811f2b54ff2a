//! Agents: a model with tools, called in a loop until it answers without a tool call.
//!
//! One run of an agent is a sequence of *turns*. In each turn:
//!
//! 1. If the transcript is longer than the model's context window, it is shortened by the [`Overflow`] policy
//!    (`shorten.rs`).
//! 2. The model is asked with the whole transcript (`turn.rs`).
//! 3. If the answer has tool calls, the tools run concurrently and their results are added to the transcript. The next
//!    turn begins.
//! 4. If the answer has no tool call, the run ends. An agent with an `output` schema first validates the answer, and
//!    asks again a bounded number of times if it is invalid.
//!
//! Invariants:
//!
//! - Every model call and every effect of a tool passes the gate of the [`Context`]. So agent runs are recorded,
//!   replayed, resumed and charged like all other work, without code for that here.
//! - A mistake of the model is not an error of the run. An unknown tool, invalid arguments or a failing tool is
//!   reported to the model as the result of the call. Only the turn limit, the budget, the observer, the provider or
//!   the end of the spell's run stops the loop.
//! - An agent can call only the tools in its [`AgentSpec`].
//! - A finished turn stays in the transcript even if the run fails later.
//!
//! This module does not know scripts. A tool is a name, a schema and a Rust function; see [`Tool`].

mod in_text;
mod run;
mod shorten;
mod turn;

use std::sync::Arc;

use futures_util::future::LocalBoxFuture;
use llmspell_core::agent::AgentEvent;
use llmspell_core::chat::{ChatRequest, FinishReason, Message, OutputSpec, ToolSpec, Usage};
use llmspell_core::{Budget, Context, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::count::count_frame;
use crate::schema::Schema;
use crate::tool::{Tool, check_name};
use crate::transcript::Transcript;

/// The maximum number of turns of a run when [`AgentSpec::max_turns`] is not set.
pub const DEFAULT_TURNS: u32 = 10;

/// The maximum size in bytes of a tool result in the prompt when [`AgentSpec::max_result`] is not set.
pub const DEFAULT_RESULT: usize = 32 * 1024;

/// The configuration of an agent.
#[derive(Debug, Clone)]
pub struct AgentSpec {
    /// The agent's name.
    pub name: String,
    /// The template of each model call. Its messages are the start of the transcript. The agent sets its `tools` and
    /// `output`.
    pub request: ChatRequest,
    /// The tools that the agent may call. Their names must differ.
    pub tools: Vec<Tool>,
    /// The maximum number of turns of one run. A turn is one model call and all the tool calls that it asks for.
    pub max_turns: u32,
    /// What one run may spend, including what its tools spend. Default: all that is left of the spell's budget.
    pub budget: Option<Budget>,
    /// The schema that the answer must fit. Default: the answer is text.
    pub output: Option<Schema>,
    /// How the model learns of its tools. Default: native, and a model that is known not to support tools is rejected.
    pub tool_mode: Option<ToolMode>,
    /// What to do when the transcript exceeds the context window.
    pub overflow: Overflow,
    /// The model's context window in tokens, input and output together. Default: what the catalogue knows of the model.
    pub context_window: Option<u64>,
    /// The maximum size in bytes of a tool result in the prompt. A longer result is cut.
    pub max_result: usize,
}

/// How a model learns of its tools.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ToolMode {
    /// Through the provider's own function calling.
    Native,
    /// Through instructions in the prompt; calls are read from the answer's text. For models without function calling.
    Text,
}

/// What to do when the transcript exceeds the model's context window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Overflow {
    /// Removes results of tools, oldest first.
    #[default]
    DropResults,
    /// Lets the model summarize the transcript.
    Summarize,
    /// Fails.
    Fail,
}

/// The result of an agent's run.
#[derive(Debug, Clone, PartialEq, Default, Serialize, JsonSchema)]
pub struct AgentReply {
    /// The text of the last answer.
    pub text: String,
    /// The answer as data, if the agent has an `output`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<Json>,
    /// The number of turns.
    pub turns: u32,
    /// The number of tool calls.
    pub tool_calls: u32,
    /// Why the model stopped its last answer.
    pub finish_reason: FinishReason,
    /// The model of the last answer.
    pub model: String,
    /// The provider of the last answer.
    pub provider: String,
    /// What the run spent, including what its tools spent.
    pub usage: Usage,
}

/// How a run ended that did not fail.
#[derive(Debug)]
pub enum AgentEnd {
    /// The model gave an answer.
    Answered(Box<AgentReply>),
    /// The observer stopped the run.
    Stopped,
}

/// A observer's decision after an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ObserverDecision {
    /// The run continues.
    GoOn,
    /// The run stops.
    Stop,
}

impl ObserverDecision {
    /// Combines the decisions of two listeners: the run stops if either one stops it.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        if self == Self::Stop { self } else { other }
    }
}

/// Receives the events of an agent's run, and can stop the run.
pub trait AgentObserver {
    /// Handles an event and decides whether the run continues. An error ends the run with that error.
    fn observe(&self, event: AgentEvent) -> LocalBoxFuture<'_, Result<ObserverDecision>>;

    /// Whether the observer wants the text in pieces while it arrives. Default: one event with the complete text.
    fn streams(&self) -> bool {
        false
    }
}

/// Ignores all events.
impl AgentObserver for () {
    fn observe(&self, _: AgentEvent) -> LocalBoxFuture<'_, Result<ObserverDecision>> {
        Box::pin(std::future::ready(Ok(ObserverDecision::GoOn)))
    }
}

/// An agent with its transcript.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// use std::sync::Arc;
/// use llmspell_core::chat::Message;
/// use llmspell_core::{Context, Value};
/// use llmspell_llm::{ModelAgent, AgentEnd, AgentSpec, Client, Mock, Schema, Tool};
/// use serde_json::json;
///
/// let mock = Mock::new().reply_tool_call("add", json!({"a": 2, "b": 3})).reply("It is 5.");
/// let models = Arc::new(Client::builder().mock(mock).build()?);
/// let cx = Context::builder().models(models).build();
///
/// let takes = Schema::read(&json!({"a": "number", "b": "number"}))?;
/// let add = Tool::new("add", "Adds two numbers.", takes, |_cx, arguments| async move {
///     Ok(Value::from(arguments["a"].as_f64().unwrap_or(0.0) + arguments["b"].as_f64().unwrap_or(0.0)))
/// })?;
/// let agent = ModelAgent::new(&cx, AgentSpec { tools: vec![add], ..AgentSpec::named("adder") })?;
/// let question = Message::user("What is 2 + 3?");
/// let AgentEnd::Answered(reply) = agent.run(&cx, question, &()).await? else { unreachable!() };
/// assert_eq!((reply.text.as_str(), reply.turns, reply.tool_calls), ("It is 5.", 2, 1));
/// assert_eq!(agent.messages().len(), 4);
/// # Ok::<(), llmspell_core::Error>(()) })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct ModelAgent {
    spec: Arc<AgentSpec>,
    /// The tools as the model sees them.
    tools: Arc<[ToolSpec]>,
    /// The estimated tokens of everything in a request except its messages.
    frame_tokens: u64,
    /// The messages that the agent was created with.
    before: Arc<[Message]>,
    history: Transcript,
}

impl AgentSpec {
    /// Returns the configuration of a text agent with this name and without tools.
    #[must_use]
    pub fn named(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            request: ChatRequest::default(),
            tools: Vec::new(),
            max_turns: DEFAULT_TURNS,
            budget: None,
            output: None,
            tool_mode: None,
            overflow: Overflow::default(),
            context_window: None,
            max_result: DEFAULT_RESULT,
        }
    }
}

impl ModelAgent {
    /// Creates an agent.
    ///
    /// # Errors
    /// When the agent's name is invalid, two tools have the same name, the model is known not to support tools, or the
    /// initial messages exceed the run's memory limit.
    pub fn new(cx: &Context, mut spec: AgentSpec) -> Result<Self> {
        check_name("an agent", &spec.name)?;
        turn::check_tools(&spec)?;
        turn::check_model(&spec)?;
        let tools: Arc<[ToolSpec]> = spec.tools.iter().map(Tool::spec).collect();
        // Some providers do not accept tools together with a native output schema. Instructions in the prompt work
        // everywhere.
        let native = if spec.tools.is_empty() { None } else { Some(false) };
        spec.request.output =
            spec.output.as_ref().map(|schema| OutputSpec { schema: schema.json().clone(), native });
        let before = spec.request.messages.as_slice().into();
        let history = Transcript::new(cx, "agent", &mut spec.request)?;
        let frame_tokens = count_frame(&ChatRequest { tools: tools.to_vec(), ..spec.request.clone() });
        Ok(Self { spec: Arc::new(spec), tools, frame_tokens, before, history })
    }

    /// Creates a second agent with the same configuration and only the messages that this one was created with.
    ///
    /// # Errors
    /// When the messages exceed the run's memory limit.
    pub fn anew(&self, cx: &Context) -> Result<Self> {
        let mut request = ChatRequest { messages: self.before.to_vec(), ..self.spec.request.clone() };
        Ok(self.with(Transcript::new(cx, "agent", &mut request)?))
    }

    fn with(&self, history: Transcript) -> Self {
        let (spec, tools, before) =
            (Arc::clone(&self.spec), Arc::clone(&self.tools), Arc::clone(&self.before));
        Self { spec, tools, frame_tokens: self.frame_tokens, before, history }
    }

    /// Returns the agent's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.spec.name
    }

    /// Returns the agent's configuration.
    #[must_use]
    pub fn spec(&self) -> &AgentSpec {
        &self.spec
    }

    /// Returns a copy of the transcript, oldest message first.
    #[must_use]
    pub fn messages(&self) -> Vec<Message> {
        self.history.list()
    }

    /// Creates a second agent with the same configuration and a copy of the transcript.
    ///
    /// # Errors
    /// When the copy exceeds the run's memory limit.
    pub fn fork(&self) -> Result<Self> {
        Ok(self.with(self.history.fork()?))
    }

    /// Gives the agent a message and runs it until the model answers without a tool call.
    ///
    /// Each finished turn stays in the transcript, even if the run fails later. Another call of `run` continues from
    /// there.
    ///
    /// # Errors
    /// The provider's errors, `turn_limit`, `budget`, `output_invalid`, the observer's errors, and the end of the
    /// spell's run. A tool's error does not fail the run; the model receives it.
    pub async fn run(&self, cx: &Context, input: Message, observer: &dyn AgentObserver) -> Result<AgentEnd> {
        let owner = format!("agent `{}`", self.spec.name);
        let cx = cx.within_budget(&owner, self.spec.budget.unwrap_or_default());
        run::run(self, cx, input, observer).await
    }
}
