//! Runs spells: small sandboxed scripts that orchestrate language models.
//!
//! # Where to begin
//!
//! 1. Build a [`Runtime`] once per program. It holds engines, bridges, models and worker threads. [`RuntimeBuilder`]
//!    lists what a runtime has by default: no models, no console and no storage.
//! 2. Load a [`Spell`] from a folder or file ([`Spell::load`]), or from text ([`Spell::from_source`]).
//! 3. Configure a run with [`Runtime::run`], which returns a [`RunBuilder`]: parameters, permissions, limits, journal.
//!    A run has no permissions unless [`RunBuilder::permissions`] grants them.
//! 4. [`RunBuilder::start`] returns a [`Run`], a handle that can be awaited, cancelled or detached. Its result is an
//!    [`Outcome`]: value or error, output, logs and usage.
//!
//! | to | use |
//! |---|---|
//! | call models | [`llm::Client`] with [`RuntimeBuilder::models`] |
//! | receive output and events while a run lasts | [`RunBuilder::start_with_events`] |
//! | give scripts functions of the program | [`Bridge`], with [`RuntimeBuilder::bridge`] or [`RunBuilder::bridge`] |
//! | store runs and resume them after a crash | [`SqliteStore`] with [`RunBuilder::in_store`] and [`RunBuilder::resume`] |
//! | replay a run without models or network | [`RunBuilder::record`] and [`RunBuilder::replay`] |
//! | evaluate a script piece by piece | [`Runtime::open`], which returns an [`OpenSession`] |
//! | export traces | [`RunBuilder::trace`] with [`Otlp`] |
//! | run the tests of a spell | the module [`testing`] |
//!
//! The types of the contract (values, errors, limits, permissions) come from the crate `llmspell_core` and are
//! re-exported here. All errors are [`Error`]s with a kind, a message and hints.
//!
//! # Example
//!
//! ```
//! # fn main() -> Result<(), llmspell::Error> {
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! use llmspell::{Runtime, Spell};
//!
//! let runtime = Runtime::builder().build()?;
//! let spell = Spell::from_source("double.luau", "return params.number * 2")?;
//! let outcome = runtime.run(spell).param("number", 21).start().outcome().await;
//! assert_eq!(outcome.into_result()?, 42.into());
//! # Ok(()) }) }
//! ```

mod clock;
mod database;
mod files;
mod jail;
mod journal;
mod net;
mod open_session;
pub mod reference;
mod run;
mod runtime;
mod sink;
mod spell;
mod storage;
pub mod store;
pub mod testing;
mod tracing;
mod vm_pool;
mod watchdog;
mod worker;

pub use journal::{InDoubt, OnUnavailable, Recording, RequestDigest, RunDifference, RunInfo, compare};
pub use llmspell_core::*;
pub use llmspell_llm as llm;
pub use net::Sockets;
pub use open_session::OpenSession;
pub use run::{Events, Run, RunBuilder};
pub use runtime::{Runtime, RuntimeBuilder};
pub use spell::{Manifest, ParamSpec, ParamType, Spell, built_in_engines, parse_size, parse_span};
pub use store::{
    ArrivedParts, Claim, DamagedRun, IndexedEffect, IndexedEnd, JournalRecord, Lease, MemoryStore, NewRun,
    RecordSink, Retention, RunIndex, RunList, RunState, RunStore, RunSummary, SqliteStore, StoredEffect,
    StoredRun, SweepStart, SweptRuns, sweep,
};
pub use tracing::{Otlp, OtlpConfig, TracedRun, Tracer};
