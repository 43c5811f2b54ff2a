//! Runs spells: small sandboxed scripts that put language models to work.
//!
//! A [`Runtime`] holds what all runs share: engines, bridges, models, worker threads. [`Runtime::cast`] runs a
//! [`Spell`] to its [`Outcome`]; [`Runtime::open`] keeps a script's VM open to evaluate piece by piece.
//!
//! ```
//! # fn main() -> Result<(), llmspell::Error> {
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! use llmspell::{Runtime, Spell};
//!
//! let runtime = Runtime::builder().build()?;
//! let spell = Spell::from_source("double.luau", "return params.number * 2")?;
//! let outcome = runtime.cast(spell).param("number", 21).start().outcome().await;
//! assert_eq!(outcome.into_result()?, 42.into());
//! # Ok(()) }) }
//! ```

mod clock;
mod database;
mod files;
mod jail;
mod journal;
mod live;
mod net;
pub mod reference;
mod run;
mod runtime;
mod sink;
mod spell;
mod storage;
pub mod store;
pub mod testing;
mod tracing;
mod warm;
mod watchdog;
mod worker;

pub use journal::{Change, InDoubt, OnUnavailable, Recording, RunInfo, compare};
pub use live::Live;
pub use llmspell_core::*;
pub use llmspell_llm as llm;
pub use net::Sockets;
pub use run::{Cast, Events, Run};
pub use runtime::{Runtime, RuntimeBuilder};
pub use spell::{Language, LimitsAsked, Manifest, ParamSpec, ParamType, Spell, parse_size, parse_span};
pub use store::{
    Claim, DamagedRun, Lease, MemoryStore, NewRun, Record, RecordSink, RunList, RunState, RunStore,
    RunSummary, SqliteStore, StoredEffect, StoredRun,
};
pub use tracing::{Otlp, OtlpConfig, TracedRun, Tracer};
