//! The modules of a spell, which scripts load with `require` and `import`.

use crate::error::Result;

/// The source files in a spell's own folder.
///
/// Modules are part of the spell and not of the outside world. Reading one is therefore not an effect and needs no
/// permission.
pub trait Modules: Send + Sync {
    /// Reads the module at `path`, which is relative to the spell's folder and uses `/` as its separator. Returns
    /// `Ok(None)` if the file does not exist or the path leads outside the folder.
    ///
    /// # Errors
    /// Returns an error when the file exists but is not readable as UTF-8 text, or differs from the version that the
    /// user approved.
    fn read(&self, path: &str) -> Result<Option<String>>;
}
