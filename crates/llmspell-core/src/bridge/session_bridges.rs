//! The bridges of a run's session, which belong to the state of its context.

use std::sync::{Arc, OnceLock};

use super::Bridge;
use crate::context::Context;

/// The bridges of a run's session.
#[derive(Default)]
pub(super) struct SessionBridges(OnceLock<Vec<Arc<Bridge>>>);

impl SessionBridges {
    pub(super) fn set(&self, bridges: &[Arc<Bridge>]) {
        // Each run opens one session, so this is the first call.
        let _ = self.0.set(bridges.to_vec());
    }
}

impl Context {
    /// Returns the bridges of the run's script.
    #[must_use]
    pub fn bridges(&self) -> Vec<Arc<Bridge>> {
        self.state::<SessionBridges>().0.get().cloned().unwrap_or_default()
    }
}
