//! The byte strings of scripts.

use llmspell_core::bridge::{FromArgument, IntoReturn};
use llmspell_core::{Error, Result, Value};
use schemars::{Schema, SchemaGenerator, json_schema};

/// A byte string, which need not be text.
///
/// A [`String`] parameter rejects strings that are not UTF-8; this type accepts them. As a result type, it is always
/// a `Uint8Array` in languages that distinguish bytes from text.
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
