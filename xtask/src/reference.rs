//! Writes the reference pages and type files, which are generated from the definitions of bridges and preludes.

use std::fs;
use std::path::Path;

use llmspell::{Runtime, reference};

/// Writes all generated files. Returns a message with their number.
#[expect(clippy::disallowed_methods, reason = "a chore writes into the repository it belongs to")]
pub(crate) fn write() -> Result<String, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let runtime = Runtime::builder().build().map_err(|error| error.to_string())?;
    let files = reference::files(&reference::bridges(&runtime), &runtime.engines().prelude_docs());
    for (path, content) in &files {
        let file = root.join(path);
        let folder = file.parent().unwrap_or(&root);
        fs::create_dir_all(folder)
            .and_then(|()| fs::write(&file, content))
            .map_err(|error| format!("cannot write {path}: {error}"))?;
    }
    Ok(format!("wrote {} files", files.len()))
}
