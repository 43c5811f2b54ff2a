//! An argument that is text or any bytes: a string of a language whose strings are bytes.

use llmspell_core::bridge::FromArgument;
use llmspell_core::{Error, Result, Value};
use schemars::{Schema, SchemaGenerator};

/// A text that need not be UTF-8.
#[derive(Debug)]
pub struct Text(pub(crate) Vec<u8>);

impl FromArgument for Text {
    fn from_argument(value: Value) -> Result<Self> {
        match value {
            Value::Str(text) => Ok(Self(text.into_bytes())),
            Value::Bytes(bytes) => Ok(Self(bytes)),
            other => Err(Error::argument(format!("expected string, found {}", other.type_name()))),
        }
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        <String as FromArgument>::schema(generator)
    }
}
