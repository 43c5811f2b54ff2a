//! The events that a run reports while it runs: output, log entries, chunks of answers, progress and usage.

use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

use crate::agent::AgentEvent;
use crate::chat::Usage;
use crate::outcome::LogEntry;
use crate::trace::EffectEvent;

/// An event that a run reports while it runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The spell printed.
    Output {
        /// The text, with its line ends.
        text: String,
    },
    /// The spell logged.
    Log(LogEntry),
    /// A chunk of a model's answer arrived.
    Chunk {
        /// The new text only.
        text: String,
    },
    /// A model call ended.
    Usage {
        /// The usage of the call.
        usage: Usage,
    },
    /// A progress bar of the spell changed.
    Progress(ProgressUpdate),
    /// An agent made progress.
    Agent(AgentEvent),
    /// An effect began or ended. Only traced runs emit this.
    Effect(EffectEvent),
}

/// Receives the events of a run. It is called on the script's thread, so it should return quickly.
pub trait Sink: Send + Sync {
    /// Receives one event.
    fn emit(&self, event: Event);

    /// Waits until all events so far are visible: a question must not appear before the lines that precede it.
    fn flushed(&self) -> BoxFuture<'static, ()> {
        Box::pin(std::future::ready(()))
    }
}

/// A sink that drops all events.
pub(crate) struct Silent;

impl Sink for Silent {
    fn emit(&self, _: Event) {}
}

/// The state of a progress bar.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProgressUpdate {
    /// Its number, unique within a run and its child runs.
    pub id: u64,
    /// The name of the work.
    pub label: String,
    /// The current activity.
    pub message: String,
    /// Completed steps.
    pub done: u64,
    /// Total steps, if known.
    pub total: Option<u64>,
    /// Whether the work has ended.
    pub finished: bool,
}

impl ProgressUpdate {
    /// Returns the bytes to charge for one update.
    pub(crate) fn weight(&self) -> u64 {
        const NUMBERS: u64 = 32;
        NUMBERS + self.label.len() as u64 + self.message.len() as u64
    }
}

/// The output and usage of a step, including the steps inside it.
#[derive(Debug)]
pub(crate) struct StepOutput {
    events: Mutex<Vec<Event>>,
    outer: Option<Arc<StepOutput>>,
}

impl StepOutput {
    /// Creates the empty output of a step inside `outer`.
    pub(crate) fn within(outer: Option<Arc<Self>>) -> Self {
        Self { events: Mutex::default(), outer }
    }

    /// Stores an event that has to be emitted again if the step is skipped.
    pub(crate) fn keep(&self, event: &Event) {
        if !matches!(event, Event::Output { .. } | Event::Log(_) | Event::Usage { .. }) {
            return;
        }
        self.events.lock().unwrap_or_else(PoisonError::into_inner).push(event.clone());
        if let Some(outer) = &self.outer {
            outer.keep(event);
        }
    }

    /// Takes the stored events.
    pub(crate) fn take(&self) -> Vec<Event> {
        std::mem::take(&mut *self.events.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
