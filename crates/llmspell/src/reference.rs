//! Documents made of the bridges' own definitions and of what engines bring: type files, reference pages, the text of
//! `llmspell doc`.
//!
//! All of them are pure functions of these, so that what is checked in can be compared with what is meant.

mod editor;
mod luau;
mod markdown;
mod text;
mod types;
mod typescript;

use std::fmt::Write;

use llmspell_core::Furniture;
use llmspell_core::bridge::{Bridge, Field, Method};
use llmspell_core::furniture::{Function, Written};

pub use editor::{EditorFile, editor_files};
pub use luau::luau_types;
pub use markdown::{furniture_markdown, markdown};
pub use text::text;
use types::Types;
pub use typescript::typescript_types;

use crate::runtime::Runtime;
use crate::testing;

/// The command that writes the generated files anew.
pub const REGENERATE: &str = "cargo xtask reference";

/// All bridges that scripts may have: those of a runtime, and the one that only tests have.
#[must_use]
pub fn bridges(runtime: &Runtime) -> Vec<Bridge> {
    let own = runtime.bridges().list();
    own.iter().map(|bridge| Bridge::clone(bridge)).chain([testing::test::bridge()]).collect()
}

/// The files that are generated and checked in: path from the root of the repository, and content.
///
/// ```
/// let files = llmspell::reference::files(&[llmspell::Bridge::new("empty").doc("Does nothing.")], &[]);
/// assert_eq!(files[0].0, "docs/reference/empty.md");
/// assert_eq!(files[1].0, "types/llmspell.d.luau");
/// assert_eq!(files[2].0, "types/llmspell.d.ts");
/// ```
#[must_use]
pub fn files(bridges: &[Bridge], furniture: &[&Furniture]) -> Vec<(String, String)> {
    let page = |name: &str| format!("docs/reference/{name}.md");
    let of_bridges = bridges.iter().map(|bridge| (page(bridge.name), markdown(bridge)));
    let of_furniture = furniture.iter().map(|piece| (page(piece.name), furniture_markdown(piece)));
    of_bridges.chain(of_furniture).chain(types(bridges, furniture)).collect()
}

/// The type files of both languages.
fn types(bridges: &[Bridge], furniture: &[&Furniture]) -> [(String, String); 2] {
    [
        ("types/llmspell.d.luau".to_owned(), luau_types(bridges, furniture)),
        ("types/llmspell.d.ts".to_owned(), typescript_types(bridges)),
    ]
}

/// `stream_chat` as JavaScript writes it: `streamChat`.
fn camel_case(name: &str) -> String {
    let mut words = name.split('_');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |name, word| {
        let (initial, rest) = word.split_at(word.len().min(1));
        name + &initial.to_ascii_uppercase() + rest
    })
}

/// The first line of a documentation: what the thing does, in one sentence.
fn summary(doc: &str) -> &str {
    doc.split("\n\n").next().unwrap_or_default()
}

/// `llm.chat(prompt: string) -> (string?, Error?)`, on one line if it is no longer than `width`.
fn signature(path: &str, method: &Method, types: &mut Types, width: usize) -> String {
    lay_out(path, &parameters(method, types), &types.returns(method), width)
}

/// The same of a prelude's function: `promise.resolve<T>(value: T | Promise<T>) -> Promise<T>`.
fn function_signature(path: &str, function: &Function, written: Written, width: usize) -> String {
    let returns = match written {
        Written::Luau => format!(" -> {}", function.returns),
        Written::TypeScript => format!(": {}", function.returns),
    };
    lay_out_with(&format!("{path}{}", function.generics), function.params, &returns, width)
}

/// `Promise:await`, or `Response.text`.
fn method_path(class: &str, method: &Function, written: Written) -> String {
    let dot = if written == Written::Luau { ':' } else { '.' };
    format!("{class}{dot}{}", method.name)
}

fn lay_out<S: AsRef<str>>(path: &str, params: &[S], returns: &str, width: usize) -> String {
    lay_out_with(path, params, &format!(" -> {returns}"), width)
}

fn lay_out_with<S: AsRef<str>>(path: &str, params: &[S], returns: &str, width: usize) -> String {
    let params: Vec<&str> = params.iter().map(AsRef::as_ref).collect();
    let line = format!("{path}({}){returns}", params.join(", "));
    if line.chars().count() <= width {
        return line;
    }
    let mut lines = format!("{path}(\n");
    for (at, param) in params.iter().enumerate() {
        let comma = if at + 1 < params.len() { "," } else { "" };
        let _ = writeln!(lines, "    {param}{comma}");
    }
    lines + &format!("){returns}")
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
