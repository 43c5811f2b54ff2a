//! The APIs that providers speak. A shape is pure translation: it does no IO and keeps no state.

mod anthropic;
mod gemini;
mod ollama;
mod openai;
mod output;
mod responses;

use std::borrow::Cow;

use llmspell_core::chat::{ChatRequest, Content, ModelInfo, Part};
use llmspell_core::embed::EmbedRequest;
use llmspell_core::{Error, ErrorKind, Result};
use serde_json::Value as Json;

use crate::config::ProviderConfig;
use crate::draft::Draft;
use crate::frames::Framing;
use crate::provider::TakesOutput;
use crate::providers::ShapeKind;

/// Writes requests and reads answers as one API has them.
pub(crate) trait Shape: Send + Sync {
    /// What is put between an address as users write it, whose path is `given`, and the path of a call.
    fn implied_path(&self, given: &[&str]) -> Option<&'static str>;

    /// The path of a call, in segments.
    fn path<'a>(&self, model: &'a str, stream: bool) -> Vec<Cow<'a, str>>;

    /// The query of a call.
    fn query(&self, _stream: bool) -> Option<&'static str> {
        None
    }

    /// The path at which models are listed.
    fn models_path(&self) -> &'static [&'static str];

    /// The headers of a call; the key goes into one of them.
    fn headers(&self, key: Option<&str>) -> Vec<(&'static str, String)>;

    /// How it takes a request that says what the answer must be.
    fn takes_output(&self, request: &ChatRequest) -> TakesOutput;

    /// The body of a call.
    ///
    /// # Errors
    /// When the request asks for something that the API cannot do.
    fn body(&self, config: &ProviderConfig, request: &ChatRequest, stream: bool) -> Result<Json>;

    /// How a streamed answer is framed.
    fn framing(&self) -> Framing {
        Framing::Events
    }

    /// Whether a stream is whole once it said why the model stopped, though nothing marks its end.
    fn ends_with_finish(&self) -> bool;

    /// Reads a whole answer.
    ///
    /// # Errors
    /// When it holds none.
    fn whole(&self, json: &Json, draft: &mut Draft) -> Result<()>;

    /// Reads one chunk of a streamed answer. What is not known is left alone.
    fn piece(&self, json: &Json, draft: &mut Draft);

    /// The path and the body of a call that turns texts into vectors; `None` where the API has none.
    fn embed<'a>(&self, _request: &'a EmbedRequest) -> Option<(Vec<Cow<'a, str>>, Json)> {
        None
    }

    /// The most texts of such a call.
    fn most_texts(&self) -> usize {
        1_000
    }

    /// Reads its answer: the vectors, and the tokens that were read, where it says so.
    fn vectors(&self, _json: &Json) -> (Vec<Vec<f64>>, Option<u64>) {
        (Vec::new(), None)
    }

    /// Reads a list of models; names are the provider's own.
    fn models(&self, json: &Json) -> Vec<ModelInfo>;
}

/// The shape of this kind.
pub(crate) fn shape_of(kind: ShapeKind) -> &'static dyn Shape {
    match kind {
        ShapeKind::OpenAiChat => &openai::OpenAiChat,
        ShapeKind::OpenAiResponses => &responses::OpenAiResponses,
        ShapeKind::Anthropic => &anthropic::Anthropic,
        ShapeKind::Gemini => &gemini::Gemini,
        ShapeKind::Ollama => &ollama::Ollama,
    }
}

/// A JSON object that leaves out what is not there.
#[derive(Debug, Default)]
struct Object(serde_json::Map<String, Json>);

impl Object {
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

/// A message's content as parts.
fn parts(content: &Content) -> Vec<Part> {
    match content {
        Content::Text(text) => vec![Part::Text { text: text.clone() }],
        Content::Parts(parts) => parts.clone(),
    }
}

/// A tool's schema as the APIs want it: an object, even where the tool takes nothing.
fn parameters(schema: &Json) -> Json {
    match schema {
        Json::Object(_) => schema.clone(),
        _ => serde_json::json!({"type": "object", "properties": {}}),
    }
}

/// Arguments as the text that a model wrote.
fn arguments_text(arguments: &Json) -> String {
    match arguments {
        Json::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Arguments as the object that an API insists on; text that never parsed is carried inside one.
fn arguments_object(arguments: &Json) -> Json {
    match arguments {
        Json::Object(_) => arguments.clone(),
        other => serde_json::json!({"raw": other}),
    }
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

/// A text field, where it is one.
fn text(json: &Json) -> Option<String> {
    json.as_str().map(str::to_owned)
}

/// An empty answer to a whole request.
fn empty(what: &str) -> Error {
    Error::new(ErrorKind::EmptyResponse, format!("the answer holds {what}")).with_retryable(true)
}

/// A list of numbers; what is none is left out.
fn vector(list: &Json) -> Vec<f64> {
    list.as_array().into_iter().flatten().filter_map(Json::as_f64).collect()
}

/// Models from a list of objects that have their name in one of these fields.
fn named_models<'a>(list: &'a Json, field: &str) -> impl Iterator<Item = (&'a Json, String)> {
    list.as_array().into_iter().flatten().filter_map(move |model| {
        Some((model, model[field].as_str()?.to_owned())).filter(|(_, name)| !name.is_empty())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KINDS: [ShapeKind; 5] = [
        ShapeKind::OpenAiChat,
        ShapeKind::OpenAiResponses,
        ShapeKind::Anthropic,
        ShapeKind::Gemini,
        ShapeKind::Ollama,
    ];

    /// JSON made of the words that the APIs use, in places where they do not.
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

    proptest! {
        #[test]
        fn no_answer_makes_a_shape_panic(pieces in proptest::collection::vec(odd_json(), 0..6)) {
            for kind in KINDS {
                let mut draft = Draft::default();
                for piece in &pieces {
                    shape_of(kind).piece(piece, &mut draft);
                }
                let _ = draft.into_reply(1);
                for piece in &pieces {
                    let mut draft = Draft::default();
                    let _ = shape_of(kind).whole(piece, &mut draft);
                    let _ = draft.into_reply(1);
                    let _ = shape_of(kind).models(piece);
                }
            }
        }
    }
}
