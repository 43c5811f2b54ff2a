//! The choice between a spell's entry scripts in different languages.

use std::path::Path;

use clap::Args;
use clap::builder::{PossibleValue, PossibleValuesParser};
use llmspell::{Language, Result, Spell, built_in_engines};

/// The choice of the entry script.
#[derive(Debug, Clone, Args)]
pub(crate) struct EntryArgs {
    /// The language of the entry script, if the spell's folder has several; by default the manifest's entry, or
    /// main.luau
    #[arg(long, value_parser = PossibleValuesParser::new(languages().iter().map(names)), ignore_case = true)]
    lang: Option<String>,
}

/// Returns the languages of this build.
fn languages() -> Vec<Language> {
    built_in_engines().into_iter().flat_map(|engine| engine.languages).collect()
}

/// Returns the names of a language on the command line. The usual extension is the one that the help shows.
fn names(language: &Language) -> PossibleValue {
    let mut extensions = language.extensions.iter();
    let usual = extensions.next().unwrap_or(&language.name);
    PossibleValue::new(usual).alias(language.name.to_lowercase()).aliases(extensions)
}

impl EntryArgs {
    /// Loads the spell at this path, with the chosen entry script.
    pub(crate) fn load(&self, path: &Path) -> Result<Spell> {
        match &self.lang {
            None => Spell::load(path),
            Some(language) => Spell::load_in(path, language),
        }
    }
}

/// Loads the spell at this path with the entry script that gives this digest. If none does, the default entry is used.
pub(crate) fn entry_of(path: &Path, digest: &str) -> Result<Spell> {
    let spell = Spell::load(path)?;
    let is_it = |spell: &Spell| spell.digest().is_ok_and(|found| found == digest);
    if is_it(&spell) {
        return Ok(spell);
    }
    let others = languages().into_iter().filter_map(|language| Spell::load_in(path, &language.name).ok());
    Ok(others.into_iter().find(is_it).unwrap_or(spell))
}
