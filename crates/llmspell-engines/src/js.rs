//! The engine for JavaScript and TypeScript, on QuickJS.
//!
//! A session is a fresh VM with a closed sandbox (`sandbox.rs`). A host method that waits returns a native promise. The
//! session's scheduler (`schedule.rs`) runs the script's jobs one by one, and settles those promises one answer at a
//! time. Nothing is spawned, so dropping the session's future stops the script and everything it started.
//!
//! TypeScript runs without its types: they are blanked out, not compiled (`typescript.rs`).

#[cfg(panic = "abort")]
compile_error!("an error of a host function unwinds through the VM; build with panic = \"unwind\"");

mod bridges;
mod calls;
mod compile;
mod engine;
mod errors;
mod functions;
mod limits;
mod modules;
mod names;
mod objects;
mod prelude;
mod prelude_docs;
mod sandbox;
mod schedule;
mod session;
mod trace;
mod typescript;
mod values;
mod vm_state;
mod web;

pub use engine::{Js, descriptor};
