//! Converts TypeScript to JavaScript by *blanking*: types are replaced by spaces, so every line and column stays and no
//! source map is needed. Types are never checked.
//!
//! ```text
//! const total: number = price as number;
//! const total         = price          ;
//! ```
//!
//! A source is either converted correctly or refused. Correct means equivalent to the output of `tsc` with
//! `isolatedModules`. The steps:
//!
//! 1. `oxc_parser` parses the source, and `oxc_semantic` finds which imports are used as values.
//! 2. [`blank`] blanks the types, and refuses constructs that generate code, such as `enum`.
//! 3. [`erase`] parses the result and compares it with the source. If JavaScript reads it differently, the source is
//!    refused.

mod blank;
mod erase;

use std::thread;

use llmspell_core::{Diagnostic, Source};
use oxc_allocator::Allocator;
use oxc_diagnostics::Diagnostics;
use oxc_parser::{Parser, ParserReturn};
use oxc_semantic::SemanticBuilder;
use oxc_span::{SourceType, Span};

use super::compile::{diagnostic, position};

/// Returns whether a file name is that of a TypeScript source.
pub(super) fn is_its_name(name: &str) -> bool {
    name.ends_with(".ts") || name.ends_with(".mts")
}

/// The stack size of the parser's thread, in bytes. The parser's recursion has no limit of its own. Memory is committed
/// only as far as the recursion goes.
const STACK: usize = 256 * 1024 * 1024;

/// The maximum number of open brackets, and of consecutive operators. Hand-written code stays far below them, and the
/// stack is large enough for them.
const MAX_BRACKETS: usize = 5_000;
const MAX_OPERATORS: usize = 20_000;

/// A mistake in the source: start and end in bytes, message, hint.
type Mistake = (usize, usize, String, Option<String>);

/// Returns the JavaScript of a source.
///
/// # Errors
/// When the source does not compile, or contains a construct that is more than a type.
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
    let mut source = parse(&allocator, text, SourceType::ts().with_module(true));
    if let Some(mistake) = first(&source.diagnostics) {
        let jsx = first(&parse(&allocator, text, SourceType::tsx()).diagnostics).is_none();
        let message = "JSX is not supported".to_owned();
        return Err(if jsx {
            (mistake.0, mistake.1, message, Some("call a function".to_owned()))
        } else {
            mistake
        });
    }
    let blanked = {
        let found = SemanticBuilder::new_compiler().build(&source.program);
        if let Some(mistake) = first(&found.diagnostics) {
            return Err(mistake);
        }
        blank::types(text, &source.program, found.semantic.scoping())?
    };
    let mut again = parse(&allocator, &blanked.text, SourceType::mjs());
    let differs = match first(&again.diagnostics) {
        Some((at, ..)) => Some(same_letter(&blanked.text, at, text)),
        None => erase::difference(
            &allocator,
            (&mut source.program, &blanked.removed),
            (&mut again.program, &blanked.zeros),
        ),
    };
    match differs {
        Some(span) => Err(not_blankable(span, &blanked.assertions)),
        None => Ok(blanked.text),
    }
}

fn parse<'a>(allocator: &'a Allocator, text: &'a str, kind: SourceType) -> ParserReturn<'a> {
    Parser::new(allocator, text, kind).parse()
}

fn first(diagnostics: &Diagnostics) -> Option<Mistake> {
    let first = diagnostics.iter().next()?;
    let label = first.labels.iter().next();
    let start = label.map_or(0, |label| label.offset() as usize);
    let width = label.map_or(1, |label| label.len() as usize);
    Some((start, start + width, first.message.to_string(), first.help.as_ref().map(ToString::to_string)))
}

/// Returns the character of the source at a position of the blanked text. Both have the same number of characters, but
/// not of bytes.
fn same_letter(blanked: &str, at: usize, source: &str) -> Span {
    let letters = blanked[..blanked.floor_char_boundary(at)].chars().count();
    let (at, letter) = source.char_indices().nth(letters).unwrap_or((source.len(), ' '));
    Span::new(at as u32, (at + letter.len_utf8()) as u32)
}

/// Returns the error for a type whose blank changes how the code is read.
fn not_blankable(differs: Span, assertions: &[(Span, &'static str)]) -> Mistake {
    let touches = |span: Span| span.start <= differs.end && differs.start <= span.end;
    let (place, name) =
        assertions.iter().copied().find(|(span, _)| touches(*span)).unwrap_or((differs, "its types"));
    let message = format!("without {name} this would be other code: the types here cannot be taken out");
    let hint = "put parentheses around the value with its type, or end the statement with a semicolon";
    (place.start as usize, place.end as usize, message, Some(hint.to_owned()))
}

fn shown(source: &Source, (start, end, message, help): Mistake) -> Diagnostic {
    let (line, column) = position(&source.text, start);
    let marked = source.text.get(start..end).unwrap_or_default();
    let width = marked.lines().next().unwrap_or_default().chars().count().max(1);
    let found = diagnostic(source, line, Some(column), width, message);
    Diagnostic { hint: help.or(found.hint), ..found }
}

/// Returns the position at which a source may be nested too deep for the parser's stack. Strings and comments are
/// counted like code; real ones stay far below the limits.
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

#[cfg(test)]
mod tests;
