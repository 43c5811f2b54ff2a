//! An answer handed to a script piece by piece.

use futures_util::StreamExt;
use llmspell_core::capability::ReplyStream;
use llmspell_core::chat::{ChatRequest, Delta, Reply};
use llmspell_core::{Callback, Context, Error, ErrorKind, Result, Value};

use super::selection::Selection;

/// How a stream ended that did not fail.
pub(super) enum Ending {
    /// With the whole answer.
    Whole(Box<Reply>),
    /// With this much text, when the script had enough.
    Stopped(String),
}

/// What a script is told of a stream.
pub(super) enum Piece {
    Text(String),
    End(Box<Reply>),
}

/// Calls `on_chunk` with each piece of text. Returning drops the stream, which closes its socket.
pub(super) async fn relay(cx: &Context, request: ChatRequest, on_chunk: &Callback) -> Result<Ending> {
    let mut stream = open(cx, request).await?;
    loop {
        match piece(cx, &mut stream).await? {
            Piece::Text(text) => match on_chunk.call(vec![Value::Str(text)]).await? {
                Value::Bool(false) => return Ok(Ending::Stopped(stream.text().to_owned())),
                Value::Str(reason) => return Err(stopped(reason, stream.text())),
                _ => {}
            },
            Piece::End(reply) => return Ok(Ending::Whole(reply)),
        }
    }
}

pub(super) async fn open(cx: &Context, mut request: ChatRequest) -> Result<ReplyStream> {
    Selection::complete(cx, &mut request)?;
    cx.models().stream(request).await
}

/// Waits for the next piece of text, or the end.
pub(super) async fn piece(cx: &Context, stream: &mut ReplyStream) -> Result<Piece> {
    loop {
        let next = cx.cancellation().run_until_cancelled(stream.next()).await;
        match next.ok_or_else(Error::cancelled)?.transpose()? {
            Some(Delta::Text { text }) => return Ok(Piece::Text(text)),
            Some(Delta::Reasoning { .. }) => {}
            Some(Delta::End { reply }) => return Ok(Piece::End(reply)),
            None => return Err(Error::internal("a stream ended without an end")),
        }
    }
}

fn stopped(reason: String, partial: &str) -> Error {
    let mut error = Error::new(ErrorKind::Stopped, reason);
    error.call_mut().partial = Some(partial.to_owned());
    error
}
