//! The Luau engine, through the contract of all engines.

mod async_calls;
mod errors;
mod failures;
#[allow(clippy::unwrap_used, reason = "the exception for tests does not see helpers")]
#[path = "../harness/mod.rs"]
mod harness;
mod limits;
mod modules;
mod objects;
mod preemption;
mod promises;
mod renewal;
mod sandbox;
mod session;
mod values;

const FILE: &str = "main.luau";

fn engine() -> impl llmspell_core::Engine {
    llmspell_engines::luau::Luau::new()
}
