//! What spells can call, one file a bridge.
//!
//! A bridge is a module under `#[bridge]`: its functions, their documentation and their types are the one definition
//! that engines, type files and reference pages read. It reaches the world only through the context it is handed.
#![allow(clippy::module_inception, reason = "a bridge's file holds the module that `#[bridge]` describes")]

pub mod agents;
pub mod async_calls;
pub mod bytes;
pub mod console;
pub mod crypto;
pub mod fs;
pub mod http;
pub mod json;
pub mod llm;
pub mod log;
mod names;
mod pending;
pub mod spell;
pub mod storage;
pub mod text;
pub mod time;
pub mod tools;
pub mod unified_diff;

use llmspell_core::Bridge;

/// All bridges, in the order in which sessions start them. A new bridge is a file and a line here.
pub const BRIDGES: &[fn() -> Bridge] = &[
    async_calls::r#async::bridge,
    llm::bridge,
    json::json::bridge,
    http::http::bridge,
    fs::fs::bridge,
    spell::spell::bridge,
    storage::storage::bridge,
    log::log::bridge,
    console::console::bridge,
    crypto::crypto::bridge,
    text::text::bridge,
    time::time::bridge,
    tools::tools::bridge,
    agents::agents::bridge,
];
