//! The languages of entry scripts, with their file extensions.

/// The language of an entry script. A spell's folder may have one entry script for each language.
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
    /// All languages.
    pub const ALL: [Self; 3] = [Self::Luau, Self::TypeScript, Self::JavaScript];

    /// Returns the name for users.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Luau => "Luau",
            Self::TypeScript => "TypeScript",
            Self::JavaScript => "JavaScript",
        }
    }

    /// Returns the file extensions, the usual one first.
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
