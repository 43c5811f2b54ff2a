//! Handles to objects of the host. Values know only the name of an object's class: the class itself has methods, which
//! belong to a layer above (`object.rs`).

use std::any::Any;
use std::fmt;
use std::sync::Arc;

/// What a handle refers to, as far as values know it.
pub(crate) trait ObjectData: Any + Send + Sync {
    /// Returns the class's name in types and documentation.
    fn class_name(&self) -> &str;
}

/// A reference to a host value, with its class.
#[derive(Clone)]
pub struct Object(Arc<dyn ObjectData>);

impl Object {
    /// Creates a handle.
    pub(crate) fn of(data: impl ObjectData) -> Self {
        Self(Arc::new(data))
    }

    /// Returns what the handle refers to, whose type is known to the layer above.
    pub(crate) fn data(&self) -> &dyn Any {
        &*self.0
    }

    /// Returns the name of the class.
    #[must_use]
    pub fn class_name(&self) -> &str {
        self.0.class_name()
    }

    /// Returns the address of the host value, which identifies it as long as it lives.
    #[must_use]
    pub fn address(&self) -> usize {
        Arc::as_ptr(&self.0).cast::<()>().addr()
    }
}

impl PartialEq for Object {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.class_name())
    }
}
