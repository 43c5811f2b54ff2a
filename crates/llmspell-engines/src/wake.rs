//! The parts that the schedulers of all engines share: counting tasks, noticing wake-ups, and giving way to neighbours.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context as TaskContext, Poll, Wake, Waker};

use futures_util::task::AtomicWaker;
use llmspell_core::{Context, Result};

/// A guard that counts a task against the `tasks` limit while it lives.
pub(crate) struct TaskGuard(Context);

impl TaskGuard {
    pub(crate) fn new(cx: &Context) -> Result<Self> {
        cx.meter().start_task()?;
        Ok(Self(cx.clone()))
    }
}

impl Drop for TaskGuard {
    fn drop(&mut self) {
        self.0.meter().end_task();
    }
}

/// A waker that records whether anything of the run was woken, and wakes the task that polls the run.
#[derive(Default)]
pub(crate) struct TrackingWaker {
    rang: AtomicBool,
    outer: AtomicWaker,
}

impl TrackingWaker {
    /// Sets the waker to pass wake-ups on to. Called at the start of each poll.
    pub(crate) fn begin(&self, outer: &Waker) {
        self.outer.register(outer);
    }

    /// Clears the record.
    pub(crate) fn reset(&self) {
        self.rang.store(false, Ordering::Relaxed);
    }

    /// Returns whether anything was woken since the last [`reset`](Self::reset).
    pub(crate) fn rang(&self) -> bool {
        self.rang.load(Ordering::Relaxed)
    }
}

impl Wake for TrackingWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.rang.store(true, Ordering::Relaxed);
        self.outer.wake();
    }
}

/// Returns `Pending`, and has the current task polled again after its neighbours on the thread, timers and sockets.
///
/// Waking the task directly is not enough, because a thread polls its own queue before timers and sockets. tokio's
/// `yield_now` defers the wake-up until after those.
pub(crate) fn after_neighbours<T>(cx: &mut TaskContext<'_>) -> Poll<T> {
    let _ = pin!(tokio::task::yield_now()).poll(cx);
    Poll::Pending
}
