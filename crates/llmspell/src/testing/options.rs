//! The options of `test.run`: scripted answers and faults that replace the real world.

use indexmap::IndexMap;
use llmspell_core::{Value, from_value};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer};

/// Scripted answers for a run. Everything else is answered by the recording.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RunOptions {
    /// Answers of models, in the order of the calls. They pass the real client: a call that fails and may be retried is
    /// retried, and takes the next answer.
    pub model: Option<Vec<Short<ModelAnswer>>>,
    /// Answers of web addresses. All other addresses fail.
    pub http: Option<IndexMap<String, Short<HttpAnswer>>>,
    /// Lines that the user types, followed by the end of input.
    pub input: Vec<String>,
    /// Errors in place of effects, by capability, such as `files`, or by operation, such as `files.write`.
    pub fail: IndexMap<String, Short<Fault>>,
}

/// An answer of a model, or its failure. A text stands for an answer with that text.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ModelAnswer {
    /// The text of the answer.
    pub text: Option<String>,
    /// Tool calls that the model makes, after its text if there is one.
    pub tool_calls: Vec<WantedCall>,
    /// Fails the call with this HTTP status, from 400 to 599.
    pub status: Option<u16>,
    /// The `Retry-After` of a failure, in seconds.
    pub retry_after: Option<f64>,
    /// Cuts the answer off after this text.
    pub cut: Option<String>,
    /// Answers with invalid JSON.
    pub bad_json: bool,
    /// How long the answer takes, in seconds.
    pub delay: f64,
}

/// A tool call that a model makes.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WantedCall {
    /// The name of the tool.
    pub name: String,
    /// The arguments.
    #[serde(default)]
    pub arguments: Value,
}

impl From<String> for ModelAnswer {
    fn from(text: String) -> Self {
        Self { text: Some(text), ..Self::default() }
    }
}

/// The answer of an HTTP server. A text stands for an answer with that body.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct HttpAnswer {
    /// The status code.
    pub status: u16,
    /// The headers.
    pub headers: IndexMap<String, String>,
    /// The body.
    pub body: String,
}

impl Default for HttpAnswer {
    fn default() -> Self {
        Self { status: 200, headers: IndexMap::new(), body: String::new() }
    }
}

impl From<String> for HttpAnswer {
    fn from(body: String) -> Self {
        Self { body, ..Self::default() }
    }
}

/// An error in place of an effect. A text stands for an error with that message.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Fault {
    /// The message.
    pub message: String,
    /// The kind; the default is `network` for the network, `overloaded` for models, and `io` otherwise.
    pub kind: Option<String>,
    /// Fails only the matching effect with this number, counted from 1.
    pub at: Option<u32>,
}

impl From<String> for Fault {
    fn from(message: String) -> Self {
        Self { message, ..Self::default() }
    }
}

/// A record, or a text as its short form.
#[derive(Debug, Clone)]
pub struct Short<T>(pub T);

impl<'de, T: DeserializeOwned + From<String>> Deserialize<'de> for Short<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::Str(text) => Ok(Self(text.into())),
            record => from_value(record).map(Self).map_err(D::Error::custom),
        }
    }
}

impl<T: JsonSchema> JsonSchema for Short<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        T::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({"anyOf": [{"type": "string"}, generator.subschema_for::<T>()]})
    }
}
