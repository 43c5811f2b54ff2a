//! The text of `llmspell doc`, for a terminal of 80 columns.

use std::fmt::Write;

use llmspell_core::bridge::{Bridge, Field, Method};
use llmspell_core::prelude_docs::{ClassDoc, FunctionDoc, TypeSyntax};
use llmspell_core::{Class, Error, ErrorKind, PreludeDocs, Result, did_you_mean};

use super::types::{NamedType, TypeShape, TypeWriter};
use super::{constant, function_signature, method_path, remarks, signature, summary};

const WIDTH: usize = 80;

/// A documented thing that can be looked up by its full name.
enum Topic<'a> {
    Bridge(&'a Bridge),
    Constant(&'a Field),
    Method(&'a Method),
    Class(&'a Class),
    Type(NamedType),
    Prelude(&'a PreludeDocs),
    Kind(&'a ClassDoc, &'a TypeSyntax),
    Function(&'a FunctionDoc, &'a TypeSyntax),
}

/// Returns the documentation of `query`: a bridge (`llm`), a method (`llm.chat`), an object (`llm.Conversation`), one
/// of its methods (`llm.Conversation:send`), a type (`llm.ChatRequest`), or the same of a prelude (`promise.all`).
/// Without a query, returns a list of all bridges and preludes.
///
/// ```
/// let bridges = [llmspell::Bridge::new("empty").doc("Does nothing.")];
/// assert_eq!(llmspell::reference::text(&bridges, &[], None).unwrap(), "empty  Does nothing.\n");
/// assert_eq!(llmspell::reference::text(&bridges, &[], Some("empty")).unwrap(), "empty\n\nDoes nothing.\n");
/// ```
///
/// # Errors
/// When nothing has that name; the error names near ones.
pub fn text(bridges: &[Bridge], prelude_docs: &[PreludeDocs], query: Option<&str>) -> Result<String> {
    let Some(query) = query else {
        let bridges = bridges.iter().map(|bridge| (bridge.name.to_string(), &*bridge.doc));
        let prelude_docs = prelude_docs.iter().map(|piece| (piece.name.to_string(), &*piece.doc));
        return Ok(list(&bridges.chain(prelude_docs).collect::<Vec<_>>()));
    };
    let of_preludes = prelude_docs.iter().flat_map(prelude_topics);
    let topics: Vec<(String, Topic<'_>)> = bridges.iter().flat_map(topics).chain(of_preludes).collect();
    // `llm.conversation` is a function and `llm.Conversation` is its result: try the exact name first.
    let exact = topics.iter().find(|(name, _)| name == query);
    let wanted = plain(query);
    match exact.or_else(|| topics.iter().find(|(name, _)| plain(name) == wanted)) {
        // A name such as `promise.map` may exist in both languages.
        Some((found, _)) => {
            let pages =
                topics.iter().filter(|(name, _)| name == found).map(|(name, topic)| page(name, topic));
            Ok(pages.collect::<Vec<_>>().join("\n"))
        }
        None => Err(unknown(query, topics.iter().map(|(name, _)| name.as_str()))),
    }
}

/// Normalizes a name for comparison: case, underscores and the kind of separator are ignored, so `llm.streamChat` is
/// found.
fn plain(name: &str) -> String {
    name.chars()
        .filter(|letter| *letter != '_')
        .map(|letter| if letter == ':' { '.' } else { letter })
        .collect::<String>()
        .to_lowercase()
}

fn topics(bridge: &Bridge) -> Vec<(String, Topic<'_>)> {
    let mut topics = vec![(bridge.name.to_string(), Topic::Bridge(bridge))];
    let path = |name: &str| format!("{}.{name}", bridge.name);
    topics.extend(bridge.constants.iter().map(|field| (path(&field.name), Topic::Constant(field))));
    topics.extend(bridge.methods.iter().map(|method| (path(&method.name), Topic::Method(method))));
    for class in &bridge.classes {
        topics.push((path(&class.name), Topic::Class(class)));
        let path = |dot, name| path(&format!("{}{dot}{name}", class.name));
        topics.extend(class.fields.iter().map(|field| (path('.', &field.name), Topic::Constant(field))));
        topics.extend(class.methods.iter().map(|method| (path(':', &method.name), Topic::Method(method))));
    }
    topics.extend(types_of(bridge).into_iter().map(|named| (path(&named.name), Topic::Type(named))));
    topics
}

fn prelude_topics(piece: &PreludeDocs) -> Vec<(String, Topic<'_>)> {
    let mut topics = vec![(piece.name.to_string(), Topic::Prelude(piece))];
    let functions = piece.functions.iter();
    topics.extend(
        functions.map(|function| (piece.path(&function.name), Topic::Function(function, &piece.syntax))),
    );
    for class in &piece.classes {
        topics.push((piece.path(&class.name), Topic::Kind(class, &piece.syntax)));
        topics.extend(class.methods.iter().map(|method| {
            let path = piece.path(&method_path(&class.name, method, &piece.syntax));
            (path, Topic::Function(method, &piece.syntax))
        }));
    }
    topics
}

fn types_of(bridge: &Bridge) -> Vec<NamedType> {
    let mut types = TypeWriter::new();
    let of_classes = bridge.classes.iter().flat_map(|class| &class.methods);
    for method in bridge.methods.iter().chain(of_classes) {
        signature("", method, &mut types, WIDTH);
    }
    for field in bridge.classes.iter().flat_map(|class| &class.fields).chain(&bridge.constants) {
        types.given(field.schema);
    }
    types.named()
}

fn unknown<'a>(query: &str, names: impl Iterator<Item = &'a str>) -> Error {
    // The last part alone may match: `promise.await` is really a method of the object that `promise` makes.
    let last = |name: &str| name.rsplit('.').next().unwrap_or_default().to_owned();
    let wanted = plain(query);
    let (mut same_last, mut all) = (Vec::new(), Vec::new());
    for name in names {
        let plain = plain(name);
        if last(&plain) == last(&wanted) {
            same_last.push((wanted.clone(), name));
        }
        all.push((last(&plain), name));
        all.push((plain, name));
    }
    let error = Error::new(ErrorKind::NotFound, format!("nothing is named `{query}`"));
    let known = if same_last.is_empty() { all } else { same_last };
    error.hint(did_you_mean(&wanted, known).unwrap_or_else(|| "`llmspell doc` lists all bridges".to_owned()))
}

fn page(name: &str, topic: &Topic<'_>) -> String {
    let mut types = TypeWriter::new();
    match topic {
        Topic::Bridge(bridge) => {
            let constants =
                bridge.constants.iter().map(|field| (format!("{name}.{}", field.name), &*field.doc));
            let methods =
                bridge.methods.iter().map(|method| (format!("{name}.{}", method.name), &*method.doc));
            let classes = bridge.classes.iter().map(|class| (format!("{name}.{}", class.name), &*class.doc));
            entry(name, &bridge.doc, &constants.chain(methods).chain(classes).collect::<Vec<_>>())
        }
        Topic::Constant(field) => entry(&constant(name, field, &mut types), &field.doc, &[]),
        Topic::Class(class) => {
            let fields = class.fields.iter().map(|field| (format!("{name}.{}", field.name), &*field.doc));
            let methods =
                class.methods.iter().map(|method| (format!("{name}:{}", method.name), &*method.doc));
            entry(name, &class.doc, &fields.chain(methods).collect::<Vec<_>>())
        }
        Topic::Method(method) => {
            let signature = signature(name, method, &mut types, WIDTH);
            let mut page = entry(&signature, &method.doc, &[]);
            let _ = write!(page, "\n{}\n", remarks(method));
            for named in types.named().iter().filter(|named| mentions(&signature, &named.name)) {
                page.push('\n');
                page.push_str(&describe(named));
            }
            page
        }
        Topic::Type(named) => describe(named),
        Topic::Prelude(piece) => {
            let functions =
                piece.functions.iter().map(|function| (piece.path(&function.name), &*function.doc));
            let classes = piece.classes.iter().map(|class| (piece.path(&class.name), &*class.doc));
            entry(name, &piece.doc, &functions.chain(classes).collect::<Vec<_>>())
        }
        Topic::Kind(class, syntax) => {
            let methods =
                class.methods.iter().map(|method| (method_path(name, method, syntax), &*method.doc));
            entry(name, &class.doc, &methods.collect::<Vec<_>>())
        }
        Topic::Function(function, syntax) => {
            entry(&function_signature(name, function, syntax, WIDTH), &function.doc, &[])
        }
    }
}

fn mentions(signature: &str, name: &str) -> bool {
    signature.split(|letter: char| !letter.is_alphanumeric()).any(|word| word == name)
}

/// Returns a heading, its documentation, and a list of its parts.
fn entry(heading: &str, doc: &str, parts: &[(String, &str)]) -> String {
    let mut page = format!("{heading}\n\n{}", prose(doc));
    if !parts.is_empty() {
        page.push('\n');
        page.push_str(&list(parts));
    }
    page
}

/// Returns a column of names, each followed by its summary.
fn list(entries: &[(String, &str)]) -> String {
    let width = entries.iter().map(|(name, _)| name.len()).max().unwrap_or(0) + 2;
    let mut out = String::new();
    for (name, doc) in entries {
        let _ = write!(out, "{name:width$}");
        out.push_str(wrapped(summary(doc), width).trim_start());
    }
    out
}

fn describe(named: &NamedType) -> String {
    let mut out = format!("{}\n", named.name);
    out.push_str(&wrapped(&named.doc, 4));
    match &named.shape {
        TypeShape::Record(parts) | TypeShape::Words(parts) => {
            for part in parts {
                let colon = if part.ty.is_empty() { "" } else { ": " };
                let _ = writeln!(out, "    {}{colon}{}", part.name, part.ty);
                out.push_str(&wrapped(&part.doc, 8));
            }
        }
        TypeShape::Other(ty) => {
            let _ = writeln!(out, "    {ty}");
        }
    }
    out
}

/// Converts Markdown to plain text: paragraphs are wrapped, and examples are indented.
fn prose(markdown: &str) -> String {
    let mut out = String::new();
    let mut paragraph = String::new();
    let mut example = false;
    for line in markdown.lines() {
        if line.starts_with("```") {
            example = !example;
        } else if example {
            out.push_str(format!("    {line}").trim_end());
            out.push('\n');
        } else if line.trim().is_empty() {
            out.push_str(&wrapped(&std::mem::take(&mut paragraph), 0));
            out.push('\n');
        } else {
            paragraph.push_str(line);
            paragraph.push(' ');
        }
    }
    out + &wrapped(&paragraph, 0)
}

/// Wraps text to lines of 80 columns and indents them. A longer word is not broken.
fn wrapped(text: &str, indent: usize) -> String {
    let mut out = String::new();
    let mut column = 0;
    for word in text.split_whitespace() {
        let length = word.chars().count();
        if column > 0 && column + 1 + length <= WIDTH {
            out.push(' ');
            column += 1 + length;
        } else {
            if column > 0 {
                out.push('\n');
            }
            let _ = write!(out, "{:indent$}", "");
            column = indent + length;
        }
        out.push_str(word);
    }
    if column > 0 {
        out.push('\n');
    }
    out
}
