//! The guard of a model call under way. However the call ends, its reservation is released.

use std::sync::Arc;

use super::{Need, Purse};
use crate::chat::Usage;

/// A model call that was counted, and its reservation. Dropping it releases the reservation.
#[derive(Debug)]
pub(crate) struct Call {
    pub(super) purse: Arc<Purse>,
    pub(super) need: Need,
    stage: Stage,
    /// Whether nobody awaits the answer right now.
    idle: bool,
}

/// The state of a call, which decides what happens when it is dropped.
#[derive(Debug)]
enum Stage {
    /// Waits for budget. Not counted if dropped.
    Waiting,
    /// Sent. Charged this estimated usage if dropped.
    Sent(Usage),
    /// Answered. The real usage has been charged.
    Settled,
    /// Answered from the cache. Not counted.
    None,
}

impl Call {
    /// Creates a call that may be sent, without a reservation.
    pub(super) fn new(purse: &Arc<Purse>) -> Self {
        purse.family.set_active(true);
        let stage = Stage::Sent(Usage::default());
        Self { purse: Arc::clone(purse), need: Need::default(), stage, idle: false }
    }

    /// Marks the call as answered and charged.
    pub(crate) fn settled(&mut self) {
        self.stage = Stage::Settled;
    }

    /// Marks the call as answered without asking a model.
    pub(crate) fn was_none(&mut self) {
        self.stage = Stage::None;
    }

    /// Records whether the answer is being awaited right now.
    pub(crate) fn set_idle(&mut self, idle: bool) {
        if self.idle != idle {
            self.idle = idle;
            self.purse.family.set_active(!idle);
        }
    }

    /// Marks the call as waiting for budget.
    pub(super) fn wait(&mut self) {
        self.stage = Stage::Waiting;
        self.purse.set_under_way(false);
        self.set_idle(true);
    }

    /// Marks the call as sent, with its reservation and the usage to charge if it is dropped.
    pub(super) fn send(&mut self, need: Need, question: Usage) {
        self.need = need;
        self.stage = Stage::Sent(question);
        self.purse.set_under_way(true);
        self.set_idle(false);
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let (waits, counts) =
            (matches!(self.stage, Stage::Waiting), !matches!(self.stage, Stage::Waiting | Stage::None));
        if let Stage::Sent(question) = &self.stage {
            self.purse.settle(question);
        }
        self.set_idle(true);
        self.purse.end(self.need, waits, counts);
    }
}
