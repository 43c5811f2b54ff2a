//! TypeScript to JavaScript.

use llmspell_core::{Diagnostic, Source};

/// Whether a file of this name is TypeScript.
pub(super) fn is_its_name(name: &str) -> bool {
    name.ends_with(".ts") || name.ends_with(".mts")
}

pub(super) fn strip(source: &Source) -> Result<String, Diagnostic> {
    Ok(source.text.clone())
}
