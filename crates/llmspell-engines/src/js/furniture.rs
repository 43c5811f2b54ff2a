//! What the prelude brings, in words.

use llmspell_core::Furniture;

/// See the module.
pub(super) const FURNITURE: &[Furniture] = &[];
