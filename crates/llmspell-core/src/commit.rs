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

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
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

/// The progress of a journal's writer, shared by the run and the writer.
#[derive(Debug, Default)]
pub struct Commits {
    reached: AtomicU64,
    failure: OnceLock<Error>,
    waiting: Mutex<Vec<(CommitPoint, Waker)>>,
    changed: Condvar,
}

impl Commits {
    /// Marks all records up to this point as durable.
    pub fn advance(&self, to: CommitPoint) {
        let mut waiting = self.lock();
        self.reached.fetch_max(to.0, Ordering::Release);
        let ready: Vec<_> = waiting.extract_if(.., |(point, _)| *point <= to).collect();
        self.changed.notify_all();
        drop(waiting);
        wake(ready);
    }

    /// Marks the writer as failed: no further record becomes durable, and all waits end. Only the first failure is
    /// stored.
    pub fn fail(&self, error: Error) {
        let mut waiting = self.lock();
        let _ = self.failure.set(error);
        let ready = std::mem::take(&mut *waiting);
        self.changed.notify_all();
        drop(waiting);
        wake(ready);
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

    /// Registers a waker for this point. Returns `true` without registering it if the point is settled already.
    pub(crate) fn wake_at(&self, point: CommitPoint, waker: &Waker) -> bool {
        if self.is_settled(point) {
            return true;
        }
        let mut waiting = self.lock();
        // Check again under the lock, because the writer takes the lock before it wakes anybody.
        if self.is_settled(point) {
            return true;
        }
        match waiting.iter_mut().find(|(at, known)| *at == point && known.will_wake(waker)) {
            Some((_, known)) => known.clone_from(waker),
            None => waiting.push((point, waker.clone())),
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
        let mut waiting = self.lock();
        while !self.is_settled(point) {
            waiting = self.changed.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
        drop(waiting);
        self.result(point)
    }

    fn result(&self, point: CommitPoint) -> Result<()> {
        match self.failure.get() {
            Some(error) if self.reached.load(Ordering::Acquire) < point.0 => Err(error.clone()),
            _ => Ok(()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(CommitPoint, Waker)>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn wake(ready: Vec<(CommitPoint, Waker)>) {
    ready.into_iter().for_each(|(_, waker)| waker.wake());
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
