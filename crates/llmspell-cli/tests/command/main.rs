//! The command as a user sees it: real processes, their whole output and their exit codes.
#![expect(clippy::disallowed_methods, reason = "tests start the command and lay out its files themselves")]
#![expect(clippy::unwrap_used, reason = "what helps a test may fail it")]

mod check;
mod environment;
mod interrupt;
mod limits;
mod listings;
#[cfg(target_os = "linux")]
mod memory;
mod output;
mod parameters;
mod support;
mod wrong_use;
