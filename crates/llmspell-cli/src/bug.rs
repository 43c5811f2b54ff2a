//! What a user sees of a panic: that it is a bug, and where; no backtrace.

use std::io::Write;
use std::panic::{self, PanicHookInfo};

use crate::exit::{self, Exit};
use crate::terminal;

/// Turns every panic of this process, on whichever thread, into a message and its end.
pub(crate) fn catch() {
    panic::set_hook(Box::new(|info| {
        // Nobody to tell when stderr is gone.
        let _ = std::io::stderr().write_all(message(info).as_bytes());
        exit::now(Exit::BUG);
    }));
}

fn message(info: &PanicHookInfo<'_>) -> String {
    let what = info.payload_as_str().unwrap_or("no message");
    let place = info.location().map(|place| format!("\n  at {place}")).unwrap_or_default();
    let version = env!("CARGO_PKG_VERSION");
    format!(
        "error: this is a bug in llmspell {version}: {}{place}\n\
         hint: please report it, with the spell that showed it\n",
        terminal::escape(what)
    )
}
