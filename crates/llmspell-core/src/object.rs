//! Host objects with methods that a script can hold, such as a conversation, an agent or a stream.

use std::any::Any;
use std::borrow::Cow;
use std::sync::Arc;

use crate::bridge::{Field, Method};
use crate::error::{Error, Result};
use crate::value::{Object, ObjectData};

/// The definition that all objects of one class share. `#[bridge]` creates it once, on first use.
#[derive(Debug)]
pub struct Class {
    /// The name in types and documentation.
    pub name: Cow<'static, str>,
    /// What the class is, in Markdown.
    pub doc: Cow<'static, str>,
    /// The methods. Each gets the object as its first argument.
    pub methods: Vec<Method>,
    /// The fields, which are read without a call.
    pub fields: Vec<Field>,
    /// Returns the entries of the object as a map. Its keys are in lower case, and scripts look them up in any case.
    pub entries: Option<Field>,
    /// How scripts iterate over the object, if they can.
    pub items: Option<Items>,
}

/// How scripts iterate over an object: `for await (const item of object)` in JavaScript, `for item in object do` in
/// Luau.
#[derive(Debug)]
pub struct Items {
    /// Waits for the next item; nil ends the loop. An error is raised from the loop.
    pub next: Method,
    /// Called when a script leaves the loop early, in languages that report it. It stops the source of the items.
    pub stop: Option<Method>,
}

/// A Rust type whose values scripts can hold.
pub trait HostObject: Any + Send + Sync {
    /// Returns the class. All calls return the same one.
    fn class() -> Arc<Class>
    where
        Self: Sized;
}

/// A host value with its class, as an object refers to it.
struct Instance {
    class: Arc<Class>,
    data: Arc<dyn Any + Send + Sync>,
}

impl ObjectData for Instance {
    fn class_name(&self) -> &str {
        &self.class.name
    }
}

impl Object {
    /// Wraps a host value.
    #[must_use]
    pub fn new<T: HostObject>(data: T) -> Self {
        Self::of(Instance { class: T::class(), data: Arc::new(data) })
    }

    fn instance(&self) -> &Instance {
        self.data().downcast_ref().expect("`new` makes every object from an `Instance`")
    }

    /// Returns the class.
    #[must_use]
    pub fn class(&self) -> &Arc<Class> {
        &self.instance().class
    }

    /// Returns the host value as a `T`.
    ///
    /// # Errors
    /// Returns an error when the object has another class.
    pub fn downcast<T: HostObject>(&self) -> Result<Arc<T>> {
        Arc::clone(&self.instance().data).downcast().map_err(|_| {
            Error::argument(format!("expected {}, found {}", T::class().name, self.class_name()))
        })
    }
}
