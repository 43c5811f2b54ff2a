//! The owner of a run: a locked file that shows whether a process is alive. It is a hint; the fence is the epoch.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use llmspell_core::{Error, ErrorKind, Result};

/// A file that this process locks while it lives. The operating system releases the lock however the process ends.
#[derive(Debug)]
pub(super) struct Owner {
    name: String,
    path: PathBuf,
    _lock: File,
}

impl Owner {
    /// Creates an owner with its own file in this folder.
    pub(super) fn new(folder: &Path) -> Result<Self> {
        let name = uuid::Uuid::now_v7().simple().to_string();
        let path = file(folder, &name);
        let failed = |error| {
            let message = format!("cannot lock {}: {error}", path.display());
            Error::new(ErrorKind::Io, message).with_source(error)
        };
        let lock = File::options().create_new(true).write(true).open(&path).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { name, path, _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(failed(std::io::ErrorKind::WouldBlock.into())),
            Err(TryLockError::Error(error)) => Err(failed(error)),
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        // A file that remains is harmless, because nobody holds its lock.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Returns whether the owner of this name is alive.
pub(super) fn is_alive(folder: &Path, name: &str) -> bool {
    // The name comes from the database: a damaged one must not refer to a file elsewhere.
    if !name.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return false;
    }
    let file = File::options().write(true).open(file(folder, name));
    file.is_ok_and(|file| matches!(file.try_lock(), Err(TryLockError::WouldBlock)))
}

/// Removes the files of dead owners that were created before this time. A younger file may be about to be locked.
pub(super) fn remove_stale(folder: &Path, before: SystemTime) {
    // These files are harmless, so a failure is too.
    let Ok(entries) = folder.read_dir() else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some(name) = name.to_str().and_then(|name| name.strip_suffix(".lock")) else { continue };
        let created = entry.metadata().and_then(|metadata| metadata.modified());
        if created.is_ok_and(|created| created < before) && !is_alive(folder, name) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

fn file(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.lock"))
}
