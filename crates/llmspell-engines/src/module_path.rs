//! Resolves the paths of `require` and `import` against the folder of the module that names them.

use llmspell_core::{Error, Result};

/// The maximum length of a path in bytes. It is as long as Linux allows any path to be.
pub(crate) const MAX_PATH: usize = 4096;

/// Returns a path relative to the spell's folder, without `.` and `..`. `verb` names the script's action in errors, for
/// example "require".
///
/// # Errors
/// When the path is not relative, or leads out of the spell's folder.
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
