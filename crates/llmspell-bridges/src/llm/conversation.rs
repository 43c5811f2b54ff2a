//! What was said in a conversation, and whose turn it is.

use std::sync::{Mutex, MutexGuard, PoisonError};

use llmspell_core::chat::{ChatRequest, Message};
use llmspell_core::{Context, Error, ErrorKind, Held, Result};
use serde::Serialize;

use super::selection::Selection;

/// The past of a conversation and how to ask the next question.
#[derive(Debug)]
pub struct Messages {
    /// How to ask; its own messages are empty.
    settings: ChatRequest,
    said: Mutex<Said>,
}

#[derive(Debug)]
struct Said {
    messages: Vec<Message>,
    answering: bool,
    /// What all of the conversation takes.
    held: Held,
}

impl Messages {
    pub(super) fn new(cx: &Context, mut settings: ChatRequest) -> Result<Self> {
        if settings.provider.is_some() || settings.model.is_some() {
            // A wrong name is found now, not at the first question.
            let found = Selection::resolve(cx, settings.provider.as_deref(), settings.model.as_deref())?;
            settings.provider = Some(found.provider);
            settings.model = Some(found.model);
        }
        let held = cx.hold(weight(&settings))?;
        let messages = std::mem::take(&mut settings.messages);
        Ok(Self { settings, said: Mutex::new(Said { messages, answering: false, held }) })
    }

    /// Begins a turn. The question becomes part of the past only with its answer.
    pub(super) fn turn(&self, question: String) -> Result<Turn<'_>> {
        let mut said = self.said();
        if said.answering {
            return Err(Error::new(ErrorKind::Conflict, "this conversation is still answering")
                .hint("wait for its answer, or ask on a `fork()` of it"));
        }
        let under_way = said.held.copies(COPIES)?;
        said.answering = true;
        Ok(Turn { conversation: self, question: Message::user(question), _under_way: under_way })
    }

    pub(super) fn fork(&self) -> Result<Self> {
        let held = self.said().held.copies(1)?;
        let said = Said { messages: self.list(), answering: false, held };
        Ok(Self { settings: self.settings.clone(), said: Mutex::new(said) })
    }

    pub(super) fn list(&self) -> Vec<Message> {
        self.said().messages.clone()
    }

    fn said(&self) -> MutexGuard<'_, Said> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The past is copied into the request, for the gate, and for the wire.
const COPIES: u64 = 3;

/// What a message or a request takes, about: as much as its JSON text.
fn weight(value: &impl Serialize) -> u64 {
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
    const BLOCK: u64 = size_of::<Message>() as u64;
    let mut length = Length(BLOCK);
    // Counting does not fail, and what is no JSON is refused when it is sent.
    let _ = serde_json::to_writer(&mut length, value);
    length.0
}

/// One question under way. Dropping it, however that comes, makes the conversation free for the next.
pub(super) struct Turn<'a> {
    conversation: &'a Messages,
    question: Message,
    _under_way: Held,
}

impl Turn<'_> {
    /// What to ask the model: the past, then the question.
    pub(super) fn request(&self) -> ChatRequest {
        let mut messages = self.conversation.list();
        messages.push(self.question.clone());
        ChatRequest { messages, ..self.conversation.settings.clone() }
    }

    /// Makes the question and its answer part of the past.
    pub(super) fn finish(self, answer: Message) -> Result<()> {
        let mut said = self.conversation.said();
        said.held.grow(weight(&self.question) + weight(&answer))?;
        said.messages.extend([self.question.clone(), answer]);
        Ok(())
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.conversation.said().answering = false;
    }
}
