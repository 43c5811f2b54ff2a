//! The storage capability: values and files that a spell keeps from run to run.

use futures_util::future::BoxFuture;

use super::files::FileInfo;
use crate::effect::Permit;
use crate::error::{Error, Result};
use crate::memory_reservation::MemoryBudget;
use crate::path::InnerPath;

/// The maximum length of a key, in bytes.
pub const MAX_KEY: usize = 1024;

/// Stores values by key, and files, for one spell. Values are JSON texts.
///
/// Writes are atomic. A write that has completed survives a crash of the process.
pub trait Storage: Send + Sync {
    /// Returns the value of a key. Its size is taken from `room` before it is read.
    fn get(
        &self,
        permit: Permit,
        key: String,
        room: MemoryBudget,
    ) -> BoxFuture<'static, Result<Option<String>>>;

    /// Sets a key.
    fn set(&self, permit: Permit, key: String, value: String) -> BoxFuture<'static, Result<()>>;

    /// Sets a key if its current value equals `was`; `None` means that the key must not exist. Returns whether it was
    /// set.
    fn replace(
        &self,
        permit: Permit,
        key: String,
        was: Option<String>,
        value: String,
    ) -> BoxFuture<'static, Result<bool>>;

    /// Deletes a key. Returns whether it existed.
    fn delete(&self, permit: Permit, key: String) -> BoxFuture<'static, Result<bool>>;

    /// Returns the keys with this prefix, sorted.
    fn keys(&self, permit: Permit, prefix: String) -> BoxFuture<'static, Result<Vec<String>>>;

    /// Reads a whole file. Its size is taken from `room` before it is read.
    fn read(
        &self,
        permit: Permit,
        path: InnerPath,
        room: MemoryBudget,
    ) -> BoxFuture<'static, Result<Vec<u8>>>;

    /// Writes a whole file atomically, and creates its folders.
    fn write(&self, permit: Permit, path: InnerPath, bytes: Vec<u8>) -> BoxFuture<'static, Result<()>>;

    /// Appends to a file. Creates the file and its folders if necessary.
    fn append(&self, permit: Permit, path: InnerPath, bytes: Vec<u8>) -> BoxFuture<'static, Result<()>>;

    /// Returns the names in a folder, sorted.
    fn list(&self, permit: Permit, path: InnerPath) -> BoxFuture<'static, Result<Vec<String>>>;

    /// Returns information about a file or a folder; `None` if it does not exist.
    fn stat(&self, permit: Permit, path: InnerPath) -> BoxFuture<'static, Result<Option<FileInfo>>>;

    /// Removes a file or an empty folder.
    fn remove(&self, permit: Permit, path: InnerPath) -> BoxFuture<'static, Result<()>>;
}

/// Returns the error for a path outside the spell's storage, or one that leads through a link.
#[must_use]
pub fn outside_storage(path: &str) -> Error {
    Error::denied(format!("`{path}` is not a file of the spell's storage"))
        .hint("a path is relative, without `..`; links, and files with more than one name, are refused")
}
