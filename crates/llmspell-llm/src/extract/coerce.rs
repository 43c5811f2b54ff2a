//! Converts a value to the type that the schema expects, where nothing is lost.

use serde_json::Value as Json;

use crate::schema::{PathStep, Schema, ValidationError, Violation, size};

/// The maximum number of conversions. Each one requires a validation of the whole value.
const MOST_CHANGES: usize = 256;

/// The maximum for values of more than [`LARGE`] bytes, whose validation is slow.
const FEW_CHANGES: usize = 8;
const LARGE: usize = 64 << 10;

/// Validates a value. Where it does not fit, tries lossless conversions: `"42"` to `42`, `"true"` to `true`, a list of
/// one item to the item, a value to a list of one item, and `null` to an absent field.
///
/// # Errors
/// The first violation that no conversion resolves.
pub(super) fn fit(schema: &Schema, mut value: Json) -> Result<Json, ValidationError> {
    let Err(mut violation) = schema.check_in_place(&mut value) else { return Ok(value) };
    let most = if size(&value) > LARGE { FEW_CHANGES } else { MOST_CHANGES };
    for _ in 0..most {
        let changes = changes(&value, &violation);
        let worked = changes.into_iter().find_map(|change| {
            let mut tried = value.clone();
            change.make(&mut tried, violation.path())?;
            match schema.check_in_place(&mut tried) {
                Ok(()) => Some((tried, None)),
                Err(next) if !next.is_within(&violation) => Some((tried, Some(next))),
                Err(_) => None,
            }
        });
        match worked {
            Some((value, None)) => return Ok(value),
            Some((tried, Some(next))) => (value, violation) = (tried, next),
            None => break,
        }
    }
    Err(violation.into())
}

/// A conversion at the place of a violation.
enum Coercion {
    Set(Json),
    Remove,
}

fn changes(root: &Json, violation: &Violation) -> Vec<Coercion> {
    let Some(value) = violation.path().iter().try_fold(root, |value, step| match step {
        PathStep::Field(name) => value.get(name),
        PathStep::Item(index) => value.get(index),
    }) else {
        return Vec::new();
    };
    let asks = |kind: &str| violation.expects(kind);
    let mut changes = Vec::new();
    match value {
        Json::String(text) => {
            let text = text.trim();
            let read = serde_json::from_str::<Json>(text).ok();
            let said = match text.to_lowercase().as_str() {
                "true" if asks("boolean") => Some(true.into()),
                "false" if asks("boolean") => Some(false.into()),
                "null" | "none" if asks("null") => Some(Json::Null),
                _ => read.filter(|read| match read {
                    Json::Number(number) => asks("number") || asks("integer") && !number.is_f64(),
                    Json::Array(_) => asks("array"),
                    Json::Object(_) => asks("object"),
                    _ => false,
                }),
            };
            changes.extend(said.map(Coercion::Set));
        }
        Json::Number(_) | Json::Bool(_) if asks("string") => {
            changes.push(Coercion::Set(value.to_string().into()));
        }
        Json::Null => changes.push(Coercion::Remove),
        Json::Array(items) if items.len() == 1 && !asks("array") => {
            changes.push(Coercion::Set(items[0].clone()));
        }
        _ => {}
    }
    if asks("array") && !value.is_array() && !value.is_null() {
        changes.push(Coercion::Set(Json::Array(vec![value.clone()])));
    }
    changes
}

impl Coercion {
    /// Applies the conversion; `None` if that is impossible.
    fn make(self, root: &mut Json, path: &[PathStep]) -> Option<()> {
        let inner = |value, step: &PathStep| match step {
            PathStep::Field(name) => Json::get_mut(value, name),
            PathStep::Item(index) => Json::get_mut(value, index),
        };
        match self {
            Self::Set(value) => *path.iter().try_fold(root, inner)? = value,
            Self::Remove => {
                let (PathStep::Field(name), around) = path.split_last()? else { return None };
                around.iter().try_fold(root, inner)?.as_object_mut()?.shift_remove(name)?;
            }
        }
        Some(())
    }
}
