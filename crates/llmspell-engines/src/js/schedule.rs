//! The scheduler of a JavaScript session: one future that runs a script and everything the script starts.
//!
//! Promises are the VM's own. [`JsRun`] drives what they wait for, on the VM's own thread, and spawns nothing:
//!
//! - jobs: the VM's queue of promise reactions and `queueMicrotask` functions;
//! - host calls: each is a promise of the script that [`JsRun`] settles with the answer (`calls.rs`), timers included;
//! - callbacks: script functions that the host calls, from any thread (see `callbacks.rs`);
//! - background work of the host (`Context::beside`), such as a model call whose answer goes to a callback.
//!
//! ```js
//! const [one, two] = await Promise.all([llm.chat("one"), llm.chat("two")]); // two host calls under way
//! export default one + two;
//! ```
//!
//! # Order
//!
//! Each poll repeats [`JsRun::step`] until nothing makes progress. All due jobs run first, one by one. Then one host
//! call is settled, and its jobs run before the next one is. If nothing is left to do and nothing was woken, the answer
//! sequencer of core (`Context::next_turn`) delivers one answer. The script thus sees answers one at a time, in an
//! order that a replay can repeat. Jobs that follow from an answer run in the context of the code that made the call,
//! so effects are numbered in the order of the calls. There are no tasks and scopes as in Luau.
//!
//! QuickJS can be interrupted but not resumed, so a script gives way to its neighbours only between jobs.
//!
//! # End
//!
//! The run ends when the script has returned and no job, host call or background work is left. If the script has not
//! returned by then, it waits for a promise that nothing can settle, which is an error. So is a rejection that was not
//! handled. An error of the script itself ends the run at once.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, Waker};

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use llmspell_core::callback::CallbackCall;
use llmspell_core::{Error, Result, Source, Value};
use rquickjs::function::Args;
use rquickjs::promise::PromiseState;
use rquickjs::{Ctx, Function, Object, Promise, Runtime, Value as JsValue};
use tokio::sync::oneshot;

use super::calls::{Answered, PendingCall};
use super::errors::{failure, from_js_error, raised};
use super::vm_state::{HeldValue, JsVmState};
use super::{compile, values};
use crate::wake::{TaskGuard, TrackingWaker, after_neighbours};

/// The code that a run starts with.
pub(super) enum JsEntryPoint<'a> {
    Module(&'a Source),
    Function(HeldValue<Function<'static>>, Vec<Value>),
}

/// The progress of the script itself.
enum ScriptState<'a> {
    /// Not started. The first poll starts it.
    Due(JsEntryPoint<'a>),
    /// The module's top level runs.
    Module(HeldValue<Promise<'static>>),
    /// The result is there, and may be a pending promise.
    Result(HeldValue<JsValue<'static>>),
    /// The script has returned. `None` after the value was taken.
    Returned(Option<Value>),
}

/// A callback whose result is still pending.
struct Called {
    result: HeldValue<JsValue<'static>>,
    reply: oneshot::Sender<Result<Value>>,
    _alive: TaskGuard,
}

/// A running script with its host calls, callbacks and background work.
///
/// The future resolves to the script's result after everything the script started has ended. It resolves to an error as
/// soon as the script fails or the run is stopped.
pub(super) struct JsRun<'a> {
    host: &'a Rc<JsVmState>,
    runtime: &'a Runtime,
    context: &'a rquickjs::Context,
    exports: &'a RefCell<Option<HeldValue<Object<'static>>>>,
    script: ScriptState<'a>,
    calls: FuturesUnordered<PendingCall>,
    called: Vec<Called>,
    /// Background work of the host.
    beside: FuturesUnordered<BoxFuture<'static, Result<()>>>,
    alarm: Arc<TrackingWaker>,
}

/// The state of the VM's job queue after [`JsRun::run_jobs`].
enum Jobs {
    /// The queue is empty.
    Done,
    /// Jobs are left, and the neighbours on the thread go first.
    Left,
}

impl<'a> JsRun<'a> {
    pub(super) fn new(
        host: &'a Rc<JsVmState>,
        runtime: &'a Runtime,
        context: &'a rquickjs::Context,
        exports: &'a RefCell<Option<HeldValue<Object<'static>>>>,
        start: JsEntryPoint<'a>,
    ) -> Self {
        host.cx.take_turns();
        Self {
            host,
            runtime,
            context,
            exports,
            script: ScriptState::Due(start),
            calls: FuturesUnordered::new(),
            called: Vec::new(),
            beside: FuturesUnordered::new(),
            alarm: Arc::default(),
        }
    }

    /// Runs the due jobs. Limits are checked between any two, because jobs can queue further jobs without end.
    fn run_jobs(&self) -> Result<Jobs> {
        loop {
            self.host.state()?;
            let meter = self.host.cx.meter();
            if meter.must_check() {
                meter.check()?;
            }
            if meter.must_yield() && self.runtime.is_job_pending() {
                return Ok(Jobs::Left);
            }
            self.host.memory.look(self.runtime, self.context, self.host)?;
            match self.runtime.execute_pending_job() {
                Ok(true) => {}
                Ok(false) => return self.host.state().map(|()| Jobs::Done),
                // Promise reactions turn exceptions into rejections; functions of `queueMicrotask` do not.
                Err(failed) => {
                    return Err(failed.0.with(|ctx| raised(self.host, &ctx, &ctx.catch())));
                }
            }
        }
    }

    /// Takes in the host calls, background work and callbacks that were started since the last call. Returns whether
    /// there were any.
    fn take_in(&mut self) -> Result<bool> {
        let before = self.calls.len() + self.beside.len();
        self.calls.extend(self.host.calls.take());
        self.beside.extend(self.host.cx.take_beside());
        let mut any = self.calls.len() + self.beside.len() > before;
        while let Some((call, reply)) = self.host.callbacks.next() {
            any = true;
            match TaskGuard::new(&self.host.cx).and_then(|alive| Ok((self.call_back(call)?, alive))) {
                Ok((result, alive)) => self.called.push(Called { result, reply, _alive: alive }),
                Err(error) => drop(reply.send(Err(error))),
            }
        }
        Ok(any)
    }

    /// Calls a function for the host, and returns its result, which may be a promise.
    fn call_back(&self, mut call: CallbackCall) -> Result<HeldValue<JsValue<'static>>> {
        let within = call.take_context();
        let CallbackCall { number, arguments, failure: failed, as_method, .. } = call;
        let held = self
            .host
            .callbacks
            .function(number)
            .ok_or_else(|| Error::internal("a callback was called after its release"))?;
        self.host.enter(within.unwrap_or(held.cx));
        let owner = held.owner.filter(|_| as_method);
        self.context.with(|ctx| {
            let call = || {
                let function = held.function.restore(&ctx)?;
                let mut args = Args::new(ctx.clone(), arguments.len() + 1);
                if let Some(owner) = owner {
                    args.this(owner.restore(&ctx)?)?;
                }
                for argument in arguments {
                    args.push_arg(
                        values::to_js(self.host, &ctx, argument)
                            .map_err(|error| super::errors::throw(self.host, &ctx, error))?,
                    )?;
                }
                if let Some(error) = failed {
                    args.push_arg(failure(self.host, &ctx, &error, None)?)?;
                }
                let result: JsValue = function.call_arg(args)?;
                Ok(HeldValue::save(&ctx, result))
            };
            call().map_err(|error| from_js_error(self.host, &ctx, error))
        })
    }

    /// Sends the results of finished callbacks to the host. Returns whether any has finished or lost its caller.
    fn reply(&mut self) -> bool {
        let before = self.called.len();
        let (host, context) = (self.host, self.context);
        let called = std::mem::take(&mut self.called);
        self.called = called
            .into_iter()
            .filter_map(|called| {
                if called.reply.is_closed() {
                    return None;
                }
                match context.with(|ctx| outcome(host, &ctx, &called.result, "the result of the callback")) {
                    None => Some(called),
                    Some(result) => {
                        // Sending fails only when the caller has stopped waiting.
                        let _ = called.reply.send(result);
                        None
                    }
                }
            })
            .collect();
        self.called.len() < before
    }

    /// Advances the script itself by one stage, if it can. Returns whether it did.
    fn look_at_script(&mut self) -> Result<bool> {
        match &self.script {
            ScriptState::Due(start) => {
                self.host.enter(self.host.cx.clone());
                self.script = self.context.with(|ctx| begin(self.host, &ctx, self.exports, start))?;
            }
            ScriptState::Module(promise) => {
                let promise = promise.clone();
                let next = self.context.with(|ctx| {
                    let done = outcome(
                        self.host,
                        &ctx,
                        &HeldValue::save(&ctx, promise.restore(&ctx).ok()?.into_value()),
                        "",
                    );
                    Some(done?.and_then(|_| self.exported(&ctx)))
                });
                let Some(next) = next else { return Ok(false) };
                self.script = next?;
            }
            ScriptState::Result(result) => {
                let done = self.context.with(|ctx| outcome(self.host, &ctx, result, "the result"));
                let Some(done) = done else { return Ok(false) };
                self.script = ScriptState::Returned(Some(done?));
            }
            ScriptState::Returned(_) => return Ok(false),
        }
        Ok(true)
    }

    /// Returns the module's result: its default export, or the result of the default export called with `params` if it
    /// is a function.
    fn exported(&self, ctx: &Ctx<'_>) -> Result<ScriptState<'static>> {
        let failed = |error| from_js_error(self.host, ctx, error);
        let Some(exports) = self.exports.borrow().clone() else {
            return Ok(ScriptState::Returned(Some(Value::Nil)));
        };
        let exports = exports.restore(ctx).map_err(failed)?;
        let value: JsValue = exports.get("default").map_err(failed)?;
        let Some(function) = value.as_function() else {
            return Ok(ScriptState::Result(HeldValue::save(ctx, value)));
        };
        let params: JsValue = ctx.globals().get("params").map_err(failed)?;
        self.host.enter(self.host.cx.clone());
        let result: JsValue = function.call((params,)).map_err(failed)?;
        Ok(ScriptState::Result(HeldValue::save(ctx, result)))
    }

    /// Runs due jobs and then handles one kind of event. Returns whether another step may make progress, or `None` when
    /// the script gives way to its neighbours.
    fn step(&mut self, cx: &mut TaskContext<'_>) -> Result<Option<bool>> {
        if let Jobs::Left = self.run_jobs()? {
            return Ok(None);
        }
        if self.look_at_script()? | self.reply() | self.take_in()? {
            return Ok(Some(true));
        }
        // One answer at a time: the code that waits for it runs as far as it can before the next answer is settled.
        if let Poll::Ready(Some(answered)) = self.calls.poll_next_unpin(cx) {
            if let Some(answered) = answered {
                self.settle(answered)?;
            }
            return Ok(Some(true));
        }
        let mut progress = false;
        while let Poll::Ready(Some(result)) = self.beside.poll_next_unpin(cx) {
            progress = true;
            result?;
        }
        // The background work may have called the script.
        Ok(Some(progress | self.take_in()?))
    }

    fn settle(&self, answered: Answered) -> Result<()> {
        self.context.with(|ctx| answered.settle(self.host, &ctx))
    }

    /// Returns whether nothing is left that could resume the script.
    fn is_stuck(&self) -> bool {
        self.calls.is_empty() && self.beside.is_empty() && !self.runtime.is_job_pending()
    }

    /// Returns the result of a run that [is stuck](Self::is_stuck): the script's value, or an error when a rejection
    /// was not handled or the script never returned.
    fn end(&mut self) -> Result<Value> {
        let rejections = self.host.rejections.take();
        if let Some(first) = rejections.into_iter().next() {
            return Err(self.context.with(|ctx| {
                match first.reason.restore(&ctx) {
                    Ok(reason) => raised(self.host, &ctx, &reason),
                    Err(error) => from_js_error(self.host, &ctx, error),
                }
                .hint("a promise was rejected and nobody asked: `await` it, or end it with `.catch(…)`")
            }));
        }
        let returned = match &mut self.script {
            ScriptState::Returned(value) => value.take(),
            _ => None,
        };
        returned.ok_or_else(|| {
            Error::runtime("the script waits for a promise that nothing is going to settle")
                .hint("a promise made by `new Promise` is settled by its `resolve` or `reject`")
        })
    }
}

/// Starts the script. It runs until it first waits.
fn begin(
    host: &Rc<JsVmState>,
    ctx: &Ctx<'_>,
    exports: &RefCell<Option<HeldValue<Object<'static>>>>,
    start: &JsEntryPoint<'_>,
) -> Result<ScriptState<'static>> {
    let failed = |error| from_js_error(host, ctx, error);
    match start {
        JsEntryPoint::Module(source) => {
            let module = compile::declare(host, ctx, source)?;
            let (module, promise) = module.eval().map_err(failed)?;
            if host.state().is_err()
                && let Some(Err(error)) = promise.result::<JsValue>()
            {
                return Err(failed(error));
            }
            let namespace = module.namespace().map_err(failed)?;
            *exports.borrow_mut() = Some(HeldValue::save(ctx, namespace));
            Ok(ScriptState::Module(HeldValue::save(ctx, promise)))
        }
        JsEntryPoint::Function(function, arguments) => {
            let function = function.clone().restore(ctx).map_err(failed)?;
            let mut args = Args::new(ctx.clone(), arguments.len());
            for argument in arguments {
                args.push_arg(values::to_js(host, ctx, argument.clone())?).map_err(failed)?;
            }
            let result: JsValue = function.call_arg(args).map_err(failed)?;
            Ok(ScriptState::Result(HeldValue::save(ctx, result)))
        }
    }
}

/// Returns the outcome of a result, or `None` while it is a pending promise. `what` names the value in errors.
fn outcome(
    host: &Rc<JsVmState>,
    ctx: &Ctx<'_>,
    result: &HeldValue<JsValue<'static>>,
    what: &str,
) -> Option<Result<Value>> {
    let value = match result.clone().restore(ctx) {
        Ok(value) => value,
        Err(error) => return Some(Err(from_js_error(host, ctx, error))),
    };
    let Some(promise) = value.as_promise() else {
        return Some(values::from_js(host, ctx, value, &mut 0, || what.to_owned()));
    };
    match promise.state() {
        PromiseState::Pending => None,
        PromiseState::Resolved => {
            let settled = promise.result::<JsValue>()?;
            Some(match settled {
                Ok(value) => values::from_js(host, ctx, value, &mut 0, || what.to_owned()),
                Err(error) => Err(from_js_error(host, ctx, error)),
            })
        }
        PromiseState::Rejected => {
            // The host handles this rejection, so the script does not have to.
            let known = HeldValue::save(ctx, value.clone());
            host.rejections.borrow_mut().retain(|rejection| rejection.promise != known);
            let error = promise.result::<JsValue>()?.err()?;
            Some(Err(from_js_error(host, ctx, error)))
        }
    }
}

impl Future for JsRun<'_> {
    type Output = Result<Value>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Self::Output> {
        let alarm = Arc::clone(&self.alarm);
        alarm.begin(cx.waker());
        let waker = Waker::from(Arc::clone(&alarm));
        let inner = &mut TaskContext::from_waker(&waker);
        self.host.callbacks.open(inner.waker());
        self.host.calls.set_waker(inner.waker());
        loop {
            alarm.reset();
            match self.step(inner) {
                Err(error) => return Poll::Ready(Err(self.host.state().err().unwrap_or(error))),
                Ok(None) => return after_neighbours(cx),
                Ok(Some(true)) => {}
                Ok(Some(false)) if self.is_stuck() => return Poll::Ready(self.end()),
                // Work that was woken meanwhile is polled before the next answer is delivered.
                Ok(Some(false)) if alarm.rang() => return Poll::Pending,
                Ok(Some(false)) if self.host.cx.next_turn() => {}
                Ok(Some(false)) => return Poll::Pending,
            }
        }
    }
}

impl Drop for JsRun<'_> {
    fn drop(&mut self) {
        self.calls.clear();
        self.called.clear();
        self.beside.clear();
        self.host.calls.clear();
        self.host.callbacks.close();
        self.host.rejections.take();
        drop(self.host.cx.take_beside());
    }
}
