//! Encodes values as JSON text.

use std::fmt;
use std::io;

use llmspell_core::{Error, MAX_DEPTH, Meter, Result, Value};

/// Encodes `value` as JSON. `pretty` puts each item on its own line.
///
/// # Errors
/// Returns an error when JSON cannot represent the value, or when the text would exceed the memory limit.
pub(crate) fn encode(meter: &Meter, value: &Value, pretty: bool) -> Result<String> {
    check(value, &JsonPath::Root, 0)?;
    let mut out = Bounded { meter, bytes: Vec::new() };
    let written = if pretty {
        serde_json::to_writer_pretty(&mut out, value)
    } else {
        serde_json::to_writer(&mut out, value)
    };
    meter.state()?;
    written.map_err(|error| Error::internal(format!("a checked value was not JSON: {error}")))?;
    String::from_utf8(out.bytes).map_err(|_| Error::internal("JSON text was not UTF-8"))
}

/// The path to a position in a value. It is formatted only for an error.
enum JsonPath<'a> {
    Root,
    Name(&'a JsonPath<'a>, &'a str),
    Item(&'a JsonPath<'a>, usize),
}

impl fmt::Display for JsonPath<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => f.write_str("$"),
            Self::Name(parent, name) if is_plain(name) => write!(f, "{parent}.{name}"),
            Self::Name(parent, name) => write!(f, "{parent}[{name:?}]"),
            Self::Item(parent, number) => write!(f, "{parent}[{number}]"),
        }
    }
}

fn is_plain(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn check(value: &Value, path: &JsonPath<'_>, depth: usize) -> Result<()> {
    let refused = |what: &str| Err(Error::argument(format!("{path}: {what} cannot be written as JSON")));
    match value {
        Value::Nil | Value::Bool(_) | Value::Int(_) | Value::Str(_) => Ok(()),
        Value::Num(number) if number.is_finite() => Ok(()),
        Value::Num(number) => refused(if number.is_nan() { "NaN" } else { "infinity" }),
        Value::List(_) | Value::Map(_) if depth == MAX_DEPTH => {
            refused(&format!("a value that nests deeper than {MAX_DEPTH} levels"))
        }
        Value::List(items) => items
            .iter()
            .enumerate()
            .try_for_each(|(at, item)| check(item, &JsonPath::Item(path, at + 1), depth + 1)),
        Value::Map(entries) => {
            entries.iter().try_for_each(|(name, value)| check(value, &JsonPath::Name(path, name), depth + 1))
        }
        Value::Bytes(_) => refused("a string that is not UTF-8"),
        Value::Callback(_) => refused("a function"),
        Value::Object(object) => refused(&object.class().name),
    }
}

/// A buffer that cannot grow beyond the run's memory limit.
struct Bounded<'a> {
    meter: &'a Meter,
    bytes: Vec<u8>,
}

impl io::Write for Bounded<'_> {
    fn write(&mut self, more: &[u8]) -> io::Result<usize> {
        self.meter.allow_memory((self.bytes.len() + more.len()) as u64).map_err(io::Error::other)?;
        self.bytes.extend_from_slice(more);
        Ok(more.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
