//! Paths as scripts write them, validated by their text alone. This module never looks at the disk.
//!
//! A check of a path and the later opening of the file would race if both used the path as a string. This module
//! therefore only decides which grant covers a path, and splits the path into the granted root and the names below it
//! ([`InnerPath`]). The host opens the root and follows the names one by one, through directory handles and without
//! following links.

use std::path::{Path, PathBuf};

use crate::permission::Grant;

/// The maximum length of a path in bytes, from Linux's `PATH_MAX`.
const MAX_PATH: usize = 4095;
/// The maximum length of a name in bytes, which most file systems share.
const MAX_NAME: usize = 255;
/// The maximum number of names in a path. Each name can be a folder that is held open during an operation.
pub const MAX_NAMES: usize = 64;
/// The prefix of the names of temporary files. No script can name such a file.
const UNFINISHED: &str = ".llmspell-";

/// A relative path that stays inside its root folder: names separated by `/`, none of them special. The empty path is
/// the root folder itself.
///
/// ```
/// use llmspell_core::InnerPath;
/// assert_eq!(InnerPath::new("./data//notes.txt").unwrap().as_str(), "data/notes.txt");
/// for outside in ["..", "a/../b", "/etc/passwd", "~/.ssh", "C:/a", r"a\b", "a\0", "a./b", ""] {
///     assert!(InnerPath::new(outside).is_none(), "{outside}");
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct InnerPath(String);

impl InnerPath {
    /// Parses a path that a script wrote. Returns `None` when the path is empty, absolute, leads upwards, is too
    /// long, or contains a name that is special. The special names of Windows are rejected only on Windows, except
    /// drive letters and names that end in a dot or a space.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        if text.is_empty() || text.len() > MAX_PATH || text.starts_with(['/', '~']) {
            return None;
        }
        let names: Vec<_> = text.split('/').filter(|name| !matches!(*name, "" | ".")).collect();
        let plain = names.len() <= MAX_NAMES && names.iter().all(|name| is_plain(name));
        plain.then(|| Self(names.join("/")))
    }

    /// Iterates over the names from the outermost inwards.
    pub fn names(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.split('/').filter(|name| !name.is_empty())
    }

    /// Returns the path as text, with `/` between the names.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns whether the path is the root folder itself.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// Splits the path into its folder and its last name; `None` for the root.
    #[must_use]
    pub fn split(&self) -> Option<(Self, &str)> {
        if self.is_root() {
            return None;
        }
        let (folder, name) = self.0.rsplit_once('/').unwrap_or(("", &self.0));
        Some((Self(folder.to_owned()), name))
    }

    /// Returns the part of a host path below a folder.
    fn beneath(path: &Path, folder: &Path) -> Option<Self> {
        let inner = path.strip_prefix(folder).ok()?.to_str()?;
        if inner.is_empty() { Some(Self::default()) } else { Self::new(&inner.replace('\\', "/")) }
    }
}

/// Returns whether [`InnerPath`] accepts a name.
#[must_use]
pub fn is_plain(name: &str) -> bool {
    // `.` and `..` end with a dot. Windows ignores trailing dots and spaces, so such a name would be an alias of
    // another.
    let special = name.is_empty() || name.len() > MAX_NAME || name.ends_with(['.', ' ']);
    let drive = matches!(name.as_bytes(), [letter, b':', ..] if letter.is_ascii_alphabetic());
    !special && !drive && !name.contains(['\0', '\\', '/']) && !is_unfinished(name) && !is_device(name)
}

/// Returns the name of a temporary file for a write in progress; `unique` makes it unique. Scripts can neither name
/// nor list such files.
#[must_use]
pub fn unfinished(unique: &str) -> String {
    format!("{UNFINISHED}{unique}")
}

/// Returns whether a name belongs to a temporary file, possibly one whose writer was killed.
#[must_use]
pub fn is_unfinished(name: &str) -> bool {
    name.starts_with(UNFINISHED)
}

/// Returns whether Windows would treat a name as a device or an alternate data stream. The part after the first dot
/// does not matter for devices.
/// <https://learn.microsoft.com/windows/win32/fileio/naming-a-file>
fn is_device(name: &str) -> bool {
    if !cfg!(windows) {
        return false;
    }
    let stem = name.split('.').next().unwrap_or_default().trim_end().to_ascii_uppercase();
    let numbered = ["COM", "LPT"]
        .iter()
        .any(|port| stem.strip_prefix(port).is_some_and(|number| number.len() == 1 && number != "0"));
    numbered
        || name.contains(':')
        || matches!(stem.as_str(), "CON" | "PRN" | "AUX" | "NUL" | "CONIN$" | "CONOUT$")
}

/// A path that a grant covers, split at the granted root.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Covered {
    /// The granted folder or file.
    pub(crate) root: PathBuf,
    /// The path from the root.
    pub(crate) path: InnerPath,
}

/// Resolves a path that a script wrote against the grant. An absolute path is used directly; a relative one is looked
/// up in each of `folders`, and the first in which the grant covers it counts.
///
/// If several roots cover the path, the innermost root is used. With a grant of everything, the folder itself is the
/// root.
pub(crate) fn cover(text: &str, grant: &Grant<PathBuf>, folders: &[&Path]) -> Option<Covered> {
    let absolute = text.strip_prefix('/');
    let inner = match absolute {
        Some(rest) if rest.trim_matches('/').is_empty() => InnerPath::default(),
        Some(rest) => InnerPath::new(rest.trim_start_matches('/'))?,
        None => InnerPath::new(text)?,
    };
    let top = Path::new("/");
    let folders = if absolute.is_some() { &[top] } else { folders };
    folders.iter().find_map(|folder| {
        let wanted = folder.join(inner.as_str());
        let root = match grant {
            Grant::Only(roots) => roots
                .iter()
                .filter(|root| root.is_absolute() && wanted.starts_with(root))
                .max_by_key(|root| root.components().count())?,
            Grant::All => *folder,
        };
        Some(Covered { root: root.to_owned(), path: InnerPath::beneath(&wanted, root)? })
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(text: &str, grants: &[&str]) -> Option<String> {
        let grant = grants.iter().map(PathBuf::from).collect();
        let folders = [Path::new("/work"), Path::new("/spells/greet")];
        let found = cover(text, &grant, &folders)?;
        Some(format!("{} + {}", found.root.display(), found.path.as_str()))
    }

    #[test]
    #[cfg(unix)]
    fn a_path_is_looked_up_in_the_working_folder_and_then_in_the_spells_own() {
        for (text, grants, found) in [
            ("data/a.txt", &["/work/data"][..], Some("/work/data + a.txt")),
            ("data/a.txt", &["/spells/greet/data"], Some("/spells/greet/data + a.txt")),
            ("data/a.txt", &["/spells/greet/data", "/work/data"], Some("/work/data + a.txt")),
            ("data/in/a.txt", &["/work", "/work/data/in"], Some("/work/data/in + a.txt")),
            ("data", &["/work/data"], Some("/work/data + ")),
            (".", &["/work"], Some("/work + ")),
            ("/work/data/a.txt", &["/work/data"], Some("/work/data + a.txt")),
            ("//work//data/a.txt", &["/work/data"], Some("/work/data + a.txt")),
            ("/", &["/"], Some("/ + ")),
            ("data/a.txt", &["/work/dat"], None),
            ("data/a.txt", &["data"], None),
            ("data", &["/work/data/in"], None),
            ("data/../secret", &["/work"], None),
            ("/work/../etc", &["/work"], None),
            ("/etc/passwd", &["/work"], None),
            ("a", &[], None),
        ] {
            assert_eq!(shown(text, grants).as_deref(), found, "{text} with {grants:?}");
        }
    }

    #[test]
    #[cfg(unix)]
    fn all_granted_means_the_folders_and_the_whole_disk_and_still_no_way_upwards() {
        let folders = [Path::new("/work")];
        let found = |text| cover(text, &Grant::All, &folders).map(|found| found.root);
        assert_eq!(found("a"), Some("/work".into()));
        assert_eq!(found("/etc/hosts"), Some("/".into()));
        assert_eq!(found("../a"), None);
    }

    #[test]
    fn names_that_are_special_anywhere_are_refused() {
        let long = "a".repeat(256);
        for text in [
            "",
            "..",
            "../a",
            "a/..",
            "a/../../b",
            "/a",
            "//a",
            "~",
            "~root/a",
            "a\0b",
            "a\\b",
            "\\\\server\\a",
            "\\\\?\\C:\\a",
            "\\\\.\\pipe\\a",
            "C:",
            "c:a",
            "C:/a",
            "a/C:/b",
            "a.",
            "a /b",
            "a..",
            "...",
            ". .",
            ".. ",
            ".llmspell-1",
            "a/.llmspell-1/b",
            &long,
            &"a/".repeat(65),
            &"a/".repeat(3000),
        ] {
            assert_eq!(InnerPath::new(text), None, "{text:?}");
        }
        for (text, inner) in [
            ("a", "a"),
            ("./a", "a"),
            ("a/./b/", "a/b"),
            (".", ""),
            ("a~", "a~"),
            (".env", ".env"),
            ("12:30", "12:30"),
            ("…/é", "…/é"),
            ("a\nb", "a\nb"),
            ("..a", "..a"),
            ("a b", "a b"),
            (&long[..255], &long[..255]),
        ] {
            if cfg!(unix) || !text.contains(':') {
                assert_eq!(InnerPath::new(text).as_ref().map(InnerPath::as_str), Some(inner), "{text:?}");
            }
        }
    }

    proptest! {
        #[test]
        fn no_text_leads_outside(text in r"([a~./\\ \x00:C-]|\.\.|/|é){0,12}") {
            let names = |path: &InnerPath| path.names().map(str::to_owned).collect::<Vec<_>>();
            if let Some(path) = InnerPath::new(&text) {
                prop_assert!(names(&path).iter().all(|name| is_plain(name)));
                prop_assert_eq!(InnerPath::new(&format!("./{}", path.as_str())).map(|path| names(&path)), Some(names(&path)));
            }
            let grant = Grant::Only(vec![PathBuf::from("/work/a")]);
            if let Some(found) = cover(&text, &grant, &[Path::new("/work")]) {
                prop_assert!(found.root.join(found.path.as_str()).starts_with("/work/a"));
                // A name may contain two dots without being `..`.
                prop_assert!(found.path.names().all(|name| name != ".."));
            }
        }

        #[test]
        fn no_text_panics(text in ".*") {
            let _ = cover(&text, &Grant::All, &[Path::new("/work")]);
        }
    }
}
