//! The console capability: reading lines.

use futures_util::future::BoxFuture;

use crate::effect::Permit;
use crate::error::Result;

/// Reads lines that the user types. Output goes to the context's sink instead.
pub trait Console: Send + Sync {
    /// Shows `prompt` and reads one line, without its line end. Returns `None` at the end of input.
    fn read_line(&self, permit: Permit, prompt: String) -> BoxFuture<'static, Result<Option<String>>>;
}
