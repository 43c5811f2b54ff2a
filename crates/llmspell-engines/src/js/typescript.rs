//! TypeScript to JavaScript: its types are blanked out where they stand, so that every line and column stays. Types are
//! never checked. What of TypeScript is no type but makes code of its own, such as `enum`, is refused.

mod blank;

use std::thread;

use llmspell_core::{Diagnostic, Source};
use oxc_allocator::Allocator;
use oxc_parser::Parser;
use oxc_span::SourceType;

use super::compile::{diagnostic, position};

/// Whether a file of this name is TypeScript.
pub(super) fn is_its_name(name: &str) -> bool {
    name.ends_with(".ts") || name.ends_with(".mts")
}

/// The stack of the thread that reads a source. The parser recurses without a bound of its own; memory is taken only as
/// far as it does.
const STACK: usize = 256 * 1024 * 1024;

/// The most brackets that may be open at once, and the most operators between two ends of something: more than anybody
/// writes, and less than the stack holds.
const MAX_BRACKETS: usize = 5_000;
const MAX_OPERATORS: usize = 20_000;

/// A place in the source, in bytes, and what is wrong there.
type Mistake = (usize, usize, String, Option<String>);

/// The JavaScript of a source.
///
/// # Errors
/// When it does not compile, or holds what is not just a type.
pub(super) fn strip(source: &Source) -> Result<String, Diagnostic> {
    if let Some(at) = too_deep(&source.text) {
        let message = "the source is nested too deep to be read".to_owned();
        return Err(shown(source, (at, at + 1, message, None)));
    }
    let read = thread::scope(|scope| {
        let reader = thread::Builder::new().stack_size(STACK).spawn_scoped(scope, || read(&source.text));
        match reader.map(thread::ScopedJoinHandle::join) {
            Ok(Ok(read)) => read,
            Ok(Err(_)) => Err((0, 1, "the source cannot be read: its parser failed".to_owned(), None)),
            Err(error) => Err((0, 1, format!("the source cannot be read: {error}"), None)),
        }
    });
    read.map_err(|mistake| shown(source, mistake))
}

fn read(text: &str) -> Result<String, Mistake> {
    let allocator = Allocator::default();
    let parsed = Parser::new(&allocator, text, SourceType::ts().with_module(true)).parse();
    if let Some(first) = parsed.diagnostics.iter().next() {
        let label = first.labels.iter().next();
        let start = label.map_or(0, |label| label.offset() as usize);
        let width = label.map_or(1, |label| label.len() as usize);
        return Err((
            start,
            start + width,
            first.message.to_string(),
            first.help.as_ref().map(ToString::to_string),
        ));
    }
    blank::types(text, &parsed.program)
}

fn shown(source: &Source, (start, end, message, help): Mistake) -> Diagnostic {
    let (line, column) = position(&source.text, start);
    let marked = source.text.get(start..end).unwrap_or_default();
    let width = marked.lines().next().unwrap_or_default().chars().count().max(1);
    let found = diagnostic(source, line, Some(column), width, message);
    Diagnostic { hint: help.or(found.hint), ..found }
}

/// Where a source is nested deeper than its parser's stack is sure to hold. Texts and comments are looked at like code:
/// they do not come near either number.
fn too_deep(text: &str) -> Option<usize> {
    let (mut brackets, mut operators) = (0usize, 0usize);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'(' | b'[' | b'{' => brackets += 1,
            b')' | b']' | b'}' => {
                brackets = brackets.saturating_sub(1);
                operators = 0;
            }
            b';' | b',' => operators = 0,
            b'!' | b'~' | b'+' | b'-' | b'*' | b'/' | b'%' | b'&' | b'|' | b'^' | b'=' | b'<' | b'>'
            | b'?' | b':' | b'.' | b'`' => operators += 1,
            _ => {}
        }
        if brackets > MAX_BRACKETS || operators > MAX_OPERATORS {
            return Some(at);
        }
    }
    None
}
