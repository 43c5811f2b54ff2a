//! What an agent tells of its work, in words that no provider and no script has to itself.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::chat::Usage;

/// One thing that an agent did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AgentEvent {
    /// The agent.
    pub agent: String,
    /// Its turn, from 1: a turn is one call of the model and of all tools that the model wants.
    pub turn: u32,
    /// What it did.
    #[serde(flatten)]
    pub step: AgentStep,
}

/// What an agent did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum AgentStep {
    /// The model said something: a piece of it where the agent streams, else all of it.
    Text {
        /// The new text alone.
        text: String,
    },
    /// The model thought something, where the provider shows it.
    Reasoning {
        /// The new thought alone.
        text: String,
    },
    /// The model wants a tool to be called.
    ToolCall {
        /// The id of the call.
        id: String,
        /// The tool.
        name: String,
        /// What it is called with: an object, or text where the model's JSON did not parse.
        arguments: serde_json::Value,
    },
    /// A tool has answered. What it says is not the spell's and not the user's word.
    ToolResult {
        /// The id of the call.
        id: String,
        /// The tool.
        name: String,
        /// What the model is told.
        content: String,
        /// Whether it failed.
        is_error: bool,
        /// Always true: what comes from a tool may say anything.
        untrusted: bool,
    },
    /// The conversation was too long for the model and was made shorter.
    Shortened {
        /// How: `drop_results` or `summarize`.
        policy: String,
        /// How many results or messages are gone.
        count: u32,
        /// Tokens before, about.
        tokens_before: u64,
        /// Tokens after, about.
        tokens_after: u64,
    },
    /// A call of the model has ended.
    Usage {
        /// What it used.
        usage: Usage,
    },
}
