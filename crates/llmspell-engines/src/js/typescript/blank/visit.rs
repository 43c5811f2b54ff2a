//! Finds the types of a program, and the places that change with them.

use std::iter;

use oxc_ast::ast::{
    AccessorProperty, AccessorPropertyType, ArrowFunctionBody, ArrowFunctionExpression, AssignmentExpression,
    AssignmentTargetWithDefault, Class, ClassBody, ClassElement, Declaration, Decorator,
    ExportAllDeclaration, ExportDefaultDeclaration, ExportDefaultDeclarationKind, ExportFromDeclaration,
    ExportNamedDeclaration, ExportSpecifier, ExpressionStatement, FormalParameter, Function, FunctionType,
    ImportDeclaration, ImportDeclarationSpecifier, MethodDefinition, MethodDefinitionType, ModuleExportName,
    PropertyDefinition, PropertyDefinitionType, ReturnStatement, Statement, TSAsExpression,
    TSInstantiationExpression, TSNamespaceDeclaration, TSNamespaceDeclarationBody, TSNonNullExpression,
    TSSatisfiesExpression, TSThisParameter, TSTypeAnnotation, TSTypeAssertion, TSTypeParameterDeclaration,
    TSTypeParameterInstantiation, ThrowStatement, VariableDeclarator, YieldExpression,
};
use oxc_ast_visit::{Visit, walk};
use oxc_span::GetSpan;
use oxc_syntax::symbol::{SymbolFlags, SymbolId};

use super::{Blanker, Hazard};

impl Blanker<'_, '_> {
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
