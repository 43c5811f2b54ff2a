//! The generated documents: type files for editors, reference pages, and the text of `llmspell doc`.
//!
//! All of them are pure functions of the definitions of the bridges and of the globals that preludes add. The
//! checked-in files can therefore be compared with freshly generated ones, and `tests/reference.rs` fails when they
//! differ.

mod editor;
mod luau;
mod markdown;
mod text;
mod types;
mod typescript;

use std::fmt::Write;

use llmspell_core::PreludeDocs;
use llmspell_core::bridge::{Bridge, Field, Method};
use llmspell_core::prelude_docs::{FunctionDoc, TypeSyntax};

pub use editor::{EditorFile, editor_files};
pub use luau::luau_types;
pub use markdown::{markdown, prelude_markdown};
pub use text::text;
use types::TypeWriter;
pub use typescript::typescript_types;

use crate::runtime::Runtime;
use crate::testing;

/// The command that regenerates the checked-in files.
pub const REGENERATE: &str = "cargo xtask reference";

/// Returns all bridges that scripts can have: those of a runtime, and `test`, which only tests have.
#[must_use]
pub fn bridges(runtime: &Runtime) -> Vec<Bridge> {
    let own = runtime.bridges().list();
    own.iter().map(|bridge| Bridge::clone(bridge)).chain([testing::test::bridge()]).collect()
}

/// Returns the generated files that are checked in, as their path from the root of the repository and their content.
///
/// ```
/// let files = llmspell::reference::files(&[llmspell::Bridge::new("empty").doc("Does nothing.")], &[]);
/// assert_eq!(files[0].0, "docs/reference/empty.md");
/// assert_eq!(files[1].0, "types/llmspell.d.luau");
/// assert_eq!(files[2].0, "types/llmspell.d.ts");
/// ```
#[must_use]
pub fn files(bridges: &[Bridge], prelude_docs: &[PreludeDocs]) -> Vec<(String, String)> {
    let page = |name: &str| format!("docs/reference/{name}.md");
    let of_bridges = bridges.iter().map(|bridge| (page(&bridge.name), markdown(bridge)));
    let of_preludes = prelude_docs.iter().map(|piece| (page(&piece.name), prelude_markdown(piece)));
    of_bridges.chain(of_preludes).chain(types(bridges, prelude_docs)).collect()
}

/// Returns the type files of both languages.
fn types(bridges: &[Bridge], prelude_docs: &[PreludeDocs]) -> [(String, String); 2] {
    [
        ("types/llmspell.d.luau".to_owned(), luau_types(bridges, prelude_docs)),
        ("types/llmspell.d.ts".to_owned(), typescript_types(bridges)),
    ]
}

/// Converts a name to camel case, as JavaScript writes it: `stream_chat` becomes `streamChat`.
fn camel_case(name: &str) -> String {
    let mut words = name.split('_');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |name, word| {
        let (initial, rest) = word.split_at(word.len().min(1));
        name + &initial.to_ascii_uppercase() + rest
    })
}

/// Returns the first paragraph of a documentation, which says in one sentence what the thing does.
fn summary(doc: &str) -> &str {
    doc.split("\n\n").next().unwrap_or_default()
}

/// Returns a method's signature, such as `llm.chat(prompt: string) -> (string?, Error?)`. If it is longer than `width`,
/// each parameter has a line.
fn signature(path: &str, method: &Method, types: &mut TypeWriter, width: usize) -> String {
    lay_out(path, &parameters(method, types), &types.returns(method), width)
}

/// Like [`signature`], for a function of a prelude: `promise.resolve<T>(value: T | Promise<T>) -> Promise<T>`.
fn function_signature(path: &str, function: &FunctionDoc, syntax: &TypeSyntax, width: usize) -> String {
    let returns = match syntax {
        _ if function.returns.is_empty() => String::new(),
        TypeSyntax::Luau | TypeSyntax::Other(_) => format!(" -> {}", function.returns),
        TypeSyntax::TypeScript => format!(": {}", function.returns),
    };
    lay_out_with(&format!("{path}{}", function.generics), &function.params, &returns, width)
}

/// Returns the path of a class's method: `Promise:await` in Luau, `Response.text` in TypeScript.
fn method_path(class: &str, method: &FunctionDoc, syntax: &TypeSyntax) -> String {
    let dot = if *syntax == TypeSyntax::Luau { ':' } else { '.' };
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

/// Returns `name: type` for each parameter.
fn parameters(method: &Method, types: &mut TypeWriter) -> Vec<String> {
    method
        .params
        .iter()
        .map(|param| {
            let ty = types.taken(param.schema);
            if param.rest { format!("...: {ty}") } else { format!("{}: {ty}", param.name) }
        })
        .collect()
}

/// Returns the declaration of a constant, such as `json.null: any`.
fn constant(path: &str, field: &Field, types: &mut TypeWriter) -> String {
    format!("{path}: {}", types.given(field.schema))
}

/// Returns remarks about a method: whether scripts wait for it, and since which version it exists.
fn remarks(method: &Method) -> String {
    let waits = if method.is_async() { "Waits for its result. " } else { "" };
    format!("{waits}Since {}.", method.since)
}
