//! Which keywords of JSON Schema hold schemas, and of what.

use std::borrow::Cow;

use serde_json::Value as Json;

/// What the schemas beneath a keyword are about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum About {
    /// The same value.
    Same,
    /// A value in it.
    Inner,
    /// Nothing until they are referred to.
    Nothing,
}

/// How a keyword holds schemas. Where it holds something else, as `items` may hold one or many, what is none is skipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Holds {
    One,
    Many,
    Named,
}

const APPLICATORS: [(&str, Holds, About); 23] = [
    ("$defs", Holds::Named, About::Nothing),
    ("additionalItems", Holds::One, About::Inner),
    ("additionalProperties", Holds::One, About::Inner),
    ("allOf", Holds::Many, About::Same),
    ("anyOf", Holds::Many, About::Same),
    ("contains", Holds::One, About::Inner),
    ("contentSchema", Holds::One, About::Inner),
    ("definitions", Holds::Named, About::Nothing),
    ("dependencies", Holds::Named, About::Same),
    ("dependentSchemas", Holds::Named, About::Same),
    ("else", Holds::One, About::Same),
    ("if", Holds::One, About::Same),
    ("items", Holds::One, About::Inner),
    ("items", Holds::Many, About::Inner),
    ("not", Holds::One, About::Same),
    ("oneOf", Holds::Many, About::Same),
    ("patternProperties", Holds::Named, About::Inner),
    ("prefixItems", Holds::Many, About::Inner),
    ("properties", Holds::Named, About::Inner),
    ("propertyNames", Holds::One, About::Inner),
    ("then", Holds::One, About::Same),
    ("unevaluatedItems", Holds::One, About::Inner),
    ("unevaluatedProperties", Holds::One, About::Inner),
];

/// The keywords that refer to another schema.
pub(super) const REFERENCES: [&str; 3] = ["$ref", "$dynamicRef", "$recursiveRef"];

/// All other keywords that a table of JSON Schema may have.
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

/// Whether JSON Schema knows the word; what begins with `x-` is for whoever reads it.
pub(super) fn is_keyword(word: &str) -> bool {
    OTHERS.contains(&word) || word.starts_with("x-") || APPLICATORS.iter().any(|(name, ..)| *name == word)
}

/// A schema within a schema.
pub(super) struct Part<'a> {
    pub(super) keyword: &'static str,
    /// Its name or number beneath the keyword.
    pub(super) key: Option<Cow<'a, str>>,
    pub(super) about: About,
    pub(super) schema: &'a Json,
}

/// The schemas that a schema holds.
pub(super) fn parts(schema: &Json) -> impl Iterator<Item = Part<'_>> {
    let applied = APPLICATORS.iter().filter_map(|row| schema.as_object()?.get(row.0).map(|held| (row, held)));
    applied.flat_map(|(&(keyword, holds, about), held)| {
        let one = (holds == Holds::One && !held.is_array()).then_some((None, held));
        let many = held.as_array().filter(|_| holds == Holds::Many).into_iter().flatten().enumerate();
        let named = held.as_object().filter(|_| holds == Holds::Named).into_iter().flatten();
        let all = one.into_iter();
        let all = all.chain(many.map(|(index, schema)| (Some(Cow::Owned(index.to_string())), schema)));
        let all = all.chain(named.map(|(name, schema)| (Some(Cow::Borrowed(name.as_str())), schema)));
        let all = all.filter(|(_, schema)| schema.is_object() || schema.is_boolean());
        all.map(move |(key, schema)| Part { keyword, key, about, schema })
    })
}

/// The schema that a reference such as `#/$defs/node` means, where a pointer says it.
pub(super) fn resolve<'a>(root: &'a Json, reference: &str) -> Option<&'a Json> {
    let pointer = percent_encoding::percent_decode_str(reference.strip_prefix('#')?).decode_utf8().ok()?;
    root.pointer(&pointer)
}
