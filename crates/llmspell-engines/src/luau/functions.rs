//! Host methods as Luau functions.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, Waker};

use futures_util::future::LocalBoxFuture;
use llmspell_core::bridge::{Arguments, Handler, Method};
use llmspell_core::{Error, Result, Value};
use mlua::{Function, Lua, MultiValue, Value as LuaValue};

use super::errors::{failure, is_raised, raise, to_lua_error};
use super::host::{Host, pending};
use super::values::{from_lua, to_lua};

/// The function for a method. The first `bound` arguments are not counted in errors: an object before the colon.
pub(super) fn function(host: &Rc<Host>, lua: &Lua, method: &Method, bound: usize) -> mlua::Result<Function> {
    let reader = Reader {
        host: Rc::clone(host),
        params: method.params.iter().map(|param| param.name).collect(),
        bound,
    };
    match &method.handler {
        Handler::Sync(call) if method.returns.is_some() => {
            let call = Arc::clone(call);
            lua.create_function(move |lua, arguments: MultiValue| {
                let result =
                    reader.read(lua, arguments).and_then(|arguments| call(&reader.host.cx, arguments));
                let (value, failure) = settle(&reader.host, lua, result)?;
                // An `Err` of this kind is pushed as nil and the failure.
                Ok(if failure.is_nil() { Ok(value) } else { Err(failure) })
            })
        }
        Handler::Sync(call) => {
            let call = Arc::clone(call);
            lua.create_function(move |lua, arguments: MultiValue| {
                let result =
                    reader.read(lua, arguments).and_then(|arguments| call(&reader.host.cx, arguments));
                let (_, failure) = settle(&reader.host, lua, result)?;
                Ok(if failure.is_nil() { MultiValue::new() } else { MultiValue::from_iter([failure]) })
            })
        }
        Handler::Async(call) => {
            let call = Arc::clone(call);
            let start = lua.create_function(move |lua, arguments: MultiValue| {
                let host = &reader.host;
                match reader.read(lua, arguments) {
                    Ok(arguments) => host.waiting.start(host, lua, call(host.cx.clone(), arguments)),
                    Err(error) => settle(host, lua, Err(error)),
                }
            })?;
            let kit = host.kit().map_err(to_lua_error)?;
            let wrap = if method.returns.is_some() { &kit.waiting } else { &kit.waiting_for_nothing };
            wrap.call(start)
        }
    }
}

struct Reader {
    host: Rc<Host>,
    params: Box<[&'static str]>,
    bound: usize,
}

impl Reader {
    fn read(&self, lua: &Lua, arguments: MultiValue) -> Result<Arguments> {
        self.host.memory.note(lua, self.host.cx.meter())?;
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
            Some(name) => format!("argument {number} (`{name}`)"),
            None => format!("argument {number}"),
        }
    }
}

/// A result as the two values that the prelude's functions return: the value, or nil and an `err`.
///
/// # Errors
/// When the error is one that is raised.
fn settle(host: &Rc<Host>, lua: &Lua, result: Result<Value>) -> mlua::Result<(LuaValue, LuaValue)> {
    match result.and_then(|value| to_lua(host, lua, value)) {
        Ok(value) => Ok((value, LuaValue::Nil)),
        Err(error) if is_raised(&error) => Err(raise(host, lua, error)),
        Err(error) => match failure(host, lua, &error) {
            Ok(failure) => Ok((LuaValue::Nil, LuaValue::Table(failure))),
            Err(error) => Err(raise(host, lua, error)),
        },
    }
}

/// The host calls that scripts wait for.
pub(super) struct Waiting {
    calls: RefCell<HashMap<u64, LocalBoxFuture<'static, Result<Value>>>>,
    next: Cell<u64>,
    /// Wakes the task at work.
    waker: RefCell<Waker>,
}

impl Default for Waiting {
    fn default() -> Self {
        Self { calls: RefCell::default(), next: Cell::new(0), waker: RefCell::new(Waker::noop().clone()) }
    }
}

impl Waiting {
    /// Says which task is at work.
    pub(super) fn set_waker(&self, waker: &Waker) {
        let mut known = self.waker.borrow_mut();
        if !known.will_wake(waker) {
            known.clone_from(waker);
        }
    }

    /// Drops all calls: nobody waits for them any more.
    pub(super) fn clear(&self) {
        let calls = std::mem::take(&mut *self.calls.borrow_mut());
        drop(calls);
        *self.waker.borrow_mut() = Waker::noop().clone();
    }

    /// Looks once whether a new call is done; if not, answers with the mark and the number to ask by.
    fn start(
        &self,
        host: &Rc<Host>,
        lua: &Lua,
        mut call: LocalBoxFuture<'static, Result<Value>>,
    ) -> mlua::Result<(LuaValue, LuaValue)> {
        if let Poll::Ready(result) = self.look(&mut call) {
            return settle(host, lua, result);
        }
        let number = self.next.get();
        self.next.set(number + 1);
        self.calls.borrow_mut().insert(number, call);
        Ok((LuaValue::LightUserData(pending()), LuaValue::Number(number as f64)))
    }

    /// Looks again.
    pub(super) fn poll(&self, host: &Rc<Host>, lua: &Lua, number: u64) -> mlua::Result<(LuaValue, LuaValue)> {
        let call = self.calls.borrow_mut().remove(&number);
        let Some(mut call) = call else {
            return Err(raise(host, lua, Error::internal("a script waits for a call that is gone")));
        };
        match self.look(&mut call) {
            Poll::Ready(result) => settle(host, lua, result),
            Poll::Pending => {
                self.calls.borrow_mut().insert(number, call);
                Ok((LuaValue::LightUserData(pending()), LuaValue::Number(number as f64)))
            }
        }
    }

    fn look(&self, call: &mut LocalBoxFuture<'static, Result<Value>>) -> Poll<Result<Value>> {
        let waker = self.waker.borrow().clone();
        call.as_mut().poll(&mut TaskContext::from_waker(&waker))
    }
}
