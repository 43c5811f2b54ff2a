//! The contract of llmspell: the traits and types through which script engines, bridges, capabilities and embedding
//! programs work together.
//!
//! A script acts on the world only through its [`Context`]. Each such act is an *effect* that passes one gate. The
//! gate checks permissions, charges limits and records the effect in the run's journal; replay and resume read the
//! journal.
//!
//! | to learn about | start with |
//! |---|---|
//! | script engines | [`Engine`], [`Session`] |
//! | host functions | [`bridge`], [`Method`] |
//! | values | [`Value`], [`from_value`], [`to_value`] |
//! | access to the world | [`Context`], [`capability`], [`Permissions`] |
//! | recording and replay | [`effect`], [`replay`] |
//! | limits | [`Limits`], [`Meter`], [`Budget`] |
//! | model calls | [`chat`] |
//!
//! This crate knows no engine, no HTTP and no provider.

pub mod agent;
pub mod bridge;
mod budget;
pub mod cache;
pub mod callback;
pub mod capability;
pub mod chat;
pub mod commit;
mod context;
mod convert;
mod cpu;
pub mod effect;
pub mod embed;
mod engine;
mod error;
mod event;
pub mod gate;
mod limits;
mod memory_reservation;
mod meter;
mod object;
mod outcome;
pub mod path;
mod permission;
pub mod prelude_docs;
mod price;
mod recorded_reply;
mod recorded_stream;
pub mod replay;
mod sequencer;
mod step;
mod suggest;
mod task;
pub mod trace;
mod value;
mod world;

pub use bridge::{Bridge, BridgeSet, Method};
pub use budget::{Budget, DEFAULT_OUTPUT};
pub use callback::{Callback, CallbackHost};
pub use context::{Context, ContextBuilder, SpellInfo};
pub use convert::{from_value, into_value, to_value};
pub use engine::{
    Diagnostic, Engine, EngineDescriptor, EngineRegistry, Language, MAX_SOURCE, Session, Source,
};
pub use error::{CallInfo, Error, ErrorKind, MAX_MESSAGE, OutputInfo, Result, SourceLocation, StackFrame};
pub use event::{Event, Sink};
pub use limits::{LIMITS, Limit, LimitField, LimitRow, Limits, LimitsPatch};
pub use memory_reservation::MemoryReservation;
pub use meter::{CpuTimer, Meter};
pub use object::{Class, HostObject, Items};
pub use outcome::{LogEntry, LogLevel, Outcome};
pub use path::InnerPath;
pub use permission::{Grant, NetRule, Permissions};
pub use prelude_docs::PreludeDocs;
pub use recorded_stream::RecordedStream;
pub use suggest::did_you_mean;
pub use value::{MAX_DEPTH, Map, Object, Value};
pub use world::{Extensions, World};
