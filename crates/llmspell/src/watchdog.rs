//! The watchdog: a thread that interrupts scripts which have reached a limit.
//!
//! A script that computes does not yield, so its own thread cannot watch the clock. Every few milliseconds the watchdog
//! looks at each worker that executes a script. When a limit may be reached, it sets the flag that the VM's interrupt
//! reads; the script's thread then checks its meter and decides. While no script computes, the watchdog sleeps.
//!
//! Each poll of a run is charged separately ([`WatchdogSlot::drive`]), so waiting costs nothing and runs on one thread
//! do not pay for each other. Native code that cannot be interrupted is only reported, through [`OnUnresponsive`].

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::task::{self, Poll};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use llmspell_core::{Context, Error, Result};

/// The interval between two looks at the workers. A limit is noticed at most this late.
const TICK: Duration = Duration::from_millis(5);

/// The longest usual poll of a run that mostly waits. A longer one counts as holding the thread.
const MOMENT: Duration = Duration::from_millis(1);

/// The callback for a run that ignored a limit for too long, because native code that cannot be interrupted holds its
/// thread.
pub(crate) type OnUnresponsive = Box<dyn Fn(&Error) + Send + Sync>;

pub(crate) struct Unresponsive {
    pub(crate) after: Duration,
    pub(crate) call: OnUnresponsive,
}

/// The work of one worker thread at this moment.
pub(crate) struct WatchdogSlot {
    /// The run whose poll is executing, and when that poll began.
    at_work: Mutex<Option<(Context, Instant)>>,
    shared: Arc<WatchdogShared>,
}

struct WatchdogShared {
    /// Whether the watchdog sleeps until a worker wakes it.
    parked: AtomicBool,
    thread: OnceLock<Thread>,
    slots: Mutex<Vec<Weak<WatchdogSlot>>>,
    unresponsive: Option<Unresponsive>,
}

/// Looks at all active runs every few milliseconds, and sleeps while there are none.
pub(crate) struct Watchdog(Arc<WatchdogShared>);

impl Watchdog {
    pub(crate) fn new(unresponsive: Option<Unresponsive>) -> Self {
        Self(Arc::new(WatchdogShared {
            parked: AtomicBool::new(false),
            thread: OnceLock::new(),
            slots: Mutex::default(),
            unresponsive,
        }))
    }

    /// Creates the slot of one more worker. The first call starts the watchdog's thread.
    pub(crate) fn slot(&self) -> io::Result<Arc<WatchdogSlot>> {
        let slot = Arc::new(WatchdogSlot { at_work: Mutex::default(), shared: Arc::clone(&self.0) });
        let mut slots = lock(&self.0.slots);
        slots.push(Arc::downgrade(&slot));
        if self.0.thread.get().is_none() {
            let shared = Arc::downgrade(&self.0);
            let handle =
                thread::Builder::new().name("spell-watchdog".into()).spawn(move || watch(&shared))?;
            let _ = self.0.thread.set(handle.thread().clone());
        }
        Ok(slot)
    }
}

impl Drop for WatchdogShared {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }
}

fn watch(shared: &Weak<WatchdogShared>) {
    while let Some(shared) = shared.upgrade() {
        if shared.tick() {
            drop(shared);
            thread::sleep(TICK);
            continue;
        }
        shared.parked.store(true, Ordering::Relaxed);
        // Dekker-style handshake with `WatchdogSlot::begin`: the worker sees `parked`, or this thread sees the worker's
        // run.
        fence(Ordering::SeqCst);
        let idle = !shared.tick();
        drop(shared);
        if idle {
            thread::park();
        }
    }
}

impl WatchdogShared {
    /// Looks at every worker once. Returns whether any of them executes a script.
    fn tick(&self) -> bool {
        let mut slots = lock(&self.slots);
        slots.retain(|slot| slot.strong_count() > 0);
        let slots: Vec<_> = slots.iter().filter_map(Weak::upgrade).collect();
        let mut at_work = false;
        for (cx, _) in slots.iter().filter_map(|slot| lock(&slot.at_work).clone()) {
            at_work |= cx.meter().watch();
            if let Some(unresponsive) = &self.unresponsive
                && let Some(error) = cx.meter().overdue(unresponsive.after)
            {
                (unresponsive.call)(&error);
            }
        }
        at_work
    }
}

impl WatchdogSlot {
    fn begin(&self, cx: &Context) {
        *lock(&self.at_work) = Some((cx.clone(), Instant::now()));
        fence(Ordering::SeqCst);
        if self.shared.parked.load(Ordering::Relaxed)
            && self.shared.parked.swap(false, Ordering::Relaxed)
            && let Some(thread) = self.shared.thread.get()
        {
            thread.unpark();
        }
    }

    /// Whether the current poll has lasted longer than polls of waiting runs usually do.
    pub(crate) fn is_held(&self) -> bool {
        lock(&self.at_work).as_ref().is_some_and(|(_, since)| since.elapsed() > MOMENT)
    }

    fn end(&self) {
        *lock(&self.at_work) = None;
    }

    /// Runs synchronous work, watched and charged to the run.
    pub(crate) fn watched<T>(&self, cx: &Context, work: impl FnOnce() -> T) -> T {
        let charged = cx.meter().work();
        self.begin(cx);
        let result = work();
        self.end();
        drop(charged);
        result
    }

    /// Drives a future of a run to its end. Each poll is watched and charged. The future is dropped at the first limit,
    /// cancellation or deadline, whose error is returned.
    pub(crate) async fn drive<T>(&self, cx: &Context, future: impl Future<Output = Result<T>>) -> Result<T> {
        let watched = WatchedPoll { slot: self, cx, future: Box::pin(future) };
        let deadline = async {
            match cx.meter().deadline() {
                Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = cx.cancellation().cancelled() => Err(cx.meter().state().err().unwrap_or_else(Error::cancelled)),
            result = watched => result,
            () = deadline => Err(cx.meter().trip(llmspell_core::Limit::Wall)),
        }
    }
}

struct WatchedPoll<'a, F> {
    slot: &'a WatchdogSlot,
    cx: &'a Context,
    future: Pin<Box<F>>,
}

impl<T, F: Future<Output = Result<T>>> Future for WatchedPoll<'_, F> {
    type Output = Result<T>;

    fn poll(mut self: Pin<&mut Self>, task: &mut task::Context<'_>) -> Poll<Result<T>> {
        let (slot, cx) = (self.slot, self.cx);
        let polled = slot.watched(cx, || self.future.as_mut().poll(task));
        // A limit wins over the result, because a script could have caught the error of the interrupt.
        match cx.meter().state() {
            Ok(()) => polled,
            Err(error) => Poll::Ready(Err(error)),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
