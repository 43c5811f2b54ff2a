//! Files in folders that were granted.

use crate::context::Context;

/// Reads and writes files beneath a folder.
pub trait Files: Send + Sync {}

/// Files behind the gate.
#[derive(Debug)]
pub struct GatedFiles<'a>(#[expect(dead_code)] pub(crate) &'a Context);
