//! The languages of entry scripts.

/// A language that an entry script may be written in. A spell's folder may hold one in each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// `main.luau`.
    Luau,
    /// `main.ts`.
    TypeScript,
    /// `main.js`.
    JavaScript,
}

impl Language {
    /// All there are.
    pub const ALL: [Self; 3] = [Self::Luau, Self::TypeScript, Self::JavaScript];

    /// Its name, for people.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Luau => "Luau",
            Self::TypeScript => "TypeScript",
            Self::JavaScript => "JavaScript",
        }
    }

    /// What its files end in, the usual first.
    pub(super) fn extensions(self) -> [&'static str; 2] {
        match self {
            Self::Luau => ["luau", "lua"],
            Self::TypeScript => ["ts", "mts"],
            Self::JavaScript => ["js", "mjs"],
        }
    }
}

#[cfg(all(test, feature = "js", feature = "luau"))]
mod tests {
    use super::*;

    #[test]
    fn the_extensions_of_the_languages_are_those_of_the_engines() {
        let mut ours: Vec<_> = Language::ALL.into_iter().flat_map(Language::extensions).collect();
        let engines = llmspell_engines::ENGINES.iter();
        let mut theirs: Vec<_> = engines.flat_map(|(engine, _)| engine.extensions).copied().collect();
        ours.sort_unstable();
        theirs.sort_unstable();
        assert_eq!(ours, theirs);
    }
}
