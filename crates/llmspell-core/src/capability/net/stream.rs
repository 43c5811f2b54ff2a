//! Bodies: taken in whole, or handed out piece by piece and written down.

use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt};
use serde::{Deserialize, Serialize};

use super::journey::Arrived;
use super::{HttpHead, MAX_BODY};
use crate::context::Context;
use crate::convert::from_value;
use crate::effect::{Ask, EntryId, Lookup, Permit};
use crate::error::{Error, ErrorKind, Result};
use crate::held::Held;

/// The most bytes of a body that is handed out in pieces: what a day's log has, and not what never ends.
const MAX_STREAMED: u64 = 1024 * 1024 * 1024;

/// A body that is taken in whole.
pub(super) struct Whole {
    bytes: Vec<u8>,
    held: Held,
}

impl Whole {
    /// Nothing of it yet; what comes is counted with what is held.
    pub(super) fn new(held: Held) -> Self {
        Self { bytes: Vec::new(), held }
    }

    /// Takes in the next piece.
    ///
    /// # Errors
    /// When there is too much of it, for here or for the run's memory.
    pub(super) fn push(&mut self, piece: &[u8]) -> Result<()> {
        if self.bytes.len() + piece.len() > MAX_BODY {
            return Err(too_large(MAX_BODY as u64)
                .hint("read it piece by piece with `on_chunk`, or ask for less of it"));
        }
        self.held.grow(piece.len() as u64)?;
        self.bytes.extend_from_slice(piece);
        Ok(())
    }

    pub(super) fn into_bytes(self) -> Bytes {
        self.bytes.into()
    }
}

fn too_large(most: u64) -> Error {
    Error::new(ErrorKind::BadResponse, format!("the answer is larger than {} MB", most / (1024 * 1024)))
}

/// An answer whose body comes in pieces. Dropping it closes the connection.
pub struct HttpStream {
    cx: Context,
    head: HttpHead,
    pieces: BoxStream<'static, Result<Bytes>>,
    received: u64,
    /// What the journal wants to know in the end, where it keeps anything.
    recording: Option<Recording>,
}

struct Recording {
    entry: EntryId,
    record: Record,
    held: Held,
}

/// What a stream came to, as the journal keeps it: all that the script has seen of it.
#[derive(Debug, Serialize, Deserialize)]
struct Record {
    head: HttpHead,
    pieces: Vec<Piece>,
    #[serde(default)]
    error: Option<Error>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Piece(#[serde(with = "data")] Bytes);

impl HttpStream {
    /// Opens a stream through the gate.
    pub(super) async fn open<F>(cx: &Context, ask: Ask, live: impl FnOnce(Permit) -> F) -> Result<Self>
    where
        F: Future<Output = Result<Arrived>>,
    {
        let (entry, permit) = match cx.begin(ask)? {
            (Lookup::Recorded(answer), _) => {
                let Record { head, pieces, error } = from_value(answer?)?;
                let pieces = pieces.into_iter().map(|piece| Ok(piece.0)).chain(error.map(Err));
                let pieces = stream::iter(pieces).boxed();
                return Ok(Self { cx: cx.clone(), head, pieces, received: 0, recording: None });
            }
            (Lookup::Live(entry), permit) => (entry, permit),
        };
        match cx.until_cancelled(live(permit)).await {
            Ok(Arrived { head, body }) => {
                let recording = match cx.journal_keeps() {
                    true => {
                        let record = Record { head: head.clone(), pieces: Vec::new(), error: None };
                        Some(Recording { entry, record, held: cx.hold(0)? })
                    }
                    false => None,
                };
                Ok(Self { cx: cx.clone(), head, pieces: body, received: 0, recording })
            }
            Err(error) => {
                cx.record::<Record>(entry, &Err(error.clone()))?;
                Err(error)
            }
        }
    }

    /// What came before the body.
    #[must_use]
    pub fn head(&self) -> &HttpHead {
        &self.head
    }

    /// The next bytes of the body; `None` at its end. What has not been asked for is left in the connection.
    ///
    /// # Errors
    /// When the body does not come to its end, or the run ends meanwhile.
    pub async fn next(&mut self) -> Result<Option<Bytes>> {
        let next = self.cx.cancellation().run_until_cancelled(self.pieces.next()).await;
        match next.ok_or_else(Error::cancelled)?.transpose().and_then(|piece| self.count(piece)) {
            Ok(Some(piece)) => Ok(Some(piece)),
            Ok(None) => self.finish(None).map(|()| None),
            Err(error) => {
                self.finish(Some(error.clone()))?;
                Err(error)
            }
        }
    }

    /// Takes in the rest of the body.
    ///
    /// # Errors
    /// When it is larger than is taken in whole, or does not come to its end.
    pub async fn rest(&mut self) -> Result<Bytes> {
        let mut whole = Whole::new(self.cx.hold(0)?);
        while let Some(piece) = self.next().await? {
            whole.push(&piece)?;
        }
        Ok(whole.into_bytes())
    }

    fn count(&mut self, piece: Option<Bytes>) -> Result<Option<Bytes>> {
        let Some(piece) = piece else { return Ok(None) };
        self.received += piece.len() as u64;
        if self.received > MAX_STREAMED {
            return Err(too_large(MAX_STREAMED));
        }
        if let Some(recording) = &mut self.recording {
            recording.held.grow(piece.len() as u64)?;
            recording.record.pieces.push(Piece(piece.clone()));
        }
        Ok(Some(piece))
    }

    fn finish(&mut self, error: Option<Error>) -> Result<()> {
        self.pieces = stream::empty().boxed();
        match self.recording.take() {
            Some(mut recording) => {
                recording.record.error = error;
                self.cx.record(recording.entry, &Ok(recording.record))
            }
            None => Ok(()),
        }
    }
}

impl Drop for HttpStream {
    fn drop(&mut self) {
        // The script had enough: what it has seen is what the stream came to. A journal that cannot be written says so
        // at the next effect.
        let _ = self.finish(None);
    }
}

impl std::fmt::Debug for HttpStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HttpStream").field("head", &self.head).finish_non_exhaustive()
    }
}

/// Bytes in the journal: as text where they are text.
pub(super) mod data {
    use std::fmt;

    use bytes::Bytes;
    use serde::de::{Error, SeqAccess, Visitor};
    use serde::{Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(bytes: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(bytes) {
            Ok(text) => serializer.serialize_str(text),
            Err(_) => serializer.serialize_bytes(bytes),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
        struct Data;

        impl<'de> Visitor<'de> for Data {
            type Value = Bytes;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("text or bytes")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Bytes, E> {
                Ok(Bytes::copy_from_slice(text.as_bytes()))
            }

            fn visit_string<E: Error>(self, text: String) -> Result<Bytes, E> {
                Ok(text.into())
            }

            fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Bytes, E> {
                Ok(Bytes::copy_from_slice(bytes))
            }

            fn visit_byte_buf<E: Error>(self, bytes: Vec<u8>) -> Result<Bytes, E> {
                Ok(bytes.into())
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Bytes, A::Error> {
                let mut bytes = Vec::new();
                while let Some(byte) = items.next_element()? {
                    bytes.push(byte);
                }
                Ok(bytes.into())
            }
        }

        deserializer.deserialize_any(Data)
    }
}
