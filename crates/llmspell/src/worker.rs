//! Worker threads, on which the VMs live.
//!
//! A VM never leaves the thread that opened it. So each worker has a current-thread Tokio runtime, and a run is a job
//! that is posted to one worker and stays there. A worker serves many runs at once, since most of them wait for models
//! most of the time. Threads are started one by one as they are needed, and end when the runtime is dropped and their
//! runs have ended.

use std::fmt;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::LocalBoxFuture;
use llmspell_core::{Error, Result};
use tokio::sync::mpsc;
use tokio::task::LocalSet;

use crate::vm_pool::VmPool;
use crate::watchdog::{Watchdog, WatchdogSlot};

/// The stack of a worker. Compilers of scripts and the conversion of nested values recurse on the native stack.
const STACK_BYTES: usize = 8 * 1024 * 1024;

/// The things that a worker provides to each of its jobs: its slot in the watchdog and its pool of VMs.
#[derive(Clone)]
pub(crate) struct WorkerCx {
    pub(crate) slot: Arc<WatchdogSlot>,
    pub(crate) vm_pool: Rc<VmPool>,
}

type WorkerJob = Box<dyn FnOnce(WorkerCx, LoadGuard) -> LocalBoxFuture<'static, ()> + Send>;

struct Worker {
    jobs: mpsc::UnboundedSender<WorkerJob>,
    /// The number of jobs that were posted and have not ended.
    load: Arc<AtomicUsize>,
    slot: Arc<WatchdogSlot>,
}

/// The worker threads of a runtime.
pub(crate) struct Workers {
    most: usize,
    started: Mutex<Vec<Worker>>,
    watchdog: Watchdog,
}

impl Workers {
    pub(crate) fn new(most: usize, watchdog: Watchdog) -> Self {
        Self { most: most.max(1), started: Mutex::default(), watchdog }
    }

    /// Runs a job on the least busy worker. The job counts as load of this worker until it drops its [`LoadGuard`].
    pub(crate) fn post(
        &self,
        job: impl FnOnce(WorkerCx, LoadGuard) -> LocalBoxFuture<'static, ()> + Send + 'static,
    ) -> Result<()> {
        let mut started = self.started.lock().unwrap_or_else(PoisonError::into_inner);
        // A worker whose script is computing is the worst choice, because it may hold its thread for long. Runs that
        // wait only take moments of it.
        let idlest = started.iter().min_by_key(|worker| worker.burden());
        let idle = idlest.is_some_and(|worker| worker.burden() == (false, 0));
        if !idle && started.len() < self.most {
            let worker = self.start(started.len())?;
            worker.post(Box::new(job));
            started.push(worker);
        } else if let Some(worker) = idlest {
            worker.post(Box::new(job));
        }
        Ok(())
    }

    fn start(&self, number: usize) -> Result<Worker> {
        let failed = |error: std::io::Error| {
            Error::new(llmspell_core::ErrorKind::Io, format!("cannot start a worker thread: {error}"))
                .with_source(error)
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let slot = self.watchdog.slot().map_err(failed)?;
        let load = Arc::new(AtomicUsize::new(0));
        let (jobs, posted) = mpsc::unbounded_channel();
        let (ended, at_work) = (Arc::clone(&load), Arc::clone(&slot));
        std::thread::Builder::new()
            .name(format!("spell-worker-{number}"))
            .stack_size(STACK_BYTES)
            .spawn(move || {
                let tasks = LocalSet::new();
                tasks.block_on(&runtime, serve(posted, at_work, &ended));
                // The runtime was dropped, so no new run arrives. Those that have started go on to their end.
                runtime.block_on(tasks);
            })
            .map_err(failed)?;
        Ok(Worker { jobs, load, slot })
    }
}

impl Worker {
    /// Returns whether a script holds the thread, and the number of jobs.
    fn burden(&self) -> (bool, usize) {
        (self.slot.is_held(), self.load.load(Ordering::Relaxed))
    }

    fn post(&self, job: WorkerJob) {
        self.load.fetch_add(1, Ordering::Relaxed);
        // The send cannot fail: a worker receives until its sender is dropped.
        let _ = self.jobs.send(job);
    }
}

async fn serve(
    mut posted: mpsc::UnboundedReceiver<WorkerJob>,
    slot: Arc<WatchdogSlot>,
    load: &Arc<AtomicUsize>,
) {
    let worker_cx = WorkerCx { slot, vm_pool: Rc::new(VmPool::new()) };
    while let Some(job) = posted.recv().await {
        tokio::task::spawn_local(job(worker_cx.clone(), LoadGuard(Arc::clone(load))));
    }
}

/// Counts a job as load of its worker until it is dropped, whether the job finished, panicked or ended with its thread.
pub(crate) struct LoadGuard(Arc<AtomicUsize>);

impl Drop for LoadGuard {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl fmt::Debug for Workers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Workers").field("most", &self.most).finish_non_exhaustive()
    }
}
