//! Callbacks: script functions that the host calls.
//!
//! When a function leaves the VM, the host gets a ticket for it (`llmspell_core::Callback`); the function itself stays
//! in [`Callbacks`]. The ticket can be called from any thread. The call goes into a queue and wakes the session's
//! scheduler, which runs the function on the VM's own thread and sends the result back.
//!
//! Calls are accepted only while a script runs. When it ends, calls that have not begun fail with an error. A function
//! is released after its last ticket is dropped.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};
use llmspell_core::callback::CallbackCall;
use llmspell_core::{Callback, CallbackHost, Context, Error, Result, Value};
use tokio::sync::oneshot;

/// The next ticket's number. Numbers are unique in the process, so that a session recognises its own tickets.
static NEXT: AtomicU64 = AtomicU64::new(1);

/// A queued call, and the channel for its result.
pub(crate) type PostedCall = (CallbackCall, oneshot::Sender<Result<Value>>);

/// The calls and releases that the session has not handled yet.
#[derive(Default)]
struct QueuedCallbacks {
    /// Whether a script runs. Calls are refused otherwise.
    running: bool,
    calls: VecDeque<PostedCall>,
    released: Vec<u64>,
    waker: Option<Waker>,
}

#[derive(Default)]
struct CallbackQueue(Mutex<QueuedCallbacks>);

impl CallbackQueue {
    fn lock(&self) -> MutexGuard<'_, QueuedCallbacks> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl CallbackHost for CallbackQueue {
    fn call(&self, call: CallbackCall) -> BoxFuture<'static, Result<Value>> {
        let mut queued = self.lock();
        if !queued.running {
            return ready(Err(gone())).boxed();
        }
        let (reply, answer) = oneshot::channel();
        queued.calls.push_back((call, reply));
        let waker = queued.waker.clone();
        drop(queued);
        if let Some(waker) = waker {
            waker.wake();
        }
        async move { answer.await.unwrap_or_else(|_| Err(gone())) }.boxed()
    }

    fn release(&self, number: u64) {
        self.lock().released.push(number);
    }
}

fn gone() -> Error {
    Error::runtime("the script of this function is not running any more")
}

/// The functions of a session that the host holds tickets for.
///
/// `F` is the engine's handle to a function, and `O` its handle to the table or object that held the function.
pub(crate) struct Callbacks<F, O> {
    functions: RefCell<HashMap<u64, HeldFunction<F, O>>>,
    queue: Arc<CallbackQueue>,
}

/// A function that the host holds a ticket for.
#[derive(Clone)]
pub(crate) struct HeldFunction<F, O> {
    pub(crate) function: F,
    /// The table or object that held the function under a name. A method call passes it as the receiver.
    pub(crate) owner: Option<O>,
    /// The context in which it runs: a task of the one that passed the function to the host.
    pub(crate) cx: Context,
}

impl<F, O> Default for Callbacks<F, O> {
    fn default() -> Self {
        Self { functions: RefCell::default(), queue: Arc::default() }
    }
}

impl<F: Clone, O: Clone> Callbacks<F, O> {
    /// Stores a function and returns its ticket.
    pub(crate) fn ticket(&self, held: HeldFunction<F, O>) -> Callback {
        self.drop_released();
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        self.functions.borrow_mut().insert(number, held);
        Callback::new(number, Arc::clone(&self.queue) as Arc<dyn CallbackHost>)
    }

    /// Returns the function of a ticket, or `None` if the ticket is another session's.
    pub(crate) fn function(&self, number: u64) -> Option<HeldFunction<F, O>> {
        self.functions.borrow().get(&number).cloned()
    }

    /// Accepts calls from now on, and wakes `waker` for each.
    pub(crate) fn open(&self, waker: &Waker) {
        let mut queued = self.queue.lock();
        queued.running = true;
        if !queued.waker.as_ref().is_some_and(|known| known.will_wake(waker)) {
            queued.waker = Some(waker.clone());
        }
    }

    /// Takes the oldest queued call.
    pub(crate) fn next(&self) -> Option<PostedCall> {
        self.queue.lock().calls.pop_front()
    }

    /// Refuses calls from now on. Queued calls fail with an error.
    pub(crate) fn close(&self) {
        let mut queued = self.queue.lock();
        queued.running = false;
        queued.waker = None;
        let calls = std::mem::take(&mut queued.calls);
        drop(queued);
        drop(calls);
        self.drop_released();
    }

    /// Drops all functions, even those that the host still holds tickets for.
    pub(crate) fn forget(&self) {
        self.functions.take();
    }

    fn drop_released(&self) {
        let released = std::mem::take(&mut self.queue.lock().released);
        let mut functions = self.functions.borrow_mut();
        for number in released {
            functions.remove(&number);
        }
    }
}
