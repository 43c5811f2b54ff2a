//! Collects the output of a run for its outcome, and passes events on to the listener.
//!
//! If the run has a journal, events pass through its queue, so that a line is shown only after the record that counts
//! it. Lines that were shown before the run was resumed are collected, but not shown again.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use futures_util::future::BoxFuture;
use llmspell_core::{Event, LogEntry, Sink};
use tokio::sync::mpsc;

use crate::journal::Queue;
use crate::store::JournalRecord;

#[derive(Debug, Default)]
pub(crate) struct CollectedOutput {
    pub(crate) output: String,
    pub(crate) logs: Vec<LogEntry>,
}

#[derive(Debug, Default)]
pub(crate) struct Collector {
    said: Mutex<CollectedOutput>,
    listener: Option<mpsc::UnboundedSender<Event>>,
    /// How many lines the run has printed and logged.
    lines: AtomicU64,
    /// The number of lines that earlier attempts of a resumed run have shown.
    shown_before: u64,
    /// The queue of the run's journal, through which lines pass.
    journal: OnceLock<Arc<Queue>>,
}

impl Collector {
    pub(crate) fn new(listener: Option<mpsc::UnboundedSender<Event>>, shown_before: u64) -> Self {
        Self { listener, shown_before, ..Self::default() }
    }

    /// Sends all further events through the journal's queue.
    pub(crate) fn through(&self, journal: Arc<Queue>) {
        // A run has one journal, so this is the first call.
        let _ = self.journal.set(journal);
    }

    pub(crate) fn take(&self) -> CollectedOutput {
        std::mem::take(&mut self.said.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn show(&self, event: Event, line: Option<u64>) {
        match self.journal.get().filter(|journal| journal.is_open()) {
            // If the journal cannot be written, the run ends at its next effect.
            Some(journal) => drop(journal.show(event, line.map(JournalRecord::Lines))),
            None => {
                if let Some(listener) = &self.listener {
                    // Ignore a listener that was dropped.
                    let _ = listener.send(event);
                }
            }
        }
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
        if !matches!(event, Event::Output { .. } | Event::Log(_)) {
            return self.show(event, None);
        }
        let line = self.lines.fetch_add(1, Ordering::Relaxed) + 1;
        if line > self.shown_before {
            self.show(event, Some(line));
        }
    }

    fn flushed(&self) -> BoxFuture<'static, ()> {
        let journal = self.journal.get().cloned();
        Box::pin(async move {
            if let Some(journal) = journal {
                journal.all_shown().await;
            }
        })
    }
}
