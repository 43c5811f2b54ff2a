//! What was said between a person or script and a model, and whose turn it is.

use std::sync::{Mutex, MutexGuard, PoisonError};

use llmspell_core::chat::{ChatRequest, Message};
use llmspell_core::{Context, Error, ErrorKind, Held, Result};
use serde::Serialize;

/// What was said, counted against the run's memory. It has one turn at a time.
#[derive(Debug)]
pub struct History {
    /// What holds it, in errors.
    what: &'static str,
    /// What is asked along with it each time takes this much.
    beside: u64,
    said: Mutex<Said>,
}

#[derive(Debug)]
struct Said {
    messages: Vec<Message>,
    answering: bool,
    /// What all of it takes, with what is asked along with it.
    held: Held,
}

impl History {
    /// A history that begins with the messages of a request, and is asked along with the rest of it; `what` holds it:
    /// "conversation", "agent".
    ///
    /// # Errors
    /// When it takes more memory than the run may use.
    pub fn new(cx: &Context, what: &'static str, request: &mut ChatRequest) -> Result<Self> {
        let messages = std::mem::take(&mut request.messages);
        let beside = weight(request);
        let held = cx.hold(beside + messages.iter().map(weight).sum::<u64>())?;
        Ok(Self { what, beside, said: Mutex::new(Said { messages, answering: false, held }) })
    }

    /// Begins a turn.
    ///
    /// # Errors
    /// When one is under way, or its copies of the history take more memory than the run may use.
    pub fn turn(&self) -> Result<Turn<'_>> {
        let mut said = self.said();
        if said.answering {
            let message = format!("this {} is still answering", self.what);
            return Err(Error::new(ErrorKind::Conflict, message)
                .hint("wait for its answer, or ask on a `fork()` of it"));
        }
        let under_way = said.held.copies(COPIES)?;
        said.answering = true;
        Ok(Turn { history: self, _under_way: under_way })
    }

    /// A second one with the same past.
    ///
    /// # Errors
    /// When it takes more memory than the run may use.
    pub fn fork(&self) -> Result<Self> {
        let held = self.said().held.copies(1)?;
        let said = Said { messages: self.list(), answering: false, held };
        Ok(Self { what: self.what, beside: self.beside, said: Mutex::new(said) })
    }

    /// What was said so far, oldest first.
    #[must_use]
    pub fn list(&self) -> Vec<Message> {
        self.said().messages.clone()
    }

    fn said(&self) -> MutexGuard<'_, Said> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The past is copied into the request, for the gate, and for the wire.
const COPIES: u64 = 3;

/// What a message or a request takes, about: as much as its JSON text.
#[must_use]
pub fn weight(value: &impl Serialize) -> u64 {
    const BLOCK: u64 = size_of::<Message>() as u64;
    struct Length(u64);
    impl std::io::Write for Length {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 += bytes.len() as u64;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut length = Length(BLOCK);
    // Counting does not fail, and what is no JSON is refused when it is sent.
    let _ = serde_json::to_writer(&mut length, value);
    length.0
}

/// A turn under way. Dropping it, however that comes, makes the history free for the next.
#[derive(Debug)]
pub struct Turn<'a> {
    history: &'a History,
    _under_way: Held,
}

impl Turn<'_> {
    /// Makes messages part of the past.
    ///
    /// # Errors
    /// When they take more memory than the run may use.
    pub fn add(&self, messages: impl IntoIterator<Item = Message>) -> Result<()> {
        let mut said = self.history.said();
        for message in messages {
            said.held.grow(weight(&message))?;
            said.messages.push(message);
        }
        Ok(())
    }

    /// Puts other messages in the place of the whole past.
    ///
    /// # Errors
    /// When they take more memory than the run may use.
    pub fn replace(&self, messages: Vec<Message>) -> Result<()> {
        let mut said = self.history.said();
        let mut held = said.held.copies(0)?;
        held.grow(self.history.beside + messages.iter().map(weight).sum::<u64>())?;
        said.held = held;
        said.messages = messages;
        Ok(())
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.history.said().answering = false;
    }
}
