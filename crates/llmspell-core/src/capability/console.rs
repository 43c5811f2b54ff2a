//! The terminal, or what stands for it.

use futures_util::future::BoxFuture;

use crate::context::{Context, Event};
use crate::effect::{Ask, Permit};
use crate::error::{Error, ErrorKind, Result};

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
        self.0.gate(ask, |permit| console.read_line(permit, prompt)).await
    }
}
