//! The arguments of a tool call, as models and servers write them.

use serde_json::{Map, Value as Json};

use crate::halves;

/// How often arguments may be encoded as a JSON string. Some gateways encode them twice.
const MAX_ENCODINGS: u32 = 3;

/// Parses the arguments of a call. If they are not a JSON object, returns the raw text.
pub(crate) fn parse(text: String) -> Json {
    object(&text, MAX_ENCODINGS).map_or(Json::String(text), Json::Object)
}

/// Returns the arguments of an earlier call as an object, which the APIs require. The raw text of malformed arguments
/// becomes an empty object: servers parse the history, and some reject a request, or fail, because of it.
pub(crate) fn sendable(arguments: &Json) -> Json {
    let object = match arguments {
        Json::Object(_) => return arguments.clone(),
        Json::String(text) => object(text, MAX_ENCODINGS),
        _ => None,
    };
    Json::Object(object.unwrap_or_default())
}

/// Returns why the text of malformed arguments is not a JSON object.
pub(crate) fn fault(text: &str) -> String {
    match serde_json::from_str::<Json>(text) {
        Ok(_) => "expected a JSON object".to_owned(),
        Err(error) => format!("invalid JSON: {error}"),
    }
}

fn object(text: &str, encodings: u32) -> Option<Map<String, Json>> {
    let text = text.trim();
    if text.is_empty() {
        return Some(Map::new());
    }
    let parsed = halves::from_str(text).or_else(|_| halves::from_str(&escape_controls(text)));
    match parsed.ok()? {
        Json::Object(fields) => Some(fields),
        // Ways to write that there are no arguments.
        Json::Null => Some(Map::new()),
        Json::Array(items) if items.is_empty() => Some(Map::new()),
        Json::String(inner) if encodings > 0 => object(&inner, encodings - 1),
        _ => None,
    }
}

/// Escapes line breaks and other control characters within strings. Models often write them raw, and there they have
/// only one meaning.
fn escape_controls(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    let (mut in_string, mut after_backslash) = (false, false);
    for letter in text.chars() {
        match letter {
            control if in_string && control < ' ' => {
                escaped.push_str(&format!("\\u{:04x}", u32::from(control)));
            }
            other => escaped.push(other),
        }
        in_string ^= letter == '"' && !after_backslash;
        after_backslash = letter == '\\' && !after_backslash;
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn arguments_are_an_object_or_the_raw_text() {
        for (text, parsed, sent) in [
            ("", json!({}), json!({})),
            (" \n", json!({}), json!({})),
            ("null", json!({}), json!({})),
            ("[]", json!({}), json!({})),
            (r#""""#, json!({}), json!({})),
            (r#""null""#, json!({}), json!({})),
            (r#"{"a":1}"#, json!({"a": 1}), json!({"a": 1})),
            (r#""{\"a\":1}""#, json!({"a": 1}), json!({"a": 1})),
            (r#""\"{\\\"a\\\":1}\"""#, json!({"a": 1}), json!({"a": 1})),
            (
                "{\"a\": \"one\n\\\"two\\\"\tthree\"}",
                json!({"a": "one\n\"two\"\tthree"}),
                json!({"a": "one\n\"two\"\tthree"}),
            ),
            (r#"{"a":"#, json!(r#"{"a":"#), json!({})),
            (r#"{"a": "the "old" town"}"#, json!(r#"{"a": "the "old" town"}"#), json!({})),
            ("[1]", json!("[1]"), json!({})),
            ("5", json!("5"), json!({})),
            (r#""Oslo""#, json!(r#""Oslo""#), json!({})),
        ] {
            let arguments = parse(text.to_owned());
            assert_eq!(arguments, parsed, "{text}");
            assert_eq!(sendable(&arguments), sent, "{text}");
        }
        assert_eq!(sendable(&Json::Null), json!({}));
        assert_eq!(sendable(&json!([1])), json!({}));
    }
}
