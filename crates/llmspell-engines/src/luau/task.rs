//! A task: one coroutine of the session, run as a future.
//!
//! The coroutine belongs to the script itself, to a callback that the host called, or to a promise. It yields for two
//! reasons only. To wait, it yields the mark ([`pending`]) and is resumed when its scope is woken. If it yields no
//! values, the interrupt has stopped it, and it goes on after the neighbours on its thread have run.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context as TaskContext, Poll};

use llmspell_core::{Error, Result, Value};
use mlua::{Function, Lua, MultiValue, Table, Thread, Value as LuaValue};

use super::errors::{self, from_lua_error, raised};
use super::scope::Scope;
use super::values::{from_lua, to_lua};
use super::vm_state::{LuauVmState, pending};
use crate::wake::after_neighbours;

/// A coroutine that is resumed each time it is polled. The future resolves to the values that the coroutine returns.
pub(super) struct CoroutineTask {
    host: Rc<LuauVmState>,
    lua: Lua,
    scope: Rc<Scope>,
    thread: Thread,
    /// The arguments of the first resumption.
    start: Option<MultiValue>,
    /// Another task is stopped by the interrupt, and this one waits for it. Counted in `LuauRunState::behind`.
    behind: bool,
}

impl CoroutineTask {
    /// Creates a task that calls a function; [`result`](Self::result) reads its outcome.
    ///
    /// The function gets `owner` (when it is called as a method), then the arguments, then `failure` as an `err` table.
    pub(super) fn call(
        host: &Rc<LuauVmState>,
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
        Self::new(host, lua, scope, host.prelude_refs()?.guard.clone(), start)
    }

    /// Creates the task that runs the queued handlers of promises.
    pub(super) fn jobs(host: &Rc<LuauVmState>, lua: &Lua) -> Result<Self> {
        let scope = host.begin_scope(host.run().cx.clone());
        Self::new(host, lua, scope, host.prelude_refs()?.run_jobs.clone(), MultiValue::new())
    }

    fn new(
        host: &Rc<LuauVmState>,
        lua: &Lua,
        scope: Rc<Scope>,
        function: Function,
        start: MultiValue,
    ) -> Result<Self> {
        let thread = lua.create_thread(function).map_err(|error| from_lua_error(host, &error))?;
        Ok(Self { host: Rc::clone(host), lua: lua.clone(), scope, thread, start: Some(start), behind: false })
    }

    /// Creates a task for a coroutine that `promise.luau` has started and that now waits.
    pub(super) fn adopt(host: &Rc<LuauVmState>, lua: &Lua, scope: Rc<Scope>, thread: Thread) -> Self {
        Self { host: Rc::clone(host), lua: lua.clone(), scope, thread, start: None, behind: false }
    }

    /// Returns whether only other script code can wake the task.
    pub(super) fn waits_for_the_script(&self) -> bool {
        self.scope.waits_for_the_script()
    }

    /// Converts the values that the coroutine of a [call](Self::call) returned: the function's value, or the error that
    /// it raised or returned as `nil, err`. `what` names the value in errors.
    pub(super) fn result(&self, mut left: MultiValue, what: &str) -> Result<Value> {
        let written = self.host.take_raised();
        self.host.state()?;
        let returned = matches!(left.pop_front(), Some(LuaValue::Boolean(true)));
        let value = left.pop_front().unwrap_or(LuaValue::Nil);
        if returned && (!value.is_nil() || left.front().is_none_or(LuaValue::is_nil)) {
            return from_lua(&self.host, &self.lua, value, &mut 0, || what.to_owned());
        }
        if returned {
            // `nil, err` is how methods return failures, so a function that passes one on fails too.
            let error = left.pop_front().unwrap_or(LuaValue::Nil);
            return Err(raised(&self.host, &self.lua, error, None));
        }
        // The guard could not record the error if memory or the stack ran out.
        Err(written.unwrap_or_else(|| raised(&self.host, &self.lua, value, None)))
    }

    /// The address of the coroutine, which identifies the task in `LuauRunState::stopped`.
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

impl Future for CoroutineTask {
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
                    // If the meter has tripped, the coroutine is stopped for good and not resumed.
                    self.host.state()?;
                    self.host.run().stopped.set(Some(self.address()));
                    return after_neighbours(cx);
                }
                Some(LuaValue::LightUserData(mark)) if *mark == pending() => {
                    // The interrupt may have stopped the coroutine between polling its call and yielding the mark. The
                    // call's wake-up could have come in between, so the coroutine polls the call once more.
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

impl Drop for CoroutineTask {
    fn drop(&mut self) {
        self.set_behind(false);
        if self.host.run().stopped.get() == Some(self.address()) {
            self.host.run().stopped.set(None);
        }
        self.scope.drop_calls();
    }
}
