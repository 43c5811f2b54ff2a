//! Agents as spells have them, against servers that speak the APIs of the providers.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod server;
mod solving;
