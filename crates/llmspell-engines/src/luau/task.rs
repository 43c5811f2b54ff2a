//! One coroutine of the session at work: the script itself, a callback that the host called, or what a promise runs.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context as TaskContext, Poll};

use llmspell_core::{Error, Result, Value};
use mlua::{Function, Lua, MultiValue, Table, Thread, Value as LuaValue};

use super::errors::{self, from_lua_error, raised};
use super::host::{Host, pending};
use super::scope::Scope;
use super::values::{from_lua, to_lua};
use crate::wake::after_neighbours;

/// A coroutine that is resumed each time it is polled. It yields the mark when it waits, and no values when the
/// interrupt stopped it so that neighbours on the thread may go first. What it returns is what it comes to.
pub(super) struct Task {
    host: Rc<Host>,
    lua: Lua,
    scope: Rc<Scope>,
    thread: Thread,
    /// What it is resumed with at first.
    start: Option<MultiValue>,
    /// It had to let another one go first.
    behind: bool,
}

impl Task {
    /// A task that calls a function, with the failure of a host method as its last argument if there is one; [`result`](Self::result) reads what it came to.
    pub(super) fn call(
        host: &Rc<Host>,
        lua: &Lua,
        scope: Rc<Scope>,
        function: Function,
        owner: Option<Table>,
        arguments: Vec<Value>,
        failure: Option<Error>,
    ) -> Result<Self> {
        let mut start = MultiValue::with_capacity(arguments.len() + 3);
        start.push_back(LuaValue::Function(function));
        start.extend(owner.map(LuaValue::Table));
        for argument in arguments {
            start.push_back(to_lua(host, lua, argument)?);
        }
        if let Some(error) = failure {
            start.push_back(LuaValue::Table(errors::failure(host, lua, &error)?));
        }
        Self::new(host, lua, scope, host.kit()?.guard.clone(), start)
    }

    /// A task that runs what the promises have queued.
    pub(super) fn jobs(host: &Rc<Host>, lua: &Lua) -> Result<Self> {
        let scope = host.begin_scope(host.run().cx.clone());
        Self::new(host, lua, scope, host.kit()?.run_jobs.clone(), MultiValue::new())
    }

    fn new(
        host: &Rc<Host>,
        lua: &Lua,
        scope: Rc<Scope>,
        function: Function,
        start: MultiValue,
    ) -> Result<Self> {
        let thread = lua.create_thread(function).map_err(|error| from_lua_error(host, &error))?;
        Ok(Self { host: Rc::clone(host), lua: lua.clone(), scope, thread, start: Some(start), behind: false })
    }

    /// Takes over a coroutine that has begun, and waits.
    pub(super) fn adopt(host: &Rc<Host>, lua: &Lua, scope: Rc<Scope>, thread: Thread) -> Self {
        Self { host: Rc::clone(host), lua: lua.clone(), scope, thread, start: None, behind: false }
    }

    /// Whether it waits for nothing that the host could bring.
    pub(super) fn waits_for_the_script(&self) -> bool {
        self.scope.waits_for_the_script()
    }

    /// What a [call](Self::call) came to: what its function returned or raised. `what` names the value in errors.
    pub(super) fn result(&self, mut left: MultiValue, what: &str) -> Result<Value> {
        let written = self.host.take_raised();
        self.host.state()?;
        let returned = matches!(left.pop_front(), Some(LuaValue::Boolean(true)));
        let value = left.pop_front().unwrap_or(LuaValue::Nil);
        if returned && (!value.is_nil() || left.front().is_none_or(LuaValue::is_nil)) {
            return from_lua(&self.host, &self.lua, value, &mut 0, || what.to_owned());
        }
        if returned {
            // `nil, err`, as what failed in the host comes back.
            let error = left.pop_front().unwrap_or(LuaValue::Nil);
            return Err(raised(&self.host, &self.lua, error, None));
        }
        // The guard could not write the error down when memory ran out, or the stack did.
        Err(written.unwrap_or_else(|| raised(&self.host, &self.lua, value, None)))
    }

    fn address(&self) -> usize {
        self.thread.to_pointer().addr()
    }

    fn set_behind(&mut self, behind: bool) {
        let count = &self.host.run().behind;
        match (std::mem::replace(&mut self.behind, behind), behind) {
            (false, true) => count.set(count.get() + 1),
            (true, false) => count.set(count.get() - 1),
            _ => {}
        }
    }

    fn resume(&mut self) -> Result<MultiValue> {
        let outer = self.host.enter(Rc::clone(&self.scope));
        let left = self.thread.resume(self.start.take().unwrap_or_default());
        self.host.enter(outer);
        left.map_err(|error| {
            let error = from_lua_error(&self.host, &error);
            self.host.state().err().unwrap_or(error)
        })
    }
}

impl Future for Task {
    type Output = Result<MultiValue>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Self::Output> {
        self.host.state()?;
        self.set_behind(false);
        if self.scope.has_ended() {
            return Poll::Ready(Ok(MultiValue::new()));
        }
        if self.host.run().stopped.get().is_some_and(|stopped| stopped != self.address()) {
            self.set_behind(true);
            return after_neighbours(cx);
        }
        self.scope.work(cx.waker());
        loop {
            let went_on = self.host.run().stopped.take().is_some();
            let values = self.resume()?;
            if !self.thread.is_resumable() || self.scope.has_ended() {
                return Poll::Ready(Ok(values));
            }
            match values.front() {
                None => {
                    // Stopped for good, it is not resumed.
                    self.host.state()?;
                    self.host.run().stopped.set(Some(self.address()));
                    return after_neighbours(cx);
                }
                Some(LuaValue::LightUserData(mark)) if *mark == pending() => {
                    // Stopped between its look at the call and its wait, it may have missed the call's waking.
                    if !went_on {
                        self.scope.park();
                        return Poll::Pending;
                    }
                }
                Some(_) => return Poll::Ready(Err(Error::internal("a task yielded what is no mark"))),
            }
        }
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.set_behind(false);
        if self.host.run().stopped.get() == Some(self.address()) {
            self.host.run().stopped.set(None);
        }
        self.scope.drop_calls();
    }
}
