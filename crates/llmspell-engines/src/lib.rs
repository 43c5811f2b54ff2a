//! The script engines, one folder a language. They know no bridge.
//!
//! ```
//! use llmspell_core::EngineRegistry;
//! let registry = EngineRegistry::new();
//! llmspell_engines::register_all(&registry)?;
//! assert_eq!(registry.by_extension("luau")?.descriptor().language, "Luau");
//! # Ok::<(), llmspell_core::Error>(())
//! ```

use std::sync::Arc;

use llmspell_core::{Engine, EngineDescriptor, EngineRegistry, Result};

mod callbacks;
mod crossing;
mod excerpt;
#[cfg(feature = "js")]
pub mod js;
#[cfg(feature = "luau")]
pub mod luau;
mod module_path;
mod wake;

/// What an engine is, and how to make one.
pub type Entry = (EngineDescriptor, fn() -> Arc<dyn Engine>);

/// The engines in this build. Adding one is a folder and a line here.
pub const ENGINES: &[Entry] = &[
    #[cfg(feature = "js")]
    (js::DESCRIPTOR, || Arc::new(js::Js::new())),
    #[cfg(feature = "luau")]
    (luau::DESCRIPTOR, || Arc::new(luau::Luau::new())),
];

/// Puts all of [`ENGINES`] into a registry.
///
/// # Errors
/// When the registry holds an engine that claims the same name, extension or MIME type.
pub fn register_all(registry: &EngineRegistry) -> Result<()> {
    ENGINES.iter().try_for_each(|(descriptor, make)| registry.register(descriptor.clone(), make))
}
