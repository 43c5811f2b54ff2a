//! How texts differ, and how much they have in common.

use std::time::Duration;

use llmspell_core::bridge::FromArgument;
use llmspell_core::{Error, Result, Value, from_value};
use schemars::{JsonSchema, Schema, SchemaGenerator};

use crate::unified_diff::unified_diff;

/// What can be compared: a text, or what one became.
#[derive(Debug, JsonSchema)]
#[serde(untagged)]
pub enum TextOrVector {
    /// A text.
    Text(String),
    /// A vector.
    Vector(Vec<f64>),
}

impl FromArgument for TextOrVector {
    fn from_argument(value: Value) -> Result<Self> {
        match value {
            Value::Str(text) => Ok(Self::Text(text)),
            list @ (Value::List(_) | Value::Map(_)) => from_value(list).map(Self::Vector),
            other => {
                let found = other.type_name();
                Err(Error::argument(format!("expected string or list of numbers, found {found}")))
            }
        }
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        generator.subschema_for::<Self>()
    }
}

/// What looking for the shortest difference may take; what is left then is shown as wholly changed.
const TIMEOUT: Duration = Duration::from_millis(150);

/// The most bytes of both texts together: their comparison cannot be interrupted.
const MAX_BYTES: usize = 8 * 1024 * 1024;

/// The most lines of both texts together.
const MAX_LINES: usize = 400_000;

/// The lines in which the texts differ, in the unified format; empty when they do not.
///
/// # Errors
/// When the texts are too long.
pub(super) fn diff(a: &str, b: &str) -> Result<String> {
    check(a, b)?;
    let lines = [a, b].iter().map(|text| text.bytes().filter(|byte| *byte == b'\n').count()).sum::<usize>();
    if lines > MAX_LINES {
        return Err(Error::argument(format!(
            "the texts are too long to compare: {lines} of {MAX_LINES} lines"
        )));
    }
    Ok(unified_diff(a, b, ["a", "b"], 3, TIMEOUT))
}

/// The share of pairs of neighbouring letters that the texts have in common (Dice's coefficient), from 0 to 1.
///
/// # Errors
/// When the texts are too long.
pub(super) fn similarity(a: &str, b: &str) -> Result<f64> {
    check(a, b)?;
    Ok(strsim::sorensen_dice(a, b))
}

/// The cosine of the angle between two vectors; 0 where one of them has no direction.
///
/// # Errors
/// When they are not of the same space.
pub(super) fn cosine(a: &[f64], b: &[f64]) -> Result<f64> {
    if a.len() != b.len() {
        let (a, b) = (a.len(), b.len());
        return Err(Error::argument(format!(
            "the vectors are not of one model: one has {a} numbers, the other {b}"
        )));
    }
    let largest = |vector: &[f64]| vector.iter().fold(0.0_f64, |most, number| most.max(number.abs()));
    let (most_a, most_b) = (largest(a), largest(b));
    if most_a == 0.0 || most_b == 0.0 {
        return Ok(0.0);
    }
    // Scaled first, so that no square is too large or too small.
    let (mut dot, mut square_a, mut square_b) = (0.0, 0.0, 0.0);
    for (a, b) in a.iter().map(|a| a / most_a).zip(b.iter().map(|b| b / most_b)) {
        dot += a * b;
        square_a += a * a;
        square_b += b * b;
    }
    Ok((dot / (f64::sqrt(square_a) * f64::sqrt(square_b))).clamp(-1.0, 1.0))
}

fn check(a: &str, b: &str) -> Result<()> {
    let bytes = a.len() + b.len();
    if bytes <= MAX_BYTES {
        return Ok(());
    }
    Err(Error::argument(format!("the texts are too long to compare: {bytes} of {MAX_BYTES} bytes")))
}
