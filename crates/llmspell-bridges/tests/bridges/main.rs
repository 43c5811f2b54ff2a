//! The bridges, called as an engine calls them, in an invented world.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod json;
mod llm;
mod log_console;
mod text;
mod time_crypto;
mod world;
