//! The `json` bridge: encoding and decoding of JSON.

pub(crate) mod decode;
pub(crate) mod encode;

use llmspell_core::bridge::FromArgument;
use llmspell_core::{Result, Value};
use llmspell_macros::bridge;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Deserialize;

/// Encodes and decodes JSON, strictly by RFC 8259.
#[bridge]
#[since("0.1")]
pub mod json {
    use llmspell_core::{Context, Result, Value};

    use super::{Data, EncodeOptions, decode, encode};
    use crate::bytes::Bytes;

    /// Encodes a value as JSON text.
    ///
    /// Raises an error that names the path (`$.a[2].b`, items counted from 1) when the value contains something that
    /// JSON cannot represent: NaN, infinity, bytes that are not text, functions, host objects, or itself.
    ///
    /// ```luau
    /// assert(json.encode({1, 2, {name = "Ada"}}) == '[1,2,{"name":"Ada"}]')
    /// assert(json.encode({name = json.null}) == '{"name":null}')
    /// assert(json.encode({}) == "{}")
    /// assert(json.encode({1, 2}, {pretty = true}) == "[\n  1,\n  2\n]")
    /// assert(not pcall(json.encode, {print}))
    /// ```
    pub fn encode(cx: &Context, value: Data, options: Option<EncodeOptions>) -> Result<String> {
        encode::encode(cx.meter(), &value.0, options.unwrap_or_default().pretty)
    }

    /// Decodes a value from JSON text.
    ///
    /// A nested null becomes `json.null`, and an empty array stays an array. If a name occurs twice, the last value
    /// counts. Fails with the kind `parse` when the text is not JSON, nests deeper than 127 levels, or contains an
    /// integer too large to be represented exactly.
    ///
    /// ```luau
    /// local value = json.decode('{"names": ["Ada", null]}')
    /// assert(value.names[1] == "Ada" and value.names[2] == json.null)
    ///
    /// local nothing, err = json.decode("{oops}")
    /// assert(nothing == nil and err.kind == "parse")
    /// ```
    pub fn decode(cx: &Context, text: Bytes) -> Result<Value> {
        decode::decode(cx.meter(), &text.0)
    }

    /// Marks a list as an array, so that an empty one is encoded as `[]`.
    ///
    /// ```luau
    /// assert(json.encode({names = json.array({})}) == '{"names":[]}')
    /// ```
    pub fn array(list: Vec<Value>) -> Result<Vec<Value>> {
        Ok(list)
    }

    /// JSON's null, for positions in lists and tables where `nil` would leave a hole.
    #[constant]
    pub fn null() -> Result<Value> {
        Ok(Value::Nil)
    }
}

/// Options for encoding.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct EncodeOptions {
    /// Whether to put each item on its own line, indented by two spaces.
    pub pretty: bool,
}

/// A value as the script passed it, so that the encoder can name the position of data that JSON cannot represent.
#[derive(Debug)]
pub struct Data(pub(crate) Value);

impl FromArgument for Data {
    fn from_argument(value: Value) -> Result<Self> {
        Ok(Self(value))
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        <Value as FromArgument>::schema(generator)
    }
}
