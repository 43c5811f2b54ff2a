//! The answer sequencer: answers reach the script one at a time, in an order that a replay can repeat.
//!
//! Answers arrive whenever the world has them, often several at once. If each were handed to the script as it arrives,
//! a script with parallel branches would depend on microseconds that no journal can repeat. So each answer draws a number
//! when it arrives and waits. When the script has nothing else to do, its engine asks for the [next](Turns::next) answer,
//! and the one with the lowest number goes, if its record is durable. A replay waits with the recorded numbers, so the
//! same answer goes at the same point of the script, whatever the order in which the effects are looked up.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context as TaskContext, Poll, Waker};

use crate::commit::{CommitPoint, Commits};

/// Answers that were never recorded go after all others.
const NEVER_ENDED: u64 = 1 << 63;

/// The turns of a run and of its family.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    /// The last number that was drawn.
    drawn: AtomicU64,
    /// An engine says when the script has nothing to do.
    driven: AtomicBool,
    /// Answers wait until the engine lets them go; else they go at once.
    taken: AtomicBool,
    waiting: Mutex<BTreeMap<u64, Waiting>>,
    /// How far the journal's records are durable, if it has a writer.
    commits: Option<Arc<Commits>>,
}

/// An answer in the queue.
#[derive(Debug)]
struct Waiting {
    waker: Waker,
    /// Its record.
    point: CommitPoint,
}

/// What became of the answer at the head of the queue.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// It goes.
    Released,
    /// Its record is not durable yet; the engine is woken when it is.
    NotDurable,
    /// No answer waits.
    Empty,
}

impl Turns {
    /// Turns whose numbers begin after those of a journal.
    pub(crate) fn after(last: u64, commits: Option<Arc<Commits>>) -> Self {
        Self { drawn: AtomicU64::new(last), commits, ..Self::default() }
    }

    /// The number of an answer that has just arrived.
    pub(crate) fn draw(&self) -> u64 {
        self.drawn.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Waits until it is this number's turn. A recorded answer is durable already.
    pub(crate) fn wait(self: &Arc<Self>, number: u64) -> Turn {
        self.wait_committed(number, CommitPoint::REACHED)
    }

    /// The same for an answer whose record is durable at this point.
    pub(crate) fn wait_committed(self: &Arc<Self>, number: u64, point: CommitPoint) -> Turn {
        Turn { turns: Arc::clone(self), number, point, waits: None }
    }

    /// Waits until nothing else can come: the wait for an answer that never came.
    pub(crate) fn wait_for_the_end(self: &Arc<Self>) -> Turn {
        self.wait(NEVER_ENDED | self.draw())
    }

    /// Says that an engine asks for the next one from now on, and whether answers wait for that.
    pub(crate) fn take(&self, answers_wait: bool) {
        self.driven.store(true, Ordering::Relaxed);
        self.taken.store(answers_wait, Ordering::Relaxed);
    }

    /// Whether an engine says when the script has nothing to do.
    pub(crate) fn are_driven(&self) -> bool {
        self.driven.load(Ordering::Relaxed)
    }

    /// Lets the next answer go, if one waits and its record is durable.
    pub(crate) fn next(&self) -> Next {
        let mut waiting = self.waiting();
        let Some(head) = waiting.first_entry() else { return Next::Empty };
        let Waiting { waker, point } = head.get();
        if self.commits.as_ref().is_some_and(|commits| !commits.wake_at(*point, waker)) {
            return Next::NotDurable;
        }
        let waker = head.remove().waker;
        drop(waiting);
        waker.wake();
        Next::Released
    }

    pub(crate) fn commits(&self) -> Option<&Arc<Commits>> {
        self.commits.as_ref()
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, BTreeMap<u64, Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A wait for a turn.
#[derive(Debug)]
pub(crate) struct Turn {
    turns: Arc<Turns>,
    number: u64,
    point: CommitPoint,
    /// Whether it is in the queue; `None` before the first poll, false when it was let go.
    waits: Option<bool>,
}

impl Future for Turn {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, task: &mut TaskContext<'_>) -> Poll<()> {
        let this = &mut *self;
        if this.waits.is_none() && !this.turns.taken.load(Ordering::Relaxed) {
            // Without a queue, only the record has to be durable.
            return match &this.turns.commits {
                Some(commits) if !commits.wake_at(this.point, task.waker()) => Poll::Pending,
                _ => Poll::Ready(()),
            };
        }
        let mut waiting = this.turns.waiting();
        let waits = match this.waits {
            None => true,
            Some(waits) => waits && waiting.contains_key(&this.number),
        };
        this.waits = Some(waits);
        if !waits {
            return Poll::Ready(());
        }
        waiting.insert(this.number, Waiting { waker: task.waker().clone(), point: this.point });
        Poll::Pending
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if self.waits == Some(true) {
            self.turns.waiting().remove(&self.number);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn goes(turn: &mut Turn) -> bool {
        turn.now_or_never().is_some()
    }

    #[test]
    fn the_lowest_number_goes_first_and_only_when_it_is_let_go() {
        let turns = Arc::new(Turns::after(10, None));
        turns.take(true);
        let (mut first, mut second) = (turns.wait(turns.draw()), turns.wait(3));
        let mut never = turns.wait_for_the_end();
        for turn in [&mut first, &mut second, &mut never] {
            assert!(!goes(turn));
        }
        assert_eq!(turns.next(), Next::Released);
        assert!(!goes(&mut first) && goes(&mut second) && !goes(&mut never));
        drop(first);
        assert_eq!(turns.next(), Next::Released);
        assert!(goes(&mut never));
        assert_eq!(turns.next(), Next::Empty);
    }

    #[test]
    fn an_answer_waits_for_its_record_and_holds_up_those_after_it() {
        let commits = Arc::new(Commits::default());
        let turns = Arc::new(Turns::after(0, Some(Arc::clone(&commits))));
        turns.take(true);
        let point = CommitPoint::REACHED.next();
        let (mut first, mut second) = (turns.wait_committed(1, point), turns.wait(2));
        assert!(!goes(&mut first) && !goes(&mut second));
        assert_eq!(turns.next(), Next::NotDurable);
        assert!(!goes(&mut second), "it keeps its place in the order");
        commits.advance(point);
        assert_eq!(turns.next(), Next::Released);
        assert!(goes(&mut first) && !goes(&mut second));
    }

    #[test]
    fn without_an_engine_only_the_record_is_waited_for() {
        let commits = Arc::new(Commits::default());
        let turns = Arc::new(Turns::after(0, Some(Arc::clone(&commits))));
        assert!(turns.wait(turns.draw()).now_or_never().is_some());
        let point = CommitPoint::REACHED.next();
        let mut turn = turns.wait_committed(turns.draw(), point);
        assert!(!goes(&mut turn));
        commits.advance(point);
        assert!(goes(&mut turn));
    }
}
