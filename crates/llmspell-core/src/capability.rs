//! The capabilities that a context can offer to a spell. Each has a trait in a file of its own.
//!
//! An embedder implements the traits. Bridges never see them: [`Context`](crate::Context) gives a bridge a gated view
//! of a capability, such as [`GatedFiles`], which checks permissions, charges limits and records each call.

mod clock;
mod console;
mod files;
mod models;
mod modules;
mod net;
mod storage;

pub use clock::{Clock, GatedClock, GatedRandom, Random};
pub use console::{Console, GatedConsole, GatedProgress, ProgressUpdate};
pub use files::{FileInfo, FileKind, FilePermit, Files, GatedFiles, MemoryBudget};
pub(crate) use models::settle;
pub use models::{Estimate, GatedModels, ModelListing, ModelRef, Models, Price, ProviderInfo, ReplyStream};
pub use modules::Modules;
pub use net::{
    ConnectPermit, GatedNet, HeaderFields, HttpHead, HttpRequest, HttpResponse, HttpStream, Incoming,
    MAX_BODY, Net, Outgoing,
};
pub use storage::{GatedStorage, MAX_KEY, Storage, outside_storage};
