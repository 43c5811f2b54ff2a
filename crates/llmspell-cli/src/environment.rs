//! Environment variables, from the process and from `.env` in the working folder.

use std::collections::HashMap;
use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use llmspell::{Error, Result, Retention, RunStore, Source, SqliteStore, parse_size, parse_span};

const FILE: &str = ".env";

/// The process's environment, with `.env` as a fallback: a variable of the process is never overridden.
pub(crate) struct Environment {
    file: HashMap<String, String>,
}

impl Environment {
    /// Reads `.env`, if it exists.
    ///
    /// # Errors
    /// When the file cannot be read or parsed. The error names the line but never shows its content.
    #[expect(clippy::disallowed_methods, reason = "the command's own configuration, not a spell's file")]
    pub(crate) fn load() -> Result<Self> {
        match File::open(FILE) {
            Ok(file) => {
                let text = Source::from_reader(FILE, file).map_err(unreadable)?.text;
                Ok(Self { file: parse(&text)? })
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Self { file: HashMap::new() }),
            Err(error) => {
                Err(unreadable(Error::config(format!("cannot read {FILE}: {error}")).with_source(error)))
            }
        }
    }

    /// Returns the value of a variable.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
    pub(crate) fn get(&self, name: &str) -> Option<String> {
        match std::env::var_os(name) {
            Some(value) => value.into_string().ok(),
            None => self.file.get(name).cloned(),
        }
    }
}

/// Returns a variable of the process's own environment, ignoring `.env`. An empty variable counts as absent.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
pub(crate) fn of_process(name: &str) -> Option<String> {
    std::env::var_os(name)?.into_string().ok().filter(|value| !value.is_empty())
}

/// Returns the folder for the command's persistent state: `XDG_STATE_HOME`, or `.local/state` in the home folder.
///
/// Only the process's environment is used: the state is trusted, but `.env` comes with the folder in which the command
/// runs.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
pub(crate) fn state_folder() -> Option<PathBuf> {
    let named = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from);
    // The XDG specification says to ignore relative paths.
    let state = named.filter(|path| path.is_absolute());
    let state = state.or_else(|| std::env::home_dir().map(|home| home.join(".local/state")));
    state.filter(|path| path.is_absolute()).map(|path| path.join("llmspell"))
}

/// Returns the store of this user's runs.
pub(crate) fn run_store() -> Option<Arc<dyn RunStore>> {
    state_folder().map(|folder| Arc::new(SqliteStore::in_folder(folder.join("runs"))) as _)
}

/// Returns how long runs are kept: `LLMSPELL_KEEP_RUNS`, a time or `forever`, and `LLMSPELL_RUNS_SIZE`, a size or
/// `unlimited`.
///
/// # Errors
/// When one of them is neither.
pub(crate) fn retention() -> Result<Retention> {
    let Retention { age, bytes } = Retention::default();
    Ok(Retention {
        age: bound("LLMSPELL_KEEP_RUNS", "forever", age, parse_span)?,
        bytes: bound("LLMSPELL_RUNS_SIZE", "unlimited", bytes, parse_size)?,
    })
}

fn bound<T>(
    name: &str,
    none: &str,
    default: Option<T>,
    parse: impl Fn(&str) -> Result<T>,
) -> Result<Option<T>> {
    match of_process(name) {
        None => Ok(default),
        Some(text) if text == none => Ok(None),
        Some(text) => parse(&text).map(Some).map_err(|error| error.prefixed(format_args!("{name}: "))),
    }
}

/// Changes to the working folder of the run to resume. The run's paths and its `.env` are relative to it.
///
/// # Errors
/// When the folder no longer exists.
#[expect(
    clippy::disallowed_methods,
    reason = "before anything else has begun, and there is one run a process"
)]
pub(crate) fn work_in(folder: &Path) -> Result<()> {
    std::env::set_current_dir(folder).map_err(|error| {
        Error::config(format!("cannot work in {}: {error}", folder.display())).with_source(error)
    })
}

/// Returns the folder for relative paths on the command line.
///
/// # Errors
/// When the folder no longer exists.
#[expect(clippy::disallowed_methods, reason = "the one place that asks for it")]
pub(crate) fn working_folder() -> Result<PathBuf> {
    std::env::current_dir()
        .map_err(|error| Error::config(format!("there is no working folder: {error}")).with_source(error))
}

fn unreadable(error: Error) -> Error {
    error.hint(format!(
        "make {FILE} a text file that you may read, or remove it: settings may come from the environment"
    ))
}

fn parse(text: &str) -> Result<HashMap<String, String>> {
    let text = text.trim_start_matches('\u{feff}');
    dotenvy::Iter::new(text.as_bytes()).collect::<Result<_, _>>().map_err(|error| {
        // The parser's error contains the statement or its value; the statement's first line ends with it.
        let line = match &error {
            dotenvy::Error::LineParse(wrong, _) => wrong.lines().next().map(str::trim).and_then(|wrong| {
                text.lines()
                    .position(|line| !line.trim_start().starts_with('#') && line.trim().ends_with(wrong))
            }),
            _ => None,
        };
        let place = line.map(|line| format!(", line {}", line + 1)).unwrap_or_default();
        // The line may contain a key, so the parser's error is not shown.
        Error::config(format!("{FILE}{place}: expected NAME=value"))
            .hint("put a value with spaces, quotes or `#` between single quotes")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_names_and_values_is_read() {
        let read = parse("# keys\nexport A=1\nB='two words'\n\nC=\"x\\ny\"\n").unwrap();
        let found = |name: &str| read.get(name).map(String::as_str);
        assert_eq!((found("A"), found("B"), found("C")), (Some("1"), Some("two words"), Some("x\ny")));
    }

    #[test]
    fn a_wrong_line_is_told_by_its_number_and_not_shown() {
        for (text, message) in [
            ("A=1\n\nOPENAI_API_KEY sk-secret\n", ".env, line 3: expected NAME=value"),
            ("KEY=a sk-secret\n", ".env, line 1: expected NAME=value"),
            ("A=1\nB='sk-secret\n", ".env, line 2: expected NAME=value"),
        ] {
            let error = parse(text).unwrap_err();
            assert_eq!(error.message(), message);
            assert!(error.is_config() && error.hints().iter().all(|hint| !hint.contains("secret")));
        }
    }
}
