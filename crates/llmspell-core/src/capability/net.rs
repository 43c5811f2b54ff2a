//! The network.

use crate::context::Context;

/// Sends requests to hosts that the gate has checked.
pub trait Net: Send + Sync {}

/// The network behind the gate.
#[derive(Debug)]
pub struct GatedNet<'a>(#[expect(dead_code)] pub(crate) &'a Context);
