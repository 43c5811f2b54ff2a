//! Script engines behind one interface, and the registry that finds them.

use std::fmt;
use std::io::Read;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use futures_util::future::LocalBoxFuture;
use serde::{Deserialize, Serialize};

use crate::bridge::{Bridge, Method};
use crate::context::Context;
use crate::error::{Error, ErrorKind, Place, Result};
use crate::furniture::Furniture;
use crate::value::Value;

/// The most bytes of one source file. To compile one takes up to a hundred times as many.
pub const MAX_SOURCE: u64 = 1024 * 1024;

/// A script's text and the name that errors call it by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The file as the user knows it, such as `main.luau`.
    pub name: String,
    /// The text.
    pub text: String,
}

impl Source {
    /// A source from its text.
    #[must_use]
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Self {
        Self { name: name.into(), text: text.into() }
    }

    /// A source from a reader.
    ///
    /// # Errors
    /// When it cannot be read, is not UTF-8, or is larger than [`MAX_SOURCE`].
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

/// Something wrong in a source that was found without running it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diagnostic {
    /// Where.
    pub place: Place,
    /// What.
    pub message: String,
    /// The lines around it, drawn for a terminal without colour.
    pub excerpt: String,
    /// What to do.
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

/// What an engine is and which files are its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EngineDescriptor {
    /// Its own name, such as `luau`.
    pub name: &'static str,
    /// The language it runs, such as `Luau`.
    pub language: &'static str,
    /// The version of the engine inside.
    pub version: &'static str,
    /// File extensions without the dot.
    pub extensions: &'static [&'static str],
    /// MIME types.
    pub mime_types: &'static [&'static str],
}

impl EngineDescriptor {
    /// The word for `true` in a `Some` of what this descriptor and another both claim.
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

/// Runs scripts of one language.
pub trait Engine: Send + Sync {
    /// What it is.
    fn descriptor(&self) -> &EngineDescriptor;

    /// What its prelude brings besides the language's own library, for documents.
    fn furniture(&self) -> &'static [Furniture] {
        &[]
    }

    /// Looks for mistakes without running anything.
    fn check(&self, source: &Source) -> Vec<Diagnostic>;

    /// Opens a session on this thread: a fresh VM with the bridges installed read-only and the sandbox closed.
    ///
    /// # Errors
    /// When the VM cannot be made.
    fn open(&self, bridges: &[Arc<Bridge>], cx: Context) -> Result<Box<dyn Session>>;
}

/// One VM with what a script left in it. It stays on the thread that opened it.
///
/// Dropping a session, or a future it returned, stops the script and everything it started.
pub trait Session {
    /// Runs a source and returns what it returns.
    fn eval<'a>(&'a self, source: &'a Source) -> LocalBoxFuture<'a, Result<Value>>;

    /// Sets a global variable.
    ///
    /// # Errors
    /// When the name belongs to a bridge, or the value does not fit the language.
    fn set(&self, name: &str, value: Value) -> Result<()>;

    /// Reads a global variable; nil when there is none.
    ///
    /// # Errors
    /// When what it holds cannot leave the VM.
    fn get(&self, name: &str) -> Result<Value>;

    /// Calls a global function.
    fn call<'a>(&'a self, name: &'a str, arguments: Vec<Value>) -> LocalBoxFuture<'a, Result<Value>>;

    /// Adds a host function as a read-only global.
    ///
    /// # Errors
    /// When the name is taken.
    fn register(&self, method: Method) -> Result<()>;

    /// Makes the session as new for another run of the same source with the same bridges: globals, modules, random
    /// numbers and limits begin anew; registered functions and the values of constants stay. What the last run left is let go of, and the session
    /// holds on to its context no longer.
    ///
    /// # Errors
    /// When the engine cannot; the session is of no use then.
    fn renew(&mut self, cx: Context) -> Result<()>;

    /// Bytes that the VM holds.
    fn memory(&self) -> u64;
}

type Factory = Arc<dyn Fn() -> Arc<dyn Engine> + Send + Sync>;

#[derive(Clone)]
struct Registered {
    descriptor: EngineDescriptor,
    factory: Factory,
    shared: Arc<OnceLock<Arc<dyn Engine>>>,
}

/// The engines that can be had. May be shared and changed from any thread.
#[derive(Default)]
pub struct EngineRegistry(RwLock<Vec<Registered>>);

impl EngineRegistry {
    /// A registry without engines.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an engine, to be made when it is first wanted.
    ///
    /// # Errors
    /// When another one claims the same name, extension or MIME type; the error names both.
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
        engines.push(Registered { descriptor, factory: Arc::new(factory), shared: Arc::default() });
        Ok(())
    }

    /// Takes an engine out. Sessions that it opened live on.
    pub fn unregister(&self, name: &str) -> Option<EngineDescriptor> {
        let mut engines = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let at = engines.iter().position(|known| known.descriptor.name == name)?;
        Some(engines.remove(at).descriptor)
    }

    /// What is registered, in order.
    #[must_use]
    pub fn descriptors(&self) -> Vec<EngineDescriptor> {
        let engines = self.0.read().unwrap_or_else(PoisonError::into_inner);
        engines.iter().map(|known| known.descriptor.clone()).collect()
    }

    /// What the preludes of all engines bring, for documents.
    #[must_use]
    pub fn furniture(&self) -> Vec<&'static Furniture> {
        let names = self.descriptors().into_iter().map(|engine| engine.name);
        names.filter_map(|name| self.by_name(name).ok()).flat_map(|engine| engine.furniture()).collect()
    }

    /// The engine of this name.
    ///
    /// # Errors
    /// When there is none; the error names those there are.
    pub fn by_name(&self, name: &str) -> Result<Arc<dyn Engine>> {
        self.find("engine", name, |known| known.name.eq_ignore_ascii_case(name))
    }

    /// The engine of this language.
    ///
    /// # Errors
    /// When there is none, or more than one; the error names them.
    pub fn by_language(&self, language: &str) -> Result<Arc<dyn Engine>> {
        self.find("engine for the language", language, |known| known.language.eq_ignore_ascii_case(language))
    }

    /// The engine for files with this extension, with or without its dot.
    ///
    /// # Errors
    /// When there is none.
    pub fn by_extension(&self, extension: &str) -> Result<Arc<dyn Engine>> {
        let extension = extension.trim_start_matches('.');
        self.find("engine for files that end in", &format!(".{extension}"), |known| {
            known.extensions.iter().any(|known| known.eq_ignore_ascii_case(extension))
        })
    }

    /// The engine for this MIME type; its parameters are ignored.
    ///
    /// # Errors
    /// When there is none.
    pub fn by_mime_type(&self, mime_type: &str) -> Result<Arc<dyn Engine>> {
        let essence = mime_type.split(';').next().unwrap_or_default().trim();
        self.find("engine for the MIME type", essence, |known| {
            known.mime_types.iter().any(|known| known.eq_ignore_ascii_case(essence))
        })
    }

    /// Makes an engine of this name that nobody else has.
    ///
    /// # Errors
    /// When there is none of that name.
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
    ) -> Result<Registered> {
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
