//! The bridges: everything that a spell can call. Each bridge has a file of its own.
//!
//! A bridge is a module with the attribute `#[bridge]`. Its functions, their documentation and their types are the
//! single definition from which the engines, the type files and the reference pages are made. A bridge acts on the
//! world only through the context that its functions receive. This crate knows no engine, and no address of a
//! provider.
#![allow(clippy::module_inception, reason = "a bridge's file holds the module that `#[bridge]` describes")]

pub mod agents;
pub mod async_calls;
mod background_calls;
pub mod bytes;
pub mod console;
pub mod crypto;
pub mod fs;
pub mod http;
pub mod json;
pub mod llm;
pub mod log;
mod names;
pub mod spell;
pub mod storage;
pub mod text;
pub mod time;
pub mod tools;
pub mod unified_diff;

use llmspell_core::Bridge;

/// All bridges, in the order in which sessions initialise them. A new bridge needs a file and a line here.
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
