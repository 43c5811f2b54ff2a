//! A spell's own folder, opened once: every file in it is opened beneath that handle.

use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use llmspell_core::capability::Modules;
use llmspell_core::{Error, MAX_SOURCE, Result};

use super::{ENTRIES, Language, MANIFEST, Manifest};

/// What an entry script is called before its extension, where the manifest does not say.
const MAIN: &str = "main";

#[derive(Debug)]
pub(crate) struct Folder {
    pub(crate) dir: Dir,
    path: PathBuf,
}

impl Folder {
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let dir = Dir::open_ambient_dir(path, ambient_authority()).map_err(|error| {
            Error::load(format!("cannot open {}: {error}", path.display())).with_source(error)
        })?;
        Ok(Self { dir, path: path.to_owned() })
    }

    /// The text of a regular file in the folder; `None` when there is none, or when the path leads outside.
    pub(crate) fn text(&self, path: &str) -> Result<Option<String>> {
        let shown = || self.path.join(path).display().to_string();
        // Looked at before it is opened: opening a FIFO would wait for a writer.
        match self.dir.metadata(path) {
            Ok(metadata) if metadata.is_file() => {}
            _ => return Ok(None),
        }
        let failed = |error: std::io::Error| {
            Error::load(format!("cannot read {}: {error}", shown())).with_source(error)
        };
        let file = match self.dir.open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        let mut bytes = Vec::new();
        file.take(MAX_SOURCE + 1).read_to_end(&mut bytes).map_err(failed)?;
        if bytes.len() as u64 > MAX_SOURCE {
            return Err(Error::load(format!("{} is larger than {} MB", shown(), MAX_SOURCE >> 20)));
        }
        let text = String::from_utf8(bytes).map_err(|error| {
            Error::load(format!(
                "{} is not UTF-8 text, from byte {}",
                shown(),
                error.utf8_error().valid_up_to()
            ))
        })?;
        Ok(Some(text))
    }

    /// Refuses a path in the folder that a link leads out of it.
    ///
    /// # Errors
    /// When it does; the error names the path.
    pub(super) fn refuse_outside(&self, path: &Path) -> Result<()> {
        match self.dir.metadata(path) {
            Err(error) if error.kind() == ErrorKind::PermissionDenied => Err(Error::config(format!(
                "`{}` does not stay inside the spell's folder: a link leads out of it",
                path.display()
            ))
            .with_source(error)),
            // What is not there yet may be made.
            _ => Ok(()),
        }
    }

    /// Whether a file has a second name, which may be outside of the folder.
    #[cfg(unix)]
    fn is_linked(&self, path: &str) -> bool {
        use cap_std::fs::MetadataExt;
        self.dir.metadata(path).is_ok_and(|metadata| metadata.nlink() > 1)
    }

    /// Whether a file has a second name; not to be told here.
    #[cfg(not(unix))]
    fn is_linked(&self, _: &str) -> bool {
        false
    }

    /// The entry script: the manifest's, or the first of the usual names; in a language, if one is asked for.
    pub(crate) fn entry(
        &self,
        manifest: &Manifest,
        dir: &Path,
        language: Option<Language>,
    ) -> Result<String> {
        if let Some(language) = language {
            return self.entry_in(language, manifest, dir);
        }
        if let Some(entry) = &manifest.entry {
            return Ok(entry.clone());
        }
        let found = ENTRIES.into_iter().find(|name| self.has(name));
        found.map(str::to_owned).ok_or_else(|| {
            Error::load(format!("{} is not a spell: it has no entry script", dir.display()))
                .hint(format!("add one of {}, or name it as `entry` in {MANIFEST}", ENTRIES.join(", ")))
        })
    }

    /// The entry in a language: named as the manifest's, or `main`, but for its extension.
    fn entry_in(&self, language: Language, manifest: &Manifest, dir: &Path) -> Result<String> {
        let named = Path::new(manifest.entry.as_deref().unwrap_or(MAIN));
        let there = |language: Language| {
            let names = language.extensions().map(|extension| named.with_extension(extension));
            names.into_iter().filter_map(|name| name.to_str().map(str::to_owned)).find(|name| self.has(name))
        };
        there(language).ok_or_else(|| {
            let language = language.name();
            let error = Error::load(format!("{} has no entry script in {language}", dir.display()));
            let others: Vec<String> = Language::ALL.into_iter().filter_map(there).collect();
            if others.is_empty() { error } else { error.hint(format!("it has {}", others.join(" and "))) }
        })
    }

    fn has(&self, path: &str) -> bool {
        self.dir.metadata(path).is_ok_and(|found| found.is_file())
    }
}

impl Modules for Folder {
    fn read(&self, path: &str) -> Result<Option<String>> {
        if self.is_linked(path) { Ok(None) } else { self.text(path) }
    }
}

/// The error for a spell that is not there, with the nearest names beside it.
pub(super) fn missing(path: &Path, dir: &Path) -> Error {
    if path.exists() {
        return Error::load(format!("{} is neither a folder nor a regular file", path.display()))
            .hint("a spell is a folder with a main script, or a script file");
    }
    let error = Error::load(format!("there is no spell at {}", path.display()));
    let wanted = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let Ok(dir) = Dir::open_ambient_dir(dir, ambient_authority()) else {
        return error.hint("a spell is a folder with a main script, or a script file");
    };
    let mut near: Vec<(f64, String)> = dir
        .entries()
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .map(|name| (strsim::jaro_winkler(&wanted, &name), name))
        .filter(|(likeness, _)| *likeness > 0.75)
        .collect();
    near.sort_by(|a, b| b.0.total_cmp(&a.0));
    match near.first() {
        Some((_, name)) => error.hint(format!("did you mean {}?", path.with_file_name(name).display())),
        None => error.hint("a spell is a folder with a main script, or a script file"),
    }
}
