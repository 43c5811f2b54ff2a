//! Scopes: the state that each task of a script owns.
//!
//! A scope holds the task's part of the context, which numbers its effects (`main.2#7` is the seventh effect of the
//! script's second task). It also holds the host calls that the task waits for, and the scopes of the tasks it started.
//! Ending a scope is how a promise is cancelled: it ends all child scopes, drops their host calls and so closes their
//! sockets.
//!
//! The VM refers to a waiting host call only by a number within its scope, so the future itself stays in Rust.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::{Rc, Weak};
use std::task::{Context as TaskContext, Poll, Waker};

use futures_util::future::LocalBoxFuture;
use llmspell_core::{Context, Result, Value};

use super::failures::FailingFunction;

/// A call of a host function that the task waits for.
pub(super) struct HostCall {
    pub(super) future: LocalBoxFuture<'static, Result<Value>>,
    /// The function, unless its failures are always raised.
    pub(super) function: Option<FailingFunction>,
}

/// The state of one task. Its host calls end with it.
pub(super) struct Scope {
    /// Unique within the run. `promise.luau` finds a task's promise by it.
    pub(super) id: u64,
    pub(super) cx: Context,
    calls: RefCell<HashMap<u64, HostCall>>,
    next_call: Cell<u64>,
    /// Wakes the task.
    waker: RefCell<Waker>,
    /// The task waits and has not been woken since.
    parked: Cell<bool>,
    ended: Cell<bool>,
    children: RefCell<Vec<Weak<Scope>>>,
}

impl Scope {
    pub(super) fn new(id: u64, cx: Context) -> Rc<Self> {
        Rc::new(Self {
            id,
            cx,
            calls: RefCell::default(),
            next_call: Cell::new(0),
            waker: RefCell::new(Waker::noop().clone()),
            parked: Cell::new(false),
            ended: Cell::new(false),
            children: RefCell::default(),
        })
    }

    /// Creates the scope of a task that this task starts. If this scope has ended, so has the child.
    pub(super) fn child(&self, id: u64) -> Rc<Self> {
        let child = Self::new(id, self.cx.spawn());
        let mut children = self.children.borrow_mut();
        if children.len() == children.capacity() {
            children.retain(|child| child.strong_count() > 0);
        }
        children.push(Rc::downgrade(&child));
        drop(children);
        child.ended.set(self.has_ended());
        child
    }

    /// Marks the task as running and stores the waker that wakes it.
    pub(super) fn work(&self, waker: &Waker) {
        self.parked.set(false);
        let mut known = self.waker.borrow_mut();
        if !known.will_wake(waker) {
            known.clone_from(waker);
        }
    }

    /// Marks the task as waiting.
    pub(super) fn park(&self) {
        self.parked.set(true);
    }

    /// Wakes the task.
    pub(super) fn wake(&self) {
        self.parked.set(false);
        self.waker.borrow().wake_by_ref();
    }

    /// Returns whether the task waits and has no host call under way. Only other script code can wake it then.
    pub(super) fn waits_for_the_script(&self) -> bool {
        self.parked.get() && self.calls.borrow().is_empty()
    }

    /// Returns whether the scope has ended. Its task is not resumed any more.
    pub(super) fn has_ended(&self) -> bool {
        self.ended.get()
    }

    /// Ends this scope and all its child scopes, and drops their host calls. `ended` is called with the id of each.
    pub(super) fn end(&self, ended: &mut impl FnMut(u64)) {
        if self.ended.replace(true) {
            return;
        }
        ended(self.id);
        self.drop_calls();
        self.wake();
        for child in self.children.take().iter().filter_map(Weak::upgrade) {
            child.end(ended);
        }
    }

    /// Drops all host calls of the task.
    pub(super) fn drop_calls(&self) {
        let calls = std::mem::take(&mut *self.calls.borrow_mut());
        drop(calls);
    }

    /// Polls a new host call once. Returns its result if it is ready.
    ///
    /// # Errors
    /// The number for [`poll`](Self::poll) if the call is pending.
    pub(super) fn start(&self, mut call: HostCall) -> Result<Result<Value>, u64> {
        let number = self.next_call.get();
        if !self.has_ended() {
            if let Poll::Ready(result) = self.look(&mut call) {
                return Ok(result);
            }
            self.next_call.set(number + 1);
            self.calls.borrow_mut().insert(number, call);
        }
        Err(number)
    }

    /// Polls a host call again. Returns its function and its result, or `None` if the scope has no call with this number.
    pub(super) fn poll(&self, number: u64) -> Option<(Option<FailingFunction>, Poll<Result<Value>>)> {
        let mut call = self.calls.borrow_mut().remove(&number)?;
        let looked = self.look(&mut call);
        if looked.is_ready() || self.has_ended() {
            return Some((call.function, looked));
        }
        self.calls.borrow_mut().insert(number, call);
        Some((None, looked))
    }

    fn look(&self, call: &mut HostCall) -> Poll<Result<Value>> {
        let waker = self.waker.borrow().clone();
        call.future.as_mut().poll(&mut TaskContext::from_waker(&waker))
    }
}
