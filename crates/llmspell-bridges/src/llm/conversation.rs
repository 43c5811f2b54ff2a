//! What was said in a conversation, and whose turn it is.

use std::sync::{Mutex, MutexGuard, PoisonError};

use llmspell_core::chat::{ChatRequest, Message};
use llmspell_core::{Context, Error, ErrorKind, Result};

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
}

impl Messages {
    pub(super) fn new(cx: &Context, mut settings: ChatRequest) -> Result<Self> {
        if settings.provider.is_some() || settings.model.is_some() {
            // A wrong name is found now, not at the first question.
            Selection::complete(cx, &mut settings)?;
        }
        let messages = std::mem::take(&mut settings.messages);
        Ok(Self { settings, said: Mutex::new(Said { messages, answering: false }) })
    }

    /// Begins a turn. The question becomes part of the past only with its answer.
    pub(super) fn turn(&self, question: String) -> Result<Turn<'_>> {
        let mut said = self.said();
        if said.answering {
            return Err(Error::new(ErrorKind::Conflict, "this conversation is still answering")
                .hint("wait for its answer, or ask on a `fork()` of it"));
        }
        said.answering = true;
        Ok(Turn { conversation: self, question: Message::user(question) })
    }

    pub(super) fn fork(&self) -> Self {
        let said = Said { messages: self.list(), answering: false };
        Self { settings: self.settings.clone(), said: Mutex::new(said) }
    }

    pub(super) fn list(&self) -> Vec<Message> {
        self.said().messages.clone()
    }

    fn said(&self) -> MutexGuard<'_, Said> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One question under way. Dropping it, however that comes, makes the conversation free for the next.
pub(super) struct Turn<'a> {
    conversation: &'a Messages,
    question: Message,
}

impl Turn<'_> {
    /// What to ask the model: the past, then the question.
    pub(super) fn request(&self) -> ChatRequest {
        let mut messages = self.conversation.list();
        messages.push(self.question.clone());
        ChatRequest { messages, ..self.conversation.settings.clone() }
    }

    /// Makes the question and its answer part of the past.
    pub(super) fn finish(self, answer: Message) {
        self.conversation.said().messages.extend([self.question.clone(), answer]);
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.conversation.said().answering = false;
    }
}
