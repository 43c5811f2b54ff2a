//! Decodes bytes to text, at once or incrementally.

use bytes::Bytes;

/// Decodes bytes as UTF-8. Invalid sequences become U+FFFD. Valid UTF-8 is not copied.
pub(super) fn text_of(bytes: Bytes) -> String {
    String::from_utf8(bytes.into())
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

/// An incremental UTF-8 decoder: its output never splits a character.
#[derive(Debug, Default)]
pub(super) struct Utf8Decoder {
    /// The first bytes of an incomplete character; at most three.
    begun: Vec<u8>,
}

impl Utf8Decoder {
    /// Decodes more bytes, up to the last complete character.
    pub(super) fn push(&mut self, bytes: &[u8]) -> String {
        let mut joined = std::mem::take(&mut self.begun);
        joined.extend_from_slice(bytes);
        let mut text = String::with_capacity(joined.len());
        let mut chunks = joined.utf8_chunks().peekable();
        while let Some(chunk) = chunks.next() {
            text.push_str(chunk.valid());
            match chunk.invalid() {
                [] => {}
                begun if chunks.peek().is_none() && is_unfinished(begun) => self.begun = begun.to_vec(),
                _ => text.push(char::REPLACEMENT_CHARACTER),
            }
        }
        text
    }

    /// Returns the rest of the text at the end of the input.
    pub(super) fn rest(&mut self) -> String {
        String::from_utf8_lossy(&std::mem::take(&mut self.begun)).into_owned()
    }
}

/// Returns whether more bytes could complete a character.
fn is_unfinished(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_err_and(|error| error.error_len().is_none())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn however_bytes_are_cut_the_text_is_the_same(
            bytes in prop_oneof![
                any::<Vec<u8>>(),
                any::<String>().prop_map(String::into_bytes),
                prop::collection::vec(prop::sample::select(b"a\xe2\x82\xac\xf0\x9f\x98\x80\xff".to_vec()), 0..40),
            ],
            size in 1_usize..6,
        ) {
            let mut pieces = Utf8Decoder::default();
            let mut text: String = bytes.chunks(size).map(|piece| pieces.push(piece)).collect();
            text.push_str(&pieces.rest());
            prop_assert_eq!(&text, &String::from_utf8_lossy(&bytes));
            prop_assert_eq!(text_of(bytes.into()), text);
        }
    }

    #[test]
    fn a_character_waits_for_its_last_byte() {
        let mut pieces = Utf8Decoder::default();
        let texts: Vec<_> = "a€".as_bytes().iter().map(|byte| pieces.push(&[*byte])).collect();
        assert_eq!(texts, ["a", "", "", "€"]);
    }
}
