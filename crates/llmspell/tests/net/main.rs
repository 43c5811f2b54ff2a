//! The network as spells use it: real sockets on loopback, and nothing beyond.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod doors;
mod scripts;
mod server;
