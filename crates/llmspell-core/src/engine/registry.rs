//! The registry of script engines, and the names under which users choose a language.
//!
//! A [`Language`] is chosen by its name or one of its file extensions, in any case: `typescript`, `ts` and `.mts` are
//! the same choice for `engine:` in a manifest, for `--lang` and for the entry script of a folder. So an engine that is
//! registered, by this build or by an embedding program, needs no further code.

use std::fmt;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use serde::Serialize;

use super::Engine;
use crate::error::{Error, ErrorKind, Result};
use crate::prelude_docs::PreludeDocs;

/// A language of scripts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Language {
    /// The name for users, such as `TypeScript`.
    pub name: String,
    /// File extensions without the dot, the usual one first.
    pub extensions: Vec<String>,
    /// MIME types.
    pub mime_types: Vec<String>,
}

impl Language {
    /// Creates a language from its name and its file extensions, the usual one first.
    pub fn new<'a>(name: impl Into<String>, extensions: impl IntoIterator<Item = &'a str>) -> Self {
        Self {
            name: name.into(),
            extensions: extensions.into_iter().map(str::to_owned).collect(),
            mime_types: Vec::new(),
        }
    }

    /// Sets the MIME types.
    #[must_use]
    pub fn mime_types<'a>(mut self, types: impl IntoIterator<Item = &'a str>) -> Self {
        self.mime_types = types.into_iter().map(str::to_owned).collect();
        self
    }

    /// Returns whether files with this extension, with or without the dot, are written in the language.
    #[must_use]
    pub fn has_extension(&self, extension: &str) -> bool {
        let extension = extension.trim_start_matches('.');
        self.extensions.iter().any(|known| known.eq_ignore_ascii_case(extension))
    }

    /// Returns whether a user who writes `key` means this language: its name or one of its extensions.
    ///
    /// ```
    /// let typescript = llmspell_core::Language::new("TypeScript", ["ts", "mts"]);
    /// assert!(["typescript", "TS", ".mts"].iter().all(|key| typescript.is_named(key)));
    /// assert!(!typescript.is_named("js"));
    /// ```
    #[must_use]
    pub fn is_named(&self, key: &str) -> bool {
        self.name.eq_ignore_ascii_case(key) || self.has_extension(key)
    }
}

impl fmt::Display for Language {
    /// Writes the name and the extensions: `TypeScript (.ts, .mts)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (.{})", self.name, self.extensions.join(", ."))
    }
}

/// The name and version of an engine, and the languages that it runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EngineDescriptor {
    /// The engine's name, such as `luau`.
    pub name: String,
    /// The version of the embedded engine.
    pub version: String,
    /// The languages, the preferred one first.
    pub languages: Vec<Language>,
}

impl EngineDescriptor {
    /// Creates the descriptor of an engine without languages.
    pub fn new(name: impl Into<String>, version: impl Into<String>) -> Self {
        Self { name: name.into(), version: version.into(), languages: Vec::new() }
    }

    /// Adds a language.
    #[must_use]
    pub fn language(mut self, language: Language) -> Self {
        self.languages.push(language);
        self
    }

    /// Iterates over the file extensions of all languages, without the dot.
    pub fn extensions(&self) -> impl Iterator<Item = &str> {
        self.languages.iter().flat_map(|language| &language.extensions).map(String::as_str)
    }

    /// Returns whether files with this extension, with or without the dot, are for the engine.
    #[must_use]
    pub fn has_extension(&self, extension: &str) -> bool {
        self.languages.iter().any(|language| language.has_extension(extension))
    }

    /// Returns whether a user who writes `key` means this engine: its name, or a name or extension of its languages.
    #[must_use]
    pub fn is_named(&self, key: &str) -> bool {
        self.name.eq_ignore_ascii_case(key) || self.languages.iter().any(|language| language.is_named(key))
    }

    fn mime_types(&self) -> impl Iterator<Item = &str> {
        self.languages.iter().flat_map(|language| &language.mime_types).map(String::as_str)
    }

    fn has_mime_type(&self, mime_type: &str) -> bool {
        self.mime_types().any(|known| known.eq_ignore_ascii_case(mime_type))
    }

    /// Describes the name, extension or MIME type that both descriptors claim. Returns `None` when they share none.
    fn overlap(&self, other: &Self) -> Option<String> {
        if self.name.eq_ignore_ascii_case(&other.name) {
            return Some(format!("the name `{}`", self.name));
        }
        let extension = self.extensions().find(|extension| other.has_extension(extension));
        let mime_type = || self.mime_types().find(|mime_type| other.has_mime_type(mime_type));
        extension
            .map(|extension| format!("the extension `.{extension}`"))
            .or_else(|| mime_type().map(|mime_type| format!("the MIME type `{mime_type}`")))
    }
}

impl fmt::Display for EngineDescriptor {
    /// Writes the name and the languages: `js: TypeScript (.ts, .mts), JavaScript (.js, .mjs)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let languages: Vec<String> = self.languages.iter().map(Language::to_string).collect();
        write!(f, "{}: {}", self.name, languages.join(", "))
    }
}

type Factory = Arc<dyn Fn() -> Arc<dyn Engine> + Send + Sync>;

#[derive(Clone)]
struct RegisteredEngine {
    descriptor: EngineDescriptor,
    factory: Factory,
    shared: Arc<OnceLock<Arc<dyn Engine>>>,
}

impl RegisteredEngine {
    fn shared(&self) -> Arc<dyn Engine> {
        Arc::clone(self.shared.get_or_init(|| (self.factory)()))
    }
}

/// The registered engines. An engine is created when it is first looked up, and then shared.
///
/// The registry may be shared between threads and changed at any time.
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
                        "engine `{}` and engine `{}` both claim {what}",
                        known.descriptor.name, descriptor.name
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
    pub fn prelude_docs(&self) -> Vec<PreludeDocs> {
        let engines: Vec<_> = {
            let engines = self.0.read().unwrap_or_else(PoisonError::into_inner);
            engines.iter().map(RegisteredEngine::shared).collect()
        };
        engines.iter().flat_map(|engine| engine.prelude_docs()).collect()
    }

    /// Returns the engine with this name, ignoring case.
    ///
    /// # Errors
    /// Returns a `not_found` error when there is none; a hint lists the registered engines.
    pub fn by_name(&self, name: &str) -> Result<Arc<dyn Engine>> {
        let is_it = |known: &EngineDescriptor| known.name.eq_ignore_ascii_case(name);
        self.find(&format!("engine `{name}`"), is_it)
    }

    /// Returns the engine that a user means by `key`: an engine's name, a language or a file extension.
    ///
    /// # Errors
    /// Returns a `not_found` error when there is none, and a `conflict` error when there is more than one. The error
    /// names the engines.
    pub fn by_key(&self, key: &str) -> Result<Arc<dyn Engine>> {
        // An engine's own name goes before the names of its languages.
        self.by_name(key).or_else(|_| self.find(&format!("engine for `{key}`"), |known| known.is_named(key)))
    }

    /// Returns the engine for files with this extension, with or without the dot.
    ///
    /// # Errors
    /// Returns a `not_found` error when there is none.
    pub fn by_extension(&self, extension: &str) -> Result<Arc<dyn Engine>> {
        let extension = extension.trim_start_matches('.');
        let what = format!("engine for files that end in .{extension}");
        self.find(&what, |known| known.has_extension(extension))
    }

    /// Returns the engine for this MIME type. Parameters of the type are ignored.
    ///
    /// # Errors
    /// Returns a `not_found` error when there is none.
    pub fn by_mime_type(&self, mime_type: &str) -> Result<Arc<dyn Engine>> {
        let essence = mime_type.split(';').next().unwrap_or_default().trim();
        self.find(&format!("engine for the MIME type {essence}"), |known| known.has_mime_type(essence))
    }

    /// Creates a new engine of this name, which is not shared.
    ///
    /// # Errors
    /// Returns a `not_found` error when there is none.
    pub fn create(&self, name: &str) -> Result<Arc<dyn Engine>> {
        let found =
            self.matching(&format!("engine `{name}`"), |known| known.name.eq_ignore_ascii_case(name))?;
        Ok((found.factory)())
    }

    fn find(&self, what: &str, matches: impl Fn(&EngineDescriptor) -> bool) -> Result<Arc<dyn Engine>> {
        Ok(self.matching(what, matches)?.shared())
    }

    fn matching(&self, what: &str, matches: impl Fn(&EngineDescriptor) -> bool) -> Result<RegisteredEngine> {
        let engines = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let mut found = engines.iter().filter(|known| matches(&known.descriptor));
        match (found.next(), found.next()) {
            (Some(only), None) => Ok(only.clone()),
            (Some(first), Some(second)) => Err(Error::new(
                ErrorKind::Conflict,
                format!(
                    "there is more than one {what}: `{}` and `{}`",
                    first.descriptor.name, second.descriptor.name
                ),
            )
            .hint("name the engine")),
            (None, _) => {
                let known: Vec<_> = engines.iter().map(|known| known.descriptor.to_string()).collect();
                Err(Error::new(ErrorKind::NotFound, format!("there is no {what}"))
                    .hint(format!("the engines are {}", known.join("; "))))
            }
        }
    }
}

impl fmt::Debug for EngineRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.descriptors().iter().map(|known| &known.name)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Diagnostic, Session, Source};
    use super::*;
    use crate::bridge::Bridge;
    use crate::context::Context;

    struct Toy(EngineDescriptor);

    impl Engine for Toy {
        fn descriptor(&self) -> EngineDescriptor {
            self.0.clone()
        }
        fn check(&self, _: &Source) -> Vec<Diagnostic> {
            Vec::new()
        }
        fn open(&self, _: &[Arc<Bridge>], _: Context) -> Result<Box<dyn Session>> {
            Err(Error::internal("a toy has no sessions"))
        }
    }

    fn toy(name: &str, extension: &str, mime_type: &str) -> EngineDescriptor {
        let language = Language::new("Toy", [extension]).mime_types([mime_type]);
        EngineDescriptor::new(name, "1").language(language)
    }

    fn a() -> EngineDescriptor {
        toy("a", "toy", "text/toy").language(Language::new("Toy Two", ["toy2", "t2"]))
    }

    fn b() -> EngineDescriptor {
        toy("b", "toi", "text/toi")
    }

    fn registry(descriptors: &[EngineDescriptor]) -> Result<EngineRegistry> {
        let registry = EngineRegistry::new();
        for descriptor in descriptors {
            let made = descriptor.clone();
            registry.register(descriptor.clone(), move || Arc::new(Toy(made.clone())))?;
        }
        Ok(registry)
    }

    #[test]
    fn an_engine_is_found_by_each_of_its_names() {
        let registry = registry(&[a(), b()]).unwrap();
        let name = |engine: Result<Arc<dyn Engine>>| engine.unwrap().descriptor().name;
        assert_eq!(name(registry.by_name("A")), "a");
        assert_eq!(name(registry.by_extension(".toi")), "b");
        assert_eq!(name(registry.by_mime_type("text/toy; charset=utf-8")), "a");
        for (key, engine) in [("A", "a"), ("toy2", "a"), (".t2", "a"), ("toy two", "a"), ("TOI", "b")] {
            assert_eq!(name(registry.by_key(key)), engine, "{key}");
        }
    }

    #[test]
    fn lookups_share_an_engine_and_create_makes_another() {
        let registry = registry(&[a()]).unwrap();
        let first = registry.by_name("a").unwrap();
        assert!(Arc::ptr_eq(&first, &registry.by_extension("toy").unwrap()));
        assert!(!Arc::ptr_eq(&first, &registry.create("a").unwrap()));
    }

    #[test]
    fn missing_and_ambiguous_engines_are_named() {
        let registry = registry(&[toy("a", "toy", "text/toy"), b()]).unwrap();
        registry.register(toy("c", "c", "text/c"), || unreachable!("nothing runs")).unwrap();
        assert!(registry.unregister("c").is_some());
        let message = |result: Result<Arc<dyn Engine>>| match result {
            Ok(_) => panic!("found one"),
            Err(error) => format!("{error}; {}", error.hints().join("; ")),
        };
        let known = "the engines are a: Toy (.toy); b: Toy (.toi)";
        for (found, expected) in [
            (registry.by_extension("py"), format!("there is no engine for files that end in .py; {known}")),
            (registry.by_key("cobol"), format!("there is no engine for `cobol`; {known}")),
            (registry.by_key("none of these"), format!("there is no engine for `none of these`; {known}")),
        ] {
            assert_eq!(message(found), expected);
        }
        assert!(registry.by_key("toy").is_err(), "both engines run the language Toy");
    }

    #[test]
    fn two_engines_may_not_claim_the_same() {
        for (second, what) in [
            (toy("b", "toy", "text/toi"), "the extension `.toy`"),
            (toy("b", "toi", "text/toy"), "the MIME type `text/toy`"),
            (toy("A", "toi", "text/toi"), "the name `a`"),
        ] {
            let name = second.name.clone();
            let error = registry(&[a(), second]).unwrap_err();
            assert_eq!(error.message(), format!("engine `a` and engine `{name}` both claim {what}"));
        }
    }
}
