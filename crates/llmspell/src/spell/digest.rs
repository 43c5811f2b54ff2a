//! The fingerprint of all that a spell can run.

use std::fmt::Write as _;
use std::io::{self, Read as _};

use llmspell_core::{Error, Result};
use ring::digest::{Context, SHA256};

use super::folder::Folder;
use super::{ENTRIES, Spell, extension};

/// Files and folders that are looked at.
const MOST_ENTRIES: usize = 50_000;

/// Bytes of scripts that are read.
const MOST_BYTES: u64 = 64 << 20;

/// SHA-256 over manifest, entry and the scripts of the folder, as 64 hexadecimal digits.
pub(super) fn digest(spell: &Spell) -> Result<String> {
    let mut whole = Fingerprint { context: Context::new(&SHA256), left: MOST_BYTES };
    // As they were loaded: what is on the disk may have changed since.
    whole.part("manifest", spell.manifest_text.as_deref().unwrap_or_default().as_bytes());
    whole.part(&spell.source.name, spell.source.text.as_bytes());
    // A lone script has the folder of its file, which is not its own.
    if spell.manifest_text.is_some()
        && let Some(folder) = &spell.folder
    {
        whole.folder(folder)?;
    }
    let mut text = String::new();
    for byte in whole.context.finish().as_ref() {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
    }
    Ok(text)
}

struct Fingerprint {
    context: Context,
    left: u64,
}

impl Fingerprint {
    /// Adds a name and what it stands for, each behind its length: no two lists of parts are the same bytes.
    fn part(&mut self, name: &str, content: &[u8]) {
        for bytes in [name.as_bytes(), content] {
            self.context.update(&(bytes.len() as u64).to_le_bytes());
            self.context.update(bytes);
        }
    }

    /// Adds the scripts of a folder, by name.
    fn folder(&mut self, folder: &Folder) -> Result<()> {
        for path in paths(folder)? {
            // A link that leads outside is no part of the spell: no module is read through it either.
            let Ok(metadata) = folder.dir.metadata(&path) else { continue };
            if metadata.is_dir() {
                // Only a link: what is in it is found where it is, and this is another way there.
                let place = folder.dir.canonicalize(&path).map_err(failed)?;
                self.part(&path, place.to_string_lossy().as_bytes());
            } else if metadata.is_file() && is_script(&path) {
                let mut content = Vec::new();
                let file = folder.dir.open(&path).map_err(failed)?;
                file.take(self.left + 1).read_to_end(&mut content).map_err(failed)?;
                let read = content.len() as u64;
                self.left = self.left.checked_sub(read).ok_or_else(too_large)?;
                self.part(&path, &content);
            }
        }
        Ok(())
    }
}

/// All that is beneath a folder but the folders in it, sorted. Links are not followed.
fn paths(folder: &Folder) -> Result<Vec<String>> {
    let mut found = Vec::new();
    let mut looked_at = 0;
    let mut folders = vec![String::new()];
    while let Some(parent) = folders.pop() {
        let at = if parent.is_empty() { "." } else { &parent };
        for entry in folder.dir.read_dir(at).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            looked_at += 1;
            if looked_at > MOST_ENTRIES {
                return Err(too_large());
            }
            // A name that is not UTF-8 is one that no script can require.
            let Ok(name) = entry.file_name().into_string() else { continue };
            let path = if parent.is_empty() { name } else { format!("{parent}/{name}") };
            if entry.file_type().map_err(failed)?.is_dir() {
                folders.push(path);
            } else {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Whether a file has the extension of a script, as the entries have.
fn is_script(path: &str) -> bool {
    ENTRIES.iter().any(|entry| extension(entry) == extension(path))
}

fn failed(error: io::Error) -> Error {
    Error::load(format!("cannot look through the spell's folder: {error}")).with_source(error)
}

fn too_large() -> Error {
    Error::load(format!(
        "the spell's folder holds more than {MOST_ENTRIES} files, or more than {} MB of scripts",
        MOST_BYTES >> 20
    ))
}
