//! The `fs` bridge.

use llmspell_macros::bridge;

/// Reads and writes files in the folders that the spell was granted.
///
/// A path that is not absolute is looked up in the folder the command was started in, and then in the spell's own: the
/// first that a grant covers counts. `--allow-read` and `--allow-write` name the folders; to write does not mean to
/// read. A path never leads upwards (`..`), and no link is followed: what is refused fails with the kind
/// `permission.denied`, and nobody can tell from it what there is outside.
#[bridge]
#[since("0.2")]
pub mod fs {
    use llmspell_core::bridge::FromArgument as _;
    use llmspell_core::capability::FileInfo;
    use llmspell_core::{Context, Result};

    use crate::bytes::Bytes;

    /// Reads a file of UTF-8 text, of at most 64 MB.
    ///
    /// Fails with the kind `not_found` when there is none, and with `parse` when it is not text.
    ///
    /// ```luau
    /// local text, err = fs.read("notes/today.md")
    /// assert(text or err.kind == "permission.denied" or err.kind == "not_found")
    /// ```
    pub async fn read(cx: Context, path: String) -> Result<String> {
        cx.files().read(&path).await
    }

    /// Reads a file of any bytes, of at most 64 MB.
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

    /// Writes a file: the whole text, or nothing of it. Folders on the way are made.
    ///
    /// A file that was there is replaced at once; who reads it meanwhile gets the old text or the new one.
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

    /// Writes at the end of a file, which is made when there is none.
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
    /// for _, name in fs.list("notes") or {} do
    ///     print(name)
    /// end
    /// ```
    pub async fn list(cx: Context, path: String) -> Result<Vec<String>> {
        cx.files().list(&path).await
    }

    /// Finds the files whose paths match a pattern, sorted; at most 10,000.
    ///
    /// `*` stands for any letters within a name and `?` for one, `**` for any folders, `[a-z]` for one of these letters
    /// and `{md,txt}` for one of these texts. What begins with a dot is found only by a pattern that says so. The folder
    /// before the first of these signs is the one to grant.
    ///
    /// ```luau
    /// for _, path in fs.glob("notes/**/*.{md,txt}") or {} do
    ///     print(path, #fs.read(path))
    /// end
    /// ```
    pub async fn glob(cx: Context, pattern: String) -> Result<Vec<String>> {
        cx.files().glob(&pattern).await
    }

    /// Tells what a path names, how large it is and when it was last written.
    ///
    /// The `kind` is `"file"` or `"folder"`, the `size` is in bytes, and `modified` counts seconds since 1970.
    ///
    /// ```luau
    /// local info = fs.stat("notes/today.md")
    /// if info and info.kind == "file" then
    ///     print(info.size)
    /// end
    /// ```
    pub async fn stat(cx: Context, path: String) -> Result<FileInfo> {
        cx.files().stat(&path).await
    }

    /// Tells whether there is a file or a folder.
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
