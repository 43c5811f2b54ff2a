//! The `console` bridge.

use llmspell_macros::bridge;

/// Writes to the spell's output and reads what the user types.
#[bridge]
#[since("0.1")]
pub mod console {
    use llmspell_core::{Context, Result};

    /// Writes a text as it is, without a line end.
    ///
    /// `print` writes a whole line; this is for text that comes in pieces.
    ///
    /// ```luau
    /// console.write("one, ")
    /// console.write("two\n")
    /// ```
    pub fn write(cx: &Context, text: String) -> Result<()> {
        cx.console().write(text)
    }

    /// Shows a prompt, waits for one line and returns it without its line end.
    ///
    /// Returns nothing at the end of input. Fails with the kind `io` when the spell runs without a console.
    ///
    /// ```luau
    /// local name, err = console.read_line("Your name? ")
    /// if name then
    ///     print("Hello, " .. name)
    /// else
    ///     print(if err then "no console" else "no more input")
    /// end
    /// ```
    pub async fn read_line(cx: Context, prompt: Option<String>) -> Result<Option<String>> {
        cx.console().read_line(prompt.unwrap_or_default()).await
    }
}
