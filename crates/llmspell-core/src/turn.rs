//! Turns: answers reach the script one at a time, in an order that can be kept.
//!
//! Answers arrive whenever the world has them, several of them at once, perhaps. Were each handed to the script as it
//! arrives, what a script with parallel branches does next would hang on microseconds that no journal can repeat. So each
//! one draws a number and waits until the script has nothing else to do; then the lowest number goes. A replay that waits
//! with the numbers written down lets the same answer go at the same place of the script, whatever the order in which
//! they are asked for.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context as TaskContext, Poll, Waker};

use futures_util::stream::Stream;

/// Answers that nobody wrote down go after all others.
const NEVER_ENDED: u64 = 1 << 63;

/// The turns of a run and of its family.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    /// The last number that was drawn.
    drawn: AtomicU64,
    /// An engine says when the script has nothing to do.
    driven: AtomicBool,
    /// It lets them go then; else they go at once.
    taken: AtomicBool,
    waiting: Mutex<BTreeMap<u64, Waker>>,
}

impl Turns {
    /// Turns whose numbers begin behind those of a journal.
    pub(crate) fn after(last: u64) -> Self {
        Self { drawn: AtomicU64::new(last), ..Self::default() }
    }

    /// The number of an answer that has just arrived.
    pub(crate) fn draw(&self) -> u64 {
        self.drawn.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Waits until it is this number's turn.
    pub(crate) fn wait(self: &Arc<Self>, number: u64) -> Turn {
        Turn { turns: Arc::clone(self), number, waits: None }
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

    /// Lets the next answer go, if one waits.
    pub(crate) fn next(&self) -> bool {
        let next = self.waiting().pop_first();
        next.map(|(_, waker)| waker.wake()).is_some()
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, BTreeMap<u64, Waker>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A wait for a turn.
#[derive(Debug)]
pub(crate) struct Turn {
    turns: Arc<Turns>,
    number: u64,
    /// Whether it stands in line; `None` before the first look, false when it was let go.
    waits: Option<bool>,
}

impl Future for Turn {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, task: &mut TaskContext<'_>) -> Poll<()> {
        let this = &mut *self;
        if this.waits.is_none() && !this.turns.taken.load(Ordering::Relaxed) {
            return Poll::Ready(());
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
        waiting.insert(this.number, task.waker().clone());
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

/// A stream whose items wait for their turns. They come with their numbers.
pub(crate) struct InTurn<S, T> {
    turns: Arc<Turns>,
    items: S,
    next: Option<(Turn, T)>,
}

impl<S: Stream<Item = (u64, T)> + Unpin, T: Unpin> InTurn<S, T> {
    pub(crate) fn new(turns: &Arc<Turns>, items: S) -> Self {
        Self { turns: Arc::clone(turns), items, next: None }
    }
}

impl<S: Stream<Item = (u64, T)> + Unpin, T: Unpin> Stream for InTurn<S, T> {
    type Item = (u64, T);

    fn poll_next(mut self: Pin<&mut Self>, task: &mut TaskContext<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if this.next.is_none() {
            match std::task::ready!(Pin::new(&mut this.items).poll_next(task)) {
                Some((number, item)) => this.next = Some((this.turns.wait(number), item)),
                None => return Poll::Ready(None),
            }
        }
        if let Some((turn, _)) = &mut this.next {
            std::task::ready!(Pin::new(turn).poll(task));
        }
        Poll::Ready(this.next.take().map(|(turn, item)| (turn.number, item)))
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn the_lowest_number_goes_first_and_only_when_it_is_let_go() {
        let turns = Arc::new(Turns::after(10));
        turns.take(true);
        let (mut first, mut second) = (turns.wait(turns.draw()), turns.wait(3));
        let mut never = turns.wait_for_the_end();
        let look = |turn: &mut Turn| turn.now_or_never().is_some();
        for turn in [&mut first, &mut second, &mut never] {
            assert!(!look(turn));
        }
        assert!(turns.next());
        assert!(!look(&mut first) && look(&mut second) && !look(&mut never));
        drop(first);
        assert!(turns.next());
        assert!(look(&mut never));
        assert!(!turns.next());
    }

    #[test]
    fn without_an_engine_nobody_waits() {
        let turns = Arc::new(Turns::default());
        assert!(turns.wait(turns.draw()).now_or_never().is_some());
    }
}
