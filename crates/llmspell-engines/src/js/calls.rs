//! Async host calls. Each returns a promise to the script and settles it with its answer.
//!
//! [`start`] polls the call once, so that its first effect gets the next number. A pending call waits in [`Calls`]
//! until the scheduler takes it. The scheduler settles one call at a time, in the context of the code that made it, and
//! an error gets the stack of that code. A call that was made under [`Calls::watch`] can be cancelled.

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context as TaskContext, Poll, Waker};

use futures_util::future::LocalBoxFuture;
use llmspell_core::{Context, Result, Value};
use rquickjs::{Ctx, Function, Promise, Value as JsValue};

use super::errors::{self, failure};
use super::trace;
use super::values::to_js;
use super::vm_state::{HeldValue, JsVmState};
use crate::wake::TaskGuard;

/// The functions that settle the promise of a call.
struct Settler {
    resolve: HeldValue<Function<'static>>,
    reject: HeldValue<Function<'static>>,
}

/// Cancels calls: they are dropped, and their promises are never settled.
#[derive(Default)]
pub(super) struct Cancel {
    cancelled: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Cancel {
    pub(super) fn cancel(&self) {
        self.cancelled.set(true);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// Stores the waker, and returns whether the call was cancelled.
    fn look(&self, waker: &Waker) -> bool {
        *self.waker.borrow_mut() = Some(waker.clone());
        self.cancelled.get()
    }
}

/// A pending host call. The future resolves to `None` when the call was cancelled.
pub(super) struct PendingCall {
    answer: LocalBoxFuture<'static, Result<Value>>,
    settler: Option<Settler>,
    /// The context of the code that made the call.
    cx: Context,
    /// The script's stack at the call.
    site: String,
    cancel: Option<Rc<Cancel>>,
    alive: Option<TaskGuard>,
}

/// A call with its answer, which its promise does not have yet.
pub(super) struct Answered {
    result: Result<Value>,
    settler: Settler,
    cx: Context,
    site: String,
}

impl Future for PendingCall {
    type Output = Option<Answered>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if this.cancel.as_ref().is_some_and(|cancel| cancel.look(cx.waker())) {
            return Poll::Ready(None);
        }
        let result = std::task::ready!(this.answer.as_mut().poll(cx));
        this.alive = None;
        let site = std::mem::take(&mut this.site);
        let answered =
            this.settler.take().map(|settler| Answered { result, settler, cx: this.cx.clone(), site });
        Poll::Ready(answered)
    }
}

impl Answered {
    /// Settles the promise. The code that waits for it continues in the context of the call.
    pub(super) fn settle(self, host: &Rc<JsVmState>, ctx: &Ctx<'_>) -> Result<()> {
        host.enter(self.cx);
        settle(host, ctx, self.result, &self.settler, &self.site)
            .map_err(|error| errors::from_js_error(host, ctx, error))
    }
}

fn settle<'js>(
    host: &Rc<JsVmState>,
    ctx: &Ctx<'js>,
    result: Result<Value>,
    settler: &Settler,
    site: &str,
) -> rquickjs::Result<()> {
    match result.and_then(|value| to_js(host, ctx, value)) {
        Ok(value) => settler.resolve.clone().restore(ctx)?.call((value,)),
        Err(error) => {
            let error = errors::located(error, trace::frames(site));
            let reason = failure(host, ctx, &error, Some(site))?;
            settler.reject.clone().restore(ctx)?.call((reason,))
        }
    }
}

/// The host calls that the scheduler has not taken yet.
#[derive(Default)]
pub(super) struct Calls {
    started: RefCell<Vec<PendingCall>>,
    /// Wakes the scheduler.
    waker: RefCell<Option<Waker>>,
    /// The handle that cancels the calls that are started now.
    watching: RefCell<Option<Rc<Cancel>>>,
}

impl Calls {
    pub(super) fn set_waker(&self, waker: &Waker) {
        *self.waker.borrow_mut() = Some(waker.clone());
    }

    /// Returns a handle that cancels the calls that are started from now on, until [`unwatch`](Self::unwatch).
    pub(super) fn watch(&self) -> Rc<Cancel> {
        Rc::clone(self.watching.borrow_mut().insert(Rc::default()))
    }

    pub(super) fn unwatch(&self) {
        self.watching.take();
    }

    pub(super) fn take(&self) -> Vec<PendingCall> {
        self.started.take()
    }

    pub(super) fn clear(&self) {
        drop(self.started.take());
    }
}

/// Starts a host call and returns its promise. Polls the call once, so that its first effect gets the next number.
pub(super) fn start<'js>(
    host: &Rc<JsVmState>,
    ctx: &Ctx<'js>,
    call: impl FnOnce(Context) -> LocalBoxFuture<'static, Result<Value>>,
) -> rquickjs::Result<JsValue<'js>> {
    let (promise, resolve, reject) = Promise::new(ctx)?;
    let settler = Settler { resolve: HeldValue::save(ctx, resolve), reject: HeldValue::save(ctx, reject) };
    let site = trace::here(host, ctx);
    let cx = host.scope();
    let mut answer = call(cx.clone());
    let waker = host.calls.waker.borrow().clone().unwrap_or_else(|| Waker::noop().clone());
    match answer.as_mut().poll(&mut TaskContext::from_waker(&waker)) {
        Poll::Ready(result) => settle(host, ctx, result, &settler, &site)?,
        Poll::Pending => match TaskGuard::new(&host.cx) {
            Ok(alive) => host.calls.started.borrow_mut().push(PendingCall {
                answer,
                settler: Some(settler),
                cx,
                site,
                cancel: host.calls.watching.borrow().clone(),
                alive: Some(alive),
            }),
            Err(error) => return Err(errors::throw(host, ctx, error)),
        },
    }
    Ok(promise.into_value())
}

/// Returns a rejected promise. An error that ends the run is thrown instead.
pub(super) fn rejected<'js>(
    host: &Rc<JsVmState>,
    ctx: &Ctx<'js>,
    error: llmspell_core::Error,
) -> rquickjs::Result<JsValue<'js>> {
    if error.is_final() {
        return Err(errors::throw(host, ctx, error));
    }
    start(host, ctx, |_| Box::pin(std::future::ready(Err(error))))
}
