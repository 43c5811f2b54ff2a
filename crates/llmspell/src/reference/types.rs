//! Converts JSON Schema to types in the syntax of Luau and TypeScript.
//!
//! A schema becomes a union of types, which may include `nil` or `null`. Schemas with a name (`$ref`) are collected and
//! declared once. Arguments and results differ: a field with a default may be omitted from an argument, but is always
//! present in a result.

use std::borrow::Cow;
use std::collections::BTreeMap;

use llmspell_core::bridge::{Method, TypeOf};
use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::Value as Json;

/// The language in which types are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TypeLanguage {
    Luau,
    TypeScript,
}

/// Writes types, and collects the named types that they refer to.
pub(super) struct TypeWriter {
    language: TypeLanguage,
    /// The schemas of arguments, in which fields with a default are optional.
    taken: SchemaGenerator,
    /// The schemas of results, in which fields that are always present are required.
    given: SchemaGenerator,
}

/// A named type.
pub(super) struct NamedType {
    pub(super) name: String,
    pub(super) doc: String,
    pub(super) shape: TypeShape,
}

pub(super) enum TypeShape {
    /// A table with these fields.
    Record(Vec<TypePart>),
    /// One of these string literals.
    Words(Vec<TypePart>),
    /// Any other type, in the language's syntax.
    Other(String),
}

/// A field of a record, or one string literal of a set.
pub(super) struct TypePart {
    pub(super) name: String,
    pub(super) ty: String,
    pub(super) doc: String,
}

impl TypeWriter {
    /// Creates a writer of Luau types.
    pub(super) fn new() -> Self {
        Self::of(TypeLanguage::Luau)
    }

    /// Creates a writer of types in this language.
    pub(super) fn of(language: TypeLanguage) -> Self {
        Self {
            language,
            taken: SchemaSettings::default().into_generator(),
            given: SchemaSettings::default().for_serialize().into_generator(),
        }
    }

    /// Returns the type of an argument.
    pub(super) fn taken(&mut self, schema: TypeOf) -> String {
        Type::of(schema(&mut self.taken).as_value(), self.taken_style()).text()
    }

    /// Like [`taken`](Self::taken), but returns separately whether the argument may be omitted.
    pub(super) fn taken_part(&mut self, schema: TypeOf) -> (String, bool) {
        let mut ty = Type::of(schema(&mut self.taken).as_value(), self.taken_style());
        let optional = std::mem::take(&mut ty.optional);
        (ty.text(), optional)
    }

    /// Returns the type of a result.
    pub(super) fn given(&mut self, schema: TypeOf) -> String {
        Type::of(schema(&mut self.given).as_value(), self.given_style()).text()
    }

    /// Like [`given`](Self::given), but without `nil` or `null`.
    pub(super) fn given_part(&mut self, schema: TypeOf) -> String {
        let mut ty = Type::of(schema(&mut self.given).as_value(), self.given_style());
        ty.optional = false;
        ty.text()
    }

    fn taken_style(&self) -> Style {
        Style { language: self.language, is_taken: true }
    }

    fn given_style(&self) -> Style {
        Style { language: self.language, is_taken: false }
    }

    /// Returns the type of a call in Luau: the value and the error, one of which is nil, or the error alone.
    pub(super) fn returns(&mut self, method: &Method) -> String {
        let Some(schema) = method.returns else { return "Error?".to_owned() };
        let mut ty = Type::of(schema(&mut self.given).as_value(), self.given_style());
        ty.optional = true;
        format!("({}, Error?)", ty.text())
    }

    /// Returns the named types that were collected, sorted by name. For a type that is used both ways, fields that may
    /// be omitted from arguments are optional.
    pub(super) fn named(&self) -> Vec<NamedType> {
        let given = self.given.definitions();
        let mut schemas: BTreeMap<&String, &Json> = given.iter().collect();
        schemas.extend(self.taken.definitions());
        // A type that is also a result keeps the field names of results.
        let style =
            |name: &String| if given.contains_key(name) { self.given_style() } else { self.taken_style() };
        schemas.into_iter().map(|(name, schema)| named(name, schema, style(name))).collect()
    }
}

/// The syntax in which a type is written.
#[derive(Debug, Clone, Copy)]
struct Style {
    language: TypeLanguage,
    /// Whether it is the type of an argument, whose fields have camel-case names in JavaScript.
    is_taken: bool,
}

impl Style {
    fn is_luau(self) -> bool {
        self.language == TypeLanguage::Luau
    }
}

fn named(name: &str, schema: &Json, style: Style) -> NamedType {
    let words: Option<Vec<TypePart>> = list(schema, "oneOf")
        .map(|word| Some(TypePart { name: quoted(word.get("const")?), ty: String::new(), doc: doc(word) }))
        .collect();
    let shape = match words {
        Some(words) if !words.is_empty() => TypeShape::Words(words),
        _ if schema.get("properties").is_some() => TypeShape::Record(fields(schema, style)),
        _ => TypeShape::Other(Type::of(schema, style).text()),
    };
    NamedType { name: name.to_owned(), doc: doc(schema), shape }
}

fn fields(schema: &Json, style: Style) -> Vec<TypePart> {
    let required: Vec<&str> = list(schema, "required").filter_map(Json::as_str).collect();
    let properties = schema.get("properties").and_then(Json::as_object).into_iter().flatten();
    properties
        .map(|(name, schema)| {
            let mut ty = Type::of(schema, style);
            let left_out = !required.contains(&name.as_str());
            if style.is_luau() {
                ty.optional |= left_out;
                return TypePart { name: name.clone(), ty: ty.text(), doc: doc(schema) };
            }
            let name = if style.is_taken { super::camel_case(name) } else { name.clone() };
            let mark = if left_out { "?" } else { "" };
            TypePart { name: format!("{name}{mark}"), ty: ty.text(), doc: doc(schema) }
        })
        .collect()
}

fn doc(schema: &Json) -> String {
    let text = schema.get("description").and_then(Json::as_str).unwrap_or_default();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn list<'a>(schema: &'a Json, key: &str) -> impl Iterator<Item = &'a Json> {
    schema.get(key).and_then(Json::as_array).into_iter().flatten()
}

fn quoted(text: &Json) -> String {
    text.to_string()
}

/// A type under construction: the members of a union, and whether nil is one of them.
struct Type {
    style: Style,
    members: Vec<String>,
    optional: bool,
}

const ANY: &str = "any";

/// The types that JavaScript accepts for bytes, and the type that it receives.
const TAKEN_BYTES: [&str; 3] = ["string", "Uint8Array", "ArrayBuffer"];
const GIVEN_BYTES: &str = "Uint8Array";

impl Type {
    fn of(schema: &Json, style: Style) -> Self {
        let mut ty = Self { style, members: Vec::new(), optional: false };
        ty.read(schema);
        if ty.members.is_empty() && !ty.optional {
            ty.add(ANY);
        }
        ty
    }

    fn read(&mut self, schema: &Json) {
        let keyword = |key: &str| schema.get(key).and_then(Json::as_str);
        self.optional |= list(schema, "type").any(|word| word == "null");
        match (keyword("x-llmspell"), keyword("title"), keyword("$ref")) {
            (Some("function"), _, _) if self.style.is_luau() => return self.add("(...any) -> ...any"),
            (Some("function"), _, _) => return self.add("(...values: any[]) => any"),
            (Some("object"), Some(class), _) => return self.add(class),
            // Luau has one type for text and for bytes.
            (Some("bytes"), ..) if !self.style.is_luau() => {
                let whats: &[&str] = if self.style.is_taken { &TAKEN_BYTES } else { &[GIVEN_BYTES] };
                return whats.iter().for_each(|what| self.add(what));
            }
            (_, _, Some(path)) => {
                let name = path.rsplit('/').next().unwrap_or(path);
                let rest = record(schema, self.style);
                return self.add(&if rest == "{}" { name.to_owned() } else { format!("{name} & {rest}") });
            }
            _ => {}
        }
        if let Some(text) = schema.get("const") {
            return self.add(&quoted(text));
        }
        let mut alternatives = ["anyOf", "oneOf"].into_iter().flat_map(|key| list(schema, key)).peekable();
        if alternatives.peek().is_some() {
            return alternatives.for_each(|member| self.read(member));
        }
        if schema.get("enum").is_some() {
            return list(schema, "enum").for_each(|word| self.add(&quoted(word)));
        }
        match schema.get("type") {
            Some(Json::String(word)) => self.word(word, schema),
            Some(Json::Array(words)) => {
                words.iter().filter_map(Json::as_str).for_each(|word| self.word(word, schema));
            }
            _ => self.add(ANY),
        }
    }

    fn word(&mut self, word: &str, schema: &Json) {
        match word {
            "null" => self.optional = true,
            "integer" | "number" => self.add("number"),
            "array" => {
                let items = schema
                    .get("items")
                    .map_or_else(|| ANY.to_owned(), |items| Self::of(items, self.style).text());
                self.add(&if self.style.is_luau() {
                    format!("{{{items}}}")
                } else {
                    format!("Array<{items}>")
                });
            }
            "object" if schema.get("properties").is_some() => self.add(&record(schema, self.style)),
            "object" => {
                let values = schema.get("additionalProperties").filter(|values| values.is_object());
                let values =
                    values.map_or_else(|| ANY.to_owned(), |values| Self::of(values, self.style).text());
                let name = if self.style.is_luau() { "[string]" } else { " [name: string]" };
                let space = if self.style.is_luau() { "" } else { " " };
                self.add(&format!("{{{name}: {values}{space}}}"));
            }
            plain => self.add(plain),
        }
    }

    fn add(&mut self, member: &str) {
        if !self.members.iter().any(|known| known == member) {
            self.members.push(member.to_owned());
        }
    }

    fn text(&self) -> String {
        match (self.members.as_slice(), self.optional) {
            (members, true) if !self.style.is_luau() && members != [ANY] => {
                let members = members.iter().map(|one| enclosed(one)).chain(["null".into()]);
                members.collect::<Vec<_>>().join(" | ")
            }
            ([], _) => "nil".to_owned(),
            ([one], false) => one.clone(),
            // `any` includes nil.
            ([one], true) if one == ANY => one.clone(),
            ([one], true) => format!("{}?", enclosed(one)),
            (several, optional) => {
                let members: Vec<_> = several.iter().map(|one| enclosed(one)).collect();
                let union = members.join(" | ");
                if optional { format!("({union})?") } else { union }
            }
        }
    }
}

/// Puts a function type or an intersection in parentheses, as a member of a union needs it.
fn enclosed(member: &str) -> Cow<'_, str> {
    let alone = member.starts_with('{')
        || !(member.contains(" -> ") || member.contains(" => ") || member.contains(" & "));
    if alone { member.into() } else { format!("({member})").into() }
}

/// Returns a table type with these fields, on one line.
fn record(schema: &Json, style: Style) -> String {
    let fields: Vec<String> =
        fields(schema, style).into_iter().map(|field| format!("{}: {}", field.name, field.ty)).collect();
    if fields.is_empty() { "{}".to_owned() } else { format!("{{ {} }}", fields.join(", ")) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const LUAU: Style = Style { language: TypeLanguage::Luau, is_taken: true };

    #[test]
    fn each_schema_has_a_luau_type() {
        let cases = [
            (json!({}), "any"),
            (json!(true), "any"),
            (json!({"type": "string"}), "string"),
            (json!({"type": ["integer", "null"]}), "number?"),
            (json!({"type": "null"}), "nil"),
            (json!({"type": "array", "items": {"type": "boolean"}}), "{boolean}"),
            (json!({"type": "array", "items": {"type": ["string", "null"]}}), "{string?}"),
            (json!({"type": "object"}), "{[string]: any}"),
            (json!({"type": "object", "additionalProperties": {"type": "number"}}), "{[string]: number}"),
            (
                json!({
                    "type": "object", "required": ["a"],
                    "properties": {"a": {"type": "string"}, "b": {"type": "string"}}
                }),
                "{ a: string, b: string? }",
            ),
            (json!({"$ref": "#/$defs/Message"}), "Message"),
            (json!({"anyOf": [{"$ref": "#/$defs/Message"}, {"type": "null"}]}), "Message?"),
            (
                json!({"anyOf": [{"type": "string"}, {"type": "number"}, {"type": "null"}]}),
                "(string | number)?",
            ),
            (json!({"enum": ["a", "b"]}), r#""a" | "b""#),
            (json!({"oneOf": [{"const": "a"}, {"const": "b"}]}), r#""a" | "b""#),
            (
                json!({
                    "$ref": "#/$defs/Call", "required": ["type"],
                    "properties": {"type": {"const": "call"}}
                }),
                r#"Call & { type: "call" }"#,
            ),
            (
                json!({"anyOf": [
                    {"$ref": "#/$defs/Call", "properties": {"type": {"const": "call"}}},
                    {"x-llmspell": "function"}
                ]}),
                r#"(Call & { type: "call"? }) | ((...any) -> ...any)"#,
            ),
            (json!({"x-llmspell": "function"}), "(...any) -> ...any"),
            (json!({"anyOf": [{"x-llmspell": "function"}, {"type": "null"}]}), "((...any) -> ...any)?"),
            (json!({"x-llmspell": "object", "title": "Agent"}), "Agent"),
        ];
        for (schema, expected) in cases {
            assert_eq!(Type::of(&schema, LUAU).text(), expected, "{schema}");
        }
    }
}
