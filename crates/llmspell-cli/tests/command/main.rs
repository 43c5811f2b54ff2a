//! Tests of the command as a user sees it: real processes, their complete output and their exit codes.
#![expect(clippy::disallowed_methods, reason = "tests start the command and lay out its files themselves")]
#![expect(clippy::unwrap_used, reason = "what helps a test may fail it")]

mod budget;
mod cache;
mod canary;
mod check;
mod dry_run;
mod environment;
mod examples;
mod fallback;
mod hostile;
mod interrupt;
#[cfg(unix)]
mod killed;
mod language;
mod limits;
mod listings;
#[cfg(target_os = "linux")]
mod memory;
mod output;
mod parameters;
mod permissions;
#[cfg(unix)]
mod progress;
#[cfg(unix)]
mod question;
mod runs;
mod sampling;
mod support;
#[cfg(unix)]
mod terminal;
mod testing;
mod trace;
mod types;
mod wrong_use;
