//! The modules of one run: scripts in the spell's folder, each compared with the approved version.
//!
//! A module is read when the script loads it. That is after the user was asked for permissions, and may be long after
//! the run has started. So each module must have the same content as
//!
//! - when this run first looked for it; if there was no file then, there must be none now,
//! - when the resumed run looked for it,
//! - in the [snapshot](super::digest::Snapshot), from which the approved digest is computed. Without a snapshot nobody
//!   has approved the files by their content.
//!
//! A difference is an error that names the file. The list of modules goes into the run's journal for the next resume.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use llmspell_core::capability::Modules;
use llmspell_core::{Error, Result};

use super::digest::sha256;
use super::folder::Folder;

/// The most missing modules that a run may look for. Their names are stored with the run.
const MAX_MISSING: usize = 1000;

/// The SHA-256 of modules, by path in the spell's folder. `None` means that the file did not exist.
pub(crate) type ModuleDigests = BTreeMap<String, Option<String>>;

/// The modules of a run.
#[derive(Debug)]
pub(crate) struct SpellModules {
    folder: Arc<Folder>,
    /// The digests of the entry script as it was loaded and of the modules of the resumed run.
    expected: ModuleDigests,
    looked_for: Mutex<ModuleDigests>,
}

impl SpellModules {
    pub(super) fn new(folder: Arc<Folder>, expected: ModuleDigests) -> Self {
        Self { folder, expected, looked_for: Mutex::default() }
    }

    /// Returns the number of modules that the run has looked for.
    pub(crate) fn count(&self) -> usize {
        self.looked_for().len()
    }

    /// Returns the modules that the run has looked for.
    ///
    /// # Errors
    /// When a module was changed after the run loaded it and before the snapshot was taken.
    pub(crate) fn all(&self) -> Result<ModuleDigests> {
        let all = self.looked_for().clone();
        for (path, loaded) in &all {
            if let Some(snapshot) = self.folder.taken_snapshot() {
                self.compare(path, loaded.as_deref(), snapshot.digest_of(path, loaded.as_deref()))?;
            }
        }
        Ok(all)
    }

    fn looked_for(&self) -> MutexGuard<'_, ModuleDigests> {
        self.looked_for.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn compare(&self, path: &str, before: Option<&str>, now: Option<&str>) -> Result<()> {
        match change(before, now) {
            None => Ok(()),
            Some(change) => {
                let file = self.folder.shown(path);
                Err(Error::load(format!("{file} was {change} after the spell was loaded"))
                    .hint("a run loads only what was there when it was approved or began: start it again"))
            }
        }
    }
}

/// Returns what happened to a file between two SHA-256 values, or `None` if they are equal.
pub(crate) fn change(before: Option<&str>, now: Option<&str>) -> Option<&'static str> {
    match (before, now) {
        (before, now) if before == now => None,
        (None, _) => Some("created"),
        (_, None) => Some("removed"),
        _ => Some("changed"),
    }
}

impl Modules for SpellModules {
    fn read(&self, path: &str) -> Result<Option<String>> {
        if !self.folder.is_loadable(path) {
            // The digest does not cover files with other extensions.
            return Err(Error::load(format!("{} has no extension of a script", self.folder.shown(path)))
                .hint("`Runtime::load` loads a spell for the engines that the program added"));
        }
        let content = self.folder.module(path)?;
        let digest = content.as_deref().map(sha256);
        let now = digest.as_deref();
        let mut looked_for = self.looked_for();
        if let Some(before) = looked_for.get(path).or_else(|| self.expected.get(path)) {
            self.compare(path, before.as_deref(), now)?;
        } else if let Some(snapshot) = self.folder.taken_snapshot() {
            self.compare(path, snapshot.digest_of(path, now), now)?;
        }
        if !looked_for.contains_key(path) {
            let missing = looked_for.values().filter(|digest| digest.is_none()).count();
            if digest.is_none() && missing >= MAX_MISSING {
                let message = format!("a run looks for at most {MAX_MISSING} modules that are not there");
                return Err(Error::load(message));
            }
            looked_for.insert(path.to_owned(), digest);
        }
        drop(looked_for);
        content.map(|content| self.folder.as_text(path, content)).transpose()
    }
}
