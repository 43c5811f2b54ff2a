//! Stored permission answers: what the user answered with "always", in `permissions.json` in the user's state folder.

use std::collections::BTreeMap;
use std::fs::{DirBuilder, File};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};

use llmspell::{Permissions, Result, Spell};
use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;

use crate::environment;
use crate::exit;

const FILE: &str = "permissions.json";

/// The most bytes of the file that are read. An answer takes a few hundred.
const MOST: u64 = 16 << 20;

/// The permissions that were granted to one version of a spell.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct GrantEntry {
    digest: String,
    permissions: Permissions,
}

/// Answers by the path of the spell. The answer for a new version replaces that for the old one.
type GrantEntries = BTreeMap<String, GrantEntry>;

/// The stored answer for one version of one spell.
#[derive(Debug)]
pub(crate) struct GrantStore {
    file: PathBuf,
    spell: String,
    digest: String,
}

impl GrantStore {
    /// Creates the store for a spell that was loaded from this path. Returns `None` if there is no state folder, or if
    /// the spell has no usable path or digest.
    pub(crate) fn of(spell: &Spell, path: &Path) -> Option<Self> {
        let file = environment::state_folder()?.join(FILE);
        let spell_at = path.canonicalize().ok()?.into_os_string().into_string().ok()?;
        Some(Self { file, spell: spell_at, digest: spell.digest().ok()? })
    }

    /// Returns the permissions that were granted to exactly this version.
    ///
    /// # Errors
    /// When the file exists but cannot be read or parsed.
    pub(crate) fn recall(&self) -> Result<Permissions> {
        let entry = self.entries()?.remove(&self.spell).filter(|entry| entry.digest == self.digest);
        Ok(entry.map(|entry| entry.permissions).unwrap_or_default())
    }

    /// Adds permissions to those that are stored for this version.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(crate) fn keep(&self, granted: &Permissions) -> Result<()> {
        // The user was warned about an unreadable file when it was read; it is replaced now.
        let mut entries = self.entries().unwrap_or_default();
        let before = entries.remove(&self.spell).filter(|entry| entry.digest == self.digest);
        let permissions = before.map(|entry| entry.permissions).unwrap_or_default().and(granted.clone());
        entries.insert(self.spell.clone(), GrantEntry { digest: self.digest.clone(), permissions });
        self.write(&entries)
            .map_err(|error| exit::io(&format!("cannot write {}", self.file.display()), error))
    }

    #[expect(clippy::disallowed_methods, reason = "the command's own state, not a spell's file")]
    fn entries(&self) -> Result<GrantEntries> {
        let failed = |error| exit::io(&format!("cannot read {}", self.file.display()), error);
        let mut text = String::new();
        match File::open(&self.file) {
            Ok(file) => file.take(MOST).read_to_string(&mut text).map_err(failed)?,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(GrantEntries::new()),
            Err(error) => return Err(failed(error)),
        };
        serde_json::from_str(&text).map_err(|error| failed(error.into()))
    }

    /// Replaces the file atomically by a new one that only the user can read.
    fn write(&self, entries: &GrantEntries) -> io::Result<()> {
        let folder = self.file.parent().unwrap_or(Path::new("."));
        make_private(folder)?;
        let mut file = NamedTempFile::new_in(folder)?;
        serde_json::to_writer_pretty(&mut file, entries)?;
        file.write_all(b"\n")?;
        file.as_file().sync_all()?;
        file.persist(&self.file)?;
        Ok(())
    }
}

fn make_private(folder: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}
