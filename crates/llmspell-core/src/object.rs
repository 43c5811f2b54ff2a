//! A host thing with methods that a script holds: a conversation, an agent, a stream.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use crate::bridge::{Field, Method};
use crate::error::{Error, Result};

/// What all objects of one kind have in common. A `static` made by `#[bridge]` or by hand.
#[derive(Debug)]
pub struct Class {
    /// The name that types and documents show.
    pub name: &'static str,
    /// What it is.
    pub doc: &'static str,
    /// Its methods; each gets the object as its first argument.
    pub methods: Vec<Method>,
    /// What can be read from it without a call.
    pub fields: Vec<Field>,
    /// Reads what the object holds by name, as a map: with names in lower case, looked up in any.
    pub entries: Option<Field>,
    /// How scripts loop over it, when they can.
    pub items: Option<Items>,
}

/// What a script loops over: `for await (const item of object)` in JavaScript, `for item in object do` in Luau.
#[derive(Debug)]
pub struct Items {
    /// Waits for the next item, which is nothing at the end. An error is raised out of the loop.
    pub next: Method,
    /// Is called when a loop is left before its end, where the language tells: it stops what brings the items.
    pub stop: Option<Method>,
}

/// A Rust type whose values scripts can hold.
pub trait HostObject: Any + Send + Sync {
    /// Its class.
    fn class() -> &'static Class
    where
        Self: Sized;
}

/// A host value of some class.
#[derive(Clone)]
pub struct Object {
    class: &'static Class,
    data: Arc<dyn Any + Send + Sync>,
}

impl Object {
    /// Wraps a host value.
    #[must_use]
    pub fn new<T: HostObject>(data: T) -> Self {
        Self { class: T::class(), data: Arc::new(data) }
    }

    /// Its class.
    #[must_use]
    pub fn class(&self) -> &'static Class {
        self.class
    }

    /// Where the host value is in memory. Two objects alive are the same when their addresses are.
    #[must_use]
    pub fn address(&self) -> usize {
        Arc::as_ptr(&self.data).cast::<()>().addr()
    }

    /// The host value, when it is a `T`.
    ///
    /// # Errors
    /// When it is of another class.
    pub fn downcast<T: HostObject>(&self) -> Result<Arc<T>> {
        Arc::clone(&self.data)
            .downcast()
            .map_err(|_| Error::argument(format!("expected {}, found {}", T::class().name, self.class.name)))
    }
}

impl PartialEq for Object {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.data, &other.data)
    }
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.class.name)
    }
}
