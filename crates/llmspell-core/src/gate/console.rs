//! The console behind the gate: printing, reading lines, and progress bars.

use std::sync::{Mutex, PoisonError};

use crate::context::Context;
use crate::effect::EffectRequest;
use crate::error::{Error, ErrorKind, Result};
use crate::event::{Event, ProgressUpdate};
use crate::memory_reservation::MemoryReservation;

impl Context {
    /// Returns the gated view of the console.
    #[must_use]
    pub fn console(&self) -> GatedConsole<'_> {
        GatedConsole(self)
    }
}

/// The console behind the gate.
#[derive(Debug)]
pub struct GatedConsole<'a>(pub(crate) &'a Context);

impl GatedConsole<'_> {
    /// Prints text unchanged, charged to the `output` limit.
    ///
    /// # Errors
    /// When the output limit is reached.
    pub fn write(&self, text: String) -> Result<()> {
        self.0.meter().charge_output(text.len() as u64)?;
        self.0.emit(Event::Output { text });
        Ok(())
    }

    /// Shows `prompt`, charged to the `output` limit, and reads one line, without its line end. Returns `None` at the
    /// end of input.
    ///
    /// # Errors
    /// When there is no console to read from, the output limit is reached, or the run ends meanwhile.
    pub async fn read_line(&self, prompt: String) -> Result<Option<String>> {
        let console = self.0.console_capability().ok_or_else(|| {
            Error::new(ErrorKind::Io, "there is no console to read from")
                .hint("run the spell on a terminal, or give it input with a pipe")
        })?;
        self.0.meter().charge_output(prompt.len() as u64)?;
        let ask = EffectRequest::new("console", "read_line", &prompt)?;
        let flushed = self.0.flushed();
        let live = |permit| async move {
            flushed.await;
            console.read_line(permit, prompt).await
        };
        self.0.gate(ask, live).await
    }

    /// Shows a progress bar of `total` steps, charged to the `output` limit. Progress is not recorded, because it
    /// returns nothing to the script.
    ///
    /// # Errors
    /// When the output limit or the memory limit is reached.
    pub fn progress(&self, total: Option<u64>, label: String) -> Result<GatedProgress> {
        let cx = self.0.clone();
        let now = ProgressUpdate { id: cx.next_bar(), label, total, ..ProgressUpdate::default() };
        let held = (cx.hold(now.weight())?, cx.hold(0)?);
        cx.show(&now)?;
        Ok(GatedProgress { cx, bar: Mutex::new(Bar { now, held }) })
    }
}

impl Context {
    fn show(&self, now: &ProgressUpdate) -> Result<()> {
        self.meter().charge_output(now.weight())?;
        self.emit(Event::Progress(now.clone()));
        Ok(())
    }
}

/// A progress bar behind the gate. Dropping it finishes it.
#[derive(Debug)]
pub struct GatedProgress {
    cx: Context,
    bar: Mutex<Bar>,
}

#[derive(Debug)]
struct Bar {
    now: ProgressUpdate,
    /// The memory of the label and the message.
    held: (MemoryReservation, MemoryReservation),
}

impl GatedProgress {
    /// Sets the number of completed steps.
    ///
    /// # Errors
    /// When the output limit is reached.
    pub fn update(&self, done: u64) -> Result<()> {
        self.change(|bar| std::mem::replace(&mut bar.now.done, done) != done)
    }

    /// Increases the number of completed steps.
    ///
    /// # Errors
    /// When the output limit is reached.
    pub fn advance(&self, steps: u64) -> Result<()> {
        self.change(|bar| {
            bar.now.done = bar.now.done.saturating_add(steps);
            steps > 0
        })
    }

    /// Sets the current activity.
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

    /// Finishes the bar. Later updates are not shown.
    pub fn finish(&self) {
        let mut bar = self.bar.lock().unwrap_or_else(PoisonError::into_inner);
        if !bar.now.finished {
            bar.now.finished = true;
            // The final event is not charged, so that it can always be emitted. There is one per bar, and showing a bar
            // is charged.
            self.cx.emit(Event::Progress(bar.now.clone()));
        }
    }

    /// Emits the bar if `make` changed it.
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
