//! Reduces a JSON Schema to the keywords that an API accepts.
//!
//! The answer is validated against the complete schema later, so a constraint that an API does not know may be left
//! out. But if the result would describe other values, it is not sent as a strict schema.

use std::collections::HashMap;

use llmspell_core::chat::ChatRequest;
use serde_json::{Map, Value as Json};

use crate::provider::StructuredOutput;

/// The name of the schema, for APIs that require one.
pub(super) const NAME: &str = "answer";

/// The subset of JSON Schema that an API accepts.
struct Dialect {
    words: &'static [&'static str],
    /// Whether every object must forbid additional fields.
    closed: bool,
    /// Whether every field must be required.
    complete: bool,
}

const STRICT: Dialect = Dialect {
    words: &["$ref", "const", "description", "enum", "required", "title", "type"],
    closed: true,
    complete: true,
};

const ANTHROPIC: Dialect = Dialect { complete: false, ..STRICT };

const GEMINI: Dialect = Dialect {
    words: &[
        "$ref",
        "description",
        "enum",
        "maxItems",
        "maximum",
        "minItems",
        "minimum",
        "required",
        "title",
        "type",
    ],
    closed: false,
    complete: false,
};

const OLLAMA: Dialect = Dialect {
    words: &[
        "$ref",
        "const",
        "description",
        "enum",
        "maxItems",
        "maxLength",
        "maximum",
        "minItems",
        "minLength",
        "minimum",
        "required",
        "title",
        "type",
    ],
    closed: false,
    complete: false,
};

/// Checks for OpenAI's APIs, which only accept schemas of objects.
pub(super) fn takes_objects(request: &ChatRequest) -> StructuredOutput {
    let is_object = request.output.as_ref().is_some_and(|output| output.schema["type"] == "object");
    if is_object { StructuredOutput::IfKnown } else { StructuredOutput::InWords }
}

/// Returns the schema for OpenAI, and whether it conforms to the rules of strict mode.
pub(super) fn openai(schema: &Json) -> (Json, bool) {
    match STRICT.write(schema) {
        Some(strict) => (strict, true),
        None => (schema.clone(), false),
    }
}

/// Returns the schema for Anthropic; `None` if it cannot be expressed or is recursive.
pub(super) fn anthropic(schema: &Json) -> Option<Json> {
    let written = ANTHROPIC.write(schema)?;
    // The schema itself is the first one to be followed.
    let mut references = References { root: schema, followed: HashMap::from([("#", true)]) };
    (!references.lead_back(schema)).then_some(written)
}

/// Returns the schema for Gemini.
pub(super) fn gemini(schema: &Json) -> Json {
    GEMINI.write(schema).unwrap_or_default()
}

/// Returns the schema for Ollama.
pub(super) fn ollama(schema: &Json) -> Json {
    OLLAMA.write(schema).unwrap_or_default()
}

impl Dialect {
    /// Returns the schema in this dialect; `None` if that would describe other values.
    fn write(&self, schema: &Json) -> Option<Json> {
        let Some(fields) = schema.as_object() else {
            // `true` accepts any value. `false` accepts none, so no answer could fit it.
            return (!self.closed && *schema == Json::Bool(true)).then(|| Json::Object(Map::new()));
        };
        if self.closed && fields.is_empty() {
            return None;
        }
        let mut written = Map::new();
        for (word, value) in fields {
            let (word, value) = match (word.as_str(), value) {
                ("properties" | "$defs" | "definitions", Json::Object(named)) => {
                    let named = named.iter().map(|(name, schema)| Some((name.clone(), self.write(schema)?)));
                    (word.as_str(), Json::Object(named.collect::<Option<_>>()?))
                }
                ("anyOf" | "oneOf", Json::Array(list)) => ("anyOf", self.write_all(list)?),
                ("prefixItems", Json::Array(list)) if !self.closed => ("prefixItems", self.write_all(list)?),
                ("items", items) if !items.is_array() => ("items", self.write(items)?),
                ("additionalProperties", Json::Bool(false)) => continue,
                ("additionalProperties" | "patternProperties" | "allOf", _) if self.closed => return None,
                ("additionalProperties", others @ Json::Object(_)) => (word.as_str(), self.write(others)?),
                ("const", value) if !self.words.contains(&"const") => {
                    ("enum", Json::Array(vec![value.clone()]))
                }
                (word, value) if self.words.contains(&word) => (word, value.clone()),
                _ => continue,
            };
            written.insert(word.to_owned(), value);
        }
        let forbids_others = fields.get("additionalProperties") == Some(&Json::Bool(false));
        if fields.contains_key("properties") || fields.get("type").is_some_and(|kind| *kind == "object") {
            let properties = fields.get("properties").and_then(Json::as_object);
            let is_open = properties.is_none_or(Map::is_empty) && !forbids_others;
            let required = fields.get("required").and_then(Json::as_array).map_or(0, Vec::len);
            let is_complete = properties.map_or(0, Map::len) == required;
            if self.closed && (is_open || self.complete && !is_complete) {
                return None;
            }
            if self.closed || forbids_others {
                written.insert("additionalProperties".to_owned(), false.into());
            }
        }
        Some(Json::Object(written))
    }

    fn write_all(&self, list: &[Json]) -> Option<Json> {
        list.iter().map(|schema| self.write(schema)).collect::<Option<Vec<_>>>().map(Json::Array)
    }
}

/// Finds recursive references.
struct References<'a> {
    root: &'a Json,
    /// The references that have been followed, and whether each is still being followed.
    followed: HashMap<&'a str, bool>,
}

impl<'a> References<'a> {
    fn lead_back(&mut self, json: &'a Json) -> bool {
        match json {
            Json::Array(items) => items.iter().any(|item| self.lead_back(item)),
            Json::Object(fields) => {
                fields.iter().any(|(word, value)| match (word.as_str(), value.as_str()) {
                    // Definitions are visited where they are used.
                    ("$defs" | "definitions", _) => false,
                    ("$ref", Some(reference)) => self.leads_back(reference),
                    _ => self.lead_back(value),
                })
            }
            _ => false,
        }
    }

    fn leads_back(&mut self, reference: &'a str) -> bool {
        if let Some(is_under_way) = self.followed.get(reference) {
            return *is_under_way;
        }
        self.followed.insert(reference, true);
        let meant = reference.strip_prefix('#').and_then(|pointer| self.root.pointer(pointer));
        let leads_back = meant.is_none_or(|meant| self.lead_back(meant));
        self.followed.insert(reference, false);
        leads_back
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_api_is_sent_what_it_takes() {
        let schema = json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": "object",
            "properties": {
                "name": {"type": "string", "minLength": 1, "pattern": "^[A-Z]"},
                "kind": {"const": "person"},
                "tags": {"type": "array", "items": {"$ref": "#/$defs/tag"}, "maxItems": 3},
                "age": {"oneOf": [{"type": "integer", "minimum": 0}, {"type": "null"}]},
            },
            "required": ["name", "kind", "tags", "age"],
            "$defs": {"tag": {"enum": ["a", "b"], "description": "A tag."}},
        });
        let strict = json!({
            "type": "object",
            "properties": {
                "name": {"type": "string"},
                "kind": {"const": "person"},
                "tags": {"type": "array", "items": {"$ref": "#/$defs/tag"}},
                "age": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
            },
            "required": ["name", "kind", "tags", "age"],
            "$defs": {"tag": {"enum": ["a", "b"], "description": "A tag."}},
            "additionalProperties": false,
        });
        assert_eq!(openai(&schema), (strict.clone(), true));
        assert_eq!(anthropic(&schema), Some(strict.clone()));
        let mut gemini_takes = strict;
        gemini_takes.as_object_mut().unwrap().remove("additionalProperties");
        gemini_takes["properties"]["kind"] = json!({"enum": ["person"]});
        gemini_takes["properties"]["tags"]["maxItems"] = 3.into();
        gemini_takes["properties"]["age"]["anyOf"][0]["minimum"] = 0.into();
        assert_eq!(gemini(&schema), gemini_takes);
    }

    #[test]
    fn a_schema_that_would_say_something_else_is_not_held_to() {
        let optional = json!({"type": "object", "properties": {"a": {"type": "string"}}});
        assert_eq!(openai(&optional), (optional.clone(), false));
        assert!(anthropic(&optional).is_some());
        let tree = json!({"type": "object", "properties": {"next": {"$ref": "#"}}, "required": ["next"]});
        assert_eq!(anthropic(&tree), None);
        let tree = json!({
            "$ref": "#/$defs/node",
            "$defs": {"node": {"type": "object", "properties": {"next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]}}}},
        });
        assert_eq!(anthropic(&tree), None);
        for open in [
            json!({"type": "object"}),
            json!({"type": "object", "properties": {"a": {}}, "required": ["a"]}),
            json!({"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": true}),
            json!({"type": "object", "additionalProperties": {"type": "integer"}}),
            json!({"type": "object", "properties": {"a": {"allOf": [{"type": "string"}]}}, "required": ["a"]}),
        ] {
            assert_eq!(openai(&open), (open.clone(), false), "{open}");
            assert_eq!(anthropic(&open), None, "{open}");
        }
        // Constraints that the dialect lacks are left out and validated later.
        assert_eq!(
            ollama(&json!({"type": "string", "pattern": "a", "format": "date"})),
            json!({"type": "string"})
        );
    }
}
