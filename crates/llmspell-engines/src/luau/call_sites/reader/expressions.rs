//! Reads expressions, and the calls in them.

use super::super::lexer::TokenKind;
use super::super::{CallSite, Callee, Site};
use super::Reader;

const BINARY: [&str; 15] =
    ["or", "and", "<", ">", "<=", ">=", "~=", "==", "..", "+", "-", "*", "/", "//", "%"];

/// An expression.
#[derive(Default)]
pub(super) struct Expression {
    /// The number of the call that is the whole expression.
    pub(super) call: Option<usize>,
    /// What a call of the expression would call, if it is a path of names.
    pub(super) callee: Option<Callee>,
    /// How many arguments the expression takes if it is a function.
    pub(super) takes: Option<usize>,
}

impl<'a> Reader<'a> {
    pub(super) fn expressions(&mut self) -> Option<Vec<Expression>> {
        let mut values = vec![self.expression()?];
        while self.take(",") {
            values.push(self.expression()?);
        }
        Some(values)
    }

    /// Reads operands and binary operators. Their precedence does not matter: the left operand of an `or` is a call if
    /// nothing stands between the two, and nothing but another `or` before the call.
    pub(super) fn expression(&mut self) -> Option<Expression> {
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
                let takes = self.function_body(false)?;
                Some(Expression { takes: Some(takes), ..Expression::default() })
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
            if let Some(takes) = self.expression()?.takes {
                self.define(token.text, takes);
            }
            return Some(Expression::default());
        }
        self.expression()
    }

    /// Reads a name or an expression in parentheses, with the fields and calls that follow.
    pub(super) fn primary(&mut self) -> Option<Expression> {
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
                        let name = key.text.trim_matches(['"', '\'']);
                        let field = if is_text { callee.field(name) } else { Callee::Expression };
                        (callee, call) = (field, None);
                        continue;
                    }
                    ":" => {
                        self.next();
                        callee = Callee::Method(self.name()?.into());
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
        Some(Expression { call, callee, takes: None })
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
            let is_last = at + 1 == values.len();
            self.set(value, Site::Argument { callee: callee.clone(), before: at, is_last });
        }
        Some(())
    }
}
