//! Script functions that the host calls, from any thread. They run on the VM's own, while the script waits.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};
use llmspell_core::callback::Call;
use llmspell_core::{Callback, CallbackHost, Context, Error, Result, Value};
use tokio::sync::oneshot;

/// Numbers are never used twice in a process, so that a ticket of another session is not taken for one's own.
static NEXT: AtomicU64 = AtomicU64::new(1);

/// A call that waits to be made, and where its result goes.
pub(crate) type Posted = (Call, oneshot::Sender<Result<Value>>);

#[derive(Default)]
struct Mail {
    /// The script runs, and somebody polls it.
    running: bool,
    calls: VecDeque<Posted>,
    released: Vec<u64>,
    waker: Option<Waker>,
}

#[derive(Default)]
struct Mailbox(Mutex<Mail>);

impl Mailbox {
    fn lock(&self) -> MutexGuard<'_, Mail> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl CallbackHost for Mailbox {
    fn call(&self, call: Call) -> BoxFuture<'static, Result<Value>> {
        let mut mail = self.lock();
        if !mail.running {
            return ready(Err(gone())).boxed();
        }
        let (reply, answer) = oneshot::channel();
        mail.calls.push_back((call, reply));
        let waker = mail.waker.clone();
        drop(mail);
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

/// The functions that the host holds tickets for. `F` is an engine's handle to one, `O` to what one was handed over in.
pub(crate) struct Callbacks<F, O> {
    functions: RefCell<HashMap<u64, Held<F, O>>>,
    mailbox: Arc<Mailbox>,
}

/// A function that the host holds a ticket for.
#[derive(Clone)]
pub(crate) struct Held<F, O> {
    pub(crate) function: F,
    /// The table or object that it was handed over in.
    pub(crate) owner: Option<O>,
    /// How it looks at the world: as a task of the one that handed it out.
    pub(crate) cx: Context,
}

impl<F, O> Default for Callbacks<F, O> {
    fn default() -> Self {
        Self { functions: RefCell::default(), mailbox: Arc::default() }
    }
}

impl<F: Clone, O: Clone> Callbacks<F, O> {
    /// A ticket for a function.
    pub(crate) fn ticket(&self, held: Held<F, O>) -> Callback {
        self.drop_released();
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        self.functions.borrow_mut().insert(number, held);
        Callback::new(number, Arc::clone(&self.mailbox) as Arc<dyn CallbackHost>)
    }

    /// The function of a ticket, if it is one of this session's.
    pub(crate) fn function(&self, number: u64) -> Option<Held<F, O>> {
        self.functions.borrow().get(&number).cloned()
    }

    /// Takes calls from now on; `waker` is woken for each.
    pub(crate) fn open(&self, waker: &Waker) {
        let mut mail = self.mailbox.lock();
        mail.running = true;
        if !mail.waker.as_ref().is_some_and(|known| known.will_wake(waker)) {
            mail.waker = Some(waker.clone());
        }
    }

    /// The next call to make.
    pub(crate) fn next(&self) -> Option<Posted> {
        self.mailbox.lock().calls.pop_front()
    }

    /// Takes no more calls; those not made are answered with an error.
    pub(crate) fn close(&self) {
        let mut mail = self.mailbox.lock();
        mail.running = false;
        mail.waker = None;
        let calls = std::mem::take(&mut mail.calls);
        drop(mail);
        drop(calls);
        self.drop_released();
    }

    /// Lets go of all functions, whoever holds a ticket.
    pub(crate) fn forget(&self) {
        self.functions.take();
    }

    fn drop_released(&self) {
        let released = std::mem::take(&mut self.mailbox.lock().released);
        let mut functions = self.functions.borrow_mut();
        for number in released {
            functions.remove(&number);
        }
    }
}
