//! Says of a value that does not fit where, and what would have.

use std::fmt;

use jsonschema::error::{TypeKind, ValidationErrorKind as Kind};
use jsonschema::paths::{Location, LocationSegment};
use jsonschema::{ValidationError, Validator};
use serde_json::Value as Json;

use super::keywords::resolve;

/// The most letters of a value, or of a name, that are shown.
const MOST_SHOWN: usize = 80;

/// The most alternatives that are named.
const MOST_NAMED: usize = 10;

/// How many references and alternatives are followed to say what a schema is of.
const MOST_DESCRIBED: usize = 4;

/// The most misfits among which the first is looked for.
const MOST_MISFITS: usize = 256;

/// Where a value does not fit: the first place, by order in the value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    /// The place as JSONPath has it, such as `$.items[2].name`; arrays count from 0.
    pub path: String,
    /// What would fit there.
    pub expected: String,
    /// The type and the value that are there, cut to 80 letters; `nothing` where it is left out.
    pub got: String,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: expected {}, got {}", self.path, self.expected, self.got)
    }
}

impl std::error::Error for Mismatch {}

/// A place in a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Path(Vec<Step>);

/// A field's name or an item's number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    Field(String),
    Item(usize),
}

impl From<&str> for Step {
    fn from(name: &str) -> Self {
        Self::Field(name.to_owned())
    }
}

impl From<usize> for Step {
    fn from(index: usize) -> Self {
        Self::Item(index)
    }
}

impl Path {
    pub(super) fn root() -> Self {
        Self(Vec::new())
    }

    /// Goes one step in, for as long as the function runs.
    pub(super) fn within<R>(&mut self, step: impl Into<Step>, inside: impl FnOnce(&mut Self) -> R) -> R {
        self.0.push(step.into());
        let result = inside(self);
        self.0.pop();
        result
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("$")?;
        self.0.iter().try_for_each(|step| match step {
            Step::Item(index) => write!(f, "[{index}]"),
            Step::Field(name) if is_plain(name) => write!(f, ".{name}"),
            Step::Field(name) => write!(f, "[{}]", as_json(&Json::from(name.as_str()))),
        })
    }
}

fn is_plain(name: &str) -> bool {
    let is_letter = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    name.len() <= MOST_SHOWN
        && name.chars().all(is_letter)
        && !name.starts_with(|first: char| first.is_ascii_digit())
        && !name.is_empty()
}

/// A value's type and the value: `string "abc"`.
pub(crate) fn shown(value: &Json) -> String {
    let kind = match value {
        Json::Null => return "null".to_owned(),
        Json::Bool(_) => "boolean",
        Json::Number(number) if number.is_f64() => "number",
        Json::Number(_) => "integer",
        Json::String(_) => "string",
        Json::Array(_) => "array",
        Json::Object(_) => "object",
    };
    format!("{kind} {}", as_json(value))
}

/// A value as JSON, cut; no more of it is written than is shown.
fn as_json(value: &Json) -> String {
    struct Cut(Vec<u8>);
    impl std::io::Write for Cut {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.extend_from_slice(bytes);
            // A letter has at most four bytes.
            if self.0.len() > 4 * (MOST_SHOWN + 1) {
                Err(std::io::ErrorKind::WriteZero.into())
            } else {
                Ok(bytes.len())
            }
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut text = Cut(Vec::new());
    let _ = match value {
        // Written in one piece otherwise, however long it is.
        Json::String(long) if long.len() > 4 * MOST_SHOWN => {
            serde_json::to_writer(&mut text, &long[..long.floor_char_boundary(4 * MOST_SHOWN)])
        }
        value => serde_json::to_writer(&mut text, value),
    };
    let text = String::from_utf8_lossy(&text.0);
    match text.char_indices().nth(MOST_SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.into_owned(),
    }
}

/// One misfit, and where it is in the order of the value.
#[derive(Debug)]
pub(crate) struct Misfit {
    order: Vec<usize>,
    path: Path,
    expected: String,
    got: String,
}

impl Misfit {
    /// One of the value as a whole.
    pub(super) fn of_all(expected: String, got: String) -> Self {
        Self { order: Vec::new(), path: Path::root(), expected, got }
    }

    /// How one gets to its place.
    pub(crate) fn path(&self) -> &[Step] {
        &self.path.0
    }

    /// Whether it is where another is, or deeper.
    pub(crate) fn is_within(&self, other: &Self) -> bool {
        self.path.0.starts_with(&other.path.0)
    }

    /// Whether a value of this type is expected.
    pub(crate) fn expects(&self, kind: &str) -> bool {
        self.expected.split([' ', ',']).any(|word| word == kind) && !self.expected.contains('"')
    }
}

impl From<Misfit> for Mismatch {
    fn from(misfit: Misfit) -> Self {
        Self { path: misfit.path.to_string(), expected: misfit.expected, got: misfit.got }
    }
}

/// What a schema is a schema of.
pub(super) fn describe(schema: &Json) -> String {
    Reading { schema, value: &Json::Null }.describe(schema, MOST_DESCRIBED)
}

/// The first place where the value does not fit; where that would take long to find, any such place.
pub(super) fn first(validator: &Validator, schema: &Json, value: &Json, is_small: bool) -> Misfit {
    let reading = Reading { schema, value };
    let first = if is_small {
        let misfits = validator.iter_errors(value).take(MOST_MISFITS).map(|error| reading.misfit(&error));
        misfits.min_by(|a, b| a.order.cmp(&b.order))
    } else {
        validator.validate(value).err().map(|error| reading.misfit(&error))
    };
    first.unwrap_or_else(|| Misfit::of_all("a value that fits".to_owned(), shown(value)))
}

/// What is wrong with a schema itself.
pub(super) fn of_schema(error: &ValidationError<'_>, written: &Json) -> Mismatch {
    let reading = Reading { schema: &Json::Null, value: written };
    let misfit = reading.misfit(error);
    let (path, got) = (misfit.path.to_string(), misfit.got);
    let expected = match error.kind() {
        Kind::Referencing(_) => "a reference that leads to a schema".to_owned(),
        Kind::Format { format } if format == "regex" => {
            "a pattern that can be matched in linear time".to_owned()
        }
        _ => misfit.expected,
    };
    Mismatch { path, expected, got }
}

struct Reading<'a> {
    schema: &'a Json,
    value: &'a Json,
}

impl Reading<'_> {
    fn misfit(&self, error: &ValidationError<'_>) -> Misfit {
        if let Some(deeper) = self.alternative(error) {
            return deeper;
        }
        let (mut order, mut path, there) = self.follow(error.instance_path());
        let mut got = shown(there.unwrap_or(error.instance().as_ref()));
        let expected = match error.kind() {
            Kind::Required { property } => {
                let name = property.as_str().unwrap_or_default();
                // After all that is there.
                order.push(usize::MAX);
                path.0.push(name.into());
                "nothing".clone_into(&mut got);
                self.named(error, &["properties", name])
            }
            Kind::AdditionalProperties { unexpected } | Kind::UnevaluatedProperties { unexpected } => {
                let fields = there.and_then(Json::as_object);
                let found = fields.and_then(|fields| {
                    fields.iter().enumerate().find(|(_, (name, _))| unexpected.contains(name))
                });
                if let Some((index, (name, value))) = found {
                    order.push(index);
                    path.0.push(name.as_str().into());
                    got = shown(value);
                }
                self.known_fields(error)
            }
            Kind::AdditionalItems { limit } => format!("at most {limit} items"),
            kind => expected(kind),
        };
        Misfit { order, path, expected, got }
    }

    /// Of alternatives that all fail, the one that was meant: where it fails deeper than at the value itself, that says
    /// more than that none of them fits.
    fn alternative(&self, error: &ValidationError<'_>) -> Option<Misfit> {
        let (Kind::AnyOf { context } | Kind::OneOfNotValid { context }) = error.kind() else { return None };
        let here = error.instance_path().segments().count();
        let (mut meant, mut here_expected) = (Vec::new(), Vec::new());
        for errors in context {
            let fails_here = errors.iter().find(|error| {
                matches!(error.kind(), Kind::Type { .. } | Kind::Enum { .. } | Kind::Constant { .. })
                    && error.instance_path().segments().count() == here
            });
            match fails_here {
                Some(error) => here_expected.push(expected(error.kind())),
                None => meant.extend(
                    errors.iter().map(|error| self.misfit(error)).min_by(|a, b| a.order.cmp(&b.order)).map(
                        // An alternative that a constant tells apart was not meant; of the others the one with the least amiss was.
                        |misfit| (is_told_apart(errors, here), errors.len(), misfit),
                    ),
                ),
            }
        }
        let meant = meant.into_iter().min_by_key(|(told_apart, amiss, _)| (*told_apart, *amiss));
        if let Some((_, _, misfit)) = meant {
            return Some(misfit);
        }
        if here_expected.is_empty() {
            return None;
        }
        let (order, path, there) = self.follow(error.instance_path());
        here_expected.dedup();
        Some(Misfit {
            order,
            path,
            expected: either(&here_expected),
            got: shown(there.unwrap_or(error.instance().as_ref())),
        })
    }

    /// The value at a place, and how one gets there.
    fn follow(&self, location: &Location) -> (Vec<usize>, Path, Option<&Json>) {
        let (mut order, mut path, mut there) = (Vec::new(), Path::root(), Some(self.value));
        for segment in location.segments() {
            let name = match &segment {
                LocationSegment::Property(name) => name.to_string(),
                LocationSegment::Index(index) => index.to_string(),
            };
            match there {
                Some(Json::Object(fields)) => {
                    order.extend(fields.keys().position(|key| *key == name));
                    there = fields.get(&name);
                    path.0.push(Step::Field(name));
                }
                Some(Json::Array(items)) => {
                    let index = name.parse().unwrap_or_default();
                    order.push(index);
                    there = items.get(index);
                    path.0.push(Step::Item(index));
                }
                _ => path.0.push(Step::Field(name)),
            }
        }
        (order, path, there)
    }

    /// What the schema that a misfit speaks of says of a field.
    fn named(&self, error: &ValidationError<'_>, steps: &[&str]) -> String {
        let beside = self.beside(error);
        let named = steps.iter().try_fold(beside, |schema, step| schema?.get(step).map(Some)).flatten();
        named.map_or_else(|| "a value".to_owned(), |schema| self.describe(schema, MOST_DESCRIBED))
    }

    fn known_fields(&self, error: &ValidationError<'_>) -> String {
        let properties = self.beside(error).and_then(|schema| schema.get("properties")?.as_object());
        match properties.filter(|known| !known.is_empty()) {
            Some(known) => {
                let names: Vec<_> = known.keys().map(|name| as_json(&Json::from(name.as_str()))).collect();
                format!("no other field than {}", list(&names, "and"))
            }
            None => "no such field".to_owned(),
        }
    }

    /// The schema that holds the keyword that failed.
    fn beside(&self, error: &ValidationError<'_>) -> Option<&Json> {
        let at = error.schema_path().as_str();
        self.schema.pointer(&at[..at.rfind('/')?])
    }

    /// What a schema is a schema of.
    fn describe(&self, schema: &Json, depth: usize) -> String {
        let several = |words: &[Json], describe: &dyn Fn(&Json) -> String| {
            either(&words.iter().map(describe).collect::<Vec<_>>())
        };
        let word = |word: &Json| word.as_str().unwrap_or("a value").to_owned();
        match schema.as_object() {
            _ if depth == 0 => "a value".to_owned(),
            None => "a value".to_owned(),
            Some(schema) => match (schema.get("enum"), schema.get("const"), schema.get("type")) {
                (Some(Json::Array(options)), ..) => one_of(options),
                (_, Some(value), _) => as_json(value),
                (_, _, Some(Json::String(kind))) => kind.clone(),
                (_, _, Some(Json::Array(kinds))) => several(kinds, &word),
                _ => {
                    let referred = || resolve(self.schema, schema.get("$ref")?.as_str()?);
                    let any = || schema.get("anyOf").or_else(|| schema.get("oneOf"))?.as_array();
                    let deeper = |schema: &Json| self.describe(schema, depth - 1);
                    match (referred(), any()) {
                        (Some(referred), _) => deeper(referred),
                        (None, Some(any)) => several(any, &deeper),
                        (None, None) if schema.contains_key("properties") => "object".to_owned(),
                        (None, None) => "a value".to_owned(),
                    }
                }
            },
        }
    }
}

/// Whether a field in the value should have been another constant.
fn is_told_apart(errors: &[ValidationError<'_>], here: usize) -> bool {
    errors.iter().any(|error| {
        matches!(error.kind(), Kind::Constant { .. } | Kind::Enum { .. })
            && error.instance_path().segments().count() == here + 1
    })
}

/// What would have fitted, in words.
fn expected(kind: &Kind) -> String {
    match kind {
        Kind::Type { kind: TypeKind::Single(kind) } => kind.to_string(),
        Kind::Type { kind: TypeKind::Multiple(kinds) } => {
            either(&kinds.iter().map(|kind| kind.to_string()).collect::<Vec<_>>())
        }
        Kind::Enum { options } => {
            options.as_array().map_or_else(|| as_json(options), |options| one_of(options))
        }
        Kind::Constant { expected_value } => as_json(expected_value),
        Kind::Minimum { limit } => format!("at least {limit}"),
        Kind::Maximum { limit } => format!("at most {limit}"),
        Kind::ExclusiveMinimum { limit } => format!("more than {limit}"),
        Kind::ExclusiveMaximum { limit } => format!("less than {limit}"),
        Kind::MultipleOf { multiple_of } => format!("a multiple of {multiple_of}"),
        Kind::MinLength { limit } => count("at least", *limit, "character"),
        Kind::MaxLength { limit } => count("at most", *limit, "character"),
        Kind::MinItems { limit } => count("at least", *limit, "item"),
        Kind::MaxItems { limit } => count("at most", *limit, "item"),
        Kind::MinProperties { limit } => count("at least", *limit, "field"),
        Kind::MaxProperties { limit } => count("at most", *limit, "field"),
        Kind::Pattern { pattern } => format!("text that matches {}", as_json(&Json::from(pattern.as_str()))),
        Kind::Format { format } => format!("text of the format `{format}`"),
        Kind::UniqueItems => "items that all differ".to_owned(),
        Kind::Contains => "an item that fits `contains`".to_owned(),
        Kind::PropertyNames { error } => format!("other names of fields: {}", expected(error.kind())),
        Kind::Not { .. } => "another value (`not`)".to_owned(),
        Kind::FalseSchema => "nothing".to_owned(),
        Kind::UnevaluatedItems { .. } => "no more items".to_owned(),
        Kind::AnyOf { .. } | Kind::OneOfNotValid { .. } => "one of the alternatives".to_owned(),
        Kind::OneOfMultipleValid { .. } => "only one of the alternatives (`oneOf`)".to_owned(),
        kind => format!("a value that fits `{}`", kind.keyword()),
    }
}

fn count(how: &str, limit: u64, what: &str) -> String {
    format!("{how} {limit} {what}{}", if limit == 1 { "" } else { "s" })
}

fn one_of(options: &[Json]) -> String {
    let options: Vec<_> = options.iter().take(MOST_NAMED + 1).map(as_json).collect();
    match options.as_slice() {
        [one] => one.clone(),
        options => format!("one of {}", list(options, "or")),
    }
}

fn either(words: &[String]) -> String {
    list(words, "or")
}

/// `a, b or c`; `a, b, …` where there are too many.
fn list(words: &[String], last: &str) -> String {
    match words {
        [] => "a value".to_owned(),
        [one] => one.clone(),
        words if words.len() > MOST_NAMED => format!("{}, …", words[..MOST_NAMED].join(", ")),
        [first @ .., end] => format!("{} {last} {end}", first.join(", ")),
    }
}
