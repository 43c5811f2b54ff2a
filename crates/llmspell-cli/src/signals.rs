//! Ctrl-C and SIGTERM.

use std::io;

use llmspell::Result;
use tokio::signal;

use crate::exit;

/// Waits for interrupts by the user. While this exists, an interrupt no longer ends the process by itself.
#[cfg(unix)]
pub(crate) struct Interrupts {
    interrupt: signal::unix::Signal,
    terminate: signal::unix::Signal,
}

impl Interrupts {
    /// Starts to listen.
    ///
    /// # Errors
    /// When the system refuses to register a handler.
    pub(crate) fn listen() -> Result<Self> {
        Self::registered().map_err(|error| exit::io("cannot listen for Ctrl-C", error))
    }
}

#[cfg(unix)]
impl Interrupts {
    fn registered() -> io::Result<Self> {
        use signal::unix::{SignalKind, signal};
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    /// Waits for the next interrupt.
    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// Waits for interrupts by the user. While this exists, an interrupt no longer ends the process by itself.
#[cfg(windows)]
pub(crate) struct Interrupts(signal::windows::CtrlC);

#[cfg(windows)]
impl Interrupts {
    fn registered() -> io::Result<Self> {
        signal::windows::ctrl_c().map(Self)
    }

    /// Waits for the next interrupt.
    pub(crate) async fn next(&mut self) {
        self.0.recv().await;
    }
}
