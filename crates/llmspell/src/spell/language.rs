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
