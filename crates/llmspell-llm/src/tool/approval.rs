//! Asks the user for approval before a tool runs that requires it.

use llmspell_core::{Context, Error, ErrorKind, LogLevel, Map, Result};
use serde_json::Value as Json;

use super::{Tool, escaped};

/// The maximum length in bytes of the arguments in the prompt.
const MOST_SHOWN: usize = 2_000;

impl Tool {
    /// Asks the user for approval if the tool requires it. Any answer but `y` or `yes` rejects the call.
    ///
    /// # Errors
    /// `permission.denied` when the user rejects the call, or when there is nobody to ask.
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
