//! What the schedules of all engines share: who was woken, who is alive, and who goes first.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context as TaskContext, Poll, Wake, Waker};

use futures_util::task::AtomicWaker;
use llmspell_core::{Context, Result};

/// Counts a task as alive while it lives.
pub(crate) struct Alive(Context);

impl Alive {
    pub(crate) fn new(cx: &Context) -> Result<Self> {
        cx.meter().start_task()?;
        Ok(Self(cx.clone()))
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.meter().end_task();
    }
}

/// Hears whether anything of the run was woken, and passes it on.
#[derive(Default)]
pub(crate) struct Alarm {
    rang: AtomicBool,
    outer: AtomicWaker,
}

impl Alarm {
    /// Says whom to pass it on to, for as long as this poll.
    pub(crate) fn begin(&self, outer: &Waker) {
        self.outer.register(outer);
    }

    /// Forgets what it heard.
    pub(crate) fn reset(&self) {
        self.rang.store(false, Ordering::Relaxed);
    }

    /// Whether anything was woken since it last forgot.
    pub(crate) fn rang(&self) -> bool {
        self.rang.load(Ordering::Relaxed)
    }
}

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.rang.store(true, Ordering::Relaxed);
        self.outer.wake();
    }
}

/// Has the task polled again once all others on its thread, and what they wait for, have had their turn. Waking it at
/// once would not do: a thread's own queue comes before its timers and sockets.
pub(crate) fn after_neighbours<T>(cx: &mut TaskContext<'_>) -> Poll<T> {
    let _ = pin!(tokio::task::yield_now()).poll(cx);
    Poll::Pending
}
