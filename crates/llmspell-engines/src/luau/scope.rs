//! What one task of the script has for itself: its part of the context, and the host calls it waits for.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::{Rc, Weak};
use std::task::{Context as TaskContext, Poll, Waker};

use futures_util::future::LocalBoxFuture;
use llmspell_core::{Context, Result, Value};

type HostCall = LocalBoxFuture<'static, Result<Value>>;

/// See the module. Calls end with their scope.
pub(super) struct Scope {
    /// Names the scope within its session.
    pub(super) id: u64,
    pub(super) cx: Context,
    calls: RefCell<HashMap<u64, HostCall>>,
    next_call: Cell<u64>,
    /// Wakes the task.
    waker: RefCell<Waker>,
    /// The task waits, and nothing has woken it since.
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

    /// The scope of a task that this one starts.
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

    /// Says that the task is at work, and how to wake it.
    pub(super) fn work(&self, waker: &Waker) {
        self.parked.set(false);
        let mut known = self.waker.borrow_mut();
        if !known.will_wake(waker) {
            known.clone_from(waker);
        }
    }

    /// Says that the task waits.
    pub(super) fn park(&self) {
        self.parked.set(true);
    }

    /// Wakes the task.
    pub(super) fn wake(&self) {
        self.parked.set(false);
        self.waker.borrow().wake_by_ref();
    }

    /// Whether the task waits for nothing that the host could bring.
    pub(super) fn waits_for_the_script(&self) -> bool {
        self.parked.get() && self.calls.borrow().is_empty()
    }

    /// Whether nothing of the task may go on.
    pub(super) fn has_ended(&self) -> bool {
        self.ended.get()
    }

    /// Ends the task and those that it started, and drops their calls; `ended` hears of each.
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

    /// Drops all calls: nobody waits for them any more.
    pub(super) fn drop_calls(&self) {
        let calls = std::mem::take(&mut *self.calls.borrow_mut());
        drop(calls);
    }

    /// Looks once whether a new call is done; if not, returns the number to ask by.
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

    /// Looks again; `None` when there is no call of this number.
    pub(super) fn poll(&self, number: u64) -> Option<Poll<Result<Value>>> {
        let mut call = self.calls.borrow_mut().remove(&number)?;
        let looked = self.look(&mut call);
        if looked.is_pending() && !self.has_ended() {
            self.calls.borrow_mut().insert(number, call);
        }
        Some(looked)
    }

    fn look(&self, call: &mut HostCall) -> Poll<Result<Value>> {
        let waker = self.waker.borrow().clone();
        call.as_mut().poll(&mut TaskContext::from_waker(&waker))
    }
}
