//! Finds JSON in the text of a model: in a code fence, within prose, or written as in JavaScript or Python.
//!
//! Existing crates parse JSON5 only. They do not accept `True`, typographic quotes, line breaks or unescaped quotes in
//! a string, and do not limit the depth. They also do not find out where a value begins and ends, which is the hard
//! part.

use serde_json::{Map, Value as Json};

use crate::halves;

/// The maximum depth of a value.
const MAX_DEPTH: usize = 64;

/// The maximum number of bytes of an answer that are searched.
const MAX_BYTES: usize = 1 << 20;

/// The maximum number of positions at which a value may begin and does not.
const MAX_STARTS: usize = 32;

/// The maximum number of values.
const MAX_VALUES: usize = 256;

/// The values in an answer.
#[derive(Debug, Default)]
pub(super) struct FoundValues {
    /// The values, in order. A model that corrects itself writes the correction last.
    pub(super) values: Vec<Json>,
    /// Whether the text ends within a value.
    pub(super) is_cut: bool,
}

/// Searches an answer for JSON: the whole text, or else every object and list in it.
///
/// A value is read to its end before anything after its beginning is looked at, so a code fence or a bracket inside a
/// string is part of the string. If there are values in code fences, a list outside of them is a reference such as
/// `[1]`, and not a value.
pub(super) fn find(text: &str) -> FoundValues {
    let text = text.trim().trim_start_matches('\u{feff}');
    if let Ok(value) = halves::from_str(text) {
        return FoundValues { values: vec![value], is_cut: false };
    }
    let text = &text[..text.floor_char_boundary(MAX_BYTES)];
    let (mut fenced, mut other) = (0, Vec::new());
    let (mut is_fenced, mut is_cut) = (false, false);
    let (mut at, mut outside, mut starts) = (0, 0, 0);
    while starts < MAX_STARTS && other.len() < MAX_VALUES {
        let Some(start) = text[at..].find(['{', '[']) else { break };
        let start = at + start;
        is_fenced ^= marks_fence(&text[outside..start]);
        outside = start;
        let mut reader = LenientReader { text, at: start, depth: 0 };
        match reader.value() {
            Ok(value) => {
                fenced += usize::from(is_fenced);
                other.push((is_fenced, value));
                (at, outside) = (reader.at, reader.at);
            }
            // Complete values inside an incomplete one are only parts of the answer.
            Err(LenientStop::Cut) => match fence_after_prose(text, start).filter(|_| !is_fenced) {
                Some(fence) => at = fence,
                None => {
                    is_cut = true;
                    break;
                }
            },
            Err(LenientStop::Wrong) => {
                starts += 1;
                at = start + 1;
            }
        }
    }
    let counts = |(is_fenced, value): &(bool, Json)| fenced == 0 || *is_fenced || !value.is_array();
    FoundValues { values: other.into_iter().filter(counts).map(|(_, value)| value).collect(), is_cut }
}

/// Whether a text between values opens or closes a code fence.
fn marks_fence(text: &str) -> bool {
    ["```", "~~~"].iter().map(|fence| text.matches(fence).count()).sum::<usize>() % 2 == 1
}

/// Returns where the next code fence begins, if a bracket stands within a line of prose and so may not begin a value.
fn fence_after_prose(text: &str, start: usize) -> Option<usize> {
    let line = text[..start].rsplit('\n').next().unwrap_or_default();
    let is_prose = line.contains(char::is_alphabetic) && !line.contains("```");
    let fence = ["\n```", "\n~~~"].into_iter().filter_map(|fence| text[start..].find(fence)).min()?;
    is_prose.then_some(start + fence)
}

/// Reads a text whose every line is `name: value`, as an object.
pub(super) fn lines(text: &str) -> Option<Json> {
    let mut fields = Map::new();
    for line in text.lines().map(str::trim) {
        if line.is_empty() || ["```", "~~~", "---"].iter().any(|mark| line.starts_with(mark)) {
            continue;
        }
        let (name, value) = line.split_once(':')?;
        let name = name.trim_start_matches(['-', '*', ' ']).trim_matches(['*', '"', '`', ' ']);
        let is_name =
            !name.is_empty() && name.chars().all(|letter| letter.is_alphanumeric() || "_-".contains(letter));
        let value = value.trim().trim_start_matches("**").trim().trim_matches('"');
        if !is_name || value.is_empty() || fields.contains_key(name) {
            return None;
        }
        fields.insert(name.to_owned(), value.into());
    }
    (!fields.is_empty()).then_some(Json::Object(fields))
}

/// Numbers of programs that JSON does not have.
const NOT_NUMBERS: [&str; 3] = ["NaN", "Infinity", "-Infinity"];

/// Why a value could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LenientStop {
    /// The text ends within the value.
    Cut,
    /// This is not a value.
    Wrong,
}

struct LenientReader<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
}

impl<'a> LenientReader<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn peek(&self) -> Result<char, LenientStop> {
        self.rest().chars().next().ok_or(LenientStop::Cut)
    }

    fn skip(&mut self, letter: char) {
        self.at += letter.len_utf8();
    }

    /// Skips white space and comments.
    fn skip_blank(&mut self) {
        loop {
            let rest = self.rest();
            let blank = rest.len() - rest.trim_start().len();
            let rest = &rest[blank..];
            let comment = if rest.starts_with("//") || rest.starts_with('#') {
                rest.find('\n').unwrap_or(rest.len())
            } else if rest.starts_with("/*") {
                rest.find("*/").map_or(rest.len(), |end| end + 2)
            } else {
                0
            };
            self.at += blank + comment;
            if comment == 0 {
                return;
            }
        }
    }

    fn value(&mut self) -> Result<Json, LenientStop> {
        self.skip_blank();
        match self.peek()? {
            '{' => self.deeper(Self::object),
            '[' => self.deeper(Self::list),
            first if is_quote(first) => self.quoted(first).map(Json::String),
            _ => self.word(),
        }
    }

    fn deeper(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<Json, LenientStop>,
    ) -> Result<Json, LenientStop> {
        if self.depth == MAX_DEPTH {
            return Err(LenientStop::Wrong);
        }
        self.depth += 1;
        self.at += 1;
        let value = read(self);
        self.depth -= 1;
        value
    }

    fn list(&mut self) -> Result<Json, LenientStop> {
        let mut items = Vec::new();
        loop {
            self.skip_blank();
            if self.peek()? == ']' {
                self.at += 1;
                return Ok(Json::Array(items));
            }
            items.push(self.value()?);
            self.separator(']')?;
        }
    }

    fn object(&mut self) -> Result<Json, LenientStop> {
        let mut fields = Map::new();
        loop {
            self.skip_blank();
            let name = match self.peek()? {
                '}' => {
                    self.at += 1;
                    return Ok(Json::Object(fields));
                }
                first if is_quote(first) => self.quoted(first)?,
                _ => self.name()?,
            };
            self.skip_blank();
            if !matches!(self.peek()?, ':' | '=') {
                return Err(LenientStop::Wrong);
            }
            self.at += 1;
            self.skip_blank();
            // A number that JSON cannot represent is left out.
            match NOT_NUMBERS.iter().find(|word| self.rest().starts_with(**word)) {
                Some(word) => self.at += word.len(),
                None => {
                    let value = self.value()?;
                    fields.insert(name, value);
                }
            }
            self.separator('}')?;
        }
    }

    /// Skips the comma between two members. It may be missing at the end of a line.
    fn separator(&mut self, end: char) -> Result<(), LenientStop> {
        let before = self.at;
        self.skip_blank();
        let next = self.peek()?;
        if matches!(next, ',' | ';') {
            self.at += 1;
            return Ok(());
        }
        let is_new_line = self.text[before..self.at].contains('\n');
        if next == end || is_new_line && !matches!(next, '}' | ']') {
            Ok(())
        } else {
            Err(LenientStop::Wrong)
        }
    }

    /// Reads an unquoted field name.
    fn name(&mut self) -> Result<String, LenientStop> {
        let rest = self.rest();
        let is_of_name = |letter: char| letter.is_alphanumeric() || matches!(letter, '_' | '$' | '-' | '.');
        let end = rest.find(|letter| !is_of_name(letter)).ok_or(LenientStop::Cut)?;
        if end == 0 {
            return Err(LenientStop::Wrong);
        }
        self.at += end;
        Ok(rest[..end].to_owned())
    }

    /// Reads a number, a keyword such as `true`, or an unquoted string, which ends with its line.
    fn word(&mut self) -> Result<Json, LenientStop> {
        let rest = self.rest();
        let end = rest.find([',', ';', '}', ']', '\n', '{', '[', '"']).ok_or(LenientStop::Cut)?;
        let (said, commented) = (&rest[..end], rest[..end].find(" //").or_else(|| rest[..end].find(" #")));
        let word = said[..commented.unwrap_or(end)].trim();
        self.at += commented.unwrap_or(end);
        if matches!(rest[end..].chars().next(), Some('{' | '[' | '"')) {
            return Err(LenientStop::Wrong);
        }
        match word {
            "true" | "True" | "TRUE" => Ok(true.into()),
            "false" | "False" | "FALSE" => Ok(false.into()),
            "null" | "None" | "nil" | "undefined" | "NULL" => Ok(Json::Null),
            // An omission, or a number that JSON cannot represent.
            "" | "..." | "…" | "NaN" | "Infinity" | "-Infinity" => Err(LenientStop::Wrong),
            word if word.ends_with("...") || word.ends_with('…') => Err(LenientStop::Wrong),
            word if word.starts_with(|first: char| first.is_ascii_digit() || "+-.".contains(first)) => {
                Ok(number(word).unwrap_or_else(|| word.into()))
            }
            word => Ok(word.into()),
        }
    }

    /// Reads a quoted string. A quote ends it only where a member can end, so an unescaped quote inside does not.
    fn quoted(&mut self, open: char) -> Result<String, LenientStop> {
        self.skip(open);
        let more: String = [open; 2].iter().collect();
        if matches!(open, '"' | '\'') && self.rest().starts_with(&more) {
            let body = &self.rest()[2..];
            let end = body.find(&format!("{more}{open}")).ok_or(LenientStop::Cut)?;
            self.at += 2 + end + 3;
            return Ok(body[..end].to_owned());
        }
        let mut text = String::new();
        loop {
            let letter = self.peek()?;
            self.skip(letter);
            match letter {
                '\\' => self.escape(&mut text)?,
                letter if closes(open, letter) && self.may_end() => return Ok(text),
                letter => text.push(letter),
            }
        }
    }

    /// Whether a string can end here: a separator, a closing bracket, a comment or the end of the text follows, or a
    /// new line with another member.
    fn may_end(&self) -> bool {
        let after = self.rest().trim_start();
        let blank = &self.rest()[..self.rest().len() - after.len()];
        match after.chars().next() {
            None | Some(',' | ';' | ':' | '=' | '}' | ']' | '#') => true,
            Some('/') => after.starts_with("//") || after.starts_with("/*"),
            // A code fence does not begin a member.
            Some('`') if after.starts_with("```") => false,
            Some(next) => blank.contains('\n') && (is_quote(next) || matches!(next, '{' | '[')),
        }
    }

    /// Reads an escape sequence. An unknown one is kept with its backslash, since it usually is part of a pattern or a
    /// path.
    fn escape(&mut self, text: &mut String) -> Result<(), LenientStop> {
        let letter = self.peek()?;
        self.skip(letter);
        match letter {
            'n' => text.push('\n'),
            't' => text.push('\t'),
            'r' => text.push('\r'),
            'b' => text.push('\u{8}'),
            'f' => text.push('\u{c}'),
            '\n' => {}
            'x' => match self.rest().get(..2).and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
                Some(byte) => {
                    self.at += 2;
                    text.push(byte.into());
                }
                None => text.push_str("\\x"),
            },
            'u' => match self.unicode() {
                Some(letter) => text.push(letter),
                None => text.push_str("\\u"),
            },
            '"' | '\\' | '/' => text.push(letter),
            letter if is_quote(letter) => text.push(letter),
            letter => text.extend(['\\', letter]),
        }
        Ok(())
    }

    /// Reads the hex digits of `\u`, including the second half of a surrogate pair. Half a pair becomes U+FFFD.
    fn unicode(&mut self) -> Option<char> {
        let unit = |text: &str| u16::from_str_radix(text.get(..4)?, 16).ok();
        let first = unit(self.rest())?;
        let second = || unit(self.rest().get(4..)?.strip_prefix("\\u")?);
        let (letter, length) = match char::from_u32(first.into()) {
            Some(letter) => (letter, 4),
            None => match second().map(|second| char::decode_utf16([first, second]).next()) {
                Some(Some(Ok(letter))) => (letter, 10),
                _ => (char::REPLACEMENT_CHARACTER, 4),
            },
        };
        self.at += length;
        Some(letter)
    }
}

fn is_quote(letter: char) -> bool {
    matches!(letter, '"' | '\'' | '`' | '“' | '”' | '„' | '‟' | '‘' | '’')
}

fn closes(open: char, letter: char) -> bool {
    match open {
        '“' | '”' | '„' | '‟' => matches!(letter, '“' | '”' | '‟' | '"'),
        '‘' | '’' => matches!(letter, '‘' | '’' | '\''),
        open => letter == open,
    }
}

/// Parses a number as in JSON or in programs: `+1`, `.5`, `1.`, `1_000`, `0x1f`.
fn number(word: &str) -> Option<Json> {
    let plain = word.strip_prefix('+').unwrap_or(word).replace('_', "");
    if let Some(digits) = plain.strip_prefix("0x").or_else(|| plain.strip_prefix("0X")) {
        return u64::from_str_radix(digits, 16).ok().map(Json::from);
    }
    let (sign, digits) = plain.strip_prefix('-').map_or(("", plain.as_str()), |digits| ("-", digits));
    let digits = if digits.starts_with('.') { format!("0{digits}") } else { digits.to_owned() };
    let digits = digits.strip_suffix('.').unwrap_or(&digits);
    serde_json::from_str::<serde_json::Number>(&format!("{sign}{digits}")).ok().map(Json::Number)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn values(text: &str) -> Vec<Json> {
        find(text).values
    }

    #[test]
    fn a_value_is_found_however_it_is_wrapped() {
        let ada = json!({"name": "Ada", "age": 36});
        let plain = r#"{"name": "Ada", "age": 36}"#;
        for text in [
            plain.to_owned(),
            format!("\u{feff}  {plain}\n"),
            format!("```json\n{plain}\n```"),
            format!("```\n{plain}\n```\nI hope that helps!"),
            format!("Here you are:\n\n```JSON\n{plain}```"),
            format!("Sure! The answer is {plain}. Is there anything else?"),
            format!("```json\n{plain}"),
            format!("<think>a set {{x}} of [y] things</think>{plain}"),
            format!("Note [1]: {plain}"),
        ] {
            let found = values(&text);
            assert!(found.contains(&ada), "{text}: {found:?}");
        }
    }

    #[test]
    fn a_value_is_read_as_programs_write_it() {
        for (text, value) in [
            ("{name: 'Ada', 'age': 36,}", json!({"name": "Ada", "age": 36})),
            ("{'ok': True, 'no': False, 'none': None}", json!({"ok": true, "no": false, "none": null})),
            ("{“name”: “Ada”, ‘it’: ‘it’s’}", json!({"name": "Ada", "it": "it’s"})),
            ("[1, 2, 3,]", json!([1, 2, 3])),
            ("{\"a\": 1, // one\n # two\n /* three */ \"b\": 2}", json!({"a": 1, "b": 2})),
            ("{\"a\": \"one\ntwo\"}", json!({"a": "one\ntwo"})),
            (r#"{"a": "He said "hi" to me", "b": 1}"#, json!({"a": "He said \"hi\" to me", "b": 1})),
            ("{'a': 'it's fine'}", json!({"a": "it's fine"})),
            ("{\"a\": 1\n\"b\": \"x\"\n\"c\": [1\n2]}", json!({"a": 1, "b": "x", "c": [1, 2]})),
            (
                r#"{"path": "C:\dir", "u": "\u00e9\ud83e\udd80", "q": 'a\'b'}"#,
                json!({"path": "C:\\dir", "u": "é🦀", "q": "a'b"}),
            ),
            (
                "{a: +1, b: .5, c: 1., d: 1_000, e: 0x1f, f: -.5}",
                json!({"a": 1, "b": 0.5, "c": 1.0, "d": 1000, "e": 31, "f": -0.5}),
            ),
            ("{city: New York, when: 2024-01-02}", json!({"city": "New York", "when": "2024-01-02"})),
            ("{\"a\": \"\"\"one \"two\"\nthree\"\"\"}", json!({"a": "one \"two\"\nthree"})),
            ("{a = 1; b = \"x\"}", json!({"a": 1, "b": "x"})),
            (r#"{"a": "T\x41", "n": NaN, "m": -Infinity}"#, json!({"a": "TA"})),
            (r#"{'a': "x\ud83d", b: "\ude80y"}"#, json!({"a": "x\u{fffd}", "b": "\u{fffd}y"})),
            (
                "{\"a\": \"see\n```mermaid\nA --> {B}\n```\n\"}",
                json!({"a": "see\n```mermaid\nA --> {B}\n```\n"}),
            ),
        ] {
            let found = values(text);
            // 1 and 1.0 are the same number.
            assert_eq!(found.len(), 1, "{text}: {found:?}");
            assert_eq!(found[0].to_string().replace(".0", ""), value.to_string().replace(".0", ""), "{text}");
        }
    }

    #[test]
    fn a_fence_inside_a_string_is_part_of_the_string() {
        let value = json!({"title": "T", "body": "use ```x``` here\n```mermaid\nA --> B\n```\nend", "n": 3});
        for text in [
            format!("```json\n{value}\n```"),
            format!("~~~json\n{value}\n~~~"),
            format!("Here:\n```\n{value:#}\n```\nDone."),
            format!("Here: {value} Done."),
            format!("As in [1] and [2]:\n```json\n{value}\n```\nSee [1]."),
            format!("An open [bracket \"here\n```json\n{value}\n```"),
        ] {
            assert_eq!(values(&text), std::slice::from_ref(&value), "{text}");
        }
        // A raw quotation mark and raw line ends in the string.
        let raw = "{\"body\": \"x\n```mermaid\nP ==> Q : \"owns\"\n```\n\", \"n\": 3}";
        for text in [raw.to_owned(), format!("```json\n{raw}\n```")] {
            assert_eq!(
                values(&text),
                [json!({"body": "x\n```mermaid\nP ==> Q : \"owns\"\n```\n", "n": 3})],
                "{text}"
            );
        }
    }

    #[test]
    fn lines_of_names_and_values_are_an_object() {
        let expected = json!({"title": "T: one", "n": "3"});
        for text in [
            "title: T: one\nn: 3",
            "- **title**: T: one\n- **n:** 3",
            "```yaml\ntitle: \"T: one\"\nn: 3\n```",
        ] {
            assert_eq!(lines(text), Some(expected.clone()), "{text}");
        }
        for text in ["", "Paris", "title: T\nand more", "a: 1\na: 2", "a:", "I think: no\nb: 1"] {
            assert_eq!(lines(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_cut_off_or_left_out_is_no_value() {
        for text in [r#"{"a": 1, "b": "tex"#, "```json\n{\"a\": [1, 2", r#"{"a": {"b": 1}, "#] {
            let found = find(text);
            assert!(found.is_cut, "{text}");
            assert!(!found.values.iter().any(|value| value.get("a").is_some()), "{text}: {found:?}");
        }
        for text in ["{\"a\": [1, 2, ...]}", "{\"a\": NaN}", "nothing at all", "{}}", "{a b c}"] {
            assert!(!find(text).is_cut, "{text}");
            assert!(values(text).iter().all(|value| value.get("a").is_none()), "{text}");
        }
    }

    #[test]
    fn it_has_bounds() {
        let deep = format!("x {}{}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(values(&deep).iter().all(|value| value.to_string().len() < 200));
        let starts = "{ ".repeat(500_000);
        assert!(values(&starts).is_empty());
        let quotes = format!("{{\"a\": {}", "\"\n".repeat(100_000));
        let _ = values(&quotes);
    }

    fn json_value() -> impl Strategy<Value = Json> {
        let leaf = prop_oneof![
            Just(Json::Null),
            any::<bool>().prop_map(Json::from),
            any::<i64>().prop_map(Json::from),
            "\\PC{0,12}".prop_map(Json::from),
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Json::from),
                proptest::collection::vec(("\\PC{0,6}", inner), 0..4)
                    .prop_map(|fields| Json::Object(fields.into_iter().collect())),
            ]
        })
    }

    proptest! {
        /// Lenient reading does not change valid JSON.
        #[test]
        fn what_is_json_is_read_as_it_is(value in json_value(), pretty in any::<bool>()) {
            let list = json!([value]);
            let text = if pretty { serde_json::to_string_pretty(&list).unwrap() } else { list.to_string() };
            let mut reader = LenientReader { text: &text, at: 0, depth: 0 };
            prop_assert_eq!(reader.value(), Ok(list));
            prop_assert_eq!(reader.at, text.len());
        }

        #[test]
        fn no_text_makes_it_panic(text in "[\\PC\\n{}\\[\\]\"'\\\\:,`/#*u0-9]{0,60}") {
            let _ = find(&text);
        }
    }
}
