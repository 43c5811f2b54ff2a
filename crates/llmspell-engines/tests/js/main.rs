//! The JavaScript engine, through the contract of all engines.

mod async_calls;
mod errors;
#[allow(clippy::unwrap_used, reason = "the exception for tests does not see helpers")]
#[allow(dead_code, reason = "a VM of JavaScript cannot be renewed")]
#[path = "../harness/mod.rs"]
mod harness;
#[allow(clippy::unwrap_used, reason = "the exception for tests does not see helpers")]
mod limits;
mod modules;
mod objects;
mod sandbox;
mod session;
mod values;
#[allow(clippy::unwrap_used, reason = "the exception for tests does not see helpers")]
mod web;

const FILE: &str = "main.js";

fn engine() -> impl llmspell_core::Engine {
    llmspell_engines::js::Js::new()
}
