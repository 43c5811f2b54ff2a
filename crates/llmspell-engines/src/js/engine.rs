//! The JavaScript engine: opens sessions.

use std::sync::Arc;

use llmspell_core::{
    Bridge, Context, Diagnostic, Engine, EngineDescriptor, Language, PreludeDocs, Result, Session, Source,
};

use super::compile;
use super::prelude_docs::prelude_docs;
use super::session::JsSession;

/// Returns the name, version and languages of this engine.
#[must_use]
pub fn descriptor() -> EngineDescriptor {
    let typescript = Language::new("TypeScript", ["ts", "mts"]);
    let javascript = Language::new("JavaScript", ["js", "mjs"]);
    EngineDescriptor::new("js", "QuickJS 0.16")
        .language(typescript.mime_types(["text/typescript", "application/typescript"]))
        .language(javascript.mime_types(["text/javascript", "application/javascript"]))
}

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
    fn descriptor(&self) -> EngineDescriptor {
        descriptor()
    }

    fn prelude_docs(&self) -> Vec<PreludeDocs> {
        prelude_docs()
    }

    fn check(&self, source: &Source) -> Vec<Diagnostic> {
        compile::check(source).into_iter().collect()
    }

    fn open(&self, bridges: &[Arc<Bridge>], cx: Context) -> Result<Box<dyn Session>> {
        Ok(Box::new(JsSession::open(bridges, cx)?))
    }
}
