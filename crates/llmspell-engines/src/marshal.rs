//! The parts of marshalling that all engines share: limits, errors with the path into a value, and size estimates.

use std::fmt;

use llmspell_core::{Error, MAX_DEPTH, Value};

/// 2^53: a double holds this integer and all smaller ones exactly.
pub(crate) const MAX_INTEGER: i64 = 1 << 53;
/// How many bytes are copied between two checks of the limits.
pub(crate) const CHARGE: usize = 64 * 1024;

/// One step into a value, for the path in errors.
pub(crate) enum ValueStep {
    Index(usize),
    Name(String),
}

pub(crate) type ConversionResult<T> = std::result::Result<T, ConversionError>;

/// The reason why a value could not be marshalled.
pub(crate) enum ConversionError {
    /// The value holds something that cannot be marshalled. `path` leads to it, innermost step first.
    Misfit { path: Vec<ValueStep>, message: String },
    /// The run has ended, or the VM failed.
    Failed(Error),
}

impl ConversionError {
    pub(crate) fn misfit(message: impl Into<String>) -> Self {
        Self::Misfit { path: Vec::new(), message: message.into() }
    }

    pub(crate) fn too_deep(things: &str) -> Self {
        Self::misfit(format!("{things} are nested more than {MAX_DEPTH} deep"))
    }

    /// Adds the step that leads to the failed part.
    pub(crate) fn within(mut self, step: impl FnOnce() -> ValueStep) -> Self {
        if let Self::Misfit { path, .. } = &mut self {
            path.push(step());
        }
        self
    }

    /// Converts to an error. `what` names the whole value, and the path follows it: "argument 1 (`request`).headers".
    pub(crate) fn into_error(self, what: &str) -> Error {
        match self {
            Self::Failed(error) => error,
            Self::Misfit { path, message } => {
                Error::argument(format!("{what}{}: {message}", StepPath(&path)))
            }
        }
    }
}

/// Displays a path, outermost step first.
struct StepPath<'a>(&'a [ValueStep]);

impl fmt::Display for StepPath<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().rev().try_for_each(|step| match step {
            ValueStep::Index(index) => write!(f, "[{index}]"),
            ValueStep::Name(name) => write!(f, ".{name}"),
        })
    }
}

/// Estimates how many bytes a value will take in the VM. Stops at [`MAX_DEPTH`], since deeper values are rejected.
pub(crate) fn weight(value: &Value, depth: usize) -> usize {
    const STRING: usize = 32;
    const TABLE: usize = 64;
    const SLOT: usize = 16;
    const NODE: usize = 64;
    match value {
        Value::Str(text) => STRING + text.len(),
        Value::Bytes(bytes) => STRING + bytes.len(),
        Value::List(_) | Value::Map(_) if depth == MAX_DEPTH => 0,
        Value::List(items) => TABLE + items.iter().map(|item| SLOT + weight(item, depth + 1)).sum::<usize>(),
        Value::Map(fields) => {
            let field =
                |(name, value): (&String, &Value)| NODE + STRING + name.len() + weight(value, depth + 1);
            TABLE + fields.iter().map(field).sum::<usize>()
        }
        _ => 0,
    }
}
