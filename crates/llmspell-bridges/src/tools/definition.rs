//! The definition of a tool as a script writes it, and the description that a script reads.

use llmspell_core::bridge::FromArgument;
use llmspell_core::chat::Seconds;
use llmspell_core::{Callback, Error, Result, Value, from_value};
use llmspell_llm::{Tool, ToolKind};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

/// A tool that a script defines.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ToolDefinition {
    /// The name by which models call the tool: 1 to 64 letters, digits, `_` and `-`.
    name: String,
    /// What the tool does, described for a model.
    #[serde(default)]
    description: String,
    /// The parameters, as JSON Schema or shorthand such as `{city = "string", days = "integer?"}`.
    #[serde(default)]
    parameters: Option<Value>,
    /// The implementation: takes the arguments as a table, and returns a value, or nil and an error.
    run: Callback,
    /// Whether the user is asked before each call.
    #[serde(default)]
    confirm: bool,
    /// The maximum duration of a call in seconds.
    #[serde(default)]
    timeout: Option<Seconds>,
}

impl ToolDefinition {
    /// Returns the tool.
    pub(crate) fn tool(self) -> Result<Tool> {
        let named = |error: Error| error.prefixed(format_args!("tool `{}`: ", self.name));
        let parameters = super::schema(self.parameters).map_err(named)?;
        let tool = Tool::new(self.name, self.description, parameters, super::callback(self.run))?;
        Ok(tool.confirm(self.confirm).timeout(self.timeout.map(Seconds::duration)))
    }
}

/// The first argument of `tools.register`: a name, followed by description, schema and function, or a whole tool.
#[derive(Debug)]
pub enum NameOrTool {
    /// A name.
    Name(String),
    /// A whole tool.
    Tool(ToolDefinition),
}

impl NameOrTool {
    /// Returns the whole definition, using the arguments that follow a name.
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

/// A description of a tool.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ToolInfo {
    /// The name by which models call the tool.
    name: String,
    /// What the tool does.
    description: String,
    /// The parameters, as JSON Schema.
    parameters: Json,
    /// The origin: `built_in`, `bridge`, `function` or `agent`.
    origin: ToolKind,
    /// Whether the user is asked before each call.
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
