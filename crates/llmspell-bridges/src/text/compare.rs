//! The difference and the similarity of texts and vectors.

use std::time::Duration;

use llmspell_core::bridge::FromArgument;
use llmspell_core::{Error, Result, Value, from_value};
use schemars::{JsonSchema, Schema, SchemaGenerator};

use crate::unified_diff::unified_diff;

/// An argument of `text.similarity`: a text or an embedding vector.
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

/// The time limit of the search for a minimal difference. After it, the rest is shown as changed entirely.
const TIMEOUT: Duration = Duration::from_millis(150);

/// The maximum size of both texts together, in bytes, because the comparison cannot be interrupted.
const MAX_BYTES: usize = 8 * 1024 * 1024;

/// The maximum number of lines of both texts together.
const MAX_LINES: usize = 400_000;

/// Returns the line differences in the unified format; empty if the texts are equal.
///
/// # Errors
/// Returns an error when the texts are too long.
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

/// Returns the share of character pairs that occur in both texts (Dice's coefficient), from 0 to 1.
///
/// # Errors
/// Returns an error when the texts are too long.
pub(super) fn similarity(a: &str, b: &str) -> Result<f64> {
    check(a, b)?;
    Ok(strsim::sorensen_dice(a, b))
}

/// Returns the cosine of the angle between two vectors; 0 if one of them is zero.
///
/// # Errors
/// Returns an error when the vectors have different lengths.
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
    // The vectors are scaled first, so that the squares neither overflow nor underflow.
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
