//! The agents that a spell registers by name.

use std::sync::{Mutex, MutexGuard, PoisonError};

use indexmap::IndexMap;
use llmspell_core::bridge::FromArgument;
use llmspell_core::{Callback, Context, Error, ErrorKind, Result, Value, from_value, to_value};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::agents::Agent;
use super::{Input, ScriptAgent};
use crate::names::near;

/// A registered agent.
#[derive(Debug, Clone)]
pub enum AgentDefinition {
    /// A function that takes an input and options, and returns a result.
    Function(Callback),
    /// A table with the method `execute`, and optionally `stream`.
    Table(Methods),
    /// An agent with a model.
    Agent(ScriptAgent),
}

/// An agent that a script implements as a table.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub struct Methods {
    /// What the agent does.
    #[serde(default)]
    description: String,
    /// Takes the table itself, an input and options, and returns a result.
    execute: Callback,
    /// Takes the table itself, an input, options and a function to call with each part of the answer.
    #[serde(default)]
    stream: Option<Callback>,
}

impl FromArgument for AgentDefinition {
    fn from_argument(value: Value) -> Result<Self> {
        match value {
            Value::Callback(function) => Ok(Self::Function(function)),
            Value::Object(object) => Ok(Self::Agent(object.downcast::<Agent>()?.0.clone())),
            table @ Value::Map(_) => methods(table).map(Self::Table),
            other => {
                let message = format!("expected function, table or Agent, found {}", other.type_name());
                Err(Error::argument(message))
            }
        }
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({"anyOf": [
            generator.subschema_for::<Callback>(),
            generator.subschema_for::<Methods>(),
            llmspell_core::bridge::object_schema::<Agent>(),
        ]})
    }
}

/// Reads the methods of a table. The table may have other fields for its own use.
fn methods(table: Value) -> Result<Methods> {
    let Value::Map(mut fields) = table else { return Err(Error::argument("expected table")) };
    fields.retain(|name, _| matches!(name.as_str(), "description" | "execute" | "stream"));
    from_value(Value::Map(fields))
}

/// A description of a registered agent.
#[derive(Debug, Serialize, JsonSchema)]
pub struct RegisteredInfo {
    /// The agent's name.
    name: String,
    /// `function` or `table` for an agent that the script implements, `agent` for one with a model.
    kind: &'static str,
    /// What the agent does.
    description: String,
}

/// The registered agents of a run.
#[derive(Default)]
pub struct AgentRegistry(Mutex<IndexMap<String, AgentDefinition>>);

impl AgentRegistry {
    pub(super) fn add(cx: &Context, name: String, agent: AgentDefinition) -> Result<()> {
        let agents = cx.state::<Self>();
        let mut agents = agents.lock();
        if agents.contains_key(&name) {
            let message = format!("there is an agent named `{name}` already");
            return Err(Error::new(ErrorKind::Conflict, message)
                .hint(format!("`agents.remove(\"{name}\")` makes its name free")));
        }
        agents.insert(name, agent);
        Ok(())
    }

    pub(super) fn find(cx: &Context, name: &str) -> Result<AgentDefinition> {
        let agents = cx.state::<Self>();
        let agents = agents.lock();
        agents.get(name).cloned().ok_or_else(|| missing(name, &agents))
    }

    pub(super) fn list(cx: &Context) -> Vec<RegisteredInfo> {
        cx.state::<Self>().lock().iter().map(|(name, agent)| agent.info(name.clone())).collect()
    }

    pub(super) fn remove(cx: &Context, name: &str) -> Result<()> {
        let agents = cx.state::<Self>();
        let mut agents = agents.lock();
        let removed = agents.shift_remove(name);
        removed.map(drop).ok_or_else(|| missing(name, &agents))
    }

    fn lock(&self) -> MutexGuard<'_, IndexMap<String, AgentDefinition>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn missing(name: &str, agents: &IndexMap<String, AgentDefinition>) -> Error {
    Error::new(ErrorKind::NotFound, format!("there is no agent named `{name}`"))
        .hint(near(name, agents.keys().map(String::as_str)))
}

impl AgentDefinition {
    pub(super) fn info(&self, name: String) -> RegisteredInfo {
        match self {
            Self::Function(_) => RegisteredInfo { name, kind: "function", description: String::new() },
            Self::Table(methods) => {
                RegisteredInfo { name, kind: "table", description: methods.description.clone() }
            }
            Self::Agent(made) => {
                RegisteredInfo { name, kind: "agent", description: made.description.clone() }
            }
        }
    }

    pub(super) async fn execute(&self, cx: &Context, input: Value, options: Option<Value>) -> Result<Value> {
        match self {
            Self::Function(function) => {
                function.call_within(cx.spawn(), vec![input, options.unwrap_or_default()]).await
            }
            Self::Table(methods) => {
                methods.execute.call_method(cx.spawn(), vec![input, options.unwrap_or_default()]).await
            }
            Self::Agent(made) => {
                let options = options.map(from_value).transpose()?;
                to_value(&made.anew(cx)?.run(cx, Input::from_argument(input)?, options).await?)
            }
        }
    }

    pub(super) async fn stream(
        &self,
        cx: &Context,
        input: Value,
        on_chunk: Callback,
        options: Option<Value>,
    ) -> Result<()> {
        match self {
            Self::Table(Methods { stream: Some(stream), .. }) => {
                let arguments = vec![input, options.unwrap_or_default(), Value::Callback(on_chunk)];
                stream.call_method(cx.spawn(), arguments).await.map(drop)
            }
            Self::Function(_) | Self::Table(_) => {
                let text = match self.execute(cx, input, options).await? {
                    Value::Str(text) => text,
                    other => serde_json::to_string(&other)
                        .map_err(|error| Error::runtime(format!("the result is no data: {error}")))?,
                };
                on_chunk.call(vec![Value::Str(text)]).await.map(drop)
            }
            Self::Agent(made) => made.anew(cx)?.pieces(cx, Input::from_argument(input)?, on_chunk).await,
        }
    }
}
