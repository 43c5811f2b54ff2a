//! The files of tests: how test scripts are found, and where their recordings and snapshots are stored.
//!
//! For `tests/deep/greet.luau` these are `tests/recordings/deep/greet/<case>.jsonl` and
//! `tests/snapshots/deep/greet/<case>.<number>.txt`.

use std::io::{ErrorKind, Read as _};
use std::path::Path;

use cap_std::fs::Dir;
use llmspell_core::{Error, Result};

/// The most files and folders in a spell's folder.
const MOST_ENTRIES: usize = 50_000;

/// The most bytes of a recording or a snapshot.
const MOST_KEPT: u64 = 64 << 20;

/// The most bytes of a spell's folder that is copied for a recording.
const MOST_COPIED: u64 = 256 << 20;

/// The folder of a spell's tests, recordings and snapshots.
const TESTS: &str = "tests";

/// Folders within it that contain no test scripts.
const NO_TESTS: [&str; 3] = ["lib", "recordings", "snapshots"];

/// Returns the test scripts: those in `tests`, and those named `*.test.<extension>` anywhere in the folder.
///
/// # Errors
/// When the folder cannot be read, or when two scripts would store their recordings in the same place.
pub(super) fn find(dir: &Dir, is_script: impl Fn(&str) -> bool) -> Result<Vec<String>> {
    // A spell inside the folder has its own tests.
    let mut found = files(dir, |folder| !dir.exists(format!("{folder}/spell.yaml")))?;
    found.retain(|path| {
        let extension = Path::new(path).extension().and_then(|extension| extension.to_str());
        extension.is_some_and(&is_script) && is_test(path)
    });
    for (at, path) in found.iter().enumerate() {
        if let Some(other) = found[..at].iter().find(|other| key(other) == key(path)) {
            return Err(Error::load(format!("{other} and {path} would keep their recordings in one place"))
                .hint("give one of them another name"));
        }
    }
    Ok(found)
}

fn is_test(path: &str) -> bool {
    let mut parts = path.split('/').rev();
    let name = parts.next().unwrap_or_default();
    let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
    let kept = path.strip_prefix(TESTS).and_then(|rest| rest.strip_prefix('/'));
    match kept {
        Some(_) => parts.all(|folder| !NO_TESTS.contains(&folder)),
        None => stem.ends_with(".test"),
    }
}

/// Returns the name under which a test's files are stored: its path without `tests/`, `.test` and the extension.
pub(super) fn key(path: &str) -> &str {
    let path = path.strip_prefix(TESTS).and_then(|rest| rest.strip_prefix('/')).unwrap_or(path);
    let stem = path.rsplit_once('.').map_or(path, |(stem, _)| stem);
    stem.strip_suffix(".test").unwrap_or(stem)
}

/// Returns the path of the recording of the `number`th run in a case.
pub(super) fn recording(test: &str, case: &str, number: usize) -> String {
    let number = if number == 1 { String::new() } else { format!(".{number}") };
    format!("{}/{case}{number}.jsonl", recordings(test))
}

/// Returns the path of the `number`th snapshot in a case.
pub(super) fn snapshot(test: &str, case: &str, number: usize) -> String {
    format!("{}/{case}.{number}.txt", snapshots(test))
}

/// Returns the folder of a test's recordings.
pub(super) fn recordings(test: &str) -> String {
    format!("{TESTS}/recordings/{}", key(test))
}

/// Returns the folder of a test's snapshots.
pub(super) fn snapshots(test: &str) -> String {
    format!("{TESTS}/snapshots/{}", key(test))
}

/// Converts the name of a case to a file name: lower-case letters and digits, with a dash for everything between them.
pub(super) fn slug(name: &str) -> String {
    const LONGEST: usize = 80;
    let words = name.split(|letter: char| !letter.is_alphanumeric()).filter(|word| !word.is_empty());
    let mut slug = words.collect::<Vec<_>>().join("-").to_lowercase();
    slug.truncate(slug.floor_char_boundary(LONGEST));
    if slug.is_empty() { "case".to_owned() } else { slug }
}

/// Returns the sorted files in a folder and its subfolders. Hidden files and folders that are not `wanted` are left out.
/// A link is followed only if it leads to a file in the folder.
fn files(dir: &Dir, wanted: impl Fn(&str) -> bool) -> Result<Vec<String>> {
    let mut found = Vec::new();
    let mut looked_at = 0;
    let mut folders = vec![String::new()];
    while let Some(parent) = folders.pop() {
        let at = if parent.is_empty() { "." } else { &parent };
        for entry in dir.read_dir(at).map_err(unreadable)? {
            let entry = entry.map_err(unreadable)?;
            looked_at += 1;
            if looked_at > MOST_ENTRIES {
                return Err(Error::load(format!("the spell's folder holds more than {MOST_ENTRIES} files")));
            }
            // A script cannot name a file whose name is not UTF-8.
            let Ok(name) = entry.file_name().into_string() else { continue };
            if name.starts_with('.') || name == "node_modules" {
                continue;
            }
            let path = if parent.is_empty() { name } else { format!("{parent}/{name}") };
            let kind = entry.file_type().map_err(unreadable)?;
            let is_link_to_file = || kind.is_symlink() && dir.metadata(&path).is_ok_and(|it| it.is_file());
            if kind.is_file() || is_link_to_file() {
                found.push(path);
            } else if kind.is_dir() && wanted(&path) {
                folders.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Returns the files directly in a folder; none if the folder does not exist.
pub(super) fn list(dir: &Dir, folder: &str) -> Result<Vec<String>> {
    let entries = match dir.read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(unreadable(error)),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(unreadable)?;
        if entry.file_type().map_err(unreadable)?.is_file()
            && let Ok(name) = entry.file_name().into_string()
        {
            found.push(format!("{folder}/{name}"));
        }
    }
    found.sort();
    Ok(found)
}

/// Copies the files of a spell into another folder, without its recordings and snapshots.
///
/// # Errors
/// When the files are too large or too many, or cannot be read or written.
pub(super) fn copy(from: &Dir, to: &Dir) -> Result<()> {
    let failed = |path: &str, error: std::io::Error| {
        Error::load(format!("cannot copy {path} to record in a copy of the spell: {error}"))
            .with_source(error)
    };
    let mut left = MOST_COPIED;
    let kept = |folder: &str| matches!(folder, "tests/recordings" | "tests/snapshots");
    for path in files(from, |folder| !kept(folder))? {
        let size = from.metadata(&path).map_err(|error| failed(&path, error))?.len();
        left = left.checked_sub(size).ok_or_else(|| {
            Error::load(format!(
                "the spell's folder holds more than {} MB, too much to record in a copy of it",
                MOST_COPIED >> 20
            ))
        })?;
        let copied = match path.rsplit_once('/') {
            Some((folder, _)) => to.create_dir_all(folder),
            None => Ok(()),
        };
        copied.and_then(|()| from.copy(&path, to, &path)).map_err(|error| failed(&path, error))?;
    }
    Ok(())
}

/// Returns the text of a recording or snapshot, or `None` if it does not exist.
pub(super) fn read(dir: &Dir, path: &str) -> Result<Option<String>> {
    let failed =
        |error: std::io::Error| Error::load(format!("cannot read {path}: {error}")).with_source(error);
    let file = match dir.open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let mut text = String::new();
    file.take(MOST_KEPT).read_to_string(&mut text).map_err(failed)?;
    Ok(Some(text))
}

/// Writes a recording or snapshot, unless it has this text already.
pub(super) fn write(dir: &Dir, path: &str, text: &str) -> Result<()> {
    if read(dir, path).is_ok_and(|known| known.as_deref() == Some(text)) {
        return Ok(());
    }
    let folder = path.rsplit_once('/').map_or(".", |(folder, _)| folder);
    // Write to a new file and rename it, so that the old one stays complete until then.
    let beside = format!("{path}.new");
    let written = dir.create_dir_all(folder).and_then(|()| dir.write(&beside, text));
    written.and_then(|()| dir.rename(&beside, dir, path)).map_err(|error| {
        Error::new(llmspell_core::ErrorKind::Io, format!("cannot write {path}: {error}")).with_source(error)
    })
}

/// Removes a recording or snapshot, and the folders that become empty.
pub(super) fn remove(dir: &Dir, path: &str) -> Result<()> {
    match dir.remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            return Err(Error::new(llmspell_core::ErrorKind::Io, format!("cannot remove {path}: {error}"))
                .with_source(error));
        }
        _ => {}
    }
    let mut folder = path;
    while let Some((parent, _)) = folder.rsplit_once('/')
        && parent != TESTS
        && dir.remove_dir(parent).is_ok()
    {
        folder = parent;
    }
    Ok(())
}

fn unreadable(error: std::io::Error) -> Error {
    Error::load(format!("cannot look through the spell's folder: {error}")).with_source(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_are_told_from_other_scripts_by_their_place_or_name() {
        for (path, test) in [
            ("tests/greet.luau", true),
            ("tests/deep/er.luau", true),
            ("greet.test.luau", true),
            ("lib/greet.test.luau", true),
            ("main.luau", false),
            ("lib/tests.luau", false),
            ("tests/lib/greet.luau", false),
            ("tests/deep/lib/greet.luau", false),
            ("tests/snapshots/greet.luau", false),
        ] {
            assert_eq!(is_test(path), test, "{path}");
        }
    }

    #[test]
    fn what_a_case_keeps_has_a_name_of_its_own() {
        assert_eq!(recording("tests/greet.luau", "a", 1), "tests/recordings/greet/a.jsonl");
        assert_eq!(recording("lib/greet.test.js", "a", 2), "tests/recordings/lib/greet/a.2.jsonl");
        assert_eq!(snapshot("tests/deep/greet.test.luau", "a", 1), "tests/snapshots/deep/greet/a.1.txt");
        for (name, file) in [
            ("greets by name", "greets-by-name"),
            ("  What? 429!", "what-429"),
            ("größe 你好", "größe-你好"),
            ("../../etc", "etc"),
            ("…", "case"),
        ] {
            assert_eq!(slug(name), file);
        }
        assert!(slug(&"ä".repeat(100)).len() <= 80);
    }
}
