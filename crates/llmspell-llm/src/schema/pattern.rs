//! Patterns of JSON Schema: ECMA-262 regular expressions, on an engine with linear time.
//!
//! A pattern is translated for `regex-lite`. Look-around and back-references cannot be matched in linear time and are
//! rejected, as are Unicode properties other than general categories. Groups do not capture: the engine keeps a slot
//! per state and capture, which is too much for a pattern with many groups.

use icu_properties::props::{GeneralCategory, GeneralCategoryGroup};
use icu_properties::{CodePointMapData, PropertyParser};
use regex_lite::{Regex, RegexBuilder};

/// The size limits in bytes that are tried for a compiled pattern. The first sufficient one is proportional to the
/// number of states that the engine may visit per byte of text, so it is the weight of the pattern.
const SIZES: [usize; 5] = [4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20];

/// The maximum nesting depth of groups, because the engine's parser is recursive.
const MAX_NESTING: u32 = 50;

/// A compiled pattern.
pub(super) struct SchemaPattern {
    source: String,
    regex: Regex,
    size: usize,
}

impl SchemaPattern {
    /// Compiles a pattern.
    ///
    /// # Errors
    /// A description of what was expected instead.
    pub(super) fn compile(source: &str) -> Result<Self, String> {
        let translated = Translator { rest: source, output: String::new() }.translate()?;
        let mut message = String::new();
        for size in SIZES {
            let built = RegexBuilder::new(&translated).size_limit(size).nest_limit(MAX_NESTING).build();
            match built {
                Ok(regex) => return Ok(Self { source: source.to_owned(), regex, size }),
                Err(error) => message = error.to_string(),
            }
        }
        Err(format!("a regular expression ({message})"))
    }

    pub(super) fn source(&self) -> &str {
        &self.source
    }

    /// Returns the approximate size of the compiled pattern in bytes.
    pub(super) fn size(&self) -> usize {
        self.size
    }

    pub(super) fn is_match(&self, text: &str) -> bool {
        self.regex.is_match(text)
    }

    /// Returns the cost of matching a text, in steps of a validation.
    pub(super) fn steps(&self, text: &str) -> u64 {
        let weight = self.size / SIZES[0];
        u64::try_from(text.len()).unwrap_or(u64::MAX).saturating_mul(weight as u64)
    }
}

/// Inclusive ranges of code points.
type Ranges = Vec<(u32, u32)>;

const LAST: u32 = char::MAX as u32;
const DIGITS: &[(u32, u32)] = &[(0x30, 0x39)];
const WORD: &[(u32, u32)] = &[(0x30, 0x39), (0x41, 0x5A), (0x5F, 0x5F), (0x61, 0x7A)];
/// The white space and line terminators of ECMA-262.
const SPACE: &[(u32, u32)] = &[
    (0x09, 0x0D),
    (0x20, 0x20),
    (0xA0, 0xA0),
    (0x1680, 0x1680),
    (0x2000, 0x200A),
    (0x2028, 0x2029),
    (0x202F, 0x202F),
    (0x205F, 0x205F),
    (0x3000, 0x3000),
    (0xFEFF, 0xFEFF),
];

fn linear(what: &str) -> String {
    match what {
        "" => "a pattern that can be matched in linear time".to_owned(),
        what => format!("a pattern that can be matched in linear time, without {what}"),
    }
}

/// The meaning of an escape.
enum Escape {
    Char(u32),
    Set(Ranges),
    /// An assertion that the engine writes in the same way.
    Assertion(&'static str),
}

struct Translator<'a> {
    rest: &'a str,
    output: String,
}

impl<'a> Translator<'a> {
    fn translate(mut self) -> Result<String, String> {
        while let Some(letter) = self.next() {
            match letter {
                '\\' => match self.escape()? {
                    Escape::Char(code) => self.set(false, &[(code, code)]),
                    Escape::Set(ranges) => self.set(false, &ranges),
                    Escape::Assertion(text) => self.output.push_str(text),
                },
                '[' => self.class()?,
                '(' => self.group()?,
                '.' => self.set(true, &[(0x0A, 0x0A), (0x0D, 0x0D), (0x2028, 0x2029)]),
                '{' => match self.quantifier() {
                    Some(quantifier) => self.output.push_str(quantifier),
                    None => self.output.push_str(r"\{"),
                },
                // Literals that the engine requires to be escaped.
                '}' | ']' => self.output.extend(['\\', letter]),
                letter => self.output.push(letter),
            }
        }
        Ok(self.output)
    }

    fn next(&mut self) -> Option<char> {
        let letter = self.rest.chars().next()?;
        self.rest = &self.rest[letter.len_utf8()..];
        Some(letter)
    }

    fn skip(&mut self, prefix: &str) -> bool {
        let rest = self.rest.strip_prefix(prefix);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    /// Consumes the text before `end`, and `end` itself.
    fn until(&mut self, end: char) -> Option<&'a str> {
        let (text, rest) = self.rest.split_once(end)?;
        self.rest = rest;
        Some(text)
    }

    /// Writes a character class. Surrogates are left out, since Rust strings do not contain them.
    fn set(&mut self, negated: bool, ranges: &[(u32, u32)]) {
        let parts =
            ranges.iter().flat_map(|&(first, last)| [(first, last.min(0xD7FF)), (first.max(0xE000), last)]);
        let parts: Ranges = parts.filter(|(first, last)| first <= last).collect();
        // The engine has no empty class, so it is written as the complement of all code points.
        let (negated, parts) = if parts.is_empty() { (!negated, vec![(0, LAST)]) } else { (negated, parts) };
        self.output.push_str(if negated { "[^" } else { "[" });
        for (first, last) in parts {
            self.output.push_str(&format!(r"\x{{{first:X}}}-\x{{{last:X}}}"));
        }
        self.output.push(']');
    }

    /// Reads `{2}`, `{2,}` or `{2,3}` after the brace. Any other brace is a literal.
    fn quantifier(&mut self) -> Option<&'a str> {
        let end = self.rest.find('}')?;
        let (least, most) = self.rest[..end].split_once(',').unwrap_or((&self.rest[..end], ""));
        let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if least.is_empty() || !is_number(least) || !is_number(most) {
            return None;
        }
        self.output.push('{');
        let (quantifier, rest) = self.rest.split_at(end + 1);
        self.rest = rest;
        Some(quantifier)
    }

    fn group(&mut self) -> Result<(), String> {
        if !self.skip("?") {
            self.output.push_str("(?:");
            return Ok(());
        }
        for (prefix, what) in
            [("=", "look-ahead"), ("!", "look-ahead"), ("<=", "look-behind"), ("<!", "look-behind")]
        {
            if self.rest.starts_with(prefix) {
                return Err(linear(&format!("{what} `(?{prefix}`")));
            }
        }
        if self.skip("<") || self.skip("P<") {
            let name = self.until('>').unwrap_or_default();
            if name.is_empty()
                || !name.chars().all(|letter| letter.is_alphanumeric() || "_$".contains(letter))
            {
                return Err("a regular expression (a group has no valid name)".to_owned());
            }
            self.output.push_str("(?:");
            return Ok(());
        }
        // `(?:`, and the modifiers that ECMA-262 and the engine have in common.
        let end = self.rest.find([':', ')']).unwrap_or(self.rest.len());
        let (flags, rest) = self.rest.split_at(end);
        if let Some(flag) = flags.chars().find(|flag| !"ims-".contains(*flag)) {
            return Err(format!("a regular expression (no group begins with `(?{flag}`)"));
        }
        self.output.push_str("(?");
        self.output.push_str(flags);
        self.rest = rest;
        if let Some(end) = self.next() {
            self.output.push(end);
        }
        Ok(())
    }

    /// Translates a character class after its opening bracket.
    fn class(&mut self) -> Result<(), String> {
        let unclosed = || "a regular expression (a character class has no closing bracket)".to_owned();
        let negated = self.skip("^");
        let mut ranges = Ranges::new();
        loop {
            let first = match self.class_item().ok_or_else(unclosed)?? {
                ClassItem::End => break,
                ClassItem::Set(set) => {
                    ranges.extend(set);
                    continue;
                }
                ClassItem::Char(code) => code,
            };
            let before_dash = self.rest;
            if !self.skip("-") {
                ranges.push((first, first));
                continue;
            }
            match self.class_item().ok_or_else(unclosed)?? {
                ClassItem::Char(last) if last < first => {
                    return Err(
                        "a regular expression (a range in a character class is out of order)".to_owned()
                    );
                }
                ClassItem::Char(last) => ranges.push((first, last)),
                // The dash is a literal here: `[a-]`, `[a-\d]`.
                ClassItem::End | ClassItem::Set(_) => {
                    ranges.extend([(first, first), (0x2D, 0x2D)]);
                    self.rest = &before_dash[1..];
                }
            }
        }
        self.set(negated, &ranges);
        Ok(())
    }

    /// Returns the next item of a class; `None` at the end of the pattern.
    fn class_item(&mut self) -> Option<Result<ClassItem, String>> {
        Some(match self.next()? {
            ']' => Ok(ClassItem::End),
            // Within a class, `\b` is a backspace.
            '\\' if self.skip("b") => Ok(ClassItem::Char(0x08)),
            '\\' => self.escape().and_then(|escape| match escape {
                Escape::Char(code) => Ok(ClassItem::Char(code)),
                Escape::Set(ranges) => Ok(ClassItem::Set(ranges)),
                Escape::Assertion(text) => {
                    Err(format!("a regular expression (`{text}` stands in a character class)"))
                }
            }),
            letter => Ok(ClassItem::Char(letter.into())),
        })
    }

    /// Reads an escape after its backslash.
    fn escape(&mut self) -> Result<Escape, String> {
        let unknown =
            |what: &str| format!(r"a regular expression of ECMA-262, which has no escape `\{what}`");
        let Some(letter) = self.next() else {
            return Err("a regular expression (it ends with a backslash)".to_owned());
        };
        Ok(match letter {
            'd' => Escape::Set(DIGITS.to_vec()),
            'D' => Escape::Set(complement(DIGITS)),
            'w' => Escape::Set(WORD.to_vec()),
            'W' => Escape::Set(complement(WORD)),
            's' => Escape::Set(SPACE.to_vec()),
            'S' => Escape::Set(complement(SPACE)),
            'b' => Escape::Assertion(r"\b"),
            'B' => Escape::Assertion(r"\B"),
            // Not part of ECMA-262, but common and unambiguous.
            'A' => Escape::Assertion(r"\A"),
            'z' => Escape::Assertion(r"\z"),
            't' => Escape::Char(0x09),
            'n' => Escape::Char(0x0A),
            'v' => Escape::Char(0x0B),
            'f' => Escape::Char(0x0C),
            'r' => Escape::Char(0x0D),
            '0' if !self.rest.starts_with(|next: char| next.is_ascii_digit()) => Escape::Char(0),
            '0'..='9' => return Err(linear("")),
            'k' if self.rest.starts_with('<') => return Err(linear("")),
            'c' => match self.next().filter(char::is_ascii_alphabetic) {
                Some(control) => Escape::Char(u32::from(control) % 32),
                None => return Err(unknown("c")),
            },
            'x' => Escape::Char(self.hex(2).ok_or_else(|| unknown("x"))?),
            'u' => Escape::Char(self.unicode().ok_or_else(|| unknown("u"))?),
            'p' => Escape::Set(self.property()?),
            'P' => Escape::Set(complement(&self.property()?)),
            letter if letter.is_ascii_alphanumeric() => return Err(unknown(&letter.to_string())),
            literal => Escape::Char(literal.into()),
        })
    }

    fn hex(&mut self, digits: usize) -> Option<u32> {
        let (text, rest) = self.rest.split_at_checked(digits)?;
        let is_hex = text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let code = u32::from_str_radix(text, 16).ok().filter(|_| is_hex)?;
        self.rest = rest;
        Some(code)
    }

    /// Reads the rest of `\u00E9`, `\uD83D\uDE00` or `\u{1F600}`.
    fn unicode(&mut self) -> Option<u32> {
        if self.skip("{") {
            return u32::from_str_radix(self.until('}')?, 16).ok().filter(|code| *code <= LAST);
        }
        let first = self.hex(4)?;
        let before = self.rest;
        if (0xD800..0xDC00).contains(&first) && self.skip(r"\u") {
            if let Some(second) = self.hex(4).filter(|second| (0xDC00..0xE000).contains(second)) {
                return Some(0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00));
            }
            self.rest = before;
        }
        Some(first)
    }

    /// Reads the rest of `\p{Lu}`: a Unicode general category by its short or long name.
    fn property(&mut self) -> Result<Ranges, String> {
        let name = if self.skip("{") { self.until('}') } else { None };
        let name = name.ok_or(r"a regular expression (a name in braces follows `\p`)")?;
        let category = ["General_Category=", "gc="].iter().find_map(|prefix| name.strip_prefix(prefix));
        match name {
            "Any" => return Ok(vec![(0, LAST)]),
            "ASCII" => return Ok(vec![(0, 0x7F)]),
            _ => {}
        }
        let group = PropertyParser::<GeneralCategoryGroup>::new().get_strict(category.unwrap_or(name));
        let group = group.ok_or_else(|| {
            format!(r"a pattern without `\p{{{name}}}`: of Unicode's properties, only general categories are supported")
        })?;
        let ranges = CodePointMapData::<GeneralCategory>::new().iter_ranges_for_group(group);
        Ok(ranges.map(|range| range.into_inner()).collect())
    }
}

enum ClassItem {
    Char(u32),
    Set(Ranges),
    End,
}

/// Returns all code points outside the given ranges, which must be sorted.
fn complement(ranges: &[(u32, u32)]) -> Ranges {
    let mut next = 0;
    let mut others = Ranges::new();
    for &(first, last) in ranges {
        if next < first {
            others.push((next, first - 1));
        }
        next = last + 1;
    }
    if next <= LAST {
        others.push((next, LAST));
    }
    others
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_ecma_262_has_it() {
        for (pattern, matching, other) in [
            ("^a.c$", "abc", "a\u{2028}c"),
            (r"^\d+$", "42", "\u{0664}"),
            (r"^\w$", "_", "é"),
            (r"^\s$", "\u{FEFF}", "\u{85}"),
            (r"^\S$", "\u{85}", "\u{A0}"),
            (r"^[^\D5]$", "4", "5"),
            (r"^[\w-]+$", "a-b", "a+b"),
            (r"^[a-\d]$", "-", "b"),
            ("^[a-]$", "-", "b"),
            ("^[[&&--]$", "&", "x"),
            ("^[^]$", "\n", ""),
            (r"^\cC$", "\u{3}", "C"),
            (r"^\x41\u0042\u{43}$", "ABC", "abc"),
            (r"^\uD83D\uDE00$", "😀", "😁"),
            (r"^[\b]$", "\u{8}", "b"),
            (r"^\p{Lu}\P{L}$", "É1", "éa"),
            (r"^\p{General_Category=Letter}+$", "naïveß", "a1"),
            ("^{a}{2}]$", "{a}}]", "{a}]"),
            ("^a{,2}$", "a{,2}", "aa"),
            ("^(?<year>[0-9]{4})$", "2024", "24"),
            ("^(?i:ab)c$", "ABc", "ABC"),
            (r"^\$\/\-$", "$/-", "x"),
            ("x|[]", "x", "[]"),
        ] {
            let compiled =
                SchemaPattern::compile(pattern).unwrap_or_else(|error| panic!("{pattern}: {error}"));
            assert!(compiled.is_match(matching), "{pattern} {matching}");
            assert!(!compiled.is_match(other), "{pattern} {other}");
        }
    }

    #[test]
    fn what_is_not_supported_is_named() {
        for (pattern, expected) in [
            (r"(a)\1", "a pattern that can be matched in linear time"),
            ("a(?=b)", "a pattern that can be matched in linear time, without look-ahead `(?=`"),
            ("(?<!a)b", "a pattern that can be matched in linear time, without look-behind `(?<!`"),
            (
                r"^\p{Script=Greek}$",
                r"a pattern without `\p{Script=Greek}`: of Unicode's properties, only general categories are supported",
            ),
            (r"\q", r"a regular expression of ECMA-262, which has no escape `\q`"),
            ("[a", "a regular expression (a character class has no closing bracket)"),
            ("(a", "a regular expression (found open group without closing ')')"),
            ("[b-a]", "a regular expression (a range in a character class is out of order)"),
        ] {
            assert_eq!(SchemaPattern::compile(pattern).err().as_deref(), Some(expected), "{pattern}");
        }
        let large = SchemaPattern::compile("(((a{100}){100}){100})").err().unwrap();
        assert!(large.contains("size"), "{large}");
    }
}
