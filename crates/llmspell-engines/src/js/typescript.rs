//! TypeScript to JavaScript: types are blanked out where they stand, so that every line and column stays. Types are never
//! checked.
//!
//! A source is either right or refused. Right means what `tsc` with `isolatedModules` makes of it:
//!
//! 1. `oxc_parser` reads the source, and `oxc_semantic` finds which imports are used as values.
//! 2. [`blank`] blanks the types, and refuses what makes code of its own, such as `enum`.
//! 3. [`erase`] reads the result again and compares it with the source. If JavaScript reads it differently, the source
//!    is refused.

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

/// The letter of the source that stands where one of its blanked text does. They have as many letters, not as many bytes.
fn same_letter(blanked: &str, at: usize, source: &str) -> Span {
    let letters = blanked[..blanked.floor_char_boundary(at)].chars().count();
    let (at, letter) = source.char_indices().nth(letters).unwrap_or((source.len(), ' '));
    Span::new(at as u32, (at + letter.len_utf8()) as u32)
}

/// Names the type whose blank changes how the code at a place is read.
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
