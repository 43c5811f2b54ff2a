//! Response bodies: read whole, or streamed and recorded chunk by chunk.

use std::future::poll_fn;

use bytes::Bytes;
use futures_util::stream::{BoxStream, Stream, StreamExt};
use serde::{Deserialize, Serialize};

use super::redirect::ResponseHead;
use crate::capability::{HttpHead, MAX_BODY, body_bytes};
use crate::context::Context;
use crate::effect::{EffectRequest, Permit};
use crate::error::{Error, ErrorKind, Result};
use crate::gate::{Chunk, Chunks};
use crate::memory_reservation::MemoryReservation;

/// The maximum size of a streamed body, in bytes. It allows a large log file, but not an endless stream.
const MAX_STREAMED: u64 = 1024 * 1024 * 1024;

/// A body that is read whole.
pub(super) struct WholeBody {
    bytes: Vec<u8>,
    held: MemoryReservation,
}

impl WholeBody {
    /// Creates an empty body, whose size is charged to `held`.
    pub(super) fn new(held: MemoryReservation) -> Self {
        Self { bytes: Vec::new(), held }
    }

    /// Appends the next chunk.
    ///
    /// # Errors
    /// When the body exceeds [`MAX_BODY`] or the run's memory limit.
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

/// A chunk of a body, as recorded.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct BodyChunk(#[serde(with = "body_bytes")] Bytes);

impl Chunk for BodyChunk {
    /// Returns `false`: only the end of the connection's stream completes a body.
    fn is_last(&self) -> bool {
        false
    }
}

/// A response whose body is streamed. Dropping it closes the connection.
pub struct HttpStream {
    cx: Context,
    head: HttpHead,
    pieces: Chunks<BodyChunk>,
}

impl HttpStream {
    /// Opens a stream through the gate.
    pub(super) async fn open<F>(
        cx: &Context,
        ask: EffectRequest,
        live: impl FnOnce(Permit) -> F,
    ) -> Result<Self>
    where
        F: Future<Output = Result<ResponseHead>>,
    {
        let live = |permit| {
            let arriving = live(permit);
            async move {
                let ResponseHead { head, body } = arriving.await?;
                Ok((head, count(body).boxed()))
            }
        };
        let (head, pieces) = Chunks::open(cx, ask, live).await?;
        Ok(Self { cx: cx.clone(), head, pieces })
    }

    /// Returns status, URL and header fields.
    #[must_use]
    pub fn head(&self) -> &HttpHead {
        &self.head
    }

    /// Returns the next bytes of the body; `None` at its end. Bytes are read from the connection only on request.
    ///
    /// # Errors
    /// When the body is incomplete, or the run ends.
    pub async fn next(&mut self) -> Result<Option<Bytes>> {
        let cancellation = self.cx.cancellation().clone();
        let next = poll_fn(|task| self.pieces.poll(task));
        let piece = cancellation.run_until_cancelled(next).await.ok_or_else(Error::cancelled)?;
        Ok(piece.transpose()?.map(|piece| piece.0))
    }

    /// Reads the rest of the body.
    ///
    /// # Errors
    /// When it exceeds [`MAX_BODY`], or is incomplete.
    pub async fn rest(&mut self) -> Result<Bytes> {
        let mut whole = WholeBody::new(self.cx.hold(0)?);
        while let Some(piece) = self.next().await? {
            whole.push(&piece)?;
        }
        Ok(whole.into_bytes())
    }
}

/// Limits the total size of the chunks to [`MAX_STREAMED`].
fn count(body: BoxStream<'static, Result<Bytes>>) -> impl Stream<Item = Result<BodyChunk>> {
    let mut received = 0;
    body.map(move |piece| {
        let piece = piece?;
        received += piece.len() as u64;
        if received > MAX_STREAMED { Err(too_large(MAX_STREAMED)) } else { Ok(BodyChunk(piece)) }
    })
}

impl std::fmt::Debug for HttpStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HttpStream").field("head", &self.head).finish_non_exhaustive()
    }
}
