//! Reads the calls of a source from its tokens.
//!
//! The methods follow Luau's grammar (<https://luau.org/grammar>). An expression that is nothing but a call returns the
//! call's number, so that whatever holds the expression can set its [`Site`]; the site of any other call stays
//! [`Site::Single`]. `None` means that the source nests too deep, or has syntax that the reader does not know.

use std::collections::{HashMap, HashSet};

use super::lexer::{Token, TokenKind, tokens};
use super::{CallSite, CallSites, Callee, Site};

/// How deep blocks, expressions and types may nest.
pub(in super::super) const MAX_NESTING: usize = 200;

const BINARY: [&str; 15] =
    ["or", "and", "<", ">", "<=", ">=", "~=", "==", "..", "+", "-", "*", "/", "//", "%"];

const COMPOUND: [&str; 8] = ["+=", "-=", "*=", "/=", "//=", "%=", "^=", "..="];

pub(super) fn read(source: &str) -> Option<CallSites> {
    let mut reader = Reader {
        tokens: tokens(source),
        at: 0,
        nesting: 0,
        locals: Vec::new(),
        callees: HashMap::new(),
        calls: Vec::new(),
        functions: HashSet::new(),
    };
    reader.block()?;
    if reader.peek().kind != TokenKind::End {
        return None;
    }
    let Reader { mut calls, functions, .. } = reader;
    calls.sort_by_key(|call| call.line);
    Some(CallSites { calls, functions })
}

/// An expression.
#[derive(Default)]
struct Expression {
    /// The number of the call that is the whole expression.
    call: Option<usize>,
    /// What a call of the expression would call, if it is a path of names.
    callee: Option<Callee>,
    is_function: bool,
}

struct Reader<'a> {
    tokens: Vec<Token<'a>>,
    at: usize,
    nesting: usize,
    /// The names of the local variables in scope, innermost last.
    locals: Vec<&'a str>,
    /// What a call of each local variable calls. The innermost variable of a name is last.
    callees: HashMap<&'a str, Vec<Callee>>,
    calls: Vec<CallSite>,
    functions: HashSet<String>,
}

impl<'a> Reader<'a> {
    // Tokens.

    fn ahead(&self, count: usize) -> Token<'a> {
        self.tokens[(self.at + count).min(self.tokens.len() - 1)]
    }

    fn peek(&self) -> Token<'a> {
        self.ahead(0)
    }

    fn next(&mut self) -> Token<'a> {
        let token = self.peek();
        self.at += usize::from(token.kind != TokenKind::End);
        token
    }

    fn take(&mut self, text: &str) -> bool {
        let found = self.peek().is(text);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, text: &str) -> Option<()> {
        self.take(text).then_some(())
    }

    fn name(&mut self) -> Option<&'a str> {
        let token = self.next();
        (token.kind == TokenKind::Name).then_some(token.text)
    }

    /// Skips to the bracket that closes the one at hand, and past it. `<` and `>` count inside of `<` alone.
    fn skip_brackets(&mut self) -> Option<()> {
        let with_angles = self.peek().is("<");
        let mut open = 0_usize;
        loop {
            let token = self.next();
            match (token.kind, token.text) {
                (TokenKind::Symbol, "(" | "[" | "{") => open += 1,
                (TokenKind::Symbol, ")" | "]" | "}") => open = open.checked_sub(1)?,
                (TokenKind::Symbol, "<") if with_angles => open += 1,
                (TokenKind::Symbol, ">") if with_angles => open = open.checked_sub(1)?,
                (TokenKind::End, _) => return None,
                _ => {}
            }
            if open == 0 {
                return Some(());
            }
        }
    }

    fn nested<T>(&mut self, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        if self.nesting == MAX_NESTING {
            return None;
        }
        self.nesting += 1;
        let read = read(self);
        self.nesting -= 1;
        read
    }

    // Names.

    fn declare(&mut self, name: &'a str, callee: Callee) {
        self.locals.push(name);
        self.callees.entry(name).or_default().push(callee);
    }

    /// Ends the scope of all but the first `count` local variables.
    fn forget_locals(&mut self, count: usize) {
        for name in self.locals.drain(count..) {
            if let Some(callees) = self.callees.get_mut(name) {
                callees.pop();
            }
        }
    }

    fn declare_variable(&mut self, name: &'a str) {
        self.declare(name, Callee::Variable(name.to_owned()));
    }

    fn resolve(&self, name: &str) -> Callee {
        let local = self.callees.get(name).and_then(|callees| callees.last());
        local.cloned().unwrap_or_else(|| Callee::Global { root: name.to_owned(), field: None })
    }

    // Statements.

    fn block(&mut self) -> Option<()> {
        let locals = self.locals.len();
        self.nested(Self::statements)?;
        self.forget_locals(locals);
        Some(())
    }

    fn statements(&mut self) -> Option<()> {
        loop {
            let token = self.peek();
            let is_end = ["end", "else", "elseif", "until"].iter().any(|word| token.is(word));
            if is_end || token.kind == TokenKind::End {
                return Some(());
            }
            self.statement()?;
        }
    }

    fn statement(&mut self) -> Option<()> {
        let token = self.next();
        if token.kind != TokenKind::Name {
            match token.text {
                ";" => return Some(()),
                "@" => return self.attribute(),
                _ => {}
            }
        }
        match token.text {
            "if" => {
                self.condition("then")?;
                while self.take("elseif") {
                    self.condition("then")?;
                }
                if self.take("else") {
                    self.block()?;
                }
                self.expect("end")
            }
            "while" => {
                self.condition("do")?;
                self.expect("end")
            }
            "do" => {
                self.block()?;
                self.expect("end")
            }
            "repeat" => {
                let locals = self.locals.len();
                self.nested(Self::statements)?;
                self.expect("until")?;
                self.expression()?;
                self.forget_locals(locals);
                Some(())
            }
            "for" => self.for_loop(),
            "function" => self.function_statement(),
            "local" => self.local(),
            "return" => self.return_statement(),
            "break" => Some(()),
            _ => {
                self.at -= 1;
                self.expression_statement()
            }
        }
    }

    /// Reads a condition, the word after it, and a block.
    fn condition(&mut self, word: &str) -> Option<()> {
        self.expression()?;
        self.expect(word)?;
        self.block()
    }

    /// Reads an attribute such as `@native` or `@[deprecated {…}]`, after its `@`.
    fn attribute(&mut self) -> Option<()> {
        if self.peek().is("[") { self.skip_brackets() } else { self.name().map(drop) }
    }

    fn for_loop(&mut self) -> Option<()> {
        let mut names = vec![self.typed_name()?];
        while self.take(",") {
            names.push(self.typed_name()?);
        }
        if !self.take("=") {
            self.expect("in")?;
        }
        self.expressions()?;
        self.expect("do")?;
        let locals = self.locals.len();
        for name in names {
            self.declare_variable(name);
        }
        self.block()?;
        self.forget_locals(locals);
        self.expect("end")
    }

    fn typed_name(&mut self) -> Option<&'a str> {
        let name = self.name()?;
        if self.take(":") {
            self.type_()?;
        }
        Some(name)
    }

    fn function_statement(&mut self) -> Option<()> {
        let mut name = self.name()?;
        let mut is_method = false;
        while self.peek().is(".") || self.peek().is(":") {
            is_method |= self.next().is(":");
            name = self.name()?;
        }
        self.functions.insert(name.to_owned());
        self.function_body(is_method)
    }

    fn local(&mut self) -> Option<()> {
        if self.take("function") {
            let name = self.name()?;
            self.functions.insert(name.to_owned());
            self.declare(name, Callee::Function(name.to_owned()));
            return self.function_body(false);
        }
        let mut names = vec![self.typed_name()?];
        while self.take(",") {
            names.push(self.typed_name()?);
        }
        let mut values = Vec::new();
        if self.take("=") {
            values = self.expressions()?;
            self.assign(&values, names.len());
        }
        let mut values = values.into_iter();
        for name in names {
            let value = values.next().unwrap_or_default();
            if value.is_function {
                self.functions.insert(name.to_owned());
            }
            self.declare(name, value.callee.unwrap_or_else(|| Callee::Variable(name.to_owned())));
        }
        Some(())
    }

    fn return_statement(&mut self) -> Option<()> {
        let token = self.peek();
        let is_end = ["end", "else", "elseif", "until", ";"].iter().any(|word| token.is(word));
        if is_end || token.kind == TokenKind::End {
            return Some(());
        }
        let values = self.expressions()?;
        self.set_last(&values, Site::Return(values.len() - 1));
        Some(())
    }

    /// Reads a call or an assignment, or a statement that begins with a word that is no keyword, such as `type`.
    fn expression_statement(&mut self) -> Option<()> {
        let word = self.peek();
        let target = self.primary()?;
        let next = self.peek();
        if target.call.is_none() && self.tokens[self.at - 1].is(word.text) && next.kind == TokenKind::Name {
            match word.text {
                "export" => return Some(()),
                "const" => return self.local(),
                "type" => return self.type_declaration(),
                _ => {}
            }
        }
        let mut targets = vec![target];
        while self.take(",") {
            targets.push(self.primary()?);
        }
        if self.take("=") {
            let values = self.expressions()?;
            self.assign(&values, targets.len());
            for (target, value) in targets.iter().zip(&values) {
                if value.is_function
                    && let Some(name) = target.callee.as_ref().and_then(Callee::name)
                {
                    self.functions.insert(name.to_owned());
                }
            }
        } else if COMPOUND.iter().any(|symbol| self.take(symbol)) {
            self.expression()?;
        } else {
            self.set(&targets[0], Site::Statement);
        }
        Some(())
    }

    // Sites.

    fn set(&mut self, value: &Expression, site: Site) {
        if let Some(call) = value.call {
            self.calls[call].site = site;
        }
    }

    fn set_last(&mut self, values: &[Expression], site: Site) {
        if let Some(last) = values.last() {
            self.set(last, site);
        }
    }

    fn assign(&mut self, values: &[Expression], targets: usize) {
        if let Some(left) = (targets + 1).checked_sub(values.len()).filter(|left| *left > 0) {
            self.set_last(values, Site::Targets(left));
        }
    }

    // Expressions.

    fn expressions(&mut self) -> Option<Vec<Expression>> {
        let mut values = vec![self.expression()?];
        while self.take(",") {
            values.push(self.expression()?);
        }
        Some(values)
    }

    /// Reads operands and binary operators. Their precedence does not matter: the left operand of an `or` is a call if
    /// nothing stands between the two, and nothing but another `or` before the call.
    fn expression(&mut self) -> Option<Expression> {
        self.nested(|reader| {
            let mut value = reader.operand()?;
            let mut is_first_or_after_or = true;
            while reader.peek().is("^") || BINARY.iter().any(|operator| reader.peek().is(operator)) {
                let is_or = reader.next().is("or");
                if is_or && is_first_or_after_or {
                    reader.set(&value, Site::Default);
                }
                is_first_or_after_or = is_or;
                let call = reader.operand()?.call;
                value = Expression { call, ..Expression::default() };
                if !reader.peek().is("or") {
                    value.call = None;
                }
            }
            Some(value)
        })
    }

    fn operand(&mut self) -> Option<Expression> {
        let mut is_bare = true;
        while self.take("not") || self.take("-") || self.take("#") {
            is_bare = false;
        }
        while self.take("@") {
            self.attribute()?;
        }
        let value = self.simple()?;
        while self.take("::") {
            self.type_()?;
            is_bare = false;
        }
        Some(if is_bare { value } else { Expression::default() })
    }

    fn simple(&mut self) -> Option<Expression> {
        let token = self.peek();
        match token.kind {
            TokenKind::Number | TokenKind::Text => {
                self.next();
                return Some(Expression::default());
            }
            TokenKind::TextStart => {
                self.interpolated_text()?;
                return Some(Expression::default());
            }
            _ => {}
        }
        match token.text {
            "nil" | "true" | "false" | "..." => {
                self.next();
                Some(Expression::default())
            }
            "{" => {
                self.table()?;
                Some(Expression::default())
            }
            "function" => {
                self.next();
                self.function_body(false)?;
                Some(Expression { is_function: true, ..Expression::default() })
            }
            "if" => {
                self.next();
                self.branches()?;
                Some(Expression::default())
            }
            _ => self.primary(),
        }
    }

    /// Reads `if … then … elseif … then … else …` as an expression, after its `if`.
    fn branches(&mut self) -> Option<()> {
        loop {
            self.expression()?;
            self.expect("then")?;
            self.expression()?;
            if !self.take("elseif") {
                self.expect("else")?;
                return self.expression().map(drop);
            }
        }
    }

    fn interpolated_text(&mut self) -> Option<()> {
        self.next();
        loop {
            self.expression()?;
            match self.next().kind {
                TokenKind::TextMiddle => {}
                TokenKind::TextEnd => return Some(()),
                _ => return None,
            }
        }
    }

    fn table(&mut self) -> Option<()> {
        self.expect("{")?;
        loop {
            if self.take("}") {
                return Some(());
            }
            let value = self.field()?;
            if !self.take(",") {
                self.take(";");
            }
            if let Some(call) = value.call
                && self.peek().is("}")
            {
                self.calls[call].site = Site::LastItem;
            }
        }
    }

    /// Reads a field of a table. Returns its value if it has no name.
    fn field(&mut self) -> Option<Expression> {
        let token = self.peek();
        if token.is("[") {
            self.next();
            self.expression()?;
            self.expect("]")?;
            self.expect("=")?;
            self.expression()?;
            return Some(Expression::default());
        }
        if token.kind == TokenKind::Name && self.ahead(1).is("=") {
            self.at += 2;
            if self.expression()?.is_function {
                self.functions.insert(token.text.to_owned());
            }
            return Some(Expression::default());
        }
        self.expression()
    }

    /// Reads a name or an expression in parentheses, with the fields and calls that follow.
    fn primary(&mut self) -> Option<Expression> {
        let token = self.next();
        let mut callee = if token.is("(") {
            self.expression()?;
            self.expect(")")?;
            Callee::Expression
        } else if token.kind == TokenKind::Name {
            self.resolve(token.text)
        } else {
            return None;
        };
        let mut call = None;
        loop {
            let token = self.peek();
            match token.kind {
                TokenKind::Text | TokenKind::TextStart => {}
                TokenKind::Symbol => match token.text {
                    "(" | "{" => {}
                    "." => {
                        self.next();
                        (callee, call) = (callee.field(self.name()?), None);
                        continue;
                    }
                    "[" => {
                        self.next();
                        let key = self.peek();
                        self.expression()?;
                        let is_text = key.kind == TokenKind::Text && self.ahead(0).is("]");
                        self.expect("]")?;
                        let name = if is_text { key.text.trim_matches(['"', '\'']) } else { "" };
                        (callee, call) = (callee.field(name), None);
                        continue;
                    }
                    ":" => {
                        self.next();
                        callee = Callee::Method(self.name()?.to_owned());
                        // The arguments follow, after types perhaps.
                        continue;
                    }
                    "<" if self.ahead(1).is("<") => {
                        self.skip_brackets()?;
                        continue;
                    }
                    _ => break,
                },
                _ => break,
            }
            call = Some(self.call(std::mem::replace(&mut callee, Callee::Expression))?);
        }
        let callee = call.is_none().then_some(callee).filter(|callee| *callee != Callee::Expression);
        Some(Expression { call, callee, is_function: false })
    }

    /// Reads the arguments of a call. Returns the number of the call.
    fn call(&mut self, callee: Callee) -> Option<usize> {
        let line = self.tokens[self.at - 1].line;
        let token = self.peek();
        match token.kind {
            TokenKind::Text => self.at += 1,
            TokenKind::TextStart => self.interpolated_text()?,
            _ if token.is("{") => self.table()?,
            _ => self.arguments(&callee)?,
        }
        self.calls.push(CallSite { line, callee, site: Site::Single });
        Some(self.calls.len() - 1)
    }

    fn arguments(&mut self, callee: &Callee) -> Option<()> {
        self.expect("(")?;
        if self.take(")") {
            return Some(());
        }
        let values = self.expressions()?;
        self.expect(")")?;
        for (at, value) in values.iter().enumerate() {
            let (is_first, is_last) = (at == 0, at + 1 == values.len());
            self.set(value, Site::Argument { callee: callee.clone(), is_first, is_last });
        }
        Some(())
    }

    fn function_body(&mut self, is_method: bool) -> Option<()> {
        if self.peek().is("<") {
            self.skip_brackets()?;
        }
        let locals = self.locals.len();
        if is_method {
            self.declare_variable("self");
        }
        self.expect("(")?;
        while !self.take(")") {
            if self.take("...") {
                if self.take(":") {
                    self.type_()?;
                }
            } else {
                let name = self.typed_name()?;
                self.declare_variable(name);
            }
            self.take(",");
        }
        if self.take(":") {
            self.type_()?;
        }
        self.block()?;
        self.forget_locals(locals);
        self.expect("end")
    }

    // Types.

    fn type_declaration(&mut self) -> Option<()> {
        if self.take("function") {
            self.name()?;
            return self.function_body(false);
        }
        self.name()?;
        if self.peek().is("<") {
            self.skip_brackets()?;
        }
        self.expect("=")?;
        self.type_()
    }

    /// Skips a type: parts that `|`, `&` and `->` join.
    fn type_(&mut self) -> Option<()> {
        loop {
            let _ = self.take("|") || self.take("&");
            self.type_part()?;
            while self.take("?") || self.take("...") {}
            let is_joined = ["|", "&", "->"].iter().any(|joint| self.peek().is(joint));
            if !is_joined {
                return Some(());
            }
            self.take("->");
        }
    }

    fn type_part(&mut self) -> Option<()> {
        self.take("...");
        let token = self.peek();
        match token.text {
            "(" | "{" if token.kind == TokenKind::Symbol => self.skip_brackets(),
            "<" if token.kind == TokenKind::Symbol => {
                self.skip_brackets()?;
                self.skip_brackets()
            }
            _ if token.kind == TokenKind::Text => {
                self.next();
                Some(())
            }
            _ => {
                let is_typeof = self.name()? == "typeof";
                while self.take(".") {
                    self.name()?;
                }
                if self.peek().is("<") || is_typeof && self.peek().is("(") {
                    self.skip_brackets()?;
                }
                Some(())
            }
        }
    }
}
