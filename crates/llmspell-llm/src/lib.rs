//! Language models without scripts: many providers behind one [`Client`], which retries, counts and prices.
//!
//! A provider is one [row](PROVIDERS); the API it speaks is one of five shapes, and a shape is pure translation
//! (a request to JSON, answer bytes to deltas). Sending, time limits and caps are the transport's; retries, queueing
//! and prices are the client's. Nothing here reads the environment, prints, or knows a script.

mod catalogue;
mod client;
mod config;
mod count;
mod detect;
mod draft;
mod error;
mod frames;
mod http;
mod mock;
mod ollama;
mod provider;
mod providers;
mod resolve;
mod retry;
mod shape;
mod transport;

pub use client::{Client, ClientBuilder};
pub use config::{ProviderConfig, Timeouts};
pub use count::count_tokens;
pub use detect::{Detected, MockReason, detect, probe_local};
pub use mock::{Gate, Mock};
pub use provider::{Attempt, Provider, Unanswered};
pub use providers::{PROVIDERS, ProviderRow, ShapeKind};
pub use retry::RetryPolicy;
