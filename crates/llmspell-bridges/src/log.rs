//! The `log` bridge: structured logging.

use llmspell_core::bridge::Rest;
use llmspell_core::{Context, Error, LogLevel, Map, Result, Value};
use llmspell_macros::bridge;

/// Writes structured log lines, separate from the spell's output.
///
/// Log lines go to stderr and into the run's outcome, with the spell's name and the run's id.
#[bridge]
#[since("0.1")]
pub mod log {
    use llmspell_core::bridge::Rest;
    use llmspell_core::{Context, LogLevel, Result};

    /// Logs a line for debugging.
    ///
    /// `fields` are a table, or alternating names and values.
    ///
    /// ```luau
    /// log.debug("asked", {model = "mock", attempt = 1})
    /// log.debug("asked", "model", "mock", "attempt", 1)
    /// ```
    pub fn debug(cx: &Context, message: String, fields: Rest) -> Result<()> {
        super::write(cx, LogLevel::Debug, message, fields)
    }

    /// Logs an informational line.
    ///
    /// `fields` are a table, or alternating names and values.
    ///
    /// ```luau
    /// log.info("started")
    /// log.info("read the page", {bytes = 1024})
    /// ```
    pub fn info(cx: &Context, message: String, fields: Rest) -> Result<()> {
        super::write(cx, LogLevel::Info, message, fields)
    }

    /// Logs a warning.
    ///
    /// `fields` are a table, or alternating names and values.
    ///
    /// ```luau
    /// log.warn("the page is empty", "url", "https://example.com")
    /// ```
    pub fn warn(cx: &Context, message: String, fields: Rest) -> Result<()> {
        super::write(cx, LogLevel::Warn, message, fields)
    }

    /// Logs an error. The spell goes on.
    ///
    /// `fields` are a table, or alternating names and values.
    ///
    /// ```luau
    /// local value, err = json.decode("{")
    /// if err then
    ///     log.error("cannot read the settings", {reason = err.message})
    /// end
    /// ```
    pub fn error(cx: &Context, message: String, fields: Rest) -> Result<()> {
        super::write(cx, LogLevel::Error, message, fields)
    }
}

fn write(cx: &Context, level: LogLevel, message: String, fields: Rest) -> Result<()> {
    cx.log(level, message, named(fields.0)?)
}

/// Reads the fields of a log line: one table, or alternating names and values.
fn named(fields: Vec<Value>) -> Result<Map> {
    let mut fields = fields.into_iter();
    let mut map = Map::new();
    let mut argument = 2;
    while let Some(name) = fields.next() {
        match name {
            Value::Map(entries) if argument == 2 && fields.len() == 0 => {
                map = entries.into_iter().map(|(name, value)| (name, loggable(value))).collect();
            }
            Value::Nil if fields.len() == 0 => {}
            Value::List(items) if items.is_empty() && fields.len() == 0 => {}
            Value::Str(name) => {
                map.insert(name, loggable(fields.next().unwrap_or_default()));
            }
            other => {
                let expected =
                    if argument == 2 { "table or the name of a field" } else { "the name of a field" };
                return Err(Error::argument(format!(
                    "argument {argument} (`fields`): expected {expected}, found {}",
                    other.type_name()
                )));
            }
        }
        argument += 2;
    }
    Ok(map)
}

/// Replaces values that are not plain data by a description, so that logging them does not fail.
fn loggable(value: Value) -> Value {
    match value {
        Value::List(items) => items.into_iter().map(loggable).collect::<Vec<_>>().into(),
        Value::Map(entries) => {
            entries.into_iter().map(|(name, value)| (name, loggable(value))).collect::<Map>().into()
        }
        Value::Bytes(bytes) => format!("<{} bytes>", bytes.len()).into(),
        Value::Num(number) if !number.is_finite() => number.to_string().into(),
        Value::Callback(_) | Value::Object(_) => format!("<{}>", value.type_name()).into(),
        plain => plain,
    }
}
