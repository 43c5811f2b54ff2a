//! Documentation of the globals that an engine's prelude adds to its language, such as Luau's `promise`.
//!
//! These globals are part of the language and not of the outside world, so they are not bridges. Their code is
//! written in the engine's own language; this module holds only their documentation.

/// The documentation of one global of a prelude, or of a group of globals. The functions and their types are written
/// in the engine's own language.
#[derive(Debug)]
pub struct PreludeDocs {
    /// The global's name as scripts write it, or the title of a group of globals.
    pub name: &'static str,
    /// The language in which the types are written.
    pub written: TypeSyntax,
    /// What the global is for. The first line is one sentence.
    pub doc: &'static str,
    /// The functions.
    pub functions: &'static [FunctionDoc],
    /// The classes of the values that the functions create.
    pub classes: &'static [ClassDoc],
}

/// The language in which the types of a prelude's global are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TypeSyntax {
    /// Luau. The functions are members of the global.
    Luau,
    /// TypeScript. The functions are globals, or their names include the global to which they belong.
    TypeScript,
}

/// The documentation of a function of a prelude.
#[derive(Debug)]
pub struct FunctionDoc {
    /// The name as scripts write it.
    pub name: &'static str,
    /// The type parameters, such as `<T>`; empty if there are none.
    pub generics: &'static str,
    /// The parameters with their types, without `self`.
    pub params: &'static [&'static str],
    /// The result type.
    pub returns: &'static str,
    /// What the function does, in Markdown, with an example. The first line is one sentence.
    pub doc: &'static str,
}

/// The documentation of a class.
#[derive(Debug)]
pub struct ClassDoc {
    /// The name in types and documentation.
    pub name: &'static str,
    /// The type parameters, such as `<T>`; empty if there are none.
    pub generics: &'static str,
    /// What the class is, in Markdown.
    pub doc: &'static str,
    /// The methods.
    pub methods: &'static [FunctionDoc],
}

impl PreludeDocs {
    /// Returns what a script writes for a function or class, such as `promise.all` or `fetch`.
    #[must_use]
    pub fn path(&self, name: &str) -> String {
        match self.written {
            TypeSyntax::Luau => format!("{}.{name}", self.name),
            TypeSyntax::TypeScript => name.to_owned(),
        }
    }

    /// Iterates over all functions and methods.
    pub fn all(&self) -> impl Iterator<Item = &'static FunctionDoc> {
        self.functions.iter().chain(self.classes.iter().flat_map(|class| class.methods))
    }
}
