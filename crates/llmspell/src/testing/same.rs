//! The assertions of the `test` bridge, and the messages of those that fail.

use std::time::Duration;

use llmspell_bridges::unified_diff::unified_diff;
use llmspell_core::replay::Difference;
use llmspell_core::{Error, ErrorKind, Map, Value};

/// The time limit of the search for the smallest diff. The rest is then shown as changed.
const DIFF_TIMEOUT: Duration = Duration::from_millis(500);

/// The most characters of a value in a failure.
const MOST_SHOWN: usize = 400;

/// Returns the error of a failed assertion.
pub(super) fn failed(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Assertion, message)
}

/// Checks that two values are equal.
///
/// # Errors
/// When they differ. The error names the first path at which they do, and both values there.
pub(super) fn equal(found: Value, expected: Value) -> Result<(), Error> {
    let (found, expected) = (plain(found), plain(expected));
    if found == expected {
        return Ok(());
    }
    let Difference { path, then: was, now: is } = Difference::first(&expected, &found);
    let message = match path.as_str() {
        "" => "the values differ".to_owned(),
        path => format!("the values differ at `{path}`"),
    };
    let detail = match (was, is) {
        (Some(Value::Str(was)), Some(Value::Str(is))) if was.contains('\n') || is.contains('\n') => {
            lines(was, is)
        }
        _ => format!("expected  {}\nfound     {}", shown(was), shown(is)),
    };
    Err(failed(message).with_excerpt(detail))
}

/// Checks that a text contains a text, or a list a value.
///
/// # Errors
/// When it does not, or when the values have other types.
pub(super) fn contains(found: &Value, part: &Value) -> Result<(), Error> {
    let (what, is_there) = match (found, part) {
        (Value::Str(text), Value::Str(part)) => ("text", text.contains(part.as_str())),
        (Value::List(items), part) => {
            let part = plain(part.clone());
            ("list", items.iter().any(|item| plain(item.clone()) == part))
        }
        (found, part) => {
            let (found, part) = (found.type_name(), part.type_name());
            return Err(failed(format!(
                "a {found} contains no {part}: a text contains texts, and a list values"
            )));
        }
    };
    if is_there {
        return Ok(());
    }
    let detail = format!("expected  {}\nin        {}", shown(Some(part)), shown(Some(found)));
    Err(failed(format!("the {what} does not contain it")).with_excerpt(detail))
}

/// Checks that a regular expression matches somewhere in a text.
///
/// # Errors
/// When it does not match, or is invalid.
pub(super) fn matches(text: &str, pattern: &str) -> Result<(), Error> {
    let regex = regex_lite::Regex::new(pattern)
        .map_err(|error| Error::argument(format!("`{pattern}` is no pattern: {error}")))?;
    if regex.is_match(text) {
        return Ok(());
    }
    let text = Value::from(text);
    let detail = format!("expected  {pattern}\nin        {}", shown(Some(&text)));
    Err(failed("the text does not match the pattern").with_excerpt(detail))
}

/// Checks that a text is the same as its snapshot.
///
/// # Errors
/// When the texts differ. The error shows the lines that do.
pub(super) fn like_snapshot(found: &str, kept: &str, file: &str) -> Result<(), Error> {
    if found == kept {
        return Ok(());
    }
    Err(failed(format!("this is not what {file} holds"))
        .with_excerpt(lines(kept, found))
        .hint("when it is right as it is now, `llmspell test --update` keeps it"))
}

/// Returns a value as failures show it: the first characters of its JSON.
pub(super) fn shown(value: Option<&Value>) -> String {
    let Some(value) = value else { return "nothing".to_owned() };
    let text = match value {
        Value::Callback(_) | Value::Object(_) => format!("a {}", value.type_name()),
        value => serde_json::to_string(value).unwrap_or_else(|_| format!("a {}", value.type_name())),
    };
    match text.char_indices().nth(MOST_SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// Returns a unified diff of two texts: `-` is expected, `+` was found.
fn lines(expected: &str, found: &str) -> String {
    unified_diff(expected, found, ["expected", "found"], 2, DIFF_TIMEOUT)
}

/// Normalizes a value to what scripts can tell apart. To them, 1 and 1.0 are equal, as are an empty list and an empty
/// table, and a key with the value `nil` does not exist.
fn plain(value: Value) -> Value {
    #[expect(clippy::cast_possible_truncation, reason = "whole numbers that doubles hold exactly")]
    match value {
        Value::Num(number) if number.fract() == 0.0 && number.abs() < 2f64.powi(53) => {
            Value::Int(number as i64)
        }
        Value::List(items) => Value::List(items.into_iter().map(plain).collect()),
        Value::Map(entries) if entries.is_empty() => Value::List(Vec::new()),
        Value::Map(entries) => {
            let mut sorted: Map = entries.into_iter().map(|(name, value)| (name, plain(value))).collect();
            sorted.sort_keys();
            Value::Map(sorted)
        }
        plain => plain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(json: &str) -> Value {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn values_that_scripts_cannot_tell_apart_are_equal() {
        for (one, other) in [("1", "1.0"), ("[]", "{}"), (r#"{"a":1,"b":[{}]}"#, r#"{"b":[[]],"a":1.0}"#)] {
            equal(value(one), value(other)).unwrap();
        }
    }

    #[test]
    fn a_failure_shows_the_first_place_that_differs() {
        for (found, expected, message, detail) in [
            ("1", "2", "the values differ", "expected  2\nfound     1"),
            (r#"{"a":[1,2]}"#, r#"{"a":[1,3]}"#, "the values differ at `a[2]`", "expected  3\nfound     2"),
            (
                r#"{"a":1}"#,
                r#"{"a":1,"b":"x"}"#,
                "the values differ at `b`",
                "expected  \"x\"\nfound     nothing",
            ),
            (
                r#""one\ntwo\n""#,
                r#""one\nthree\n""#,
                "the values differ",
                "--- expected\n+++ found\n@@ -1,2 +1,2 @@\n one\n-three\n+two\n",
            ),
        ] {
            let error = equal(value(found), value(expected)).unwrap_err();
            assert_eq!((error.message(), error.excerpt()), (message, Some(detail)));
        }
    }
}
