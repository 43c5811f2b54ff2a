//! The wire protocols of the providers. A protocol ([`Protocol`]) is pure translation: no IO, no state.
//!
//! Reading is lenient, since gateways deviate: unknown fields are ignored, and no input may panic (a property test
//! covers this).

mod anthropic;
mod gemini;
mod history;
mod ollama;
mod openai;
mod output;
mod responses;

use std::borrow::Cow;

use llmspell_core::chat::{ChatRequest, ModelInfo, Part, ToolSpec};
use llmspell_core::embed::EmbedRequest;
use llmspell_core::{Error, ErrorKind, Result};
use serde_json::{Value as Json, json};

use crate::config::ProviderConfig;
use crate::event_decoder::StreamFormat;
use crate::provider::StructuredOutput;
use crate::providers::ProtocolKind;
use crate::reply_builder::ReplyBuilder;

/// A wire protocol: writes requests and reads answers.
pub(crate) trait Protocol: Send + Sync {
    /// Returns the path segment to insert between a base URL, whose path is `given`, and the path of a call.
    fn implied_path(&self, given: &[&str]) -> Option<&'static str>;

    /// Returns the path of a chat, in segments.
    fn path<'a>(&self, model: &'a str, stream: bool) -> Vec<Cow<'a, str>>;

    /// Returns the query string of a chat.
    fn query(&self, _stream: bool) -> Option<&'static str> {
        None
    }

    /// Returns the path of the list of models.
    fn models_path(&self) -> &'static [&'static str];

    /// Returns the headers of a call, including the one for the key.
    fn headers(&self, key: Option<&str>) -> Vec<(&'static str, String)>;

    /// How the protocol accepts a request's output schema.
    fn takes_output(&self, request: &ChatRequest) -> StructuredOutput;

    /// Returns the body of a chat.
    ///
    /// # Errors
    /// When the request contains something that the protocol cannot express.
    fn body(&self, config: &ProviderConfig, request: &ChatRequest, stream: bool) -> Result<Json>;

    /// Returns the format of a streamed answer.
    fn stream_format(&self) -> StreamFormat {
        StreamFormat::Events
    }

    /// Whether a stream is complete once it has a finish reason, even without an end marker.
    fn ends_with_finish(&self) -> bool;

    /// Reads a complete answer.
    ///
    /// # Errors
    /// When it contains no answer.
    fn whole(&self, json: &Json, builder: &mut ReplyBuilder) -> Result<()>;

    /// Reads one chunk of a streamed answer. Unknown content is ignored.
    fn piece(&self, json: &Json, builder: &mut ReplyBuilder);

    /// Returns the path and the body of an embedding request; `None` if the protocol has none.
    fn embed<'a>(&self, _request: &'a EmbedRequest) -> Option<(Vec<Cow<'a, str>>, Json)> {
        None
    }

    /// Returns the maximum number of texts per embedding request.
    fn most_texts(&self) -> usize {
        1_000
    }

    /// Reads an embedding answer: the vectors, and the number of input tokens if it is reported.
    fn vectors(&self, _json: &Json) -> (Vec<Vec<f64>>, Option<u64>) {
        (Vec::new(), None)
    }

    /// Reads a list of models. The names are the provider's own.
    fn models(&self, json: &Json) -> Vec<ModelInfo>;
}

/// Returns the protocol of this kind.
pub(crate) fn protocol_of(kind: ProtocolKind) -> &'static dyn Protocol {
    match kind {
        ProtocolKind::OpenAiChat => &openai::OpenAiChat,
        ProtocolKind::OpenAiResponses => &responses::OpenAiResponses,
        ProtocolKind::Anthropic => &anthropic::Anthropic,
        ProtocolKind::Gemini => &gemini::Gemini,
        ProtocolKind::Ollama => &ollama::OllamaChat,
    }
}

/// A builder of a JSON object that omits absent values.
#[derive(Debug, Default)]
struct ObjectBuilder(serde_json::Map<String, Json>);

impl ObjectBuilder {
    fn set(mut self, name: &str, value: impl Into<Json>) -> Self {
        self.0.insert(name.to_owned(), value.into());
        self
    }

    fn set_some(self, name: &str, value: Option<impl Into<Json>>) -> Self {
        match value {
            Some(value) => self.set(name, value),
            None => self,
        }
    }

    fn set_list<T: Into<Json>>(self, name: &str, values: Vec<T>) -> Self {
        if values.is_empty() { self } else { self.set(name, values) }
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn json(self) -> Json {
        Json::Object(self.0)
    }
}

/// Returns a tool in the form of Chat Completions, which Ollama shares.
fn function_tool(tool: &ToolSpec) -> Json {
    let function = json!({
        "name": tool.name,
        "description": tool.description,
        "parameters": parameters(&tool.parameters),
    });
    json!({"type": "function", "function": function})
}

/// Returns the schema of a tool's arguments as all APIs accept it: an object with `properties`, also for a tool without
/// arguments.
fn parameters(schema: &Json) -> Json {
    let mut fields = schema.as_object().cloned().unwrap_or_default();
    let kind = fields.entry("type").or_insert(Json::Null);
    if kind.is_null() || kind.as_array().is_some_and(|kinds| kinds.iter().any(|kind| kind == "object")) {
        *kind = "object".into();
    }
    if *kind == "object" && !fields.get("properties").is_some_and(Json::is_object) {
        fields.insert("properties".to_owned(), Json::Object(serde_json::Map::new()));
    }
    Json::Object(fields)
}

fn misplaced(part: &Part, role: &str) -> Error {
    let what = match part {
        Part::Text { .. } => "text",
        Part::Image { .. } => "an image",
        Part::ToolCall(_) => "a tool call",
        Part::ToolResult { .. } => "a tool result",
        Part::Reasoning { .. } => "reasoning",
    };
    Error::new(ErrorKind::BadRequest, format!("a message of role `{role}` cannot hold {what}"))
}

/// Returns a field if it is text.
fn text(json: &Json) -> Option<String> {
    json.as_str().map(str::to_owned)
}

/// Returns the error for an empty answer.
fn empty(what: &str) -> Error {
    Error::new(ErrorKind::EmptyResponse, format!("the answer holds {what}")).with_retryable(true)
}

/// Returns the numbers of a list and drops everything else.
fn vector(list: &Json) -> Vec<f64> {
    list.as_array().into_iter().flatten().filter_map(Json::as_f64).collect()
}

/// Returns the objects of a list of models with their names, which are in this field.
fn named_models<'a>(list: &'a Json, field: &str) -> impl Iterator<Item = (&'a Json, String)> {
    list.as_array().into_iter().flatten().filter_map(move |model| {
        Some((model, model[field].as_str()?.to_owned())).filter(|(_, name)| !name.is_empty())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    const KINDS: [ProtocolKind; 5] = [
        ProtocolKind::OpenAiChat,
        ProtocolKind::OpenAiResponses,
        ProtocolKind::Anthropic,
        ProtocolKind::Gemini,
        ProtocolKind::Ollama,
    ];

    /// Generates JSON from the field names of the protocols, in unexpected places.
    fn odd_json() -> impl Strategy<Value = Json> {
        const WORDS: [&str; 24] = [
            "type",
            "index",
            "choices",
            "delta",
            "message",
            "content",
            "tool_calls",
            "function",
            "arguments",
            "usage",
            "candidates",
            "parts",
            "functionCall",
            "usageMetadata",
            "promptTokenCount",
            "prompt_tokens",
            "input_tokens",
            "output",
            "item",
            "response",
            "content_block",
            "finish_reason",
            "done",
            "text",
        ];
        let leaf = prop_oneof![
            Just(Json::Null),
            any::<bool>().prop_map(Json::from),
            any::<u64>().prop_map(Json::from),
            any::<f64>().prop_map(Json::from),
            proptest::sample::select(&WORDS[..]).prop_map(Json::from),
        ];
        leaf.prop_recursive(6, 60, 6, |inner| {
            let name = proptest::sample::select(&WORDS[..]).prop_map(str::to_owned);
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Json::from),
                proptest::collection::vec((name, inner), 0..8)
                    .prop_map(|fields| Json::Object(fields.into_iter().collect())),
            ]
        })
    }

    #[test]
    fn a_tool_without_arguments_has_a_schema_of_an_object() {
        let empty = json!({"type": "object", "properties": {}});
        let city = json!({"type": "object", "properties": {"city": {"type": "string"}}});
        for (given, expected) in [
            (json!(null), empty.clone()),
            (json!([]), empty.clone()),
            (json!(true), empty.clone()),
            (json!({}), empty.clone()),
            (json!({"type": null}), empty.clone()),
            (json!({"type": "object"}), empty.clone()),
            (json!({"type": "object", "properties": null}), empty.clone()),
            (json!({"type": "object", "properties": []}), empty.clone()),
            (json!({"type": ["object", "null"]}), empty.clone()),
            (empty.clone(), empty),
            (json!({"properties": {"city": {"type": "string"}}}), city.clone()),
            (city.clone(), city),
            (
                json!({"type": "object", "additionalProperties": false}),
                json!({"type": "object", "properties": {}, "additionalProperties": false}),
            ),
            (
                json!({"anyOf": [{"required": ["a"]}, {"required": ["b"]}]}),
                json!({"type": "object", "properties": {}, "anyOf": [{"required": ["a"]}, {"required": ["b"]}]}),
            ),
        ] {
            assert_eq!(parameters(&given), expected, "{given}");
        }
    }

    proptest! {
        #[test]
        fn no_answer_makes_a_shape_panic(pieces in proptest::collection::vec(odd_json(), 0..6)) {
            for kind in KINDS {
                let mut builder = ReplyBuilder::default();
                for piece in &pieces {
                    protocol_of(kind).piece(piece, &mut builder);
                }
                let _ = builder.into_reply(1);
                for piece in &pieces {
                    let mut builder = ReplyBuilder::default();
                    let _ = protocol_of(kind).whole(piece, &mut builder);
                    let _ = builder.into_reply(1);
                    let _ = protocol_of(kind).models(piece);
                }
            }
        }
    }
}
