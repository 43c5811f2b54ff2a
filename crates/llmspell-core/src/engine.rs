//! The interface of a script engine, and the registry in which engines are found.
//!
//! An [`Engine`] runs the scripts of one language. It opens a [`Session`] for each run: one VM on the current thread,
//! with the bridges installed as read-only globals and the sandbox closed. A session never moves to another thread.
//!
//! The [`EngineRegistry`] finds an engine by name, language, file extension or MIME type. An engine is created when
//! it is first looked up, and then shared.

use std::fmt;
use std::io::Read;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use futures_util::future::LocalBoxFuture;
use serde::{Deserialize, Serialize};

use crate::bridge::{Bridge, Method};
use crate::context::Context;
use crate::error::{Error, ErrorKind, Result, SourceLocation};
use crate::prelude_docs::PreludeDocs;
use crate::value::Value;

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

/// The name and version of an engine, and the files that it handles.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EngineDescriptor {
    /// The engine's name, such as `luau`.
    pub name: &'static str,
    /// The language, such as `Luau`.
    pub language: &'static str,
    /// The version of the embedded engine.
    pub version: &'static str,
    /// File extensions, without the dot.
    pub extensions: &'static [&'static str],
    /// MIME types.
    pub mime_types: &'static [&'static str],
}

impl EngineDescriptor {
    /// Describes the name, extension or MIME type that both descriptors claim. Returns `None` when they share none.
    fn overlap(&self, other: &Self) -> Option<String> {
        if self.name.eq_ignore_ascii_case(other.name) {
            return Some(format!("the name `{}`", self.name));
        }
        let shared =
            |ours: &[&'static str], theirs: &[&str]| ours.iter().copied().find(|item| theirs.contains(item));
        shared(self.extensions, other.extensions)
            .map(|extension| format!("the extension `.{extension}`"))
            .or_else(|| {
                shared(self.mime_types, other.mime_types).map(|mime| format!("the MIME type `{mime}`"))
            })
    }
}

/// A script engine: runs the scripts of one language.
pub trait Engine: Send + Sync {
    /// Returns the engine's descriptor.
    fn descriptor(&self) -> &EngineDescriptor;

    /// Returns the documentation of the globals that the engine's prelude adds to the language's own library.
    fn prelude_docs(&self) -> &'static [PreludeDocs] {
        &[]
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

type Factory = Arc<dyn Fn() -> Arc<dyn Engine> + Send + Sync>;

#[derive(Clone)]
struct RegisteredEngine {
    descriptor: EngineDescriptor,
    factory: Factory,
    shared: Arc<OnceLock<Arc<dyn Engine>>>,
}

/// The registered engines. The registry may be shared between threads and changed at any time.
#[derive(Default)]
pub struct EngineRegistry(RwLock<Vec<RegisteredEngine>>);

impl EngineRegistry {
    /// Creates an empty registry.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Registers an engine, which is created at its first lookup.
    ///
    /// # Errors
    /// Returns a `conflict` error when another engine claims the same name, extension or MIME type. The error names
    /// both.
    pub fn register(
        &self,
        descriptor: EngineDescriptor,
        factory: impl Fn() -> Arc<dyn Engine> + Send + Sync + 'static,
    ) -> Result<()> {
        let mut engines = self.0.write().unwrap_or_else(PoisonError::into_inner);
        for known in engines.iter() {
            if let Some(what) = known.descriptor.overlap(&descriptor) {
                return Err(Error::new(
                    ErrorKind::Conflict,
                    format!(
                        "engine `{}` ({}) and engine `{}` ({}) both claim {what}",
                        known.descriptor.name,
                        known.descriptor.language,
                        descriptor.name,
                        descriptor.language
                    ),
                ));
            }
        }
        engines.push(RegisteredEngine { descriptor, factory: Arc::new(factory), shared: Arc::default() });
        Ok(())
    }

    /// Removes an engine. Sessions that the engine opened stay alive.
    pub fn unregister(&self, name: &str) -> Option<EngineDescriptor> {
        let mut engines = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let at = engines.iter().position(|known| known.descriptor.name == name)?;
        Some(engines.remove(at).descriptor)
    }

    /// Returns the descriptors of all engines, in order of registration.
    #[must_use]
    pub fn descriptors(&self) -> Vec<EngineDescriptor> {
        let engines = self.0.read().unwrap_or_else(PoisonError::into_inner);
        engines.iter().map(|known| known.descriptor.clone()).collect()
    }

    /// Returns the documentation of the preludes of all engines.
    #[must_use]
    pub fn prelude_docs(&self) -> Vec<&'static PreludeDocs> {
        let names = self.descriptors().into_iter().map(|engine| engine.name);
        names.filter_map(|name| self.by_name(name).ok()).flat_map(|engine| engine.prelude_docs()).collect()
    }

    /// Returns the engine with this name, ignoring case.
    ///
    /// # Errors
    /// Returns a `not_found` error when there is none; a hint lists the registered engines.
    pub fn by_name(&self, name: &str) -> Result<Arc<dyn Engine>> {
        self.find("engine", name, |known| known.name.eq_ignore_ascii_case(name))
    }

    /// Returns the engine for this language, ignoring case.
    ///
    /// # Errors
    /// Returns an error when there is none, or more than one; the error names them.
    pub fn by_language(&self, language: &str) -> Result<Arc<dyn Engine>> {
        self.find("engine for the language", language, |known| known.language.eq_ignore_ascii_case(language))
    }

    /// Returns the engine for files with this extension, with or without the dot.
    ///
    /// # Errors
    /// Returns a `not_found` error when there is none.
    pub fn by_extension(&self, extension: &str) -> Result<Arc<dyn Engine>> {
        let extension = extension.trim_start_matches('.');
        self.find("engine for files that end in", &format!(".{extension}"), |known| {
            known.extensions.iter().any(|known| known.eq_ignore_ascii_case(extension))
        })
    }

    /// Returns the engine for this MIME type. Parameters of the type are ignored.
    ///
    /// # Errors
    /// Returns a `not_found` error when there is none.
    pub fn by_mime_type(&self, mime_type: &str) -> Result<Arc<dyn Engine>> {
        let essence = mime_type.split(';').next().unwrap_or_default().trim();
        self.find("engine for the MIME type", essence, |known| {
            known.mime_types.iter().any(|known| known.eq_ignore_ascii_case(essence))
        })
    }

    /// Creates a new engine of this name, which is not shared.
    ///
    /// # Errors
    /// Returns a `not_found` error when there is none.
    pub fn create(&self, name: &str) -> Result<Arc<dyn Engine>> {
        let found = self.matching("engine", name, |known| known.name.eq_ignore_ascii_case(name))?;
        Ok((found.factory)())
    }

    fn find(
        &self,
        what: &str,
        wanted: &str,
        matches: impl Fn(&EngineDescriptor) -> bool,
    ) -> Result<Arc<dyn Engine>> {
        let found = self.matching(what, wanted, matches)?;
        Ok(Arc::clone(found.shared.get_or_init(|| (found.factory)())))
    }

    fn matching(
        &self,
        what: &str,
        wanted: &str,
        matches: impl Fn(&EngineDescriptor) -> bool,
    ) -> Result<RegisteredEngine> {
        let engines = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let mut found = engines.iter().filter(|known| matches(&known.descriptor));
        match (found.next(), found.next()) {
            (Some(only), None) => Ok(only.clone()),
            (Some(first), Some(second)) => Err(Error::new(
                ErrorKind::Conflict,
                format!(
                    "there is more than one {what} {wanted}: `{}` and `{}`",
                    first.descriptor.name, second.descriptor.name
                ),
            )
            .hint("name the engine")),
            (None, _) => {
                let known: Vec<_> = engines
                    .iter()
                    .map(|known| {
                        format!("`{}` (.{})", known.descriptor.name, known.descriptor.extensions.join(", ."))
                    })
                    .collect();
                Err(Error::new(ErrorKind::NotFound, format!("there is no {what} {wanted}"))
                    .hint(format!("the engines are {}", known.join(", "))))
            }
        }
    }
}

impl fmt::Debug for EngineRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.descriptors().iter().map(|known| known.name)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Toy(EngineDescriptor);

    impl Engine for Toy {
        fn descriptor(&self) -> &EngineDescriptor {
            &self.0
        }
        fn check(&self, _: &Source) -> Vec<Diagnostic> {
            Vec::new()
        }
        fn open(&self, _: &[Arc<Bridge>], _: Context) -> Result<Box<dyn Session>> {
            Err(Error::internal("a toy has no sessions"))
        }
    }

    const A: EngineDescriptor = EngineDescriptor {
        name: "a",
        language: "Toy",
        version: "1",
        extensions: &["toy"],
        mime_types: &["text/toy"],
    };
    const B: EngineDescriptor = EngineDescriptor {
        name: "b",
        language: "Toy",
        version: "1",
        extensions: &["toi"],
        mime_types: &["text/toi"],
    };

    fn registry(descriptors: &[EngineDescriptor]) -> Result<EngineRegistry> {
        let registry = EngineRegistry::new();
        for descriptor in descriptors {
            let made = descriptor.clone();
            registry.register(descriptor.clone(), move || Arc::new(Toy(made.clone())))?;
        }
        Ok(registry)
    }

    #[test]
    fn an_engine_is_found_by_name_extension_and_mime_type() {
        let registry = registry(&[A, B]).unwrap();
        assert_eq!(registry.by_name("A").unwrap().descriptor().name, "a");
        assert_eq!(registry.by_extension(".toi").unwrap().descriptor().name, "b");
        assert_eq!(registry.by_mime_type("text/toy; charset=utf-8").unwrap().descriptor().name, "a");
    }

    #[test]
    fn lookups_share_an_engine_and_create_makes_another() {
        let registry = registry(&[A]).unwrap();
        let first = registry.by_name("a").unwrap();
        assert!(Arc::ptr_eq(&first, &registry.by_extension("toy").unwrap()));
        assert!(!Arc::ptr_eq(&first, &registry.create("a").unwrap()));
    }

    #[test]
    fn what_is_missing_or_ambiguous_is_said_by_name() {
        let registry = registry(&[A, B]).unwrap();
        let message = |result: Result<Arc<dyn Engine>>| match result {
            Ok(_) => panic!("found one"),
            Err(error) => format!("{error}; {}", error.hints().join("; ")),
        };
        assert_eq!(
            message(registry.by_language("toy")),
            "there is more than one engine for the language toy: `a` and `b`; name the engine"
        );
        assert_eq!(
            message(registry.by_extension("py")),
            "there is no engine for files that end in .py; the engines are `a` (.toy), `b` (.toi)"
        );
        assert!(registry.unregister("b").is_some());
        assert!(registry.by_language("toy").is_ok());
    }

    #[test]
    fn two_engines_may_not_claim_the_same() {
        for (second, what) in [
            (EngineDescriptor { extensions: &["toy"], ..B }, "the extension `.toy`"),
            (EngineDescriptor { mime_types: &["text/toy"], ..B }, "the MIME type `text/toy`"),
            (EngineDescriptor { name: "A", ..B }, "the name `a`"),
        ] {
            let name = second.name;
            let error = registry(&[A, second]).unwrap_err();
            assert_eq!(
                error.message(),
                format!("engine `a` (Toy) and engine `{name}` (Toy) both claim {what}")
            );
        }
    }

    #[test]
    fn a_source_is_read_whole_or_refused() {
        assert_eq!(Source::from_reader("a", "x = 1".as_bytes()).unwrap().text, "x = 1");
        let error = Source::from_reader("a", &b"ok\xff"[..]).unwrap_err();
        assert_eq!(error.message(), "a is not UTF-8 text, from byte 2");
        let error = Source::from_reader("a", std::io::repeat(b'x')).unwrap_err();
        assert_eq!(error.message(), "a is larger than 1 MB");
    }
}
