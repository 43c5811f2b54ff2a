//! A tool as a script writes it, and as it is shown one.

use llmspell_core::bridge::FromArgument;
use llmspell_core::chat::Seconds;
use llmspell_core::{Callback, Error, Result, Value, from_value};
use llmspell_llm::{Tool, ToolKind};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

/// A tool that a script makes.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ToolDefinition {
    /// The name that models call it by: 1 to 64 letters, digits, `_` and `-`.
    name: String,
    /// What it does, in words for a model.
    #[serde(default)]
    description: String,
    /// What it takes: JSON Schema, or the short form such as `{city = "string", days = "integer?"}`.
    #[serde(default)]
    parameters: Option<Value>,
    /// Does the work: takes the arguments as a table, and returns a value, or nil and an error.
    run: Callback,
    /// Whether the user is asked each time before it runs.
    #[serde(default)]
    confirm: bool,
    /// The most seconds that it may take.
    #[serde(default)]
    timeout: Option<Seconds>,
}

impl ToolDefinition {
    /// The tool itself.
    pub(crate) fn tool(self) -> Result<Tool> {
        let named = |error: Error| error.prefixed(format_args!("tool `{}`: ", self.name));
        let parameters = super::schema(self.parameters).map_err(named)?;
        let tool = Tool::new(self.name, self.description, parameters, super::callback(self.run))?;
        Ok(tool.confirm(self.confirm).timeout(self.timeout.map(Seconds::duration)))
    }
}

/// What is registered: a name, which description, schema and function follow, or a whole tool.
#[derive(Debug)]
pub enum NameOrTool {
    /// The name alone.
    Name(String),
    /// All of it.
    Tool(ToolDefinition),
}

impl NameOrTool {
    /// All of it, with what follows a name.
    pub(super) fn with(
        self,
        description: Option<String>,
        schema: Option<Value>,
        run: Option<Callback>,
    ) -> Result<ToolDefinition> {
        match self {
            Self::Tool(_) if description.is_some() || schema.is_some() || run.is_some() => {
                Err(Error::argument("a tool that is a table says all in it: expected 1 argument"))
            }
            Self::Tool(tool) => Ok(tool),
            Self::Name(name) => {
                let run =
                    run.ok_or_else(|| Error::argument("argument 4 (`run`): expected function, found none"))?;
                let description = description.unwrap_or_default();
                Ok(ToolDefinition {
                    name,
                    description,
                    parameters: schema,
                    run,
                    confirm: false,
                    timeout: None,
                })
            }
        }
    }
}

impl FromArgument for NameOrTool {
    fn from_argument(value: Value) -> Result<Self> {
        match value {
            Value::Str(name) => Ok(Self::Name(name)),
            table @ Value::Map(_) => from_value(table).map(Self::Tool),
            other => Err(Error::argument(format!("expected string or table, found {}", other.type_name()))),
        }
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({"anyOf": [{"type": "string"}, generator.subschema_for::<ToolDefinition>()]})
    }
}

/// What is known of a tool.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ToolInfo {
    /// The name that models call it by.
    name: String,
    /// What it does.
    description: String,
    /// What it takes, as JSON Schema.
    parameters: Json,
    /// Where it comes from: `built_in`, `bridge`, `function` or `agent`.
    origin: ToolKind,
    /// Whether the user is asked each time before it runs.
    confirm: bool,
}

impl ToolInfo {
    pub(super) fn of(tool: &Tool) -> Self {
        Self {
            name: tool.name().to_owned(),
            description: tool.description().to_owned(),
            parameters: tool.parameters().json().clone(),
            origin: tool.origin(),
            confirm: tool.asks(),
        }
    }
}
