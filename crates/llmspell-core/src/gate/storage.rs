//! Storage behind the gate.

use serde::Serialize;

use super::files::{WriteRequest, missing, sha256, text};
use crate::capability::{FileInfo, MAX_KEY, Storage, outside_storage};
use crate::context::Context;
use crate::effect::EffectRequest;
use crate::error::{Error, ErrorKind, Result};
use crate::path::InnerPath;
use crate::value::Value;

/// The recorded form of a change: digests instead of values, which may be large.
#[derive(Serialize)]
struct StorageChange<'a> {
    key: &'a str,
    bytes: usize,
    sha256: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    was_sha256: Option<String>,
}

impl Context {
    /// Returns the gated view of the spell's storage.
    #[must_use]
    pub fn storage(&self) -> GatedStorage<'_> {
        GatedStorage(self)
    }
}

/// The storage behind the gate.
#[derive(Debug)]
pub struct GatedStorage<'a>(pub(crate) &'a Context);

impl GatedStorage<'_> {
    /// Returns the JSON text of a key's value; `None` if the key does not exist.
    ///
    /// # Errors
    /// When there is no storage, or it cannot be read.
    pub async fn get(&self, key: String) -> Result<Option<String>> {
        let (storage, room) = (self.for_key(&key)?, self.0.memory_budget());
        let ask = EffectRequest::new("storage", "get", &key)?;
        self.0.gate(ask, |permit| storage.get(permit, key, room.clone())).await
    }

    /// Sets a key to a value, given as JSON text.
    ///
    /// # Errors
    /// When there is no storage, it cannot be written, or the quota is spent.
    pub async fn set(&self, key: String, value: String) -> Result<()> {
        let storage = self.for_key(&key)?;
        let ask = EffectRequest::new("storage", "set", &change(&key, None, &value))?;
        self.0.gate(ask, |permit| storage.set(permit, key, value)).await
    }

    /// Sets a key if its current value equals `was`; `None` means that the key must not exist. Returns whether it was
    /// set.
    ///
    /// # Errors
    /// When there is no storage, it cannot be written, or the quota is spent.
    pub async fn replace(&self, key: String, was: Option<String>, value: String) -> Result<bool> {
        let storage = self.for_key(&key)?;
        let ask = EffectRequest::new("storage", "replace", &change(&key, was.as_deref(), &value))?
            .once(Value::Bool(true));
        self.0.gate(ask, |permit| storage.replace(permit, key, was, value)).await
    }

    /// Deletes a key. Returns whether it existed.
    ///
    /// # Errors
    /// When there is no storage, or it cannot be written.
    pub async fn delete(&self, key: String) -> Result<bool> {
        let storage = self.for_key(&key)?;
        self.0
            .gate(EffectRequest::new("storage", "delete", &key)?, |permit| storage.delete(permit, key))
            .await
    }

    /// Returns the keys with this prefix, sorted.
    ///
    /// # Errors
    /// When there is no storage, or it cannot be read.
    pub async fn keys(&self, prefix: String) -> Result<Vec<String>> {
        let storage = self.capability()?;
        self.0
            .gate(EffectRequest::new("storage", "keys", &prefix)?, |permit| storage.keys(permit, prefix))
            .await
    }

    /// Reads a file of UTF-8 text.
    ///
    /// # Errors
    /// When the file does not exist, or is not UTF-8.
    pub async fn read(&self, path: &str) -> Result<String> {
        let (storage, inner, room) = (self.capability()?, inner(path)?, self.0.memory_budget());
        let live = |permit| {
            let reading = storage.read(permit, inner, room.clone());
            async move {
                text(reading.await?, path).map_err(|error| error.hint("`storage.read_bytes` reads any file"))
            }
        };
        self.0.gate(EffectRequest::new("storage", "read", &path)?, live).await
    }

    /// Reads a file as bytes.
    ///
    /// # Errors
    /// When the file does not exist.
    pub async fn read_bytes(&self, path: &str) -> Result<Value> {
        let (storage, inner, room) = (self.capability()?, inner(path)?, self.0.memory_budget());
        let live = |permit| {
            let reading = storage.read(permit, inner, room.clone());
            async move { reading.await.map(Value::Bytes) }
        };
        self.0.gate(EffectRequest::new("storage", "read_bytes", &path)?, live).await
    }

    /// Writes a whole file atomically, and creates its folders.
    ///
    /// # Errors
    /// When it cannot be written, or the quota is spent.
    pub async fn write(&self, path: &str, bytes: Vec<u8>) -> Result<()> {
        let (storage, inner) = (self.capability()?, inner(path)?);
        let ask = EffectRequest::new("storage", "write", &WriteRequest::new(path, &bytes))?;
        self.0.gate(ask, |permit| storage.write(permit, inner, bytes)).await
    }

    /// Appends to a file. Creates the file and its folders if necessary.
    ///
    /// # Errors
    /// When it cannot be written, or the quota is spent.
    pub async fn append(&self, path: &str, bytes: Vec<u8>) -> Result<()> {
        let (storage, inner) = (self.capability()?, inner(path)?);
        let ask = EffectRequest::new("storage", "append", &WriteRequest::new(path, &bytes))?.once(Value::Nil);
        self.0.gate(ask, |permit| storage.append(permit, inner, bytes)).await
    }

    /// Returns the names in a folder of the storage, sorted; `None` is the top folder.
    ///
    /// # Errors
    /// When it is not a folder.
    pub async fn list(&self, path: Option<&str>) -> Result<Vec<String>> {
        let (storage, inner) = (self.capability()?, path.map_or_else(|| Ok(InnerPath::default()), inner)?);
        self.0.gate(EffectRequest::new("storage", "list", &path)?, |permit| storage.list(permit, inner)).await
    }

    /// Returns whether a file or a folder exists.
    ///
    /// # Errors
    /// When the path leads out of the spell's storage.
    pub async fn exists(&self, path: &str) -> Result<bool> {
        let (storage, inner) = (self.capability()?, inner(path)?);
        let ask = EffectRequest::new("storage", "exists", &path)?;
        let found: Option<FileInfo> = self.0.gate(ask, |permit| storage.stat(permit, inner)).await?;
        Ok(found.is_some())
    }

    /// Removes a file or an empty folder.
    ///
    /// # Errors
    /// When it does not exist, or is a folder that is not empty.
    pub async fn remove(&self, path: &str) -> Result<()> {
        let (storage, inner) = (self.capability()?, inner(path)?);
        if inner.is_root() {
            return Err(missing(path));
        }
        self.0
            .gate(EffectRequest::new("storage", "remove", &path)?.once(Value::Nil), |permit| {
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

fn change<'a>(key: &'a str, was: Option<&str>, value: &str) -> StorageChange<'a> {
    let was_sha256 = was.map(|was| sha256(was.as_bytes()));
    StorageChange { key, bytes: value.len(), sha256: sha256(value.as_bytes()), was_sha256 }
}
