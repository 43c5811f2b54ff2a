//! The files capability: access to files in granted folders.
//!
//! [`Files`] is the trait that touches the disk. The gate finds the grant that covers a path, without looking at the
//! disk, and passes the result on as a [`FilePermit`].

use std::path::{Path, PathBuf};

use futures_util::future::BoxFuture;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::effect::Permit;
use crate::error::{Error, Result};
use crate::memory_reservation::MemoryBudget;
use crate::path::{Covered, InnerPath};

/// The kind of a file-system entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FileKind {
    /// A file.
    File,
    /// A folder.
    Folder,
}

/// Information about a file or a folder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FileInfo {
    /// Whether it is a file or a folder.
    pub kind: FileKind,
    /// The size in bytes; zero for a folder.
    pub size: u64,
    /// When it was last modified, in seconds since 1970 (UTC); absent if the system does not record it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub modified: Option<f64>,
}

/// Reads and writes files beneath granted folders.
///
/// The gate checks only the characters of a path. The implementation must check what is on the disk: it follows no link
/// and touches no file with a second name (hard link). It refuses both with
/// [`FilePermit::refusal`], the error for a path that is not granted.
pub trait Files: Send + Sync {
    /// Reads a whole file. Its size is taken from `room` before it is read.
    fn read(&self, permit: FilePermit, room: MemoryBudget) -> BoxFuture<'static, Result<Vec<u8>>>;

    /// Writes a whole file atomically, and creates its folders.
    fn write(&self, permit: FilePermit, bytes: Vec<u8>) -> BoxFuture<'static, Result<()>>;

    /// Appends to a file. Creates the file and its folders if necessary.
    fn append(&self, permit: FilePermit, bytes: Vec<u8>) -> BoxFuture<'static, Result<()>>;

    /// Returns the names in a folder, sorted.
    fn list(&self, permit: FilePermit) -> BoxFuture<'static, Result<Vec<String>>>;

    /// Returns all files beneath a folder whose relative path matches the pattern, sorted.
    fn glob(&self, permit: FilePermit, pattern: String) -> BoxFuture<'static, Result<Vec<String>>>;

    /// Returns information about a file or a folder; `None` if it does not exist.
    fn stat(&self, permit: FilePermit) -> BoxFuture<'static, Result<Option<FileInfo>>>;

    /// Removes a file or an empty folder.
    fn remove(&self, permit: FilePermit) -> BoxFuture<'static, Result<()>>;
}

/// The grant that an operation needs. Neither one implies the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// `--allow-read`.
    Read,
    /// `--allow-write`.
    Write,
}

/// The proof that a path is granted. Only the gate makes one.
#[derive(Debug)]
pub struct FilePermit {
    root: PathBuf,
    path: InnerPath,
    shown: String,
    access: Access,
    _passed: Permit,
}

impl FilePermit {
    /// Creates the proof for a path that a grant covers, after its effect has passed the gate.
    pub(crate) fn new(covered: Covered, shown: &str, access: Access, passed: Permit) -> Self {
        let Covered { root, path } = covered;
        Self { root, path, shown: shown.to_owned(), access, _passed: passed }
    }

    /// Returns the folder or single file that the user granted.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Returns the path relative to the root; empty for the root itself.
    #[must_use]
    pub fn path(&self) -> &InnerPath {
        &self.path
    }

    /// Returns the path as the script wrote it.
    #[must_use]
    pub fn shown(&self) -> &str {
        &self.shown
    }

    /// Returns the error for a path that leads through a link. It is the same as for a path that is not granted, so a
    /// script cannot find out what exists outside its grants.
    #[must_use]
    pub fn refusal(&self) -> Error {
        refusal(&self.shown, self.access)
    }
}

/// Returns the error for a path that is not granted.
pub(crate) fn refusal(path: &str, access: Access) -> Error {
    let (verb, flag) = match access {
        Access::Read => ("read", "--allow-read"),
        Access::Write => ("write", "--allow-write"),
    };
    let error = Error::denied(format!("the spell may not {verb} `{path}`"));
    let plain = path.strip_prefix('/').map_or_else(|| InnerPath::new(path), InnerPath::new);
    if plain.is_none() {
        return error.hint(
            "a path has no `..`, `~`, drive or backslash, and no name in it ends with a dot or a space",
        );
    }
    let folder = match path.rsplit_once('/') {
        Some(("", _)) | None => path,
        Some((folder, _)) => folder,
    };
    error
        .hint(format!("run it with {flag}={folder}"))
        .hint("links, and files with more than one name, are refused wherever they are")
}
