//! Bounds on the size and depth of schemas, and on the depth of values.

use llmspell_core::{Error, Result};
use serde_json::Value as Json;

use super::validation_error::{Violation, shown};

/// The most bytes of a schema as JSON.
const MAX_SIZE: usize = 256 * 1024;

/// The most levels of subschemas in a schema, and of a value that is checked.
const MAX_DEPTH: usize = 64;

/// Refuses a schema that is too large or too deep, before anything else reads it.
pub(super) fn check_size(schema: &Json) -> Result<()> {
    // A schema nests twice as deep as the value that it describes: `properties`, and a schema in it.
    if depth(schema, 2 * MAX_DEPTH) > 2 * MAX_DEPTH {
        return Err(Error::argument(format!("the schema is deeper than {MAX_DEPTH} levels")));
    }
    if size(schema) > MAX_SIZE {
        return Err(Error::argument(format!("the schema is larger than {} KiB", MAX_SIZE / 1024)));
    }
    Ok(())
}

/// Refuses a value that is deeper than the stack allows for.
pub(super) fn check_depth(value: &Json) -> Result<(), Violation> {
    if depth(value, MAX_DEPTH) <= MAX_DEPTH {
        return Ok(());
    }
    let expected = format!("a value of at most {MAX_DEPTH} levels");
    Err(Violation::of_root(expected, shown(value)))
}

/// The levels of a value, counted up to one more than `most`.
fn depth(value: &Json, most: usize) -> usize {
    let deepest = |inner: &mut dyn Iterator<Item = &Json>| match most.checked_sub(1) {
        Some(most) => inner.map(|value| depth(value, most)).max().unwrap_or(0),
        None => 0,
    };
    match value {
        Json::Array(items) => 1 + deepest(&mut items.iter()),
        Json::Object(fields) => 1 + deepest(&mut fields.values()),
        _ => 0,
    }
}

/// About the bytes of a value as JSON.
pub(crate) fn size(value: &Json) -> usize {
    match value {
        Json::String(text) => 2 + text.len(),
        Json::Array(items) => 2 + items.iter().map(|item| 1 + size(item)).sum::<usize>(),
        Json::Object(fields) => {
            2 + fields.iter().map(|(name, value)| 4 + name.len() + size(value)).sum::<usize>()
        }
        _ => 4,
    }
}
