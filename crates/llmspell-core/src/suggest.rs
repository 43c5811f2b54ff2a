//! Did-you-mean hints for unknown names.

use std::fmt::Display;

/// The smallest similarity, from 0 to 1, at which a name is suggested: at most two of five letters may differ.
const SIMILAR: f64 = 0.6;

/// The similarity of a name that contains the wrong one, such as `json.encode` for `encode`.
const CONTAINED: f64 = 0.65;

/// The most names in a hint.
const SUGGESTED: usize = 3;

/// Returns the hint "did you mean `greet`?" with the known names most similar to a wrong one, or `None` if none is
/// similar.
///
/// Each known name comes with the form that the hint shows, such as `name` with `--name`. Similarity is the normalized
/// Damerau-Levenshtein distance without regard to case, so a swapped pair of letters counts as one mistake.
///
/// ```
/// use llmspell_core::did_you_mean;
/// let known = ["greet", "great", "review"].map(|name| (name, name));
/// assert_eq!(did_you_mean("gret", known).unwrap(), "did you mean `great` or `greet`?");
/// assert_eq!(did_you_mean("zzz", known), None);
/// ```
#[must_use]
pub fn did_you_mean<N: AsRef<str>, S: Display>(
    wrong: &str,
    known: impl IntoIterator<Item = (N, S)>,
) -> Option<String> {
    let wrong = wrong.to_lowercase();
    let mut similar: Vec<(f64, String)> = known
        .into_iter()
        .map(|(name, shown)| (similarity(&wrong, &name.as_ref().to_lowercase()), shown))
        .filter(|(similarity, _)| *similarity >= SIMILAR)
        .map(|(similarity, shown)| (similarity, format!("`{shown}`")))
        .collect();
    similar.sort_by(|(one, a), (other, b)| other.total_cmp(one).then_with(|| a.cmp(b)));
    let mut names: Vec<String> = Vec::new();
    for (_, name) in similar {
        if names.len() < SUGGESTED && !names.contains(&name) {
            names.push(name);
        }
    }
    let last = names.pop()?;
    Some(match names.as_slice() {
        [] => format!("did you mean {last}?"),
        others => format!("did you mean {} or {last}?", others.join(", ")),
    })
}

fn similarity(wrong: &str, name: &str) -> f64 {
    if wrong.chars().nth(2).is_some() && name.contains(wrong) {
        return strsim::normalized_damerau_levenshtein(wrong, name).max(CONTAINED);
    }
    // A script chooses the wrong name, and the distance takes memory in proportion to both lengths. The ratio of the
    // lengths bounds the similarity, so a name that is much longer is refused before its distance is computed.
    let (wrong_length, length) = (wrong.chars().count(), name.chars().count());
    if wrong_length * 3 > length * 5 || length * 3 > wrong_length * 5 {
        return 0.0;
    }
    strsim::normalized_damerau_levenshtein(wrong, name)
}

#[cfg(test)]
mod tests {
    use super::did_you_mean;

    #[test]
    fn the_most_similar_names_are_suggested_first() {
        let cases = [
            ("calculater", "did you mean `calculator`?"),
            ("nmae", "did you mean `name`?"),
            ("NAME", "did you mean `name`?"),
            ("calc", "did you mean `calculator`?"),
            ("reed", "did you mean `read`?"),
            ("tree", "did you mean `tree`, `three` or `free`?"),
            ("xyz", ""),
            ("na", ""),
            ("", ""),
            (&"read".repeat(1 << 20), ""),
        ];
        let known = ["read", "write", "calculator", "name", "free", "tree", "trap", "three", "three"];
        for (wrong, hint) in cases {
            let found = did_you_mean(wrong, known.map(|name| (name, name)));
            assert_eq!(found.unwrap_or_default(), hint, "{wrong}");
        }
    }

    #[test]
    fn a_hint_shows_the_form_that_the_user_writes() {
        assert_eq!(did_you_mean("quite", [("quiet", "--quiet")]).unwrap(), "did you mean `--quiet`?");
    }
}
