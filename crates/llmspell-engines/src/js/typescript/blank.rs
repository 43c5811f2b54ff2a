//! Blanks the types of a source. [`visit`] finds them, and says what to blank.
//!
//! A blank can change how JavaScript reads the rest, mostly where a line ends without a semicolon. In these cases, the
//! blank contains more than spaces (↵ is a line end):
//!
//! | TypeScript | with spaces alone, it reads as | so the blank holds |
//! |---|---|---|
//! | `a as T` ↵ `(b)`, `x = 1` ↵ `private [k]` | `a(b)`, `1[k]` | `;` |
//! | `return <T>` ↵ `a`, `throw <T>` ↵ `a` | `return; a` | `0,` |
//! | `() => <T>{ a: 1 }`, `yield <T>` ↵ `a` | a block; `yield; a` | `0\|\|` |
//! | `(a): T` ↵ `=> a`, `async <T>` ↵ `(a) => a` | an error | the parenthesis |
//!
//! Other changes, such as in `a + b as T * c`, are found afterwards by [`super::erase`], and the source is refused.

mod visit;

use std::collections::HashSet;

use oxc_ast::ast::{AssignmentTarget, Comment, Expression, Program, PropertyKey};
use oxc_ast_visit::Visit;
use oxc_semantic::Scoping;
use oxc_span::{GetSpan, Span};

use super::Mistake;

/// A source with blanked types.
pub(super) struct Blanked {
    pub(super) text: String,
    /// The positions in the source at which removed statements, class elements and specifiers begin.
    pub(super) removed: HashSet<u32>,
    /// The positions in the text of the inserted `0`s.
    pub(super) zeros: HashSet<u32>,
    /// The type assertions of the source, and how to call each in an error.
    pub(super) assertions: Vec<(Span, &'static str)>,
}

/// Blanks the types of a program, whose names are resolved in `scoping`.
///
/// # Errors
/// When the program contains a construct that is more than a type.
pub(super) fn types<'a>(text: &'a str, program: &Program<'a>, scoping: &Scoping) -> Result<Blanked, Mistake> {
    let mut blanker = Blanker {
        text,
        comments: &program.comments,
        scoping,
        blanks: Vec::new(),
        puts: Vec::new(),
        fillers: Vec::new(),
        ends: Vec::new(),
        removed: HashSet::new(),
        assertions: Vec::new(),
        asserted: HashSet::new(),
        depth: 0,
        mistake: None,
    };
    blanker.visit_program(program);
    match blanker.mistake.take() {
        Some(mistake) => Err(mistake),
        None => blanker.finish(),
    }
}

/// The way in which a blanked type assertion changes how the code after it is read.
#[derive(Clone, Copy)]
enum Hazard {
    /// A line end ends the expression.
    LineEnd,
    /// A brace begins a block.
    Block,
    /// A brace begins a block, and some keywords begin a declaration.
    Statement,
}

struct Blanker<'a, 'p> {
    text: &'a str,
    comments: &'p [Comment],
    scoping: &'p Scoping,
    /// The byte ranges to blank. They may overlap.
    blanks: Vec<(usize, usize)>,
    /// Texts to write into blanks.
    puts: Vec<(usize, &'static str)>,
    /// Positions at which `0` and an operator are written, if they are blanked and the hazard occurs. The code after
    /// them then stays part of an expression.
    fillers: Vec<(usize, Hazard, &'static str)>,
    /// The positions at which statements and fields end without a semicolon.
    ends: Vec<usize>,
    removed: HashSet<u32>,
    assertions: Vec<(Span, &'static str)>,
    /// The ends of values with `as` or `satisfies`.
    asserted: HashSet<usize>,
    /// The number of enclosing statements.
    depth: usize,
    mistake: Option<Mistake>,
}

impl Blanker<'_, '_> {
    fn finish(mut self) -> Result<Blanked, Mistake> {
        let blanks = merged(std::mem::take(&mut self.blanks));
        self.put_semicolons(&blanks);
        if let Some(mistake) = self.mistake {
            return Err(mistake);
        }
        self.put_fillers(&blanks);
        self.puts.sort_unstable();
        let mut puts = self.puts.iter().peekable();
        let mut put = "".chars();
        let mut blanks = blanks.into_iter().peekable();
        let (mut out, mut zeros) = (String::with_capacity(self.text.len()), HashSet::new());
        for (at, letter) in self.text.char_indices() {
            while blanks.next_if(|(_, end)| *end <= at).is_some() {}
            let blank = blanks.peek().is_some_and(|(start, _)| *start <= at);
            while let Some((_, text)) = puts.next_if(|(start, _)| *start <= at) {
                put = text.chars();
            }
            let letter = match blank && !is_line_end(letter) {
                true => put.next().unwrap_or(' '),
                false => letter,
            };
            if blank && letter == '0' {
                zeros.insert(out.len() as u32);
            }
            out.push(letter);
        }
        Ok(Blanked { text: out, removed: self.removed, zeros, assertions: self.assertions })
    }

    /// Writes semicolons into blanks at the end of statements that only a line end terminates.
    fn put_semicolons(&mut self, blanks: &[(usize, usize)]) {
        for &end in &self.ends {
            let Ok(found) = blanks.binary_search_by_key(&end, |blank| blank.1) else { continue };
            let next = self.code(end, self.text.len()).find(|(_, letter)| !letter.is_whitespace());
            let ends_by_line =
                next.is_some_and(|(at, letter)| letter != '}' && self.text[end..at].contains(is_line_end));
            // Here `oxc_parser` differs: it ends `a < b as T` at a line that begins with `-`. tsc and esbuild do not.
            let goes_on = next.is_some_and(|(at, _)| is_operator(&self.text[at..]));
            if ends_by_line && goes_on && self.asserted.contains(&end) {
                let message = "the next line goes on with this value, in spite of its type".to_owned();
                let hint =
                    "end the statement with a semicolon, or put parentheses around the value with its type";
                self.mistake.get_or_insert((blanks[found].0, end, message, Some(hint.to_owned())));
            }
            if ends_by_line {
                self.puts.push((blanks[found].0, ";"));
            }
        }
    }

    fn put_fillers(&mut self, blanks: &[(usize, usize)]) {
        let moved: HashSet<usize> = self.puts.iter().map(|(at, _)| *at).collect();
        for &(start, hazard, operator) in &self.fillers {
            let found = &blanks[blanks.partition_point(|blank| blank.1 <= start)..];
            let Some(&(_, end)) = found.first().filter(|blank| blank.0 <= start) else { continue };
            // A moved parenthesis is code.
            if moved.contains(&start) {
                continue;
            }
            let rest = self.text[end..].trim_start();
            let begins = |word: &str| {
                rest.strip_prefix(word).is_some_and(|rest| !rest.starts_with(|it: char| it.is_alphanumeric()))
            };
            let found = match hazard {
                Hazard::LineEnd => self.text[start..self.text.len() - rest.len()].contains(is_line_end),
                Hazard::Block => rest.starts_with('{'),
                Hazard::Statement => {
                    rest.starts_with('{') || ["function", "class", "async"].into_iter().any(begins)
                }
            };
            // The operator must fit without a line end inside it.
            let mut places = self.text[start..end].char_indices().skip(1);
            let place = places.find(|(at, _)| {
                let mut there = self.text[start + at..end].chars().take(operator.len());
                there.by_ref().filter(|letter| !is_line_end(*letter)).count() == operator.len()
            });
            if let Some((at, _)) = place.filter(|_| found) {
                self.puts.push((start, "0"));
                self.puts.push((start + at, operator));
            }
        }
    }

    /// Iterates over the characters of a range, without comments.
    fn code(&self, start: usize, end: usize) -> impl Iterator<Item = (usize, char)> {
        let mut comments =
            self.comments[self.comments.partition_point(|it| it.span.end as usize <= start)..].iter();
        let mut comment = comments.next();
        let text = self.text.get(start..end).unwrap_or_default();
        text.char_indices().map(move |(at, letter)| (start + at, letter)).filter(move |(at, _)| {
            while comment.is_some_and(|it| it.span.end as usize <= *at) {
                comment = comments.next();
            }
            comment.is_none_or(|it| (it.span.start as usize) > *at)
        })
    }

    fn find(&self, start: u32, end: u32, letter: char) -> Option<u32> {
        self.code(start as usize, end as usize).find(|found| found.1 == letter).map(|(at, _)| at as u32)
    }

    /// Returns the words of a range that contains only words, brackets and comments.
    fn words(&self, start: u32, end: u32) -> Vec<(u32, &str)> {
        let mut words: Vec<(usize, usize)> = Vec::new();
        for (at, letter) in self.code(start as usize, end as usize) {
            match words.last_mut() {
                _ if !letter.is_ascii_alphanumeric() => {}
                Some(word) if word.1 == at => word.1 += 1,
                _ => words.push((at, at + 1)),
            }
        }
        words.into_iter().map(|(start, end)| (start as u32, &self.text[start..end])).collect()
    }

    fn has_line_end(&self, start: u32, end: u32) -> bool {
        self.text.get(start as usize..end as usize).unwrap_or_default().contains(is_line_end)
    }

    fn blank(&mut self, start: u32, end: u32) {
        self.blanks.push((start as usize, end as usize));
    }

    fn blank_span(&mut self, span: Span) {
        self.blank(span.start, span.end);
    }

    fn put(&mut self, at: u32, text: &'static str) {
        self.puts.push((at as usize, text));
    }

    /// Blanks a whole statement or class element, except for a semicolon that separates its neighbours.
    fn remove(&mut self, span: Span) {
        self.removed.insert(span.start);
        self.blank_span(span);
        self.put(span.start, ";");
    }

    /// Blanks an element of a list and the comma after it.
    fn remove_item(&mut self, span: Span) {
        self.removed.insert(span.start);
        let next = self.code(span.end as usize, self.text.len()).find(|(_, letter)| !letter.is_whitespace());
        let end = next.filter(|(_, letter)| *letter == ',').map_or(span.end, |(at, _)| at as u32 + 1);
        self.blank_span(span);
        self.blank(end - 1, end);
    }

    /// Blanks the first occurrence of a character in a range.
    fn blank_letter(&mut self, start: u32, end: u32, letter: char) {
        if let Some(at) = self.find(start, end, letter) {
            self.blank(at, at + 1);
        }
    }

    fn blank_words(&mut self, start: u32, end: u32, words: &[&str]) {
        let found = self.words(start, end).into_iter().filter(|(_, word)| words.contains(word));
        let found: Vec<_> = found.map(|(at, word)| (at, at + word.len() as u32)).collect();
        for (start, end) in found {
            self.blank(start, end);
        }
    }

    fn assertion(&mut self, name: &'static str, whole: Span, value: Span) {
        self.assertions.push((whole, name));
        self.blank(whole.start, value.start);
        self.blank(value.end, whole.end);
    }

    fn refuse(&mut self, span: Span, what: &str, instead: &str) {
        let mistake = (
            span.start as usize,
            span.end as usize,
            format!("{what} is not just a type: it makes code, which types here do not"),
            Some(format!("write {instead}")),
        );
        self.mistake.get_or_insert(mistake);
    }

    /// Blanks TypeScript's modifiers before a member's name.
    fn blank_modifiers(&mut self, start: u32, key: &PropertyKey<'_>) {
        const WORDS: [&str; 7] =
            ["public", "private", "protected", "readonly", "override", "abstract", "declare"];
        self.blank_words(start, key.span().start, &WORDS);
    }

    /// Returns the end of a member's name, including the bracket of a computed name.
    fn key_end(&self, key: &PropertyKey<'_>, computed: bool) -> u32 {
        let end = key.span().end;
        match computed {
            true => self.find(end, self.text.len() as u32, ']').map_or(end, |at| at + 1),
            false => end,
        }
    }

    /// Blanks the parentheses around a type assertion on an assigned name. JavaScript does not name a function after a
    /// parenthesized target.
    fn blank_target_parentheses(&mut self, whole: Span, target: &AssignmentTarget<'_>) {
        let Some(Expression::Identifier(name)) =
            target.get_expression().map(Expression::get_inner_expression)
        else {
            return;
        };
        // Skip the assertion itself, because its type may contain parentheses.
        let span = target.span();
        let before: Vec<_> = self.code(whole.start as usize, name.span.start as usize).collect();
        let after = self.code(span.end as usize, self.text.len()).take_while(|(_, letter)| *letter != '=');
        for (at, _) in
            before.into_iter().chain(after.collect::<Vec<_>>()).filter(|it| matches!(it.1, '(' | ')'))
        {
            self.blank(at as u32, at as u32 + 1);
        }
        if let Some(inner) = target.get_expression() {
            self.blank_inner_parentheses(inner);
        }
    }

    fn blank_inner_parentheses(&mut self, expression: &Expression<'_>) {
        if let Expression::ParenthesizedExpression(it) = expression {
            self.blank(it.span.start, it.span.start + 1);
            self.blank(it.span.end - 1, it.span.end);
        }
        let inner = match expression {
            Expression::ParenthesizedExpression(it) => &it.expression,
            Expression::TSAsExpression(it) => &it.expression,
            Expression::TSSatisfiesExpression(it) => &it.expression,
            Expression::TSNonNullExpression(it) => &it.expression,
            Expression::TSTypeAssertion(it) => &it.expression,
            _ => return,
        };
        self.blank_inner_parentheses(inner);
    }
}

/// Sorts ranges and merges those that overlap or touch.
fn merged(mut spans: Vec<(usize, usize)>) -> Vec<(usize, usize)> {
    spans.retain(|(start, end)| start < end);
    spans.sort_unstable();
    let mut merged: Vec<(usize, usize)> = Vec::new();
    for (start, end) in spans {
        match merged.last_mut() {
            Some(last) if start <= last.1 => last.1 = last.1.max(end),
            _ => merged.push((start, end)),
        }
    }
    merged
}

/// Returns whether a text begins with a binary operator.
fn is_operator(text: &str) -> bool {
    let unary = ["++", "--", "=>"].into_iter().any(|it| text.starts_with(it));
    !unary
        && (text.starts_with("!=")
            || text.starts_with(['+', '-', '*', '/', '%', '<', '>', '&', '|', '^', '?', '=']))
}

fn is_line_end(letter: char) -> bool {
    matches!(letter, '\n' | '\r' | '\u{2028}' | '\u{2029}')
}
