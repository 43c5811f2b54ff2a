//! The script engines. Each language has its own folder behind a feature: `luau` and `js`.
//!
//! An engine opens sessions. A session is one VM in a closed sandbox, with the bridges it was given as read-only
//! globals, and it stays on the thread that opened it. Engines do not know any particular bridge, and reach the world
//! only through the run's context.
//!
//! ```
//! use llmspell_core::EngineRegistry;
//! let registry = EngineRegistry::new();
//! llmspell_engines::register_all(&registry)?;
//! assert_eq!(registry.by_key(".mts")?.descriptor().name, "js");
//! # Ok::<(), llmspell_core::Error>(())
//! ```

use std::sync::Arc;

use llmspell_core::{Engine, EngineDescriptor, EngineRegistry, Result};

mod callbacks;
mod excerpt;
#[cfg(feature = "js")]
pub mod js;
#[cfg(feature = "luau")]
pub mod luau;
mod marshal;
mod module_path;
mod wake;

/// The functions that return an engine's descriptor and create the engine.
pub type EngineEntry = (fn() -> EngineDescriptor, fn() -> Arc<dyn Engine>);

/// The engines in this build, in the order in which a folder's entry script is looked up. A new engine needs a folder
/// and a line here.
pub const ENGINES: &[EngineEntry] = &[
    #[cfg(feature = "luau")]
    (luau::descriptor, || Arc::new(luau::Luau::new())),
    #[cfg(feature = "js")]
    (js::descriptor, || Arc::new(js::Js::new())),
];

/// Registers all [`ENGINES`].
///
/// # Errors
/// When the registry already holds an engine with the same name, extension or MIME type.
pub fn register_all(registry: &EngineRegistry) -> Result<()> {
    ENGINES.iter().try_for_each(|(descriptor, make)| registry.register(descriptor(), make))
}
