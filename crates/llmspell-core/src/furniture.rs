//! Documentation of what belongs to a language and not to the world, such as Luau's `promise`.

/// What the prelude of an engine brings: a read-only global, or several. This is its documentation; the functions
/// themselves are the prelude's, in the engine's own language, and so are the types.
#[derive(Debug)]
pub struct Furniture {
    /// Its name, as scripts write it; of several globals, what they are called together.
    pub name: &'static str,
    /// What its types are written in.
    pub written: Written,
    /// What it is for. The first line is one sentence.
    pub doc: &'static str,
    /// Its functions.
    pub functions: &'static [Function],
    /// The classes of the values it makes.
    pub classes: &'static [Kind],
}

/// What the types of a piece of furniture are written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// Luau: the functions are members of a global by the name of the piece.
    Luau,
    /// TypeScript: the functions are globals, or named with the global whose members they are.
    TypeScript,
}

/// A function of a prelude, in words.
#[derive(Debug)]
pub struct Function {
    /// Its name, as scripts write it.
    pub name: &'static str,
    /// Its type parameters, such as `<T>`; empty when it has none.
    pub generics: &'static str,
    /// Its parameters with their types, without `self`.
    pub params: &'static [&'static str],
    /// The type of what it returns.
    pub returns: &'static str,
    /// What it does, in Markdown, with an example. The first line is one sentence.
    pub doc: &'static str,
}

/// What all values of one class have in common.
#[derive(Debug)]
pub struct Kind {
    /// The name that types and documents show.
    pub name: &'static str,
    /// Its type parameters, such as `<T>`; empty when it has none.
    pub generics: &'static str,
    /// What it is.
    pub doc: &'static str,
    /// Its methods.
    pub methods: &'static [Function],
}

impl Furniture {
    /// What a script writes for one of its functions or classes: `promise.all`, `fetch`.
    #[must_use]
    pub fn path(&self, name: &str) -> String {
        match self.written {
            Written::Luau => format!("{}.{name}", self.name),
            Written::TypeScript => name.to_owned(),
        }
    }

    /// All its functions and methods.
    pub fn all(&self) -> impl Iterator<Item = &'static Function> {
        self.functions.iter().chain(self.classes.iter().flat_map(|class| class.methods))
    }
}
