//! The answer sequencer delivers answers to the script one at a time, in an order that a replay can repeat.
//!
//! Answers arrive at any time, often several at once. If the script received each one on arrival, a script with
//! parallel branches would depend on timing that no journal can repeat. The sequencer ([`AnswerSequencer`]) removes
//! that dependency:
//!
//! 1. An answer draws a sequence number when it arrives ([`draw`](AnswerSequencer::draw)), is recorded with it, and
//!    waits in a queue.
//! 2. When the script has nothing else to do, its engine calls [`next`](AnswerSequencer::next).
//! 3. `next` releases the answer with the lowest number, if its record is durable. If not, the engine tries again
//!    later: an answer never overtakes one with a lower number.
//!
//! A replay does not draw numbers. It queues answers under their recorded numbers, so each answer is released at the
//! same point of the script, in whatever order the effects are looked up. Example: two parallel model calls, and the
//! second answers first.
//!
//! | | `main.1#1` | `main.2#1` | order of release |
//! |---|---|---|---|
//! | the live run draws | 2 | 1 | `main.2#1`, `main.1#1` |
//! | a replay waits with the recorded numbers | 2 | 1 | the same |
//!
//! Until an engine takes control ([`take`](AnswerSequencer::take)), or if no order is recorded, answers are not queued.
//! They only wait until their records are durable.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context as TaskContext, Poll, Waker};

use crate::commit::{CommitPoint, Commits};

/// This bit puts effects that never ended after all others in the queue.
const NEVER_ENDED: u64 = 1 << 63;

/// The answer sequencer of a run and its child runs.
#[derive(Debug, Default)]
pub(crate) struct AnswerSequencer {
    /// The last sequence number that was drawn.
    drawn: AtomicU64,
    /// Whether an engine calls [`next`](Self::next) when the script has nothing to do.
    driven: AtomicBool,
    /// Whether answers wait in the queue for the engine. If not, they are released immediately.
    taken: AtomicBool,
    waiting: Mutex<BTreeMap<u64, QueuedAnswer>>,
    /// How far the journal's records are durable, if the journal has a writer.
    commits: Option<Arc<Commits>>,
}

/// An answer in the queue.
#[derive(Debug)]
struct QueuedAnswer {
    waker: Waker,
    /// The commit point of its record.
    point: CommitPoint,
}

/// The result of a request to release the next answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NextAnswer {
    /// An answer was released.
    Released,
    /// The record of the next answer is not durable yet. Its waker is called when it is.
    NotDurable,
    /// The queue is empty.
    Empty,
}

impl AnswerSequencer {
    /// Creates a sequencer whose numbers begin after `last`, the highest number in the journal.
    pub(crate) fn after(last: u64, commits: Option<Arc<Commits>>) -> Self {
        Self { drawn: AtomicU64::new(last), commits, ..Self::default() }
    }

    /// Draws the sequence number of an answer that has just arrived.
    pub(crate) fn draw(&self) -> u64 {
        self.drawn.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Waits for the release of a recorded answer, which is durable already.
    pub(crate) fn wait(self: &Arc<Self>, number: u64) -> Ticket {
        self.wait_committed(number, CommitPoint::REACHED)
    }

    /// Waits for the release of an answer whose record is durable at `point`.
    pub(crate) fn wait_committed(self: &Arc<Self>, number: u64, point: CommitPoint) -> Ticket {
        Ticket { sequencer: Arc::clone(self), number, point, waits: None }
    }

    /// Waits until no other answer is queued, for a recorded effect that never ended.
    pub(crate) fn wait_for_the_end(self: &Arc<Self>) -> Ticket {
        self.wait(NEVER_ENDED | self.draw())
    }

    /// Declares that an engine calls [`next`](Self::next) from now on, and whether answers wait in the queue for that.
    pub(crate) fn take(&self, answers_wait: bool) {
        self.driven.store(true, Ordering::Relaxed);
        self.taken.store(answers_wait, Ordering::Relaxed);
    }

    /// Returns whether an engine calls [`next`](Self::next) when the script has nothing to do.
    pub(crate) fn are_driven(&self) -> bool {
        self.driven.load(Ordering::Relaxed)
    }

    /// Releases the next answer, if one is queued and its record is durable.
    pub(crate) fn next(&self) -> NextAnswer {
        let Some(point) = self.waiting().first_key_value().map(|(_, head)| head.point) else {
            return NextAnswer::Empty;
        };
        if let Some(commits) = &self.commits {
            // Without the lock, because this may write to a disk.
            commits.settle(point);
        }
        let mut waiting = self.waiting();
        let Some(head) = waiting.first_entry() else { return NextAnswer::Empty };
        let QueuedAnswer { waker, point } = head.get();
        if self.commits.as_ref().is_some_and(|commits| !commits.register(*point, waker)) {
            return NextAnswer::NotDurable;
        }
        let waker = head.remove().waker;
        drop(waiting);
        waker.wake();
        NextAnswer::Released
    }

    pub(crate) fn commits(&self) -> Option<&Arc<Commits>> {
        self.commits.as_ref()
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, BTreeMap<u64, QueuedAnswer>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The wait for the release of one answer.
#[derive(Debug)]
pub(crate) struct Ticket {
    sequencer: Arc<AnswerSequencer>,
    number: u64,
    point: CommitPoint,
    /// Whether the answer is queued: `None` before the first poll, `false` after the release.
    waits: Option<bool>,
}

impl Future for Ticket {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, task: &mut TaskContext<'_>) -> Poll<()> {
        let this = &mut *self;
        if this.waits.is_none() && !this.sequencer.taken.load(Ordering::Relaxed) {
            // Without a queue, only the record has to be durable.
            return match &this.sequencer.commits {
                Some(commits) if !commits.wake_at(this.point, task.waker()) => Poll::Pending,
                _ => Poll::Ready(()),
            };
        }
        let mut waiting = this.sequencer.waiting();
        let waits = match this.waits {
            None => true,
            Some(waits) => waits && waiting.contains_key(&this.number),
        };
        this.waits = Some(waits);
        if !waits {
            return Poll::Ready(());
        }
        waiting.insert(this.number, QueuedAnswer { waker: task.waker().clone(), point: this.point });
        Poll::Pending
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if self.waits == Some(true) {
            self.sequencer.waiting().remove(&self.number);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn goes(turn: &mut Ticket) -> bool {
        turn.now_or_never().is_some()
    }

    #[test]
    fn the_lowest_number_goes_first_and_only_when_it_is_let_go() {
        let sequencer = Arc::new(AnswerSequencer::after(10, None));
        sequencer.take(true);
        let (mut first, mut second) = (sequencer.wait(sequencer.draw()), sequencer.wait(3));
        let mut never = sequencer.wait_for_the_end();
        for turn in [&mut first, &mut second, &mut never] {
            assert!(!goes(turn));
        }
        assert_eq!(sequencer.next(), NextAnswer::Released);
        assert!(!goes(&mut first) && goes(&mut second) && !goes(&mut never));
        drop(first);
        assert_eq!(sequencer.next(), NextAnswer::Released);
        assert!(goes(&mut never));
        assert_eq!(sequencer.next(), NextAnswer::Empty);
    }

    #[test]
    fn an_answer_waits_for_its_record_and_holds_up_those_after_it() {
        let commits = Arc::new(Commits::default());
        let sequencer = Arc::new(AnswerSequencer::after(0, Some(Arc::clone(&commits))));
        sequencer.take(true);
        let point = CommitPoint::REACHED.next();
        let (mut first, mut second) = (sequencer.wait_committed(1, point), sequencer.wait(2));
        assert!(!goes(&mut first) && !goes(&mut second));
        assert_eq!(sequencer.next(), NextAnswer::NotDurable);
        assert!(!goes(&mut second), "it keeps its place in the order");
        commits.advance(point);
        assert_eq!(sequencer.next(), NextAnswer::Released);
        assert!(goes(&mut first) && !goes(&mut second));
    }

    #[test]
    fn without_an_engine_only_the_record_is_waited_for() {
        let commits = Arc::new(Commits::default());
        let sequencer = Arc::new(AnswerSequencer::after(0, Some(Arc::clone(&commits))));
        assert!(sequencer.wait(sequencer.draw()).now_or_never().is_some());
        let point = CommitPoint::REACHED.next();
        let mut turn = sequencer.wait_committed(sequencer.draw(), point);
        assert!(!goes(&mut turn));
        commits.advance(point);
        assert!(goes(&mut turn));
    }
}
