//! Streamed answers that a script reads part by part, in a loop.
//!
//! The script pulls: each step of the loop calls `Reading::next`. The request is sent at the first step. A reading
//! stops when it is dropped, when the script calls `stop`, or when the run ends.

use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use futures_util::future::{AbortHandle, Abortable};
use llmspell_core::chat::{ChatRequest, Reply};
use llmspell_core::gate::ReplyStream;
use llmspell_core::{Context, Error, ErrorKind, MemoryReservation, Result};

use super::stream::{self, StreamPart};
use llmspell_llm::weight;

/// A streamed answer. Dropping it stops the call.
#[derive(Debug)]
pub struct Reading(Mutex<Read>);

#[derive(Debug)]
struct Read {
    stage: ReadingStage,
    text: String,
    reply: Option<Reply>,
    /// The memory reservation for the request and the text.
    held: MemoryReservation,
}

#[derive(Debug)]
enum ReadingStage {
    /// The next part can be requested.
    Ready(PartSource),
    /// A step is waiting for the next part.
    Waiting(AbortHandle),
    Over,
}

/// The source of the next part.
#[derive(Debug)]
enum PartSource {
    /// The request, which is sent at the first step.
    Question(Box<ChatRequest>),
    Stream(Box<ReplyStream>),
}

/// Ends a reading whose step is dropped while it waits.
struct ReadingGuard<'a>(&'a Reading);

impl Drop for ReadingGuard<'_> {
    fn drop(&mut self) {
        let mut read = self.0.read();
        if matches!(read.stage, ReadingStage::Waiting(_)) {
            read.stage = ReadingStage::Over;
        }
    }
}

/// The live readings of a run.
#[derive(Default)]
struct Readings(Mutex<Vec<Weak<Reading>>>);

impl Readings {
    fn add(&self, reading: &Arc<Reading>) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() == known.capacity() {
            known.retain(|reading| reading.strong_count() > 0);
        }
        known.push(Arc::downgrade(reading));
    }
}

/// Stops all readings of a run. A VM may keep its objects longer than the run lasts.
pub(super) fn stop_all(cx: &Context) {
    let readings = mem::take(&mut *cx.state::<Readings>().0.lock().unwrap_or_else(PoisonError::into_inner));
    readings.iter().filter_map(Weak::upgrade).for_each(|reading| reading.stop());
}

impl Reading {
    pub(super) fn new(cx: &Context, request: ChatRequest) -> Result<Arc<Self>> {
        let held = cx.hold(weight(&request))?;
        let stage = ReadingStage::Ready(PartSource::Question(Box::new(request)));
        let reading = Arc::new(Self(Mutex::new(Read { stage, text: String::new(), reply: None, held })));
        cx.state::<Readings>().add(&reading);
        Ok(reading)
    }

    /// Waits for the next part of the text. Returns `None` at the end.
    pub(super) async fn next(&self, cx: &Context) -> Result<Option<String>> {
        let (handle, registration) = AbortHandle::new_pair();
        let stage = mem::replace(&mut self.read().stage, ReadingStage::Waiting(handle));
        let source = match stage {
            ReadingStage::Ready(source) => source,
            ReadingStage::Over => {
                self.read().stage = ReadingStage::Over;
                return Ok(None);
            }
            waiting @ ReadingStage::Waiting(_) => {
                self.read().stage = waiting;
                return Err(Error::new(
                    ErrorKind::Conflict,
                    "the next piece of this stream is waited for already",
                )
                .hint("one loop reads a stream; ask again for another one"));
            }
        };
        let _turn = ReadingGuard(self);
        let step = async {
            let mut stream = match source {
                PartSource::Question(request) => Box::new(stream::open(cx, *request).await?),
                PartSource::Stream(stream) => stream,
            };
            let piece = stream::piece(cx, &mut stream).await?;
            Ok::<_, Error>((stream, piece))
        };
        // `stop` was called while this step was waiting.
        let Ok(step) = Abortable::new(step, registration).await else { return Ok(None) };
        let (stream, piece) = step?;
        match piece {
            StreamPart::Text(text) => {
                let mut read = self.read();
                read.held.grow(text.len() as u64)?;
                read.text.push_str(&text);
                read.stage = ReadingStage::Ready(PartSource::Stream(stream));
                Ok(Some(text))
            }
            StreamPart::End(reply) => {
                let whole = llmspell_llm::text_of(&reply).map(drop);
                let mut read = self.read();
                // A closing tag may have turned text that had arrived into reasoning.
                if reply.reasoning.is_some() {
                    read.text.clone_from(&reply.text);
                }
                read.reply = Some(*reply);
                whole.map(|()| None)
            }
        }
    }

    /// Stops the call. A step that is waiting returns `None`.
    pub(super) fn stop(&self) {
        let stage = mem::replace(&mut self.read().stage, ReadingStage::Over);
        if let ReadingStage::Waiting(handle) = stage {
            handle.abort();
        }
    }

    pub(super) fn text(&self) -> String {
        self.read().text.clone()
    }

    pub(super) fn reply(&self) -> Option<Reply> {
        self.read().reply.clone()
    }

    fn read(&self) -> MutexGuard<'_, Read> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
