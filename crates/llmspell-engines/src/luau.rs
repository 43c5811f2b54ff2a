//! Luau, the language of most spells.
//!
//! A session is a fresh VM behind a closed sandbox. The script runs in a coroutine of its own. A host function that
//! must wait yields a private mark up to the session, which resumes the coroutine when it is woken; there is no
//! executor inside the VM and nothing is spawned, so dropping a future stops all that it started.

#[cfg(panic = "abort")]
compile_error!("an error of a host function unwinds through the VM; build with panic = \"unwind\"");

mod compile;
mod engine;
mod errors;
mod functions;
mod furniture;
mod host;
mod limits;
mod objects;
mod promise;
mod require;
mod sandbox;
mod schedule;
mod scope;
mod session;
mod task;
mod values;

pub use engine::{DESCRIPTOR, Luau};
