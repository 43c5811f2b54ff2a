//! The folder of a spell. It is opened once, and every file in it is opened through that handle.
//!
//! Paths that lead out of the folder, also through links, count as missing. Only regular files are read. A module must
//! have exactly one name, because a second hard link may lie outside of the folder.

use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use cap_fs_ext::{MetadataExt as _, OpenOptionsSyncExt as _};
use cap_std::ambient_authority;
use cap_std::fs::{Dir, File, Metadata, OpenOptions};
use llmspell_core::{EngineDescriptor, Error, Language, MAX_SOURCE, Result, did_you_mean};

use super::digest::Snapshot;
use super::{MANIFEST, Manifest, extension, languages};

/// The name of the entry script without its extension, if the manifest does not name one.
const MAIN: &str = "main";

#[derive(Debug)]
pub(crate) struct Folder {
    pub(crate) dir: Dir,
    path: PathBuf,
    /// The extensions of the files that engines load.
    extensions: Vec<String>,
    snapshot: OnceLock<Result<Snapshot>>,
}

impl Folder {
    pub(super) fn open(path: &Path, extensions: Vec<String>) -> Result<Self> {
        let dir = Dir::open_ambient_dir(path, ambient_authority()).map_err(|error| {
            Error::load(format!("cannot open {}: {error}", path.display())).with_source(error)
        })?;
        Ok(Self { dir, path: path.to_owned(), extensions, snapshot: OnceLock::new() })
    }

    /// Makes files with the extension of this script loadable, as the script itself is.
    pub(super) fn add_extension_of(&mut self, script: &str) {
        if !self.is_loadable(script) {
            self.extensions.extend(extension(script).map(str::to_owned));
        }
    }

    /// Whether an engine may load a file with this name. Case is ignored, since some file systems ignore it.
    pub(super) fn is_loadable(&self, path: &str) -> bool {
        extension(path).is_some_and(|it| self.extensions.iter().any(|known| known.eq_ignore_ascii_case(it)))
    }

    /// Returns the loadable content of the folder, as it was at the first call.
    ///
    /// # Errors
    /// When the folder cannot be read, or is too large.
    pub(super) fn snapshot(&self) -> Result<&Snapshot> {
        self.snapshot.get_or_init(|| Snapshot::take(self)).as_ref().map_err(Clone::clone)
    }

    /// Returns the snapshot if one was taken.
    pub(super) fn taken_snapshot(&self) -> Option<&Snapshot> {
        self.snapshot.get()?.as_ref().ok()
    }

    /// Returns a path in the folder as the user knows it.
    pub(super) fn shown(&self, path: &str) -> String {
        self.path.join(path).display().to_string()
    }

    /// Returns the text of a regular file in the folder. `None` means that it does not exist or that its path leads
    /// outside.
    pub(crate) fn text(&self, path: &str) -> Result<Option<String>> {
        let Some((file, _)) = self.open_file(path)? else { return Ok(None) };
        self.content(path, file).and_then(|content| self.as_text(path, content)).map(Some)
    }

    /// Returns the content of a module, or `None` if it does not exist. A file with a second hard link is not a module,
    /// since that link may be outside of the folder.
    pub(super) fn module(&self, path: &str) -> Result<Option<Vec<u8>>> {
        self.open_module(path)?.map(|file| self.content(path, file)).transpose()
    }

    /// Opens a module.
    pub(super) fn open_module(&self, path: &str) -> Result<Option<File>> {
        let found = self.open_file(path)?;
        Ok(found.and_then(|(file, metadata)| (metadata.nlink() == 1).then_some(file)))
    }

    fn open_file(&self, path: &str) -> Result<Option<(File, Metadata)>> {
        // Without `nonblock`, opening a FIFO would wait for a writer.
        match self.dir.open_with(path, OpenOptions::new().read(true).nonblock(true)) {
            Ok(file) => {
                let metadata = file.metadata().map_err(|error| self.unreadable(path, error))?;
                Ok(metadata.is_file().then_some((file, metadata)))
            }
            // Failing to open is an error only for a regular file inside the folder. Everything else counts as missing.
            Err(error) if error.kind() != ErrorKind::NotFound && self.has(path) => {
                Err(self.unreadable(path, error))
            }
            Err(_) => Ok(None),
        }
    }

    fn content(&self, path: &str, file: File) -> Result<Vec<u8>> {
        let mut content = Vec::new();
        file.take(MAX_SOURCE + 1).read_to_end(&mut content).map_err(|error| self.unreadable(path, error))?;
        if content.len() as u64 > MAX_SOURCE {
            return Err(Error::load(format!("{} is larger than {} MB", self.shown(path), MAX_SOURCE >> 20)));
        }
        Ok(content)
    }

    /// Converts the content of a file to text.
    ///
    /// # Errors
    /// When it is not UTF-8. The error names the file.
    pub(super) fn as_text(&self, path: &str, content: Vec<u8>) -> Result<String> {
        String::from_utf8(content).map_err(|error| {
            let at = error.utf8_error().valid_up_to();
            Error::load(format!("{} is not UTF-8 text, from byte {at}", self.shown(path)))
        })
    }

    fn unreadable(&self, path: &str, error: std::io::Error) -> Error {
        Error::load(format!("cannot read {}: {error}", self.shown(path))).with_source(error)
    }

    /// Refuses a path that a link leads out of the folder.
    ///
    /// # Errors
    /// When the path leads outside. The error names it.
    pub(super) fn refuse_outside(&self, path: &Path) -> Result<()> {
        match self.dir.metadata(path) {
            Err(error) if error.kind() == ErrorKind::PermissionDenied => Err(Error::config(format!(
                "`{}` does not stay inside the spell's folder: a link leads out of it",
                path.display()
            ))
            .with_source(error)),
            // A path that does not exist yet may be created by the run.
            _ => Ok(()),
        }
    }

    /// Returns the entry script: the manifest's, or the first existing one of the usual names. With a language, it must
    /// be in that language; otherwise the languages of the manifest's engine go first.
    pub(crate) fn entry(
        &self,
        manifest: &Manifest,
        dir: &Path,
        language: Option<&Language>,
        engines: &[EngineDescriptor],
    ) -> Result<String> {
        if let Some(language) = language {
            return self.entry_in(language, manifest, dir, engines);
        }
        if let Some(entry) = &manifest.entry {
            return Ok(entry.clone());
        }
        let mut languages: Vec<(&EngineDescriptor, &Language)> = engines
            .iter()
            .flat_map(|engine| engine.languages.iter().map(move |language| (engine, language)))
            .collect();
        if let Some(key) = &manifest.engine {
            // `false` sorts first, and the sort is stable: the language itself, then others of the same engine.
            languages.sort_by_key(|(engine, language)| (!language.is_named(key), !engine.is_named(key)));
        }
        let usual: Vec<String> = languages
            .iter()
            .flat_map(|(_, language)| &language.extensions)
            .map(|extension| format!("{MAIN}.{extension}"))
            .collect();
        usual.iter().find(|name| self.has(name)).cloned().ok_or_else(|| {
            Error::load(format!("{} is not a spell: it has no entry script", dir.display()))
                .hint(format!("add one of {}, or name it as `entry` in {MANIFEST}", usual.join(", ")))
        })
    }

    /// Returns the entry script in a language: the name of the manifest's entry, or `main`, with an extension of the
    /// language.
    fn entry_in(
        &self,
        language: &Language,
        manifest: &Manifest,
        dir: &Path,
        engines: &[EngineDescriptor],
    ) -> Result<String> {
        let named = Path::new(manifest.entry.as_deref().unwrap_or(MAIN));
        let there = |language: &Language| {
            let names = language.extensions.iter().map(|extension| named.with_extension(extension));
            names.filter_map(|name| name.to_str().map(str::to_owned)).find(|name| self.has(name))
        };
        there(language).ok_or_else(|| {
            let language = &language.name;
            let error = Error::load(format!("{} has no entry script in {language}", dir.display()));
            let others: Vec<String> = languages(engines).filter_map(there).collect();
            if others.is_empty() { error } else { error.hint(format!("it has {}", others.join(" and "))) }
        })
    }

    fn has(&self, path: &str) -> bool {
        self.dir.metadata(path).is_ok_and(|found| found.is_file())
    }
}

/// Returns the error for a spell that does not exist. It suggests the most similar name in the folder.
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
    let names = dir.entries().into_iter().flatten().flatten();
    let names = names.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let shown = |name: &str| path.with_file_name(name).display().to_string();
    let hint = did_you_mean(&wanted, names.map(|name| (name.clone(), shown(&name))));
    error.hint(hint.unwrap_or_else(|| "a spell is a folder with a main script, or a script file".to_owned()))
}
