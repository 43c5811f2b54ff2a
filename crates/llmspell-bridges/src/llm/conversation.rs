//! Conversations of the `llm` bridge: a transcript and the settings for the next request.

use llmspell_core::chat::{ChatRequest, Message};
use llmspell_core::{Context, Result};
use llmspell_llm::{Transcript, TurnGuard};

use super::selection::Selection;

/// A conversation: its messages and the settings for the next request.
#[derive(Debug)]
pub struct Messages {
    /// The request settings; the `messages` of this request are empty.
    settings: ChatRequest,
    history: Transcript,
}

impl Messages {
    pub(super) fn new(cx: &Context, mut settings: ChatRequest) -> Result<Self> {
        if settings.provider.is_some() || settings.model.is_some() {
            // Resolved now, so that a wrong name fails here and not at the first question.
            let found = Selection::resolve(cx, settings.provider.as_deref(), settings.model.as_deref())?;
            settings.provider = Some(found.provider);
            settings.model = Some(found.model);
        }
        let history = Transcript::new(cx, "conversation", &mut settings)?;
        Ok(Self { settings, history })
    }

    /// Begins a turn. The question joins the transcript only together with its answer.
    pub(super) fn turn(&self, question: String) -> Result<OpenQuestion<'_>> {
        let turn = self.history.turn()?;
        Ok(OpenQuestion { conversation: self, message: Message::user(question), turn })
    }

    pub(super) fn fork(&self) -> Result<Self> {
        Ok(Self { settings: self.settings.clone(), history: self.history.fork()? })
    }

    pub(super) fn list(&self) -> Vec<Message> {
        self.history.list()
    }
}

/// A question that has not been answered yet.
pub(super) struct OpenQuestion<'a> {
    conversation: &'a Messages,
    message: Message,
    turn: TurnGuard<'a>,
}

impl OpenQuestion<'_> {
    /// Returns the request: the transcript, followed by the question.
    pub(super) fn request(&self) -> ChatRequest {
        let mut messages = self.conversation.list();
        messages.push(self.message.clone());
        ChatRequest { messages, ..self.conversation.settings.clone() }
    }

    /// Appends the question and its answer to the transcript.
    pub(super) fn finish(self, answer: Message) -> Result<()> {
        self.turn.add([self.message, answer])
    }
}
