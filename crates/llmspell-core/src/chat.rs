//! The neutral words of a model call. No provider's shape shows here.

use std::borrow::Cow;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};

use crate::cache::CachePolicy;

/// Who speaks in a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Standing instructions.
    System,
    /// The person or script that asks.
    User,
    /// The model.
    Assistant,
    /// The result of a tool that the model called.
    Tool,
}

/// One piece of a message.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Part {
    /// Plain text.
    Text {
        /// The text.
        text: String,
    },
    /// An image, as base64 data.
    Image {
        /// The MIME type, such as `image/png`.
        mime: String,
        /// The bytes in base64.
        data: String,
    },
    /// A tool call the model made.
    ToolCall(ToolCall),
    /// What a tool answered.
    ToolResult {
        /// The id of the call this answers.
        id: String,
        /// The answer, as text.
        content: String,
        /// Whether the tool failed.
        #[serde(default)]
        is_error: bool,
    },
    /// What the model thought, to be carried back unchanged.
    Reasoning {
        /// The thought, where the provider shows it.
        text: String,
        /// The provider's signature over it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        signature: Option<String>,
    },
}

/// What a message says: one text, or parts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Content {
    /// One text.
    Text(String),
    /// Text, images, tool calls and results, in order.
    Parts(Vec<Part>),
}

/// One message of a conversation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Message {
    /// Who speaks: `system`, `user`, `assistant` or `tool`.
    pub role: Role,
    /// What is said.
    pub content: Content,
}

impl Message {
    /// A message of one text.
    #[must_use]
    pub fn text(role: Role, text: impl Into<String>) -> Self {
        Self { role, content: Content::Text(text.into()) }
    }

    /// A user's message.
    #[must_use]
    pub fn user(text: impl Into<String>) -> Self {
        Self::text(Role::User, text)
    }

    /// A model's message.
    #[must_use]
    pub fn assistant(text: impl Into<String>) -> Self {
        Self::text(Role::Assistant, text)
    }

    /// The texts of the message, joined.
    #[must_use]
    pub fn joined_text(&self) -> Cow<'_, str> {
        match &self.content {
            Content::Text(text) => Cow::Borrowed(text),
            Content::Parts(parts) => Cow::Owned(
                parts
                    .iter()
                    .filter_map(|part| match part {
                        Part::Text { text } => Some(text.as_str()),
                        _ => None,
                    })
                    .collect(),
            ),
        }
    }
}

/// A tool offered to the model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ToolSpec {
    /// The name the model calls it by.
    pub name: String,
    /// What it does, in words for the model.
    #[serde(default)]
    pub description: String,
    /// JSON Schema of the arguments.
    #[serde(default)]
    pub parameters: serde_json::Value,
}

/// What the answer must be: JSON that fits a schema.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OutputSpec {
    /// JSON Schema of the answer.
    pub schema: serde_json::Value,
    /// Whether the provider's own way of keeping a model to a schema is used; when absent, it is where the model is known
    /// to have one. Else the model is told in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub native: Option<bool>,
}

/// A tool call the model made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ToolCall {
    /// The provider's id of the call.
    pub id: String,
    /// The tool.
    pub name: String,
    /// The arguments: an object, or the raw text when the model's JSON did not parse.
    pub arguments: serde_json::Value,
    /// The provider's signature over the thought behind it, to be carried back unchanged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<String>,
}

/// How hard the model should think before it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Effort {
    /// Not at all, where the model allows it.
    None,
    /// A little.
    Low,
    /// As much as usual.
    Medium,
    /// Much.
    High,
}

/// Seconds, as scripts write time spans; at least a millisecond, at most a day.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Seconds(Duration);

impl Seconds {
    /// The span.
    #[must_use]
    pub fn duration(self) -> Duration {
        self.0
    }
}

impl TryFrom<f64> for Seconds {
    type Error = String;

    fn try_from(seconds: f64) -> Result<Self, String> {
        if (0.001..=86_400.0).contains(&seconds) {
            Ok(Self(Duration::from_secs_f64(seconds)))
        } else {
            Err(format!("expected seconds between 0.001 and 86400, found {seconds}"))
        }
    }
}

impl From<Seconds> for f64 {
    fn from(seconds: Seconds) -> Self {
        seconds.0.as_secs_f64()
    }
}

impl JsonSchema for Seconds {
    fn schema_name() -> Cow<'static, str> {
        "Seconds".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        schemars::json_schema!({"type": "number"})
    }
}

/// One question to a model.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ChatRequest {
    /// The conversation so far, the question last.
    pub messages: Vec<Message>,
    /// Standing instructions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub system: Option<String>,
    /// The model: `provider/model`, or a name that the chosen provider knows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The provider, where the model's name does not say it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// How much chance plays a part, from 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
    /// Considers only the likeliest words that make up this share.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top_p: Option<f64>,
    /// The most tokens the answer may have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<u32>,
    /// Texts at which the model stops.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub stop: Vec<String>,
    /// A seed for providers that can repeat an answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// How hard the model should think.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reasoning: Option<Effort>,
    /// The tools the model may call.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tools: Vec<ToolSpec>,
    /// What the answer must be. Nothing is checked here: the answer is still a text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<OutputSpec>,
    /// Whether an answer to the same request that was kept before will do: `true`, or the most seconds that it may be old.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache: Option<CachePolicy>,
    /// The most seconds the whole call may take, retries included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Seconds>,
    /// Models to ask instead, one after another, when this one's provider fails before any of its answer was seen.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fallback: Vec<String>,
}

impl ChatRequest {
    /// A request of one user message.
    ///
    /// ```
    /// use llmspell_core::chat::ChatRequest;
    /// assert_eq!(ChatRequest::prompt("hi").messages[0].joined_text(), "hi");
    /// ```
    #[must_use]
    pub fn prompt(text: impl Into<String>) -> Self {
        Self { messages: vec![Message::user(text)], ..Self::default() }
    }

    /// How many bytes of text its messages have.
    pub(crate) fn text_bytes(&self) -> u64 {
        self.messages.iter().map(|message| message.joined_text().len() as u64).sum()
    }
}

/// What a call or a run used. Tokens as the provider counts them, unless `estimated`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Usage {
    /// Tokens read, cached ones included.
    pub input_tokens: u64,
    /// Tokens written, thought included.
    pub output_tokens: u64,
    /// Tokens of the input that came from the provider's cache.
    pub cached_tokens: u64,
    /// Tokens of the output that were thought.
    pub reasoning_tokens: u64,
    /// US dollars; absent when the model has no known price.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost_usd: Option<f64>,
    /// Whether the provider did not say and the tokens were counted here.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub estimated: bool,
}

/// Why the model stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FinishReason {
    /// It was done, or met a stop text.
    #[default]
    Stop,
    /// It reached the most tokens it may write.
    Length,
    /// It wants tools to be called.
    ToolCalls,
    /// The provider held the answer back.
    ContentFilter,
    /// The model declined.
    Refusal,
    /// Something the provider names that is none of these.
    Other,
}

/// A model's whole answer.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Reply {
    /// The text.
    pub text: String,
    /// The model that answered.
    pub model: String,
    /// The provider that answered.
    pub provider: String,
    /// Why the model stopped.
    pub finish_reason: FinishReason,
    /// The tools the model wants called, in its order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<ToolCall>,
    /// What the model thought, where the provider shows it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reasoning: Option<String>,
    /// Signed thoughts to carry back unchanged in the next request.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub reasoning_parts: Vec<Part>,
    /// What it used.
    pub usage: Usage,
    /// The provider's id of the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// How often the call was tried, with all that it was asked of.
    pub attempts: u32,
    /// Whether it was kept from an earlier call: it used nothing, and cost nothing.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub cached: bool,
    /// The models that were asked before and failed, and why.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub failed: Vec<String>,
    /// What was left out of the request because the model does not take it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

impl Reply {
    /// The reply as the assistant's message of the next request.
    #[must_use]
    pub fn to_message(&self) -> Message {
        if self.tool_calls.is_empty() && self.reasoning_parts.is_empty() {
            return Message::assistant(&self.text);
        }
        let mut parts = self.reasoning_parts.clone();
        if !self.text.is_empty() {
            parts.push(Part::Text { text: self.text.clone() });
        }
        parts.extend(self.tool_calls.iter().cloned().map(Part::ToolCall));
        Message { role: Role::Assistant, content: Content::Parts(parts) }
    }
}

/// A piece of an answer as it streams. The last one is always `End`; a stream that closes without it was cut.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Delta {
    /// More text.
    Text {
        /// The new text alone.
        text: String,
    },
    /// More thought.
    Reasoning {
        /// The new thought alone.
        text: String,
    },
    /// The whole answer, with every text and tool call in it.
    End {
        /// The answer.
        reply: Box<Reply>,
    },
}

/// What a model can do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Capabilities {
    /// Calls tools.
    pub tools: bool,
    /// Reads images.
    pub vision: bool,
    /// Thinks before it answers.
    pub reasoning: bool,
    /// Answers in JSON of a given schema.
    pub json_schema: bool,
}

/// What is known of a model, from the built-in catalogue and from the provider.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ModelInfo {
    /// `provider/model`, as requests name it.
    pub id: String,
    /// The provider's own name of it.
    pub name: String,
    /// The provider.
    pub provider: String,
    /// The most tokens it can read and write together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context_window: Option<u64>,
    /// The most tokens it can write.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_output: Option<u64>,
    /// What it can do; absent when nothing is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capabilities: Option<Capabilities>,
    /// US dollars for a million input tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input_price: Option<f64>,
    /// US dollars for a million output tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_price: Option<f64>,
    /// US dollars for a million input tokens that came from the provider's cache.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cached_input_price: Option<f64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_written_with_plain_text_where_it_has_only_text() {
        let message: Message = serde_json::from_str(r#"{"role": "user", "content": "hi"}"#).unwrap();
        assert_eq!(message, Message::user("hi"));
        assert_eq!(serde_json::to_string(&message).unwrap(), r#"{"role":"user","content":"hi"}"#);
    }

    #[test]
    fn an_unknown_field_is_refused_by_name() {
        let error = serde_json::from_str::<ChatRequest>(r#"{"temprature": 1}"#).unwrap_err().to_string();
        assert!(error.contains("`temprature`") && error.contains("`temperature`"), "{error}");
    }

    #[test]
    fn a_reply_becomes_the_next_request_with_its_thoughts_and_calls() {
        let call = ToolCall {
            id: "1".into(),
            name: "add".into(),
            arguments: serde_json::json!({}),
            signature: None,
        };
        let thought = Part::Reasoning { text: "hm".into(), signature: Some("s".into()) };
        let reply = Reply {
            tool_calls: vec![call.clone()],
            reasoning_parts: vec![thought.clone()],
            ..Reply::default()
        };
        assert_eq!(reply.to_message().content, Content::Parts(vec![thought, Part::ToolCall(call)]));
    }

    #[test]
    fn seconds_outside_a_day_are_refused() {
        for bad in ["0", "-1", "1e400", "86401"] {
            assert!(serde_json::from_str::<Seconds>(bad).is_err(), "{bad}");
        }
    }
}
