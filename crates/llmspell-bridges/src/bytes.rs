//! Strings of scripts that need not be text.

use llmspell_core::bridge::{FromArgument, IntoReturn};
use llmspell_core::{Error, Result, Value};
use schemars::{Schema, SchemaGenerator, json_schema};

/// A string as scripts have them: any bytes.
///
/// [`String`] as a parameter refuses what is not UTF-8; this is for methods that can make use of it. As a result it is
/// the same whatever the bytes are: a `Uint8Array` where the language tells bytes from text.
#[derive(Debug, PartialEq, Eq)]
pub struct Bytes(pub Vec<u8>);

impl FromArgument for Bytes {
    fn from_argument(value: Value) -> Result<Self> {
        match value {
            Value::Str(text) => Ok(Self(text.into_bytes())),
            Value::Bytes(bytes) => Ok(Self(bytes)),
            other => Err(Error::argument(format!("expected string, found {}", other.type_name()))),
        }
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        schema()
    }
}

impl IntoReturn for Bytes {
    fn into_return(self) -> Result<Value> {
        Ok(Value::Bytes(self.0))
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        schema()
    }
}

fn schema() -> Schema {
    json_schema!({"type": "string", "x-llmspell": "bytes"})
}
