//! The capabilities that a context can offer to a spell. Each has a trait in a file of its own.
//!
//! An embedder implements the traits. Bridges never see them: a context gives a bridge a gated view of a capability,
//! which checks permissions, charges limits and records each call (`gate.rs`).

mod clock;
mod console;
mod extension;
mod files;
mod models;
mod modules;
mod net;
mod storage;

pub use crate::event::ProgressUpdate;
pub use crate::memory_reservation::MemoryBudget;
pub use clock::{Clock, Random};
pub use console::Console;
pub use extension::Extension;
pub(crate) use files::{Access, refusal};
pub use files::{FileInfo, FileKind, FilePermit, Files};
pub use models::{Estimate, ModelListing, ModelRef, Models, Price, ProviderInfo};
pub use modules::Modules;
pub use net::{
    ConnectPermit, HeaderFields, HttpHead, HttpRequest, HttpResponse, Incoming, MAX_BODY, Net, Outgoing,
};
pub(crate) use net::{Target, body_bytes, is_credential, is_token, parse_url};
pub use storage::{MAX_KEY, Storage, outside_storage};
