//! Names of the host as JavaScript writes them.

/// `stream_chat` as `streamChat`.
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

#[cfg(test)]
mod tests {
    use super::camel_case;

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
