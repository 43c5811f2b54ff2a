//! The choice between a spell's entry scripts in different languages.

use std::path::Path;

use clap::{Args, ValueEnum};
use llmspell::{Language, Result, Spell};

/// The choice of the entry script.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct EntryArgs {
    /// The language of the entry script, if the spell's folder has several; by default the manifest's entry, or
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
    /// Loads the spell at this path, with the chosen entry script.
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

/// Loads the spell at this path with the entry script that gives this digest. If none does, the default entry is used.
pub(crate) fn entry_of(path: &Path, digest: &str) -> Result<Spell> {
    let spell = Spell::load(path)?;
    let is_it = |spell: &Spell| spell.digest().is_ok_and(|found| found == digest);
    if is_it(&spell) {
        return Ok(spell);
    }
    let others = Language::ALL.into_iter().filter_map(|language| Spell::load_in(path, language).ok());
    Ok(others.into_iter().find(is_it).unwrap_or(spell))
}
