//! Repairs halves of surrogate pairs in JSON.
//!
//! JSON may write an emoji as two `\\u` escapes, the halves of a surrogate pair. Some servers split a text between them,
//! so one piece of a stream ends with the first half and the next begins with the second. Each piece alone is JSON that
//! no strict parser accepts. A half at the border of a string is replaced by a [`mark`], and [`HalfJoiner`] joins the
//! marks of adjacent pieces. Any other half becomes U+FFFD.

use std::borrow::Cow;

use serde_json::Value as Json;

/// The first character of the private plane whose characters stand for halves: U+10D800 is the half D800.
const MARKS: u32 = 0x10_0000;

/// Parses JSON. Halves become U+FFFD.
pub(crate) fn from_str(text: &str) -> serde_json::Result<Json> {
    parse(text, |_, _| char::REPLACEMENT_CHARACTER)
}

/// Parses a piece of a stream. A half that the next or the previous piece may complete becomes a mark.
pub(crate) fn piece_from_str(text: &str) -> serde_json::Result<Json> {
    parse(text, |half, at_border| match at_border {
        true => mark(half),
        false => char::REPLACEMENT_CHARACTER,
    })
}

fn parse(text: &str, replacement: impl Fn(u16, bool) -> char) -> serde_json::Result<Json> {
    serde_json::from_str(text).or_else(|error| match repaired(text, replacement) {
        Some(text) => serde_json::from_str(&text),
        None => Err(error),
    })
}

fn mark(half: u16) -> char {
    char::from_u32(MARKS + u32::from(half)).unwrap_or(char::REPLACEMENT_CHARACTER)
}

/// Returns the half that a character stands for.
fn half_of(letter: char) -> Option<u16> {
    let half = u32::from(letter).checked_sub(MARKS)?;
    u16::try_from(half).ok().filter(|half| (0xd800..0xe000).contains(half))
}

fn is_first(half: u16) -> bool {
    half < 0xdc00
}

/// Replaces the halves in a JSON text; `None` if there are none.
fn repaired(text: &str, replacement: impl Fn(u16, bool) -> char) -> Option<String> {
    let unit = |at: usize| -> Option<u16> {
        let digits = text.get(at..)?.strip_prefix("\\u")?.get(..4)?;
        u16::from_str_radix(digits, 16).ok().filter(|unit| (0xd800..0xe000).contains(unit))
    };
    let bytes = text.as_bytes();
    let (mut repaired, mut copied, mut at) = (String::new(), 0, 0);
    while let Some(found) = bytes.get(at..)?.iter().position(|byte| *byte == b'\\') {
        at += found;
        let Some(half) = unit(at) else {
            at += 2;
            continue;
        };
        if is_first(half) && unit(at + 6).is_some_and(|next| !is_first(next)) {
            at += 12;
            continue;
        }
        let at_border = match is_first(half) {
            true => bytes.get(at + 6) == Some(&b'"'),
            false => at > 0 && bytes[at - 1] == b'"',
        };
        repaired.push_str(&text[copied..at]);
        repaired.push(replacement(half, at_border));
        at += 6;
        copied = at;
    }
    if copied == 0 {
        return None;
    }
    repaired.push_str(&text[copied..]);
    Some(repaired)
}

/// Joins the marks of adjacent pieces of a text.
#[derive(Debug, Default)]
pub(crate) struct HalfJoiner(Option<u16>);

impl HalfJoiner {
    /// Returns a piece with its marks replaced. A first half at its end is held back.
    pub(crate) fn join<'a>(&mut self, piece: &'a str) -> Cow<'a, str> {
        if self.0.is_none() && !piece.contains(|letter| half_of(letter).is_some()) {
            return Cow::Borrowed(piece);
        }
        let mut joined = String::with_capacity(piece.len() + 4);
        for letter in piece.chars() {
            match (self.0.take(), half_of(letter)) {
                (Some(first), Some(second)) if !is_first(second) => {
                    joined.extend(char::decode_utf16([first, second]).map(Result::unwrap_or_default));
                }
                (before, half) => {
                    joined.extend(before.map(|_| char::REPLACEMENT_CHARACTER));
                    match half {
                        Some(half) if is_first(half) => self.0 = Some(half),
                        Some(_) => joined.push(char::REPLACEMENT_CHARACTER),
                        None => joined.push(letter),
                    }
                }
            }
        }
        Cow::Owned(joined)
    }

    /// Returns what is held back at the end: U+FFFD for a half without its other half.
    pub(crate) fn end(&mut self) -> &'static str {
        if self.0.take().is_some() { "\u{fffd}" } else { "" }
    }
}

/// Returns a text that ended, with its marks replaced.
pub(crate) fn without_marks(text: &str) -> Cow<'_, str> {
    let mut joiner = HalfJoiner::default();
    match (joiner.join(text), joiner.end()) {
        (joined, "") => joined,
        (joined, rest) => Cow::Owned(joined.into_owned() + rest),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_half_without_its_other_half_becomes_a_replacement_character() {
        for (json, text) in [
            (r#""hi \ud83d""#, "hi \u{fffd}"),
            (r#""\ude80 done""#, "\u{fffd} done"),
            (r#""\ud83d\ud83d\ude80""#, "\u{fffd}🚀"),
            (r#""\uD83D\uDE80 \\ud83d \\\ud83d""#, "🚀 \\ud83d \\\u{fffd}"),
            (r#""plain \u00e9""#, "plain é"),
        ] {
            assert_eq!(from_str(json).unwrap(), text, "{json}");
        }
        assert!(from_str(r#"{"a": "\ud83d"#).is_err());
        assert!(from_str(r#""\ud8"#).is_err());
    }

    #[test]
    fn the_halves_of_adjacent_pieces_are_joined() {
        for (pieces, text) in [
            (&[r#""hi \ud83d""#, r#""\ude80 done""#][..], "hi 🚀 done"),
            (&[r#""hi \ud83d""#, r#""""#, r#""\ude80""#], "hi 🚀"),
            (&[r#""hi \ud83d""#, r#"" done""#], "hi \u{fffd} done"),
            (&[r#""\ud83d""#, r#""\ud83d""#, r#""\ude80\ude80""#], "\u{fffd}🚀\u{fffd}"),
            (&[r#""hi \ud83d""#], "hi \u{fffd}"),
        ] {
            let (mut joiner, mut joined) = (HalfJoiner::default(), String::new());
            for piece in pieces {
                joined += &joiner.join(piece_from_str(piece).unwrap().as_str().unwrap());
            }
            joined += joiner.end();
            assert_eq!(joined, text, "{pieces:?}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[\\\\u\"d8ce0é{}]{0,40}") {
            let _ = (from_str(&text), piece_from_str(&text));
        }
    }
}
