//! Splits Luau into tokens, as far as [`call_sites`](super) needs them. The source has compiled before, so mistakes in
//! it need no care beyond not failing.

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TokenKind {
    /// A name or keyword.
    Name,
    Number,
    /// A string without values.
    Text,
    /// The beginning of an interpolated string, up to its first value.
    TextStart,
    /// The part of an interpolated string between two values.
    TextMiddle,
    /// The part of an interpolated string after its last value.
    TextEnd,
    Symbol,
    End,
}

/// A token, and the line on which it ends.
#[derive(Debug, Clone, Copy)]
pub(super) struct Token<'a> {
    pub(super) kind: TokenKind,
    pub(super) text: &'a str,
    pub(super) line: u32,
}

impl Token<'_> {
    /// Returns whether this is the given keyword, name or symbol.
    pub(super) fn is(&self, text: &str) -> bool {
        matches!(self.kind, TokenKind::Name | TokenKind::Symbol) && self.text == text
    }
}

/// The symbols of more than one character, longest first. `<<` and `>>` are two symbols each, as in Luau.
const SYMBOLS: [&str; 17] =
    ["...", "..=", "//=", "..", "::", "->", "//", "==", "~=", "<=", ">=", "+=", "-=", "*=", "/=", "%=", "^="];

/// Splits a source into tokens. The last one is [`TokenKind::End`].
pub(super) fn tokens(source: &str) -> Vec<Token<'_>> {
    let mut lexer = Lexer { source, at: 0, line: 1, braces: Vec::new() };
    let mut tokens = Vec::with_capacity(source.len() / 4);
    loop {
        let token = lexer.token();
        tokens.push(token);
        if token.kind == TokenKind::End {
            return tokens;
        }
    }
}

struct Lexer<'a> {
    source: &'a str,
    at: usize,
    line: u32,
    /// The open braces, each with whether it belongs to an interpolated string.
    braces: Vec<bool>,
}

impl<'a> Lexer<'a> {
    fn peek(&self, ahead: usize) -> u8 {
        self.source.as_bytes().get(self.at + ahead).copied().unwrap_or(0)
    }

    fn is_at_end(&self) -> bool {
        self.at >= self.source.len()
    }

    fn advance(&mut self) {
        self.line += u32::from(self.peek(0) == b'\n');
        self.at += 1;
    }

    fn advance_while(&mut self, belongs: impl Fn(u8) -> bool) {
        while !self.is_at_end() && belongs(self.peek(0)) {
            self.advance();
        }
    }

    fn token(&mut self) -> Token<'a> {
        self.skip_space();
        let start = self.at;
        let kind = self.read();
        let text = self.source.get(start..self.at.min(self.source.len())).unwrap_or_default();
        Token { kind, text, line: self.line }
    }

    fn read(&mut self) -> TokenKind {
        match self.peek(0) {
            _ if self.is_at_end() => TokenKind::End,
            first if first == b'_' || first.is_ascii_alphabetic() => {
                self.advance_while(is_name);
                TokenKind::Name
            }
            first if first.is_ascii_digit() || first == b'.' && self.peek(1).is_ascii_digit() => {
                self.number()
            }
            quote @ (b'"' | b'\'') => {
                self.advance();
                self.quoted(quote);
                TokenKind::Text
            }
            b'[' if self.long_bracket() => TokenKind::Text,
            b'`' => {
                self.advance();
                if self.text_up_to_value() { TokenKind::TextStart } else { TokenKind::Text }
            }
            b'}' if self.braces.pop() == Some(true) => {
                self.advance();
                if self.text_up_to_value() { TokenKind::TextMiddle } else { TokenKind::TextEnd }
            }
            first => {
                if first == b'{' {
                    self.braces.push(false);
                }
                let rest = &self.source.as_bytes()[self.at..];
                let known = SYMBOLS.iter().find(|symbol| rest.starts_with(symbol.as_bytes()));
                self.at += known.map_or(1, |symbol| symbol.len());
                // A character beyond ASCII is one symbol.
                while !self.source.is_char_boundary(self.at) {
                    self.at += 1;
                }
                TokenKind::Symbol
            }
        }
    }

    fn skip_space(&mut self) {
        loop {
            self.advance_while(|byte| byte.is_ascii_whitespace() || byte == b'\x0b');
            if self.peek(0) != b'-' || self.peek(1) != b'-' {
                return;
            }
            self.at += 2;
            if !(self.peek(0) == b'[' && self.long_bracket()) {
                self.advance_while(|byte| byte != b'\n');
            }
        }
    }

    fn number(&mut self) -> TokenKind {
        self.advance_while(|byte| byte.is_ascii_digit() || byte == b'.' || byte == b'_');
        if matches!(self.peek(0), b'e' | b'E') {
            self.advance();
            if matches!(self.peek(0), b'+' | b'-') {
                self.advance();
            }
        }
        self.advance_while(is_name);
        TokenKind::Number
    }

    /// Reads to the end of a string whose opening quote has been read.
    fn quoted(&mut self, quote: u8) {
        while !self.is_at_end() && self.peek(0) != quote {
            if self.peek(0) == b'\\' {
                self.advance();
            }
            self.advance();
        }
        self.advance();
    }

    /// Reads a part of an interpolated string. Returns whether it ends at a value, and not at the string's end.
    fn text_up_to_value(&mut self) -> bool {
        while !self.is_at_end() && !matches!(self.peek(0), b'`' | b'{') {
            if self.peek(0) == b'\\' {
                self.advance();
                // The brace of `\u{…}` begins no value.
                self.at += usize::from(self.peek(0) == b'u' && self.peek(1) == b'{');
            }
            self.advance();
        }
        let has_value = self.peek(0) == b'{';
        self.advance();
        if has_value {
            self.braces.push(true);
        }
        has_value
    }

    /// Reads `[[…]]` or `[=[…]=]` if one begins here.
    fn long_bracket(&mut self) -> bool {
        let level = self.source.as_bytes()[self.at + 1..].iter().take_while(|byte| **byte == b'=').count();
        if self.peek(level + 1) != b'[' {
            return false;
        }
        let close = format!("]{}]", "=".repeat(level));
        let end = self.source.as_bytes()[self.at..]
            .windows(close.len())
            .position(|window| window == close.as_bytes())
            .map_or(self.source.len(), |found| self.at + found + close.len());
        while self.at < end {
            self.advance();
        }
        true
    }
}

fn is_name(byte: u8) -> bool {
    byte == b'_' || byte.is_ascii_alphanumeric()
}
