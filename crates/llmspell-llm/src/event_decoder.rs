//! Decodes the bytes of a streamed answer into events: server-sent events (SSE) or newline-delimited JSON (NDJSON).
//!
//! The decoder works on bytes, so the result does not depend on how the network splits them. A character, a line end or
//! an event can arrive in any number of packets.

use std::borrow::Cow;

use llmspell_core::{Error, ErrorKind, Result};

/// The maximum size in bytes of one event.
const MAX_FRAME: usize = 16 << 20;

/// The format of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StreamFormat {
    /// Server-sent events.
    Events,
    /// One JSON value per line.
    Lines,
}

impl StreamFormat {
    /// Returns the MIME type of the format.
    pub(crate) fn mime(self) -> &'static str {
        match self {
            Self::Events => "text/event-stream",
            Self::Lines => "application/x-ndjson",
        }
    }

    /// Whether a body begins like a stream of this format.
    pub(crate) fn begins(self, body: &[u8]) -> bool {
        let beginnings: &[&[u8]] = match self {
            Self::Events => &[b"data:", b"event:", b"id:", b":"],
            Self::Lines => &[b"{"],
        };
        let body = body.trim_ascii_start();
        beginnings.iter().any(|beginning| body.starts_with(beginning))
    }

    /// Whether a MIME type names this format. A missing type is accepted.
    pub(crate) fn is_named(self, content_type: &str) -> bool {
        match self {
            Self::Events => matches!(content_type, "" | "text/event-stream"),
            Self::Lines => content_type.is_empty() || content_type.ends_with("json"),
        }
    }
}

/// One event of a stream.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct StreamEvent {
    /// The event's position in the stream, counted from 1.
    pub(crate) number: u64,
    /// The event's name; empty if it has none.
    pub(crate) event: String,
    /// The event's data. Bytes that are not UTF-8 are replaced by U+FFFD.
    pub(crate) data: String,
}

/// A decoder that takes bytes as they arrive and returns events as they end.
#[derive(Debug)]
pub(crate) struct EventDecoder {
    format: StreamFormat,
    buffer: Vec<u8>,
    /// The start of the unread part of the buffer.
    read: usize,
    /// The end of the part that was searched for a line end.
    searched: usize,
    at_start: bool,
    event: String,
    data: Option<Vec<u8>>,
    count: u64,
}

impl EventDecoder {
    pub(crate) fn new(format: StreamFormat) -> Self {
        Self {
            format,
            buffer: Vec::new(),
            read: 0,
            searched: 0,
            at_start: true,
            event: String::new(),
            data: None,
            count: 0,
        }
    }

    /// Adds bytes. The caller must then take all complete events with [`next`](Self::next) before it adds more.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.read);
        self.searched -= self.read;
        self.read = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// Returns the next complete event, if there is one.
    ///
    /// # Errors
    /// When a line is malformed, or an event is too large.
    pub(crate) fn next(&mut self) -> Result<Option<StreamEvent>> {
        while let Some((from, to)) = self.line() {
            if let Some(frame) = self.take(from, to)? {
                return Ok(Some(frame));
            }
        }
        if self.buffer.len() - self.read > MAX_FRAME {
            return Err(self.too_large());
        }
        Ok(None)
    }

    /// Returns the last event when the stream has ended without terminating it.
    ///
    /// # Errors
    /// As [`next`](Self::next).
    pub(crate) fn rest(&mut self) -> Result<Option<StreamEvent>> {
        let (from, to) = (self.read, self.buffer.len());
        self.read = to;
        self.searched = to;
        // A CR at the end is a line end, since no LF follows.
        let to = if to > from && self.buffer[to - 1] == b'\r' { to - 1 } else { to };
        if to > from
            && let Some(frame) = self.take(from, to)?
        {
            return Ok(Some(frame));
        }
        Ok(self.dispatch())
    }

    /// Returns the bounds of the next complete line without its end, which is CR, LF or CRLF.
    fn line(&mut self) -> Option<(usize, usize)> {
        let ends = |byte: &u8| matches!(byte, b'\n' | b'\r');
        let end =
            self.searched + self.buffer[self.searched..].iter().position(ends).unwrap_or(usize::MAX >> 1);
        if end >= self.buffer.len() {
            self.searched = self.buffer.len();
            return None;
        }
        let after = match (self.buffer[end], self.buffer.get(end + 1)) {
            // The next byte is not known yet: it may be the LF of a CRLF.
            (b'\r', None) => {
                self.searched = end;
                return None;
            }
            (b'\r', Some(b'\n')) => end + 2,
            _ => end + 1,
        };
        let from = self.read;
        self.read = after;
        self.searched = after;
        Some((from, end))
    }

    fn take(&mut self, from: usize, to: usize) -> Result<Option<StreamEvent>> {
        const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
        let mut line = &self.buffer[from..to];
        if std::mem::take(&mut self.at_start) {
            line = line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line);
        }
        match self.format {
            StreamFormat::Lines => {
                if line.iter().all(u8::is_ascii_whitespace) {
                    return Ok(None);
                }
                self.data = Some(line.to_vec());
                Ok(self.dispatch())
            }
            StreamFormat::Events if line.is_empty() => Ok(self.dispatch()),
            StreamFormat::Events => {
                let line = line.to_vec();
                self.field(&line)?;
                Ok(None)
            }
        }
    }

    fn field(&mut self, line: &[u8]) -> Result<()> {
        let (name, value) = match line.iter().position(|byte| *byte == b':') {
            Some(colon) => (&line[..colon], &line[colon + 1..]),
            None => (line, &b""[..]),
        };
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match name {
            b"data" => {
                match &mut self.data {
                    Some(data) => {
                        data.push(b'\n');
                        data.extend_from_slice(value);
                    }
                    none => *none = Some(value.to_vec()),
                }
                if self.data.as_ref().is_some_and(|data| data.len() > MAX_FRAME) {
                    return Err(self.too_large());
                }
            }
            b"event" => self.event = String::from_utf8_lossy(value).into_owned(),
            // The SSE standard ignores unknown fields. But a line without a colon is a sign of damage.
            _ if name.len() == line.len() && !matches!(name, b"id" | b"retry") => {
                let message = format!("chunk {} of the stream has a line that is no field", self.count + 1);
                return Err(Error::new(ErrorKind::BadStream, message));
            }
            _ => {}
        }
        Ok(())
    }

    fn dispatch(&mut self) -> Option<StreamEvent> {
        let event = std::mem::take(&mut self.event);
        let data = self.data.take()?;
        self.count += 1;
        let data = match String::from_utf8_lossy(&data) {
            Cow::Borrowed(_) => String::from_utf8(data).unwrap_or_default(),
            Cow::Owned(repaired) => repaired,
        };
        Some(StreamEvent { number: self.count, event, data })
    }

    fn too_large(&self) -> Error {
        let number = self.count + 1;
        Error::new(ErrorKind::BadStream, format!("chunk {number} of the stream is larger than 16 MiB"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Decodes a stream that arrives in these pieces. Each event is `event|data`.
    fn read(format: StreamFormat, pieces: &[&[u8]]) -> Result<Vec<String>> {
        let mut decoder = EventDecoder::new(format);
        let mut seen = Vec::new();
        for piece in pieces {
            decoder.push(piece);
            while let Some(frame) = decoder.next()? {
                seen.push(format!("{}|{}", frame.event, frame.data));
            }
        }
        if let Some(frame) = decoder.rest()? {
            seen.push(format!("{}|{}", frame.event, frame.data));
        }
        Ok(seen)
    }

    #[test]
    fn events_are_the_same_wherever_the_bytes_were_split() {
        for (stream, expected) in [
            ("data: a\n\ndata: b\n\n", vec!["|a", "|b"]),
            ("data:a\r\n\r\ndata: b\r\n\r\n", vec!["|a", "|b"]),
            ("data: a\r\rdata: b\r\r", vec!["|a", "|b"]),
            ("data: a\r\n\ndata: b\n\r\n", vec!["|a", "|b"]),
            ("event: ping\ndata: {}\n\n: comment\n\n", vec!["ping|{}"]),
            ("data: one\ndata: two\n\n", vec!["|one\ntwo"]),
            ("\u{feff}data: a\n\n", vec!["|a"]),
            ("data: grüße 你好 🦀\n\n", vec!["|grüße 你好 🦀"]),
            ("id: 7\nretry: 10\nfoo: bar\ndata\n\n", vec!["|"]),
            ("data: unterminated", vec!["|unterminated"]),
            ("data: unterminated\r", vec!["|unterminated"]),
            ("event: lonely\n\n", vec![]),
            ("", vec![]),
        ] {
            let bytes = stream.as_bytes();
            for at in 0..=bytes.len() {
                let seen = read(StreamFormat::Events, &[&bytes[..at], &bytes[at..]]).unwrap();
                assert_eq!(seen, expected, "{stream:?} split at {at}");
            }
            let single: Vec<&[u8]> = bytes.chunks(1).collect();
            assert_eq!(read(StreamFormat::Events, &single).unwrap(), expected, "{stream:?} byte by byte");
        }
    }

    #[test]
    fn lines_are_the_same_wherever_the_bytes_were_split() {
        let bytes = "{\"a\":\"é\"}\r\n\n{\"b\":1}".as_bytes();
        for at in 0..=bytes.len() {
            let seen = read(StreamFormat::Lines, &[&bytes[..at], &bytes[at..]]).unwrap();
            assert_eq!(seen, ["|{\"a\":\"é\"}", "|{\"b\":1}"], "split at {at}");
        }
    }

    #[test]
    fn a_byte_that_is_not_utf8_becomes_one_replacement_character() {
        assert_eq!(read(StreamFormat::Events, &[b"data: a\xffb\n\n"]).unwrap(), ["|a\u{fffd}b"]);
    }

    #[test]
    fn a_line_that_is_no_field_is_named() {
        let error = read(StreamFormat::Events, &[b"data: a\n\ngarbage\n\n"]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BadStream);
        assert_eq!(error.to_string(), "chunk 2 of the stream has a line that is no field");
    }

    #[test]
    fn a_frame_without_end_is_refused() {
        let piece = vec![b'x'; 1 << 20];
        let mut decoder = EventDecoder::new(StreamFormat::Events);
        decoder.push(b"data: ");
        let mut result = Ok(None);
        for _ in 0..17 {
            decoder.push(&piece);
            result = decoder.next();
        }
        assert_eq!(result.unwrap_err().to_string(), "chunk 1 of the stream is larger than 16 MiB");
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..10)) {
            let pieces: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
            let _ = read(StreamFormat::Events, &pieces);
            let _ = read(StreamFormat::Lines, &pieces);
        }
    }
}
