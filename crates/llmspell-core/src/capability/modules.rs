//! The files a spell brings along, for `require` and `import`.

use crate::error::Result;

/// The source files inside a spell's own folder, and nothing else.
///
/// They are part of the spell, not of the world: reading one is not an effect and needs no permission.
pub trait Modules: Send + Sync {
    /// Reads the module at `path`, relative to the spell's folder and with `/` between its parts.
    /// `Ok(None)` means that there is no such file there; a path that leads outside is no such file.
    ///
    /// # Errors
    /// When the file is there but cannot be read as UTF-8 text, or is not what the user approved.
    fn read(&self, path: &str) -> Result<Option<String>>;
}
