//! Converts errors between the host and Luau scripts.
//!
//! A host [`Error`] reaches a script as an `err` table, or as a raised value. The VM keeps the host error behind it. So
//! an `err` that a script raises again is that same error, with its kind and the facts of its call. Errors that a
//! script raises get a position and a traceback, without the prelude's frames. An error that ends the run (a limit or a
//! cancellation) cannot be caught: [`caught`] raises it again.

use std::fmt;
use std::rc::Rc;

use llmspell_core::{Error, ErrorKind, Limit, MAX_MESSAGE, Result, SourceLocation, StackFrame, Value};
use mlua::{AnyUserData, Lua, LuaString, Table, Value as LuaValue};

use super::vm_state::LuauVmState;
use super::{sandbox, values};

/// Luau's message for an allocation that the memory limit refused.
const OUT_OF_MEMORY: &str = "not enough memory";
/// The maximum number of frames in a traceback.
const MAX_FRAMES: usize = 32;
/// The maximum number of stack levels that are searched for frames.
const MAX_LEVELS: usize = 256;

/// Wraps an error so that it can be raised in the VM.
pub(super) fn to_lua_error(error: Error) -> mlua::Error {
    mlua::Error::external(error)
}

/// Converts an error that came out of the VM.
pub(super) fn from_lua_error(host: &LuauVmState, error: &mlua::Error) -> Error {
    if let Some(error) = raised_failure(error) {
        return error.clone();
    }
    match error {
        mlua::Error::CallbackError { cause, .. } | mlua::Error::WithContext { cause, .. } => {
            from_lua_error(host, cause)
        }
        mlua::Error::ExternalError(cause) => match cause.downcast_ref::<Error>() {
            Some(error) => error.clone(),
            None => Error::runtime(cause.to_string()),
        },
        mlua::Error::MemoryError(_) => host.run().cx.meter().trip(Limit::Memory),
        mlua::Error::RuntimeError(message) => from_text(host, message),
        other => Error::runtime(other.to_string()),
    }
}

/// Prepares an error that a host function raises: adds the script's position, and ends the run if the error is final.
pub(super) fn raise(host: &LuauVmState, lua: &Lua, error: Error) -> mlua::Error {
    let error = if error.is_final() { host.end(lua, error) } else { locate(lua, error) };
    to_lua_error(error)
}

/// The failure of a host function, raised because the call site does not take it. What catches it gets an `err` table;
/// it gets a text for any other error that the host raises.
#[derive(Debug)]
struct RaisedFailure(Error);

impl fmt::Display for RaisedFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for RaisedFailure {}

/// Prepares the failure of a host function to be raised.
pub(super) fn raise_failure(lua: &Lua, error: Error) -> mlua::Error {
    mlua::Error::external(RaisedFailure(locate(lua, error)))
}

/// Returns the failure that [`raise_failure`] prepared.
fn raised_failure(error: &mlua::Error) -> Option<&Error> {
    match error {
        mlua::Error::CallbackError { cause, .. } => raised_failure(cause),
        mlua::Error::ExternalError(cause) => cause.downcast_ref().map(|RaisedFailure(error)| error),
        _ => None,
    }
}

/// Adds the running script's position and traceback, unless the error has them already.
pub(super) fn locate(lua: &Lua, error: Error) -> Error {
    let frames = frames(lua);
    let error = match frames.first() {
        Some(frame) => error.at(frame.place.clone()),
        None => error,
    };
    if error.traceback().is_empty() { error.with_traceback(frames) } else { error }
}

/// Returns the stack of the running script, innermost frame first. Native functions and the prelude are left out.
pub(super) fn frames(lua: &Lua) -> Vec<StackFrame> {
    let own = |level| {
        lua.inspect_stack(level, |debug| {
            let source = debug.source();
            let file = source.source.as_deref()?.strip_prefix('=')?;
            if source.what == "C" || file == sandbox::PRELUDE {
                return None;
            }
            let line = u32::try_from(debug.current_line()?).ok()?;
            let function = debug.names().name.filter(|name| !name.is_empty()).map(|name| name.into_owned());
            Some(StackFrame { place: SourceLocation { file: file.to_owned(), line, column: None }, function })
        })
    };
    (0..MAX_LEVELS).map_while(own).flatten().take(MAX_FRAMES).collect()
}

/// Converts a raised value to the one that `pcall` and similar functions hand to the script.
///
/// # Errors
/// When the script may not catch the error, because it ends the run.
pub(super) fn caught(host: &Rc<LuauVmState>, lua: &Lua, value: LuaValue) -> mlua::Result<LuaValue> {
    if is_out_of_memory(&value) {
        let error = host.run().cx.meter().trip(Limit::Memory);
        return Err(raise(host, lua, error));
    }
    host.state().map_err(to_lua_error)?;
    match value {
        LuaValue::Error(error) => {
            if let Some(error) = raised_failure(&error) {
                let failure = failure(host, lua, error).map_err(|error| raise(host, lua, error))?;
                return Ok(LuaValue::Table(failure));
            }
            let error = from_lua_error(host, &error);
            if error.is_final() {
                return Err(raise(host, lua, error));
            }
            let text = match error.place() {
                Some(place) => format!("{}:{}: {}", place.file, place.line, error.message()),
                None => error.message().to_owned(),
            };
            lua.create_string(text).map(LuaValue::String)
        }
        LuaValue::String(text) if text.as_bytes().starts_with(sandbox::PRELUDE.as_bytes()) => {
            match without_prelude(&text.to_string_lossy()) {
                Some(rest) => lua.create_string(rest).map(LuaValue::String),
                None => Ok(LuaValue::String(text)),
            }
        }
        other => Ok(other),
    }
}

fn is_out_of_memory(value: &LuaValue) -> bool {
    match value {
        LuaValue::String(text) => *text == OUT_OF_MEMORY,
        LuaValue::Error(error) => matches!(**error, mlua::Error::MemoryError(_)),
        _ => false,
    }
}

/// Returns the error behind a raised value. It must be called before the stack unwinds, so that the error gets the
/// position and traceback. `shown` is the result of `tostring` for a table.
pub(super) fn raised(host: &Rc<LuauVmState>, lua: &Lua, value: LuaValue, shown: Option<&str>) -> Error {
    if is_out_of_memory(&value) {
        let error = host.run().cx.meter().trip(Limit::Memory);
        return host.end(lua, error);
    }
    let error = match value {
        LuaValue::Error(error) => from_lua_error(host, &error),
        LuaValue::String(text) => from_text(host, &beginning(&text)),
        LuaValue::Table(table) => from_table(host, lua, &table, shown),
        other => {
            let text = shown.map_or_else(
                || other.to_string().unwrap_or_else(|_| other.type_name().to_owned()),
                str::to_owned,
            );
            with_value(host, lua, Error::runtime(text), other)
        }
    };
    if error.is_final() { host.end(lua, error) } else { locate(lua, error) }
}

fn from_text(host: &LuauVmState, text: &str) -> Error {
    if text == OUT_OF_MEMORY {
        return host.run().cx.meter().trip(Limit::Memory);
    }
    let text = without_prelude(text).unwrap_or(text);
    match split_place(host, text) {
        Some((place, message)) => Error::runtime(message).at(place),
        None => Error::runtime(text),
    }
}

/// Converts a table that a script raised. An `err` becomes the host error that it came from; any other table becomes a
/// runtime error that carries the table as its value.
fn from_table(host: &Rc<LuauVmState>, lua: &Lua, table: &Table, shown: Option<&str>) -> Error {
    let message =
        table.raw_get::<LuaValue>("message").ok().and_then(|message| message.as_string().map(beginning));
    if let Some(cause) = cause(host, table) {
        return match message {
            Some(message) if message != cause.message() => renamed(&cause, message),
            _ => cause,
        };
    }
    let text = message
        .or_else(|| shown.filter(|text| !text.starts_with("table: ")).map(str::to_owned))
        .unwrap_or_else(|| "the script raised a table".to_owned());
    with_value(host, lua, Error::runtime(text), LuaValue::Table(table.clone()))
}

fn with_value(host: &Rc<LuauVmState>, lua: &Lua, error: Error, value: LuaValue) -> Error {
    match values::from_lua(host, lua, value, &mut 0, || "the error".to_owned()) {
        Ok(Value::Nil) | Err(_) => error,
        Ok(value) => error.with_value(value),
    }
}

/// Returns the host error with the message that the script gave its `err` table.
fn renamed(cause: &Error, message: String) -> Error {
    let mut error = Error::new(cause.kind(), message).with_retryable(cause.is_retryable());
    if let Some(call) = cause.call() {
        error = error.with_call(call.clone());
    }
    if let Some(output) = cause.output() {
        error = error.with_output(output.clone());
    }
    cause.hints().iter().fold(error, Error::hint)
}

/// Returns the host error of an `err` table.
fn cause(host: &LuauVmState, table: &Table) -> Option<Error> {
    let cause: AnyUserData = host.prelude_refs().ok()?.causes.raw_get(table).ok()?;
    cause.borrow::<Error>().ok().map(|error| error.clone())
}

/// Removes the position of the prelude that Luau puts before a built-in's message when the prelude called the built-in.
fn without_prelude(text: &str) -> Option<&str> {
    let rest = text.strip_prefix(sandbox::PRELUDE)?.strip_prefix(':')?;
    let digits = rest.find(|c: char| !c.is_ascii_digit())?;
    rest[digits..].strip_prefix(": ")
}

/// Returns the first `2 * MAX_MESSAGE` bytes of a text. That is more than an error keeps, so a position before the
/// message fits and the error still shows that the message was cut.
pub(super) fn beginning(text: &LuaString) -> String {
    let bytes = text.as_bytes();
    String::from_utf8_lossy(&bytes[..bytes.len().min(2 * MAX_MESSAGE)]).into_owned()
}

/// Splits `file:3: ` off a message, if the file is a loaded one.
fn split_place<'a>(host: &LuauVmState, text: &'a str) -> Option<(SourceLocation, &'a str)> {
    host.run().sources.borrow().names().find_map(|file| {
        let rest = text.strip_prefix(file.as_str())?.strip_prefix(':')?;
        let (line, message) = rest.split_once(": ")?;
        let place = SourceLocation { file: file.clone(), line: line.parse().ok()?, column: None };
        Some((place, message))
    })
}

/// Creates the `err` table of an error: its fields, and a metatable that makes it behave like its message.
pub(super) fn failure(host: &Rc<LuauVmState>, lua: &Lua, error: &Error) -> Result<Table> {
    let build = |error: &Error| -> mlua::Result<Table> {
        let table = lua.create_table()?;
        table.raw_set("kind", error.kind().as_str())?;
        table.raw_set("message", error.message())?;
        table.raw_set("retryable", error.is_retryable())?;
        if !error.hints().is_empty() {
            table.raw_set("hint", error.hints().join("\n"))?;
        }
        if let Some(call) = error.call() {
            table.raw_set("provider", call.provider.as_deref())?;
            table.raw_set("status", call.status)?;
            table.raw_set("request_id", call.request_id.as_deref())?;
            table.raw_set("attempts", call.attempts)?;
            table.raw_set("retry_after", call.retry_after)?;
            table.raw_set("limit_tokens", call.limit_tokens)?;
            table.raw_set("prompt_tokens", call.prompt_tokens)?;
            table.raw_set("body", call.body.as_deref())?;
            table.raw_set("partial", call.partial.as_deref())?;
        }
        if let Some(output) = error.output() {
            table.raw_set("path", output.path.as_str())?;
            table.raw_set("expected", output.expected.as_str())?;
            table.raw_set("got", output.got.as_str())?;
            table.raw_set("raw", output.raw.as_str())?;
        }
        Ok(table)
    };
    let keep = |table: &Table| -> mlua::Result<()> {
        let prelude_refs = host.prelude_refs().map_err(to_lua_error)?;
        prelude_refs.causes.raw_set(table, lua.create_any_userdata(error.clone())?)?;
        table.set_metatable(Some(prelude_refs.failure.clone()))
    };
    let table = build(error).map_err(|error| from_lua_error(host, &error))?;
    if let Some(usage) = error.call().and_then(|call| call.usage.as_ref()) {
        let usage = values::to_lua(host, lua, llmspell_core::to_value(usage)?)?;
        table.raw_set("usage", usage).map_err(|error| from_lua_error(host, &error))?;
    }
    keep(&table).map_err(|error| from_lua_error(host, &error))?;
    Ok(table)
}

/// Returns whether a host function raises this error in place of returning it.
pub(super) fn is_raised(error: &Error) -> bool {
    error.is_final() || matches!(error.kind(), ErrorKind::Argument | ErrorKind::Assertion | ErrorKind::Replay)
}
