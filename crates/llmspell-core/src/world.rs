//! The world of a run: everything outside the script that the run's capabilities reach.
//!
//! A [`World`] is plain data. A runtime has one; each run and each test clones it and replaces fields. Nothing is
//! ambient: a field that is `None` is a capability that the run does not have. The run's
//! [`Permissions`](crate::Permissions) restrict the others.
//!
//! An embedding program puts capabilities of its own into [`extensions`](World::extensions), one for each type that
//! implements [`Extension`].

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use crate::cache::Cache;
use crate::capability::{Clock, Console, Extension, Files, Models, Modules, Net, Random, Storage};

/// The capabilities of a run. The default has none. Cheap to clone.
#[derive(Clone, Default)]
pub struct World {
    /// The language models.
    pub models: Option<Arc<dyn Models>>,
    /// The model for requests that name none: `provider/model`, or a name that the default provider knows.
    pub default_model: Option<String>,
    /// The fallback models for requests that name none.
    pub fallback: Vec<String>,
    /// The cache of model answers.
    pub cache: Option<Arc<dyn Cache>>,
    /// The console that the spell reads from.
    pub console: Option<Arc<dyn Console>>,
    /// The network. The permissions decide which hosts may be reached.
    pub net: Option<Arc<dyn Net>>,
    /// The files. The permissions decide which of them may be read and written.
    pub files: Option<Arc<dyn Files>>,
    /// The spell's storage.
    pub storage: Option<Arc<dyn Storage>>,
    /// The clock.
    pub clock: Option<Arc<dyn Clock>>,
    /// The source of randomness.
    pub random: Option<Arc<dyn Random>>,
    /// The working folder. Relative paths are looked up there first, and then in the spell's own folder.
    pub working_dir: Option<PathBuf>,
    /// The modules of the spell's folder.
    pub modules: Option<Arc<dyn Modules>>,
    /// The capabilities of the embedding program.
    pub extensions: Extensions,
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World")
            .field("default_model", &self.default_model)
            .field("working_dir", &self.working_dir)
            .field("extensions", &self.extensions.0.len())
            .finish_non_exhaustive()
    }
}

/// The capabilities of an embedding program: one slot for each type. Cheap to clone.
#[derive(Clone, Default)]
pub struct Extensions(Arc<HashMap<TypeId, Arc<dyn Any + Send + Sync>>>);

impl Extensions {
    /// Adds a capability. It replaces another of the same type.
    pub fn insert<T: Extension>(&mut self, capability: T) {
        Arc::make_mut(&mut self.0).insert(TypeId::of::<T>(), Arc::new(capability));
    }

    /// Returns the capability of this type. Only the gated view hands it out.
    pub(crate) fn get<T: Extension>(&self) -> Option<Arc<T>> {
        Arc::clone(self.0.get(&TypeId::of::<T>())?).downcast().ok()
    }
}

impl fmt::Debug for Extensions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Extensions").field(&self.0.len()).finish()
    }
}
