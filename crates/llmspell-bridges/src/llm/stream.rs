//! An answer handed to a script piece by piece.

use futures_util::StreamExt;
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

/// Calls `on_chunk` with each piece of text. Returning drops the stream, which closes its socket.
pub(super) async fn relay(cx: &Context, mut request: ChatRequest, on_chunk: &Callback) -> Result<Ending> {
    Selection::complete(cx, &mut request)?;
    let mut stream = cx.models().stream(request).await?;
    loop {
        let next = cx.cancellation().run_until_cancelled(stream.next()).await;
        match next.ok_or_else(Error::cancelled)?.transpose()? {
            Some(Delta::Text { text }) => match on_chunk.call(vec![Value::Str(text)]).await? {
                Value::Bool(false) => return Ok(Ending::Stopped(stream.text().to_owned())),
                Value::Str(reason) => return Err(stopped(reason, stream.text())),
                _ => {}
            },
            Some(Delta::Reasoning { .. }) => {}
            Some(Delta::End { reply }) => return Ok(Ending::Whole(reply)),
            None => return Err(Error::internal("a stream ended without an end")),
        }
    }
}

fn stopped(reason: String, partial: &str) -> Error {
    let mut error = Error::new(ErrorKind::Stopped, reason);
    error.call_mut().partial = Some(partial.to_owned());
    error
}
