//! The bridges, called as an engine would, in a world of our own.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod json;
mod llm;
mod log_console;
mod text;
mod time_crypto;
mod world;
