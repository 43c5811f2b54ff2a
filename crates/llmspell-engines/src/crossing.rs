//! What values have in common on their way into a VM and out of it.

use std::fmt;

use llmspell_core::{Error, MAX_DEPTH, Value};

/// The largest integer that a double holds with all below it.
pub(crate) const MAX_INTEGER: i64 = 1 << 53;
/// Bytes of the host that are counted before the memory limit is asked.
pub(crate) const CHARGE: usize = 64 * 1024;

/// One step into a value, for the path in errors.
pub(crate) enum Step {
    Index(usize),
    Name(String),
}

pub(crate) type Crossing<T> = std::result::Result<T, Trouble>;

/// Why a value could not cross.
pub(crate) enum Trouble {
    /// It does not fit; the path is collected on the way out.
    Misfit { path: Vec<Step>, message: String },
    /// The run is over, or the VM failed.
    Failed(Error),
}

impl Trouble {
    pub(crate) fn misfit(message: impl Into<String>) -> Self {
        Self::Misfit { path: Vec::new(), message: message.into() }
    }

    pub(crate) fn too_deep(things: &str) -> Self {
        Self::misfit(format!("{things} are nested more than {MAX_DEPTH} deep"))
    }

    pub(crate) fn within(mut self, step: impl FnOnce() -> Step) -> Self {
        if let Self::Misfit { path, .. } = &mut self {
            path.push(step());
        }
        self
    }

    pub(crate) fn into_error(self, what: &str) -> Error {
        match self {
            Self::Failed(error) => error,
            Self::Misfit { path, message } => Error::argument(format!("{what}{}: {message}", Path(&path))),
        }
    }
}

struct Path<'a>(&'a [Step]);

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().rev().try_for_each(|step| match step {
            Step::Index(index) => write!(f, "[{index}]"),
            Step::Name(name) => write!(f, ".{name}"),
        })
    }
}

/// About how many bytes a value will take in the VM, without what is nested too deep to enter it.
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
