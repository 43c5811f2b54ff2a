//! Documentation of the globals that an engine's prelude adds to its language, such as Luau's `promise`.
//!
//! These globals are part of the language and not of the outside world, so they are not bridges. Their code is
//! written in the engine's own language; this module holds only their documentation.
//!
//! ```
//! use llmspell_core::prelude_docs::{FunctionDoc, PreludeDocs, TypeSyntax};
//! let halt = FunctionDoc::new("halt").param("seconds: number").returns("()").doc("Waits.");
//! let docs = PreludeDocs::new("task", TypeSyntax::Luau).doc("Waits in line.").function(halt);
//! assert_eq!(docs.path("halt"), "task.halt");
//! ```

use std::borrow::Cow;

/// The documentation of one global of a prelude, or of a group of globals. The functions and their types are written
/// in the engine's own language.
#[derive(Debug, Clone)]
pub struct PreludeDocs {
    /// The global's name as scripts write it, or the title of a group of globals.
    pub name: Cow<'static, str>,
    /// The language in which the types are written.
    pub syntax: TypeSyntax,
    /// What the global is for. The first line is one sentence.
    pub doc: Cow<'static, str>,
    /// The functions.
    pub functions: Vec<FunctionDoc>,
    /// The classes of the values that the functions create.
    pub classes: Vec<ClassDoc>,
}

/// The language in which the types of a prelude's global are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TypeSyntax {
    /// Luau. The functions are members of the global.
    Luau,
    /// TypeScript. The functions are globals, or their names include the global to which they belong.
    TypeScript,
    /// Another language, with the word that marks its code blocks in Markdown. The functions are globals, or their
    /// names include the global to which they belong. Their signatures are written `name(params) -> returns`.
    Other(Cow<'static, str>),
}

/// The documentation of a function of a prelude.
#[derive(Debug, Clone)]
pub struct FunctionDoc {
    /// The name as scripts write it.
    pub name: Cow<'static, str>,
    /// The type parameters, such as `<T>`; empty if there are none.
    pub generics: Cow<'static, str>,
    /// The parameters with their types, without `self`.
    pub params: Vec<Cow<'static, str>>,
    /// The result type.
    pub returns: Cow<'static, str>,
    /// What the function does, in Markdown, with an example. The first line is one sentence.
    pub doc: Cow<'static, str>,
}

/// The documentation of a class.
#[derive(Debug, Clone)]
pub struct ClassDoc {
    /// The name in types and documentation.
    pub name: Cow<'static, str>,
    /// The type parameters, such as `<T>`; empty if there are none.
    pub generics: Cow<'static, str>,
    /// What the class is, in Markdown.
    pub doc: Cow<'static, str>,
    /// The methods.
    pub methods: Vec<FunctionDoc>,
}

impl PreludeDocs {
    /// Creates the documentation of a global without functions.
    pub fn new(name: impl Into<Cow<'static, str>>, syntax: TypeSyntax) -> Self {
        Self { name: name.into(), syntax, doc: "".into(), functions: Vec::new(), classes: Vec::new() }
    }

    /// Sets what the global is for.
    #[must_use]
    pub fn doc(mut self, doc: impl Into<Cow<'static, str>>) -> Self {
        self.doc = doc.into();
        self
    }

    /// Adds a function.
    #[must_use]
    pub fn function(mut self, function: FunctionDoc) -> Self {
        self.functions.push(function);
        self
    }

    /// Adds a class.
    #[must_use]
    pub fn class(mut self, class: ClassDoc) -> Self {
        self.classes.push(class);
        self
    }

    /// Returns what a script writes for a function or class, such as `promise.all` or `fetch`.
    #[must_use]
    pub fn path(&self, name: &str) -> String {
        match self.syntax {
            TypeSyntax::Luau => format!("{}.{name}", self.name),
            TypeSyntax::TypeScript | TypeSyntax::Other(_) => name.to_owned(),
        }
    }

    /// Iterates over all functions and methods.
    pub fn all(&self) -> impl Iterator<Item = &FunctionDoc> {
        self.functions.iter().chain(self.classes.iter().flat_map(|class| &class.methods))
    }
}

impl FunctionDoc {
    /// Creates the documentation of a function without parameters and result.
    pub fn new(name: impl Into<Cow<'static, str>>) -> Self {
        let nothing = || Cow::Borrowed("");
        Self {
            name: name.into(),
            generics: nothing(),
            params: Vec::new(),
            returns: nothing(),
            doc: nothing(),
        }
    }

    /// Sets the type parameters, such as `<T>`.
    #[must_use]
    pub fn generics(mut self, generics: impl Into<Cow<'static, str>>) -> Self {
        self.generics = generics.into();
        self
    }

    /// Adds a parameter with its type.
    #[must_use]
    pub fn param(mut self, param: impl Into<Cow<'static, str>>) -> Self {
        self.params.push(param.into());
        self
    }

    /// Sets the result type.
    #[must_use]
    pub fn returns(mut self, returns: impl Into<Cow<'static, str>>) -> Self {
        self.returns = returns.into();
        self
    }

    /// Sets what the function does.
    #[must_use]
    pub fn doc(mut self, doc: impl Into<Cow<'static, str>>) -> Self {
        self.doc = doc.into();
        self
    }
}

impl ClassDoc {
    /// Creates the documentation of a class without methods.
    pub fn new(name: impl Into<Cow<'static, str>>) -> Self {
        Self { name: name.into(), generics: "".into(), doc: "".into(), methods: Vec::new() }
    }

    /// Sets the type parameters, such as `<T>`.
    #[must_use]
    pub fn generics(mut self, generics: impl Into<Cow<'static, str>>) -> Self {
        self.generics = generics.into();
        self
    }

    /// Sets what the class is.
    #[must_use]
    pub fn doc(mut self, doc: impl Into<Cow<'static, str>>) -> Self {
        self.doc = doc.into();
        self
    }

    /// Adds a method.
    #[must_use]
    pub fn method(mut self, method: FunctionDoc) -> Self {
        self.methods.push(method);
        self
    }
}
