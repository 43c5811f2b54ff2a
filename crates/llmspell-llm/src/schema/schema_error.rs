//! Errors of schemas themselves, as opposed to those of the values that do not fit them.

use llmspell_core::Error;

use super::validation_error::ValidationError;

/// Why a schema is rejected.
#[derive(Debug)]
pub(super) enum SchemaError {
    /// A keyword has an invalid value.
    Invalid(ValidationError),
    /// A reference leads to another document.
    Remote(ValidationError),
    /// It costs too much, or never ends.
    Unbounded(String),
}

impl From<SchemaError> for Error {
    fn from(error: SchemaError) -> Self {
        Self::argument(match error {
            SchemaError::Invalid(error) => format!("the schema: {error}"),
            SchemaError::Remote(error) => format!("the schema at {error}"),
            SchemaError::Unbounded(message) => format!("the schema: {message}"),
        })
    }
}

pub(super) type CompileResult<T> = std::result::Result<T, SchemaError>;
