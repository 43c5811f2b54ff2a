//! Host methods as Luau functions.
//!
//! A method that fails returns `nil, err` (or only `err` when it has no return value) where the call site takes the
//! error, and raises it everywhere else; see [`failures`](super::failures). A wrong argument, a failed assertion, a
//! replay mismatch and the end of the run are always raised; see [`is_raised`].
//!
//! An async method cannot wait in Rust, because its caller is a coroutine. [`start`] polls its future once. If that is
//! pending, the scope keeps it and the function returns the mark with the call's number. The prelude's `wait` then
//! yields, and calls [`poll`] with the number each time the task is resumed.

use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use futures_util::future::LocalBoxFuture;
use llmspell_core::bridge::{Arguments, AsyncFn, Handler, Method, Param};
use llmspell_core::{Context, Error, Result, Value};
use mlua::{Function, Lua, MultiValue, Value as LuaValue};

use super::call_sites::FailureResults;
use super::errors::{failure, is_raised, locate, raise, raise_failure, to_lua_error};
use super::failures::{self, FailingFunction, FailureRoute};
use super::scope::HostCall;
use super::values::{from_lua, to_lua};
use super::vm_state::{LuauVmState, pending};

/// Creates the function for a method. Errors do not count the first `bound` arguments: the object before the colon of a
/// method call.
pub(super) fn function(
    host: &Rc<LuauVmState>,
    lua: &Lua,
    method: &Method,
    bound: usize,
) -> mlua::Result<Function> {
    let reader = LuauArgumentReader { host: Rc::clone(host), params: Arc::clone(&method.params), bound };
    let results = if method.returns.is_some() { FailureResults::NilAndError } else { FailureResults::Error };
    let function = Some(FailingFunction { name: method.name.clone(), results });
    match &method.handler {
        Handler::Sync(call) if method.returns.is_some() => {
            let call = Arc::clone(call);
            lua.create_function(move |lua, arguments: MultiValue| {
                let result = reader
                    .read(lua, arguments)
                    .and_then(|arguments| call(&reader.host.scope().cx, arguments));
                let (value, failure) = settle(&reader.host, lua, function.as_ref(), result)?;
                // mlua returns an inner `Err` to the script as nil and the error value.
                Ok(if failure.is_nil() { Ok(value) } else { Err(failure) })
            })
        }
        Handler::Sync(call) => {
            let call = Arc::clone(call);
            lua.create_function(move |lua, arguments: MultiValue| {
                let result = reader
                    .read(lua, arguments)
                    .and_then(|arguments| call(&reader.host.scope().cx, arguments));
                let (_, failure) = settle(&reader.host, lua, function.as_ref(), result)?;
                Ok(if failure.is_nil() { MultiValue::new() } else { MultiValue::from_iter([failure]) })
            })
        }
        Handler::Async(call) => {
            let begin = beginning(lua, reader, function, Arc::clone(call))?;
            let prelude_refs = host.prelude_refs().map_err(to_lua_error)?;
            let wrap = if method.returns.is_some() {
                &prelude_refs.waiting
            } else {
                &prelude_refs.waiting_for_nothing
            };
            wrap.call(begin)
        }
    }
}

/// Creates the function that a `for` loop over objects of a class calls for the next item. Its argument is the object.
pub(super) fn step(host: &Rc<LuauVmState>, lua: &Lua, next: &Method) -> mlua::Result<Function> {
    let Handler::Async(call) = &next.handler else { return function(host, lua, next, 1) };
    let reader = LuauArgumentReader { host: Rc::clone(host), params: Arc::default(), bound: 1 };
    // A loop cannot receive an error, so all failures are raised.
    let begin = beginning(lua, reader, None, Arc::clone(call))?;
    host.prelude_refs().map_err(to_lua_error)?.stepping.call(begin)
}

/// Creates the function that starts a call of an async method. The prelude wraps it in one that waits.
fn beginning(
    lua: &Lua,
    reader: LuauArgumentReader,
    function: Option<FailingFunction>,
    call: AsyncFn,
) -> mlua::Result<Function> {
    lua.create_function(move |lua, arguments: MultiValue| {
        let host = &reader.host;
        match reader.read(lua, arguments) {
            Ok(arguments) => start(host, lua, function.as_ref(), |cx| call(cx, arguments)),
            Err(error) => settle(host, lua, function.as_ref(), Err(error)),
        }
    })
}

/// Reads the arguments of a script's call.
struct LuauArgumentReader {
    host: Rc<LuauVmState>,
    params: Arc<Vec<Param>>,
    /// How many arguments come before the first parameter: 1 for a method of an object.
    bound: usize,
}

impl LuauArgumentReader {
    fn read(&self, lua: &Lua, arguments: MultiValue) -> Result<Arguments> {
        let run = self.host.run();
        run.memory.note(lua, run.cx.meter())?;
        let mut values = Vec::with_capacity(arguments.len());
        let mut bytes = 0;
        for (at, argument) in arguments.into_iter().enumerate() {
            values.push(from_lua(&self.host, lua, argument, &mut bytes, || self.name(at))?);
        }
        Ok(Arguments::new(values))
    }

    fn name(&self, at: usize) -> String {
        let Some(number) = (at + 1).checked_sub(self.bound).filter(|number| *number > 0) else {
            return "the object before the colon".to_owned();
        };
        match self.params.get(number - 1) {
            Some(param) => format!("argument {number} (`{}`)", param.name),
            None => format!("argument {number}"),
        }
    }
}

/// Converts a result to the two values that the prelude's functions return: the value, or nil and an `err`.
///
/// # Errors
/// When the call site does not take the error, or the error is one that is [always raised](is_raised).
fn settle(
    host: &Rc<LuauVmState>,
    lua: &Lua,
    function: Option<&FailingFunction>,
    result: Result<Value>,
) -> mlua::Result<(LuaValue, LuaValue)> {
    let error = match result.and_then(|value| to_lua(host, lua, value)) {
        Ok(value) => return Ok((value, LuaValue::Nil)),
        Err(error) => error,
    };
    if is_raised(&error) {
        return Err(raise(host, lua, error));
    }
    let route = function.map_or(FailureRoute::Raised(None), |it| failures::route(host, lua, it, &error));
    let error = match route {
        FailureRoute::Returned => error,
        FailureRoute::Boundary => locate(lua, error),
        FailureRoute::Raised(hint) => {
            let error = hint.into_iter().fold(error, Error::hint);
            return Err(raise_failure(lua, error));
        }
    };
    match failure(host, lua, &error) {
        Ok(failure) => Ok((LuaValue::Nil, LuaValue::Table(failure))),
        Err(error) => Err(raise(host, lua, error)),
    }
}

/// Starts a host call in the running task's scope. Returns its result, or the mark and the number for [`poll`] if it is
/// pending. The failures of a call without `function` are always raised.
pub(super) fn start(
    host: &Rc<LuauVmState>,
    lua: &Lua,
    function: Option<&FailingFunction>,
    call: impl FnOnce(Context) -> LocalBoxFuture<'static, Result<Value>>,
) -> mlua::Result<(LuaValue, LuaValue)> {
    let scope = host.scope();
    let future = call(scope.cx.clone());
    match scope.start(HostCall { future, function: function.cloned() }) {
        Ok(result) => settle(host, lua, function, result),
        Err(number) => Ok(waiting(number)),
    }
}

/// Polls a host call again. Returns its result, or the mark and the number if it is still pending.
pub(super) fn poll(host: &Rc<LuauVmState>, lua: &Lua, number: u64) -> mlua::Result<(LuaValue, LuaValue)> {
    match host.scope().poll(number) {
        Some((function, Poll::Ready(result))) => settle(host, lua, function.as_ref(), result),
        Some((_, Poll::Pending)) => Ok(waiting(number)),
        None => {
            let message = "the call that this coroutine waits for ended with the task that made it";
            Err(raise(host, lua, Error::runtime(message)))
        }
    }
}

fn waiting(number: u64) -> (LuaValue, LuaValue) {
    (LuaValue::LightUserData(pending()), LuaValue::Number(number as f64))
}
