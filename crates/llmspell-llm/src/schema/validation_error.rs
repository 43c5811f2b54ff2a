//! Validation errors: where a value does not fit its schema, what was expected, and what was found.

use std::fmt;

use serde_json::Value as Json;

/// The maximum number of characters shown of a value or a name.
const MAX_SHOWN: usize = 80;

/// The maximum number of alternatives that are listed.
pub(super) const MAX_NAMED: usize = 10;

/// The first place where a value does not fit its schema, in the order of the value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValidationError {
    /// The path in JSONPath syntax, such as `$.items[2].name`. Indexes start at 0.
    pub path: String,
    /// What was expected.
    pub expected: String,
    /// The type and the value that were found, cut to 80 characters; `nothing` for an absent field.
    pub got: String,
}

impl fmt::Display for ValidationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: expected {}, got {}", self.path, self.expected, self.got)
    }
}

impl std::error::Error for ValidationError {}

/// A path in a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ValuePath(Vec<PathStep>);

/// A field name or an item index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PathStep {
    Field(String),
    Item(usize),
}

impl From<&str> for PathStep {
    fn from(name: &str) -> Self {
        Self::Field(name.to_owned())
    }
}

impl From<usize> for PathStep {
    fn from(index: usize) -> Self {
        Self::Item(index)
    }
}

impl ValuePath {
    pub(super) fn root() -> Self {
        Self(Vec::new())
    }

    /// Builds a path from names and indexes, which are told apart by the value.
    pub(super) fn of(value: &Json, steps: &[&str]) -> Self {
        let mut here = Some(value);
        let steps = steps.iter().map(|step| match (here, step.parse()) {
            (Some(Json::Array(items)), Ok(index)) => {
                here = items.get(index);
                PathStep::Item(index)
            }
            (around, _) => {
                here = around.and_then(|around| around.get(step));
                PathStep::from(*step)
            }
        });
        Self(steps.collect())
    }

    /// Appends a step while the function runs.
    pub(super) fn within<R>(&mut self, step: impl Into<PathStep>, inside: impl FnOnce(&mut Self) -> R) -> R {
        self.0.push(step.into());
        let result = inside(self);
        self.0.pop();
        result
    }
}

impl fmt::Display for ValuePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("$")?;
        self.0.iter().try_for_each(|step| match step {
            PathStep::Item(index) => write!(f, "[{index}]"),
            PathStep::Field(name) if is_plain(name) => write!(f, ".{name}"),
            PathStep::Field(name) => write!(f, "[{}]", as_json(&Json::from(name.as_str()))),
        })
    }
}

fn is_plain(name: &str) -> bool {
    let is_letter = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    name.len() <= MAX_SHOWN
        && name.chars().all(is_letter)
        && !name.starts_with(|first: char| first.is_ascii_digit())
        && !name.is_empty()
}

/// Formats a value with its type: `string "abc"`.
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

/// Formats a value as JSON, cut to [`MAX_SHOWN`] characters. Serialization stops at the cut.
pub(super) fn as_json(value: &Json) -> String {
    struct Cut(Vec<u8>);
    impl std::io::Write for Cut {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.extend_from_slice(bytes);
            // A character has at most four bytes in UTF-8.
            if self.0.len() > 4 * (MAX_SHOWN + 1) {
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
        // The serializer would otherwise write a long string as a whole.
        Json::String(long) if long.len() > 4 * MAX_SHOWN => {
            serde_json::to_writer(&mut text, &long[..long.floor_char_boundary(4 * MAX_SHOWN)])
        }
        value => serde_json::to_writer(&mut text, value),
    };
    let text = String::from_utf8_lossy(&text.0);
    match text.char_indices().nth(MAX_SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.into_owned(),
    }
}

/// The current place during validation: a linked list on the stack.
#[derive(Clone, Copy)]
pub(super) struct InstanceLocation<'a> {
    outer: Option<&'a InstanceLocation<'a>>,
    step: LocationStep<'a>,
    /// The position among its siblings, in the order of the value.
    index: usize,
    depth: usize,
}

#[derive(Clone, Copy)]
enum LocationStep<'a> {
    Field(&'a str),
    Item,
}

impl<'a> InstanceLocation<'a> {
    pub(super) fn root() -> Self {
        Self { outer: None, step: LocationStep::Item, index: 0, depth: 0 }
    }

    /// Returns the place of a field, given its position in the object.
    pub(super) fn field(&'a self, index: usize, name: &'a str) -> Self {
        Self { outer: Some(self), step: LocationStep::Field(name), index, depth: self.depth + 1 }
    }

    /// Returns the place of an absent field, which comes after all present ones.
    pub(super) fn missing_field(&'a self, name: &'a str) -> Self {
        self.field(usize::MAX, name)
    }

    pub(super) fn item(&'a self, index: usize) -> Self {
        Self { outer: Some(self), step: LocationStep::Item, index, depth: self.depth + 1 }
    }

    pub(super) fn depth(&self) -> usize {
        self.depth
    }

    /// Returns the steps from the root to this place.
    fn steps(&self) -> Vec<(usize, LocationStep<'a>)> {
        let mut steps = Vec::with_capacity(self.depth);
        let mut here = *self;
        while let Some(outer) = here.outer {
            steps.push((here.index, here.step));
            here = *outer;
        }
        steps.reverse();
        steps
    }
}

/// A violation, with its position in the order of the value.
#[derive(Debug)]
pub(crate) struct Violation {
    order: Vec<usize>,
    path: ValuePath,
    expected: String,
    got: String,
}

impl Violation {
    /// Creates a violation of the whole value.
    pub(super) fn of_root(expected: String, got: String) -> Self {
        Self { order: Vec::new(), path: ValuePath::root(), expected, got }
    }

    /// Returns the path of the violation.
    pub(crate) fn path(&self) -> &[PathStep] {
        &self.path.0
    }

    /// Whether this violation is at the place of another or inside it.
    pub(crate) fn is_within(&self, other: &Self) -> bool {
        self.path.0.starts_with(&other.path.0)
    }

    /// Whether a value of this type is expected.
    pub(crate) fn expects(&self, kind: &str) -> bool {
        self.expected.split([' ', ',']).any(|word| word == kind) && !self.expected.contains('"')
    }

    pub(super) fn into_expected(self) -> String {
        self.expected
    }
}

impl From<Violation> for ValidationError {
    fn from(violation: Violation) -> Self {
        Self { path: violation.path.to_string(), expected: violation.expected, got: violation.got }
    }
}

/// Whether a violation shows that its alternative was not meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Discriminates {
    /// By `type`.
    ByType,
    /// By `const` or `enum`.
    ByConstant,
    No,
}

/// The violations of a value: the first one, and what is needed to guess which alternative was meant.
pub(super) struct ViolationReport {
    /// The depth of the value that is validated.
    depth: usize,
    count: usize,
    first: Option<Violation>,
    /// What was expected, if the value itself has the wrong type or constant.
    here: Option<String>,
    /// Whether a direct field of the value has the wrong constant, as a discriminator would.
    is_told_apart: bool,
}

impl ViolationReport {
    pub(super) fn new(place: &InstanceLocation<'_>) -> Self {
        Self { depth: place.depth(), count: 0, first: None, here: None, is_told_apart: false }
    }

    /// Adds a violation. Its texts are created only if needed.
    pub(super) fn add(
        &mut self,
        place: &InstanceLocation<'_>,
        discriminates: Discriminates,
        expected: impl Fn() -> String,
        got: impl FnOnce() -> String,
    ) {
        self.count += 1;
        if discriminates != Discriminates::No && place.depth() == self.depth && self.here.is_none() {
            self.here = Some(expected());
        }
        self.is_told_apart |= discriminates == Discriminates::ByConstant && place.depth() == self.depth + 1;
        let steps = place.steps();
        let is_first =
            self.first.as_ref().is_none_or(|first| steps.iter().map(|(index, _)| index).lt(&first.order));
        if is_first {
            let path = steps.iter().map(|(index, step)| match step {
                LocationStep::Field(name) => PathStep::from(*name),
                LocationStep::Item => PathStep::Item(*index),
            });
            let path = ValuePath(path.collect());
            let order = steps.iter().map(|(index, _)| *index).collect();
            self.first = Some(Violation { order, path, expected: expected(), got: got() });
        }
    }

    /// Adds the violation of alternatives that all failed. If one of them fails deeper than at the value itself, it was
    /// probably meant, and its violation is more helpful than the list of alternatives.
    pub(super) fn add_alternatives(
        &mut self,
        place: &InstanceLocation<'_>,
        value: &Json,
        alternatives: Vec<Self>,
    ) {
        let mut meant = None;
        let mut here = Vec::new();
        for alternative in alternatives {
            if let Some(expected) = alternative.here {
                here.push(expected);
            } else if let Some(violation) = alternative.first {
                // An alternative with the wrong discriminator was not meant. Among the others, the one with the fewest
                // violations was.
                let rank = (alternative.is_told_apart, alternative.count);
                if meant.as_ref().is_none_or(|(least, _)| rank < *least) {
                    meant = Some((rank, violation));
                }
            }
        }
        here.dedup();
        match meant {
            Some((_, violation)) => {
                self.count += 1;
                if self.first.as_ref().is_none_or(|first| violation.order < first.order) {
                    self.first = Some(violation);
                }
            }
            None if here.is_empty() => {
                self.add(place, Discriminates::No, || "one of the alternatives".to_owned(), || shown(value));
            }
            None => self.add(place, Discriminates::No, || list(&here, "or"), || shown(value)),
        }
    }

    pub(super) fn into_first(self) -> Option<Violation> {
        self.first
    }
}

pub(super) fn count(how: &str, limit: u64, what: &str) -> String {
    format!("{how} {limit} {what}{}", if limit == 1 { "" } else { "s" })
}

pub(super) fn one_of(options: &[Json]) -> String {
    let options: Vec<_> = options.iter().take(MAX_NAMED + 1).map(as_json).collect();
    match options.as_slice() {
        [one] => one.clone(),
        options => format!("one of {}", list(options, "or")),
    }
}

/// Joins words: `a, b or c`, or `a, b, …` if there are too many.
pub(super) fn list(words: &[String], last: &str) -> String {
    match words {
        [] => "a value".to_owned(),
        [one] => one.clone(),
        words if words.len() > MAX_NAMED => format!("{}, …", words[..MAX_NAMED].join(", ")),
        [first @ .., end] => format!("{} {last} {end}", first.join(", ")),
    }
}
