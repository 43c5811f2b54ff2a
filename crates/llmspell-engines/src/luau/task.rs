//! One coroutine of the session at work: the script itself, or a callback that the host called.

use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context as TaskContext, Poll};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use llmspell_core::{Error, Result, Value};
use mlua::{Function, Lua, MultiValue, Thread, Value as LuaValue};
use tokio::sync::oneshot;

use super::callbacks::Call;
use super::errors::{from_lua_error, raised};
use super::host::{Host, pending};
use super::values::{from_lua, to_lua};

/// A coroutine that is resumed each time it is polled. It yields the mark when it waits, and no values when the
/// interrupt stopped it so that neighbours on the thread may go first.
pub(super) struct Task {
    host: Rc<Host>,
    lua: Lua,
    thread: Thread,
    /// What it is resumed with at first: a function and its arguments.
    start: Option<MultiValue>,
    /// What its result is called in errors.
    what: &'static str,
}

impl Task {
    pub(super) fn new(
        host: &Rc<Host>,
        lua: &Lua,
        function: Function,
        arguments: Vec<Value>,
        what: &'static str,
    ) -> Result<Self> {
        let failed = |error: mlua::Error| from_lua_error(host, &error);
        let thread = lua.create_thread(host.kit()?.guard.clone()).map_err(failed)?;
        let mut start = MultiValue::with_capacity(arguments.len() + 1);
        start.push_back(LuaValue::Function(function));
        for argument in arguments {
            start.push_back(to_lua(host, lua, argument)?);
        }
        Ok(Self { host: Rc::clone(host), lua: lua.clone(), thread, start: Some(start), what })
    }

    fn address(&self) -> usize {
        self.thread.to_pointer().addr()
    }

    /// What the guard left: whether the function returned, and what.
    fn finish(&self, mut left: MultiValue) -> Result<Value> {
        let written = self.host.take_raised();
        self.host.state()?;
        let returned = matches!(left.pop_front(), Some(LuaValue::Boolean(true)));
        let value = left.pop_front().unwrap_or(LuaValue::Nil);
        if returned {
            return from_lua(&self.host, &self.lua, value, &mut 0, || self.what.to_owned());
        }
        // The guard could not write the error down when memory ran out, or the stack did.
        Err(written.unwrap_or_else(|| raised(&self.host, &self.lua, value, None)))
    }
}

impl Future for Task {
    type Output = Result<Value>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Self::Output> {
        self.host.state()?;
        if self.host.stopped.get().is_some_and(|stopped| stopped != self.address()) {
            return after_neighbours(cx);
        }
        self.host.waiting.set_waker(cx.waker());
        loop {
            let went_on = self.host.stopped.take().is_some();
            let arguments = self.start.take().unwrap_or_default();
            let values: MultiValue = match self.thread.resume(arguments) {
                Ok(values) => values,
                Err(error) => {
                    let error = from_lua_error(&self.host, &error);
                    return Poll::Ready(Err(self.host.state().err().unwrap_or(error)));
                }
            };
            if !self.thread.is_resumable() {
                return Poll::Ready(self.finish(values));
            }
            match values.front() {
                None => {
                    self.host.stopped.set(Some(self.address()));
                    return after_neighbours(cx);
                }
                Some(LuaValue::LightUserData(mark)) if *mark == pending() => {
                    // Stopped between its look at the call and its wait, it may have missed the call's waking.
                    if !went_on {
                        return Poll::Pending;
                    }
                }
                Some(_) => {
                    let message = "attempt to yield from outside a coroutine";
                    return Poll::Ready(Err(Error::runtime(message)));
                }
            }
        }
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        if self.host.stopped.get() == Some(self.address()) {
            self.host.stopped.set(None);
        }
    }
}

/// Has the task polled again once all others on its thread, and what they wait for, have had their turn. Waking it at
/// once would not do: a thread's own queue comes before its timers and sockets.
fn after_neighbours<T>(cx: &mut TaskContext<'_>) -> Poll<T> {
    let _ = pin!(tokio::task::yield_now()).poll(cx);
    Poll::Pending
}

/// A callback at work, with whoever waits for its result.
struct Answering {
    task: Task,
    reply: Option<oneshot::Sender<Result<Value>>>,
}

impl Future for Answering {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<()> {
        let Some(reply) = &mut self.reply else { return Poll::Ready(()) };
        if reply.poll_closed(cx).is_ready() {
            return Poll::Ready(());
        }
        let Poll::Ready(result) = Pin::new(&mut self.task).poll(cx) else { return Poll::Pending };
        if let Some(reply) = self.reply.take() {
            let _ = reply.send(result);
        }
        Poll::Ready(())
    }
}

/// Runs a script's task, and beside it the callbacks that the host calls meanwhile.
pub(super) struct Run {
    host: Rc<Host>,
    lua: Lua,
    main: Task,
    callbacks: FuturesUnordered<Answering>,
}

impl Run {
    pub(super) fn new(host: &Rc<Host>, lua: &Lua, main: Task) -> Self {
        Self { host: Rc::clone(host), lua: lua.clone(), main, callbacks: FuturesUnordered::new() }
    }

    /// Starts what was called; says whether there was anything.
    fn take_calls(&mut self) -> bool {
        let mut any = false;
        while let Some(Call { number, arguments, reply }) = self.host.callbacks.next() {
            any = true;
            let task = match self.host.callbacks.function(number) {
                Some(function) => {
                    Task::new(&self.host, &self.lua, function, arguments, "the result of the callback")
                }
                None => Err(Error::internal("a callback was called after its release")),
            };
            match task {
                Ok(task) => self.callbacks.push(Answering { task, reply: Some(reply) }),
                Err(error) => drop(reply.send(Err(error))),
            }
        }
        any
    }
}

impl Future for Run {
    type Output = Result<Value>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Self::Output> {
        self.host.callbacks.open(cx.waker());
        loop {
            if let Poll::Ready(result) = Pin::new(&mut self.main).poll(cx) {
                return Poll::Ready(result);
            }
            let mut progress = self.take_calls();
            // The script may wait for what a callback has just answered, so it gets the next turn.
            while let Poll::Ready(Some(())) = self.callbacks.poll_next_unpin(cx) {
                progress = true;
            }
            if !progress {
                return Poll::Pending;
            }
        }
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        self.callbacks.clear();
        self.host.callbacks.close();
        self.host.waiting.clear();
    }
}
