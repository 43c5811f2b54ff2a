//! The shorthand for schemas: `{name = "string", age = "integer?", tags = {"string"}}`.

use llmspell_core::{Error, Result, did_you_mean};
use serde_json::{Map, Value as Json, json};

use super::compile::compile;
use super::keywords::{REFERENCES, TYPES, is_keyword};
use super::schema_error::SchemaError;
use super::validation_error::{ValuePath, shown};

/// Expands the shorthand to JSON Schema; `None` if it is JSON Schema already.
pub(super) fn expand(written: &Json) -> Result<Option<Json>> {
    if written.is_boolean() || is_json_schema(written) {
        return Ok(None);
    }
    let mut path = ValuePath::root();
    let Form { schema, optional } = form(written, &mut path)?;
    Ok(Some(if optional { or_null(schema) } else { schema }))
}

struct Form {
    schema: Json,
    /// Whether it ends with `?`.
    optional: bool,
}

fn form(written: &Json, path: &mut ValuePath) -> Result<Form> {
    let needed = |schema| Ok(Form { schema, optional: false });
    match written {
        Json::String(words) => word(words, path),
        // Some script languages do not distinguish an empty list from an empty table.
        Json::Array(items) if items.is_empty() => needed(json!({})),
        Json::Object(fields) if fields.is_empty() => needed(json!({})),
        Json::Array(items) if items.len() == 1 => {
            let item = path.within(0, |path| form(&items[0], path))?;
            let item = if item.optional { or_null(item.schema) } else { item.schema };
            needed(json!({"type": "array", "items": item}))
        }
        Json::Object(_) if is_json_schema(written) => {
            compile(written).map_err(|error| match error {
                SchemaError::Invalid(error) => Error::argument(format!("the schema at {path}: {error}")),
                error => error.into(),
            })?;
            needed(written.clone())
        }
        Json::Object(fields) => object(fields, path).and_then(needed),
        Json::Array(_) => Err(wrong(path, "a list of one, for an array of it", written)),
        other => Err(wrong(path, "a type, a list of one or a table", other)),
    }
}

fn object(fields: &Map<String, Json>, path: &mut ValuePath) -> Result<Json> {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for (name, written) in fields {
        let Form { schema, optional } =
            path.within(name.as_str(), |path| form(written, path)).map_err(|error| {
                let unknown = fields.keys().find(|key| !is_keyword(key));
                match unknown {
                    Some(key)
                        if fields.len() > 1 && fields.keys().any(|key| is_structural(key, &fields[key])) =>
                    {
                        error.hint(format!("if this is meant as JSON Schema: it has no keyword `{key}`"))
                    }
                    _ => error,
                }
            })?;
        let (name, optional) = match name.strip_suffix('?') {
            Some(name) => (name, true),
            None => (name.as_str(), optional),
        };
        if !optional {
            required.push(Json::from(name));
        }
        if properties.insert(name.to_owned(), schema).is_some() {
            return Err(Error::argument(format!("the schema at {path}: the field `{name}` is there twice")));
        }
    }
    let mut schema = json!({"type": "object", "properties": properties});
    if !required.is_empty() {
        schema["required"] = required.into();
    }
    schema["additionalProperties"] = false.into();
    Ok(schema)
}

/// Reads a type, alternatives of types, or the allowed values of a string.
fn word(written: &str, path: &ValuePath) -> Result<Form> {
    let (words, optional) = match written.trim().strip_suffix('?') {
        Some(words) => (words, true),
        None => (written.trim(), false),
    };
    let words: Vec<&str> = words.split('|').map(str::trim).collect();
    let types = words.iter().filter(|word| TYPES.contains(word)).count();
    let schema = match words.as_slice() {
        ["any"] => json!({}),
        [one] if types == 1 => json!({"type": one}),
        [_] => return Err(unknown(path, written)),
        _ if words.contains(&"") => return Err(wrong(path, "a word on each side of `|`", &written.into())),
        several if types == several.len() => json!({"type": several}),
        several if types == 0 && !several.contains(&"any") => json!({"type": "string", "enum": several}),
        _ => return Err(wrong(path, "either types or words between `|`", &written.into())),
    };
    Ok(Form { schema, optional })
}

fn unknown(path: &ValuePath, written: &str) -> Error {
    let error = wrong(path, "a type (string, integer, number, boolean, object, array, any)", &written.into());
    match did_you_mean(written, TYPES.iter().chain(&["any"]).map(|name| (name, name))) {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

fn wrong(path: &ValuePath, expected: &str, written: &Json) -> Error {
    Error::argument(format!("the schema at {path}: expected {expected}, got {}", shown(written)))
}

fn or_null(schema: Json) -> Json {
    match schema {
        Json::Object(fields) if fields.is_empty() => Json::Object(fields),
        schema => json!({"anyOf": [schema, {"type": "null"}]}),
    }
}

/// Whether a table is JSON Schema: all its keys are keywords, and one of them constrains a value.
fn is_json_schema(written: &Json) -> bool {
    let Some(fields) = written.as_object() else { return false };
    fields.keys().all(|key| is_keyword(key)) && fields.iter().any(|(key, value)| is_structural(key, value))
}

/// Whether a keyword constrains a value in a form that is not a field of the shorthand.
fn is_structural(key: &str, value: &Json) -> bool {
    let is_schema = |value: &Json| value.is_boolean() || is_json_schema(value) || is_empty(value);
    // An alternative may consist of `required` alone.
    let only_keywords =
        |value: &Json| value.as_object().is_some_and(|fields| fields.keys().all(|key| is_keyword(key)));
    let has_schemas = |list: &[Json]| match list {
        [one] => is_schema(one),
        list => !list.is_empty() && list.iter().all(|value| value.is_boolean() || only_keywords(value)),
    };
    match (key, value) {
        ("type", Json::String(word)) => TYPES.contains(&word.as_str()),
        ("type", Json::Array(words)) => {
            words.len() > 1
                && words.iter().all(|word| word.as_str().is_some_and(|word| TYPES.contains(&word)))
        }
        ("properties" | "patternProperties", Json::Object(fields)) => fields.values().all(is_schema),
        ("items" | "additionalProperties" | "contains" | "not" | "if", value) => is_schema(value),
        ("anyOf" | "oneOf" | "allOf" | "prefixItems", Json::Array(list)) => has_schemas(list),
        ("enum", Json::Array(_)) | ("const", _) => true,
        (key, Json::String(_)) => REFERENCES.contains(&key) || key == "$schema",
        _ => false,
    }
}

fn is_empty(value: &Json) -> bool {
    value.as_object().is_some_and(Map::is_empty)
}
