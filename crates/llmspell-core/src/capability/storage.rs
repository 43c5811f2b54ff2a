//! What a spell keeps from run to run.

use crate::context::Context;

/// Keeps values and files for one spell.
pub trait Storage: Send + Sync {}

/// The storage behind the gate.
#[derive(Debug)]
pub struct GatedStorage<'a>(#[expect(dead_code)] pub(crate) &'a Context);
