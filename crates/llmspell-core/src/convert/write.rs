//! Serializes Rust types to values.

use std::cell::RefCell;
use std::fmt::Display;

use serde::ser::{self, Serialize, Serializer};

use crate::error::{Error, Result};
use crate::value::{CALLBACK, Map, PASSING, Value};

pub(super) struct ToValue;

fn integer(value: impl TryInto<i64> + Display + Copy) -> Result<Value> {
    value.try_into().map(Value::Int).map_err(|_| {
        Error::argument(format!("the integer {value} is too large: at most {} can be held", i64::MAX))
    })
}

fn variant(name: &'static str, value: Value) -> Value {
    Value::Map(Map::from_iter([(name.to_owned(), value)]))
}

pub(super) struct ListWriter {
    list: Vec<Value>,
    variant: Option<&'static str>,
}

pub(super) struct MapWriter {
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
            return Ok(callback);
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
    fn finish(self) -> Value {
        match self.variant {
            Some(name) => variant(name, Value::List(self.list)),
            None => Value::List(self.list),
        }
    }
}

/// The four list traits of serde differ only in names.
macro_rules! list_writers {
    ($($of:ident, $write:ident;)*) => {$(
        impl ser::$of for ListWriter {
            type Ok = Value;
            type Error = Error;
            fn $write<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<()> {
                self.list.push(value.serialize(ToValue)?);
                Ok(())
            }
            fn end(self) -> Result<Value> {
                Ok(self.finish())
            }
        }
    )*};
}

list_writers! {
    SerializeSeq, serialize_element;
    SerializeTuple, serialize_element;
    SerializeTupleStruct, serialize_field;
    SerializeTupleVariant, serialize_field;
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

/// The two struct traits of serde differ only in names.
macro_rules! record_writers {
    ($($of:ident)*) => {$(
        impl ser::$of for MapWriter {
            type Ok = Value;
            type Error = Error;
            fn serialize_field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result<()> {
                self.field(name, value)
            }
            fn end(self) -> Result<Value> {
                Ok(self.finish())
            }
        }
    )*};
}

record_writers! { SerializeStruct SerializeStructVariant }
