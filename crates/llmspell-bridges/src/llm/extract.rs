//! The arguments of `llm.extract`: a schema, and options.

use llmspell_core::bridge::FromArgument;
use llmspell_core::{Context, Error, Map, Result, Value, from_value, to_value};
use llmspell_llm::Schema;
use schemars::{JsonSchema, SchemaGenerator, json_schema};
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer};

use super::prompt::{ChatOptions, Prompt};
use super::selection::Selection;

/// The maximum of the option `attempts`.
const MAX_ATTEMPTS: u32 = 10;

/// A schema as a script writes it: JSON Schema or the shorthand.
#[derive(Debug)]
pub struct WrittenSchema(Schema);

impl FromArgument for WrittenSchema {
    fn from_argument(value: Value) -> Result<Self> {
        let what = value.type_name();
        match value {
            Value::Str(_) | Value::Bool(_) | Value::List(_) | Value::Map(_) => {
                Schema::read(&from_value(value)?).map(Self)
            }
            _ => Err(Error::argument(format!("expected a schema as table or string, found {what}"))),
        }
    }

    fn schema(_: &mut SchemaGenerator) -> schemars::Schema {
        json_schema!({"anyOf": [{"type": "string"}, {"type": "object"}, {"type": "array"}]})
    }
}

/// Options for structured output.
#[derive(Debug, Default, JsonSchema)]
#[serde(default)]
pub struct ExtractOptions {
    #[serde(flatten)]
    chat: ChatOptions,
    /// The maximum number of attempts when answers do not match the schema, from 1 to 10; 3 by default.
    attempts: Option<u32>,
    /// Whether to use the provider's structured output. By default it is used if the model is known to support it.
    native: Option<bool>,
}

/// Written by hand, because serde's `flatten` and `deny_unknown_fields` cannot be combined.
impl<'de> Deserialize<'de> for ExtractOptions {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let mut fields = Map::deserialize(deserializer)?;
        let attempts = own(&mut fields, "attempts")?;
        let native = own(&mut fields, "native")?;
        if let Some(attempts) = attempts.filter(|attempts| !(1..=MAX_ATTEMPTS).contains(attempts)) {
            let message = format!("`attempts`: expected 1 to {MAX_ATTEMPTS}, found {attempts}");
            return Err(D::Error::custom(message));
        }
        let chat = from_value(Value::Map(fields)).map_err(D::Error::custom)?;
        Ok(Self { chat, attempts, native })
    }
}

/// Removes and parses a field that only `llm.extract` has.
fn own<T: DeserializeOwned, E: serde::de::Error>(
    fields: &mut Map,
    name: &str,
) -> std::result::Result<Option<T>, E> {
    let written = fields.shift_remove(name).unwrap_or(Value::Nil);
    from_value(written).map_err(|error| E::custom(format_args!("`{name}`: {error}")))
}

/// Asks for data that matches a schema.
pub(super) async fn extract(
    cx: &Context,
    prompt: Prompt,
    WrittenSchema(schema): WrittenSchema,
    options: Option<ExtractOptions>,
) -> Result<Value> {
    let ExtractOptions { chat, attempts, native } = options.unwrap_or_default();
    let mut request = prompt.with(Some(chat));
    Selection::complete(cx, &mut request)?;
    let usual = llmspell_llm::ExtractSpec::default();
    let options = llmspell_llm::ExtractSpec { attempts: attempts.unwrap_or(usual.attempts), native };
    to_value(&llmspell_llm::extract(cx, request, &schema, options).await?.value)
}
