//! The `tools` bridge: functions that models and scripts can call by name.

mod builtin;
mod definition;
mod method;
mod registry;

use llmspell_core::{Context, Error, Result, Value, from_value, to_value};
use llmspell_llm::{Schema, Tool};
use llmspell_macros::bridge;
use serde_json::Value as Json;

pub(crate) use definition::ToolDefinition;
pub use definition::{NameOrTool, ToolInfo};
pub(crate) use registry::Registry;

/// Tools: functions that models and scripts can call by name.
///
/// A spell registers its own tools. `calculator`, `datetime`, `web_fetch`, `read_file`, `write_file` and `list_files`
/// are built in, and each method of a bridge is a tool too, such as `"fs.read"`. A tool has the permissions of the
/// spell, whatever a model asks for.
#[bridge]
#[since("0.3")]
pub mod tools {
    use llmspell_core::{Callback, Context, Result, Value};

    use super::{NameOrTool, Registry, ToolInfo};

    /// Registers a function as a tool under a new name.
    ///
    /// `schema` describes the argument, as JSON Schema or shorthand. The function gets a table that was validated
    /// against the schema, with defaults filled in. It returns a value, or nil and an error. A single table may
    /// replace the four arguments; it may also set `confirm = true`, to ask the user before each call, and a
    /// `timeout` in seconds.
    ///
    /// ```luau
    /// assert(tools.register("add", "Adds two numbers.", {a = "number", b = "number"}, function(args)
    ///     return args.a + args.b
    /// end))
    /// assert(tools.execute("add", {a = 2, b = 3}) == 5)
    ///
    /// assert(tools.register {
    ///     name = "greet",
    ///     description = "Greets somebody.",
    ///     parameters = {type = "object", properties = {name = {type = "string", default = "you"}}},
    ///     run = function(args)
    ///         return "Hello, " .. args.name
    ///     end,
    /// })
    /// assert(tools.execute("greet") == "Hello, you")
    /// ```
    pub fn register(
        cx: &Context,
        name: NameOrTool,
        description: Option<String>,
        schema: Option<Value>,
        run: Option<Callback>,
    ) -> Result<bool> {
        let tool = name.with(description, schema, run)?.tool()?;
        cx.state::<Registry>().add(tool)?;
        Ok(true)
    }

    /// Runs a tool and returns its result.
    ///
    /// Fails with `not_found` for an unknown tool, with `schema` when the arguments do not match (the message names
    /// the path), and with the tool's own error.
    ///
    /// ```luau
    /// assert(tools.execute("calculator", {expression = "2 * (3 + 4)"}) == 14)
    ///
    /// local _, err = tools.execute("calculator", {expression = 5})
    /// assert(err.message == "tool `calculator`: $.expression: expected string, got integer 5")
    /// ```
    pub async fn execute(cx: Context, name: String, args: Option<Value>) -> Result<Value> {
        let tool = cx.state::<Registry>().find(&cx, &name)?;
        super::call(&cx, &tool, args).await
    }

    /// Lists all tools, the built-in ones first.
    ///
    /// ```luau
    /// for _, tool in tools.list() do
    ///     print(tool.name .. ": " .. tool.description)
    /// end
    /// ```
    pub fn list(cx: &Context) -> Result<Vec<ToolInfo>> {
        Ok(cx.state::<Registry>().list()?.iter().map(ToolInfo::of).collect())
    }

    /// Describes a tool and its parameters.
    ///
    /// Fails with `not_found` for an unknown tool.
    ///
    /// ```luau
    /// local tool = tools.get("read_file")
    /// assert(tool.parameters.properties.path.type == "string")
    /// assert(tool.origin == "built_in")
    /// ```
    pub fn get(cx: &Context, name: String) -> Result<ToolInfo> {
        Ok(ToolInfo::of(&cx.state::<Registry>().find(cx, &name)?))
    }

    /// Checks arguments against a tool's schema, without running the tool.
    ///
    /// Fails with `schema` when they do not match; the message names the path.
    ///
    /// ```luau
    /// assert(tools.validate("calculator", {expression = "1 + 1"}))
    ///
    /// local ok, err = tools.validate("calculator", {})
    /// assert(not ok and err.kind == "schema")
    /// ```
    pub fn validate(cx: &Context, name: String, args: Option<Value>) -> Result<bool> {
        let tool = cx.state::<Registry>().find(cx, &name)?;
        tool.check(super::arguments(&tool, args)?)?;
        Ok(true)
    }

    /// Removes a tool, so that its name can be used again.
    ///
    /// Fails with `not_found` when no tool with this name is registered.
    ///
    /// ```luau
    /// tools.remove("web_fetch")
    /// local err = tools.remove("web_fetch")
    /// assert(err.kind == "not_found")
    /// ```
    pub fn remove(cx: &Context, name: String) -> Result<()> {
        cx.state::<Registry>().remove(&name)
    }
}

/// Runs a tool with the arguments of a script.
async fn call(cx: &Context, tool: &Tool, args: Option<Value>) -> Result<Value> {
    let arguments = arguments(tool, args)?;
    // The tool runs as a task of its own, so its effects have their own numbering.
    tool.call(&cx.spawn(), arguments).await
}

fn arguments(tool: &Tool, args: Option<Value>) -> Result<Json> {
    from_value(args.unwrap_or_default())
        .map_err(|error: Error| error.prefixed(format_args!("tool `{}`: ", tool.name())))
}

/// Parses a schema that a script wrote.
pub(crate) fn schema(written: Option<Value>) -> Result<Schema> {
    let json = match written {
        // Without a schema, the tool has no parameters. A Luau script's empty table may arrive as a list.
        None | Some(Value::Nil) => Json::Object(serde_json::Map::new()),
        Some(Value::List(items)) if items.is_empty() => Json::Object(serde_json::Map::new()),
        Some(written) => from_value(written)?,
    };
    Schema::read(&json)
}

/// Returns the implementation of a tool that calls a script function.
fn callback(run: llmspell_core::Callback) -> impl Fn(Context, Json) -> RunningTool + Send + Sync + 'static {
    move |cx, arguments| {
        let run = run.clone();
        Box::pin(async move { run.call_within(cx, vec![to_value(&arguments)?]).await })
    }
}

type RunningTool = futures_util::future::LocalBoxFuture<'static, Result<Value>>;
