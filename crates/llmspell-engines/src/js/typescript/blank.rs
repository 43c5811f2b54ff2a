//! Blanks the types of a source.
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

use std::collections::HashSet;
use std::iter;

use oxc_ast::ast::{
    AccessorProperty, AccessorPropertyType, ArrowFunctionBody, ArrowFunctionExpression, AssignmentExpression,
    AssignmentTarget, AssignmentTargetWithDefault, Class, ClassBody, ClassElement, Comment, Declaration,
    Decorator, ExportAllDeclaration, ExportDefaultDeclaration, ExportDefaultDeclarationKind,
    ExportFromDeclaration, ExportNamedDeclaration, ExportSpecifier, Expression, ExpressionStatement,
    FormalParameter, Function, FunctionType, ImportDeclaration, ImportDeclarationSpecifier, MethodDefinition,
    MethodDefinitionType, ModuleExportName, Program, PropertyDefinition, PropertyDefinitionType, PropertyKey,
    ReturnStatement, Statement, TSAsExpression, TSInstantiationExpression, TSNamespaceDeclaration,
    TSNamespaceDeclarationBody, TSNonNullExpression, TSSatisfiesExpression, TSThisParameter,
    TSTypeAnnotation, TSTypeAssertion, TSTypeParameterDeclaration, TSTypeParameterInstantiation,
    ThrowStatement, VariableDeclarator, YieldExpression,
};
use oxc_ast_visit::{Visit, walk};
use oxc_semantic::Scoping;
use oxc_span::{GetSpan, Span};
use oxc_syntax::symbol::{SymbolFlags, SymbolId};

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

    /// Returns whether a name exists at run time.
    fn is_value(&self, symbol: SymbolId) -> bool {
        // One `declare` beside a real declaration does not take the value away.
        let exists = |flags: SymbolFlags| flags.can_be_referenced_by_value() && !flags.is_ambient();
        match self.scoping.symbol_redeclarations(symbol) {
            [] => exists(self.scoping.symbol_flags(symbol)),
            all => all.iter().any(|one| exists(one.flags)),
        }
    }

    /// Returns whether an imported name is used as a value.
    fn is_used(&self, specifier: &ImportDeclarationSpecifier<'_>) -> bool {
        let is_type =
            matches!(specifier, ImportDeclarationSpecifier::ImportSpecifier(it) if it.import_kind.is_type());
        let symbol = specifier.local().symbol_id.get();
        !is_type
            && symbol.is_none_or(|it| self.scoping.get_resolved_references(it).any(|used| used.is_value()))
    }

    fn exports_type(&self, specifier: &ExportSpecifier<'_>) -> bool {
        let ModuleExportName::IdentifierReference(name) = &specifier.local else {
            return specifier.export_kind.is_type();
        };
        let reference = name.reference_id.get().map(|it| self.scoping.get_reference(it));
        let symbol = reference.and_then(|it| it.symbol_id());
        specifier.export_kind.is_type() || symbol.is_some_and(|it| !self.is_value(it))
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

impl<'a> Visit<'a> for Blanker<'a, '_> {
    fn visit_ts_type_annotation(&mut self, it: &TSTypeAnnotation<'a>) {
        self.blank_span(it.span);
    }

    fn visit_ts_type_parameter_declaration(&mut self, it: &TSTypeParameterDeclaration<'a>) {
        self.blank_span(it.span);
    }

    fn visit_ts_type_parameter_instantiation(&mut self, it: &TSTypeParameterInstantiation<'a>) {
        self.blank_span(it.span);
    }

    fn visit_ts_this_parameter(&mut self, it: &TSThisParameter<'a>) {
        self.remove_item(it.span);
    }

    fn visit_ts_as_expression(&mut self, it: &TSAsExpression<'a>) {
        self.asserted.insert(it.span.end as usize);
        self.assertion("`as`", it.span, it.expression.span());
        self.visit_expression(&it.expression);
    }

    fn visit_ts_satisfies_expression(&mut self, it: &TSSatisfiesExpression<'a>) {
        self.asserted.insert(it.span.end as usize);
        self.assertion("`satisfies`", it.span, it.expression.span());
        self.visit_expression(&it.expression);
    }

    fn visit_ts_non_null_expression(&mut self, it: &TSNonNullExpression<'a>) {
        self.assertion("`!`", it.span, it.expression.span());
        self.visit_expression(&it.expression);
    }

    fn visit_ts_type_assertion(&mut self, it: &TSTypeAssertion<'a>) {
        self.assertion("`<…>`", it.span, it.expression.span());
        self.visit_expression(&it.expression);
    }

    fn visit_ts_instantiation_expression(&mut self, it: &TSInstantiationExpression<'a>) {
        self.assertion("`<…>`", it.span, it.expression.span());
        self.visit_expression(&it.expression);
    }

    fn visit_assignment_expression(&mut self, it: &AssignmentExpression<'a>) {
        self.blank_target_parentheses(it.span, &it.left);
        walk::walk_assignment_expression(self, it);
    }

    fn visit_assignment_target_with_default(&mut self, it: &AssignmentTargetWithDefault<'a>) {
        self.blank_target_parentheses(it.span, &it.binding);
        walk::walk_assignment_target_with_default(self, it);
    }

    fn visit_expression_statement(&mut self, it: &ExpressionStatement<'a>) {
        self.fillers.push((it.span.start as usize, Hazard::Statement, ","));
        walk::walk_expression_statement(self, it);
    }

    fn visit_return_statement(&mut self, it: &ReturnStatement<'a>) {
        if let Some(argument) = &it.argument {
            self.fillers.push((argument.span().start as usize, Hazard::LineEnd, ","));
        }
        walk::walk_return_statement(self, it);
    }

    fn visit_throw_statement(&mut self, it: &ThrowStatement<'a>) {
        self.fillers.push((it.argument.span().start as usize, Hazard::LineEnd, ","));
        walk::walk_throw_statement(self, it);
    }

    fn visit_yield_expression(&mut self, it: &YieldExpression<'a>) {
        if let Some(argument) = &it.argument {
            self.fillers.push((argument.span().start as usize, Hazard::LineEnd, "||"));
        }
        walk::walk_yield_expression(self, it);
    }

    fn visit_formal_parameter(&mut self, it: &FormalParameter<'a>) {
        if it.accessibility.is_some() || it.readonly || it.r#override {
            self.refuse(it.span, "a parameter property", "the field, and assign to it in the constructor");
        }
        if it.optional {
            let end = it.type_annotation.as_ref().map_or(it.span.end, |annotation| annotation.span.start);
            self.blank_letter(it.pattern.span().end, end.max(it.pattern.span().end + 1), '?');
        }
        walk::walk_formal_parameter(self, it);
    }

    fn visit_variable_declarator(&mut self, it: &VariableDeclarator<'a>) {
        if it.definite
            && let Some(annotation) = &it.type_annotation
        {
            self.blank_letter(it.id.span().end, annotation.span.start, '!');
        }
        walk::walk_variable_declarator(self, it);
    }

    fn visit_arrow_function_expression(&mut self, it: &ArrowFunctionExpression<'a>) {
        // No line end may follow `async` or `return` before the parameters, so their opening parenthesis moves up.
        if let Some(types) = &it.type_parameters
            && self.has_line_end(types.span.start, it.params.span.start)
        {
            self.blank(it.params.span.start, it.params.span.start + 1);
            self.put(types.span.start, "(");
        }
        // Nor may one precede the arrow, so the closing parenthesis moves down.
        if let Some(returned) = &it.return_type
            && self.has_line_end(it.params.span.end, returned.span.end)
        {
            self.blank(it.params.span.end - 1, it.params.span.end);
            let last = self.text.floor_char_boundary(returned.span.end as usize - 1);
            self.put(last as u32, ")");
        }
        if !matches!(it.body, ArrowFunctionBody::FunctionBody(_)) {
            self.fillers.push((it.body.span().start as usize, Hazard::Block, "||"));
        }
        walk::walk_arrow_function_expression(self, it);
    }

    fn visit_decorator(&mut self, it: &Decorator<'a>) {
        self.refuse(it.span, "a decorator", "a call of the function");
    }

    fn visit_class(&mut self, it: &Class<'a>) {
        if it.r#abstract {
            let end = it.id.as_ref().map_or(it.body.span.start, |id| id.span.start);
            self.blank_words(it.span.start, end, &["abstract"]);
        }
        if let (Some(first), Some(last)) = (it.implements.first(), it.implements.last()) {
            let from = it.type_parameters.as_ref().map(|it| it.span.end);
            let from = from.into_iter().chain(it.id.as_ref().map(|it| it.span.end));
            let from = from.chain(it.heritage.as_ref().map(|it| it.expression.span().end));
            let from = from.chain(it.heritage.iter().flat_map(|it| &it.type_arguments).map(|it| it.span.end));
            let words = self.words(from.max().unwrap_or(it.span.start), first.span.start);
            if let Some((at, _)) = words.into_iter().find(|(_, word)| *word == "implements") {
                self.blank(at, last.span.end);
            }
        }
        self.visit_decorators(&it.decorators);
        if let Some(heritage) = &it.heritage {
            self.visit_class_heritage(heritage);
        }
        if let Some(parameters) = &it.type_parameters {
            self.visit_ts_type_parameter_declaration(parameters);
        }
        self.visit_class_body(&it.body);
    }

    fn visit_class_body(&mut self, it: &ClassBody<'a>) {
        for (element, before) in it.body.iter().zip(iter::once(None).chain(it.body.iter().map(Some))) {
            let span = element.span();
            self.ends.push(span.end as usize);
            let open = before.is_some_and(|before| {
                matches!(before, ClassElement::PropertyDefinition(_))
                    && !self.text[..before.span().end as usize].ends_with(';')
            });
            let blanked = self.blanks.len();
            self.visit_class_element(element);
            // The blanked modifier had ended the field before it.
            if open && self.blanks[blanked..].iter().any(|(start, _)| *start == span.start as usize) {
                self.put(span.start, ";");
            }
        }
    }

    fn visit_class_element(&mut self, it: &ClassElement<'a>) {
        match it {
            ClassElement::TSIndexSignature(signature) => self.remove(signature.span),
            it => walk::walk_class_element(self, it),
        }
    }

    fn visit_accessor_property(&mut self, it: &AccessorProperty<'a>) {
        match it.r#type {
            AccessorPropertyType::TSAbstractAccessorProperty => self.remove(it.span),
            AccessorPropertyType::AccessorProperty => {
                self.refuse(it.span, "an accessor field", "a getter and a setter");
            }
        }
    }

    fn visit_method_definition(&mut self, it: &MethodDefinition<'a>) {
        if it.value.body.is_none() || it.r#type == MethodDefinitionType::TSAbstractMethodDefinition {
            self.remove(it.span);
            return;
        }
        self.blank_modifiers(it.span.start, &it.key);
        if it.optional {
            let end = self.key_end(&it.key, it.computed);
            self.blank_letter(end, it.value.params.span.start, '?');
        }
        walk::walk_method_definition(self, it);
    }

    fn visit_property_definition(&mut self, it: &PropertyDefinition<'a>) {
        if it.declare || it.r#type == PropertyDefinitionType::TSAbstractPropertyDefinition {
            self.remove(it.span);
            return;
        }
        self.blank_modifiers(it.span.start, &it.key);
        let end = self.key_end(&it.key, it.computed);
        let until = match (&it.type_annotation, &it.value) {
            (Some(annotation), _) => annotation.span.start,
            (None, Some(value)) => value.span().start,
            (None, None) => it.span.end,
        };
        if it.optional {
            self.blank_letter(end, until, '?');
        }
        if it.definite {
            self.blank_letter(end, until, '!');
        }
        walk::walk_property_definition(self, it);
    }

    fn visit_statement(&mut self, it: &Statement<'a>) {
        let span = it.span();
        if self.depth > 0 && it.is_module_declaration() {
            let message = "`import` and `export` stand at the top of a module".to_owned();
            self.mistake.get_or_insert((span.start as usize, span.end as usize, message, None));
        }
        self.depth += 1;
        self.ends.push(span.end as usize);
        let is_type = match it {
            Statement::ExportDeclaration(export) => is_type(&export.declaration),
            Statement::TSNamespaceExportDeclaration(_) => true,
            it => it.as_declaration().is_some_and(is_type),
        };
        match is_type {
            true => self.remove(span),
            false => walk::walk_statement(self, it),
        }
        if let Statement::TSExportAssignment(it) = it {
            self.refuse(it.span, "`export =`", "`export default`");
        }
        self.depth -= 1;
    }

    fn visit_declaration(&mut self, it: &Declaration<'a>) {
        let span = it.span();
        match it {
            Declaration::TSEnumDeclaration(_) => {
                self.refuse(span, "an enum", "`const Colour = { Red: \"red\" } as const`");
            }
            Declaration::TSNamespaceDeclaration(_) => self.refuse(span, "a namespace", "a module of its own"),
            Declaration::TSImportEqualsDeclaration(_) => self.refuse(span, "`import =`", "`import … from`"),
            it => walk::walk_declaration(self, it),
        }
    }

    fn visit_import_declaration(&mut self, it: &ImportDeclaration<'a>) {
        let Some(specifiers) = &it.specifiers else { return };
        if it.import_kind.is_type() || !specifiers.iter().any(|specifier| self.is_used(specifier)) {
            self.remove(it.span);
            return;
        }
        for specifier in specifiers.iter().filter(|specifier| !self.is_used(specifier)).collect::<Vec<_>>() {
            let span = specifier.span();
            self.remove_item(span);
            if let ImportDeclarationSpecifier::ImportNamespaceSpecifier(_) = specifier {
                // Only a default import can remain, with the comma after it.
                self.blank_letter(specifiers[0].span().end, span.start, ',');
            }
        }
    }

    fn visit_export_named_declaration(&mut self, it: &ExportNamedDeclaration<'a>) {
        match it.export_kind.is_type() {
            true => self.remove(it.span),
            false => walk::walk_export_named_declaration(self, it),
        }
    }

    fn visit_export_from_declaration(&mut self, it: &ExportFromDeclaration<'a>) {
        match it.export_kind.is_type() || it.specifiers.iter().all(|it| it.export_kind.is_type()) {
            true => self.remove(it.span),
            false => walk::walk_export_from_declaration(self, it),
        }
    }

    fn visit_export_specifier(&mut self, it: &ExportSpecifier<'a>) {
        if self.exports_type(it) {
            self.remove_item(it.span);
        }
    }

    fn visit_export_all_declaration(&mut self, it: &ExportAllDeclaration<'a>) {
        if it.export_kind.is_type() {
            self.remove(it.span);
        }
    }

    fn visit_export_default_declaration(&mut self, it: &ExportDefaultDeclaration<'a>) {
        let symbol =
            |name: Option<oxc_syntax::reference::ReferenceId>| self.scoping.get_reference(name?).symbol_id();
        let is_type = match &it.declaration {
            ExportDefaultDeclarationKind::TSInterfaceDeclaration(_) => true,
            ExportDefaultDeclarationKind::FunctionDeclaration(function) => is_signature(function),
            ExportDefaultDeclarationKind::Identifier(name) => {
                symbol(name.reference_id.get()).is_some_and(|it| !self.is_value(it))
            }
            _ => false,
        };
        match is_type {
            true => self.remove(it.span),
            false => walk::walk_export_default_declaration(self, it),
        }
    }
}

/// Returns whether a function is only an overload signature.
fn is_signature(function: &Function<'_>) -> bool {
    function.body.is_none() || function.r#type == FunctionType::TSDeclareFunction
}

/// Returns whether a declaration exists only as a type.
fn is_type(declaration: &Declaration<'_>) -> bool {
    match declaration {
        Declaration::TSTypeAliasDeclaration(_)
        | Declaration::TSInterfaceDeclaration(_)
        | Declaration::TSExternalModuleDeclaration(_)
        | Declaration::TSGlobalDeclaration(_) => true,
        Declaration::TSEnumDeclaration(it) => it.declare,
        Declaration::TSNamespaceDeclaration(it) => it.declare || holds_types(it),
        Declaration::VariableDeclaration(it) => it.declare,
        Declaration::ClassDeclaration(it) => it.declare,
        Declaration::FunctionDeclaration(it) => it.declare || is_signature(it),
        Declaration::TSImportEqualsDeclaration(it) => it.import_kind.is_type(),
    }
}

/// Returns whether a namespace contains only types, so it does not exist at run time.
fn holds_types(namespace: &TSNamespaceDeclaration<'_>) -> bool {
    match &namespace.body {
        TSNamespaceDeclarationBody::TSNamespaceDeclaration(inner) => holds_types(inner),
        TSNamespaceDeclarationBody::TSModuleBlock(block) => block.body.iter().all(|statement| {
            let declaration = match statement {
                Statement::ExportDeclaration(it) => Some(&it.declaration),
                it => it.as_declaration(),
            };
            match declaration {
                Some(Declaration::TSTypeAliasDeclaration(_) | Declaration::TSInterfaceDeclaration(_)) => true,
                Some(Declaration::TSNamespaceDeclaration(inner)) => holds_types(inner),
                _ => false,
            }
        }),
    }
}

#[cfg(test)]
mod tests {
    use llmspell_core::Source;

    use super::super::strip;

    #[test]
    fn types_are_blanked_where_they_stand() {
        let cases = [
            ("let x: number = 1", "let x         = 1"),
            ("let x!: number; x = 1", "let x         ; x = 1"),
            ("const { a }: { a: string } = o", "const { a }                = o"),
            (
                "function f<T>(a: T, b?: number, ...c: T[]): T { return a }",
                "function f   (a   , b         , ...c     )    { return a }",
            ),
            ("function f(this: Window, a = 1 as number) {}", "function f(              a = 1          ) {}"),
            ("const f = <T,>(x: T): x is T => x", "const f =     (x   )         => x"),
            (
                "const f = (\n  x: number\n): Promise<\n  void\n> => x",
                "const f = (\n  x        \n           \n      \n) => x",
            ),
            ("async (x?: number) => x!", "async (x         ) => x "),
            ("x = <any>y as unknown satisfies Z", "x =      y                       "),
            (
                "f<string>(1); new Map<string, number>(); tag<T>`x`; const g = f<T>",
                "f        (1); new Map                (); tag   `x`; const g = f   ",
            ),
            ("type A = string\ninterface B { c: A }\n[1]", ";              \n;                   \n[1]"),
            ("export type A = 1; export interface B {}", ";                  ;                    "),
            (
                "import type { A } from './a'; import { type B, c, type D } from './b'; c()",
                ";                             import {         c,        } from './b'; c()",
            ),
            (
                "export type { A }; let c; export { type B, c }",
                ";                  let c; export {         c }",
            ),
            (
                "declare const x: number; declare function f(): void; declare class C {}",
                ";                        ;                           ;                 ",
            ),
            ("declare module 'x' {}\ndeclare global {}", ";                    \n;                "),
            (
                "function f(a: 1): void; function f(a: any) {}",
                ";                       function f(a     ) {}",
            ),
            ("try {} catch (e: unknown) {}", "try {} catch (e         ) {}"),
            ("for (const x of y as number[]) {}", "for (const x of y            ) {}"),
            ("(x as any) = 1; (x!).y = 2; x!.y!()", " x         = 1; (x ).y = 2; x .y ()"),
            (
                "abstract class A<T> extends B<T> implements C, D<T> { }",
                "         class A    extends B                       { }",
            ),
            (
                "class A { private readonly x: number = 1; static y?: string; declare z: 1; w!: 2 }",
                "class A {                  x         = 1; static y         ; ;             w     }",
            ),
            (
                "class A { public async m?(): void {} protected get g(): 1 { return 1 } override ['k'](): 2 {} }",
                "class A {        async m ()       {}           get g()    { return 1 }          ['k']()    {} }",
            ),
            (
                "abstract class A { abstract m(): void; abstract x: 1; [k: string]: any; m(a: 1): void; m(a: any) {} }",
                "         class A { ;                   ;              ;                 ;              m(a     ) {} }",
            ),
            ("class A { constructor(x: number) {} }", "class A { constructor(x        ) {} }"),
            ("let é: 'ü' = 'ü'; let s = `${x as T}`", "let é      = 'ü'; let s = `${x     }`"),
            ("const x = { a: 1 } as const", "const x = { a: 1 }         "),
            ("label: for (;;) { a ? b : c }", "label: for (;;) { a ? b : c }"),
            ("x = y as T\n(z)", "x = y;    \n(z)"),
            ("function f() { return <T>\n1 }", "function f() { return 0, \n1 }"),
            ("() => <T>{ a: 1 }", "() => 0||{ a: 1 }"),
            ("const f = async <T>\n(x: T) => x", "const f = async (  \n x   ) => x"),
            ("class A { a = 1\nprivate ['b'] = 2 }", "class A { a = 1\n;       ['b'] = 2 }"),
            ("class A { get: T\nx() {} }", "class A { get;  \nx() {} }"),
            ("let x; (x as T) = () => {}", "let x;  x       = () => {}"),
            ("import { T } from './a'; let x: T", ";                        let x   "),
        ];
        for (typed, plain) in cases {
            let stripped =
                strip(&Source::new("a.ts", typed)).unwrap_or_else(|found| panic!("{typed}: {found:?}"));
            assert_eq!(stripped, plain, "{typed}");
            assert_eq!(stripped.chars().count(), typed.chars().count());
        }
    }

    #[test]
    fn what_is_more_than_a_type_is_refused() {
        let cases = [
            ("enum A { B }", "a.ts:1:1: an enum is not just a type: it makes code, which types here do not"),
            (
                "\nexport enum A { B }",
                "a.ts:2:8: an enum is not just a type: it makes code, which types here do not",
            ),
            (
                "namespace A { export const b = 1 }",
                "a.ts:1:1: a namespace is not just a type: it makes code, which types here do not",
            ),
            (
                "class A { constructor(private x: number) {} }",
                "a.ts:1:23: a parameter property is not just a type: it makes code, which types here do not",
            ),
            ("export = 1", "a.ts:1:1: `export =` is not just a type: it makes code, which types here do not"),
            ("let x: = 1", "a.ts:1:8: Unexpected token"),
            (
                "let é: 'ü'\nlet x = -é as T ** 2",
                "a.ts:2:9: without `as` this would be other code: the types here cannot be taken out",
            ),
            ("let x = <div>text</div>", "a.ts:1:19: JSX is not supported"),
        ];
        for (typed, said) in cases {
            let found = strip(&Source::new("a.ts", typed)).unwrap_err();
            assert_eq!(format!("{}: {}", found.place, found.message), said, "{typed}");
        }
    }

    #[test]
    fn a_source_that_is_nested_without_end_is_refused_or_read() {
        let shapes = [
            "(",
            "[",
            "!",
            "-",
            "typeof ",
            "new ",
            "a=>",
            "a?b:",
            "a**",
            "1+",
            "a.",
            "if(a)",
            "else ",
            "a:",
            "A<",
            "`${",
            "{",
            "[[]]:",
            "if(a);else ",
            "keyof ",
            "await ",
            "a=",
            "(a)=>",
            "a(",
            "x as ",
            "!\n",
            "function(){",
            "a,",
            "a||",
            "f()",
            "[]",
        ];
        for shape in shapes {
            for (start, end) in [("", ""), ("", "x"), ("let x: ", ""), ("type X = ", "x")] {
                let text = format!("{start}{}{end}", shape.repeat(1024 * 1024 / shape.len()));
                // The result does not matter, but `strip` must return.
                let _ = strip(&Source::new("a.ts", text));
            }
        }
    }
}
