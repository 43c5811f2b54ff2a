//! A call under way, as its purse sees it: however it ends, what was set aside for it is given back.

use std::sync::Arc;

use super::{Need, Purse};
use crate::chat::Usage;

/// A call that was counted, and what is set aside for it.
#[derive(Debug)]
pub(crate) struct Call {
    pub(super) purse: Arc<Purse>,
    pub(super) need: Need,
    stage: Stage,
    /// Whether nobody waits for its answer right now.
    idle: bool,
}

/// How far a call is.
#[derive(Debug)]
enum Stage {
    /// It waits for room in the budget: dropped now, it does not count.
    Waiting,
    /// Dropped now, it is charged this.
    Sent(Usage),
    /// What it used is known, and charged.
    Settled,
    /// Its answer was kept from another one: it does not count.
    None,
}

impl Call {
    /// One that may be sent, of which nothing is known.
    pub(super) fn new(purse: &Arc<Purse>) -> Self {
        purse.family.set_active(true);
        let stage = Stage::Sent(Usage::default());
        Self { purse: Arc::clone(purse), need: Need::default(), stage, idle: false }
    }

    /// Says that what it used is known, and charged.
    pub(crate) fn settled(&mut self) {
        self.stage = Stage::Settled;
    }

    /// Says that no model was asked.
    pub(crate) fn was_none(&mut self) {
        self.stage = Stage::None;
    }

    /// Says whether somebody waits for its answer right now.
    pub(crate) fn set_idle(&mut self, idle: bool) {
        if self.idle != idle {
            self.idle = idle;
            self.purse.family.set_active(!idle);
        }
    }

    /// Says that it has to wait for room.
    pub(super) fn wait(&mut self) {
        self.stage = Stage::Waiting;
        self.purse.set_under_way(false);
        self.set_idle(true);
    }

    /// Says that it has found room.
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
