//! Spells: an entry script, the folder around it and the manifest `spell.yaml`.
//!
//! [`Spell::load`] opens the folder once, reads the manifest and the entry script, and keeps both as they were read.
//! The other scripts of the folder are modules. They are read when the script loads them, and each one is compared with
//! the version that the user approved (`modules.rs`).
//!
//! A `Spell` grants nothing. [`Spell::asked`] is what the manifest asks for; the permissions of a run come from the
//! program that starts it.

mod asked;
mod digest;
mod folder;
mod manifest;
mod modules;
mod params;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use llmspell_core::{EngineDescriptor, Error, ErrorKind, Language, Map, Permissions, Result, Source};

pub(crate) use folder::Folder;
pub use manifest::{Manifest, parse_size, parse_span};
pub(crate) use modules::{ModuleDigests, SpellModules, change};
pub use params::{ParamSpec, ParamType};

const MANIFEST: &str = "spell.yaml";

/// A loaded spell: its manifest, its entry script and its folder.
#[derive(Debug, Clone)]
pub struct Spell {
    manifest: Manifest,
    /// The manifest as it was read; empty if the folder has none. `None` for a lone script, which does not own its
    /// folder.
    manifest_text: Option<Arc<str>>,
    asked: Permissions,
    name: String,
    source: Arc<Source>,
    dir: Option<PathBuf>,
    /// The path that the spell was loaded from.
    origin: Option<PathBuf>,
    folder: Option<Arc<Folder>>,
    /// The digests that modules must have when a run is resumed.
    pinned: ModuleDigests,
}

impl Spell {
    /// Creates a spell from the text of a script. The extension in `name` chooses the engine.
    ///
    /// # Errors
    /// When the name has no extension.
    pub fn from_source(name: &str, text: impl Into<String>) -> Result<Self> {
        if extension(name).is_none() {
            return Err(Error::load(format!("`{name}` has no extension to choose an engine by")));
        }
        Ok(Self {
            manifest: Manifest::default(),
            manifest_text: None,
            asked: Permissions::default(),
            name: stem(Path::new(name)),
            source: Arc::new(Source::new(name, text)),
            dir: None,
            origin: None,
            folder: None,
            pinned: ModuleDigests::new(),
        })
    }

    /// Creates a spell without a script, for a session that is given its code line by line.
    pub(crate) fn blank(engine: &str) -> Self {
        Self {
            manifest: Manifest { engine: Some(engine.to_owned()), ..Manifest::default() },
            manifest_text: None,
            asked: Permissions::default(),
            name: "live".to_owned(),
            source: Arc::new(Source::new("live", "")),
            dir: None,
            origin: None,
            folder: None,
            pinned: ModuleDigests::new(),
        }
    }

    /// Loads a spell from its folder, or from a lone script file. It knows the engines of this build;
    /// [`Runtime::load`](crate::Runtime::load) knows those of a runtime.
    ///
    /// # Errors
    /// When the spell does not exist, its manifest is invalid, or its entry script cannot be read. The error suggests
    /// similar names.
    pub fn load(path: &Path) -> Result<Self> {
        Self::load_with(&built_in_engines(), path, None)
    }

    /// Loads a spell from its folder, with the entry script in this language: `main.ts` instead of `main.luau`, or the
    /// manifest's entry with another extension. The language is given by its name or by one of its extensions.
    ///
    /// # Errors
    /// Like [`load`](Self::load); also when there is no such language or no such entry, or when the spell is a lone
    /// script in another language.
    pub fn load_in(path: &Path, language: &str) -> Result<Self> {
        Self::load_with(&built_in_engines(), path, Some(language))
    }

    /// Loads a spell with the languages of these engines.
    pub(crate) fn load_with(
        engines: &[EngineDescriptor],
        path: &Path,
        language: Option<&str>,
    ) -> Result<Self> {
        let language = language.map(|key| find_language(engines, key)).transpose()?;
        Self::read(engines, path, language)
    }

    fn read(engines: &[EngineDescriptor], path: &Path, language: Option<&Language>) -> Result<Self> {
        let (dir, entry) = if path.is_dir() { (path, None) } else { split(path)? };
        let mut folder = Folder::open(dir, extensions(engines))?;
        let manifest_text = match entry {
            None => Some(folder.text(MANIFEST)?.unwrap_or_default()),
            Some(_) => None,
        };
        let in_manifest = |error: Error| error.prefixed(format_args!("{}: ", dir.join(MANIFEST).display()));
        let mut manifest =
            Manifest::parse(manifest_text.as_deref().unwrap_or_default()).map_err(in_manifest)?;
        for (key, path) in asked::relative(&manifest.permissions) {
            let named = |error: Error| in_manifest(error.prefixed(format_args!("`permissions.{key}`: ")));
            folder.refuse_outside(path).map_err(named)?;
        }
        let root = std::path::absolute(dir).map_err(|error| {
            Error::load(format!("cannot tell where {} is: {error}", dir.display())).with_source(error)
        })?;
        let asked = manifest.permissions.clone().beneath(&root);
        let entry = match entry {
            Some(entry)
                if language.is_some_and(|it| !extension(entry).is_some_and(|e| it.has_extension(e))) =>
            {
                let language = language.map_or("", |language| &language.name);
                return Err(Error::load(format!("{} is not written in {language}", path.display())));
            }
            Some(entry) => entry.to_owned(),
            None => folder.entry(&manifest, dir, language, engines)?,
        };
        if language.is_some() {
            // The manifest's engine belongs to the entry that was not chosen.
            manifest.engine = None;
        }
        let Some(text) = folder.text(&entry)? else {
            return Err(Error::load(format!("there is no {}", dir.join(&entry).display()))
                .hint(format!("`entry` in {MANIFEST} names a file inside the spell's folder")));
        };
        folder.add_extension_of(&entry);
        let name = manifest.name.clone().unwrap_or_else(|| stem(path));
        let source = Source::from_reader(entry, text.as_bytes())?;
        Ok(Self {
            manifest,
            manifest_text: manifest_text.map(Into::into),
            asked,
            name,
            source: Arc::new(source),
            dir: Some(dir.to_owned()),
            origin: Some(path.to_owned()),
            folder: Some(Arc::new(folder)),
            pinned: ModuleDigests::new(),
        })
    }

    /// Makes a spell of another script in the same folder. It asks for no permissions, and its extension chooses the
    /// engine.
    pub(crate) fn beside(&self, script: &str, text: String) -> Self {
        Self {
            manifest: Manifest::default(),
            asked: Permissions::default(),
            source: Arc::new(Source::new(script, text)),
            ..self.clone()
        }
    }

    /// Whether the spell is a folder, and not a lone script.
    pub(crate) fn has_own_folder(&self) -> bool {
        self.manifest_text.is_some()
    }

    /// Returns the open folder.
    pub(crate) fn folder(&self) -> Option<&Arc<Folder>> {
        self.folder.as_ref()
    }

    /// Returns the name: the manifest's, or else that of the file or folder.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the manifest.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Returns the permissions that the manifest asks for. Relative paths are made absolute, starting
    /// at the spell's folder.
    ///
    /// To grant all of them, pass them to [`RunBuilder::permissions`](crate::RunBuilder::permissions).
    #[must_use]
    pub fn asked(&self) -> &Permissions {
        &self.asked
    }

    /// Returns the SHA-256, as 64 hexadecimal digits, of everything that the spell can run: its manifest and its entry
    /// as they were loaded, and every script in its folder. For a lone script it covers the script alone.
    ///
    /// A user who trusts a spell trusts one version of it, and the digest tells versions apart. The first call reads
    /// the folder. From then on, this spell and its clones load modules only as they were at that time. A module that
    /// was changed, created or removed later is an error.
    ///
    /// ```
    /// use llmspell::Spell;
    /// let digest = |text| Spell::from_source("greet.luau", text)?.digest();
    /// assert_eq!(digest("print('hello')")?, digest("print('hello')")?);
    /// assert_ne!(digest("print('hello')")?, digest("print('Hello')")?);
    /// # Ok::<(), llmspell::Error>(())
    /// ```
    ///
    /// # Errors
    /// When the folder cannot be read, or holds more than 50,000 files or 64 MB of scripts.
    pub fn digest(&self) -> Result<String> {
        digest::digest(self)
    }

    /// Returns the entry script, which runs first.
    #[must_use]
    pub fn source(&self) -> &Source {
        &self.source
    }

    pub(crate) fn shared_source(&self) -> Arc<Source> {
        Arc::clone(&self.source)
    }

    /// Returns the spell's folder, or the folder of a lone script.
    #[must_use]
    pub fn dir(&self) -> Option<&Path> {
        self.dir.as_deref()
    }

    /// Returns the path that the spell was loaded from: a folder or a script.
    pub(crate) fn origin(&self) -> Option<&Path> {
        self.origin.as_deref()
    }

    /// Returns the extension of the entry script, which chooses the engine if the manifest does not.
    #[must_use]
    pub fn extension(&self) -> &str {
        extension(&self.source.name).unwrap_or_default()
    }

    /// Checks parameters against the manifest, converts those given as text to their types, and fills in defaults.
    ///
    /// # Errors
    /// When a parameter is missing, unknown or invalid. The error names it and what is expected.
    pub fn params(&self, given: Map) -> Result<Map> {
        params::check(&self.manifest.parameters, given)
    }

    /// Returns the modules for one run, checked against the expected digests.
    pub(crate) fn modules(&self) -> Option<Arc<SpellModules>> {
        let folder = Arc::clone(self.folder.as_ref()?);
        let mut expected = self.pinned.clone();
        expected.insert(self.source.name.clone(), Some(digest::sha256(self.source.text.as_bytes())));
        Some(Arc::new(SpellModules::new(folder, expected)))
    }

    /// Returns the SHA-256 of a module's current content, or `None` if the module does not exist.
    pub(crate) fn module_digest(&self, path: &str) -> Result<Option<String>> {
        let content = self.folder.as_ref().map(|folder| folder.module(path)).transpose()?;
        Ok(content.flatten().map(|content| digest::sha256(&content)))
    }

    /// Returns the same spell, which loads these modules only with these digests.
    pub(crate) fn pinned_to(self, modules: ModuleDigests) -> Self {
        Self { pinned: modules, ..self }
    }
}

/// Returns the descriptors of the engines in this build.
#[must_use]
pub fn built_in_engines() -> Vec<EngineDescriptor> {
    llmspell_engines::ENGINES.iter().map(|(descriptor, _)| descriptor()).collect()
}

/// Returns the languages of these engines, in the order in which a folder's entry script is looked up.
fn languages(engines: &[EngineDescriptor]) -> impl Iterator<Item = &Language> {
    engines.iter().flat_map(|engine| &engine.languages)
}

/// Returns the file extensions of these engines.
fn extensions(engines: &[EngineDescriptor]) -> Vec<String> {
    languages(engines).flat_map(|language| language.extensions.clone()).collect()
}

fn find_language<'a>(engines: &'a [EngineDescriptor], key: &str) -> Result<&'a Language> {
    languages(engines).find(|language| language.is_named(key)).ok_or_else(|| {
        let known: Vec<String> = languages(engines).map(Language::to_string).collect();
        Error::new(ErrorKind::NotFound, format!("there is no language `{key}`"))
            .hint(format!("the languages are {}", known.join(", ")))
    })
}

fn extension(name: &str) -> Option<&str> {
    Path::new(name).extension().and_then(|extension| extension.to_str())
}

fn stem(path: &Path) -> String {
    path.file_stem().map_or_else(|| "spell".to_owned(), |stem| stem.to_string_lossy().into_owned())
}

/// Splits the path of a script into its folder and its file name.
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
