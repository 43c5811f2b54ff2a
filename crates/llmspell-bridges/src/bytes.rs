//! Strings of scripts that need not be text.

use llmspell_core::bridge::{FromArgument, IntoReturn};
use llmspell_core::{Error, Result, Value};
use schemars::{JsonSchema, Schema, SchemaGenerator};

/// A string as scripts have them: any bytes.
///
/// [`String`] as a parameter refuses what is not UTF-8; this is for methods that can make use of it.
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

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        String::json_schema(generator)
    }
}

impl IntoReturn for Bytes {
    fn into_return(self) -> Result<Value> {
        Ok(match String::from_utf8(self.0) {
            Ok(text) => Value::Str(text),
            Err(error) => Value::Bytes(error.into_bytes()),
        })
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        String::json_schema(generator)
    }
}
