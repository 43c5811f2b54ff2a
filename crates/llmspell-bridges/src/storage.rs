//! The `storage` bridge: persistent values and files of a spell.

use llmspell_core::{Callback, Context, Error, Result, Value};
use llmspell_macros::bridge;

use crate::bytes::Bytes;
use crate::json::{Data, decode, encode};

/// Stores values and files that persist between runs.
///
/// Each spell has its own storage, which other spells cannot access: values by key, and files. A completed write
/// survives even if the run is killed immediately after. Several runs of the same spell may use the storage at the
/// same time. The limit is 64 MB and 10,000 entries, keys and files together.
#[bridge]
#[since("0.2")]
pub mod storage {
    use llmspell_core::bridge::FromArgument as _;
    use llmspell_core::{Callback, Context, Result, Value};

    use super::{Bytes, Data, read_value, write_value};

    /// Returns the value of a key, or nil if the key has none.
    ///
    /// ```luau
    /// storage.set("settings", {language = "en", seen = {1, 2}})
    /// assert(storage.get("settings").language == "en")
    /// assert(storage.get("nothing here") == nil)
    /// ```
    pub async fn get(cx: Context, key: String) -> Result<Value> {
        match cx.storage().get(key).await? {
            Some(json) => read_value(&cx, &json),
            None => Ok(Value::Nil),
        }
    }

    /// Sets a key, of at most 1,024 bytes, to any value that `json.encode` accepts.
    ///
    /// Setting a key to nil is an error, because it may be a mistake; use `storage.delete`.
    ///
    /// ```luau
    /// storage.set("name", "Ada")
    /// assert(storage.get("name") == "Ada")
    /// ```
    pub async fn set(cx: Context, key: String, value: Data) -> Result<()> {
        let json = write_value(&cx, &value, "storage.delete deletes a key")?;
        cx.storage().set(key, json).await
    }

    /// Deletes a key. Returns whether it had a value.
    ///
    /// ```luau
    /// storage.set("draft", "…")
    /// assert(storage.delete("draft") == true)
    /// assert(storage.delete("draft") == false)
    /// ```
    pub async fn delete(cx: Context, key: String) -> Result<bool> {
        cx.storage().delete(key).await
    }

    /// Returns the keys that begin with a prefix, or all keys, sorted.
    ///
    /// ```luau
    /// storage.set("user:ada", 1)
    /// storage.set("user:bob", 2)
    /// assert(table.concat(storage.keys("user:"), " ") == "user:ada user:bob")
    /// ```
    pub async fn keys(cx: Context, prefix: Option<String>) -> Result<Vec<String>> {
        cx.storage().keys(prefix.unwrap_or_default()).await
    }

    /// Replaces the value of a key by the result of a function, atomically, and returns the new value.
    ///
    /// If another run changes the key meanwhile, the function is called again with the new value, so no change is
    /// lost; use this for counters. The function gets nil when the key has no value. It should have no side effects,
    /// because it may run several times.
    ///
    /// ```luau
    /// local function one_more(count)
    ///     return (count or 0) + 1
    /// end
    /// storage.update("runs", one_more)
    /// assert(storage.update("runs", one_more) == 2)
    /// ```
    pub async fn update(cx: Context, key: String, change: Callback) -> Result<Value> {
        super::update(&cx, key, &change).await
    }

    /// Reads a file of UTF-8 text.
    ///
    /// ```luau
    /// storage.write("notes/today.md", "remember the milk\n")
    /// assert(storage.read("notes/today.md") == "remember the milk\n")
    /// ```
    pub async fn read(cx: Context, path: String) -> Result<String> {
        cx.storage().read(&path).await
    }

    /// Reads a binary file.
    ///
    /// ```luau
    /// storage.write("three.bin", "\0\255\1")
    /// assert(#storage.read_bytes("three.bin") == 3)
    /// ```
    pub async fn read_bytes(cx: Context, path: String) -> Result<Bytes> {
        Bytes::from_argument(cx.storage().read_bytes(&path).await?)
    }

    /// Writes a file, completely or not at all. Missing folders are created.
    ///
    /// ```luau
    /// storage.write("notes/today.md", "remember the milk\n")
    /// ```
    pub async fn write(cx: Context, path: String, text: Bytes) -> Result<()> {
        cx.storage().write(&path, text.0).await
    }

    /// Appends text to a file. A missing file is created.
    ///
    /// ```luau
    /// storage.append("log.txt", "first line\n")
    /// storage.append("log.txt", "second line\n")
    /// assert(storage.read("log.txt") == "first line\nsecond line\n")
    /// ```
    pub async fn append(cx: Context, path: String, text: Bytes) -> Result<()> {
        cx.storage().append(&path, text.0).await
    }

    /// Lists the names in a folder of the storage, or in its root, sorted.
    ///
    /// ```luau
    /// storage.write("notes/b.md", "")
    /// storage.write("notes/a.md", "")
    /// assert(table.concat(storage.list("notes"), " ") == "a.md b.md")
    /// assert(storage.list()[1] == "notes")
    /// ```
    pub async fn list(cx: Context, path: Option<String>) -> Result<Vec<String>> {
        cx.storage().list(path.as_deref()).await
    }

    /// Returns whether a file or folder exists.
    ///
    /// ```luau
    /// assert(storage.exists("nothing.txt") == false)
    /// ```
    pub async fn exists(cx: Context, path: String) -> Result<bool> {
        cx.storage().exists(&path).await
    }

    /// Removes a file or an empty folder.
    ///
    /// ```luau
    /// storage.write("draft.md", "…")
    /// storage.remove("draft.md")
    /// assert(not storage.exists("draft.md"))
    /// ```
    pub async fn remove(cx: Context, path: String) -> Result<()> {
        cx.storage().remove(&path).await
    }
}

fn read_value(cx: &Context, json: &str) -> Result<Value> {
    decode::decode(cx.meter(), json.as_bytes())
}

fn write_value(cx: &Context, value: &Data, when_nil: &str) -> Result<String> {
    if value.0.is_nil() {
        return Err(Error::argument("nil cannot be kept").hint(when_nil));
    }
    encode::encode(cx.meter(), &value.0, false)
}

async fn update(cx: &Context, key: String, change: &Callback) -> Result<Value> {
    loop {
        let was = cx.storage().get(key.clone()).await?;
        let value = was.as_deref().map_or(Ok(Value::Nil), |json| read_value(cx, json))?;
        let new = Data(change.call(vec![value]).await?);
        let json = write_value(cx, &new, "the function that storage.update calls returns the new value")?;
        if cx.storage().replace(key.clone(), was, json).await? {
            return Ok(new.0);
        }
    }
}
