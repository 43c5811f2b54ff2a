//! The panic hook: reports a panic as a bug, with its source location but without a backtrace.

use std::io::Write;
use std::panic::{self, PanicHookInfo};

use crate::exit::{self, Exit};
use crate::terminal;

/// Makes every panic, on any thread, print a message and end the process.
pub(crate) fn catch() {
    panic::set_hook(Box::new(|info| {
        // If stderr is closed, there is nobody to report to.
        let _ = std::io::stderr().write_all(message(info).as_bytes());
        exit::now(Exit::Bug);
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
