//! Calls language models, without any knowledge of scripts: one [`Client`] for many providers, plus the parts that
//! build on a model call.
//!
//! - [`Client`] implements core's `Models` trait. It retries failed calls, falls back to other models, limits rates,
//!   counts tokens and prices each answer.
//! - [`extract()`] asks for a typed answer and validates it against a [`Schema`].
//! - [`ModelAgent`] runs the loop of a model with [`Tool`]s.
//! - [`Mock`] is a scripted provider for tests and for a first try without a key.
//!
//! ```
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! use std::sync::Arc;
//! use llmspell_core::{Context, chat::ChatRequest};
//! use llmspell_llm::{Client, Mock};
//!
//! let client = Client::builder().mock(Mock::new().reply("Hello.")).build()?;
//! let cx = Context::builder().models(Arc::new(client)).build();
//! let reply = cx.models().chat(ChatRequest::prompt("Say hello.")).await?;
//! assert_eq!(reply.text, "Hello.");
//! # Ok::<(), llmspell_core::Error>(()) })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # How a call travels
//!
//! A provider is one row of data in [`PROVIDERS`]. The row names the wire protocol that the provider speaks; there are
//! five (`protocol/`). A protocol is pure translation: a request to JSON, the bytes of an answer to deltas. Each other
//! concern has one layer:
//!
//! - The transport (`transport.rs`) sends requests, and enforces time limits and size limits.
//! - The client retries, falls back and prices.
//! - The rate limiter decides when a try may be sent (`limiter.rs`, configured by [`RateLimits`]). There is one per API
//!   key.
//!
//! # What is not here
//!
//! This crate does not read the environment; the caller gives [`detect()`] a lookup function. It does not print, and it
//! does not depend on a script engine.
//!
//! # Why not the `genai` crate
//!
//! We tried `genai` 0.7.2. Its translation cannot be used without its transport and its decoders, and those have
//! defects:
//!
//! - A stream that was cut counts as a success, or ends without an error.
//! - An event breaks where CR and LF arrive in different packets.
//! - A byte that is not UTF-8 ends the stream, and damaged lines are skipped.
//! - The size of a body is not limited.
//! - Memory is reserved by the index of a tool call: 620 MB for index 3,000,000.

mod agent;
mod answer;
mod answer_text;
mod breaker;
mod bucket;
mod catalogue;
mod client;
mod config;
mod configured_provider;
mod context_limit;
mod count;
mod detect;
mod embed;
mod error;
mod event_decoder;
mod extract;
mod fallback;
mod halves;
mod http;
mod limiter;
mod mock;
mod model_rules;
mod ollama;
mod output;
mod protocol;
mod provider;
mod provider_call;
mod providers;
mod rate_limit_headers;
mod rate_limits;
mod refused;
mod reply_builder;
mod resolve;
mod retry;
mod schema;
mod tool;
mod tool_arguments;
mod tool_call_ids;
mod transcript;
mod transport;

pub use agent::{
    AgentEnd, AgentObserver, AgentReply, AgentSpec, DEFAULT_RESULT, DEFAULT_TURNS, ModelAgent,
    ObserverDecision, Overflow, ToolMode,
};
pub use answer::text_of;
pub use client::{Client, ClientBuilder};
pub use config::{ProviderConfig, Timeouts};
pub use count::count_tokens;
pub use detect::{Detected, MockReason, detect, probe_local};
pub use extract::{ExtractSpec, Extracted, extract};
pub use mock::{Mock, MockGate};
pub use provider::{Attempt, Provider, SamplingSupport, StructuredOutput, Unanswered, Unsent};
pub use providers::{PROVIDERS, ProtocolKind, ProviderRow};
pub use rate_limits::RateLimits;
pub use retry::RetryPolicy;
pub use schema::{Schema, ValidationError};
pub use tool::{Tool, ToolKind, cut_result, escaped};
pub use transcript::{Transcript, TurnGuard, weight};
pub use transport::http_client;
