//! A conversation: what was said, and how to ask the next question.

use llmspell_core::chat::{ChatRequest, Message};
use llmspell_core::{Context, Result};
use llmspell_llm::{History, Turn};

use super::selection::Selection;

/// The past of a conversation and how to ask the next question.
#[derive(Debug)]
pub struct Messages {
    /// How to ask; its own messages are empty.
    settings: ChatRequest,
    history: History,
}

impl Messages {
    pub(super) fn new(cx: &Context, mut settings: ChatRequest) -> Result<Self> {
        if settings.provider.is_some() || settings.model.is_some() {
            // A wrong name is found now, not at the first question.
            let found = Selection::resolve(cx, settings.provider.as_deref(), settings.model.as_deref())?;
            settings.provider = Some(found.provider);
            settings.model = Some(found.model);
        }
        let history = History::new(cx, "conversation", &mut settings)?;
        Ok(Self { settings, history })
    }

    /// Begins a turn. The question becomes part of the past only with its answer.
    pub(super) fn turn(&self, question: String) -> Result<Question<'_>> {
        let turn = self.history.turn()?;
        Ok(Question { conversation: self, message: Message::user(question), turn })
    }

    pub(super) fn fork(&self) -> Result<Self> {
        Ok(Self { settings: self.settings.clone(), history: self.history.fork()? })
    }

    pub(super) fn list(&self) -> Vec<Message> {
        self.history.list()
    }
}

/// One question under way.
pub(super) struct Question<'a> {
    conversation: &'a Messages,
    message: Message,
    turn: Turn<'a>,
}

impl Question<'_> {
    /// What to ask the model: the past, then the question.
    pub(super) fn request(&self) -> ChatRequest {
        let mut messages = self.conversation.list();
        messages.push(self.message.clone());
        ChatRequest { messages, ..self.conversation.settings.clone() }
    }

    /// Makes the question and its answer part of the past.
    pub(super) fn finish(self, answer: Message) -> Result<()> {
        self.turn.add([self.message, answer])
    }
}
