//! Tools: functions that a model or a script can call, described by a JSON Schema.
//!
//! A call has three steps. [`Tool::check`] fills in defaults and validates the arguments; the user approves the call if
//! the tool requires it (`approval.rs`); then the function runs, within the tool's timeout. `result.rs` formats the
//! result for the model.

mod approval;
mod result;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::LocalBoxFuture;
use llmspell_core::chat::ToolSpec;
use llmspell_core::{Context, Error, ErrorKind, Result, Value};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value as Json;

pub use self::result::{cut_result, escaped};
pub(crate) use self::result::{named, text_of};
use crate::schema::Schema;
use crate::tool_arguments;

/// The maximum length of a name that all providers accept.
const LONGEST_NAME: usize = 64;

/// The maximum length in bytes of malformed arguments that an error repeats. The model sees its text there only.
const MOST_SHOWN: usize = 2_000;

/// Where a tool comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ToolKind {
    /// Built into this program.
    BuiltIn,
    /// A method of a bridge.
    Bridge,
    /// A function of the spell.
    Function,
    /// Another agent.
    Agent,
}

/// The function of a tool. Its arguments are valid.
type ToolFunction = Arc<dyn Fn(Context, Json) -> LocalBoxFuture<'static, Result<Value>> + Send + Sync>;

/// A function that a model can call. Cheap to clone.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// use llmspell_core::{Context, Value};
/// use llmspell_llm::{Schema, Tool};
/// use serde_json::json;
///
/// let takes = Schema::read(&json!({"text": "string"}))?;
/// let shout = Tool::new("shout", "Says it louder.", takes, |_cx, arguments| async move {
///     Ok(Value::from(arguments["text"].as_str().unwrap_or_default().to_uppercase()))
/// })?;
/// let cx = Context::builder().build();
/// assert_eq!(shout.call(&cx, json!({"text": "hi"})).await?, Value::from("HI"));
///
/// let error = shout.call(&cx, json!({"text": 1})).await.unwrap_err();
/// assert_eq!(error.message(), "tool `shout`: $.text: expected string, got integer 1");
/// # Ok::<(), llmspell_core::Error>(()) })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Tool(Arc<ToolInner>);

#[derive(Clone)]
struct ToolInner {
    name: String,
    description: String,
    parameters: Schema,
    kind: ToolKind,
    confirm: bool,
    timeout: Option<Duration>,
    run: ToolFunction,
}

impl Tool {
    /// Creates a tool from a function.
    ///
    /// # Errors
    /// When a provider would reject the name.
    pub fn new<F>(
        name: impl Into<String>,
        description: impl Into<String>,
        parameters: Schema,
        run: impl Fn(Context, Json) -> F + Send + Sync + 'static,
    ) -> Result<Self>
    where
        F: Future<Output = Result<Value>> + 'static,
    {
        let name = name.into();
        check_name("a tool", &name)?;
        Ok(Self(Arc::new(ToolInner {
            name,
            description: description.into(),
            parameters,
            kind: ToolKind::Function,
            confirm: false,
            timeout: None,
            run: Arc::new(move |cx, arguments| Box::pin(run(cx, arguments))),
        })))
    }

    /// Sets where the tool comes from.
    #[must_use]
    pub fn kind(self, kind: ToolKind) -> Self {
        self.with(|inner| inner.kind = kind)
    }

    /// Sets whether the user must approve each call.
    #[must_use]
    pub fn confirm(self, confirm: bool) -> Self {
        self.with(|inner| inner.confirm = confirm)
    }

    /// Sets the maximum duration of a call. Default: none.
    #[must_use]
    pub fn timeout(self, timeout: Option<Duration>) -> Self {
        self.with(|inner| inner.timeout = timeout)
    }

    fn with(self, change: impl FnOnce(&mut ToolInner)) -> Self {
        let mut inner = Arc::unwrap_or_clone(self.0);
        change(&mut inner);
        Self(Arc::new(inner))
    }

    /// Returns the tool's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Returns the description of the tool for the model.
    #[must_use]
    pub fn description(&self) -> &str {
        &self.0.description
    }

    /// Returns the schema of the arguments.
    #[must_use]
    pub fn parameters(&self) -> &Schema {
        &self.0.parameters
    }

    /// Returns where the tool comes from.
    #[must_use]
    pub fn origin(&self) -> ToolKind {
        self.0.kind
    }

    /// Whether the user must approve each call.
    #[must_use]
    pub fn asks(&self) -> bool {
        self.0.confirm
    }

    /// Returns the definition that a model receives.
    #[must_use]
    pub fn spec(&self) -> ToolSpec {
        ToolSpec {
            name: self.0.name.clone(),
            description: self.0.description.clone(),
            parameters: self.0.parameters.json().clone(),
        }
    }

    /// Fills in the defaults of the arguments and validates them.
    ///
    /// # Errors
    /// `schema` when the arguments are invalid; the message has the path, what was expected and what was found.
    pub fn check(&self, arguments: Json) -> Result<Json> {
        let arguments = match arguments {
            // A script passes an empty table as an empty list, and some models pass `null` for no arguments.
            Json::Null => Json::Object(serde_json::Map::new()),
            Json::Array(items) if items.is_empty() => Json::Object(serde_json::Map::new()),
            Json::String(text) => {
                let (name, fault, text) =
                    (&self.0.name, tool_arguments::fault(&text), named(&text, MOST_SHOWN));
                let message = format!("tool `{name}`: the arguments are no JSON object ({fault}): {text}");
                return Err(Error::new(ErrorKind::Schema, message));
            }
            arguments => arguments,
        };
        self.0
            .parameters
            .check(arguments)
            .map_err(|mismatch| Error::new(ErrorKind::Schema, format!("tool `{}`: {mismatch}", self.0.name)))
    }

    /// Validates the arguments, asks the user for approval if the tool requires it, and runs the tool.
    ///
    /// # Errors
    /// When the arguments are invalid, the user rejects the call, the timeout passes, or the function fails.
    pub async fn call(&self, cx: &Context, arguments: Json) -> Result<Value> {
        let arguments = self.check(arguments)?;
        self.approve(cx, &arguments).await?;
        self.run(cx, arguments).await
    }

    /// Runs the tool with validated arguments.
    pub(crate) async fn run(&self, cx: &Context, arguments: Json) -> Result<Value> {
        let running = (self.0.run)(cx.clone(), arguments);
        let Some(timeout) = self.0.timeout else { return running.await };
        let clock = cx.clock();
        tokio::select! {
            biased;
            result = running => result,
            passed = clock.sleep(timeout) => {
                passed?;
                let (name, seconds) = (&self.0.name, timeout.as_secs_f64());
                let message = format!("tool `{name}`: it took longer than its limit of {seconds} s");
                Err(Error::new(ErrorKind::Timeout, message).with_retryable(true))
            }
        }
    }
}

impl fmt::Debug for Tool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tool").field("name", &self.0.name).field("kind", &self.0.kind).finish_non_exhaustive()
    }
}

/// Checks the name of a tool or an agent.
///
/// # Errors
/// When a provider would reject it.
pub(crate) fn check_name(what: &str, name: &str) -> Result<()> {
    let fits = |letter: char| letter.is_ascii_alphanumeric() || letter == '_' || letter == '-';
    if !name.is_empty() && name.len() <= LONGEST_NAME && name.chars().all(fits) {
        return Ok(());
    }
    let message = format!("{} is no name for {what}", named(name, 80));
    Err(Error::argument(message)
        .hint(format!("providers take names of 1 to {LONGEST_NAME} letters, digits, `_` and `-`")))
}
