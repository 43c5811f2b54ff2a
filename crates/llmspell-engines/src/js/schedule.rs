//! Runs a script with all that it starts: its jobs, the calls it waits for, callbacks that the host calls, and what the
//! host does beside it.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, Waker};

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use llmspell_core::callback::Call as CallbackCall;
use llmspell_core::{Error, Result, Source, Value};
use rquickjs::function::Args;
use rquickjs::promise::PromiseState;
use rquickjs::{Ctx, Function, Object, Promise, Runtime, Value as JsValue};
use tokio::sync::oneshot;

use super::calls::{Answered, Call};
use super::errors::{failure, from_js_error, raised};
use super::host::{Host, Kept};
use super::{compile, values};
use crate::wake::{Alarm, Alive, after_neighbours};

/// What a run begins with.
pub(super) enum Start<'a> {
    Module(&'a Source),
    Function(Kept<Function<'static>>, Vec<Value>),
}

/// How far the script is.
enum Script<'a> {
    /// It begins when it is first polled.
    Due(Start<'a>),
    /// Its module is at work.
    Module(Kept<Promise<'static>>),
    /// What it exports, or the function that was called, is at work.
    Result(Kept<JsValue<'static>>),
    Returned(Option<Value>),
}

/// A function that the host called, and that has not come to a result.
struct Called {
    result: Kept<JsValue<'static>>,
    reply: oneshot::Sender<Result<Value>>,
    _alive: Alive,
}

/// A script under way. It ends with what the script returned when all that it started has ended too, and at once with
/// what went wrong.
pub(super) struct Run<'a> {
    host: &'a Rc<Host>,
    runtime: &'a Runtime,
    context: &'a rquickjs::Context,
    exports: &'a RefCell<Option<Kept<Object<'static>>>>,
    script: Script<'a>,
    calls: FuturesUnordered<Call>,
    called: Vec<Called>,
    /// What the host does for the script beside it.
    beside: FuturesUnordered<BoxFuture<'static, Result<()>>>,
    alarm: Arc<Alarm>,
}

/// What became of the jobs that were due.
enum Jobs {
    Done,
    /// Neighbours on the thread go first.
    Left,
}

impl<'a> Run<'a> {
    pub(super) fn new(
        host: &'a Rc<Host>,
        runtime: &'a Runtime,
        context: &'a rquickjs::Context,
        exports: &'a RefCell<Option<Kept<Object<'static>>>>,
        start: Start<'a>,
    ) -> Self {
        host.cx.take_turns();
        Self {
            host,
            runtime,
            context,
            exports,
            script: Script::Due(start),
            calls: FuturesUnordered::new(),
            called: Vec::new(),
            beside: FuturesUnordered::new(),
            alarm: Arc::default(),
        }
    }

    /// Runs the jobs that are due, one by one: they can be without end.
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
                // A job of the script's own, as `queueMicrotask` makes them.
                Err(failed) => {
                    return Err(failed.0.with(|ctx| raised(self.host, &ctx, &ctx.catch())));
                }
            }
        }
    }

    /// Takes in what was started since the last look; says whether there was anything.
    fn take_in(&mut self) -> Result<bool> {
        let before = self.calls.len() + self.beside.len();
        self.calls.extend(self.host.calls.take());
        self.beside.extend(self.host.cx.take_beside());
        let mut any = self.calls.len() + self.beside.len() > before;
        while let Some((call, reply)) = self.host.callbacks.next() {
            any = true;
            match Alive::new(&self.host.cx).and_then(|alive| Ok((self.call_back(call)?, alive))) {
                Ok((result, alive)) => self.called.push(Called { result, reply, _alive: alive }),
                Err(error) => drop(reply.send(Err(error))),
            }
        }
        Ok(any)
    }

    /// Calls a function for the host, and returns what it returns.
    fn call_back(&self, call: CallbackCall) -> Result<Kept<JsValue<'static>>> {
        let CallbackCall { number, arguments, failure: failed, within, as_method } = call;
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
                Ok(Kept::save(&ctx, result))
            };
            call().map_err(|error| from_js_error(self.host, &ctx, error))
        })
    }

    /// Replies to the host what its calls came to; says whether any did.
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
                        // Nobody waits for it any more when this fails.
                        let _ = called.reply.send(result);
                        None
                    }
                }
            })
            .collect();
        self.called.len() < before
    }

    /// Looks how far the script is; says whether it has come further.
    fn look_at_script(&mut self) -> Result<bool> {
        match &self.script {
            Script::Due(start) => {
                self.host.enter(self.host.cx.clone());
                self.script = self.context.with(|ctx| begin(self.host, &ctx, self.exports, start))?;
            }
            Script::Module(promise) => {
                let promise = promise.clone();
                let next = self.context.with(|ctx| {
                    let done = outcome(
                        self.host,
                        &ctx,
                        &Kept::save(&ctx, promise.restore(&ctx).ok()?.into_value()),
                        "",
                    );
                    Some(done?.and_then(|_| self.exported(&ctx)))
                });
                let Some(next) = next else { return Ok(false) };
                self.script = next?;
            }
            Script::Result(result) => {
                let done = self.context.with(|ctx| outcome(self.host, &ctx, result, "the result"));
                let Some(done) = done else { return Ok(false) };
                self.script = Script::Returned(Some(done?));
            }
            Script::Returned(_) => return Ok(false),
        }
        Ok(true)
    }

    /// What the module has as its result: a value, or what a function makes of the parameters.
    fn exported(&self, ctx: &Ctx<'_>) -> Result<Script<'static>> {
        let failed = |error| from_js_error(self.host, ctx, error);
        let Some(exports) = self.exports.borrow().clone() else {
            return Ok(Script::Returned(Some(Value::Nil)));
        };
        let exports = exports.restore(ctx).map_err(failed)?;
        let value: JsValue = exports.get("default").map_err(failed)?;
        let Some(function) = value.as_function() else { return Ok(Script::Result(Kept::save(ctx, value))) };
        let params: JsValue = ctx.globals().get("params").map_err(failed)?;
        self.host.enter(self.host.cx.clone());
        let result: JsValue = function.call((params,)).map_err(failed)?;
        Ok(Script::Result(Kept::save(ctx, result)))
    }

    /// Lets each have its turn; says whether there is reason to look again.
    fn step(&mut self, cx: &mut TaskContext<'_>) -> Result<Option<bool>> {
        if let Jobs::Left = self.run_jobs()? {
            return Ok(None);
        }
        if self.look_at_script()? | self.reply() | self.take_in()? {
            return Ok(Some(true));
        }
        // One answer at a time: what waits for it goes on, as far as it can, before the next comes in.
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
        // The answers that were just looked at may have called the script.
        Ok(Some(progress | self.take_in()?))
    }

    fn settle(&self, answered: Answered) -> Result<()> {
        self.context.with(|ctx| answered.settle(self.host, &ctx))
    }

    /// Whether nothing that the host could bring would go on with the script.
    fn is_stuck(&self) -> bool {
        self.calls.is_empty() && self.beside.is_empty() && !self.runtime.is_job_pending()
    }

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
            Script::Returned(value) => value.take(),
            _ => None,
        };
        returned.ok_or_else(|| {
            Error::runtime("the script waits for a promise that nothing is going to settle")
                .hint("a promise made by `new Promise` is settled by its `resolve` or `reject`")
        })
    }
}

/// Puts the script to work as far as it goes without waiting.
fn begin(
    host: &Rc<Host>,
    ctx: &Ctx<'_>,
    exports: &RefCell<Option<Kept<Object<'static>>>>,
    start: &Start<'_>,
) -> Result<Script<'static>> {
    let failed = |error| from_js_error(host, ctx, error);
    match start {
        Start::Module(source) => {
            let module = compile::declare(host, ctx, source)?;
            let (module, promise) = module.eval().map_err(failed)?;
            if host.state().is_err()
                && let Some(Err(error)) = promise.result::<JsValue>()
            {
                return Err(failed(error));
            }
            let namespace = module.namespace().map_err(failed)?;
            *exports.borrow_mut() = Some(Kept::save(ctx, namespace));
            Ok(Script::Module(Kept::save(ctx, promise)))
        }
        Start::Function(function, arguments) => {
            let function = function.clone().restore(ctx).map_err(failed)?;
            let mut args = Args::new(ctx.clone(), arguments.len());
            for argument in arguments {
                args.push_arg(values::to_js(host, ctx, argument.clone())?).map_err(failed)?;
            }
            let result: JsValue = function.call_arg(args).map_err(failed)?;
            Ok(Script::Result(Kept::save(ctx, result)))
        }
    }
}

/// What a result came to, which may be a promise; nothing while that is pending. `what` names the value in errors.
fn outcome(
    host: &Rc<Host>,
    ctx: &Ctx<'_>,
    result: &Kept<JsValue<'static>>,
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
            // The host asked: nobody else has to.
            let known = Kept::save(ctx, value.clone());
            host.rejections.borrow_mut().retain(|rejection| rejection.promise != known);
            let error = promise.result::<JsValue>()?.err()?;
            Some(Err(from_js_error(host, ctx, error)))
        }
    }
}

impl Future for Run<'_> {
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
                // Whoever was woken meanwhile has his turn before another answer comes in.
                Ok(Some(false)) if alarm.rang() => return Poll::Pending,
                Ok(Some(false)) if self.host.cx.next_turn() => {}
                Ok(Some(false)) => return Poll::Pending,
            }
        }
    }
}

impl Drop for Run<'_> {
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
