//! Files in folders that were granted.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::BoxFuture;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::context::Context;
use crate::effect::{Ask, Permit};
use crate::error::{Error, ErrorKind, Result};
use crate::held::Held;
use crate::path::{Covered, InnerPath, cover};
use crate::permission::{Grant, normal};
use crate::value::Value;

/// What a path names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FileKind {
    /// A file.
    File,
    /// A folder.
    Folder,
}

/// What is known of a file or a folder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FileInfo {
    /// What it is.
    pub kind: FileKind,
    /// Its bytes; of a folder, zero.
    pub size: u64,
    /// When it was last written, in seconds since the beginning of 1970 in UTC; absent where the system does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub modified: Option<f64>,
}

/// Reads and writes files beneath folders that were granted.
///
/// The gate has judged a path by its letters; what it meets on the disk is judged here. No link is followed and no file
/// with a second name is touched, whoever put it there; those are refused by [`FilePermit::refusal`], as what lies
/// outside is.
pub trait Files: Send + Sync {
    /// Reads a whole file; its size is taken from `room` before it is read.
    fn read(&self, permit: FilePermit, room: Room) -> BoxFuture<'static, Result<Vec<u8>>>;

    /// Writes a whole file, or nothing of it, and the folders it is in.
    fn write(&self, permit: FilePermit, bytes: Vec<u8>) -> BoxFuture<'static, Result<()>>;

    /// Writes at the end of a file, which is made if need be, with the folders it is in.
    fn append(&self, permit: FilePermit, bytes: Vec<u8>) -> BoxFuture<'static, Result<()>>;

    /// The names in a folder, sorted.
    fn list(&self, permit: FilePermit) -> BoxFuture<'static, Result<Vec<String>>>;

    /// The files anywhere beneath a folder whose path from there matches the pattern, sorted.
    fn glob(&self, permit: FilePermit, pattern: String) -> BoxFuture<'static, Result<Vec<String>>>;

    /// What there is; `None` for nothing.
    fn stat(&self, permit: FilePermit) -> BoxFuture<'static, Result<Option<FileInfo>>>;

    /// Removes a file or an empty folder.
    fn remove(&self, permit: FilePermit) -> BoxFuture<'static, Result<()>>;
}

/// Which of the two grants an operation needs. Neither implies the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Access {
    Read,
    Write,
}

/// The proof that a path was granted. Only the gate makes one.
#[derive(Debug)]
pub struct FilePermit {
    root: PathBuf,
    path: InnerPath,
    shown: String,
    access: Access,
    _passed: Permit,
}

impl FilePermit {
    /// The folder or single file that the user granted.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The way from there; empty for what was granted itself.
    #[must_use]
    pub fn path(&self) -> &InnerPath {
        &self.path
    }

    /// The path as the script gave it.
    #[must_use]
    pub fn shown(&self) -> &str {
        &self.shown
    }

    /// The error for a way that leads through a link: the same one as for a path that was not granted, so that a script
    /// cannot tell what there is outside.
    #[must_use]
    pub fn refusal(&self) -> Error {
        refusal(&self.shown, self.access)
    }
}

fn refusal(path: &str, access: Access) -> Error {
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

/// What a run may still take of its memory, asked before the host allocates for it. What was taken is given back when
/// the last clone is dropped.
#[derive(Debug, Clone)]
pub struct Room {
    cx: Context,
    held: Arc<Mutex<Vec<Held>>>,
}

impl Room {
    pub(crate) fn new(cx: &Context) -> Self {
        Self { cx: cx.clone(), held: Arc::default() }
    }

    /// Takes so many bytes.
    ///
    /// # Errors
    /// When the `memory` limit is reached.
    pub fn take(&self, bytes: u64) -> Result<()> {
        let held = self.cx.hold(bytes)?;
        self.held.lock().unwrap_or_else(PoisonError::into_inner).push(held);
        Ok(())
    }
}

/// What is written, as the journal knows it: by its digest, for it may be large.
#[derive(Debug, Serialize)]
pub(super) struct Written<'a> {
    path: &'a str,
    bytes: usize,
    sha256: String,
}

impl<'a> Written<'a> {
    pub(super) fn new(path: &'a str, bytes: &[u8]) -> Self {
        Self { path, bytes: bytes.len(), sha256: sha256(bytes) }
    }
}

/// The SHA-256 of some bytes, in hexadecimal.
pub(super) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The text that some bytes are.
pub(super) fn text(bytes: Vec<u8>, shown: &str) -> Result<String> {
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        Error::new(ErrorKind::Parse, format!("`{shown}` is not UTF-8 text, from byte {at}"))
    })
}

/// Files behind the gate. Paths are given as a script writes them: relative ones are looked up in the working folder and
/// then in the spell's own.
#[derive(Debug)]
pub struct GatedFiles<'a>(pub(crate) &'a Context);

impl GatedFiles<'_> {
    /// Reads a whole file of UTF-8 text.
    ///
    /// # Errors
    /// When it was not granted, is not there, is too large or is not text.
    pub async fn read(&self, path: &str) -> Result<String> {
        let (files, covered, room) =
            (self.capability()?, self.covered(path, Access::Read)?, Room::new(self.0));
        let live = |permit| {
            let reading = files.read(covered.permit(permit), room.clone());
            async move { text(reading.await?, path).map_err(|error| error.hint("`fs.read_bytes` reads any file")) }
        };
        self.0.gate(Ask::new("files", "read", &path)?, live).await
    }

    /// Reads a whole file of any bytes.
    ///
    /// # Errors
    /// When it was not granted, is not there or is too large.
    pub async fn read_bytes(&self, path: &str) -> Result<Value> {
        let (files, covered, room) =
            (self.capability()?, self.covered(path, Access::Read)?, Room::new(self.0));
        let live = |permit| {
            let reading = files.read(covered.permit(permit), room.clone());
            async move { reading.await.map(Value::Bytes) }
        };
        self.0.gate(Ask::new("files", "read_bytes", &path)?, live).await
    }

    /// Writes a whole file, or nothing of it, and the folders it is in.
    ///
    /// # Errors
    /// When it was not granted, or cannot be written.
    pub async fn write(&self, path: &str, bytes: Vec<u8>) -> Result<()> {
        let (files, covered) = (self.capability()?, self.covered(path, Access::Write)?);
        let ask = Ask::new("files", "write", &Written::new(path, &bytes))?;
        self.0.gate(ask, |permit| files.write(covered.permit(permit), bytes)).await
    }

    /// Writes at the end of a file, which is made if need be, with the folders it is in.
    ///
    /// # Errors
    /// When it was not granted, or cannot be written.
    pub async fn append(&self, path: &str, bytes: Vec<u8>) -> Result<()> {
        let (files, covered) = (self.capability()?, self.covered(path, Access::Write)?);
        let ask = Ask::new("files", "append", &Written::new(path, &bytes))?.once(Value::Nil);
        self.0.gate(ask, |permit| files.append(covered.permit(permit), bytes)).await
    }

    /// The names in a folder, sorted.
    ///
    /// # Errors
    /// When it was not granted, or is no folder.
    pub async fn list(&self, path: &str) -> Result<Vec<String>> {
        let (files, covered) = (self.capability()?, self.covered(path, Access::Read)?);
        self.0.gate(Ask::new("files", "list", &path)?, |permit| files.list(covered.permit(permit))).await
    }

    /// The files whose paths match a pattern, sorted. The folder to read is what stands before the first special sign.
    ///
    /// # Errors
    /// When that folder was not granted, or the pattern is none.
    pub async fn glob(&self, pattern: &str) -> Result<Vec<String>> {
        let (folder, rest) = literal_prefix(pattern);
        let covered = self.covered(if folder.is_empty() { "." } else { folder }, Access::Read)?;
        let files = self.capability()?;
        let ask = Ask::new("files", "glob", &pattern)?;
        let found = self.0.gate(ask, |permit| files.glob(covered.permit(permit), rest.to_owned())).await?;
        Ok(if folder.is_empty() {
            found
        } else {
            found.iter().map(|path| format!("{folder}{path}")).collect()
        })
    }

    /// What is known of a file or a folder.
    ///
    /// # Errors
    /// When it was not granted, or is not there.
    pub async fn stat(&self, path: &str) -> Result<FileInfo> {
        self.look(path, "stat").await?.ok_or_else(|| missing(path))
    }

    /// Whether there is a file or a folder.
    ///
    /// # Errors
    /// When it was not granted.
    pub async fn exists(&self, path: &str) -> Result<bool> {
        Ok(self.look(path, "exists").await?.is_some())
    }

    /// Removes a file or an empty folder.
    ///
    /// # Errors
    /// When it was not granted, is not there, or is a folder that is not empty.
    pub async fn remove(&self, path: &str) -> Result<()> {
        let (files, covered) = (self.capability()?, self.covered(path, Access::Write)?);
        self.0
            .gate(Ask::new("files", "remove", &path)?.once(Value::Nil), |permit| {
                files.remove(covered.permit(permit))
            })
            .await
    }

    async fn look(&self, path: &str, operation: &'static str) -> Result<Option<FileInfo>> {
        let (files, covered) = (self.capability()?, self.covered(path, Access::Read)?);
        self.0.gate(Ask::new("files", operation, &path)?, |permit| files.stat(covered.permit(permit))).await
    }

    fn capability(&self) -> Result<&dyn Files> {
        self.0
            .files_capability()
            .ok_or_else(|| Error::new(ErrorKind::Unsupported, "this runtime has no files"))
    }

    fn covered<'p>(&self, path: &'p str, access: Access) -> Result<CoveredPath<'p>> {
        let permissions = self.0.permissions();
        let grant: &Grant<PathBuf> = match access {
            Access::Read => &permissions.read,
            Access::Write => &permissions.write,
        };
        let working = self.0.working_dir();
        // As grants are: a `..` in the way to the spell would never lie beneath one.
        let own = self.0.spell().dir.as_deref().and_then(|dir| match working {
            Some(working) => Some(normal(&working.join(dir))),
            None => dir.is_absolute().then(|| normal(dir)),
        });
        let folders: Vec<&Path> = working.into_iter().chain(own.as_deref()).collect();
        let covered = cover(path, grant, &folders).ok_or_else(|| refusal(path, access))?;
        Ok(CoveredPath { covered, shown: path, access })
    }
}

/// A path that was granted and has not passed the gate.
struct CoveredPath<'p> {
    covered: Covered,
    shown: &'p str,
    access: Access,
}

impl CoveredPath<'_> {
    fn permit(self, passed: Permit) -> FilePermit {
        let Covered { root, path } = self.covered;
        FilePermit { root, path, shown: self.shown.to_owned(), access: self.access, _passed: passed }
    }
}

/// The error for what is not there.
pub(super) fn missing(path: &str) -> Error {
    Error::new(ErrorKind::NotFound, format!("there is no `{path}`"))
}

/// Splits a pattern after the last folder before its first special sign.
fn literal_prefix(pattern: &str) -> (&str, &str) {
    let special = pattern.find(['*', '?', '[', '{', '\\']).unwrap_or(pattern.len());
    let end = pattern[..special].rfind('/').map_or(0, |at| at + 1);
    pattern.split_at(end)
}
