//! The terminal, or what stands for it.

use std::sync::{Mutex, PoisonError};

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

use crate::context::{Context, Event};
use crate::effect::{Ask, Permit};
use crate::error::{Error, ErrorKind, Result};
use crate::held::Held;

/// Reads what the user types. Writing goes to the context's sink.
pub trait Console: Send + Sync {
    /// Shows `prompt` and reads one line, without its line end; `None` at the end of input.
    fn read_line(&self, permit: Permit, prompt: String) -> BoxFuture<'static, Result<Option<String>>>;
}

/// The console behind the gate.
#[derive(Debug)]
pub struct GatedConsole<'a>(pub(crate) &'a Context);

impl GatedConsole<'_> {
    /// Writes text as it is, charged to the `output` limit.
    ///
    /// # Errors
    /// When the output limit is reached.
    pub fn write(&self, text: String) -> Result<()> {
        self.0.meter().charge_output(text.len() as u64)?;
        self.0.emit(Event::Output { text });
        Ok(())
    }

    /// Shows `prompt`, charged to the `output` limit, and reads one line, without its line end; `None` at the end of
    /// input.
    ///
    /// # Errors
    /// When there is no console to read from, the output limit is reached, or the run ends meanwhile.
    pub async fn read_line(&self, prompt: String) -> Result<Option<String>> {
        let console = self.0.console_capability().ok_or_else(|| {
            Error::new(ErrorKind::Io, "there is no console to read from")
                .hint("run the spell on a terminal, or give it input with a pipe")
        })?;
        self.0.meter().charge_output(prompt.len() as u64)?;
        let ask = Ask::new("console", "read_line", &prompt)?;
        let flushed = self.0.flushed();
        let live = |permit| async move {
            flushed.await;
            console.read_line(permit, prompt).await
        };
        self.0.gate(ask, live).await
    }

    /// Shows how far a work of `total` steps has come, charged to the `output` limit. Nothing is journalled: what is
    /// shown answers nothing.
    ///
    /// # Errors
    /// When the output limit is reached, or the memory limit.
    pub fn progress(&self, total: Option<u64>, label: String) -> Result<GatedProgress> {
        let cx = self.0.clone();
        let now = Progress { id: cx.next_bar(), label, total, ..Progress::default() };
        let held = (cx.hold(now.weight())?, cx.hold(0)?);
        cx.show(&now)?;
        Ok(GatedProgress { cx, bar: Mutex::new(Bar { now, held }) })
    }
}

/// How far a work has come.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Which work; no two of a run, or of its children, have the same number.
    pub id: u64,
    /// What is done.
    pub label: String,
    /// What it is about just now.
    pub message: String,
    /// Steps that are done.
    pub done: u64,
    /// Steps in all, when that is known.
    pub total: Option<u64>,
    /// Whether no more will come of it.
    pub finished: bool,
}

impl Progress {
    /// The bytes that it is charged and held for.
    fn weight(&self) -> u64 {
        const NUMBERS: u64 = 32;
        NUMBERS + self.label.len() as u64 + self.message.len() as u64
    }
}

impl Context {
    fn show(&self, now: &Progress) -> Result<()> {
        self.meter().charge_output(now.weight())?;
        self.emit(Event::Progress(now.clone()));
        Ok(())
    }
}

/// The progress of one work, behind the gate. Dropping it finishes it.
#[derive(Debug)]
pub struct GatedProgress {
    cx: Context,
    bar: Mutex<Bar>,
}

#[derive(Debug)]
struct Bar {
    now: Progress,
    /// What the label and the message take.
    held: (Held, Held),
}

impl GatedProgress {
    /// Says how many steps are done.
    ///
    /// # Errors
    /// When the output limit is reached.
    pub fn update(&self, done: u64) -> Result<()> {
        self.change(|bar| std::mem::replace(&mut bar.now.done, done) != done)
    }

    /// Says that so many more steps are done.
    ///
    /// # Errors
    /// When the output limit is reached.
    pub fn advance(&self, steps: u64) -> Result<()> {
        self.change(|bar| {
            bar.now.done = bar.now.done.saturating_add(steps);
            steps > 0
        })
    }

    /// Says what it is about just now.
    ///
    /// # Errors
    /// When the output limit or the memory limit is reached.
    pub fn message(&self, message: String) -> Result<()> {
        let held = self.cx.hold(message.len() as u64)?;
        self.change(|bar| {
            bar.held.1 = held;
            let changed = bar.now.message != message;
            bar.now.message = message;
            changed
        })
    }

    /// Says that the work has ended; what is said of it later is not shown.
    pub fn finish(&self) {
        let mut bar = self.bar.lock().unwrap_or_else(PoisonError::into_inner);
        if !bar.now.finished {
            bar.now.finished = true;
            // Not charged, so that it always comes: there is one for each that was charged.
            self.cx.emit(Event::Progress(bar.now.clone()));
        }
    }

    /// Shows a change, if there is one to show.
    fn change(&self, make: impl FnOnce(&mut Bar) -> bool) -> Result<()> {
        let mut bar = self.bar.lock().unwrap_or_else(PoisonError::into_inner);
        if bar.now.finished || !make(&mut bar) { Ok(()) } else { self.cx.show(&bar.now) }
    }
}

impl Drop for GatedProgress {
    fn drop(&mut self) {
        self.finish();
    }
}
