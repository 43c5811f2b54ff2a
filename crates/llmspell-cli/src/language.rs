//! Which of a spell's entry scripts is meant.

use std::path::Path;

use clap::{Args, ValueEnum};
use llmspell::{Language, Result, Spell};

/// Which entry script to take.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct EntryArgs {
    /// The language of the entry script, where the spell's folder has one in several; else it is the manifest's, or
    /// main.luau
    #[arg(long, value_enum)]
    lang: Option<Lang>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Lang {
    Luau,
    Ts,
    Js,
}

impl EntryArgs {
    /// Loads the spell at this path.
    pub(crate) fn load(self, path: &Path) -> Result<Spell> {
        let language = match self.lang {
            None => return Spell::load(path),
            Some(Lang::Luau) => Language::Luau,
            Some(Lang::Ts) => Language::TypeScript,
            Some(Lang::Js) => Language::JavaScript,
        };
        Spell::load_in(path, language)
    }
}

/// The spell at this path with the entry that makes it this version, if there is one, and else with its usual one.
pub(crate) fn entry_of(path: &Path, digest: &str) -> Result<Spell> {
    let spell = Spell::load(path)?;
    let is_it = |spell: &Spell| spell.digest().is_ok_and(|found| found == digest);
    if is_it(&spell) {
        return Ok(spell);
    }
    let others = Language::ALL.into_iter().filter_map(|language| Spell::load_in(path, language).ok());
    Ok(others.into_iter().find(is_it).unwrap_or(spell))
}
