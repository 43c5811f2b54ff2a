//! Parameters from the command line and from a file. They are data and never become source code.

use std::fs::File;
use std::path::Path;

use llmspell::{Error, Map, Result, Source, Spell, Value, did_you_mean};

use super::run_flags;

/// Collects the parameters from the file, the `--param` flags and the words after the spell. Later ones win.
pub(super) fn gather(spell: &Spell, file: Option<&Path>, flags: &[String], words: &[String]) -> Result<Map> {
    let mut params = match file {
        Some(file) => read(file)?,
        None => Map::new(),
    };
    for flag in flags {
        let (name, value) = pair(flag).ok_or_else(|| wrong_word(flag))?;
        params.insert(name.to_owned(), value.into());
    }
    let declared: Vec<&str> = spell.manifest().parameters.iter().map(|spec| spec.name.as_str()).collect();
    // Report an unknown flag before the words next to it: in `--url x`, the `x` is not a second mistake.
    if let Some(flag) = words.iter().find(|word| word.starts_with('-') && !word.contains('=')) {
        return Err(unknown_flag(flag, &declared));
    }
    for word in words {
        let (name, value) = match word.strip_prefix('-') {
            None => pair(word).ok_or_else(|| wrong_word(word))?,
            Some(rest) => rest
                .strip_prefix('-')
                .and_then(pair)
                .filter(|(name, _)| declared.is_empty() || declared.contains(name))
                .ok_or_else(|| unknown_flag(word, &declared))?,
        };
        params.insert(name.to_owned(), value.into());
    }
    Ok(params)
}

/// Adds a hint about the first unknown flag to the error that there is no spell: the word after it may have been taken
/// for the spell.
pub(super) fn blame_flag(error: Error, words: &[String]) -> Error {
    match words.iter().find(|word| word.starts_with('-') && !word.contains('=')) {
        Some(flag) => error.hint(format!("there is no flag `{flag}`")),
        None => error,
    }
}

/// Splits `name=value`.
fn pair(text: &str) -> Option<(&str, &str)> {
    text.split_once('=').filter(|(name, _)| !name.is_empty())
}

fn wrong_word(word: &str) -> Error {
    Error::config(format!("expected name=value for a parameter, found `{word}`"))
}

#[expect(clippy::disallowed_methods, reason = "a file that the user names on the command line")]
fn read(path: &Path) -> Result<Map> {
    let shown = path.display().to_string();
    let file = File::open(path)
        .map_err(|error| Error::config(format!("cannot read {shown}: {error}")).with_source(error))?;
    let text = Source::from_reader(shown.as_str(), file)?.text;
    match serde_json::from_str(&text) {
        Ok(Value::Map(params)) => Ok(params),
        Ok(other) => {
            Err(Error::config(format!("{shown}: expected a JSON object, found {}", other.type_name())))
        }
        Err(error) => Err(Error::config(format!("{shown}: {error}")).with_source(error)),
    }
}

/// Returns the error for a `--something` that is neither a flag nor a parameter. It suggests the most similar one.
fn unknown_flag(word: &str, declared: &[&str]) -> Error {
    let (flag, value) = word.split_once('=').map_or((word, None), |(flag, value)| (flag, Some(value)));
    let name = flag.trim_start_matches('-');
    if value.is_none() && declared.contains(&name) {
        return Error::config(format!("the parameter `{name}` has no value"))
            .hint(format!("write {name}=value"));
    }
    let error = Error::config(format!("there is no flag or parameter `{flag}`"));
    let flags = run_flags();
    let flags = flags.iter().map(|flag| (flag.as_str(), format!("--{flag}")));
    let known = declared.iter().map(|name| (*name, format!("{name}=…"))).chain(flags);
    let error = match did_you_mean(name, known) {
        Some(hint) => error.hint(hint),
        None => error,
    };
    match declared {
        [] if value.is_none() => error.hint(format!("a parameter is given as {name}=value")),
        [] => error,
        declared => error.hint(format!("the spell's parameters are {}", declared.join(", "))),
    }
}
