//! What a test says of a run beside its parameters: answers and faults in the place of the world.

use indexmap::IndexMap;
use llmspell_core::{Value, from_value};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer};

/// What stands in the place of the world. What is not said here is answered by the recording.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RunOptions {
    /// What models answer, in the order of the calls. They pass the real client: what may be tried again is tried
    /// again, and takes the next one.
    pub model: Option<Vec<Short<ModelAnswer>>>,
    /// What is at these addresses of the web; nothing is at any other.
    pub http: Option<IndexMap<String, Short<HttpAnswer>>>,
    /// The lines that the user types; behind them is the end of input.
    pub input: Vec<String>,
    /// Errors in the place of effects: by the capability, such as `files`, or one of its operations, such as
    /// `files.write`.
    pub fail: IndexMap<String, Short<Fault>>,
}

/// An answer of a model, or how there is none. A text stands for an answer with that text.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ModelAnswer {
    /// The text of the answer.
    pub text: Option<String>,
    /// Calls of tools that the model wants, beside the text if there is any.
    pub tool_calls: Vec<WantedCall>,
    /// Refuses the call with this status.
    pub status: Option<u16>,
    /// How many seconds a refusal asks to wait.
    pub retry_after: Option<f64>,
    /// Breaks the answer off after this text.
    pub cut: Option<String>,
    /// Answers with what is no JSON.
    pub bad_json: bool,
    /// How many seconds it takes.
    pub delay: f64,
}

/// A call of a tool that a model wants.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WantedCall {
    /// The tool.
    pub name: String,
    /// What it is called with.
    #[serde(default)]
    pub arguments: Value,
}

impl From<String> for ModelAnswer {
    fn from(text: String) -> Self {
        Self { text: Some(text), ..Self::default() }
    }
}

/// What a server answers. A text stands for an answer with that body.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct HttpAnswer {
    /// The status.
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

/// An error in the place of an effect. A text stands for an error with that message.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Fault {
    /// What it says.
    pub message: String,
    /// Its kind; without one, `network` for the network, `overloaded` for models, and `io` for all else.
    pub kind: Option<String>,
    /// Fails only the effect with this number, counting those that the fault would fail from 1.
    pub at: Option<u32>,
}

impl From<String> for Fault {
    fn from(message: String) -> Self {
        Self { message, ..Self::default() }
    }
}

/// A record, or the text that is most of it.
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
