//! Streamed answers whose parts are passed to a callback.

use futures_util::StreamExt;
use llmspell_core::chat::{ChatRequest, Delta, Reply};
use llmspell_core::gate::ReplyStream;
use llmspell_core::{Callback, Context, Error, ErrorKind, Result, Value};

use super::selection::Selection;

/// How a stream ended without an error.
pub(super) enum Ending {
    /// The answer is complete.
    Whole(Box<Reply>),
    /// The callback stopped the stream; this is the text received so far.
    Stopped(String),
}

/// A part of a stream as a script receives it.
pub(super) enum StreamPart {
    Text(String),
    End(Box<Reply>),
}

/// Calls `on_chunk` with each part of the text. Returning drops the stream, which closes its connection.
pub(super) async fn relay(cx: &Context, request: ChatRequest, on_chunk: &Callback) -> Result<Ending> {
    let mut stream = open(cx, request).await?;
    loop {
        match piece(cx, &mut stream).await? {
            StreamPart::Text(text) => match on_chunk.call(vec![Value::Str(text)]).await? {
                Value::Bool(false) => return Ok(Ending::Stopped(stream.text().to_owned())),
                Value::Str(reason) => return Err(stopped(reason, stream.text())),
                _ => {}
            },
            StreamPart::End(reply) => return Ok(Ending::Whole(reply)),
        }
    }
}

pub(super) async fn open(cx: &Context, mut request: ChatRequest) -> Result<ReplyStream> {
    Selection::complete(cx, &mut request)?;
    cx.models().stream(request).await
}

/// Waits for the next part of the text, or the end.
pub(super) async fn piece(cx: &Context, stream: &mut ReplyStream) -> Result<StreamPart> {
    loop {
        let next = cx.cancellation().run_until_cancelled(stream.next()).await;
        match next.ok_or_else(Error::cancelled)?.transpose()? {
            Some(Delta::Text { text }) => return Ok(StreamPart::Text(text)),
            Some(Delta::Reasoning { .. }) => {}
            Some(Delta::End { reply }) => return Ok(StreamPart::End(reply)),
            None => return Err(Error::internal("a stream ended without an end")),
        }
    }
}

fn stopped(reason: String, partial: &str) -> Error {
    let mut error = Error::new(ErrorKind::Stopped, reason);
    error.call_mut().partial = Some(partial.to_owned());
    error
}
