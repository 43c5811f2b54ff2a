//! Host functions for scripts, one file a bridge.

use llmspell_core::Bridge;

/// The bridges of this build, in the order in which they start.
pub const BRIDGES: &[fn() -> Bridge] = &[];
