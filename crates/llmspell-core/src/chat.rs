//! The neutral types of a model call: request, reply, streamed deltas, usage and model descriptions.
//!
//! These types are independent of every provider's wire protocol. The crate `llmspell-llm` translates between the
//! two.

use std::borrow::Cow;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};

/// The author of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The system prompt.
    System,
    /// The person or script that asks the model.
    User,
    /// The model.
    Assistant,
    /// The result of a tool call.
    Tool,
}

/// A part of a message.
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
    /// A tool call by the model.
    ToolCall(ToolCall),
    /// The result of a tool call.
    ToolResult {
        /// The id of the tool call.
        id: String,
        /// The result, as text.
        content: String,
        /// Whether the tool failed.
        #[serde(default)]
        is_error: bool,
    },
    /// Reasoning of the model, to be sent back unchanged.
    Reasoning {
        /// The reasoning text, if the provider reveals it.
        text: String,
        /// The provider's signature of the reasoning.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        signature: Option<String>,
        /// The provider that the reasoning goes back to; absent for every provider.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        provider: Option<String>,
    },
}

/// The content of a message: one text, or parts.
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
    /// The author: `system`, `user`, `assistant` or `tool`.
    pub role: Role,
    /// The content.
    pub content: Content,
}

impl Message {
    /// Creates a message with one text.
    #[must_use]
    pub fn text(role: Role, text: impl Into<String>) -> Self {
        Self { role, content: Content::Text(text.into()) }
    }

    /// Creates a message of the user.
    #[must_use]
    pub fn user(text: impl Into<String>) -> Self {
        Self::text(Role::User, text)
    }

    /// Creates a message of the model.
    #[must_use]
    pub fn assistant(text: impl Into<String>) -> Self {
        Self::text(Role::Assistant, text)
    }

    /// Returns the texts of the message, joined.
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
    /// The name by which the model calls the tool.
    pub name: String,
    /// What the tool does, described for the model.
    #[serde(default)]
    pub description: String,
    /// JSON Schema of the arguments.
    #[serde(default)]
    pub parameters: serde_json::Value,
}

/// A request for structured output: the answer must be JSON that matches a schema.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OutputSpec {
    /// JSON Schema of the answer.
    pub schema: serde_json::Value,
    /// Whether to use the provider's structured output. By default it is used if the model is known to support it;
    /// otherwise the schema is described in the prompt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub native: Option<bool>,
}

/// A tool call by the model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ToolCall {
    /// The provider's id of the tool call.
    pub id: String,
    /// The name of the tool.
    pub name: String,
    /// The arguments: an object, or the raw text if the model's JSON could not be parsed.
    pub arguments: serde_json::Value,
    /// The provider's signature of the reasoning behind the tool call, to be sent back unchanged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<String>,
    /// The provider that the signature goes back to; absent for every provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
}

/// How much the model should reason before it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Effort {
    /// Not at all, if the model allows it.
    None,
    /// A little.
    Low,
    /// The usual amount.
    Medium,
    /// A lot.
    High,
}

/// A time span in seconds, from a millisecond to a day.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Seconds(Duration);

impl Seconds {
    /// Returns the time span.
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

/// Whether a request may be answered from the cache: `true`, `false`, or the maximum age of the answer in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "CachePolicyForm", into = "CachePolicyForm")]
pub enum CachePolicy {
    /// The model is called, and its answer is not stored.
    Off,
    /// A cached answer is used if it is not older than this; `None` accepts any age.
    On(Option<Duration>),
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(untagged)]
enum CachePolicyForm {
    Whether(bool),
    Seconds(f64),
}

impl TryFrom<CachePolicyForm> for CachePolicy {
    type Error = String;

    fn try_from(written: CachePolicyForm) -> Result<Self, String> {
        match written {
            CachePolicyForm::Whether(false) => Ok(Self::Off),
            CachePolicyForm::Whether(true) => Ok(Self::On(None)),
            CachePolicyForm::Seconds(seconds) => match Duration::try_from_secs_f64(seconds) {
                Ok(age) => Ok(Self::On(Some(age))),
                Err(_) => Err(format!("expected true, false or seconds, found {seconds}")),
            },
        }
    }
}

impl From<CachePolicy> for CachePolicyForm {
    fn from(policy: CachePolicy) -> Self {
        match policy {
            CachePolicy::Off => Self::Whether(false),
            CachePolicy::On(None) => Self::Whether(true),
            CachePolicy::On(Some(age)) => Self::Seconds(age.as_secs_f64()),
        }
    }
}

impl JsonSchema for CachePolicy {
    fn schema_name() -> Cow<'static, str> {
        "CachePolicy".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        schemars::json_schema!({"anyOf": [{"type": "boolean"}, {"type": "number"}]})
    }
}

/// A request to a chat model.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ChatRequest {
    /// The conversation so far; the last message is the one to answer.
    pub messages: Vec<Message>,
    /// The system prompt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub system: Option<String>,
    /// The model: `provider/model`, or a name that the chosen provider knows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The provider, if the model's name does not include it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// The sampling temperature, from 0. Higher values give more varied answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
    /// Nucleus sampling: only the likeliest tokens are considered whose probabilities add up to this share.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top_p: Option<f64>,
    /// The maximum number of tokens in the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<u32>,
    /// Stop sequences: the model stops at any of these texts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub stop: Vec<String>,
    /// A seed, for providers that support reproducible answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// How much the model should reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reasoning: Option<Effort>,
    /// The tools the model may call.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tools: Vec<ToolSpec>,
    /// The schema for structured output. The answer is not checked against it here and is still text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<OutputSpec>,
    /// Whether a cached answer to the same request may be used: `true`, or its maximum age in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache: Option<CachePolicy>,
    /// The maximum duration of the whole call in seconds, including retries.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Seconds>,
    /// The maximum number of retries of a failed call, at most 9; 2 by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retries: Option<u32>,
    /// Models to try in order when the provider fails before any part of its answer was received.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fallback: Vec<String>,
}

impl ChatRequest {
    /// Creates a request with one user message.
    ///
    /// ```
    /// use llmspell_core::chat::ChatRequest;
    /// assert_eq!(ChatRequest::prompt("hi").messages[0].joined_text(), "hi");
    /// ```
    #[must_use]
    pub fn prompt(text: impl Into<String>) -> Self {
        Self { messages: vec![Message::user(text)], ..Self::default() }
    }

    /// Returns the size of all message texts in bytes.
    pub(crate) fn text_bytes(&self) -> u64 {
        self.messages.iter().map(|message| message.joined_text().len() as u64).sum()
    }
}

/// The usage of a call or a run. Token counts are the provider's, unless `estimated` is set.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Usage {
    /// Input tokens, including cached ones.
    pub input_tokens: u64,
    /// Output tokens, including reasoning.
    pub output_tokens: u64,
    /// Input tokens that came from the provider's cache.
    pub cached_tokens: u64,
    /// Input tokens that were written to the provider's cache. Absent if there are none.
    #[serde(skip_serializing_if = "is_zero")]
    pub cache_write_tokens: u64,
    /// The part of `cache_write_tokens` that the provider keeps for an hour, at a higher price.
    #[serde(skip_serializing_if = "is_zero")]
    pub cache_write_hour_tokens: u64,
    /// Output tokens that were used for reasoning.
    pub reasoning_tokens: u64,
    /// The cost in US dollars; absent when the model's price is unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost_usd: Option<f64>,
    /// What the provider's cache saved in US dollars; negative if writing to it cost more than reading saved.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub saved_usd: Option<f64>,
    /// Whether the tokens were estimated because the provider did not report them.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub estimated: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_zero(tokens: &u64) -> bool {
    *tokens == 0
}

impl Usage {
    /// Adds the tokens, the savings and the `estimated` mark of other usage. The cost is not added, because a sum of
    /// known and unknown costs is for the caller to define.
    pub fn add_tokens(&mut self, more: &Self) {
        for (sum, more) in [
            (&mut self.input_tokens, more.input_tokens),
            (&mut self.output_tokens, more.output_tokens),
            (&mut self.cached_tokens, more.cached_tokens),
            (&mut self.cache_write_tokens, more.cache_write_tokens),
            (&mut self.cache_write_hour_tokens, more.cache_write_hour_tokens),
            (&mut self.reasoning_tokens, more.reasoning_tokens),
        ] {
            *sum = sum.saturating_add(more);
        }
        let saved = self.saved_usd.into_iter().chain(more.saved_usd).filter(|saved| saved.is_finite());
        self.saved_usd = saved.reduce(|one, other| one + other);
        self.estimated |= more.estimated;
    }
}

/// Why the model stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FinishReason {
    /// The answer is complete, or a stop sequence was reached.
    #[default]
    Stop,
    /// The answer reached its maximum number of tokens.
    Length,
    /// The model wants to call tools.
    ToolCalls,
    /// The provider withheld the answer.
    ContentFilter,
    /// The model refused to answer.
    Refusal,
    /// Another reason that the provider reported.
    Other,
}

/// A model's complete answer.
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
    /// The tool calls that the model wants, in its order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<ToolCall>,
    /// The model's reasoning, if the provider reveals it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reasoning: Option<String>,
    /// Reasoning that the provider wants back unchanged in the next request.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub reasoning_parts: Vec<Part>,
    /// The usage of the call.
    pub usage: Usage,
    /// The provider's id of the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The number of attempts, over all models that were tried.
    pub attempts: u32,
    /// Whether the answer came from the cache. Its usage and cost are then zero.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub cached: bool,
    /// The models that were tried before and failed, with the reasons.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub failed: Vec<String>,
    /// The request options that were left out because the model does not support them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

impl Reply {
    /// Converts the reply to the assistant's message for the next request.
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

/// A part of a streamed answer. The last one is always `End`; a stream that closes without it was interrupted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Delta {
    /// More text.
    Text {
        /// The new text only.
        text: String,
    },
    /// More reasoning.
    Reasoning {
        /// The new reasoning only.
        text: String,
    },
    /// The complete answer, including all text and tool calls.
    End {
        /// The answer.
        reply: Box<Reply>,
    },
}

/// What a model can do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Capabilities {
    /// Can call tools.
    pub tools: bool,
    /// Can read images.
    pub vision: bool,
    /// Can reason before it answers.
    pub reasoning: bool,
    /// Supports structured output by a JSON Schema.
    pub json_schema: bool,
}

/// A description of a model, from the built-in catalogue and from the provider.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ModelInfo {
    /// `provider/model`, as requests name it.
    pub id: String,
    /// The provider's name for the model.
    pub name: String,
    /// The provider.
    pub provider: String,
    /// The context window: the maximum number of input and output tokens together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context_window: Option<u64>,
    /// The maximum number of output tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_output: Option<u64>,
    /// The model's capabilities; absent when unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capabilities: Option<Capabilities>,
    /// The price of a million input tokens in US dollars.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input_price: Option<f64>,
    /// The price of a million output tokens in US dollars.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_price: Option<f64>,
    /// The price of a million cached input tokens in US dollars.
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
            provider: None,
        };
        let thought =
            Part::Reasoning { text: "hm".into(), signature: Some("s".into()), provider: Some("p".into()) };
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

    #[test]
    fn a_policy_is_a_switch_or_an_age() {
        let read = |text: &str| serde_json::from_str::<CachePolicy>(text).map_err(|error| error.to_string());
        assert_eq!(read("true"), Ok(CachePolicy::On(None)));
        assert_eq!(read("false"), Ok(CachePolicy::Off));
        assert_eq!(read("0.5"), Ok(CachePolicy::On(Some(Duration::from_millis(500)))));
        assert_eq!(read("-1"), Err("expected true, false or seconds, found -1".to_owned()));
        for policy in ["true", "false", "60.0"] {
            assert_eq!(serde_json::to_string(&read(policy).unwrap()).unwrap(), policy);
        }
    }
}
