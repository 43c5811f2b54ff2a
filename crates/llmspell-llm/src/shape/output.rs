//! What the APIs take of a JSON Schema. The answer is checked against all of it later, so what an API does not take is
//! left out, and a schema that would then say something else is not sent at all.

use std::collections::HashMap;

use llmspell_core::chat::ChatRequest;
use serde_json::{Map, Value as Json};

use crate::provider::TakesOutput;

/// What a schema is called where it needs a name.
pub(super) const NAME: &str = "answer";

/// The words that an API takes.
struct Dialect {
    words: &'static [&'static str],
    /// Whether every object must say that it has no other fields.
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

/// OpenAI's APIs take objects only.
pub(super) fn takes_objects(request: &ChatRequest) -> TakesOutput {
    let is_object = request.output.as_ref().is_some_and(|output| output.schema["type"] == "object");
    if is_object { TakesOutput::IfKnown } else { TakesOutput::InWords }
}

/// As OpenAI takes it, and whether it keeps to the rules under which the model is held to it.
pub(super) fn openai(schema: &Json) -> (Json, bool) {
    match STRICT.write(schema) {
        Some(strict) => (strict, true),
        None => (schema.clone(), false),
    }
}

/// As Anthropic takes it, which takes none that leads back to itself.
pub(super) fn anthropic(schema: &Json) -> Option<Json> {
    let written = ANTHROPIC.write(schema)?;
    // What is under way at the start is the schema itself.
    let mut references = References { root: schema, followed: HashMap::from([("#", true)]) };
    (!references.lead_back(schema)).then_some(written)
}

/// As Gemini takes it.
pub(super) fn gemini(schema: &Json) -> Json {
    GEMINI.write(schema).unwrap_or_default()
}

/// As Ollama takes it.
pub(super) fn ollama(schema: &Json) -> Json {
    OLLAMA.write(schema).unwrap_or_default()
}

impl Dialect {
    /// The schema in these words; `None` where it would say something else.
    fn write(&self, schema: &Json) -> Option<Json> {
        let Some(fields) = schema.as_object() else {
            // `true` is anything, and `false` nothing that an answer could be.
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

/// Finds references that lead back to where they stand.
struct References<'a> {
    root: &'a Json,
    /// Those that are being followed, and those that were.
    followed: HashMap<&'a str, bool>,
}

impl<'a> References<'a> {
    fn lead_back(&mut self, json: &'a Json) -> bool {
        match json {
            Json::Array(items) => items.iter().any(|item| self.lead_back(item)),
            Json::Object(fields) => {
                fields.iter().any(|(word, value)| match (word.as_str(), value.as_str()) {
                    // The definitions are gone into from where they are used.
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
        // `oneOf` and all that cannot be said is checked later.
        assert_eq!(
            ollama(&json!({"type": "string", "pattern": "a", "format": "date"})),
            json!({"type": "string"})
        );
    }
}
