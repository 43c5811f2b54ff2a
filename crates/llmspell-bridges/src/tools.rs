//! The `tools` bridge.

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

/// Functions that models may call, and scripts too.
///
/// The spell registers its own; `calculator`, `datetime`, `web_fetch`, `read_file`, `write_file` and `list_files` are
/// there from the start, and each method of a bridge is a tool by its name, such as `"fs.read"`. A tool may do what the
/// spell may do, whatever a model says.
#[bridge]
#[since("0.3")]
pub mod tools {
    use llmspell_core::{Callback, Context, Result, Value};

    use super::{NameOrTool, Registry, ToolInfo};

    /// Registers a function as a tool under a name that no other has.
    ///
    /// `schema` says what the function takes, as JSON Schema or in the short form; its argument is a table that was checked
    /// by it, with defaults filled in. The function returns a value, or nil and an error. A table in place of the four
    /// arguments may also say `confirm = true`, so that the user is asked each time, and a `timeout` in seconds.
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

    /// Runs a tool and returns what it returns.
    ///
    /// Fails with `not_found` when there is none of that name, with `schema` when the arguments do not fit, naming the place,
    /// and with what the tool fails with.
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

    /// Lists the tools that are registered, those that are built in first.
    ///
    /// ```luau
    /// for _, tool in tools.list() do
    ///     print(tool.name .. ": " .. tool.description)
    /// end
    /// ```
    pub fn list(cx: &Context) -> Result<Vec<ToolInfo>> {
        Ok(cx.state::<Registry>().list()?.iter().map(ToolInfo::of).collect())
    }

    /// Says what a tool does and what it takes.
    ///
    /// Fails with `not_found` when there is none of that name.
    ///
    /// ```luau
    /// local tool = tools.get("read_file")
    /// assert(tool.parameters.properties.path.type == "string")
    /// assert(tool.origin == "built_in")
    /// ```
    pub fn get(cx: &Context, name: String) -> Result<ToolInfo> {
        Ok(ToolInfo::of(&cx.state::<Registry>().find(cx, &name)?))
    }

    /// Says whether arguments fit a tool, without running it.
    ///
    /// Fails with `schema` when they do not, naming the place.
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

    /// Takes a tool out; its name is free again.
    ///
    /// Fails with `not_found` when none of that name is registered.
    ///
    /// ```luau
    /// assert(not tools.remove("web_fetch"))
    /// assert(tools.remove("web_fetch").kind == "not_found")
    /// ```
    pub fn remove(cx: &Context, name: String) -> Result<()> {
        cx.state::<Registry>().remove(&name)
    }
}

/// Runs a tool with what a script gives it.
async fn call(cx: &Context, tool: &Tool, args: Option<Value>) -> Result<Value> {
    let arguments = arguments(tool, args)?;
    // As another task: its effects are numbered apart, whatever it is.
    tool.call(&cx.spawn(), arguments).await
}

fn arguments(tool: &Tool, args: Option<Value>) -> Result<Json> {
    from_value(args.unwrap_or_default())
        .map_err(|error: Error| error.prefixed(format_args!("tool `{}`: ", tool.name())))
}

/// A schema as a script writes it.
pub(crate) fn schema(written: Option<Value>) -> Result<Schema> {
    let json = match written {
        // A tool that takes nothing; a script's empty table may be a list.
        None | Some(Value::Nil) => Json::Object(serde_json::Map::new()),
        Some(Value::List(items)) if items.is_empty() => Json::Object(serde_json::Map::new()),
        Some(written) => from_value(written)?,
    };
    Schema::read(&json)
}

/// Has a function of the script do the work of a tool.
fn callback(run: llmspell_core::Callback) -> impl Fn(Context, Json) -> Running + Send + Sync + 'static {
    move |cx, arguments| {
        let run = run.clone();
        Box::pin(async move { run.call_within(cx, vec![to_value(&arguments)?]).await })
    }
}

type Running = futures_util::future::LocalBoxFuture<'static, Result<Value>>;
