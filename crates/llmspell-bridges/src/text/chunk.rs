//! Splits a text into chunks that fit a model.
//!
//! Each chunk is as long as allowed and ends at the best boundary within reach: a paragraph, else a line, a sentence,
//! a word, and only then between two characters. The reach is found by binary search, so that each part of the text
//! is counted a few times only.

use std::ops::Range;

use llmspell_core::{Error, Meter, Result};
use schemars::JsonSchema;
use serde::Deserialize;
use unicode_segmentation::UnicodeSegmentation;

/// The unit in which chunks are measured.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Tokens, as `llm.count_tokens` counts them.
    #[default]
    Tokens,
    /// Characters.
    Chars,
    /// Words, separated by white space.
    Words,
}

/// Options for splitting a text.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ChunkOptions {
    /// The maximum size of a chunk; 512 by default.
    pub size: Option<u64>,
    /// The maximum overlap of a chunk with the next one; at most half of `size`.
    pub overlap: u64,
    /// The unit of `size` and `overlap`: `tokens`, `chars` or `words`.
    pub by: Unit,
}

/// The default size of a chunk.
const SIZE: u64 = 512;

/// The first guess of the bytes per unit.
const BYTES_A_UNIT: usize = 4;

/// The maximum size of a grapheme cluster that is kept together, in bytes. Longer clusters do not occur in real text.
const MAX_CLUSTER: usize = 128;

/// A function that counts the units of a text.
pub(super) type Measure<'a> = Box<dyn Fn(&str) -> Result<u64> + 'a>;

/// Splits texts into chunks of a given size and overlap.
pub(super) struct Chunker<'a> {
    measure: Measure<'a>,
    meter: &'a Meter,
    size: u64,
    overlap: u64,
}

impl<'a> Chunker<'a> {
    /// # Errors
    /// Returns an error when the size is 0, or the overlap is more than half of it.
    pub(super) fn new(options: &ChunkOptions, meter: &'a Meter, measure: Measure<'a>) -> Result<Self> {
        let size = options.size.unwrap_or(SIZE);
        let wrong = |what: String| Error::argument(format!("argument 2 (`options`): {what}"));
        if size == 0 {
            return Err(wrong("`size` is at least 1".into()));
        }
        if options.overlap > size / 2 {
            return Err(wrong(format!(
                "`overlap` is at most half of `size`, which is {size}; found {}",
                options.overlap
            )));
        }
        Ok(Self { measure, meter, size, overlap: options.overlap })
    }

    /// Returns the ranges of the chunks. Each begins where the one before ends, or earlier by the overlap.
    ///
    /// # Errors
    /// Returns an error when a single character exceeds the size, or a limit of the run is reached.
    pub(super) fn pieces(&self, text: &str) -> Result<Vec<Range<usize>>> {
        let mut pieces = Vec::new();
        let (mut start, mut end) = (0, 0);
        let mut guess = usize::try_from(self.size).unwrap_or(usize::MAX).saturating_mul(BYTES_A_UNIT);
        while end < text.len() {
            self.meter.check()?;
            let reach = start + self.longest(&text[start..], self.size, guess)?;
            if reach <= end {
                return Err(Error::argument(
                    "argument 2 (`options`): `size` is less than a single character of the text takes",
                ));
            }
            guess = reach - start;
            end = best_end(text, end, reach);
            pieces.push(start..end);
            self.meter.allow_memory((pieces.len() * size_of::<Range<usize>>()) as u64)?;
            start = if end < text.len() { self.begin_next(text, start, end)? } else { end };
        }
        Ok(pieces)
    }

    /// Returns the length in bytes of the longest prefix that measures at most `most`.
    fn longest(&self, text: &str, most: u64, guess: usize) -> Result<usize> {
        let mut low = 0;
        let mut high = text.ceil_char_boundary(guess.max(1).min(text.len()));
        while self.fits(&text[..high], most)? {
            low = high;
            if high == text.len() {
                return Ok(high);
            }
            high = text.ceil_char_boundary(high.saturating_mul(2).min(text.len()));
        }
        // Invariant: the prefix that ends at `low` fits, and the one that ends at `high` does not.
        loop {
            let middle = text.ceil_char_boundary(low + (high - low) / 2);
            let middle = if middle >= high { text.floor_char_boundary(high - 1) } else { middle };
            if middle <= low {
                return Ok(low);
            }
            if self.fits(&text[..middle], most)? { low = middle } else { high = middle }
        }
    }

    fn fits(&self, text: &str, most: u64) -> Result<bool> {
        Ok((self.measure)(text)? <= most)
    }

    /// Returns where the chunk after `start..end` begins: at a word, so that the repeated part fits the overlap.
    fn begin_next(&self, text: &str, start: usize, end: usize) -> Result<usize> {
        if self.overlap == 0 {
            return Ok(end);
        }
        let piece = &text[start..end];
        let (mut low, mut high) = (0, piece.len());
        // Invariant: the suffix that begins at `high` fits the overlap; the one that begins at `low` may not.
        while low < high {
            let middle = piece.floor_char_boundary(low + (high - low) / 2);
            if self.fits(&piece[middle..], self.overlap)? {
                high = middle;
            } else {
                low = piece.ceil_char_boundary(middle + 1);
            }
        }
        let begins = |at: usize| at == 0 || piece[..at].ends_with(char::is_whitespace);
        let word = piece[high..].char_indices().map(|(at, _)| high + at).find(|at| begins(*at));
        Ok(start + word.unwrap_or(piece.len()))
    }
}

/// Returns the best end of a chunk, after `from` and not after `reach`.
fn best_end(text: &str, from: usize, reach: usize) -> usize {
    if reach == text.len() {
        return reach;
    }
    let (mut paragraph, mut line, mut sentence, mut word) = (None, None, None, None);
    // For the current run of white space: the number of its line ends, and the last character before it.
    let (mut lines, mut before) = (0, None);
    let mut letters = text[from..].char_indices().peekable();
    while let Some((at, letter)) = letters.next().filter(|(at, _)| from + at < reach) {
        let end = from + at + letter.len_utf8();
        let next = letters.peek().map(|(_, next)| *next);
        if !letter.is_whitespace() {
            (lines, before) = (0, Some(letter));
            if matches!(letter, '。' | '！' | '？') {
                sentence = Some(end);
            }
            continue;
        }
        if letter == '\n' {
            lines += 1;
            line = Some(end);
            if lines > 1 && next != Some('\n') {
                paragraph = Some(end);
            }
        }
        if next.is_some_and(|next| !next.is_whitespace()) {
            word = Some(end);
            if matches!(before, Some('.' | '!' | '?' | '…' | ':' | ';')) {
                sentence = Some(end);
            }
        }
    }
    paragraph.or(line).or(sentence).or(word).unwrap_or_else(|| cluster_end(text, from, reach))
}

/// Returns the last boundary of a grapheme cluster that is not after `reach`.
fn cluster_end(text: &str, from: usize, reach: usize) -> usize {
    let beyond = text.floor_char_boundary(text.len().min(reach + MAX_CLUSTER));
    let before = text.ceil_char_boundary(from.max(reach.saturating_sub(MAX_CLUSTER)));
    let ends = text[before..beyond].grapheme_indices(true).rev().map(|(at, _)| before + at);
    ends.into_iter().find(|at| *at <= reach && *at > before).unwrap_or(reach)
}

#[cfg(test)]
mod tests {
    use llmspell_core::Context;
    use proptest::prelude::*;

    use super::*;

    fn cut(text: &str, size: u64, overlap: u64) -> Vec<Range<usize>> {
        let cx = Context::builder().build();
        let options = ChunkOptions { size: Some(size), overlap, by: Unit::Chars };
        let chunker =
            Chunker::new(&options, cx.meter(), Box::new(|text| Ok(text.chars().count() as u64))).unwrap();
        chunker.pieces(text).unwrap()
    }

    #[test]
    fn a_piece_ends_where_the_text_does_best() {
        for (text, size, pieces) in [
            ("", 5, &[][..]),
            ("short", 5, &["short"]),
            ("one\n\ntwo three. four", 16, &["one\n\n", "two three. four"]),
            ("one two\nthree four", 14, &["one two\n", "three four"]),
            ("One. Two three four", 12, &["One. ", "Two three ", "four"]),
            ("one two three", 9, &["one two ", "three"]),
            ("abcdefgh", 3, &["abc", "def", "gh"]),
            ("一二。三四五", 4, &["一二。", "三四五"]),
            ("aé👍🏽b", 3, &["aé", "👍🏽b"]),
            ("a \n \n b", 5, &["a \n \n", " b"]),
        ] {
            let found: Vec<&str> = cut(text, size, 0).into_iter().map(|piece| &text[piece]).collect();
            assert_eq!(found, pieces, "{text:?}");
        }
    }

    #[test]
    fn pieces_overlap_by_whole_words() {
        let text = "one two three four five six";
        let found: Vec<&str> = cut(text, 14, 6).into_iter().map(|piece| &text[piece]).collect();
        assert_eq!(found, ["one two three ", "three four ", "four five six"]);
    }

    proptest! {
        #[test]
        fn pieces_fit_and_give_the_text_back(
            text in "([a-c.é漢👍🏽]{0,9}[ \n]{0,3}){0,40}",
            size in 1_u64..40,
            overlap in 0_u64..20,
        ) {
            let overlap = overlap.min(size / 2);
            let pieces = cut(&text, size, overlap);
            let mut end = 0;
            for piece in &pieces {
                prop_assert!(piece.start <= end && end < piece.end);
                prop_assert!(text[piece.clone()].chars().count() as u64 <= size);
                prop_assert!(text[piece.start..end].chars().count() as u64 <= overlap);
                end = piece.end;
            }
            prop_assert_eq!(end, text.len());
        }
    }
}
