//! The `agents` bridge: agents with a model and tools, and agents that a script implements.

mod config;
mod event_callbacks;
mod registry;

use std::sync::Arc;

use llmspell_core::chat::Message;
use llmspell_core::{Callback, Context, Error, ErrorKind, Result, Value, to_value};
use llmspell_llm::{AgentEnd, AgentReply, Schema, Tool, ToolKind};
use llmspell_macros::bridge;
use serde_json::json;

pub use config::{AgentConfig, AgentRunOptions, Input};
use event_callbacks::EventCallbacks;
pub use registry::{AgentDefinition, AgentRegistry, RegisteredInfo};

/// Agents: models that call tools until they have an answer, and agents that a script implements.
///
/// An agent has the permissions of the spell and the tools that it was given. A call of any other tool is refused,
/// whatever the model asks for.
#[bridge]
#[since("0.3")]
pub mod agents {
    use llmspell_core::chat::Message;
    use llmspell_core::{Callback, Context, Result, Value};
    use llmspell_llm::AgentReply;

    use super::{
        AgentConfig, AgentDefinition, AgentRegistry, AgentRunOptions, Input, RegisteredInfo, ScriptAgent,
    };

    /// Creates an agent.
    ///
    /// `tools` lists names of tools, names of methods such as `"fs.read"`, tables as for `tools.register`, and other
    /// agents. A run takes at most `max_turns` turns (default 10) and spends at most its `budget`. With an `output`
    /// schema, the answer is data. `on_event` is called for each step. Fails with `not_found` for an unknown tool,
    /// and with `no_provider` or `unknown_model` for an unknown model.
    ///
    /// ```luau
    /// local agent, err = agents.create {
    ///     name = "reckoner",
    ///     system_prompt = "You work things out.",
    ///     tools = {"calculator"},
    ///     budget = {tokens = 5000},
    /// }
    /// assert(agent, err)
    /// local result, err = agent:run("What is 12 * 12?")
    /// assert(result, err)
    /// print(result.text, result.turns, result.usage.output_tokens)
    /// ```
    pub fn create(cx: &Context, config: AgentConfig) -> Result<Agent> {
        Ok(Agent(ScriptAgent::new(cx, config)?))
    }

    /// Registers an agent under a new name.
    ///
    /// The agent is one of three things: a function that takes an input and options and returns a result; a table
    /// with such a method `execute`, and optionally a method `stream` that also takes a function to call with each
    /// part; or an agent from `agents.create`.
    ///
    /// ```luau
    /// assert(agents.register("echo", function(input, options)
    ///     return "You said: " .. input
    /// end))
    /// assert(agents.execute("echo", "hello") == "You said: hello")
    ///
    /// local counter = {count = 0}
    /// function counter:execute(input)
    ///     self.count += 1
    ///     return `{input} {self.count}`
    /// end
    /// assert(agents.register("counter", counter))
    /// assert(agents.execute("counter", "number") == "number 1" and counter.count == 1)
    /// ```
    pub fn register(cx: &Context, name: String, agent: AgentDefinition) -> Result<bool> {
        AgentRegistry::add(cx, name, agent)?;
        Ok(true)
    }

    /// Runs a registered agent with an input and returns the result.
    ///
    /// Each call starts without earlier messages. Fails with `not_found` when no agent has this name.
    ///
    /// ```luau
    /// agents.register("double", function(input)
    ///     return input * 2
    /// end)
    /// assert(agents.execute("double", 21) == 42)
    /// ```
    pub async fn execute(cx: Context, name: String, input: Value, options: Option<Value>) -> Result<Value> {
        AgentRegistry::find(&cx, &name)?.execute(&cx, input, options).await
    }

    /// Runs a registered agent and calls `on_chunk` with each part of its answer as it arrives.
    ///
    /// A function's result arrives as one part. Fails with `not_found` when no agent has this name.
    ///
    /// ```luau
    /// agents.register("echo", function(input)
    ///     return input
    /// end)
    /// local text = ""
    /// assert(not agents.stream("echo", "hello", function(chunk)
    ///     text ..= chunk
    /// end))
    /// assert(text == "hello")
    /// ```
    pub async fn stream(
        cx: Context,
        name: String,
        input: Value,
        on_chunk: Callback,
        options: Option<Value>,
    ) -> Result<()> {
        AgentRegistry::find(&cx, &name)?.stream(&cx, input, on_chunk, options).await
    }

    /// Lists the registered agents.
    ///
    /// ```luau
    /// agents.register("echo", function(input) return input end)
    /// assert(agents.list()[1].name == "echo")
    /// ```
    pub fn list(cx: &Context) -> Result<Vec<RegisteredInfo>> {
        Ok(AgentRegistry::list(cx))
    }

    /// Describes a registered agent.
    ///
    /// Fails with `not_found` when no agent has this name.
    ///
    /// ```luau
    /// agents.register("echo", function(input) return input end)
    /// assert(agents.get("echo").kind == "function")
    /// ```
    pub fn get(cx: &Context, name: String) -> Result<RegisteredInfo> {
        AgentRegistry::find(cx, &name).map(|agent| agent.info(name))
    }

    /// Removes a registered agent, so that its name can be used again.
    ///
    /// Fails with `not_found` when no agent has this name.
    ///
    /// ```luau
    /// agents.register("echo", function(input) return input end)
    /// assert(not agents.remove("echo"))
    /// assert(#agents.list() == 0)
    /// ```
    pub fn remove(cx: &Context, name: String) -> Result<()> {
        AgentRegistry::remove(cx, &name)
    }

    /// An agent with a model, its tools and its messages.
    ///
    /// An agent works on one input at a time. To run several inputs at once, use forks of it.
    #[derive(Debug, Clone)]
    pub struct Agent(pub(super) ScriptAgent);

    #[object]
    impl Agent {
        /// Runs the agent with an input until the model answers without calling a tool.
        ///
        /// The result holds the `text`, the `output` if the agent has an output schema, the number of `turns` and
        /// `tool_calls`, and the `usage`. An error of a tool is reported to the model. Fails with `turn_limit`,
        /// `budget`, `output_invalid` or the provider's error. Completed turns are kept, and the next input continues
        /// from there.
        ///
        /// ```luau
        /// local agent = agents.create {name = "helper"}
        /// local result, err = agent:run("Hello!")
        /// assert(result, err)
        /// print(result.text)
        /// ```
        pub async fn run(
            &self,
            cx: Context,
            input: Input,
            options: Option<AgentRunOptions>,
        ) -> Result<AgentReply> {
            self.0.run(&cx, input, options).await
        }

        /// Runs the agent and calls `on_event` for each step: `text`, `tool_call`, `tool_result`, `usage`.
        ///
        /// Text arrives as deltas. The run stops when `on_event` returns `false`, and fails with the kind `stopped`
        /// when it returns a text.
        ///
        /// ```luau
        /// local agent = agents.create {name = "helper"}
        /// local err = agent:stream("Hello!", function(event)
        ///     if event.type == "text" then
        ///         console.write(event.text)
        ///     end
        /// end)
        /// assert(not err)
        /// ```
        pub async fn stream(&self, cx: Context, input: Input, on_event: Callback) -> Result<()> {
            self.0.stream(&cx, input, on_event).await
        }

        /// Creates a second agent with the same messages. The two are independent from then on.
        ///
        /// ```luau
        /// local agent = agents.create {name = "helper"}
        /// agent:run("Hello!")
        /// local other = agent:fork()
        /// other:run("Goodbye!")
        /// assert(#agent.messages == 2 and #other.messages == 4)
        /// ```
        pub fn fork(&self) -> Result<Agent> {
            Ok(Agent(self.0.fork()?))
        }

        /// The agent's name.
        #[field]
        pub fn name(&self) -> Result<String> {
            Ok(self.0.agent.name().to_owned())
        }

        /// The messages so far, oldest first, including tool calls and their results.
        #[field]
        pub fn messages(&self) -> Result<Vec<Message>> {
            Ok(self.0.agent.messages())
        }
    }
}

/// An agent with a model that a script created, and its event callback.
#[derive(Debug, Clone)]
pub struct ScriptAgent {
    agent: Arc<llmspell_llm::ModelAgent>,
    description: String,
    on_event: Option<Callback>,
}

impl ScriptAgent {
    fn new(cx: &Context, config: AgentConfig) -> Result<Self> {
        let (spec, description, on_event) = config.spec(cx)?;
        Ok(Self { agent: Arc::new(llmspell_llm::ModelAgent::new(cx, spec)?), description, on_event })
    }

    fn fork(&self) -> Result<Self> {
        Ok(Self { agent: Arc::new(self.agent.fork()?), ..self.clone() })
    }

    /// Returns the same agent without messages.
    fn anew(&self, cx: &Context) -> Result<Self> {
        Ok(Self { agent: Arc::new(self.agent.anew(cx)?), ..self.clone() })
    }

    async fn run(&self, cx: &Context, input: Input, options: Option<AgentRunOptions>) -> Result<AgentReply> {
        let cx = cx.spawn();
        let on_event = options.and_then(|options| options.on_event);
        let listening = EventCallbacks::new(&cx, [self.on_event.clone(), on_event]);
        match self.agent.run(&cx, input.0, &listening).await? {
            AgentEnd::Answered(reply) => Ok(*reply),
            AgentEnd::Stopped => Err(Error::new(
                ErrorKind::Stopped,
                format!("agent `{}` was stopped by its `on_event`", self.agent.name()),
            )),
        }
    }

    async fn stream(&self, cx: &Context, input: Input, on_event: Callback) -> Result<()> {
        let cx = cx.spawn();
        let listening = EventCallbacks::new(&cx, [self.on_event.clone(), Some(on_event)]).streaming();
        self.agent.run(&cx, input.0, &listening).await.map(drop)
    }

    /// Calls a function with each part of the text.
    async fn pieces(&self, cx: &Context, input: Input, on_chunk: Callback) -> Result<()> {
        let cx = cx.spawn();
        let listening = EventCallbacks::new(&cx, [self.on_event.clone()]).text(on_chunk);
        self.agent.run(&cx, input.0, &listening).await.map(drop)
    }

    /// Returns the agent as a tool of another agent. Each tool call starts without earlier messages.
    fn tool(&self) -> Result<Tool> {
        let takes = Schema::known(json!({
            "type": "object",
            "properties": {"input": {"type": "string", "description": "what it is to do, with all that it has to know"}},
            "required": ["input"],
            "additionalProperties": false,
        }));
        let this = self.clone();
        let tool = Tool::new(self.agent.name(), &*self.description, takes, move |cx, arguments| {
            let this = this.clone();
            async move {
                let input = Message::user(arguments["input"].as_str().unwrap_or_default());
                let reply = this.anew(&cx)?.run(&cx, Input(input), None).await?;
                match reply.output {
                    Some(output) => to_value(&output),
                    None => Ok(Value::from(reply.text)),
                }
            }
        })?;
        Ok(tool.kind(ToolKind::Agent))
    }
}
