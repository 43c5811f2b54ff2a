//! Published conformance suites for JavaScript.

#[allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]
mod builtins;
#[allow(clippy::unwrap_used, reason = "the exception for tests does not see helpers")]
#[allow(dead_code, reason = "other tests use more of it")]
#[path = "../harness/mod.rs"]
mod harness;
mod promises;

const FILE: &str = "main.js";

fn engine() -> impl llmspell_core::Engine {
    llmspell_engines::js::Js::new()
}
