//! What a context can offer a spell, one trait a file.
//!
//! The traits are what an embedder implements. Bridges never see them: they get the gated view that
//! [`Context`](crate::Context) hands out, which checks, charges and records each call.

mod console;
mod models;
mod modules;

pub use console::{Console, GatedConsole};
pub(crate) use models::StreamRecord;
pub use models::{GatedModels, ModelListing, ModelRef, Models, ProviderInfo, ReplyStream};
pub use modules::Modules;
