//! The interface of a script engine, and the registry in which engines are found.
//!
//! An [`Engine`] runs the scripts of one or more languages. It opens a [`Session`] for each run: one VM on the current
//! thread, with the bridges installed as read-only globals and the sandbox closed. A session never moves to another
//! thread.
//!
//! The [`EngineRegistry`] finds an engine by name, language, file extension or MIME type.

mod registry;

use std::io::Read;
use std::sync::Arc;

use futures_util::future::LocalBoxFuture;
use serde::{Deserialize, Serialize};

use crate::bridge::{Bridge, Method};
use crate::context::Context;
use crate::error::{Error, Result, SourceLocation};
use crate::prelude_docs::PreludeDocs;
use crate::value::Value;

pub use registry::{EngineDescriptor, EngineRegistry, Language};

/// The maximum size of a source file, in bytes. Compiling a file takes up to a hundred times its size in memory.
pub const MAX_SOURCE: u64 = 1024 * 1024;

/// The text of a script and the name that error messages use for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The file name as the user knows it, such as `main.luau`.
    pub name: String,
    /// The text.
    pub text: String,
}

impl Source {
    /// Creates a source from its text.
    #[must_use]
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Self {
        Self { name: name.into(), text: text.into() }
    }

    /// Reads a source to its end.
    ///
    /// # Errors
    /// Returns a `load` error when the source cannot be read, is not UTF-8, or is larger than [`MAX_SOURCE`].
    pub fn from_reader(name: impl Into<String>, reader: impl Read) -> Result<Self> {
        let name = name.into();
        let mut bytes = Vec::new();
        reader
            .take(MAX_SOURCE + 1)
            .read_to_end(&mut bytes)
            .map_err(|error| Error::load(format!("cannot read {name}: {error}")).with_source(error))?;
        if bytes.len() as u64 > MAX_SOURCE {
            return Err(Error::load(format!("{name} is larger than {} MB", MAX_SOURCE >> 20)));
        }
        let text = String::from_utf8(bytes).map_err(|error| {
            Error::load(format!("{name} is not UTF-8 text, from byte {}", error.utf8_error().valid_up_to()))
        })?;
        Ok(Self { name, text })
    }
}

/// A mistake in a source, found without running it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diagnostic {
    /// The position of the mistake.
    pub place: SourceLocation,
    /// A description of the mistake.
    pub message: String,
    /// The surrounding source lines, formatted for a terminal without colour.
    pub excerpt: String,
    /// How to fix the mistake.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl From<Diagnostic> for Error {
    fn from(diagnostic: Diagnostic) -> Self {
        let error = Error::syntax(diagnostic.message).at(diagnostic.place).with_excerpt(diagnostic.excerpt);
        match diagnostic.hint {
            Some(hint) => error.hint(hint),
            None => error,
        }
    }
}

/// A script engine: runs the scripts of one or more languages.
pub trait Engine: Send + Sync {
    /// Returns the engine's descriptor.
    fn descriptor(&self) -> EngineDescriptor;

    /// Returns the documentation of the globals that the engine's prelude adds to the language's own library.
    fn prelude_docs(&self) -> Vec<PreludeDocs> {
        Vec::new()
    }

    /// Looks for mistakes in a source without running it.
    fn check(&self, source: &Source) -> Vec<Diagnostic>;

    /// Opens a session on the current thread: a fresh VM with the bridges installed read-only and the sandbox closed.
    ///
    /// # Errors
    /// Returns an error when the VM cannot be created.
    fn open(&self, bridges: &[Arc<Bridge>], cx: Context) -> Result<Box<dyn Session>>;
}

/// A VM together with the state that its scripts left in it. A session stays on the thread that opened it.
///
/// Dropping the session, or a future that it returned, stops the script and everything that the script started.
pub trait Session {
    /// Runs a source and returns the script's return value.
    fn eval<'a>(&'a self, source: &'a Source) -> LocalBoxFuture<'a, Result<Value>>;

    /// Sets a global variable.
    ///
    /// # Errors
    /// Returns an error when the name belongs to a bridge, or the language cannot represent the value.
    fn set(&self, name: &str, value: Value) -> Result<()>;

    /// Reads a global variable. Returns nil when the variable does not exist.
    ///
    /// # Errors
    /// Returns an error when the variable's value cannot leave the VM.
    fn get(&self, name: &str) -> Result<Value>;

    /// Calls a global function.
    fn call<'a>(&'a self, name: &'a str, arguments: Vec<Value>) -> LocalBoxFuture<'a, Result<Value>>;

    /// Adds a host function as a read-only global.
    ///
    /// # Errors
    /// Returns an error when the name is taken.
    fn register(&self, method: Method) -> Result<()>;

    /// Resets the session for another run of the same source with the same bridges.
    ///
    /// Globals, modules, random numbers and limits start afresh; registered functions stay, and so do the values of
    /// constants that do not belong to a run. The state of the last run is freed, and the session releases its old
    /// context.
    ///
    /// # Errors
    /// Returns an error when the engine cannot reset the VM. The session is then unusable.
    fn renew(&mut self, cx: Context) -> Result<()>;

    /// Returns how many bytes the VM uses.
    fn memory(&self) -> u64;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_read_whole_or_refused() {
        assert_eq!(Source::from_reader("a", "x = 1".as_bytes()).unwrap().text, "x = 1");
        let error = Source::from_reader("a", &b"ok\xff"[..]).unwrap_err();
        assert_eq!(error.message(), "a is not UTF-8 text, from byte 2");
        let error = Source::from_reader("a", std::io::repeat(b'x')).unwrap_err();
        assert_eq!(error.message(), "a is larger than 1 MB");
    }
}
