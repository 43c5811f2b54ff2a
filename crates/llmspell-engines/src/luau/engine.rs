//! The Luau engine: opens sessions, which share a cache of compiled chunks.

use std::sync::Arc;

use llmspell_core::{
    Bridge, Context, Diagnostic, Engine, EngineDescriptor, Language, PreludeDocs, Result, Session, Source,
};

use super::compile::{self, ChunkCache};
use super::prelude_docs::prelude_docs;
use super::session::LuauSession;

/// Returns the name, version and language of this engine.
#[must_use]
pub fn descriptor() -> EngineDescriptor {
    let luau = Language::new("Luau", ["luau", "lua"]);
    EngineDescriptor::new("luau", "0.740").language(luau.mime_types([
        "text/x-luau",
        "text/x-lua",
        "application/x-lua",
    ]))
}

/// Runs Luau.
#[derive(Default)]
pub struct Luau {
    chunks: Arc<ChunkCache>,
}

impl Luau {
    /// Creates an engine with an empty cache of compiled chunks.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

impl std::fmt::Debug for Luau {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Luau")
    }
}

impl Engine for Luau {
    fn descriptor(&self) -> EngineDescriptor {
        descriptor()
    }

    fn prelude_docs(&self) -> Vec<PreludeDocs> {
        prelude_docs()
    }

    fn check(&self, source: &Source) -> Vec<Diagnostic> {
        compile::check(&self.chunks, source).into_iter().collect()
    }

    fn open(&self, bridges: &[Arc<Bridge>], cx: Context) -> Result<Box<dyn Session>> {
        Ok(Box::new(LuauSession::open(bridges, cx, Arc::clone(&self.chunks))?))
    }
}
