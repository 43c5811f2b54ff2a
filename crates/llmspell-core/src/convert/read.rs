//! Deserializes Rust types from values. The error messages use the type names that scripts know.

use std::cell::RefCell;
use std::fmt::Display;

use serde::de::value::StringDeserializer;
use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, MapAccess, SeqAccess,
    VariantAccess, Visitor,
};

use crate::error::{Error, Result};
use crate::value::{CALLBACK, Map, PASSING, Value};

pub(super) struct FromValue(pub(super) Value);

impl FromValue {
    /// Creates an error such as "expected string, found integer".
    fn mismatch<T>(expected: &dyn Display, found: &Value) -> Result<T> {
        Err(Error::argument(format!("expected {expected}, found {}", found.type_name())))
    }
}

struct Expecting<'a, V>(&'a V);

impl<'de, V: Visitor<'de>> Display for Expecting<'_, V> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.expecting(f)
    }
}

macro_rules! scalars {
    ($($method:ident => $expected:literal, $pattern:pat,)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
            match &self.0 {
                $pattern => self.deserialize_any(visitor),
                other => Self::mismatch(&$expected, other),
            }
        }
    )*};
}

impl<'de> Deserializer<'de> for FromValue {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        match self.0 {
            Value::Nil => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(value),
            Value::Int(value) => visitor.visit_i64(value),
            Value::Num(value) => visitor.visit_f64(value),
            Value::Str(value) => visitor.visit_string(value),
            Value::Bytes(value) => visitor.visit_byte_buf(value),
            Value::List(values) => {
                let mut items = ListAccess { items: values.into_iter(), index: 0 };
                visitor.visit_seq(&mut items)
            }
            Value::Map(values) => {
                visitor.visit_map(EntriesAccess { entries: values.into_iter(), current: None, record: None })
            }
            value @ (Value::Callback(_) | Value::Object(_)) => {
                let expected = Expecting(&visitor).to_string();
                PASSING.with(|slot| slot.replace(Some(value)));
                let result = visitor.visit_newtype_struct(().into_deserializer());
                // If the value is still there, the visitor did not ask for a function or object.
                match PASSING.with(RefCell::take) {
                    Some(value) => Self::mismatch(&expected, &value),
                    None => result,
                }
            }
        }
    }

    scalars! {
        deserialize_bool => "boolean", Value::Bool(_),
        deserialize_i8 => "integer", Value::Int(_),
        deserialize_i16 => "integer", Value::Int(_),
        deserialize_i32 => "integer", Value::Int(_),
        deserialize_i64 => "integer", Value::Int(_),
        deserialize_u8 => "integer", Value::Int(_),
        deserialize_u16 => "integer", Value::Int(_),
        deserialize_u32 => "integer", Value::Int(_),
        deserialize_u64 => "integer", Value::Int(_),
        deserialize_f32 => "number", Value::Int(_) | Value::Num(_),
        deserialize_f64 => "number", Value::Int(_) | Value::Num(_),
        deserialize_char => "string", Value::Str(_),
        deserialize_str => "string", Value::Str(_),
        deserialize_string => "string", Value::Str(_),
        deserialize_bytes => "bytes", Value::Bytes(_) | Value::Str(_),
        deserialize_byte_buf => "bytes", Value::Bytes(_) | Value::Str(_),
        deserialize_unit => "none", Value::Nil,
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        match self.0 {
            Value::Nil => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value> {
        match self.0 {
            Value::Callback(_) => self.deserialize_any(visitor),
            other if name == CALLBACK => Self::mismatch(&"function", &other),
            other => visitor.visit_newtype_struct(FromValue(other)),
        }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        match self.0 {
            Value::List(_) => self.deserialize_any(visitor),
            // Scripts in Luau write an empty list and an empty map alike.
            Value::Map(map) if map.is_empty() => {
                visitor.visit_seq(&mut ListAccess { items: Vec::new().into_iter(), index: 0 })
            }
            other => Self::mismatch(&"list", &other),
        }
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        match self.0 {
            Value::Map(_) => self.deserialize_any(visitor),
            Value::List(list) if list.is_empty() => visitor.visit_map(EntriesAccess {
                entries: Map::new().into_iter(),
                current: None,
                record: None,
            }),
            other => Self::mismatch(&"table", &other),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        let map = match self.0 {
            Value::Map(map) => map,
            Value::List(list) if list.is_empty() => Map::new(),
            other => return Self::mismatch(&format_args!("table (`{name}`)"), &other),
        };
        visitor.visit_map(EntriesAccess {
            entries: map.into_iter(),
            current: None,
            record: Some(RecordAccess { name, fields }),
        })
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        match self.0 {
            Value::Str(name) => {
                if !variants.contains(&name.as_str()) {
                    return Err(Error::argument(format!("expected {}, found \"{name}\"", quoted(variants))));
                }
                visitor.visit_enum(Variant { name, value: Value::Nil })
            }
            Value::Map(map) if map.len() == 1 => match map.into_iter().next() {
                Some((name, value)) => visitor.visit_enum(Variant { name, value }),
                None => Self::mismatch(&quoted(variants), &Value::Nil),
            },
            other => Self::mismatch(&quoted(variants), &other),
        }
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.deserialize_any(visitor)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        visitor.visit_unit()
    }
}

fn quoted(names: &[&str]) -> String {
    names.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(" or ")
}

struct ListAccess {
    items: std::vec::IntoIter<Value>,
    index: usize,
}

impl<'de> SeqAccess<'de> for &mut ListAccess {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>> {
        let Some(item) = self.items.next() else { return Ok(None) };
        self.index += 1;
        let index = self.index;
        seed.deserialize(FromValue(item))
            .map(Some)
            .map_err(|error| error.prefixed(format_args!("item {index}: ")))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.items.len())
    }
}

#[derive(Clone, Copy)]
struct RecordAccess {
    name: &'static str,
    fields: &'static [&'static str],
}

impl RecordAccess {
    /// Finds the field that a script means by a key in snake_case or camelCase.
    fn field(self, key: &str) -> Result<&'static str> {
        let found = self.fields.iter().find(|field| **field == key);
        let found = found.or_else(|| {
            let snake = snake_case(key);
            self.fields.iter().find(|field| **field == snake)
        });
        found.copied().ok_or_else(|| {
            let known = self.fields.iter().map(|field| format!("`{field}`")).collect::<Vec<_>>().join(", ");
            let has = if known.is_empty() { "no fields".to_owned() } else { known };
            Error::argument(format!("`{}` has no field `{key}`; it has {has}", self.name))
        })
    }
}

/// Converts `maxTokens` to `max_tokens`.
fn snake_case(name: &str) -> String {
    let mut snake = String::with_capacity(name.len() + 4);
    for letter in name.chars() {
        if letter.is_ascii_uppercase() {
            snake.push('_');
        }
        snake.push(letter.to_ascii_lowercase());
    }
    snake
}

struct EntriesAccess {
    entries: indexmap::map::IntoIter<String, Value>,
    current: Option<(String, Value)>,
    record: Option<RecordAccess>,
}

impl<'de> MapAccess<'de> for EntriesAccess {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>> {
        let Some((key, value)) = self.entries.next() else { return Ok(None) };
        if let Some(record) = self.record {
            let field = record.field(&key)?;
            self.current = Some((field.to_owned(), value));
            let field: serde::de::value::StrDeserializer<'_, Error> = field.into_deserializer();
            return seed.deserialize(field).map(Some);
        }
        let name: StringDeserializer<Error> = key.clone().into_deserializer();
        self.current = Some((key, value));
        seed.deserialize(name).map(Some)
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value> {
        let (key, value) = self.current.take().unwrap_or_default();
        seed.deserialize(FromValue(value)).map_err(|error| error.prefixed(format_args!("`{key}`: ")))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.entries.len())
    }
}

struct Variant {
    name: String,
    value: Value,
}

impl<'de> EnumAccess<'de> for Variant {
    type Error = Error;
    type Variant = FromValue;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, FromValue)> {
        let name: StringDeserializer<Error> = self.name.into_deserializer();
        Ok((seed.deserialize(name)?, FromValue(self.value)))
    }
}

impl<'de> VariantAccess<'de> for FromValue {
    type Error = Error;

    fn unit_variant(self) -> Result<()> {
        <()>::deserialize(self)
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value> {
        seed.deserialize(self)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value> {
        self.deserialize_seq(visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        self.deserialize_struct("variant", fields, visitor)
    }
}
