//! The JavaScript engine: opens sessions.

use std::sync::Arc;

use llmspell_core::{
    Bridge, Context, Diagnostic, Engine, EngineDescriptor, PreludeDocs, Result, Session, Source,
};

use super::compile;
use super::prelude_docs::FURNITURE;
use super::session::JsSession;

/// The name, version and file types of this engine.
pub const DESCRIPTOR: EngineDescriptor = EngineDescriptor {
    name: "js",
    language: "JavaScript",
    version: "QuickJS 0.16",
    extensions: &["js", "mjs", "ts", "mts"],
    mime_types: &["text/javascript", "application/javascript", "text/typescript", "application/typescript"],
};

/// Runs JavaScript, and TypeScript without its types.
#[derive(Debug, Default)]
pub struct Js(());

impl Js {
    /// Creates an engine.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

impl Engine for Js {
    fn descriptor(&self) -> &EngineDescriptor {
        &DESCRIPTOR
    }

    fn prelude_docs(&self) -> &'static [PreludeDocs] {
        FURNITURE
    }

    fn check(&self, source: &Source) -> Vec<Diagnostic> {
        compile::check(source).into_iter().collect()
    }

    fn open(&self, bridges: &[Arc<Bridge>], cx: Context) -> Result<Box<dyn Session>> {
        Ok(Box::new(JsSession::open(bridges, cx)?))
    }
}
