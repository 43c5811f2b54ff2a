//! Files behind the gate.

use std::path::{Path, PathBuf};

use serde::Serialize;
use sha2::{Digest as _, Sha256};

use crate::capability::{Access, FileInfo, FilePermit, Files, refusal};
use crate::context::Context;
use crate::effect::{EffectRequest, Permit};
use crate::error::{Error, ErrorKind, Result};
use crate::path::{Covered, cover};
use crate::permission::{Grant, normal};
use crate::value::Value;

/// The recorded form of a write: a digest instead of the data, which may be large.
#[derive(Debug, Serialize)]
pub(super) struct WriteRequest<'a> {
    path: &'a str,
    bytes: usize,
    sha256: String,
}

impl<'a> WriteRequest<'a> {
    pub(super) fn new(path: &'a str, bytes: &[u8]) -> Self {
        Self { path, bytes: bytes.len(), sha256: sha256(bytes) }
    }
}

/// Returns the SHA-256 of the bytes, in hexadecimal.
pub(super) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Decodes UTF-8 text.
pub(super) fn text(bytes: Vec<u8>, shown: &str) -> Result<String> {
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        Error::new(ErrorKind::Parse, format!("`{shown}` is not UTF-8 text, from byte {at}"))
    })
}

impl Context {
    /// Returns the gated view of the files.
    #[must_use]
    pub fn files(&self) -> GatedFiles<'_> {
        GatedFiles(self)
    }
}

/// The files behind the gate. Relative paths are looked up in the working folder, and then in the spell's folder.
#[derive(Debug)]
pub struct GatedFiles<'a>(pub(crate) &'a Context);

impl GatedFiles<'_> {
    /// Reads a whole file of UTF-8 text.
    ///
    /// # Errors
    /// When the path is not granted, or the file does not exist, is too large or is not UTF-8.
    pub async fn read(&self, path: &str) -> Result<String> {
        let (files, covered, room) =
            (self.capability()?, self.covered(path, Access::Read)?, self.0.memory_budget());
        let live = |permit| {
            let reading = files.read(covered.permit(permit), room.clone());
            async move { text(reading.await?, path).map_err(|error| error.hint("`fs.read_bytes` reads any file")) }
        };
        self.0.gate(EffectRequest::new("files", "read", &path)?, live).await
    }

    /// Reads a whole file as bytes.
    ///
    /// # Errors
    /// When the path is not granted, or the file does not exist or is too large.
    pub async fn read_bytes(&self, path: &str) -> Result<Value> {
        let (files, covered, room) =
            (self.capability()?, self.covered(path, Access::Read)?, self.0.memory_budget());
        let live = |permit| {
            let reading = files.read(covered.permit(permit), room.clone());
            async move { reading.await.map(Value::Bytes) }
        };
        self.0.gate(EffectRequest::new("files", "read_bytes", &path)?, live).await
    }

    /// Writes a whole file atomically, and creates its folders.
    ///
    /// # Errors
    /// When the path is not granted, or cannot be written.
    pub async fn write(&self, path: &str, bytes: Vec<u8>) -> Result<()> {
        let (files, covered) = (self.capability()?, self.covered(path, Access::Write)?);
        let ask = EffectRequest::new("files", "write", &WriteRequest::new(path, &bytes))?;
        self.0.gate(ask, |permit| files.write(covered.permit(permit), bytes)).await
    }

    /// Appends to a file. Creates the file and its folders if necessary.
    ///
    /// # Errors
    /// When the path is not granted, or cannot be written.
    pub async fn append(&self, path: &str, bytes: Vec<u8>) -> Result<()> {
        let (files, covered) = (self.capability()?, self.covered(path, Access::Write)?);
        let ask = EffectRequest::new("files", "append", &WriteRequest::new(path, &bytes))?.once(Value::Nil);
        self.0.gate(ask, |permit| files.append(covered.permit(permit), bytes)).await
    }

    /// Returns the names in a folder, sorted.
    ///
    /// # Errors
    /// When the path is not granted, or is not a folder.
    pub async fn list(&self, path: &str) -> Result<Vec<String>> {
        let (files, covered) = (self.capability()?, self.covered(path, Access::Read)?);
        self.0
            .gate(EffectRequest::new("files", "list", &path)?, |permit| files.list(covered.permit(permit)))
            .await
    }

    /// Returns the files whose paths match a pattern, sorted. The folder before the first special character must be
    /// readable.
    ///
    /// # Errors
    /// When that folder is not granted, or the pattern is invalid.
    pub async fn glob(&self, pattern: &str) -> Result<Vec<String>> {
        let (folder, rest) = literal_prefix(pattern);
        let covered = self.covered(if folder.is_empty() { "." } else { folder }, Access::Read)?;
        let files = self.capability()?;
        let ask = EffectRequest::new("files", "glob", &pattern)?;
        let found = self.0.gate(ask, |permit| files.glob(covered.permit(permit), rest.to_owned())).await?;
        Ok(if folder.is_empty() {
            found
        } else {
            found.iter().map(|path| format!("{folder}{path}")).collect()
        })
    }

    /// Returns information about a file or a folder.
    ///
    /// # Errors
    /// When the path is not granted, or does not exist.
    pub async fn stat(&self, path: &str) -> Result<FileInfo> {
        self.look(path, "stat").await?.ok_or_else(|| missing(path))
    }

    /// Returns whether a file or a folder exists.
    ///
    /// # Errors
    /// When the path is not granted.
    pub async fn exists(&self, path: &str) -> Result<bool> {
        Ok(self.look(path, "exists").await?.is_some())
    }

    /// Removes a file or an empty folder.
    ///
    /// # Errors
    /// When the path is not granted, does not exist, or is a folder that is not empty.
    pub async fn remove(&self, path: &str) -> Result<()> {
        let (files, covered) = (self.capability()?, self.covered(path, Access::Write)?);
        self.0
            .gate(EffectRequest::new("files", "remove", &path)?.once(Value::Nil), |permit| {
                files.remove(covered.permit(permit))
            })
            .await
    }

    async fn look(&self, path: &str, operation: &'static str) -> Result<Option<FileInfo>> {
        let (files, covered) = (self.capability()?, self.covered(path, Access::Read)?);
        self.0
            .gate(EffectRequest::new("files", operation, &path)?, |permit| files.stat(covered.permit(permit)))
            .await
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
        // Normalize it like grants: a path that contains `..` never lies beneath a grant.
        let own = self.0.spell().dir.as_deref().and_then(|dir| match working {
            Some(working) => Some(normal(&working.join(dir))),
            None => dir.is_absolute().then(|| normal(dir)),
        });
        let folders: Vec<&Path> = working.into_iter().chain(own.as_deref()).collect();
        let covered = cover(path, grant, &folders).ok_or_else(|| refusal(path, access))?;
        Ok(CoveredPath { covered, shown: path, access })
    }
}

/// A granted path that has not passed the gate yet.
struct CoveredPath<'p> {
    covered: Covered,
    shown: &'p str,
    access: Access,
}

impl CoveredPath<'_> {
    fn permit(self, passed: Permit) -> FilePermit {
        FilePermit::new(self.covered, self.shown, self.access, passed)
    }
}

/// Returns the error for a path that does not exist.
pub(super) fn missing(path: &str) -> Error {
    Error::new(ErrorKind::NotFound, format!("there is no `{path}`"))
}

/// Splits a pattern after the last folder before its first special character.
fn literal_prefix(pattern: &str) -> (&str, &str) {
    let special = pattern.find(['*', '?', '[', '{', '\\']).unwrap_or(pattern.len());
    let end = pattern[..special].rfind('/').map_or(0, |at| at + 1);
    pattern.split_at(end)
}
