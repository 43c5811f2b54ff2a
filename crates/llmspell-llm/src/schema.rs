//! Schemas: what a tool takes and what a model's answer must be, as JSON Schema or in a short form.
//!
//! The crate `jsonschema` compiles and checks. What is here is what a host needs beside it: a bound on all that a script
//! can make large, no reference that leaves the schema, defaults, and an error that names one place.

mod bounds;
mod defaults;
mod keywords;
mod mismatch;
mod short;
mod work;

use std::fmt;
use std::sync::{Arc, OnceLock};

use jsonschema::{Draft, PatternOptions, Validator};
use llmspell_core::{Error, Result};
use serde_json::Value as Json;

pub(crate) use self::bounds::size;
pub use self::mismatch::Mismatch;
pub(crate) use self::mismatch::{Misfit, Step, shown};

/// The most bytes of a compiled pattern.
const MAX_PATTERN: usize = 1 << 20;

/// A JSON Schema that is ready to check values. Cheap to clone.
///
/// Scripts write it as JSON Schema or in a short form, in which `?` marks what may be left out:
///
/// ```
/// use llmspell_llm::Schema;
/// use serde_json::json;
///
/// let person = Schema::read(&json!({"name": "string", "age": "integer?", "tags": ["string"]}))?;
/// let ada = json!({"name": "Ada", "tags": []});
/// assert_eq!(person.check(ada.clone()).unwrap(), ada);
///
/// let misfit = person.check(json!({"name": "Ada", "age": "old", "tags": []})).unwrap_err();
/// assert_eq!(misfit.to_string(), r#"$.age: expected integer, got string "old""#);
/// # Ok::<(), llmspell_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Schema(Arc<Inner>);

struct Inner {
    json: Json,
    /// Compiled when it is first needed.
    validator: OnceLock<Validator>,
    /// Whether it says of anything what it is when it is left out.
    has_defaults: bool,
    /// Whether more than one schema in it may look at the same value.
    branches: bool,
}

impl Schema {
    /// Reads a schema as scripts write it: JSON Schema, or the short form.
    ///
    /// A table is JSON Schema when all its keys are keywords of it and one of them, such as `type` or `properties`, says
    /// what a value is. Else it is the short form.
    ///
    /// # Errors
    /// When it is neither, refers to what is outside of it, or is larger or deeper than anyone would write.
    pub fn read(written: &Json) -> Result<Self> {
        bounds::check_size(written)?;
        if let Some(json) = short::expand(written)? {
            return Ok(Self::known(json));
        }
        bounds::check_structure(written)?;
        let validator = compile(written).map_err(|error| {
            Error::argument(format!("the schema: {}", mismatch::of_schema(&error, written)))
        })?;
        let schema = Self::known(written.clone());
        // Only what was compiled is known to be a schema; the work is kept.
        let _ = schema.0.validator.set(validator);
        Ok(schema)
    }

    /// A JSON Schema that this program wrote: it is known to be right, and compiled only when a value is checked.
    #[must_use]
    pub fn known(json: Json) -> Self {
        let (has_defaults, branches) = (defaults::has_any(&json), work::branches(&json));
        Self(Arc::new(Inner { json, validator: OnceLock::new(), has_defaults, branches }))
    }

    /// The JSON Schema, as models are shown it.
    #[must_use]
    pub fn json(&self) -> &Json {
        &self.0.json
    }

    /// Fills in the defaults and checks.
    ///
    /// # Errors
    /// Where the value does not fit: the first place in it.
    pub fn check(&self, mut value: Json) -> Result<Json, Mismatch> {
        self.check_in_place(&mut value)?;
        Ok(value)
    }

    /// Fills in the defaults and checks, and leaves the value where it is if it does not fit.
    pub(crate) fn check_in_place(&self, value: &mut Json) -> Result<(), Misfit> {
        bounds::check_depth(value)?;
        if self.0.has_defaults {
            defaults::fill(&self.0.json, value)?;
        }
        let work = work::of_check(&self.0.json, value, self.0.branches)?;
        let validator = self.validator()?;
        if validator.is_valid(value) {
            return Ok(());
        }
        Err(mismatch::first(validator, &self.0.json, value, work <= work::FEW))
    }

    /// What it is a schema of, in words.
    pub(crate) fn expected(&self) -> String {
        mismatch::describe(&self.0.json)
    }

    fn validator(&self) -> Result<&Validator, Misfit> {
        if let Some(validator) = self.0.validator.get() {
            return Ok(validator);
        }
        let validator = compile(&self.0.json).map_err(|error| {
            let misfit = mismatch::of_schema(&error, &self.0.json);
            Misfit::of_all("a schema that can be used".to_owned(), misfit.to_string())
        })?;
        Ok(self.0.validator.get_or_init(|| validator))
    }
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.json.fmt(f)
    }
}

/// Compiles with the engine for patterns whose time is linear, and with nothing to fetch what is referred to.
fn compile(schema: &Json) -> Result<Validator, jsonschema::ValidationError<'static>> {
    let patterns = PatternOptions::regex().size_limit(MAX_PATTERN).dfa_size_limit(MAX_PATTERN);
    let options =
        jsonschema::options().offline().with_pattern_options(patterns).should_validate_formats(false);
    let options =
        if schema.get("$schema").is_some() { options } else { options.with_draft(Draft::Draft202012) };
    options.build(schema)
}

#[cfg(test)]
mod tests;
