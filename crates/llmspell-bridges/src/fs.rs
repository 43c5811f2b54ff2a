//! The `fs` bridge: files in granted folders.

use llmspell_macros::bridge;

/// Reads and writes files in the folders that the spell was granted.
///
/// A relative path is looked up in the working folder and then in the spell's own folder; the first one that a grant
/// covers counts. `--allow-read` and `--allow-write` name the folders; write access does not include read access. A
/// path must not lead upwards (`..`), and links are not followed. A refused path fails with `permission.denied`,
/// whether the file exists or not.
#[bridge]
#[since("0.2")]
pub mod fs {
    use llmspell_core::bridge::FromArgument as _;
    use llmspell_core::capability::FileInfo;
    use llmspell_core::{Context, Result};

    use crate::bytes::Bytes;

    /// Reads a file of UTF-8 text, of at most 64 MB.
    ///
    /// Fails with `not_found` when the file does not exist, and with `parse` when it is not UTF-8.
    ///
    /// ```luau
    /// local text, err = fs.read("notes/today.md")
    /// assert(text or err.kind == "permission.denied" or err.kind == "not_found")
    /// ```
    pub async fn read(cx: Context, path: String) -> Result<String> {
        cx.files().read(&path).await
    }

    /// Reads a binary file of at most 64 MB.
    ///
    /// ```luau
    /// local image, err = fs.read_bytes("photo.jpg")
    /// if image then
    ///     print(#image .. " bytes")
    /// end
    /// ```
    pub async fn read_bytes(cx: Context, path: String) -> Result<Bytes> {
        Bytes::from_argument(cx.files().read_bytes(&path).await?)
    }

    /// Writes a file, completely or not at all. Missing folders are created.
    ///
    /// An existing file is replaced atomically: a concurrent reader gets either the old text or the new one.
    ///
    /// ```luau
    /// local err = fs.write("out/report.md", "# Report\n")
    /// if err then
    ///     print(err)
    /// end
    /// ```
    pub async fn write(cx: Context, path: String, text: Bytes) -> Result<()> {
        cx.files().write(&path, text.0).await
    }

    /// Appends text to a file. A missing file is created.
    ///
    /// ```luau
    /// local err = fs.append("out/log.txt", "one more line\n")
    /// ```
    pub async fn append(cx: Context, path: String, text: Bytes) -> Result<()> {
        cx.files().append(&path, text.0).await
    }

    /// Lists the names in a folder, sorted. Links are not listed.
    ///
    /// ```luau
    /// for _, name in fs.list("notes") do
    ///     print(name)
    /// end
    /// ```
    pub async fn list(cx: Context, path: String) -> Result<Vec<String>> {
        cx.files().list(&path).await
    }

    /// Finds the files whose paths match a pattern, sorted; at most 10,000.
    ///
    /// `*` matches any characters within a name, `?` one character, `**` any folders, `[a-z]` one of these characters
    /// and `{md,txt}` one of these texts. Names that begin with a dot are found only by a pattern that has the dot.
    /// The folder before the first special character must be granted.
    ///
    /// ```luau
    /// for _, path in fs.glob("notes/**/*.{md,txt}") do
    ///     print(path, #fs.read(path))
    /// end
    /// ```
    pub async fn glob(cx: Context, pattern: String) -> Result<Vec<String>> {
        cx.files().glob(&pattern).await
    }

    /// Returns the kind, size and modification time of a file or folder.
    ///
    /// `kind` is `"file"` or `"folder"`, `size` is in bytes, and `modified` is in seconds since 1970.
    ///
    /// ```luau
    /// local info = fs.stat("notes/today.md")
    /// if info.kind == "file" then
    ///     print(info.size)
    /// end
    /// ```
    pub async fn stat(cx: Context, path: String) -> Result<FileInfo> {
        cx.files().stat(&path).await
    }

    /// Returns whether a file or folder exists.
    ///
    /// ```luau
    /// if not fs.exists("out/report.md") then
    ///     print("nothing yet")
    /// end
    /// ```
    pub async fn exists(cx: Context, path: String) -> Result<bool> {
        cx.files().exists(&path).await
    }

    /// Removes a file or an empty folder.
    ///
    /// ```luau
    /// local err = fs.remove("out/draft.md")
    /// ```
    pub async fn remove(cx: Context, path: String) -> Result<()> {
        cx.files().remove(&path).await
    }
}
