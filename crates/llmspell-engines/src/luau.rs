//! The engine for Luau, the language of most spells.
//!
//! A session is a fresh VM with a closed sandbox (`sandbox.rs`). The script runs in its own coroutine. A host function
//! that must wait yields a private mark up to the session's scheduler (`schedule.rs`), which resumes the coroutine when
//! the answer is there. The VM has no executor and nothing is spawned, so dropping the session's future stops the
//! script and everything it started.

#[cfg(panic = "abort")]
compile_error!("an error of a host function unwinds through the VM; build with panic = \"unwind\"");

mod call_sites;
mod compile;
mod engine;
mod errors;
mod failures;
mod functions;
mod limits;
mod objects;
mod prelude_docs;
mod promise;
mod require;
mod sandbox;
mod schedule;
mod scope;
mod session;
mod task;
mod values;
mod vm_state;

pub use engine::{Luau, descriptor};
