//! Reads the calls of a source from its tokens.
//!
//! The methods follow Luau's grammar (<https://luau.org/grammar>). An expression that is nothing but a call returns the
//! call's number, so that whatever holds the expression can set its [`Site`]; the site of any other call stays
//! [`Site::Single`]. `None` means that the source nests too deep, or has syntax that the reader does not know.

mod expressions;

use std::collections::HashMap;
use std::rc::Rc;

use self::expressions::Expression;
use super::lexer::{Token, TokenKind, tokens};
use super::{CallSite, CallSites, Callee, Site};

/// How deep blocks, expressions and types may nest.
pub(in super::super) const MAX_NESTING: usize = 200;

const COMPOUND: [&str; 8] = ["+=", "-=", "*=", "/=", "//=", "%=", "^=", "..="];

pub(super) fn read(source: &str) -> Option<CallSites> {
    let mut reader = Reader {
        tokens: tokens(source),
        at: 0,
        nesting: 0,
        locals: Vec::new(),
        callees: HashMap::new(),
        calls: Vec::new(),
        functions: HashMap::new(),
    };
    reader.block()?;
    if reader.peek().kind != TokenKind::End {
        return None;
    }
    let Reader { mut calls, functions, .. } = reader;
    calls.sort_by_key(|call| call.line);
    Some(CallSites { calls, functions })
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
    functions: HashMap<Rc<str>, usize>,
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
        self.declare(name, Callee::Variable(name.into()));
    }

    fn define(&mut self, name: &str, takes: usize) {
        let known = self.functions.entry(name.into()).or_default();
        *known = takes.max(*known);
    }

    fn resolve(&self, name: &str) -> Callee {
        let local = self.callees.get(name).and_then(|callees| callees.last());
        local.cloned().unwrap_or_else(|| Callee::Global { root: name.into(), field: None })
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
        let takes = self.function_body(is_method)?;
        self.define(name, takes);
        Some(())
    }

    fn local(&mut self) -> Option<()> {
        if self.take("function") {
            let name = self.name()?;
            self.declare(name, Callee::Function(name.into()));
            let takes = self.function_body(false)?;
            self.define(name, takes);
            return Some(());
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
            if let Some(takes) = value.takes {
                self.define(name, takes);
            }
            self.declare(name, value.callee.unwrap_or_else(|| Callee::Variable(name.into())));
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
                if let Some(takes) = value.takes
                    && let Some(name) = target.callee.as_ref().and_then(Callee::name)
                {
                    self.define(name, takes);
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

    // Functions.

    /// Reads a function from its parameters on. Returns how many arguments it takes, `self` included.
    fn function_body(&mut self, is_method: bool) -> Option<usize> {
        if self.peek().is("<") {
            self.skip_brackets()?;
        }
        let locals = self.locals.len();
        if is_method {
            self.declare_variable("self");
        }
        let mut is_variadic = false;
        self.expect("(")?;
        while !self.take(")") {
            if self.take("...") {
                is_variadic = true;
                if self.take(":") {
                    self.type_()?;
                }
            } else {
                let name = self.typed_name()?;
                self.declare_variable(name);
            }
            self.take(",");
        }
        let takes = if is_variadic { usize::MAX } else { self.locals.len() - locals };
        if self.take(":") {
            self.type_()?;
        }
        self.block()?;
        self.forget_locals(locals);
        self.expect("end")?;
        Some(takes)
    }

    // Types.

    fn type_declaration(&mut self) -> Option<()> {
        if self.take("function") {
            self.name()?;
            return self.function_body(false).map(drop);
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
