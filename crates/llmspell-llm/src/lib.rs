//! Language models without scripts: many providers behind one [`Client`], which retries, counts and prices.
//!
//! A provider is one [row](PROVIDERS); the API it speaks is one of five shapes, and a shape is pure translation
//! (a request to JSON, answer bytes to deltas). Sending, time limits and caps are the transport's; retries, fallback
//! and prices are the client's, and who may send when is the [limiter](Pace)'s, one for each key. Nothing here reads the environment, prints, or knows a script.
//!
//! The shapes are our own and not those of the `genai` crate (0.7.2), which was tried: its translation can be had only
//! together with its transport and decoders, and those call a stream that was cut a success or end it without a word,
//! break events where CR and LF arrive apart, stop at a byte that is not UTF-8, skip damaged lines, take in bodies
//! without bound, and reserve memory by the index of a tool call (620 MB for index 3,000,000).

mod agent;
mod answer;
mod breaker;
mod bucket;
mod call;
mod catalogue;
mod client;
mod config;
mod count;
mod detect;
mod draft;
mod embed;
mod error;
mod extract;
mod fallback;
mod frames;
mod history;
mod http;
mod limiter;
mod mock;
mod model_rules;
mod ollama;
mod output;
mod pace;
mod provider;
mod providers;
mod resolve;
mod retry;
mod schema;
mod shape;
mod told;
mod tool;
mod transport;

pub use agent::{
    Agent, AgentEnd, AgentReply, AgentSpec, DEFAULT_RESULT, DEFAULT_TURNS, Heard, Listener, Overflow,
    ToolMode,
};
pub use answer::text_of;
pub use client::{Client, ClientBuilder};
pub use config::{ProviderConfig, Timeouts};
pub use count::count_tokens;
pub use detect::{Detected, MockReason, detect, probe_local};
pub use extract::{ExtractOptions, Extracted, extract};
pub use history::{History, Turn, weight};
pub use mock::{Gate, Mock};
pub use pace::Pace;
pub use provider::{Attempt, Provider, TakesOutput, TakesSampling, Unanswered};
pub use providers::{PROVIDERS, ProviderRow, ShapeKind};
pub use retry::RetryPolicy;
pub use schema::{Schema, ValidationError};
pub use tool::{Tool, ToolKind, cut_result, escaped};
pub use transport::http_client;
