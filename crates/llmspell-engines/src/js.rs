//! JavaScript and TypeScript, on QuickJS.
//!
//! A session is a fresh VM behind a closed sandbox. A host method that waits returns a real promise; the session's own
//! loop runs the script's jobs one by one, and settles those promises when their answers have their turn. Nothing is
//! spawned, so dropping a future stops all that it started.

#[cfg(panic = "abort")]
compile_error!("an error of a host function unwinds through the VM; build with panic = \"unwind\"");

mod bridges;
mod calls;
mod compile;
mod engine;
mod errors;
mod functions;
mod furniture;
mod host;
mod limits;
mod modules;
mod names;
mod objects;
mod prelude;
mod sandbox;
mod schedule;
mod session;
mod trace;
mod typescript;
mod values;
mod web;

pub use engine::{DESCRIPTOR, Js};
