//! How far a journal's records are durable.
//!
//! A journal may hand its records to a writer on another thread. A record is then queued first and durable later. The
//! run must not depend on a record that is not durable:
//!
//! - an effect that is not idempotent starts only when the record of its start is durable (write-ahead);
//! - an answer reaches the script only when its record is durable, or a crash could lose an effect that the script has
//!   seen.
//!
//! [`Commits`] connects the two threads. The journal gives each record a [`CommitPoint`], its position in the queue.
//! The writer commits records in that order and [advances](Commits::advance) past them. The run waits for the points
//! that it depends on.
//!
//! A run that makes one call after another waits for every record. Two changes of thread would then cost more than the
//! commit itself. So whoever begins to wait first asks the [`Committer`], which commits on the waiting thread if that
//! takes only a moment.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::task::{Poll, Waker};

use crate::error::{Error, Result};

/// The position of a record in its journal's queue.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommitPoint(u64);

impl CommitPoint {
    /// The point of a record that needs no waiting.
    pub const REACHED: Self = Self(0);

    /// Returns the point of the next record.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// Commits the queued records of a journal.
pub trait Committer: Send + Sync + fmt::Debug {
    /// Commits the queued records on the calling thread if that takes only a moment, and otherwise wakes the writer.
    fn commit(self: Arc<Self>);
}

/// The progress of a journal's writer, shared by the run and the writer.
#[derive(Debug, Default)]
pub struct Commits {
    reached: AtomicU64,
    failure: OnceLock<Error>,
    waiting: Mutex<Waiting>,
    changed: Condvar,
    committer: Option<Weak<dyn Committer>>,
}

#[derive(Debug, Default)]
struct Waiting {
    wakers: Vec<(CommitPoint, Waker)>,
    /// How many threads are blocked. Without any, nobody has to be notified, which saves a system call per commit.
    blocked: usize,
}

impl Commits {
    /// Creates the progress of a writer that can be asked to commit.
    #[must_use]
    pub fn of(committer: Weak<dyn Committer>) -> Self {
        Self { committer: Some(committer), ..Self::default() }
    }

    /// Asks for the commit of a point, unless it is settled. Returns whether it is settled now.
    pub(crate) fn settle(&self, point: CommitPoint) -> bool {
        if self.is_settled(point) {
            return true;
        }
        if let Some(committer) = self.committer.as_ref().and_then(Weak::upgrade) {
            committer.commit();
        }
        self.is_settled(point)
    }

    /// Marks all records up to this point as durable.
    pub fn advance(&self, to: CommitPoint) {
        let mut waiting = self.lock();
        self.reached.fetch_max(to.0, Ordering::Release);
        let ready = waiting.wakers.extract_if(.., |(point, _)| *point <= to).collect();
        self.wake(waiting, ready);
    }

    /// Marks the writer as failed: no further record becomes durable, and all waits end. Only the first failure is
    /// stored.
    pub fn fail(&self, error: Error) {
        let mut waiting = self.lock();
        let _ = self.failure.set(error);
        let ready = std::mem::take(&mut waiting.wakers);
        self.wake(waiting, ready);
    }

    /// Returns why the writer failed.
    #[must_use]
    pub fn failure(&self) -> Option<&Error> {
        self.failure.get()
    }

    /// Returns whether waiting for this point is unnecessary: the record is durable, or the writer has failed.
    #[must_use]
    pub fn is_settled(&self, point: CommitPoint) -> bool {
        self.reached.load(Ordering::Acquire) >= point.0 || self.failure.get().is_some()
    }

    /// Asks for the commit of this point, and registers a waker for it. Returns `true` without registering the waker if
    /// the point is settled.
    pub(crate) fn wake_at(&self, point: CommitPoint, waker: &Waker) -> bool {
        self.settle(point) || self.register(point, waker)
    }

    /// Registers a waker for this point. Returns `true` without registering it if the point is settled.
    pub(crate) fn register(&self, point: CommitPoint, waker: &Waker) -> bool {
        let mut waiting = self.lock();
        // Check again under the lock, because the writer takes the lock before it wakes anybody.
        if self.is_settled(point) {
            return true;
        }
        match waiting.wakers.iter_mut().find(|(at, known)| *at == point && known.will_wake(waker)) {
            Some((_, known)) => known.clone_from(waker),
            None => waiting.wakers.push((point, waker.clone())),
        }
        false
    }

    /// Waits until the records up to this point are durable.
    ///
    /// # Errors
    /// Why the writer failed.
    pub async fn reached(&self, point: CommitPoint) -> Result<()> {
        std::future::poll_fn(|task| match self.wake_at(point, task.waker()) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        })
        .await;
        self.result(point)
    }

    /// Blocks the thread until the records up to this point are durable.
    ///
    /// # Errors
    /// Why the writer failed.
    pub fn wait(&self, point: CommitPoint) -> Result<()> {
        self.settle(point);
        let mut waiting = self.lock();
        waiting.blocked += 1;
        while !self.is_settled(point) {
            waiting = self.changed.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
        waiting.blocked -= 1;
        drop(waiting);
        self.result(point)
    }

    fn result(&self, point: CommitPoint) -> Result<()> {
        match self.failure.get() {
            Some(error) if self.reached.load(Ordering::Acquire) < point.0 => Err(error.clone()),
            _ => Ok(()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(&self, waiting: MutexGuard<'_, Waiting>, ready: Vec<(CommitPoint, Waker)>) {
        if waiting.blocked > 0 {
            self.changed.notify_all();
        }
        drop(waiting);
        ready.into_iter().for_each(|(_, waker)| waker.wake());
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn a_point_is_settled_when_the_writer_has_passed_it_or_failed() {
        let commits = Commits::default();
        let (first, second) = (CommitPoint::REACHED.next(), CommitPoint::REACHED.next().next());
        assert!(commits.is_settled(CommitPoint::REACHED) && !commits.is_settled(first));
        let mut wait = Box::pin(commits.reached(first));
        assert!((&mut wait).now_or_never().is_none());
        commits.advance(first);
        wait.now_or_never().unwrap().unwrap();
        assert!(!commits.is_settled(second));
        commits.fail(Error::runtime("disk full"));
        commits.fail(Error::runtime("disk gone"));
        commits.reached(first).now_or_never().unwrap().unwrap();
        assert_eq!(commits.wait(second).unwrap_err().message(), "disk full");
    }

    #[derive(Debug, Default)]
    struct Inline(OnceLock<Arc<Commits>>, AtomicU64);

    impl Committer for Inline {
        fn commit(self: Arc<Self>) {
            self.1.fetch_add(1, Ordering::Relaxed);
            self.0.get().unwrap().advance(CommitPoint(2));
        }
    }

    #[test]
    fn a_wait_asks_the_committer_and_then_needs_no_waking() {
        let inline = Arc::new(Inline::default());
        let commits = Arc::new(Commits::of(Arc::downgrade(&inline) as Weak<dyn Committer>));
        inline.0.set(Arc::clone(&commits)).unwrap();
        commits.reached(CommitPoint(1)).now_or_never().unwrap().unwrap();
        commits.wait(CommitPoint(2)).unwrap();
        assert_eq!(inline.1.load(Ordering::Relaxed), 1, "the second point was settled with the first");
        let mut later = Box::pin(commits.reached(CommitPoint(3)));
        assert!((&mut later).now_or_never().is_none(), "the committer left it to the writer");
        commits.advance(CommitPoint(3));
        later.now_or_never().unwrap().unwrap();
    }

    #[test]
    fn a_blocked_thread_goes_on_when_its_point_is_reached() {
        let commits = Commits::default();
        let point = CommitPoint::REACHED.next();
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| commits.wait(point));
            commits.advance(point);
            waits.join().unwrap().unwrap();
        });
    }
}
