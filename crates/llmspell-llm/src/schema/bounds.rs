//! Limits on the size and depth of schemas, and on the depth of values.

use llmspell_core::{Error, Result};
use serde_json::Value as Json;

use super::validation_error::{Violation, shown};

/// The maximum size of a schema in bytes of JSON.
const MAX_SIZE: usize = 256 * 1024;

/// The maximum depth of a value, and of subschemas in a schema.
const MAX_DEPTH: usize = 64;

/// Rejects a schema that is too large or too deep. This check runs before any other.
pub(super) fn check_size(schema: &Json) -> Result<()> {
    // Each level of a value takes two levels in its schema: `properties`, and the schema of the field.
    if depth(schema, 2 * MAX_DEPTH) > 2 * MAX_DEPTH {
        return Err(Error::argument(format!("the schema is deeper than {MAX_DEPTH} levels")));
    }
    if size(schema) > MAX_SIZE {
        return Err(Error::argument(format!("the schema is larger than {} KiB", MAX_SIZE / 1024)));
    }
    Ok(())
}

/// Rejects a value that is too deep for the stack.
pub(super) fn check_depth(value: &Json) -> Result<(), Violation> {
    if depth(value, MAX_DEPTH) <= MAX_DEPTH {
        return Ok(());
    }
    let expected = format!("a value of at most {MAX_DEPTH} levels");
    Err(Violation::of_root(expected, shown(value)))
}

/// Returns the depth of a value, counted to at most `most + 1`.
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

/// Returns the approximate size of a value in bytes of JSON.
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
