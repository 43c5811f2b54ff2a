//! Agents in spells, with servers that speak the providers' protocols.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod server;
mod solving;
