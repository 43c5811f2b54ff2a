//! Where a module's path leads, seen from the module that names it.

use llmspell_core::{Error, Result};

/// The most bytes of a path: more than one that leads anywhere.
pub(crate) const MAX_PATH: usize = 4096;

/// A path as the parts below the spell's folder, joined by `/`. `verb` is what the script wanted to do with it.
///
/// # Errors
/// When it is no relative path, or leads out of that folder.
pub(crate) fn normalise(verb: &str, folder: &str, path: &str) -> Result<String> {
    let refuse = |why: &str| Err(Error::load(format!("cannot {verb} `{}`: {why}", path.escape_debug())));
    if !path.starts_with("./") && !path.starts_with("../") {
        return refuse("a module's path begins with ./ or ../");
    }
    if path.contains(['\\', '\0', ':']) {
        return refuse("it holds a character that no module's path has");
    }
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in path.split('/') {
        match part {
            "." => {}
            ".." => {
                if parts.pop().is_none() {
                    return refuse("it leads out of the spell's folder");
                }
            }
            "" => return refuse("it has an empty part"),
            part => parts.push(part),
        }
    }
    if parts.is_empty() {
        return refuse("it names a folder");
    }
    Ok(parts.join("/"))
}
