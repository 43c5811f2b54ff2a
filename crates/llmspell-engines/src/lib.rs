//! Script engines, one folder a language.

use std::sync::Arc;

use llmspell_core::{Engine, EngineDescriptor};

/// An engine's description, and what makes one.
pub type EngineRow = (EngineDescriptor, fn() -> Arc<dyn Engine>);

/// The engines of this build.
pub const ENGINES: &[EngineRow] = &[];
