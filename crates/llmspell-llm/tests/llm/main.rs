//! Tests of the client against a server that misbehaves on demand.
#![expect(clippy::unwrap_used, reason = "in a test a panic is the message")]

mod agents;
mod client;
mod content_types;
mod context;
mod embed;
mod endings;
mod extract;
mod fallback;
mod fault_server;
mod faults;
mod protocols;
mod rate_limits;
mod reasoning;
mod refusals;
mod soak;
mod support;
mod turns;
