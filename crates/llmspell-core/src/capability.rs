//! What a context can offer a spell, one trait a file.
//!
//! The traits are what an embedder implements. Bridges never see them: they get the gated view that
//! [`Context`](crate::Context) hands out, which checks, charges and records each call.

mod clock;
mod console;
mod files;
mod models;
mod modules;
mod net;
mod storage;

pub use clock::{Clock, GatedClock, GatedRandom, Random};
pub use console::{Console, GatedConsole, GatedProgress, Progress};
pub use files::{FileInfo, FileKind, FilePermit, Files, GatedFiles, Room};
pub(crate) use models::settle;
pub use models::{Estimate, GatedModels, ModelListing, ModelRef, Models, Price, ProviderInfo, ReplyStream};
pub use modules::Modules;
pub use net::{
    Dial, GatedNet, Headers, HttpHead, HttpRequest, HttpResponse, HttpStream, Incoming, MAX_BODY, Net,
    Outgoing,
};
pub use storage::{GatedStorage, MAX_KEY, Storage, outside_storage};
