//! The pool of VMs that a worker reuses for further runs of the same spell.
//!
//! Only runs that allow it (`RunBuilder::share_vm`) use the pool. A VM is pooled only after a run that ended well, and
//! the engine resets it (`Session::renew`) both when it is returned and when it is taken.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::Arc;

use llmspell_core::{Bridge, Context, Engine, Session, Source};

/// The most VMs in the pool of one worker, about 128 MB. The oldest are dropped. The number is per worker because one
/// of several workers may get most of the runs.
const MOST: usize = 512;

/// The key of the pool: two runs may use the same VM only if all of these are equal.
#[derive(Clone)]
pub(crate) struct VmKey {
    pub(crate) engine: Arc<dyn Engine>,
    pub(crate) source: Arc<Source>,
    pub(crate) bridges: Vec<Arc<Bridge>>,
}

impl PartialEq for VmKey {
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

/// The pool of one worker. It is dropped with the worker's thread.
pub(crate) struct VmPool {
    kept: RefCell<VecDeque<(VmKey, Box<dyn Session>)>>,
    /// The context of a VM in the pool.
    idle: Context,
}

impl VmPool {
    pub(crate) fn new() -> Self {
        Self { kept: RefCell::default(), idle: Context::builder().build() }
    }

    /// Takes a VM of this kind from the pool and resets it for a new run.
    pub(crate) fn take(&self, kind: &VmKey, cx: &Context) -> Option<Box<dyn Session>> {
        let mut kept = self.kept.borrow_mut();
        let found = kept.iter().rposition(|(known, _)| known == kind).and_then(|at| kept.remove(at));
        drop(kept);
        let (_, mut session) = found?;
        session.renew(cx.clone()).is_ok().then_some(session)
    }

    /// Returns a VM to the pool after a run that ended well. The reset removes all state of that run.
    pub(crate) fn keep(&self, kind: VmKey, mut session: Box<dyn Session>) {
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
