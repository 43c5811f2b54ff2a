//! Separates the reasoning that a model writes between tags from the text of its answer.
//!
//! Servers of open models often pass on what the model wrote: `<think>…</think>The answer.` The tags stand at the start
//! of the answer. Some chat templates open the tag in the prompt, so the answer has only the closing tag. An
//! [`AnswerText`] takes the text in pieces of any size, and a tag may be split over them.
//!
//! Only tags at the start are read as such, so an answer may mention them. A closing tag alone counts unless it is
//! quoted: inside a JSON string, code, or quotation marks.

use std::collections::VecDeque;

use llmspell_core::chat::Delta;

use crate::halves::HalfJoiner;

/// The names of tags that are written `<name>`. Attributes and upper case are accepted.
const NAMES: [&str; 4] = ["think", "thinking", "thought", "seed:think"];

/// Other opening tags and their closing tags.
const PAIRS: [[&str; 2]; 2] = [["[THINK]", "[/THINK]"], ["◁think▷", "◁/think▷"]];

/// The maximum length of a tag in bytes.
const MAX_TAG: usize = 256;

/// The maximum length in bytes of white space that is held back.
const MAX_BLANK: usize = 4_096;

/// How many quoted closing tags are examined. A text with more of them is about tags.
const MAX_QUOTED: usize = 8;

/// The text and the reasoning of an answer, as far as they have arrived.
#[derive(Debug, Default)]
pub(crate) struct AnswerText {
    text: String,
    reasoning: String,
    place: Place,
    /// Text that may be a part of a tag, or white space that may border on one.
    held: String,
    /// Whether reasoning between tags, or a closing tag, was read.
    had_tags: bool,
    /// Whether the reasoning between the current tags has begun.
    has_begun: bool,
    /// Whether the model is known to begin within reasoning that its chat template opened.
    is_opened: bool,
    /// How many closing tags were taken for a quotation.
    quoted: usize,
    /// Join characters that were split over pieces of the text, and of the reasoning.
    text_halves: HalfJoiner,
    reasoning_halves: HalfJoiner,
    news: VecDeque<Delta>,
}

/// Where in the answer the next text stands.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Before the text, where a tag can open.
    #[default]
    Start,
    /// Between the tags. `is_sure` is false if no opening tag was read.
    Reasoning {
        is_sure: bool,
    },
    Text,
}

/// A tag found in a text.
enum Found {
    /// The tag is complete.
    Tag {
        start: usize,
        end: usize,
    },
    /// The text ends within what may be a tag.
    Part(usize),
    None,
}

impl AnswerText {
    /// Creates an answer of a model. `is_opened` says that its chat template opens the tag, so the answer begins with
    /// reasoning.
    pub(crate) fn new(is_opened: bool) -> Self {
        Self { is_opened, ..Self::default() }
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    pub(crate) fn reasoning(&self) -> &str {
        &self.reasoning
    }

    /// Whether any text or reasoning has arrived.
    pub(crate) fn has_begun(&self) -> bool {
        !(self.text.is_empty() && self.reasoning.is_empty() && self.held.is_empty())
    }

    /// Returns the text, and the reasoning if there is any.
    pub(crate) fn into_parts(self) -> (String, Option<String>) {
        (self.text, Some(self.reasoning).filter(|reasoning| !reasoning.is_empty()))
    }

    /// Adds text, which may contain tags.
    pub(crate) fn add(&mut self, text: &str) {
        let text = self.text_halves.join(text);
        self.held.push_str(&text);
        while self.step() {}
    }

    /// Adds reasoning that the provider reports as such. The text then needs no guess.
    pub(crate) fn add_reasoning(&mut self, text: &str) {
        self.is_opened = false;
        if self.place == (Place::Reasoning { is_sure: false }) {
            let answer = std::mem::take(&mut self.reasoning);
            self.push_text(&answer);
            self.place = Place::Text;
        }
        let text = self.reasoning_halves.join(text);
        self.push_reasoning(&text);
    }

    /// Ends the answer: text that was held back because a tag could follow is part of it.
    pub(crate) fn end(&mut self) {
        let half = self.reasoning_halves.end();
        self.push_reasoning(half);
        let held = std::mem::take(&mut self.held) + self.text_halves.end();
        match self.place {
            Place::Start if self.had_tags => self.push_text(held.trim_start()),
            Place::Start | Place::Text => self.push_text(&held),
            Place::Reasoning { is_sure: true } => self.push_thought(held.trim_end()),
            // The closing tag never came, so the answer had no reasoning.
            Place::Reasoning { is_sure: false } => {
                let answer = std::mem::take(&mut self.reasoning) + &held;
                self.push_text(&answer);
            }
        }
        self.place = Place::Text;
    }

    /// Returns the next delta that was not taken yet.
    pub(crate) fn take_news(&mut self) -> Option<Delta> {
        self.news.pop_front()
    }

    fn push_text(&mut self, text: &str) {
        if !text.is_empty() {
            self.text.push_str(text);
            self.news.push_back(Delta::Text { text: text.to_owned() });
        }
    }

    fn push_reasoning(&mut self, text: &str) {
        if !text.is_empty() {
            self.reasoning.push_str(text);
            self.news.push_back(Delta::Reasoning { text: text.to_owned() });
        }
    }

    /// Adds reasoning from between tags. Another pair of tags begins another paragraph.
    fn push_thought(&mut self, text: &str) {
        if text.is_empty() {
            return;
        }
        if !std::mem::replace(&mut self.has_begun, true) && !self.reasoning.is_empty() {
            self.push_reasoning("\n\n");
        }
        self.push_reasoning(text);
    }

    /// Reads as much of the held text as has one meaning. Returns whether more may follow.
    fn step(&mut self) -> bool {
        match self.place {
            Place::Start => self.start(),
            Place::Reasoning { .. } => self.within(),
            Place::Text => self.after(),
        }
    }

    fn start(&mut self) -> bool {
        let blank = |letter: char| letter.is_whitespace() || letter == '\u{feff}';
        let begun = self.held.trim_start_matches(blank);
        if begun.is_empty() && self.held.len() < MAX_BLANK {
            return false;
        }
        let skipped = self.held.len() - begun.len();
        match (opening(begun), closing(begun)) {
            (Found::Tag { end, .. }, _) => {
                let is_empty = begun[..end].ends_with("/>");
                self.held.drain(..skipped + end);
                self.had_tags = true;
                if !is_empty {
                    self.open(true);
                }
            }
            // The template opened the tag, and the model did not reason.
            (_, Found::Tag { start: 0, end }) => {
                self.held.drain(..skipped + end);
                self.had_tags = true;
            }
            (Found::Part(_), _) | (_, Found::Part(0)) => return false,
            _ if self.is_opened => self.open(false),
            _ => {
                if self.had_tags {
                    self.held.drain(..skipped);
                }
                self.place = Place::Text;
            }
        }
        true
    }

    fn open(&mut self, is_sure: bool) {
        self.place = Place::Reasoning { is_sure };
        self.is_opened = false;
        self.has_begun = false;
    }

    fn within(&mut self) -> bool {
        if !self.has_begun {
            let blank = self.held.len() - self.held.trim_start().len();
            self.held.drain(..blank);
        }
        let (end, tag_end) = match closing(&self.held) {
            Found::Tag { start, end } => (start, Some(end)),
            Found::Part(start) => (start, None),
            Found::None => (self.held.len(), None),
        };
        // White space may precede the closing tag, so it is held back.
        let thought = self.held[..end].trim_end();
        let is_long = tag_end.is_none() && end - thought.len() > MAX_BLANK;
        let thought = if is_long { self.held[..end].to_owned() } else { thought.to_owned() };
        self.held.drain(..tag_end.unwrap_or(thought.len()));
        self.push_thought(&thought);
        if tag_end.is_some() {
            self.had_tags = true;
            self.place = Place::Start;
        }
        tag_end.is_some()
    }

    fn after(&mut self) -> bool {
        if self.had_tags || !self.reasoning.is_empty() || self.quoted > MAX_QUOTED {
            let text = std::mem::take(&mut self.held);
            self.push_text(&text);
            return false;
        }
        match closing(&self.held) {
            Found::Tag { start, end } => {
                let rest = self.held.split_off(end);
                let tag = self.held.split_off(start);
                let before = std::mem::replace(&mut self.held, rest);
                self.push_text(&before);
                if is_quoted(&self.text) {
                    self.quoted += 1;
                    self.push_text(&tag);
                } else {
                    self.was_reasoning();
                }
                true
            }
            Found::Part(start) => {
                let tag = self.held.split_off(start);
                let before = std::mem::replace(&mut self.held, tag);
                self.push_text(&before);
                false
            }
            Found::None => {
                let text = std::mem::take(&mut self.held);
                self.push_text(&text);
                false
            }
        }
    }

    /// Turns the text so far into reasoning, because its closing tag came.
    fn was_reasoning(&mut self) {
        self.reasoning = std::mem::take(&mut self.text).trim().to_owned();
        self.had_tags = true;
        self.place = Place::Start;
        for delta in &mut self.news {
            if let Delta::Text { text } = delta {
                *delta = Delta::Reasoning { text: std::mem::take(text) };
            }
        }
    }
}

/// Finds an opening tag at the start of a text.
fn opening(text: &str) -> Found {
    for [open, _] in PAIRS {
        match prefix(text, open) {
            Some(true) => return Found::Tag { start: 0, end: open.len() },
            Some(false) => return Found::Part(0),
            None => {}
        }
    }
    named_tag(text, "<")
}

/// Finds the first closing tag in a text.
fn closing(text: &str) -> Found {
    for (start, first) in text.char_indices() {
        let rest = &text[start..];
        let found = match first {
            '<' => named_tag(rest, "</"),
            '[' | '◁' => PAIRS
                .iter()
                .find_map(|[_, close]| {
                    prefix(rest, close).map(|is_whole| match is_whole {
                        true => Found::Tag { start: 0, end: close.len() },
                        false => Found::Part(0),
                    })
                })
                .unwrap_or(Found::None),
            _ => continue,
        };
        match found {
            Found::Tag { end, .. } => return Found::Tag { start, end: start + end },
            Found::Part(_) => return Found::Part(start),
            Found::None => {}
        }
    }
    Found::None
}

/// Whether a text begins with a word (true), or is the beginning of it (false).
fn prefix(text: &str, word: &str) -> Option<bool> {
    if text.starts_with(word) { Some(true) } else { word.starts_with(text).then_some(false) }
}

/// Reads a tag with one of the [`NAMES`] at the start of a text: the mark `<` or `</`, the name, attributes and `>`.
fn named_tag(text: &str, mark: &str) -> Found {
    let Some(after) = text.strip_prefix(mark) else {
        return if mark.starts_with(text) { Found::Part(0) } else { Found::None };
    };
    let length =
        after.find(|letter: char| !letter.is_ascii_alphabetic() && letter != ':').unwrap_or(after.len());
    let name = after[..length].to_ascii_lowercase();
    let Some(next) = after[length..].chars().next() else {
        let may_become = NAMES.iter().any(|known| known.starts_with(&name));
        return if may_become { Found::Part(0) } else { Found::None };
    };
    if !NAMES.contains(&name.as_str()) || !(next == '>' || next == '/' || next.is_whitespace()) {
        return Found::None;
    }
    let attributes = &after[length..after.floor_char_boundary(MAX_TAG)];
    match attributes.find(['>', '<']) {
        Some(at) if attributes[at..].starts_with('>') => {
            Found::Tag { start: 0, end: mark.len() + length + at + 1 }
        }
        None if after.len() < MAX_TAG => Found::Part(0),
        _ => Found::None,
    }
}

/// Whether a closing tag after a text is a part of it: the text has the opening tag, or it ends within a JSON string,
/// within code, or with a quotation mark.
fn is_quoted(text: &str) -> bool {
    let line = text.rsplit('\n').next().unwrap_or_default();
    let is_odd = |count: usize| count % 2 == 1;
    let opens = |(at, _)| matches!(opening(&text[at..]), Found::Tag { .. });
    text.ends_with(['"', '\'', '“', '‘'])
        || text.match_indices(['<', '[', '◁']).any(opens)
        || is_odd(text.matches("```").count())
        || is_odd(line.matches('`').count())
        || text.trim_start().starts_with(['{', '[', '"']) && ends_in_string(text)
}

/// Whether a text of JSON ends within a string.
fn ends_in_string(text: &str) -> bool {
    let (mut is_inside, mut is_escaped) = (false, false);
    for letter in text.chars() {
        match letter {
            _ if is_escaped => is_escaped = false,
            '\\' if is_inside => is_escaped = true,
            '"' => is_inside = !is_inside,
            _ => {}
        }
    }
    is_inside
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Reads an answer that arrives in these pieces: its text and its reasoning, and both as the deltas give them.
    fn read(is_opened: bool, pieces: &[&str]) -> ([String; 2], [String; 2]) {
        let mut answer = AnswerText::new(is_opened);
        let (mut text, mut reasoning) = (String::new(), String::new());
        for piece in pieces.iter().map(Some).chain([None]) {
            match piece {
                Some(piece) => answer.add(piece),
                None => answer.end(),
            }
            while let Some(delta) = answer.take_news() {
                match delta {
                    Delta::Text { text: more } => text.push_str(&more),
                    Delta::Reasoning { text: more } => reasoning.push_str(&more),
                    Delta::End { .. } => unreachable!(),
                }
            }
        }
        let (whole, thought) = answer.into_parts();
        ([whole, thought.unwrap_or_default()], [text, reasoning])
    }

    fn letters(text: &str) -> Vec<&str> {
        text.char_indices().map(|(at, letter)| &text[at..at + letter.len_utf8()]).collect()
    }

    /// An answer, its text and its reasoning.
    const OPENED: &[(&str, &str, &str)] = &[
        ("<think>\nhm\n</think>\n\nHello.", "Hello.", "hm"),
        ("\n <think>hm</think>Hello.", "Hello.", "hm"),
        ("\u{feff}<think>hm</think>Hello.", "Hello.", "hm"),
        ("<THINK>hm</THINK>Hello.", "Hello.", "hm"),
        ("<Think >hm</think >\nHello.", "Hello.", "hm"),
        ("<think type=\"deep\" n='1'>hm</think>Hello.", "Hello.", "hm"),
        ("<thinking>hm</thinking>Hello.", "Hello.", "hm"),
        ("<thinking>hm</think>Hello.", "Hello.", "hm"),
        ("<thought>hm</thought>Hello.", "Hello.", "hm"),
        ("<seed:think>hm</seed:think>Hello.", "Hello.", "hm"),
        ("[THINK]hm[/THINK]Hello.", "Hello.", "hm"),
        ("◁think▷hm◁/think▷Hello.", "Hello.", "hm"),
        ("<think></think>Hello.", "Hello.", ""),
        ("<think>\n\n</think>\n\nHello.", "Hello.", ""),
        ("<think>one</think>\n<think>two</think>Hello.", "Hello.", "one\n\ntwo"),
        ("<think>one</think></think>\nHello.", "Hello.", "one"),
        ("<think>a < b, <b>c</b>, </thin> air</think>Hello.", "Hello.", "a < b, <b>c</b>, </thin> air"),
        ("<think>{\"n\": 0}?</think>{\"n\": 1}", "{\"n\": 1}", "{\"n\": 0}?"),
        ("<think>hm</think>Say `</think>`, or </think>.", "Say `</think>`, or </think>.", "hm"),
        ("<think>never closed", "", "never closed"),
        ("<think>hm</think>", "", "hm"),
        ("</think>\n\nHello.", "Hello.", ""),
        ("", "", ""),
        (" \n", " \n", ""),
        ("  Hello.\n", "  Hello.\n", ""),
        ("<", "<", ""),
        ("<thi", "<thi", ""),
        ("<thinker>x</thinker>", "<thinker>x</thinker>", ""),
        ("<b>bold</b> <think>no</think>", "<b>bold</b> <think>no</think>", ""),
        ("<think/>Hello.", "Hello.", ""),
        ("<think>hm</think>\n<thi", "<thi", "hm"),
        ("{\"a\": \"<think>x</think>\"}", "{\"a\": \"<think>x</think>\"}", ""),
        ("[\"a \\\" </think>\"]", "[\"a \\\" </think>\"]", ""),
        ("Close it with `</think>`.", "Close it with `</think>`.", ""),
        ("Close it with \"</think>\".", "Close it with \"</think>\".", ""),
        ("```xml\n</think>\n```", "```xml\n</think>\n```", ""),
        ("a < b and a </ b", "a < b and a </ b", ""),
    ];

    #[test]
    fn reasoning_between_tags_is_no_text_however_it_is_split() {
        for (answer, text, reasoning) in OPENED {
            let expected = [(*text).to_owned(), (*reasoning).to_owned()];
            let mut splits = vec![vec![*answer], letters(answer)];
            splits.extend(answer.char_indices().map(|(at, _)| vec![&answer[..at], &answer[at..]]));
            for pieces in splits {
                let (whole, deltas) = read(false, &pieces);
                assert_eq!(whole, expected, "{pieces:?}");
                assert_eq!(deltas, expected, "the deltas of {pieces:?}");
            }
        }
    }

    #[test]
    fn a_closing_tag_alone_ends_reasoning_that_the_template_opened() {
        for (answer, text, reasoning) in [
            ("hm\n</think>\n\nHello.", "Hello.", "hm"),
            ("hm</think>Hello.", "Hello.", "hm"),
            ("Maybe {\"n\": \"0\"}?\n</think>\n{\"n\": 1}", "{\"n\": 1}", "Maybe {\"n\": \"0\"}?"),
            ("{\"n\": \"0\"}?\n</think>\n{\"n\": 1}", "{\"n\": 1}", "{\"n\": \"0\"}?"),
            ("hm[/THINK]Hello.", "Hello.", "hm"),
        ] {
            let expected = [text.to_owned(), reasoning.to_owned()];
            for pieces in [vec![answer], letters(answer)] {
                // The deltas of an unknown model are text until the tag comes; those of a known one are not.
                let (whole, deltas) = read(false, &pieces);
                assert_eq!(whole, expected, "{pieces:?}");
                assert!(deltas[0].ends_with(text) && !deltas[0].contains("think>"), "{pieces:?}: {deltas:?}");
                assert_eq!(read(true, &pieces), (expected.clone(), expected.clone()), "{pieces:?}");
            }
        }
        // A model that is expected to reason and does not.
        let (whole, deltas) = read(true, &["Hel", "lo. "]);
        assert_eq!((whole, deltas[0].as_str()), (["Hello. ".to_owned(), String::new()], "Hello. "));
        assert_eq!(read(true, &["<think>hm</think>Hello."]).0, ["Hello.", "hm"]);
    }

    #[test]
    fn reasoning_that_the_provider_reports_is_kept_beside_the_text() {
        for (text, rest) in
            [("Hello.", "Hello."), ("</think>\n\nHello.", "Hello."), ("a</think>b", "a</think>b")]
        {
            let mut answer = AnswerText::new(true);
            answer.add_reasoning("hm");
            answer.add(text);
            answer.end();
            assert_eq!(answer.into_parts(), (rest.to_owned(), Some("hm".to_owned())), "{text}");
        }
    }

    #[test]
    fn time_is_linear_in_the_length_of_an_answer() {
        let mut answer = AnswerText::default();
        for part in ["<think>", &"</thin".repeat(100_000), "</think>", &"`</think>` ".repeat(100_000)] {
            answer.add(part);
        }
        let mut quoting = AnswerText::default();
        quoting.add(&"`</think>` ".repeat(100_000));
        answer.end();
        quoting.end();
        assert_eq!(answer.text(), quoting.text().trim_start());
    }

    proptest! {
        /// How an answer is split makes no difference, and nothing but tags and white space is lost.
        #[test]
        fn every_split_gives_the_same(pieces in proptest::collection::vec("(<think>|</think>|</?th|\\[|\"|`|\n| |a|é){0,4}", 0..6), is_opened: bool) {
            let parts: Vec<&str> = pieces.iter().map(String::as_str).collect();
            let joined = pieces.concat();
            let (whole, _) = read(is_opened, &parts);
            prop_assert_eq!(&whole, &read(is_opened, &[&joined]).0);
            prop_assert_eq!(&whole, &read(is_opened, &letters(&joined)).0);
            let count = |text: &str, letter| text.matches(letter).count();
            prop_assert_eq!(count(&joined, 'é'), count(&whole.concat(), 'é'));
        }
    }
}
