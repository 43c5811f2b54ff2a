//! The `storage` bridge.

use llmspell_core::{Callback, Context, Error, Result, Value};
use llmspell_macros::bridge;

use crate::bytes::Bytes;
use crate::json::{Data, decode, encode};

/// Keeps values and files from run to run.
///
/// Each spell has a storage of its own that no other can reach: values by key, and files beside them. A write that has
/// returned is kept, though the run be killed at once. Runs of the same spell may use it at the same time. It holds 64 MB
/// and 10,000 entries, keys and files together.
#[bridge]
#[since("0.2")]
pub mod storage {
    use llmspell_core::bridge::FromArgument as _;
    use llmspell_core::{Callback, Context, Result, Value};

    use super::{Bytes, Data, read_value, write_value};

    /// Returns the value of a key, or nil when it has none.
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

    /// Sets a key, of at most 1,024 bytes, to a value: anything that `json.encode` can write.
    ///
    /// To set a key to nil is an error, for it may well be a mistake; `storage.delete` deletes.
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

    /// Returns the keys that begin with a prefix, or all, sorted.
    ///
    /// ```luau
    /// storage.set("user:ada", 1)
    /// storage.set("user:bob", 2)
    /// assert(table.concat(storage.keys("user:"), " ") == "user:ada user:bob")
    /// ```
    pub async fn keys(cx: Context, prefix: Option<String>) -> Result<Vec<String>> {
        cx.storage().keys(prefix.unwrap_or_default()).await
    }

    /// Sets a key to what a function makes of its value, and returns that.
    ///
    /// When another run changes the key meanwhile, the function is called again with the new value: no change is lost,
    /// so this is the way to count. The function gets nil when the key has no value, and it should do nothing else.
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

    /// Reads a file of any bytes.
    ///
    /// ```luau
    /// storage.write("three.bin", "\0\255\1")
    /// assert(#storage.read_bytes("three.bin") == 3)
    /// ```
    pub async fn read_bytes(cx: Context, path: String) -> Result<Bytes> {
        Bytes::from_argument(cx.storage().read_bytes(&path).await?)
    }

    /// Writes a file: the whole text, or nothing of it. Folders on the way are made.
    ///
    /// ```luau
    /// storage.write("notes/today.md", "remember the milk\n")
    /// ```
    pub async fn write(cx: Context, path: String, text: Bytes) -> Result<()> {
        cx.storage().write(&path, text.0).await
    }

    /// Writes at the end of a file, which is made when there is none.
    ///
    /// ```luau
    /// storage.append("log.txt", "first line\n")
    /// storage.append("log.txt", "second line\n")
    /// assert(storage.read("log.txt") == "first line\nsecond line\n")
    /// ```
    pub async fn append(cx: Context, path: String, text: Bytes) -> Result<()> {
        cx.storage().append(&path, text.0).await
    }

    /// Lists the names in a folder of the spell's files, or in the outermost one, sorted.
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

    /// Tells whether there is a file or a folder.
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
