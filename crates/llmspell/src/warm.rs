//! VMs in which a run has ended well, kept for other runs of the same spell.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::Arc;

use llmspell_core::{Bridge, Context, Engine, Session, Source};

/// The most that one worker keeps: about 128 MB. The oldest give way. Of several workers, one may well have had most of the
/// runs that were under way at once.
const MOST: usize = 512;

/// What two runs must have in common to have a VM one after the other.
#[derive(Clone)]
pub(crate) struct Kind {
    pub(crate) engine: Arc<dyn Engine>,
    pub(crate) source: Arc<Source>,
    pub(crate) bridges: Vec<Arc<Bridge>>,
}

impl PartialEq for Kind {
    fn eq(&self, other: &Self) -> bool {
        let same_bridges = || {
            self.bridges.len() == other.bridges.len()
                && self.bridges.iter().zip(&other.bridges).all(|(ours, theirs)| Arc::ptr_eq(ours, theirs))
        };
        std::ptr::addr_eq(Arc::as_ptr(&self.engine), Arc::as_ptr(&other.engine))
            && (Arc::ptr_eq(&self.source, &other.source) || self.source == other.source)
            && same_bridges()
    }
}

/// The warmed VMs of one worker. They end with it.
pub(crate) struct Warm {
    kept: RefCell<VecDeque<(Kind, Box<dyn Session>)>>,
    /// What a VM has between two runs.
    idle: Context,
}

impl Warm {
    pub(crate) fn new() -> Self {
        Self { kept: RefCell::default(), idle: Context::builder().build() }
    }

    /// A VM of this kind, made as new for a run.
    pub(crate) fn take(&self, kind: &Kind, cx: &Context) -> Option<Box<dyn Session>> {
        let mut kept = self.kept.borrow_mut();
        let found = kept.iter().rposition(|(known, _)| known == kind).and_then(|at| kept.remove(at));
        drop(kept);
        let (_, mut session) = found?;
        session.renew(cx.clone()).is_ok().then_some(session)
    }

    /// Keeps the VM of a run that has ended well, and nothing of the run.
    pub(crate) fn keep(&self, kind: Kind, mut session: Box<dyn Session>) {
        if session.renew(self.idle.clone()).is_err() {
            return;
        }
        let mut kept = self.kept.borrow_mut();
        let oldest = if kept.len() == MOST { kept.pop_front() } else { None };
        kept.push_back((kind, session));
        drop(kept);
        drop(oldest);
    }
}
