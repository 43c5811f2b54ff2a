//! Hints for unknown names.

use llmspell_core::did_you_mean;

/// The maximum number of names that a hint lists.
const LISTED: usize = 20;

/// Returns a hint: the known names most similar to a wrong one, or a list of the known names.
pub(crate) fn near<'a>(wrong: &str, known: impl Iterator<Item = &'a str>) -> String {
    let known: Vec<_> = known.collect();
    if let Some(hint) = did_you_mean(wrong, known.iter().map(|name| (name, name))) {
        return hint;
    }
    if known.is_empty() {
        return "there is none".to_owned();
    }
    let more = known.len().saturating_sub(LISTED);
    let listed: Vec<_> = known.iter().take(LISTED).map(|name| format!("`{name}`")).collect();
    let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("there are {}{rest}", listed.join(", "))
}

#[cfg(test)]
mod tests {
    use super::near;

    #[test]
    fn a_slip_is_met_with_the_name_that_was_meant() {
        let known = ["calculator", "web_fetch"];
        assert_eq!(near("calculater", known.into_iter()), "did you mean `calculator`?");
        assert_eq!(near("xyz", known.into_iter()), "there are `calculator`, `web_fetch`");
        assert_eq!(near("xyz", [].into_iter()), "there is none");
    }
}
