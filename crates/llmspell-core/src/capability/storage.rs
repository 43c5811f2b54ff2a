//! What a spell keeps from run to run.

use futures_util::future::BoxFuture;
use serde::Serialize;

use super::files::{FileInfo, Room, Written, missing, sha256, text};
use crate::context::Context;
use crate::effect::{Ask, Permit};
use crate::error::{Error, ErrorKind, Result};
use crate::path::InnerPath;
use crate::value::Value;

/// The most bytes of a key.
pub const MAX_KEY: usize = 1024;

/// Keeps values by key, and files, for one spell. Values are JSON texts.
///
/// What was written when a future completes is kept though the process be killed at once, and is whole or not there.
pub trait Storage: Send + Sync {
    /// The value of a key; its size is taken from `room` before it is read.
    fn get(&self, permit: Permit, key: String, room: Room) -> BoxFuture<'static, Result<Option<String>>>;

    /// Sets a key.
    fn set(&self, permit: Permit, key: String, value: String) -> BoxFuture<'static, Result<()>>;

    /// Sets a key if its value is still the one given, or it is still not there. Returns whether it was.
    fn replace(
        &self,
        permit: Permit,
        key: String,
        was: Option<String>,
        value: String,
    ) -> BoxFuture<'static, Result<bool>>;

    /// Deletes a key. Returns whether it was there.
    fn delete(&self, permit: Permit, key: String) -> BoxFuture<'static, Result<bool>>;

    /// The keys that begin with a prefix, sorted.
    fn keys(&self, permit: Permit, prefix: String) -> BoxFuture<'static, Result<Vec<String>>>;

    /// Reads a whole file; its size is taken from `room` before it is read.
    fn read(&self, permit: Permit, path: InnerPath, room: Room) -> BoxFuture<'static, Result<Vec<u8>>>;

    /// Writes a whole file, or nothing of it, and the folders it is in.
    fn write(&self, permit: Permit, path: InnerPath, bytes: Vec<u8>) -> BoxFuture<'static, Result<()>>;

    /// Writes at the end of a file, which is made if need be, with the folders it is in.
    fn append(&self, permit: Permit, path: InnerPath, bytes: Vec<u8>) -> BoxFuture<'static, Result<()>>;

    /// The names in a folder, sorted.
    fn list(&self, permit: Permit, path: InnerPath) -> BoxFuture<'static, Result<Vec<String>>>;

    /// What there is; `None` for nothing.
    fn stat(&self, permit: Permit, path: InnerPath) -> BoxFuture<'static, Result<Option<FileInfo>>>;

    /// Removes a file or an empty folder.
    fn remove(&self, permit: Permit, path: InnerPath) -> BoxFuture<'static, Result<()>>;
}

/// The error for a path that is not one of the storage's files, or meets a link in it.
#[must_use]
pub fn outside_storage(path: &str) -> Error {
    Error::denied(format!("`{path}` is not a file of the spell's storage"))
        .hint("a path is relative, without `..`; links, and files with more than one name, are refused")
}

/// A change of a key, as the journal knows it: by digests, for values may be large.
#[derive(Serialize)]
struct Change<'a> {
    key: &'a str,
    bytes: usize,
    sha256: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    was_sha256: Option<String>,
}

/// The storage behind the gate.
#[derive(Debug)]
pub struct GatedStorage<'a>(pub(crate) &'a Context);

impl GatedStorage<'_> {
    /// The JSON text of a key's value; `None` when there is none.
    ///
    /// # Errors
    /// When there is no storage, or it cannot be read.
    pub async fn get(&self, key: String) -> Result<Option<String>> {
        let (storage, room) = (self.for_key(&key)?, Room::new(self.0));
        let ask = Ask::new("storage", "get", &key)?;
        self.0.gate(ask, |permit| storage.get(permit, key, room.clone())).await
    }

    /// Sets a key to a value, given as JSON text.
    ///
    /// # Errors
    /// When there is no storage, it cannot be written, or the quota is spent.
    pub async fn set(&self, key: String, value: String) -> Result<()> {
        let storage = self.for_key(&key)?;
        let ask = Ask::new("storage", "set", &change(&key, None, &value))?;
        self.0.gate(ask, |permit| storage.set(permit, key, value)).await
    }

    /// Sets a key if its value is still the one given, or it is still not there. Returns whether it was.
    ///
    /// # Errors
    /// When there is no storage, it cannot be written, or the quota is spent.
    pub async fn replace(&self, key: String, was: Option<String>, value: String) -> Result<bool> {
        let storage = self.for_key(&key)?;
        let ask =
            Ask::new("storage", "replace", &change(&key, was.as_deref(), &value))?.once(Value::Bool(true));
        self.0.gate(ask, |permit| storage.replace(permit, key, was, value)).await
    }

    /// Deletes a key. Returns whether it was there.
    ///
    /// # Errors
    /// When there is no storage, or it cannot be written.
    pub async fn delete(&self, key: String) -> Result<bool> {
        let storage = self.for_key(&key)?;
        self.0.gate(Ask::new("storage", "delete", &key)?, |permit| storage.delete(permit, key)).await
    }

    /// The keys that begin with a prefix, sorted.
    ///
    /// # Errors
    /// When there is no storage, or it cannot be read.
    pub async fn keys(&self, prefix: String) -> Result<Vec<String>> {
        let storage = self.capability()?;
        self.0.gate(Ask::new("storage", "keys", &prefix)?, |permit| storage.keys(permit, prefix)).await
    }

    /// Reads a file of UTF-8 text.
    ///
    /// # Errors
    /// When it is not there, or is not text.
    pub async fn read(&self, path: &str) -> Result<String> {
        let (storage, inner, room) = (self.capability()?, inner(path)?, Room::new(self.0));
        let live = |permit| {
            let reading = storage.read(permit, inner, room.clone());
            async move {
                text(reading.await?, path).map_err(|error| error.hint("`storage.read_bytes` reads any file"))
            }
        };
        self.0.gate(Ask::new("storage", "read", &path)?, live).await
    }

    /// Reads a file of any bytes.
    ///
    /// # Errors
    /// When it is not there.
    pub async fn read_bytes(&self, path: &str) -> Result<Value> {
        let (storage, inner, room) = (self.capability()?, inner(path)?, Room::new(self.0));
        let live = |permit| {
            let reading = storage.read(permit, inner, room.clone());
            async move { reading.await.map(Value::Bytes) }
        };
        self.0.gate(Ask::new("storage", "read_bytes", &path)?, live).await
    }

    /// Writes a whole file, or nothing of it, and the folders it is in.
    ///
    /// # Errors
    /// When it cannot be written, or the quota is spent.
    pub async fn write(&self, path: &str, bytes: Vec<u8>) -> Result<()> {
        let (storage, inner) = (self.capability()?, inner(path)?);
        let ask = Ask::new("storage", "write", &Written::new(path, &bytes))?;
        self.0.gate(ask, |permit| storage.write(permit, inner, bytes)).await
    }

    /// Writes at the end of a file, which is made if need be, with the folders it is in.
    ///
    /// # Errors
    /// When it cannot be written, or the quota is spent.
    pub async fn append(&self, path: &str, bytes: Vec<u8>) -> Result<()> {
        let (storage, inner) = (self.capability()?, inner(path)?);
        let ask = Ask::new("storage", "append", &Written::new(path, &bytes))?.once(Value::Nil);
        self.0.gate(ask, |permit| storage.append(permit, inner, bytes)).await
    }

    /// The names in a folder of files, sorted; `None` is the outermost one.
    ///
    /// # Errors
    /// When it is no folder.
    pub async fn list(&self, path: Option<&str>) -> Result<Vec<String>> {
        let (storage, inner) = (self.capability()?, path.map_or_else(|| Ok(InnerPath::default()), inner)?);
        self.0.gate(Ask::new("storage", "list", &path)?, |permit| storage.list(permit, inner)).await
    }

    /// Whether there is a file or a folder.
    ///
    /// # Errors
    /// When the path is not one of the storage's files.
    pub async fn exists(&self, path: &str) -> Result<bool> {
        let (storage, inner) = (self.capability()?, inner(path)?);
        let ask = Ask::new("storage", "exists", &path)?;
        let found: Option<FileInfo> = self.0.gate(ask, |permit| storage.stat(permit, inner)).await?;
        Ok(found.is_some())
    }

    /// Removes a file or an empty folder.
    ///
    /// # Errors
    /// When it is not there, or is a folder that is not empty.
    pub async fn remove(&self, path: &str) -> Result<()> {
        let (storage, inner) = (self.capability()?, inner(path)?);
        if inner.is_root() {
            return Err(missing(path));
        }
        self.0
            .gate(Ask::new("storage", "remove", &path)?.once(Value::Nil), |permit| {
                storage.remove(permit, inner)
            })
            .await
    }

    fn capability(&self) -> Result<&dyn Storage> {
        self.0.storage_capability().ok_or_else(|| {
            Error::new(ErrorKind::Unsupported, "this runtime has no storage")
                .hint("give it a folder with `Runtime::builder().storage(…)`")
        })
    }

    fn for_key(&self, key: &str) -> Result<&dyn Storage> {
        if key.is_empty() || key.len() > MAX_KEY {
            let length = key.len();
            return Err(Error::argument(format!("a key has 1 to {MAX_KEY} bytes; this one has {length}")));
        }
        self.capability()
    }
}

fn inner(path: &str) -> Result<InnerPath> {
    InnerPath::new(path).ok_or_else(|| outside_storage(path))
}

fn change<'a>(key: &'a str, was: Option<&str>, value: &str) -> Change<'a> {
    let was_sha256 = was.map(|was| sha256(was.as_bytes()));
    Change { key, bytes: value.len(), sha256: sha256(value.as_bytes()), was_sha256 }
}
