//! The events of an agent, independent of providers and script languages.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::chat::Usage;

/// An event of an agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AgentEvent {
    /// The agent's name.
    pub agent: String,
    /// The agent's turn, from 1. A turn is one model call and all tool calls that its answer requests.
    pub turn: u32,
    /// What happened.
    #[serde(flatten)]
    pub step: AgentStep,
}

/// What happened in an agent's turn.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum AgentStep {
    /// Text of the model: a delta if the agent streams, else the whole text.
    Text {
        /// The new text only.
        text: String,
    },
    /// Reasoning of the model, if the provider reveals it.
    Reasoning {
        /// The new reasoning only.
        text: String,
    },
    /// The model requests a tool call.
    ToolCall {
        /// The id of the tool call.
        id: String,
        /// The tool's name.
        name: String,
        /// The arguments: an object, or text if the model's JSON could not be parsed.
        arguments: serde_json::Value,
    },
    /// A tool has returned. Its result comes neither from the spell nor from the user.
    ToolResult {
        /// The id of the tool call.
        id: String,
        /// The tool's name.
        name: String,
        /// The text that the model receives.
        content: String,
        /// Whether the tool failed.
        is_error: bool,
        /// Always true, because the result of a tool may contain anything.
        untrusted: bool,
    },
    /// The conversation exceeded the model's context window and was shortened.
    Shortened {
        /// The policy: `drop_results` or `summarize`.
        policy: String,
        /// The number of results or messages that were removed.
        count: u32,
        /// The approximate number of tokens before.
        tokens_before: u64,
        /// The approximate number of tokens after.
        tokens_after: u64,
    },
    /// A model call has ended.
    Usage {
        /// The usage of the call.
        usage: Usage,
    },
}
