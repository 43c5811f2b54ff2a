//! Proves that blanking preserves the meaning of a source: the blanked text must parse to the source's syntax tree
//! without its types.
//!
//! [`super::blank`] handles the known cases in which a blank changes how JavaScript reads the rest. This module finds
//! the others.

use std::collections::HashSet;

use oxc_allocator::{Allocator, TakeIn, Vec};
use oxc_ast::ast::{
    ArrowFunctionExpression, CallExpression, CatchParameter, ChainElement, Class, ClassBody,
    ExportFromDeclaration, ExportNamedDeclaration, Expression, FormalParameter, FormalParameterRest,
    Function, ImportDeclaration, MethodDefinition, NewExpression, Program, PropertyDefinition,
    SimpleAssignmentTarget, Statement, TaggedTemplateExpression, VariableDeclarator,
};
use oxc_ast_visit::{VisitMut, walk_mut};
use oxc_span::{ContentEq, GetSpan, Span};
use oxc_syntax::scope::ScopeFlags;

/// Returns where a program differs from the program of its blanked source.
pub(super) fn difference<'a>(
    allocator: &'a Allocator,
    (source, removed): (&mut Program<'a>, &HashSet<u32>),
    (blanked, zeros): (&mut Program<'a>, &HashSet<u32>),
) -> Option<Span> {
    let nothing = HashSet::new();
    Eraser { allocator, removed, zeros: &nothing }.visit_program(source);
    Eraser { allocator, removed: &nothing, zeros }.visit_program(blanked);
    if !source.directives.content_eq(&blanked.directives) {
        return Some(source.directives.first().map_or(Span::new(0, 1), |it| it.span));
    }
    let mut pairs = source.body.iter().zip(&blanked.body);
    match pairs.find(|(one, other)| !one.content_eq(other)) {
        Some((statement, _)) => Some(statement.span()),
        None if source.body.len() == blanked.body.len() => None,
        None => Some(source.body.last().map_or(Span::new(0, 1), GetSpan::span)),
    }
}

/// Removes from a tree its types, the nodes that were blanked as a whole, and the inserted `0`s. Also removes the
/// parser's optimizer hints (`pure`, `pife`), which depend on comments and parentheses.
struct Eraser<'a, 's> {
    allocator: &'a Allocator,
    removed: &'s HashSet<u32>,
    zeros: &'s HashSet<u32>,
}

impl<'a> Eraser<'a, '_> {
    fn keeps(&self, node: &impl GetSpan) -> bool {
        !self.removed.contains(&node.span().start)
    }

    /// Returns the expression inside parentheses, type assertions and an inserted `0,` or `0||`.
    fn inner(&self, expression: &mut Expression<'a>) -> Option<Expression<'a>> {
        let is_zero = |it: &Expression<'a>| matches!(it, Expression::NumericLiteral(zero) if self.zeros.contains(&zero.span.start));
        let inner = match expression {
            Expression::ParenthesizedExpression(it) => &mut it.expression,
            Expression::TSAsExpression(it) => &mut it.expression,
            Expression::TSSatisfiesExpression(it) => &mut it.expression,
            Expression::TSTypeAssertion(it) => &mut it.expression,
            Expression::TSNonNullExpression(it) => &mut it.expression,
            Expression::TSInstantiationExpression(it) => &mut it.expression,
            Expression::LogicalExpression(it) if is_zero(&it.left) => &mut it.right,
            Expression::SequenceExpression(it) if is_zero(&it.expressions[0]) => {
                it.expressions.remove(0);
                match &mut it.expressions[..] {
                    [only] => only,
                    _ => return None,
                }
            }
            _ => return None,
        };
        Some(inner.take_in(&self.allocator))
    }
}

impl<'a> VisitMut<'a> for Eraser<'a, '_> {
    fn visit_expression(&mut self, it: &mut Expression<'a>) {
        while let Some(inner) = self.inner(it) {
            *it = inner;
        }
        walk_mut::walk_expression(self, it);
    }

    fn visit_arrow_function_expression(&mut self, it: &mut ArrowFunctionExpression<'a>) {
        it.type_parameters = None;
        it.return_type = None;
        (it.pure, it.pife) = (false, false);
        walk_mut::walk_arrow_function_expression(self, it);
    }

    fn visit_chain_element(&mut self, it: &mut ChainElement<'a>) {
        while let ChainElement::TSNonNullExpression(outer) = it {
            let mut inner = outer.expression.take_in(&self.allocator);
            while let Some(deeper) = self.inner(&mut inner) {
                inner = deeper;
            }
            match inner.into_chain_element() {
                Some(element) => *it = element,
                None => return,
            }
        }
        walk_mut::walk_chain_element(self, it);
    }

    fn visit_simple_assignment_target(&mut self, it: &mut SimpleAssignmentTarget<'a>) {
        if let Some(expression) = it.get_expression_mut() {
            let mut inner = expression.take_in(&self.allocator);
            while let Some(deeper) = self.inner(&mut inner) {
                inner = deeper;
            }
            match inner {
                Expression::Identifier(name) => {
                    *it = SimpleAssignmentTarget::AssignmentTargetIdentifier(name)
                }
                inner if inner.is_member_expression() => *it = inner.into_member_expression().into(),
                _ => return,
            }
        }
        walk_mut::walk_simple_assignment_target(self, it);
    }

    fn visit_function(&mut self, it: &mut Function<'a>, flags: ScopeFlags) {
        it.type_parameters = None;
        it.this_param = None;
        it.return_type = None;
        (it.pure, it.pife) = (false, false);
        walk_mut::walk_function(self, it, flags);
    }

    fn visit_formal_parameter(&mut self, it: &mut FormalParameter<'a>) {
        it.type_annotation = None;
        it.optional = false;
        walk_mut::walk_formal_parameter(self, it);
    }

    fn visit_formal_parameter_rest(&mut self, it: &mut FormalParameterRest<'a>) {
        it.type_annotation = None;
        walk_mut::walk_formal_parameter_rest(self, it);
    }

    fn visit_catch_parameter(&mut self, it: &mut CatchParameter<'a>) {
        it.type_annotation = None;
        walk_mut::walk_catch_parameter(self, it);
    }

    fn visit_variable_declarator(&mut self, it: &mut VariableDeclarator<'a>) {
        it.type_annotation = None;
        it.definite = false;
        walk_mut::walk_variable_declarator(self, it);
    }

    fn visit_call_expression(&mut self, it: &mut CallExpression<'a>) {
        it.type_arguments = None;
        it.pure = false;
        walk_mut::walk_call_expression(self, it);
    }

    fn visit_new_expression(&mut self, it: &mut NewExpression<'a>) {
        it.type_arguments = None;
        it.pure = false;
        walk_mut::walk_new_expression(self, it);
    }

    fn visit_tagged_template_expression(&mut self, it: &mut TaggedTemplateExpression<'a>) {
        it.type_arguments = None;
        walk_mut::walk_tagged_template_expression(self, it);
    }

    fn visit_class(&mut self, it: &mut Class<'a>) {
        it.type_parameters = None;
        it.implements.clear();
        it.r#abstract = false;
        if let Some(heritage) = &mut it.heritage {
            heritage.type_arguments = None;
        }
        walk_mut::walk_class(self, it);
    }

    fn visit_class_body(&mut self, it: &mut ClassBody<'a>) {
        it.body.retain(|element| self.keeps(element));
        walk_mut::walk_class_body(self, it);
    }

    fn visit_method_definition(&mut self, it: &mut MethodDefinition<'a>) {
        it.r#override = false;
        it.optional = false;
        it.accessibility = None;
        walk_mut::walk_method_definition(self, it);
    }

    fn visit_property_definition(&mut self, it: &mut PropertyDefinition<'a>) {
        it.type_annotation = None;
        it.r#override = false;
        it.optional = false;
        it.definite = false;
        it.readonly = false;
        it.accessibility = None;
        walk_mut::walk_property_definition(self, it);
    }

    fn visit_statements(&mut self, it: &mut Vec<'a, Statement<'a>>) {
        it.retain(|statement| self.keeps(statement) && !matches!(statement, Statement::EmptyStatement(_)));
        walk_mut::walk_statements(self, it);
    }

    fn visit_import_declaration(&mut self, it: &mut ImportDeclaration<'a>) {
        if let Some(specifiers) = &mut it.specifiers {
            specifiers.retain(|specifier| self.keeps(specifier));
        }
    }

    fn visit_export_named_declaration(&mut self, it: &mut ExportNamedDeclaration<'a>) {
        it.specifiers.retain(|specifier| self.keeps(specifier));
    }

    fn visit_export_from_declaration(&mut self, it: &mut ExportFromDeclaration<'a>) {
        it.specifiers.retain(|specifier| self.keeps(specifier));
    }
}
