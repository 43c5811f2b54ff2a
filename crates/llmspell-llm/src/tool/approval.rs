//! Asks the user before a tool runs that is marked so.

use llmspell_core::{Context, Error, ErrorKind, LogLevel, Map, Result};
use serde_json::Value as Json;

use super::{Tool, escaped};

/// As much of the arguments as a person would read.
const MOST_SHOWN: usize = 2_000;

impl Tool {
    /// Asks the user, when the tool is marked so; anything but yes is no.
    ///
    /// # Errors
    /// When the user says no, or there is nobody to ask.
    pub(crate) async fn approve(&self, cx: &Context, arguments: &Json) -> Result<()> {
        if !self.asks() {
            return Ok(());
        }
        let text = arguments.to_string();
        let shown = escaped(&text[..text.floor_char_boundary(MOST_SHOWN)]);
        let more =
            if text.len() > MOST_SHOWN { format!("… ({} bytes)", text.len()) } else { String::new() };
        let prompt = format!("Run the tool `{}` with {shown}{more}? [y/N] ", self.name());
        match cx.console().read_line(prompt).await {
            Ok(Some(line)) if matches!(line.trim().to_lowercase().as_str(), "y" | "yes") => Ok(()),
            Ok(_) => self.denied("the user said no"),
            Err(error) if error.kind() == ErrorKind::Io => {
                let message =
                    format!("the tool `{}` was not run: nobody is there to confirm it", self.name());
                cx.log(LogLevel::Warn, message, Map::new())?;
                self.denied("nobody is there to confirm it")
            }
            Err(error) => Err(error),
        }
    }

    fn denied(&self, why: &str) -> Result<()> {
        Err(Error::denied(format!("tool `{}`: it was not run: {why}", self.name())))
    }
}
