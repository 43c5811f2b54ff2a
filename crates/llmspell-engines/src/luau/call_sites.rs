//! What the places of calls in a Luau source do with the results: has a call room for `nil, err`?
//!
//! A method that fails returns its error only where the call site takes it; `failures.rs` raises it everywhere else. The
//! VM does not tell how many results a caller wants, so [`CallSites::read`] reads it off the source, once a call has
//! failed. The VM knows the line of a frame, and Luau counts a call to the line on which the called name ends.
//!
//! ```luau
//! local text, err = fs.read(path)   -- Site::Targets(2): room
//! print(fs.read(path))              -- Site::Argument of a built-in: no room
//! return fs.read(path)              -- Site::Return: the caller of this function decides
//! ```
//!
//! The reader is one pass over the tokens and builds no tree. It checks nothing, since the source has compiled, and it
//! skips types. It nests at most [`MAX_NESTING`] deep, whatever the source does, because it runs on the stack of the
//! script; Luau accepts five times that. The parsers we know overflow on sources that Luau accepts.

mod lexer;
mod reader;

use std::collections::HashMap;
use std::rc::Rc;

pub(super) use self::reader::MAX_NESTING;

/// The calls of a source.
#[derive(Debug, Default)]
pub(super) struct CallSites {
    /// Sorted by line.
    calls: Vec<CallSite>,
    /// How many arguments the functions of the source take, by name: fields of tables included, and `self` counted. Of
    /// several functions of one name, the one that takes most counts.
    functions: HashMap<Rc<str>, usize>,
}

#[derive(Debug)]
struct CallSite {
    /// The line on which the called name ends.
    line: u32,
    callee: Callee,
    site: Site,
}

/// A called function, as far as the source tells. Calls of one name share its text, because a source may call a long name
/// many times.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Callee {
    /// A global, or its field: `print`, `table.pack`. Of a longer path, only the two ends count. A local variable that
    /// is set to a global stands for it.
    Global { root: Rc<str>, field: Option<Rc<str>> },
    /// A function that a statement defines: `local function name`.
    Function(Rc<str>),
    /// `object:name`.
    Method(Rc<str>),
    /// A variable or field of unknown value.
    Variable(Rc<str>),
    /// The result of an expression.
    Expression,
}

impl Callee {
    fn name(&self) -> Option<&str> {
        match self {
            Self::Global { root, field } => Some(field.as_ref().unwrap_or(root)),
            Self::Function(name) | Self::Method(name) | Self::Variable(name) => Some(name),
            Self::Expression => None,
        }
    }

    /// Returns whether this is a function of the host: a built-in or a method of a bridge.
    fn is_native(&self, is_native: &dyn Fn(&str) -> bool) -> bool {
        matches!(self, Self::Global { root, .. } if is_native(root))
    }

    /// Returns the callee that is reached by a field of this value.
    fn field(&self, name: &str) -> Self {
        match self {
            Self::Global { root, .. } => Self::Global { root: Rc::clone(root), field: Some(name.into()) },
            _ => Self::Variable(name.into()),
        }
    }
}

/// What the place of a call does with its results.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Site {
    /// The call is a statement.
    Statement,
    /// One result is used: by an operator, a condition, parentheses, an item in the middle of a list.
    Single,
    /// The left operand of `or`.
    Default,
    /// The last value of an assignment, with the number of targets that are left for it.
    Targets(usize),
    /// An argument of a call, after `before` others.
    Argument { callee: Callee, before: usize, is_last: bool },
    /// The last item of a table.
    LastItem,
    /// The last value of `return`, after that many others.
    Return(usize),
}

/// What a function returns when it fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FailureResults {
    /// `nil, err`.
    NilAndError,
    /// `err`, since the function has no other result.
    Error,
    /// `nil, err` like the first, but for two targets of an assignment alone: `await` of a promise.
    NilAndErrorForTargets,
}

/// A function that has failed.
#[derive(Debug, Clone, Copy)]
pub(super) struct FailedCall<'a> {
    /// The name of the function, if it has one.
    pub(super) name: Option<&'a str>,
    pub(super) results: FailureResults,
    /// The number of values that functions in between put before the results: `return 1, fs.read(path)`.
    pub(super) before: usize,
    /// Whether `fs.read(path) or default` takes the error.
    pub(super) has_default: bool,
}

/// The answer for a call site.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Room {
    Yes,
    No,
    /// The caller decides, which gets that many other values before the results.
    Caller(usize),
    /// There are several calls on the line, and they do not agree.
    Unclear,
}

impl CallSites {
    /// Reads the calls of a source, or returns `None` if it nests deeper than [`MAX_NESTING`].
    pub(super) fn read(source: &str) -> Option<Self> {
        reader::read(source)
    }

    /// Returns whether the calls of a function on a line have room for its failure. `is_native` tells whether the host
    /// defines a global.
    ///
    /// Calls of the function's name decide. If the line has none, the script called the function through a variable.
    /// Then all calls on the line decide, except those that certainly call another function.
    pub(super) fn room(&self, line: u32, failed: FailedCall<'_>, is_native: &dyn Fn(&str) -> bool) -> Room {
        let start = self.calls.partition_point(|call| call.line < line);
        let on_line = || self.calls[start..].iter().take_while(|call| call.line == line);
        let is_named = |call: &&CallSite| failed.name.is_some() && call.callee.name() == failed.name;
        let is_unknown = |call: &&CallSite| {
            !matches!(call.callee, Callee::Function(_)) && !call.callee.is_native(is_native)
        };
        let room = |call: &CallSite| self.room_of(&call.site, failed, is_native);
        let mut rooms: Vec<_> = on_line().filter(is_named).map(room).collect();
        if rooms.is_empty() {
            rooms.extend(on_line().filter(is_unknown).map(room));
        }
        match rooms.as_slice() {
            [] => Room::No,
            [first, rest @ ..] if rest.iter().all(|other| other == first) => *first,
            _ => Room::Unclear,
        }
    }

    fn room_of(&self, site: &Site, failed: FailedCall<'_>, is_native: &dyn Fn(&str) -> bool) -> Room {
        let has_room = match (failed.results, site) {
            (_, Site::Return(others)) => return Room::Caller(failed.before + others),
            (FailureResults::Error, Site::Targets(targets)) => *targets == failed.before + 1,
            (_, Site::Targets(targets)) => *targets >= failed.before + 2,
            (FailureResults::NilAndError, Site::Default) => failed.before == 0 && failed.has_default,
            (FailureResults::NilAndError, Site::LastItem) => true,
            (FailureResults::NilAndError, Site::Argument { callee, before, is_last }) => match callee {
                Callee::Global { root, field } if is_native(root) => match (&**root, field.as_deref()) {
                    ("assert", None) => *before == 0 && failed.before == 0,
                    ("select", None) | ("table", Some("pack")) => *is_last,
                    _ => false,
                },
                _ => *is_last && self.takes(callee, before + failed.before + 2),
            },
            _ => false,
        };
        if has_room { Room::Yes } else { Room::No }
    }

    /// Returns whether the source defines a function of this name that takes so many arguments. A function that the
    /// source does not define may be one of the host, which ignores an error or takes it for a value.
    fn takes(&self, callee: &Callee, arguments: usize) -> bool {
        let of_self = usize::from(matches!(callee, Callee::Method(_)));
        let known = callee.name().and_then(|name| self.functions.get(name));
        known.is_some_and(|takes| *takes >= arguments + of_self)
    }
}

#[cfg(test)]
mod tests;
