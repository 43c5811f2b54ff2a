//! The guard of a model call under way. However the call ends, its reservation is released.

use std::sync::Arc;

use super::{Reservation, SpendLedger};
use crate::chat::Usage;

/// A model call that was counted, and its reservation. Dropping it releases the reservation.
#[derive(Debug)]
pub(crate) struct CountedCall {
    pub(super) ledger: Arc<SpendLedger>,
    pub(super) reservation: Reservation,
    state: CountedCallState,
    /// Whether nobody awaits the answer right now.
    idle: bool,
}

/// The state of a call, which decides what happens when it is dropped.
#[derive(Debug)]
enum CountedCallState {
    /// Waits for budget. Not counted if dropped.
    Waiting,
    /// Sent. Charged this estimated usage if dropped.
    Sent(Usage),
    /// Answered. The real usage has been charged.
    Settled,
    /// Answered from the cache. Not counted.
    None,
}

impl CountedCall {
    /// Creates a call that may be sent, without a reservation.
    pub(super) fn new(ledger: &Arc<SpendLedger>) -> Self {
        ledger.tree.set_active(true);
        let state = CountedCallState::Sent(Usage::default());
        Self { ledger: Arc::clone(ledger), reservation: Reservation::default(), state, idle: false }
    }

    /// Marks the call as answered and charged.
    pub(crate) fn settled(&mut self) {
        self.state = CountedCallState::Settled;
    }

    /// Marks the call as answered without asking a model.
    pub(crate) fn was_none(&mut self) {
        self.state = CountedCallState::None;
    }

    /// Records whether the answer is being awaited right now.
    pub(crate) fn set_idle(&mut self, idle: bool) {
        if self.idle != idle {
            self.idle = idle;
            self.ledger.tree.set_active(!idle);
        }
    }

    /// Marks the call as waiting for budget.
    pub(super) fn wait(&mut self) {
        self.state = CountedCallState::Waiting;
        self.ledger.set_under_way(false);
        self.set_idle(true);
    }

    /// Marks the call as sent, with its reservation and the usage to charge if it is dropped.
    pub(super) fn send(&mut self, reservation: Reservation, question: Usage) {
        self.reservation = reservation;
        self.state = CountedCallState::Sent(question);
        self.ledger.set_under_way(true);
        self.set_idle(false);
    }
}

impl Drop for CountedCall {
    fn drop(&mut self) {
        let (waits, counts) = (
            matches!(self.state, CountedCallState::Waiting),
            !matches!(self.state, CountedCallState::Waiting | CountedCallState::None),
        );
        if let CountedCallState::Sent(question) = &self.state {
            self.ledger.settle(question);
        }
        self.set_idle(true);
        self.ledger.end(self.reservation, waits, counts);
    }
}
