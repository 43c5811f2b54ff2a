//! Decodes JSON text to values.

use std::cell::Cell;
use std::fmt;

use llmspell_core::{Error, ErrorKind, Map, Meter, Result, Value};
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

/// Decodes one JSON value, strictly.
///
/// # Errors
/// Returns an error when the text is not JSON, contains an integer that is too large, or when the value would exceed
/// a limit of the run.
pub(crate) fn decode(meter: &Meter, text: &[u8]) -> Result<Value> {
    let reader = JsonReader { meter, bytes: Cell::new(text.len() as u64), huge: Cell::new(false) };
    let mut json = serde_json::Deserializer::from_slice(text);
    let value = reader.deserialize(&mut json).and_then(|value| json.end().map(|()| value));
    meter.state()?;
    let value = value.map_err(|error| Error::new(ErrorKind::Parse, format!("invalid JSON: {error}")))?;
    match reader.huge.get().then(|| huge_integer(text)).flatten() {
        None => Ok(value),
        Some(digits) => Err(Error::new(ErrorKind::Parse, format!("invalid JSON: {}", too_large(digits)))),
    }
}

fn too_large(digits: impl fmt::Display) -> String {
    format!("the integer {digits} is too large to be kept exactly")
}

/// Finds the first integer that exceeds `i64` in valid JSON. The parser has read it as a float.
fn huge_integer(text: &[u8]) -> Option<&str> {
    let mut rest = text;
    loop {
        let start = rest.iter().position(|byte| matches!(byte, b'"' | b'-' | b'0'..=b'9'))?;
        rest = &rest[start..];
        let length = if rest[0] == b'"' { string_length(rest) } else { number_length(rest) };
        let (token, after) = rest.split_at(length);
        rest = after;
        let digits = std::str::from_utf8(token).ok()?;
        if !digits.starts_with('"') && !digits.contains(['.', 'e', 'E']) && digits.parse::<i64>().is_err() {
            return Some(digits);
        }
    }
}

fn number_length(text: &[u8]) -> usize {
    let in_number = |byte: &u8| byte.is_ascii_digit() || matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E');
    text.iter().position(|byte| !in_number(byte)).unwrap_or(text.len())
}

fn string_length(text: &[u8]) -> usize {
    let mut escaped = false;
    let end = text.iter().skip(1).position(|byte| {
        let ends = *byte == b'"' && !escaped;
        escaped = *byte == b'\\' && !escaped;
        ends
    });
    end.map_or(text.len(), |end| end + 2)
}

/// The size of the smallest allocation, including the allocator's bookkeeping, in bytes.
const BLOCK: u64 = 32;
/// The capacity of a list after its first item, and of a map after its first entry.
const FIRST_ROOM: u64 = 4;
const ITEM: u64 = size_of::<Value>() as u64;
/// A map stores each value with its name, a hash and an index slot.
const ENTRY: u64 = ITEM + size_of::<String>() as u64 + 24;

/// Builds a value and charges its memory while it grows, because a small text can decode to a large value.
struct JsonReader<'a> {
    meter: &'a Meter,
    bytes: Cell<u64>,
    /// Whether a number too large for an integer was read. It may be an integer literal or have an exponent.
    huge: Cell<bool>,
}

impl JsonReader<'_> {
    fn charge<E: serde::de::Error>(&self, bytes: u64) -> Result<(), E> {
        let total = self.bytes.get().saturating_add(bytes);
        self.bytes.set(total);
        self.meter.allow_memory(total).map_err(E::custom)?;
        if self.meter.must_check() { self.meter.check().map_err(E::custom) } else { Ok(()) }
    }
}

impl<'de> DeserializeSeed<'de> for &JsonReader<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Value, D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for &JsonReader<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Nil)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Int(value))
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Value, E> {
        i64::try_from(value).map(Value::Int).map_err(|_| E::custom(too_large(value)))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        const PAST_INTEGERS: f64 = i64::MAX as f64;
        if value.abs() >= PAST_INTEGERS {
            self.huge.set(true);
        }
        Ok(Value::Num(value))
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Value, E> {
        self.charge(BLOCK + text.len() as u64)?;
        Ok(Value::Str(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(self)? {
            self.charge(if list.is_empty() { BLOCK + FIRST_ROOM * ITEM } else { ITEM })?;
            list.push(item);
        }
        Ok(Value::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(name) = entries.next_key::<String>()? {
            let room = if map.is_empty() { BLOCK + FIRST_ROOM * ENTRY } else { ENTRY };
            self.charge(room + BLOCK + name.len() as u64)?;
            map.insert(name, entries.next_value_seed(self)?);
        }
        Ok(Value::Map(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_integer_outside_of_strings_is_too_large() {
        let cases = [
            (r#"[100000000000000000000]"#, Some("100000000000000000000")),
            (r#"[1e20, -9223372036854775809]"#, Some("-9223372036854775809")),
            (r#"[1e20, 1.5e300, "100000000000000000000", 7]"#, None),
            (r#"["\\", "\"100000000000000000000\\\"", 1e20]"#, None),
        ];
        for (text, expected) in cases {
            assert_eq!(huge_integer(text.as_bytes()), expected, "{text}");
        }
    }
}
