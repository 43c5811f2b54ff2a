//! The transcript of a conversation or of an agent, and the lock that allows one turn at a time.
//!
//! A transcript counts against the run's memory limit, together with the copies that a turn makes of it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use llmspell_core::chat::{ChatRequest, Message};
use llmspell_core::{Context, Error, ErrorKind, MemoryReservation, Result};
use serde::Serialize;

/// A transcript: the messages of a conversation, counted against the run's memory limit. At most one turn is active.
#[derive(Debug)]
pub struct Transcript {
    /// The owner in error messages: "conversation" or "agent".
    what: &'static str,
    /// The size in bytes of the rest of each request.
    beside: u64,
    said: Mutex<TranscriptMessages>,
}

#[derive(Debug)]
struct TranscriptMessages {
    messages: Vec<Message>,
    answering: bool,
    /// The memory reservation for the messages and the rest of the request.
    held: MemoryReservation,
}

impl Transcript {
    /// Creates a transcript from the messages of a request, which are taken out of it. `what` names the owner in
    /// errors: "conversation" or "agent".
    ///
    /// # Errors
    /// When the messages exceed the run's memory limit.
    pub fn new(cx: &Context, what: &'static str, request: &mut ChatRequest) -> Result<Self> {
        let messages = std::mem::take(&mut request.messages);
        let beside = weight(request);
        let held = cx.hold(beside + messages.iter().map(weight).sum::<u64>())?;
        Ok(Self { what, beside, said: Mutex::new(TranscriptMessages { messages, answering: false, held }) })
    }

    /// Begins a turn, and reserves memory for its copies of the transcript.
    ///
    /// # Errors
    /// `conflict` when another turn is active, and an error when the copies exceed the run's memory limit.
    pub fn turn(&self) -> Result<TurnGuard<'_>> {
        let mut said = self.said();
        if said.answering {
            let message = format!("this {} is still answering", self.what);
            return Err(Error::new(ErrorKind::Conflict, message)
                .hint("wait for its answer, or ask on a `fork()` of it"));
        }
        let under_way = said.held.copies(COPIES)?;
        said.answering = true;
        Ok(TurnGuard { history: self, _under_way: under_way })
    }

    /// Creates a second transcript with the same messages.
    ///
    /// # Errors
    /// When the copy exceeds the run's memory limit.
    pub fn fork(&self) -> Result<Self> {
        let held = self.said().held.copies(1)?;
        let said = TranscriptMessages { messages: self.list(), answering: false, held };
        Ok(Self { what: self.what, beside: self.beside, said: Mutex::new(said) })
    }

    /// Returns a copy of the messages, oldest first.
    #[must_use]
    pub fn list(&self) -> Vec<Message> {
        self.said().messages.clone()
    }

    fn said(&self) -> MutexGuard<'_, TranscriptMessages> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A turn copies the transcript into the request, for the gate, and for the wire.
const COPIES: u64 = 3;

/// Returns the approximate size in bytes of a message or a request: that of its JSON text.
#[must_use]
pub fn weight(value: &impl Serialize) -> u64 {
    const BLOCK: u64 = size_of::<Message>() as u64;
    struct ByteCounter(u64);
    impl std::io::Write for ByteCounter {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 += bytes.len() as u64;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut length = ByteCounter(BLOCK);
    // Writing to the counter cannot fail. A value that JSON cannot represent is rejected when it is sent.
    let _ = serde_json::to_writer(&mut length, value);
    length.0
}

/// The lock of an active turn. Dropping it allows the next turn.
#[derive(Debug)]
pub struct TurnGuard<'a> {
    history: &'a Transcript,
    _under_way: MemoryReservation,
}

impl TurnGuard<'_> {
    /// Appends messages to the transcript.
    ///
    /// # Errors
    /// When they exceed the run's memory limit.
    pub fn add(&self, messages: impl IntoIterator<Item = Message>) -> Result<()> {
        let mut said = self.history.said();
        for message in messages {
            said.held.grow(weight(&message))?;
            said.messages.push(message);
        }
        Ok(())
    }

    /// Replaces all messages of the transcript.
    ///
    /// # Errors
    /// When the new messages exceed the run's memory limit.
    pub fn replace(&self, messages: Vec<Message>) -> Result<()> {
        let mut said = self.history.said();
        let mut held = said.held.copies(0)?;
        held.grow(self.history.beside + messages.iter().map(weight).sum::<u64>())?;
        said.held = held;
        said.messages = messages;
        Ok(())
    }
}

impl Drop for TurnGuard<'_> {
    fn drop(&mut self) {
        self.history.said().answering = false;
    }
}
