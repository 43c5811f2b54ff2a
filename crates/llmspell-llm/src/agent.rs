//! Agents: a model with tools, asked again and again until it has an answer. Knows no script.

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
use crate::history::History;
use crate::schema::Schema;
use crate::tool::{Tool, check_name};

/// How many turns an agent may take when nobody says.
pub const DEFAULT_TURNS: u32 = 10;

/// The most bytes of a tool's result that the model is told when nobody says.
pub const DEFAULT_RESULT: usize = 32 * 1024;

/// What an agent is.
#[derive(Debug, Clone)]
pub struct AgentSpec {
    /// Its name.
    pub name: String,
    /// How its model is asked. Messages in it are what was said before; its tools are the agent's.
    pub request: ChatRequest,
    /// What it may call, each by its name.
    pub tools: Vec<Tool>,
    /// The most turns that one run may take: each is one call of the model, and of the tools that it wants.
    pub max_turns: u32,
    /// What one run may spend, with all that its tools spend; else as much as is left.
    pub budget: Option<Budget>,
    /// What its answer has to be; else it is text.
    pub output: Option<Schema>,
    /// How the model is told of its tools. When that is not said, as its provider has it, and a model that is known to call
    /// none is refused.
    pub tool_mode: Option<ToolMode>,
    /// What to do when what was said is more than the model can read.
    pub overflow: Overflow,
    /// The most tokens that the model can read and write, where that is not known by its name.
    pub context_window: Option<u64>,
    /// The most bytes of a tool's result that the model is told.
    pub max_result: usize,
}

/// How a model is told of its tools.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ToolMode {
    /// As its provider has it.
    Native,
    /// In its instructions, for a model that calls no tools: it answers with calls as text.
    Text,
}

/// What to do when what was said is more than a model can read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Overflow {
    /// Leaves out what tools have answered, oldest first.
    #[default]
    DropResults,
    /// Has the model sum up what was said.
    Summarize,
    /// Fails.
    Fail,
}

/// What an agent came to.
#[derive(Debug, Clone, PartialEq, Default, Serialize, JsonSchema)]
pub struct AgentReply {
    /// What the model said at the end.
    pub text: String,
    /// The answer as data, where the agent has an `output`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<Json>,
    /// How many turns it took.
    pub turns: u32,
    /// How many tools were called.
    pub tool_calls: u32,
    /// Why the model stopped at the end.
    pub finish_reason: FinishReason,
    /// The model that answered at the end.
    pub model: String,
    /// Its provider.
    pub provider: String,
    /// What the run spent, with all that its tools spent.
    pub usage: Usage,
}

/// How a run of an agent ended that did not fail.
#[derive(Debug)]
pub enum AgentEnd {
    /// With an answer.
    Answered(Box<AgentReply>),
    /// Whoever listened had heard enough.
    Stopped,
}

/// Whether whoever listens wants to hear more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// It goes on.
    GoOn,
    /// It stops here.
    Stop,
}

impl Heard {
    /// What two that listen want together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        if self == Self::Stop { self } else { other }
    }
}

/// Hears of each step of an agent, and may end its run.
pub trait Listener {
    /// Takes an event.
    fn hear(&self, event: AgentEvent) -> LocalBoxFuture<'_, Result<Heard>>;

    /// Whether the text is wanted piece by piece as it arrives.
    fn streams(&self) -> bool {
        false
    }
}

/// Listens to nothing.
impl Listener for () {
    fn hear(&self, _: AgentEvent) -> LocalBoxFuture<'_, Result<Heard>> {
        Box::pin(std::future::ready(Ok(Heard::GoOn)))
    }
}

/// An agent, and what was said to it and by it.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// use std::sync::Arc;
/// use llmspell_core::chat::Message;
/// use llmspell_core::{Context, Value};
/// use llmspell_llm::{Agent, AgentEnd, AgentSpec, Client, Mock, Schema, Tool};
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
/// let agent = Agent::new(&cx, AgentSpec { tools: vec![add], ..AgentSpec::named("adder") })?;
/// let question = Message::user("What is 2 + 3?");
/// let AgentEnd::Answered(reply) = agent.run(&cx, question, &()).await? else { unreachable!() };
/// assert_eq!((reply.text.as_str(), reply.turns, reply.tool_calls), ("It is 5.", 2, 1));
/// assert_eq!(agent.messages().len(), 4);
/// # Ok::<(), llmspell_core::Error>(()) })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Agent {
    spec: Arc<AgentSpec>,
    /// Of its tools, as the model is told of them.
    tools: Arc<[ToolSpec]>,
    /// Tokens of all that it asks with each time, beside what was said.
    frame_tokens: u64,
    /// What was said before it was made.
    before: Arc<[Message]>,
    history: History,
}

impl AgentSpec {
    /// An agent of this name without tools, which answers with text.
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

impl Agent {
    /// Makes an agent.
    ///
    /// # Errors
    /// When its name or what it may call is not in order, or what was said before takes more memory than the run may use.
    pub fn new(cx: &Context, mut spec: AgentSpec) -> Result<Self> {
        check_name("an agent", &spec.name)?;
        turn::check_tools(&spec)?;
        turn::check_model(&spec)?;
        let tools: Arc<[ToolSpec]> = spec.tools.iter().map(Tool::spec).collect();
        // Not every provider has tools and its own way to typed answers at once; words do in each.
        let native = if spec.tools.is_empty() { None } else { Some(false) };
        spec.request.output =
            spec.output.as_ref().map(|schema| OutputSpec { schema: schema.json().clone(), native });
        let before = spec.request.messages.as_slice().into();
        let history = History::new(cx, "agent", &mut spec.request)?;
        let frame_tokens = count_frame(&ChatRequest { tools: tools.to_vec(), ..spec.request.clone() });
        Ok(Self { spec: Arc::new(spec), tools, frame_tokens, before, history })
    }

    /// A second agent, to which nothing was said since it was made.
    ///
    /// # Errors
    /// When it takes more memory than the run may use.
    pub fn anew(&self, cx: &Context) -> Result<Self> {
        let mut request = ChatRequest { messages: self.before.to_vec(), ..self.spec.request.clone() };
        Ok(self.with(History::new(cx, "agent", &mut request)?))
    }

    fn with(&self, history: History) -> Self {
        let (spec, tools, before) =
            (Arc::clone(&self.spec), Arc::clone(&self.tools), Arc::clone(&self.before));
        Self { spec, tools, frame_tokens: self.frame_tokens, before, history }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.spec.name
    }

    /// What it is.
    #[must_use]
    pub fn spec(&self) -> &AgentSpec {
        &self.spec
    }

    /// What was said so far, oldest first.
    #[must_use]
    pub fn messages(&self) -> Vec<Message> {
        self.history.list()
    }

    /// A second agent with the same past.
    ///
    /// # Errors
    /// When its past takes more memory than the run may use.
    pub fn fork(&self) -> Result<Self> {
        Ok(self.with(self.history.fork()?))
    }

    /// Gives it something to do, and goes on until the model answers without calling a tool.
    ///
    /// What was done stays said, also when the run fails: each turn that ended is part of the agent's past, and asking again
    /// goes on from there.
    ///
    /// # Errors
    /// What the model's provider answers, `turn_limit`, `budget`, `output_invalid`, what the listener fails with, or the
    /// end of the run of the spell. What a tool fails with is told to the model.
    pub async fn run(&self, cx: &Context, input: Message, listener: &dyn Listener) -> Result<AgentEnd> {
        let owner = format!("agent `{}`", self.spec.name);
        let cx = cx.within_budget(&owner, self.spec.budget.unwrap_or_default());
        run::run(self, cx, input, listener).await
    }
}
