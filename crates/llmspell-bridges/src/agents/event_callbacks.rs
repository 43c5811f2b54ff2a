//! Callbacks of a script for the events of an agent.

use futures_util::future::{LocalBoxFuture, ready};
use llmspell_core::agent::{AgentEvent, AgentStep};
use llmspell_core::{Callback, Context, Error, ErrorKind, Result, Value, to_value};
use llmspell_llm::{AgentObserver, ObserverDecision};

/// The callbacks for an agent's events.
pub(super) struct EventCallbacks {
    cx: Context,
    /// Called for each event.
    events: Vec<Callback>,
    /// Called with each part of the text.
    text: Option<Callback>,
    streams: bool,
}

impl EventCallbacks {
    /// Creates callbacks for each agent event. Texts are complete, not deltas.
    pub(super) fn new(cx: &Context, events: impl IntoIterator<Item = Option<Callback>>) -> Self {
        let events = events.into_iter().flatten().collect();
        Self { cx: cx.spawn(), events, text: None, streams: false }
    }

    /// Makes texts arrive as deltas.
    pub(super) fn streaming(self) -> Self {
        Self { streams: true, ..self }
    }

    /// Adds a callback for each part of the text.
    pub(super) fn text(self, function: Callback) -> Self {
        Self { text: Some(function), ..self }.streaming()
    }

    async fn call(&self, function: &Callback, argument: Value) -> Result<ObserverDecision> {
        match function.call_within(self.cx.clone(), vec![argument]).await? {
            Value::Bool(false) => Ok(ObserverDecision::Stop),
            Value::Str(reason) => Err(Error::new(ErrorKind::Stopped, reason)),
            _ => Ok(ObserverDecision::GoOn),
        }
    }
}

impl AgentObserver for EventCallbacks {
    fn observe(&self, event: AgentEvent) -> LocalBoxFuture<'_, Result<ObserverDecision>> {
        if self.events.is_empty() && self.text.is_none() {
            return Box::pin(ready(Ok(ObserverDecision::GoOn)));
        }
        Box::pin(async move {
            let mut heard = ObserverDecision::GoOn;
            if !self.events.is_empty() {
                let event = to_value(&event)?;
                for function in &self.events {
                    heard = heard.and(self.call(function, event.clone()).await?);
                }
            }
            if let (Some(function), AgentStep::Text { text }) = (&self.text, event.step) {
                heard = heard.and(self.call(function, Value::Str(text)).await?);
            }
            Ok(heard)
        })
    }

    fn streams(&self) -> bool {
        self.streams
    }
}
