//! Converts names of the host, which are in snake_case, to the camelCase of JavaScript.

/// Converts `stream_chat` to `streamChat`.
pub(super) fn camel_case(name: &str) -> String {
    let mut words = name.split('_');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |mut name, word| {
        let mut letters = word.chars();
        name.extend(letters.next().map(|letter| letter.to_ascii_uppercase()));
        name.push_str(letters.as_str());
        name
    })
}

/// Converts the names of arguments, fields and methods (such as `fs.read_bytes`) in an error message to camelCase.
/// Other text between backticks comes from the script and stays. `is_method` recognises a bridge's method.
pub(super) fn spoken(text: &str, is_method: impl Fn(&str, &str) -> bool) -> String {
    let mut spoken = String::with_capacity(text.len());
    // True inside the list of names after "`Request` has no field `timout`; it has …".
    let mut are_fields = false;
    for (at, piece) in text.split('`').enumerate() {
        if at > 0 {
            spoken.push('`');
        }
        if at % 2 == 0 {
            let is_list = matches!(piece, ", " | " or ");
            are_fields = piece == "; it has " && spoken.contains("` has no field `") || are_fields && is_list;
            spoken.push_str(piece);
        } else if are_fields
            || is_argument(&spoken)
            || piece.split_once('.').is_some_and(|(bridge, name)| is_method(bridge, name))
        {
            spoken.push_str(&camel_case(piece));
        } else {
            spoken.push_str(piece);
        }
    }
    spoken
}

/// Returns whether a text ends like "argument 2 (`".
fn is_argument(text: &str) -> bool {
    let number = text.strip_suffix(" (`").and_then(|text| text.rsplit_once("argument "));
    number.is_some_and(|(_, number)| number.bytes().all(|digit| digit.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::{camel_case, spoken};

    #[test]
    fn errors_name_things_as_scripts_do() {
        let cases = [
            ("argument 2 (`on_chunk`): expected function", "argument 2 (`onChunk`): expected function"),
            (
                "`A_b` has no field `x_y`; it has `max_tokens`, `top_p`",
                "`A_b` has no field `x_y`; it has `maxTokens`, `topP`",
            ),
            ("`fs.read_bytes` reads any file", "`fs.readBytes` reads any file"),
            ("there is no `fs.my_file`", "there is no `fs.my_file`"),
            ("there is no `my_file.txt`", "there is no `my_file.txt`"),
            ("it has `mock/my_model`", "it has `mock/my_model`"),
            ("an open ` stays", "an open ` stays"),
        ];
        for (text, expected) in cases {
            assert_eq!(spoken(text, |bridge, name| (bridge, name) == ("fs", "read_bytes")), expected);
        }
    }

    #[test]
    fn words_are_joined_by_capitals() {
        let cases = [
            ("get", "get"),
            ("stream_chat", "streamChat"),
            ("list_models_for_provider", "listModelsForProvider"),
        ];
        for (name, written) in cases {
            assert_eq!(camel_case(name), written);
        }
    }
}
