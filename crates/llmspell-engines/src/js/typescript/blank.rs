//! Blanks types out of a source.

use oxc_ast::ast::{
    ArrowFunctionExpression, Class, ClassElement, Declaration, ExportAllDeclaration,
    ExportDefaultDeclaration, ExportDefaultDeclarationKind, ExportFromDeclaration, ExportNamedDeclaration,
    ExportSpecifier, FormalParameter, Function, FunctionType, ImportDeclaration, ImportDeclarationSpecifier,
    MethodDefinition, MethodDefinitionType, Program, PropertyDefinition, PropertyDefinitionType, PropertyKey,
    Statement, TSAsExpression, TSInstantiationExpression, TSNonNullExpression, TSSatisfiesExpression,
    TSThisParameter, TSTypeAnnotation, TSTypeAssertion, TSTypeParameterDeclaration,
    TSTypeParameterInstantiation, VariableDeclarator,
};
use oxc_ast_visit::{Visit, walk};
use oxc_span::{GetSpan, Span};

use super::Mistake;

/// The source with spaces in place of its types.
pub(super) fn types<'a>(text: &'a str, program: &Program<'a>) -> Result<String, Mistake> {
    let mut blanker = Blanker { text, blanks: Vec::new(), puts: Vec::new(), mistake: None };
    blanker.visit_program(program);
    match blanker.mistake {
        Some(mistake) => Err(mistake),
        None => Ok(blanker.finish()),
    }
}

struct Blanker<'a> {
    text: &'a str,
    /// What is blanked out: from one byte to another. They may overlap.
    blanks: Vec<(usize, usize)>,
    /// Letters that are put in the place of others.
    puts: Vec<(usize, char)>,
    mistake: Option<Mistake>,
}

impl Blanker<'_> {
    fn finish(mut self) -> String {
        self.blanks.sort_unstable();
        self.puts.sort_unstable();
        let mut puts = self.puts.into_iter().peekable();
        let mut blanks = self.blanks.into_iter().peekable();
        let mut out = String::with_capacity(self.text.len());
        let mut until = 0;
        for (at, letter) in self.text.char_indices() {
            while let Some((_, end)) = blanks.next_if(|(start, _)| *start <= at) {
                until = until.max(end);
            }
            let put = puts.next_if(|(place, _)| *place == at).map(|(_, letter)| letter);
            let ends_line = matches!(letter, '\n' | '\r' | '\u{2028}' | '\u{2029}');
            out.push(match put {
                Some(put) => put,
                None if at < until && !ends_line => ' ',
                None => letter,
            });
        }
        out
    }

    fn blank(&mut self, start: u32, end: u32) {
        self.blanks.push((start as usize, end as usize));
    }

    fn blank_span(&mut self, span: Span) {
        self.blank(span.start, span.end);
    }

    /// Blanks a whole statement. A semicolon stays, so that the lines around it do not run together.
    fn blank_statement(&mut self, span: Span) {
        self.blank_span(span);
        self.puts.push((span.start as usize, ';'));
    }

    /// Blanks with the comma that follows.
    fn blank_item(&mut self, span: Span) {
        let rest = &self.text[span.end as usize..];
        let space = rest.len() - rest.trim_start().len();
        let comma = if rest[space..].starts_with(',') { space + 1 } else { 0 };
        self.blank(span.start, span.end + comma as u32);
    }

    fn between(&self, start: u32, end: u32) -> &str {
        self.text.get(start as usize..end as usize).unwrap_or_default()
    }

    /// Blanks the first of some letters between two places.
    fn blank_letter(&mut self, start: u32, end: u32, letter: char) {
        if let Some(at) = self.between(start, end).find(letter) {
            self.blank(start + at as u32, start + at as u32 + 1);
        }
    }

    /// Blanks words between two places, where only words and comments are.
    fn blank_words(&mut self, start: u32, end: u32, words: &[&str]) {
        let text = self.between(start, end);
        let mut found = Vec::new();
        let mut from = 0;
        while let Some(at) = text[from..].find(|letter: char| letter.is_ascii_alphabetic()) {
            let word = from + at;
            let length = text[word..]
                .find(|letter: char| !letter.is_alphanumeric() && letter != '_')
                .unwrap_or(text.len() - word);
            if words.contains(&&text[word..word + length]) {
                found.push((start + word as u32, start + (word + length) as u32));
            }
            from = word + length;
        }
        for (start, end) in found {
            self.blank(start, end);
        }
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

    /// Blanks what TypeScript writes before a member's name.
    fn blank_modifiers(&mut self, start: u32, key: &PropertyKey<'_>) {
        const WORDS: [&str; 7] =
            ["public", "private", "protected", "readonly", "override", "abstract", "declare"];
        self.blank_words(start, key.span().start, &WORDS);
    }

    /// The end of a member's name, with the bracket of one that is computed.
    fn key_end(&self, key: &PropertyKey<'_>, computed: bool) -> u32 {
        let end = key.span().end;
        let bracket = if computed { self.text[end as usize..].find(']').map_or(0, |at| at + 1) } else { 0 };
        end + bracket as u32
    }
}

impl<'a> Visit<'a> for Blanker<'a> {
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
        self.blank_item(it.span);
    }

    fn visit_ts_as_expression(&mut self, it: &TSAsExpression<'a>) {
        self.blank(it.expression.span().end, it.span.end);
        self.visit_expression(&it.expression);
    }

    fn visit_ts_satisfies_expression(&mut self, it: &TSSatisfiesExpression<'a>) {
        self.blank(it.expression.span().end, it.span.end);
        self.visit_expression(&it.expression);
    }

    fn visit_ts_non_null_expression(&mut self, it: &TSNonNullExpression<'a>) {
        self.blank(it.expression.span().end, it.span.end);
        self.visit_expression(&it.expression);
    }

    fn visit_ts_instantiation_expression(&mut self, it: &TSInstantiationExpression<'a>) {
        self.blank_span(it.type_arguments.span);
        self.visit_expression(&it.expression);
    }

    fn visit_ts_type_assertion(&mut self, it: &TSTypeAssertion<'a>) {
        self.blank(it.span.start, it.expression.span().start);
        self.visit_expression(&it.expression);
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
        // No line may end before the arrow: the bracket of the parameters moves there.
        if let Some(returned) = &it.return_type
            && self.between(it.params.span.end, returned.span.end).contains('\n')
        {
            self.blank(it.params.span.end - 1, it.params.span.end);
            self.puts.push((returned.span.end as usize - 1, ')'));
        }
        walk::walk_arrow_function_expression(self, it);
    }

    fn visit_class(&mut self, it: &Class<'a>) {
        if it.r#abstract {
            let end = it.id.as_ref().map_or(it.body.span.start, |id| id.span.start);
            self.blank_words(it.span.start, end, &["abstract"]);
        }
        if let (Some(first), Some(last)) = (it.implements.first(), it.implements.last()) {
            let before = &self.text[..first.span.start as usize];
            let word = before.rfind("implements").unwrap_or(before.len());
            self.blank(word as u32, last.span.end);
        }
        for decorator in &it.decorators {
            self.refuse(decorator.span, "a decorator", "a call of the function");
        }
        if let Some(heritage) = &it.heritage {
            self.visit_class_heritage(heritage);
        }
        if let Some(parameters) = &it.type_parameters {
            self.visit_ts_type_parameter_declaration(parameters);
        }
        self.visit_class_body(&it.body);
    }

    fn visit_class_element(&mut self, it: &ClassElement<'a>) {
        match it {
            ClassElement::TSIndexSignature(signature) => self.blank_statement(signature.span),
            ClassElement::AccessorProperty(property) => {
                self.refuse(property.span, "an accessor field", "a getter and a setter");
            }
            it => walk::walk_class_element(self, it),
        }
    }

    fn visit_method_definition(&mut self, it: &MethodDefinition<'a>) {
        if it.value.body.is_none() || it.r#type == MethodDefinitionType::TSAbstractMethodDefinition {
            self.blank_statement(it.span);
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
            self.blank_statement(it.span);
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
        match it {
            Statement::TSTypeAliasDeclaration(_)
            | Statement::TSInterfaceDeclaration(_)
            | Statement::TSExternalModuleDeclaration(_)
            | Statement::TSGlobalDeclaration(_)
            | Statement::TSNamespaceExportDeclaration(_) => self.blank_statement(span),
            Statement::TSEnumDeclaration(it) if it.declare => self.blank_statement(span),
            Statement::TSNamespaceDeclaration(it) if it.declare => self.blank_statement(span),
            Statement::VariableDeclaration(it) if it.declare => self.blank_statement(span),
            Statement::ClassDeclaration(it) if it.declare => self.blank_statement(span),
            Statement::FunctionDeclaration(it) if it.declare || is_signature(it) => {
                self.blank_statement(span)
            }
            Statement::TSEnumDeclaration(_) => {
                self.refuse(span, "an enum", "`const Colour = { Red: \"red\" } as const`");
            }
            Statement::TSNamespaceDeclaration(_) => self.refuse(span, "a namespace", "a module of its own"),
            Statement::TSImportEqualsDeclaration(_) => self.refuse(span, "`import =`", "`import … from`"),
            Statement::TSExportAssignment(_) => self.refuse(span, "`export =`", "`export default`"),
            Statement::ExportDeclaration(export) if is_declared(&export.declaration) => {
                self.blank_statement(span)
            }
            Statement::ExportDeclaration(export) => match &export.declaration {
                Declaration::TSEnumDeclaration(_) => {
                    self.refuse(span, "an enum", "`const Colour = { Red: \"red\" } as const`");
                }
                Declaration::TSNamespaceDeclaration(_) => {
                    self.refuse(span, "a namespace", "a module of its own");
                }
                _ => walk::walk_statement(self, it),
            },
            it => walk::walk_statement(self, it),
        }
    }

    fn visit_import_declaration(&mut self, it: &ImportDeclaration<'a>) {
        if it.import_kind.is_type() {
            self.blank_statement(it.span);
            return;
        }
        for specifier in it.specifiers.iter().flatten() {
            if let ImportDeclarationSpecifier::ImportSpecifier(specifier) = specifier
                && specifier.import_kind.is_type()
            {
                self.blank_item(specifier.span);
            }
        }
    }

    fn visit_export_named_declaration(&mut self, it: &ExportNamedDeclaration<'a>) {
        if it.export_kind.is_type() {
            self.blank_statement(it.span);
        } else {
            walk::walk_export_named_declaration(self, it);
        }
    }

    fn visit_export_from_declaration(&mut self, it: &ExportFromDeclaration<'a>) {
        if it.export_kind.is_type() {
            self.blank_statement(it.span);
        } else {
            walk::walk_export_from_declaration(self, it);
        }
    }

    fn visit_export_specifier(&mut self, it: &ExportSpecifier<'a>) {
        if it.export_kind.is_type() {
            self.blank_item(it.span);
        }
    }

    fn visit_export_all_declaration(&mut self, it: &ExportAllDeclaration<'a>) {
        if it.export_kind.is_type() {
            self.blank_statement(it.span);
        }
    }

    fn visit_export_default_declaration(&mut self, it: &ExportDefaultDeclaration<'a>) {
        match &it.declaration {
            ExportDefaultDeclarationKind::TSInterfaceDeclaration(_) => self.blank_statement(it.span),
            ExportDefaultDeclarationKind::FunctionDeclaration(function) if is_signature(function) => {
                self.blank_statement(it.span);
            }
            _ => walk::walk_export_default_declaration(self, it),
        }
    }
}

/// Whether it is the head of a function alone, one of several that it has.
fn is_signature(function: &Function<'_>) -> bool {
    function.body.is_none() || function.r#type == FunctionType::TSDeclareFunction
}

/// Whether it is nothing but a type.
fn is_declared(declaration: &Declaration<'_>) -> bool {
    match declaration {
        Declaration::TSTypeAliasDeclaration(_)
        | Declaration::TSInterfaceDeclaration(_)
        | Declaration::TSExternalModuleDeclaration(_)
        | Declaration::TSGlobalDeclaration(_) => true,
        Declaration::TSEnumDeclaration(it) => it.declare,
        Declaration::TSNamespaceDeclaration(it) => it.declare,
        Declaration::VariableDeclaration(it) => it.declare,
        Declaration::ClassDeclaration(it) => it.declare,
        Declaration::FunctionDeclaration(it) => it.declare || is_signature(it),
        Declaration::TSImportEqualsDeclaration(_) => false,
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
                "import type { A } from './a'; import { type B, c, type D } from './b'",
                ";                             import {         c,        } from './b'",
            ),
            ("export type { A }; export { type B, c }", ";                  export {         c }"),
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
            ("(x as any) = 1; (x!).y = 2; x!.y!()", "(x       ) = 1; (x ).y = 2; x .y ()"),
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
                "a.ts:2:1: an enum is not just a type: it makes code, which types here do not",
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
                // It must come back, whatever it says.
                let _ = strip(&Source::new("a.ts", text));
            }
        }
    }
}
