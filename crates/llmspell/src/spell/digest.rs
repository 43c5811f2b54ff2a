//! The digest of everything that a spell can run.
//!
//! A [`Snapshot`] has the SHA-256 of each file that an engine could load from the spell's folder. It is taken once for
//! each loaded spell, and the digest that a user approves is computed from it. From then on each loaded module is
//! compared with it (`modules.rs`), so a file that changes after the approval does not run.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, Read as _};

use llmspell_core::{Error, Result};
use ring::digest::{Context, SHA256};

use super::Spell;
use super::folder::Folder;

/// The most files and folders in a spell's folder.
const MOST_ENTRIES: usize = 50_000;

/// The most bytes of scripts in a spell's folder.
const MOST_BYTES: u64 = 64 << 20;

/// Returns the SHA-256 of the manifest, the entry and all scripts of the folder, as 64 hexadecimal digits.
pub(super) fn digest(spell: &Spell) -> Result<String> {
    let mut whole = Context::new(&SHA256);
    // Use the texts as they were loaded, since the files may have changed.
    add(&mut whole, "manifest", spell.manifest_text.as_deref().unwrap_or_default());
    add(&mut whole, &spell.source.name, &spell.source.text);
    // A lone script does not own the folder that it lies in.
    if spell.has_own_folder()
        && let Some(folder) = &spell.folder
    {
        let snapshot = folder.snapshot()?;
        for (path, target) in &snapshot.links {
            add(&mut whole, path, target);
        }
        for (path, digest) in snapshot.files.iter().filter(|(path, _)| **path != spell.source.name) {
            add(&mut whole, path, digest);
        }
    }
    Ok(hex(whole))
}

/// Returns the SHA-256 of some bytes, in hexadecimal.
pub(super) fn sha256(bytes: &[u8]) -> String {
    let mut context = Context::new(&SHA256);
    context.update(bytes);
    hex(context)
}

/// Adds a name and its content to the hash. Each is preceded by its length, so different lists give different input.
fn add(context: &mut Context, name: &str, content: &str) {
    for text in [name, content] {
        context.update(&(text.len() as u64).to_le_bytes());
        context.update(text.as_bytes());
    }
}

fn hex(context: Context) -> String {
    let mut text = String::new();
    for byte in context.finish().as_ref() {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// The loadable content of a folder at one moment.
#[derive(Debug, Default)]
pub(super) struct Snapshot {
    /// The SHA-256 of each loadable file, by path.
    files: BTreeMap<String, String>,
    /// Symbolic links to folders inside the folder, with their targets.
    links: BTreeMap<String, String>,
}

impl Snapshot {
    /// Reads every loadable file in a folder and its subfolders.
    ///
    /// # Errors
    /// When a file cannot be read, or when there are too many files or bytes.
    pub(super) fn take(folder: &Folder) -> Result<Self> {
        let mut snapshot = Self::default();
        let (mut looked_at, mut left, mut content) = (0, MOST_BYTES, Vec::new());
        let mut folders = vec![String::new()];
        while let Some(parent) = folders.pop() {
            let at = if parent.is_empty() { "." } else { &parent };
            for entry in folder.dir.read_dir(at).map_err(failed)? {
                let entry = entry.map_err(failed)?;
                looked_at += 1;
                if looked_at > MOST_ENTRIES {
                    return Err(too_large());
                }
                // A script cannot name a file whose name is not UTF-8.
                let Ok(name) = entry.file_name().into_string() else { continue };
                let path = if parent.is_empty() { name } else { format!("{parent}/{name}") };
                let kind = entry.file_type().map_err(failed)?;
                if kind.is_dir() {
                    folders.push(path);
                } else if kind.is_symlink() && folder.dir.metadata(&path).is_ok_and(|it| it.is_dir()) {
                    // The files behind the link are found at their real path. The link is only an alias for it.
                    let target = folder.dir.canonicalize(&path).map_err(failed)?;
                    let target = target.to_string_lossy();
                    let target = if target == "." { String::new() } else { target.into_owned() };
                    snapshot.links.insert(path, target);
                } else if folder.is_loadable(&path)
                    && let Some(file) = folder.open_module(&path)?
                {
                    content.clear();
                    file.take(left + 1).read_to_end(&mut content).map_err(failed)?;
                    left = left.checked_sub(content.len() as u64).ok_or_else(too_large)?;
                    snapshot.files.insert(path, sha256(&content));
                }
            }
        }
        Ok(snapshot)
    }

    /// Returns the SHA-256 that the file at a path had in the snapshot, or `None` if there was no file. `now` is the
    /// SHA-256 of the current file.
    pub(super) fn digest_of(&self, path: &str, now: Option<&str>) -> Option<&str> {
        let path = self.without_links(path);
        let exact = self.files.get(&path);
        // On a file system that ignores case, a script may spell a name differently from the folder.
        let other_case = || {
            let lower = path.to_lowercase();
            let mut same = self.files.iter().filter(|(_, digest)| Some(digest.as_str()) == now);
            same.find(|(known, _)| known.to_lowercase() == lower).map(|(_, digest)| digest)
        };
        exact.or_else(other_case).map(String::as_str)
    }

    /// Resolves the links in a path, as they were in the snapshot.
    fn without_links(&self, path: &str) -> String {
        let mut real = String::with_capacity(path.len());
        for part in path.split('/') {
            if !real.is_empty() {
                real.push('/');
            }
            real.push_str(part);
            if let Some(target) = self.links.get(&real) {
                real.clone_from(target);
            }
        }
        real
    }
}

fn failed(error: io::Error) -> Error {
    Error::load(format!("cannot look through the spell's folder: {error}")).with_source(error)
}

fn too_large() -> Error {
    Error::load(format!(
        "the spell's folder holds more than {MOST_ENTRIES} files, or more than {} MB of scripts",
        MOST_BYTES >> 20
    ))
    .hint("keep data and packages outside of the spell's folder")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn a_path_is_looked_up_by_the_links_and_names_of_the_snapshot() {
        let snapshot = Snapshot {
            files: map(&[("a/x.luau", "1"), ("b/x.luau", "2"), ("Up.luau", "3")]),
            links: map(&[("lib", "a"), ("a/deep", "b"), ("here", "")]),
        };
        for (path, now, before) in [
            ("a/x.luau", Some("1"), Some("1")),
            ("a/x.luau", Some("2"), Some("1")),
            ("a/x.luau", None, Some("1")),
            ("lib/x.luau", Some("2"), Some("1")),
            ("lib/deep/x.luau", Some("2"), Some("2")),
            ("here/lib/x.luau", Some("1"), Some("1")),
            ("none.luau", None, None),
            ("none.luau", Some("1"), None),
            // A file system that ignores case finds `Up.luau` by this name.
            ("up.luau", Some("3"), Some("3")),
            ("up.luau", Some("1"), None),
            ("up.luau", None, None),
        ] {
            assert_eq!(snapshot.digest_of(path, now), before, "{path} {now:?}");
        }
    }
}
