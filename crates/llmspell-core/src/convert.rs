//! Rust types to values and back, through serde. Reading moves; nothing passes through JSON text.

use std::any::Any;
use std::cell::RefCell;
use std::fmt::Display;

use serde::de::value::StringDeserializer;
use serde::de::{
    Deserialize, DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, MapAccess,
    SeqAccess, VariantAccess, Visitor,
};
use serde::ser::{self, Serialize, Serializer};

use crate::callback::Callback;
use crate::error::{Error, Result};
use crate::value::{Map, Value};

/// Turns data into a value. A `String` or a `Value` is moved, everything else is written once.
///
/// An empty field of a record is left out, as scripts would; in lists and maps null is [`Value::Nil`].
///
/// # Errors
/// When the data has keys that are not text, or integers that do not fit.
pub fn to_value<T: Serialize>(data: &T) -> Result<Value> {
    data.serialize(ToValue)
}

/// The same for data that can be given away, so that a large text is not copied.
///
/// # Errors
/// As [`to_value`].
pub fn into_value<T: Serialize + 'static>(data: T) -> Result<Value> {
    let mut data = Some(data);
    let any: &mut dyn Any = &mut data;
    if let Some(text) = any.downcast_mut::<Option<String>>() {
        return Ok(Value::Str(text.take().unwrap_or_default()));
    }
    if let Some(value) = any.downcast_mut::<Option<Value>>() {
        return Ok(value.take().unwrap_or_default());
    }
    data.map_or(Ok(Value::Nil), |data| data.serialize(ToValue))
}

/// Reads data out of a value; texts are moved.
///
/// Records take their fields in snake_case or camelCase, and refuse unknown ones by name.
///
/// ```
/// use llmspell_core::{Map, Value, from_value};
/// #[derive(Debug, serde::Deserialize)]
/// struct Options { max_tokens: u32 }
/// let value = Value::Map(Map::from_iter([("maxTokens".to_owned(), Value::from(5))]));
/// assert_eq!(from_value::<Options>(value).unwrap().max_tokens, 5);
///
/// let value = Value::Map(Map::from_iter([("maxToken".to_owned(), Value::from(5))]));
/// assert_eq!(
///     from_value::<Options>(value).unwrap_err().message(),
///     "`Options` has no field `maxToken`; it has `max_tokens`",
/// );
/// ```
///
/// # Errors
/// When the value is not of that shape; the error names the path, what was expected and what was found.
pub fn from_value<T: DeserializeOwned>(value: Value) -> Result<T> {
    T::deserialize(FromValue(value))
}

const CALLBACK: &str = "$llmspell::Callback";

thread_local! {
    /// Serde has no word for a function: a callback waits here while serde passes its private newtype's name.
    /// `toml` carries its date-times in the same way, as text.
    static PASSING: RefCell<Option<Callback>> = const { RefCell::new(None) };
}

impl Serialize for Callback {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        PASSING.with(|slot| slot.replace(Some(self.clone())));
        let result = serializer.serialize_newtype_struct(CALLBACK, &());
        // Still there: the serializer is not ours and would have written `null`.
        match PASSING.with(RefCell::take) {
            None => result,
            Some(_) => Err(ser::Error::custom("a function is not data")),
        }
    }
}

impl<'de> Deserialize<'de> for Callback {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct CallbackVisitor;
        impl<'de> Visitor<'de> for CallbackVisitor {
            type Value = Callback;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("function")
            }

            fn visit_newtype_struct<D: Deserializer<'de>>(
                self,
                deserializer: D,
            ) -> Result<Callback, D::Error> {
                take_callback(deserializer)
            }
        }
        deserializer.deserialize_newtype_struct(CALLBACK, CallbackVisitor)
    }
}

impl schemars::JsonSchema for Callback {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Callback".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"x-llmspell": "function"})
    }
}

impl schemars::JsonSchema for Value {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Value".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({})
    }
}

pub(crate) fn take_callback<'de, D: Deserializer<'de>>(_: D) -> Result<Callback, D::Error> {
    PASSING.with(RefCell::take).ok_or_else(|| serde::de::Error::custom("expected function"))
}

struct ToValue;

fn integer(value: impl TryInto<i64> + Display + Copy) -> Result<Value> {
    value.try_into().map(Value::Int).map_err(|_| {
        Error::argument(format!("the integer {value} is too large: at most {} can be held", i64::MAX))
    })
}

fn variant(name: &'static str, value: Value) -> Value {
    Value::Map(Map::from_iter([(name.to_owned(), value)]))
}

struct ListWriter {
    list: Vec<Value>,
    variant: Option<&'static str>,
}

struct MapWriter {
    map: Map,
    key: Option<String>,
    variant: Option<&'static str>,
}

impl Serializer for ToValue {
    type Ok = Value;
    type Error = Error;
    type SerializeSeq = ListWriter;
    type SerializeTuple = ListWriter;
    type SerializeTupleStruct = ListWriter;
    type SerializeTupleVariant = ListWriter;
    type SerializeMap = MapWriter;
    type SerializeStruct = MapWriter;
    type SerializeStructVariant = MapWriter;

    fn serialize_bool(self, value: bool) -> Result<Value> {
        Ok(Value::Bool(value))
    }
    fn serialize_i8(self, value: i8) -> Result<Value> {
        integer(value)
    }
    fn serialize_i16(self, value: i16) -> Result<Value> {
        integer(value)
    }
    fn serialize_i32(self, value: i32) -> Result<Value> {
        integer(value)
    }
    fn serialize_i64(self, value: i64) -> Result<Value> {
        Ok(Value::Int(value))
    }
    fn serialize_u8(self, value: u8) -> Result<Value> {
        integer(value)
    }
    fn serialize_u16(self, value: u16) -> Result<Value> {
        integer(value)
    }
    fn serialize_u32(self, value: u32) -> Result<Value> {
        integer(value)
    }
    fn serialize_u64(self, value: u64) -> Result<Value> {
        integer(value)
    }
    fn serialize_f32(self, value: f32) -> Result<Value> {
        Ok(Value::Num(value.into()))
    }
    fn serialize_f64(self, value: f64) -> Result<Value> {
        Ok(Value::Num(value))
    }
    fn serialize_char(self, value: char) -> Result<Value> {
        Ok(Value::Str(value.into()))
    }
    fn serialize_str(self, value: &str) -> Result<Value> {
        Ok(Value::Str(value.into()))
    }
    fn serialize_bytes(self, value: &[u8]) -> Result<Value> {
        Ok(Value::Bytes(value.into()))
    }
    fn serialize_none(self) -> Result<Value> {
        Ok(Value::Nil)
    }
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<Value> {
        value.serialize(self)
    }
    fn serialize_unit(self) -> Result<Value> {
        Ok(Value::Nil)
    }
    fn serialize_unit_struct(self, _: &'static str) -> Result<Value> {
        Ok(Value::Nil)
    }
    fn serialize_unit_variant(self, _: &'static str, _: u32, name: &'static str) -> Result<Value> {
        Ok(Value::Str(name.into()))
    }
    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, name: &'static str, value: &T) -> Result<Value> {
        if name == CALLBACK
            && let Some(callback) = PASSING.with(RefCell::take)
        {
            return Ok(Value::Callback(callback));
        }
        value.serialize(self)
    }
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        name: &'static str,
        value: &T,
    ) -> Result<Value> {
        Ok(variant(name, value.serialize(self)?))
    }
    fn serialize_seq(self, length: Option<usize>) -> Result<ListWriter> {
        Ok(ListWriter { list: Vec::with_capacity(length.unwrap_or(0)), variant: None })
    }
    fn serialize_tuple(self, length: usize) -> Result<ListWriter> {
        self.serialize_seq(Some(length))
    }
    fn serialize_tuple_struct(self, _: &'static str, length: usize) -> Result<ListWriter> {
        self.serialize_seq(Some(length))
    }
    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        name: &'static str,
        length: usize,
    ) -> Result<ListWriter> {
        Ok(ListWriter { list: Vec::with_capacity(length), variant: Some(name) })
    }
    fn serialize_map(self, length: Option<usize>) -> Result<MapWriter> {
        Ok(MapWriter { map: Map::with_capacity(length.unwrap_or(0)), key: None, variant: None })
    }
    fn serialize_struct(self, _: &'static str, length: usize) -> Result<MapWriter> {
        self.serialize_map(Some(length))
    }
    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        name: &'static str,
        length: usize,
    ) -> Result<MapWriter> {
        Ok(MapWriter { map: Map::with_capacity(length), key: None, variant: Some(name) })
    }
}

impl ListWriter {
    fn push<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<()> {
        self.list.push(value.serialize(ToValue)?);
        Ok(())
    }

    fn finish(self) -> Value {
        match self.variant {
            Some(name) => variant(name, Value::List(self.list)),
            None => Value::List(self.list),
        }
    }
}

impl ser::SerializeSeq for ListWriter {
    type Ok = Value;
    type Error = Error;
    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<()> {
        self.push(value)
    }
    fn end(self) -> Result<Value> {
        Ok(self.finish())
    }
}

impl ser::SerializeTuple for ListWriter {
    type Ok = Value;
    type Error = Error;
    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<()> {
        self.push(value)
    }
    fn end(self) -> Result<Value> {
        Ok(self.finish())
    }
}

impl ser::SerializeTupleStruct for ListWriter {
    type Ok = Value;
    type Error = Error;
    fn serialize_field<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<()> {
        self.push(value)
    }
    fn end(self) -> Result<Value> {
        Ok(self.finish())
    }
}

impl ser::SerializeTupleVariant for ListWriter {
    type Ok = Value;
    type Error = Error;
    fn serialize_field<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<()> {
        self.push(value)
    }
    fn end(self) -> Result<Value> {
        Ok(self.finish())
    }
}

impl MapWriter {
    fn field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result<()> {
        let value = value.serialize(ToValue)?;
        if !value.is_nil() {
            self.map.insert(name.to_owned(), value);
        }
        Ok(())
    }

    fn finish(self) -> Value {
        match self.variant {
            Some(name) => variant(name, Value::Map(self.map)),
            None => Value::Map(self.map),
        }
    }
}

impl ser::SerializeMap for MapWriter {
    type Ok = Value;
    type Error = Error;
    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<()> {
        self.key = Some(match key.serialize(ToValue)? {
            Value::Str(name) => name,
            Value::Int(number) => number.to_string(),
            other => {
                return Err(Error::argument(format!(
                    "expected string as a key, found {}",
                    other.type_name()
                )));
            }
        });
        Ok(())
    }
    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<()> {
        let key = self.key.take().unwrap_or_default();
        self.map.insert(key, value.serialize(ToValue)?);
        Ok(())
    }
    fn end(self) -> Result<Value> {
        Ok(self.finish())
    }
}

impl ser::SerializeStruct for MapWriter {
    type Ok = Value;
    type Error = Error;
    fn serialize_field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result<()> {
        self.field(name, value)
    }
    fn end(self) -> Result<Value> {
        Ok(self.finish())
    }
}

impl ser::SerializeStructVariant for MapWriter {
    type Ok = Value;
    type Error = Error;
    fn serialize_field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result<()> {
        self.field(name, value)
    }
    fn end(self) -> Result<Value> {
        Ok(self.finish())
    }
}

struct FromValue(Value);

impl FromValue {
    /// "expected string, found integer", in the words of scripts.
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
                let mut items = Items { items: values.into_iter(), index: 0 };
                visitor.visit_seq(&mut items)
            }
            Value::Map(values) => {
                visitor.visit_map(Entries { entries: values.into_iter(), current: None, record: None })
            }
            Value::Callback(callback) => {
                PASSING.with(|slot| slot.replace(Some(callback)));
                visitor.visit_newtype_struct(().into_deserializer())
            }
            Value::Object(object) => Self::mismatch(&Expecting(&visitor), &Value::Object(object)),
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
            // An empty table of a script may be either.
            Value::Map(map) if map.is_empty() => {
                visitor.visit_seq(&mut Items { items: Vec::new().into_iter(), index: 0 })
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
            Value::List(list) if list.is_empty() => {
                visitor.visit_map(Entries { entries: Map::new().into_iter(), current: None, record: None })
            }
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
        visitor.visit_map(Entries {
            entries: map.into_iter(),
            current: None,
            record: Some(Record { name, fields }),
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

struct Items {
    items: std::vec::IntoIter<Value>,
    index: usize,
}

impl<'de> SeqAccess<'de> for &mut Items {
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
struct Record {
    name: &'static str,
    fields: &'static [&'static str],
}

impl Record {
    /// The field that a script means, which may write it in camelCase.
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

/// `maxTokens` → `max_tokens`.
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

struct Entries {
    entries: indexmap::map::IntoIter<String, Value>,
    current: Option<(String, Value)>,
    record: Option<Record>,
}

impl<'de> MapAccess<'de> for Entries {
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures_util::future::BoxFuture;
    use proptest::prelude::*;
    use serde::{Deserialize, Serialize};

    use super::*;
    use crate::callback::CallbackHost;

    fn map(entries: &[(&str, Value)]) -> Value {
        Value::Map(entries.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect())
    }

    struct NoHost;

    impl CallbackHost for NoHost {
        fn call(&self, _: u64, _: Vec<Value>) -> BoxFuture<'static, Result<Value>> {
            Box::pin(async { Ok(Value::Nil) })
        }
        fn release(&self, _: u64) {}
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    enum Shape {
        Dot,
        Circle { radius: f64 },
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Sample {
        text: String,
        count: u8,
        ratio: Option<f64>,
        shapes: Vec<Shape>,
    }

    #[derive(Debug, Deserialize)]
    struct WithFunction {
        on_chunk: Callback,
    }

    #[test]
    fn a_record_goes_there_and_back() {
        let sample = Sample {
            text: "x".into(),
            count: 3,
            ratio: None,
            shapes: vec![Shape::Dot, Shape::Circle { radius: 1.5 }],
        };
        let value = to_value(&sample).unwrap();
        assert_eq!(from_value::<Sample>(value).unwrap(), sample);
    }

    #[test]
    fn errors_name_the_path_and_both_types() {
        let cases = [
            (map(&[("text", Value::from(1))]), "`text`: expected string, found integer"),
            (map(&[("count", Value::from(1.5))]), "`count`: expected integer, found number"),
            (map(&[("count", Value::from(256))]), "`count`: invalid value: integer `256`, expected u8"),
            (
                map(&[("shapes", Value::List(vec![Value::from("Dot"), Value::from("Square")]))]),
                "`shapes`: item 2: expected \"Dot\" or \"Circle\", found \"Square\"",
            ),
            (
                map(&[("txt", Value::from("x"))]),
                "`Sample` has no field `txt`; it has `text`, `count`, `ratio`, `shapes`",
            ),
            (Value::from("x"), "expected table (`Sample`), found string"),
        ];
        for (value, message) in cases {
            assert_eq!(from_value::<Sample>(value).unwrap_err().message(), message);
        }
    }

    #[test]
    fn a_function_crosses_inside_a_record_and_nowhere_else() {
        let callback = Callback::new(7, Arc::new(NoHost));
        let record: WithFunction =
            from_value(map(&[("onChunk", Value::Callback(callback.clone()))])).unwrap();
        assert_eq!(record.on_chunk, callback);
        assert_eq!(to_value(&callback).unwrap(), Value::Callback(callback.clone()));
        assert_eq!(
            from_value::<WithFunction>(map(&[("on_chunk", Value::from("x"))])).unwrap_err().message(),
            "`on_chunk`: expected function, found string",
        );
        assert_eq!(serde_json::to_string(&callback).unwrap_err().to_string(), "a function is not data");
    }

    #[test]
    fn a_large_text_is_moved_in_and_out() {
        let text = "x".repeat(1000);
        let address = text.as_ptr();
        let Value::Str(inside) = into_value(text).unwrap() else { panic!("not a text") };
        assert_eq!(inside.as_ptr(), address);
        let outside: String = from_value(Value::Str(inside)).unwrap();
        assert_eq!(outside.as_ptr(), address);
    }

    #[test]
    fn integers_that_do_not_fit_are_refused() {
        assert!(to_value(&u64::MAX).unwrap_err().message().contains("too large"));
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Nil),
            any::<bool>().prop_map(Value::Bool),
            any::<i64>().prop_map(Value::Int),
            // A whole float would come back from JSON as a float too, but NaN and infinity have no JSON.
            any::<f64>().prop_filter("finite", |number| number.is_finite()).prop_map(Value::Num),
            any::<String>().prop_map(Value::Str),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::List),
                prop::collection::vec((any::<String>(), inner), 0..4)
                    .prop_map(|entries| Value::Map(entries.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn every_value_survives_serde(value in any_value()) {
            prop_assert_eq!(to_value(&value).unwrap(), value.clone());
            prop_assert_eq!(from_value::<Value>(value.clone()).unwrap(), value.clone());
        }

        #[test]
        fn every_value_survives_json(value in any_value()) {
            let text = serde_json::to_string(&value).unwrap();
            prop_assert_eq!(serde_json::to_string(&serde_json::from_str::<Value>(&text).unwrap()).unwrap(), text);
        }
    }
}
