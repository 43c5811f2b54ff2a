//! Fills in the defaults of absent fields.

use serde_json::Value as Json;

use super::bounds::size;
use super::keywords::{parts, resolve};
use super::validation_error::{Violation, shown};

/// The maximum work of filling in: the number of visited schemas plus the number of inserted bytes.
const MAX_WORK: usize = 1_000_000;

/// The maximum depth to which schemas are followed.
const MAX_DEPTH: usize = 64;

/// Returns whether a schema or one of its subschemas has a `default`.
pub(super) fn has_any(schema: &Json) -> bool {
    schema.get("default").is_some() || parts(schema).any(|part| has_any(part.schema))
}

/// Fills in the defaults of properties at any depth, where the schema of a value is certain.
///
/// It follows `$ref`, `allOf`, `items`, `prefixItems` and `additionalProperties`, but not `anyOf`, `oneOf` or `if`.
pub(super) fn fill(schema: &Json, value: &mut Json) -> Result<(), Violation> {
    let mut filling = Filling { root: schema, left: MAX_WORK };
    if filling.fill(schema, value, 0).is_some() {
        return Ok(());
    }
    Err(Violation::of_root("a value whose defaults take less work".to_owned(), shown(value)))
}

struct Filling<'a> {
    root: &'a Json,
    left: usize,
}

impl<'a> Filling<'a> {
    fn spend(&mut self, work: usize) -> Option<()> {
        self.left = self.left.checked_sub(work)?;
        Some(())
    }

    /// Returns `None` when the work exceeds its limit.
    fn fill(&mut self, schema: &'a Json, value: &mut Json, depth: usize) -> Option<()> {
        self.spend(1)?;
        let Some(schema) = schema.as_object().filter(|_| depth < MAX_DEPTH) else { return Some(()) };
        if let Some(referred) = schema.get("$ref").and_then(|at| resolve(self.root, at.as_str()?)) {
            self.fill(referred, value, depth + 1)?;
        }
        for each in schema.get("allOf").and_then(Json::as_array).into_iter().flatten() {
            self.fill(each, value, depth + 1)?;
        }
        match value {
            Json::Object(fields) => {
                let properties = schema.get("properties").and_then(Json::as_object);
                for (name, property) in properties.into_iter().flatten() {
                    self.spend(1)?;
                    if let Some(default) = self.default(property).filter(|_| !fields.contains_key(name)) {
                        self.spend(size(default))?;
                        fields.insert(name.clone(), default.clone());
                    }
                    if let Some(value) = fields.get_mut(name) {
                        self.fill(property, value, depth + 1)?;
                    }
                }
                if let Some(other) = schema.get("additionalProperties").filter(|other| other.is_object()) {
                    let is_other = |name: &String| !properties.is_some_and(|known| known.contains_key(name));
                    for (_, value) in fields.iter_mut().filter(|(name, _)| is_other(name)) {
                        self.fill(other, value, depth + 1)?;
                    }
                }
            }
            Json::Array(items) => {
                let first = schema.get("prefixItems").and_then(Json::as_array).map_or(&[][..], Vec::as_slice);
                let rest = schema.get("items").filter(|items| items.is_object());
                for (index, item) in items.iter_mut().enumerate() {
                    if let Some(schema) = first.get(index).or(rest) {
                        self.fill(schema, item, depth + 1)?;
                    }
                }
            }
            _ => {}
        }
        Some(())
    }

    /// Returns the default of a property, from its schema or from the target of its `$ref`.
    fn default(&self, schema: &'a Json) -> Option<&'a Json> {
        let mut schema = schema;
        for _ in 0..MAX_DEPTH {
            if let Some(default) = schema.get("default") {
                return Some(default);
            }
            schema = resolve(self.root, schema.get("$ref")?.as_str()?)?;
        }
        None
    }
}
