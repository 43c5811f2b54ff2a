//! Formats the result of a tool for the model, and untrusted text for messages.

use llmspell_core::{Error, Result, Value};

/// Escapes what a terminal interprets: control characters, and characters that change the text direction.
///
/// ```
/// assert_eq!(llmspell_llm::escaped("a\u{1b}[2J \"b\" \u{202e}"), r#"a\u{1b}[2J "b" \u{202e}"#);
/// ```
#[must_use]
pub fn escaped(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '"' | '\'' | '\\' => shown.push(letter),
            _ => shown.extend(letter.escape_debug()),
        }
    }
    shown
}

/// Quotes the first `most` bytes of an untrusted text for a message.
pub(crate) fn named(text: &str, most: usize) -> String {
    let shown = &text[..text.floor_char_boundary(most)];
    let more = if shown.len() < text.len() { "…" } else { "" };
    format!("`{}{more}`", escaped(shown))
}

/// Converts a result to text. Text stays as it is, `nil` becomes `(no result)`, and all other values become JSON.
pub(crate) fn text_of(value: Value) -> Result<String> {
    match value {
        Value::Str(text) => Ok(text),
        Value::Nil => Ok("(no result)".to_owned()),
        Value::Bytes(bytes) => String::from_utf8(bytes).map_err(|error| {
            Error::runtime(format!("the result is {} bytes that are no text", error.as_bytes().len()))
        }),
        value if !is_finite(&value) => {
            Err(Error::runtime("the result holds a number that is not finite, which JSON cannot say"))
        }
        value => serde_json::to_string(&value)
            .map_err(|error| Error::runtime(format!("the result is no data: {error}"))),
    }
}

/// Whether all numbers in a value are finite.
fn is_finite(value: &Value) -> bool {
    match value {
        Value::Num(number) => number.is_finite(),
        Value::List(items) => items.iter().all(is_finite),
        Value::Map(fields) => fields.values().all(is_finite),
        _ => true,
    }
}

/// Cuts a result to at most `most` bytes and appends a note about the cut.
#[must_use]
pub fn cut_result(mut text: String, most: usize) -> String {
    use std::fmt::Write as _;

    if text.len() > most {
        let (whole, kept) = (text.len(), text.floor_char_boundary(most));
        text.truncate(kept);
        // Writing to a `String` cannot fail.
        let _ = write!(text, "\n[cut: {kept} of {whole} bytes are shown]");
    }
    text
}

#[cfg(test)]
mod tests {
    use llmspell_core::Map;

    use super::*;

    #[test]
    fn a_result_becomes_text_for_the_model() {
        let map = Value::Map(Map::from_iter([("sum".to_owned(), Value::from(4))]));
        for (value, text) in [
            (Value::from("plain"), "plain"),
            (Value::Nil, "(no result)"),
            (Value::from(2.5), "2.5"),
            (map, r#"{"sum":4}"#),
            (Value::Bytes(b"text".to_vec()), "text"),
        ] {
            assert_eq!(text_of(value).unwrap(), text);
        }
        let error = text_of(Value::List(vec![Value::from(f64::NAN)])).unwrap_err();
        assert_eq!(error.message(), "the result holds a number that is not finite, which JSON cannot say");
        let error = text_of(Value::Bytes(vec![0xff, 0xfe])).unwrap_err();
        assert_eq!(error.message(), "the result is 2 bytes that are no text");
    }

    #[test]
    fn a_long_result_says_that_it_is_cut_and_breaks_no_letter() {
        assert_eq!(cut_result("short".into(), 5), "short");
        assert_eq!(cut_result("größer".into(), 3), "gr\n[cut: 2 of 8 bytes are shown]");
    }

    #[test]
    fn what_is_named_cannot_pass_for_something_else() {
        assert_eq!(named("a\u{1b}[2J\u{202e}b\n", 80), r"`a\u{1b}[2J\u{202e}b\n`");
        assert_eq!(named("abcdef", 3), "`abc…`");
        let json = serde_json::json!({"path": "a\u{202e}b\"\u{1b}[2J", "größe": 1}).to_string();
        assert_eq!(escaped(&json), r#"{"path":"a\u{202e}b\"\u001b[2J","größe":1}"#);
    }
}
