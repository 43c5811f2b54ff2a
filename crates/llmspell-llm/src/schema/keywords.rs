//! The keywords of JSON Schema, and which of them contain schemas.

use std::borrow::Cow;

use serde_json::Value as Json;

/// How a keyword contains schemas. `items` has a row for each way; a value of another form is skipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Holds {
    One,
    Many,
    Named,
}

const APPLICATORS: [(&str, Holds); 23] = [
    ("$defs", Holds::Named),
    ("additionalItems", Holds::One),
    ("additionalProperties", Holds::One),
    ("allOf", Holds::Many),
    ("anyOf", Holds::Many),
    ("contains", Holds::One),
    ("contentSchema", Holds::One),
    ("definitions", Holds::Named),
    ("dependencies", Holds::Named),
    ("dependentSchemas", Holds::Named),
    ("else", Holds::One),
    ("if", Holds::One),
    ("items", Holds::One),
    ("items", Holds::Many),
    ("not", Holds::One),
    ("oneOf", Holds::Many),
    ("patternProperties", Holds::Named),
    ("prefixItems", Holds::Many),
    ("properties", Holds::Named),
    ("propertyNames", Holds::One),
    ("then", Holds::One),
    ("unevaluatedItems", Holds::One),
    ("unevaluatedProperties", Holds::One),
];

/// The keywords that refer to another schema.
pub(super) const REFERENCES: [&str; 3] = ["$ref", "$dynamicRef", "$recursiveRef"];

/// The keywords that contain no schemas, including common extensions.
const OTHERS: [&str; 43] = [
    "$anchor",
    "$comment",
    "$dynamicAnchor",
    "$dynamicRef",
    "$id",
    "$recursiveAnchor",
    "$recursiveRef",
    "$ref",
    "$schema",
    "$vocabulary",
    "const",
    "contentEncoding",
    "contentMediaType",
    "default",
    "dependentRequired",
    "deprecated",
    "description",
    "enum",
    "example",
    "examples",
    "exclusiveMaximum",
    "exclusiveMinimum",
    "format",
    "id",
    "maxContains",
    "maxItems",
    "maxLength",
    "maxProperties",
    "maximum",
    "minContains",
    "minItems",
    "minLength",
    "minProperties",
    "minimum",
    "multipleOf",
    "nullable",
    "pattern",
    "readOnly",
    "required",
    "title",
    "type",
    "uniqueItems",
    "writeOnly",
];

/// The types of JSON Schema.
pub(super) const TYPES: [&str; 7] = ["string", "integer", "number", "boolean", "object", "array", "null"];

/// Whether a word is a keyword of JSON Schema, or an extension (`x-…`), which is ignored.
pub(super) fn is_keyword(word: &str) -> bool {
    OTHERS.contains(&word) || word.starts_with("x-") || APPLICATORS.iter().any(|(name, ..)| *name == word)
}

/// A direct subschema.
pub(super) struct Subschema<'a> {
    pub(super) keyword: &'static str,
    /// Its name or index within the keyword.
    pub(super) key: Option<Cow<'a, str>>,
    pub(super) schema: &'a Json,
}

/// Returns the direct subschemas of a schema.
pub(super) fn parts(schema: &Json) -> impl Iterator<Item = Subschema<'_>> {
    let applied = APPLICATORS.iter().filter_map(|row| schema.as_object()?.get(row.0).map(|held| (row, held)));
    applied.flat_map(|(&(keyword, holds), held)| {
        let one = (holds == Holds::One && !held.is_array()).then_some((None, held));
        let many = held.as_array().filter(|_| holds == Holds::Many).into_iter().flatten().enumerate();
        let named = held.as_object().filter(|_| holds == Holds::Named).into_iter().flatten();
        let all = one.into_iter();
        let all = all.chain(many.map(|(index, schema)| (Some(Cow::Owned(index.to_string())), schema)));
        let all = all.chain(named.map(|(name, schema)| (Some(Cow::Borrowed(name.as_str())), schema)));
        let all = all.filter(|(_, schema)| schema.is_object() || schema.is_boolean());
        all.map(move |(key, schema)| Subschema { keyword, key, schema })
    })
}

/// Resolves a reference with a JSON pointer, such as `#/$defs/node`.
pub(super) fn resolve<'a>(root: &'a Json, reference: &str) -> Option<&'a Json> {
    let pointer = percent_encoding::percent_decode_str(reference.strip_prefix('#')?).decode_utf8().ok()?;
    root.pointer(&pointer)
}
