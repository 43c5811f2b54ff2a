//! Keeps what a run says for its outcome, and hands it on to whoever listens.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use llmspell_core::{Event, LogEntry, Sink};
use tokio::sync::mpsc;

#[derive(Debug, Default)]
pub(crate) struct Said {
    pub(crate) output: String,
    pub(crate) logs: Vec<LogEntry>,
}

#[derive(Debug, Default)]
pub(crate) struct Collector {
    said: Mutex<Said>,
    listener: Option<mpsc::UnboundedSender<Event>>,
    /// How many lines the listener has heard from this run before it was resumed.
    heard: AtomicU64,
}

impl Collector {
    pub(crate) fn new(listener: Option<mpsc::UnboundedSender<Event>>, heard: u64) -> Self {
        Self { said: Mutex::default(), listener, heard: AtomicU64::new(heard) }
    }

    /// Whether it is a line that the listener has heard.
    fn is_known(&self, event: &Event) -> bool {
        let less = |heard: u64| heard.checked_sub(1);
        matches!(event, Event::Output { .. } | Event::Log(_))
            && self.heard.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok()
    }

    pub(crate) fn take(&self) -> Said {
        std::mem::take(&mut self.said.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Sink for Collector {
    fn emit(&self, event: Event) {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        match &event {
            Event::Output { text } => said.output.push_str(text),
            Event::Log(entry) => said.logs.push(entry.clone()),
            Event::Chunk { .. }
            | Event::Usage { .. }
            | Event::Progress(_)
            | Event::Agent(_)
            | Event::Effect(_) => {}
        }
        drop(said);
        if self.is_known(&event) {
            return;
        }
        if let Some(listener) = &self.listener {
            // A listener that went away has heard enough.
            let _ = listener.send(event);
        }
    }
}
