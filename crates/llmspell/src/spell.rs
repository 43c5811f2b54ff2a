//! A spell: a script, and the manifest that says what it is.

mod folder;
mod manifest;
mod params;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use llmspell_core::capability::Modules;
use llmspell_core::{Error, Map, Result, Source};

pub(crate) use folder::Folder;
pub use manifest::{LimitsAsked, Manifest, parse_size, parse_span};
pub use params::{ParamSpec, ParamType};

/// Entry files in the order in which they are looked for.
const ENTRIES: [&str; 5] = ["main.luau", "main.lua", "main.ts", "main.js", "main.mjs"];
const MANIFEST: &str = "spell.yaml";

/// A spell that is ready to run: its manifest, its entry script and its folder.
#[derive(Debug, Clone)]
pub struct Spell {
    manifest: Manifest,
    name: String,
    source: Source,
    dir: Option<PathBuf>,
    /// The path it was loaded from.
    origin: Option<PathBuf>,
    folder: Option<Arc<Folder>>,
}

impl Spell {
    /// A spell from a script's text. The name's extension chooses the engine.
    ///
    /// # Errors
    /// When the name has no extension.
    pub fn from_source(name: &str, text: impl Into<String>) -> Result<Self> {
        if extension(name).is_none() {
            return Err(Error::load(format!("`{name}` has no extension to choose an engine by")));
        }
        Ok(Self {
            manifest: Manifest::default(),
            name: stem(Path::new(name)),
            source: Source::new(name, text),
            dir: None,
            origin: None,
            folder: None,
        })
    }

    /// A spell without a script, for a VM that is fed piece by piece.
    pub(crate) fn blank(engine: &str) -> Self {
        Self {
            manifest: Manifest { engine: Some(engine.to_owned()), ..Manifest::default() },
            name: "live".to_owned(),
            source: Source::new("live", ""),
            dir: None,
            origin: None,
            folder: None,
        }
    }

    /// Loads a spell from its folder, or from a lone script file.
    ///
    /// # Errors
    /// When there is none, its manifest is wrong, or its entry cannot be read. The error names near ones.
    pub fn load(path: &Path) -> Result<Self> {
        let (dir, entry) = if path.is_dir() { (path, None) } else { split(path)? };
        let folder = Folder::open(dir)?;
        let manifest = match (entry, folder.text(MANIFEST)?) {
            (None, Some(text)) => Manifest::parse(&text)
                .map_err(|error| error.prefixed(format_args!("{}: ", dir.join(MANIFEST).display())))?,
            _ => Manifest::default(),
        };
        let entry = match entry {
            Some(entry) => entry.to_owned(),
            None => folder.entry(&manifest, dir)?,
        };
        let Some(text) = folder.text(&entry)? else {
            return Err(Error::load(format!("there is no {}", dir.join(&entry).display()))
                .hint(format!("`entry` in {MANIFEST} names a file inside the spell's folder")));
        };
        let name = manifest.name.clone().unwrap_or_else(|| stem(path));
        let source = Source::from_reader(entry, text.as_bytes())?;
        let (dir, origin) = (Some(dir.to_owned()), Some(path.to_owned()));
        Ok(Self { manifest, name, source, dir, origin, folder: Some(Arc::new(folder)) })
    }

    /// Its name: the manifest's, or the file's or folder's.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it says of itself.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The script that runs first.
    #[must_use]
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// Its folder, when it has one.
    #[must_use]
    pub fn dir(&self) -> Option<&Path> {
        self.dir.as_deref()
    }

    /// The path it was loaded from: its folder's, or the script's.
    pub(crate) fn origin(&self) -> Option<&Path> {
        self.origin.as_deref()
    }

    /// The extension of its entry, which chooses the engine where the manifest does not.
    #[must_use]
    pub fn extension(&self) -> &str {
        extension(&self.source.name).unwrap_or_default()
    }

    /// Checks parameters against the manifest, types the ones that came as text, and fills in defaults.
    ///
    /// # Errors
    /// When one is missing, unknown or wrong; the error names it and what is expected.
    pub fn params(&self, given: Map) -> Result<Map> {
        params::check(&self.manifest.parameters, given)
    }

    pub(crate) fn modules(&self) -> Option<Arc<dyn Modules>> {
        self.folder.clone().map(|folder| folder as Arc<dyn Modules>)
    }
}

fn extension(name: &str) -> Option<&str> {
    Path::new(name).extension().and_then(|extension| extension.to_str())
}

fn stem(path: &Path) -> String {
    path.file_stem().map_or_else(|| "spell".to_owned(), |stem| stem.to_string_lossy().into_owned())
}

/// The folder and the file name of a script's path.
fn split(path: &Path) -> Result<(&Path, Option<&str>)> {
    let file = path.file_name().and_then(|name| name.to_str());
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match file {
        Some(file) if path.is_file() => Ok((dir, Some(file))),
        _ => Err(folder::missing(path, dir)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_without_extension_has_no_engine() {
        assert!(Spell::from_source("greet", "").unwrap_err().is_load());
        assert_eq!(Spell::from_source("greet.luau", "").unwrap().name(), "greet");
    }
}
