//! Documents made of the bridges' own definitions: type files, reference pages, the text of `llmspell doc`.
//!
//! All of them are pure functions of the bridges, so that what is checked in can be compared with what is meant.

mod luau;
mod markdown;
mod text;
mod types;

use std::fmt::Write;

use llmspell_core::bridge::{Bridge, Field, Method};

pub use luau::luau_types;
pub use markdown::markdown;
pub use text::text;
use types::Types;

/// The command that writes the generated files anew.
pub const REGENERATE: &str = "cargo xtask reference";

/// The files that are generated and checked in: path from the root of the repository, and content.
///
/// ```
/// let files = llmspell::reference::files(&[llmspell::Bridge::new("empty").doc("Does nothing.")]);
/// assert_eq!(files[0].0, "docs/reference/empty.md");
/// assert_eq!(files[1].0, "types/llmspell.d.luau");
/// ```
#[must_use]
pub fn files(bridges: &[Bridge]) -> Vec<(String, String)> {
    let mut files: Vec<_> = bridges
        .iter()
        .map(|bridge| (format!("docs/reference/{}.md", bridge.name), markdown(bridge)))
        .collect();
    files.push(("types/llmspell.d.luau".to_owned(), luau_types(bridges)));
    files
}

/// The first line of a documentation: what the thing does, in one sentence.
fn summary(doc: &str) -> &str {
    doc.split("\n\n").next().unwrap_or_default()
}

/// `llm.chat(prompt: string) -> (string?, Error?)`, on one line if it is no longer than `width`.
fn signature(path: &str, method: &Method, types: &mut Types, width: usize) -> String {
    let params = parameters(method, types);
    let returns = types.returns(method);
    let line = format!("{path}({}) -> {returns}", params.join(", "));
    if line.chars().count() <= width {
        return line;
    }
    let mut lines = format!("{path}(\n");
    for (at, param) in params.iter().enumerate() {
        let comma = if at + 1 < params.len() { "," } else { "" };
        let _ = writeln!(lines, "    {param}{comma}");
    }
    lines + &format!(") -> {returns}")
}

/// `name: type` of each parameter.
fn parameters(method: &Method, types: &mut Types) -> Vec<String> {
    method
        .params
        .iter()
        .map(|param| {
            let ty = types.taken(param.schema);
            if param.rest { format!("...: {ty}") } else { format!("{}: {ty}", param.name) }
        })
        .collect()
}

/// `json.null: any`.
fn constant(path: &str, field: &Field, types: &mut Types) -> String {
    format!("{path}: {}", types.given(field.schema))
}

/// How a method behaves besides what it says: whether scripts wait for it, and since when it exists.
fn remarks(method: &Method) -> String {
    let waits = if method.is_async() { "Waits for its result. " } else { "" };
    format!("{waits}Since {}.", method.since)
}
