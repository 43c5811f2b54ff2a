//! Schemas for tool arguments and model answers, written as JSON Schema or in a shorthand.
//!
//! We have our own validator because schemas and values come from scripts and models. Size, depth, steps and patterns
//! are bounded, nothing is fetched, and an error names exactly one place. It supports the drafts 2020-12 (the default),
//! 2019-09, 7, 6 and 4, and is tested with the official test suite (`tests/schema_suite.rs`). `format`, `content…` and
//! unknown keywords are annotations: they are accepted and not checked.
//!
//! A schema is prepared in three steps. `shorthand` expands the shorthand to JSON Schema, `resolve` finds the targets
//! of references, and `compile` turns all subschemas into the nodes of a `program`. `validate` applies these nodes to a
//! value.

mod bounds;
mod chains;
mod compile;
mod cost;
mod defaults;
mod describe;
mod draft;
mod equality;
mod keywords;
mod number;
mod pattern;
mod program;
mod resolve;
mod schema_error;
mod shorthand;
mod validate;
mod validation_error;

use std::fmt;
use std::sync::{Arc, OnceLock};

use llmspell_core::Result;
use serde_json::Value as Json;

pub(crate) use self::bounds::size;
use self::compile::compile;
use self::program::{Program, ROOT};
use self::schema_error::SchemaError;
pub use self::validation_error::ValidationError;
pub(crate) use self::validation_error::{PathStep, Violation, shown};

/// A JSON Schema that can validate values. Cheap to clone.
///
/// Scripts write it as JSON Schema or in a shorthand, in which `?` marks optional fields:
///
/// ```
/// use llmspell_llm::Schema;
/// use serde_json::json;
///
/// let person = Schema::read(&json!({"name": "string", "age": "integer?", "tags": ["string"]}))?;
/// let ada = json!({"name": "Ada", "tags": []});
/// assert_eq!(person.check(ada.clone()).unwrap(), ada);
///
/// let error = person.check(json!({"name": "Ada", "age": "old", "tags": []})).unwrap_err();
/// assert_eq!(error.to_string(), r#"$.age: expected integer, got string "old""#);
/// # Ok::<(), llmspell_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Schema(Arc<SchemaInner>);

struct SchemaInner {
    json: Json,
    /// Compiled at first use.
    program: OnceLock<Program>,
    /// Whether any subschema has a `default`.
    has_defaults: bool,
}

impl Schema {
    /// Reads a schema as scripts write it: JSON Schema, or the shorthand.
    ///
    /// A table is JSON Schema if all its keys are JSON Schema keywords and at least one of them, such as `type` or
    /// `properties`, constrains a value. Otherwise it is the shorthand.
    ///
    /// # Errors
    /// When it is neither, refers to another document, has an unsupported pattern, or is too large or too deep.
    pub fn read(written: &Json) -> Result<Self> {
        bounds::check_size(written)?;
        if let Some(json) = shorthand::expand(written)? {
            return Ok(Self::known(json));
        }
        let program = compile(written)?;
        let schema = Self::known(written.clone());
        let _ = schema.0.program.set(program);
        Ok(schema)
    }

    /// Wraps a JSON Schema that this program generated. It must be valid; it is compiled when a value is first checked.
    #[must_use]
    pub fn known(json: Json) -> Self {
        let has_defaults = defaults::has_any(&json);
        Self(Arc::new(SchemaInner { json, program: OnceLock::new(), has_defaults }))
    }

    /// Returns the JSON Schema, as models receive it.
    #[must_use]
    pub fn json(&self) -> &Json {
        &self.0.json
    }

    /// Fills in the defaults and validates the value.
    ///
    /// # Errors
    /// The first place in the value that does not fit.
    pub fn check(&self, mut value: Json) -> Result<Json, ValidationError> {
        self.check_in_place(&mut value)?;
        Ok(value)
    }

    /// Fills in the defaults and validates the value in place, so that the caller keeps it if it does not fit.
    pub(crate) fn check_in_place(&self, value: &mut Json) -> Result<(), Violation> {
        bounds::check_depth(value)?;
        if self.0.has_defaults {
            defaults::fill(&self.0.json, value)?;
        }
        let program = self.program().map_err(|error| {
            let error = llmspell_core::Error::from(error).message().to_owned();
            Violation::of_root("a schema that can be used".to_owned(), error)
        })?;
        validate::validate(program, value)
    }

    /// Describes in words which values fit the schema.
    pub(crate) fn expected(&self) -> String {
        self.program().map_or_else(|_| "a value".to_owned(), |program| program.describe(ROOT))
    }

    fn program(&self) -> Result<&Program, SchemaError> {
        if let Some(program) = self.0.program.get() {
            return Ok(program);
        }
        let program = compile(&self.0.json)?;
        Ok(self.0.program.get_or_init(|| program))
    }
}

impl fmt::Debug for SchemaInner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.json.fmt(f)
    }
}

#[cfg(test)]
mod tests;
