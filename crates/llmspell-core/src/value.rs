//! The dynamic value that is passed between scripts and the host.
//!
//! Engines convert the values of their language to and from [`Value`]; bridges convert [`Value`] to and from Rust types
//! with `from_value` and `to_value` (`convert.rs`). Values are owned, so they can cross
//! threads and outlive the VM, except that a callback is usable only while its session lives.

mod object;
mod passing;

use indexmap::IndexMap;
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use self::object::Object;
pub(crate) use self::object::ObjectData;
pub(crate) use self::passing::{CALLBACK, PASSING, take_passing};
use crate::callback::Callback;

/// Values by name, in insertion order.
pub type Map = IndexMap<String, Value>;

/// The maximum nesting depth of a value. Deeper values and cycles are rejected with their path.
pub const MAX_DEPTH: usize = 128;

/// An owned dynamic value. All variants except callbacks and objects are plain data, which serde can serialize and
/// deserialize.
///
/// At the top level, `Nil` is the script's own nil. Inside a list or a map, it is JSON's null, which Luau shows as
/// `json.null`.
///
/// ```
/// use llmspell_core::Value;
/// let value = Value::from(vec![Value::from(1), Value::from("two")]);
/// assert_eq!(serde_json::to_string(&value).unwrap(), r#"[1,"two"]"#);
/// ```
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Value {
    /// No value, such as Luau's `nil`.
    #[default]
    Nil,
    /// True or false.
    Bool(bool),
    /// A whole number. Engines whose numbers are doubles reject integers past 2^53.
    Int(i64),
    /// Any other number.
    Num(f64),
    /// Text.
    Str(String),
    /// Binary data.
    Bytes(Vec<u8>),
    /// An ordered list.
    List(Vec<Value>),
    /// Values by name.
    Map(Map),
    /// A function of the script.
    Callback(Callback),
    /// An object of the host.
    Object(Object),
}

impl Value {
    /// Returns the name of the type, as error messages use it.
    #[must_use]
    pub fn type_name(&self) -> &str {
        match self {
            Self::Nil => "none",
            Self::Bool(_) => "boolean",
            Self::Int(_) => "integer",
            Self::Num(_) => "number",
            Self::Str(_) => "string",
            Self::Bytes(_) => "bytes",
            Self::List(_) => "list",
            Self::Map(_) => "table",
            Self::Callback(_) => "function",
            Self::Object(object) => object.class_name(),
        }
    }

    /// Returns whether the value is nil.
    #[must_use]
    pub fn is_nil(&self) -> bool {
        matches!(self, Self::Nil)
    }

    /// Returns whether the value is plain data at every level. Functions and host objects are not, because they do
    /// not outlive their run.
    #[must_use]
    pub fn is_data(&self) -> bool {
        match self {
            Self::List(values) => values.iter().all(Self::is_data),
            Self::Map(values) => values.values().all(Self::is_data),
            Self::Callback(_) | Self::Object(_) => false,
            _ => true,
        }
    }

    /// Returns the text of a string.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Str(text) => Some(text),
            _ => None,
        }
    }

    /// Returns the entry of a map with this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        match self {
            Self::Map(map) => map.get(name),
            _ => None,
        }
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<i32> for Value {
    fn from(value: i32) -> Self {
        Self::Int(value.into())
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Self::Num(value)
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::Str(value.into())
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Self::Str(value)
    }
}

impl From<Vec<Value>> for Value {
    fn from(value: Vec<Value>) -> Self {
        Self::List(value)
    }
}

impl From<Map> for Value {
    fn from(value: Map) -> Self {
        Self::Map(value)
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Nil => serializer.serialize_unit(),
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Int(value) => serializer.serialize_i64(*value),
            Self::Num(value) => serializer.serialize_f64(*value),
            Self::Str(value) => serializer.serialize_str(value),
            Self::Bytes(value) => serializer.serialize_bytes(value),
            Self::List(values) => {
                let mut list = serializer.serialize_seq(Some(values.len()))?;
                for value in values {
                    list.serialize_element(value)?;
                }
                list.end()
            }
            Self::Map(values) => {
                let mut map = serializer.serialize_map(Some(values.len()))?;
                for (name, value) in values {
                    map.serialize_entry(name, value)?;
                }
                map.end()
            }
            Self::Callback(callback) => callback.serialize(serializer),
            Self::Object(object) => {
                Err(serde::ser::Error::custom(format_args!("{} is not data", object.class_name())))
            }
        }
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyVisitor)
    }
}

struct AnyVisitor;

impl<'de> Visitor<'de> for AnyVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Nil)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Nil)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        Value::deserialize(deserializer)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Int(value))
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Value, E> {
        i64::try_from(value).map(Value::Int).map_err(|_| {
            E::custom(format_args!("the integer {value} is too large: at most {} can be held", i64::MAX))
        })
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Num(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Str(value.into()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::Str(value))
    }

    fn visit_bytes<E>(self, value: &[u8]) -> Result<Value, E> {
        Ok(Value::Bytes(value.into()))
    }

    fn visit_byte_buf<E>(self, value: Vec<u8>) -> Result<Value, E> {
        Ok(Value::Bytes(value))
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        take_passing(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::with_capacity(items.size_hint().unwrap_or(0).min(1024));
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Map::with_capacity(entries.size_hint().unwrap_or(0).min(1024));
        while let Some((name, value)) = entries.next_entry()? {
            map.insert(name, value);
        }
        Ok(Value::Map(map))
    }
}
