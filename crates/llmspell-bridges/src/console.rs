//! The `console` bridge.

use std::fmt::Write as _;

use llmspell_core::{Context, Error, ErrorKind, Result};
use llmspell_macros::bridge;

/// Writes to the spell's output and asks the user.
#[bridge]
#[since("0.1")]
pub mod console {
    use llmspell_core::capability::GatedProgress;
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

    /// Asks a question that is answered with yes or no.
    ///
    /// An empty line is the default, which is no unless given. What is neither is asked again, three times in all.
    /// Fails with the kind `io` when the spell runs without a console, or input ends.
    ///
    /// ```luau
    /// local yes, err = console.confirm("Delete all files?")
    /// if yes then
    ///     print("gone")
    /// elseif err then
    ///     print("nobody to ask: " .. err)
    /// end
    /// ```
    pub async fn confirm(cx: Context, question: String, default: Option<bool>) -> Result<bool> {
        super::confirm(&cx, &question, default.unwrap_or(false)).await
    }

    /// Shows a list of choices and returns the one that the user picks by its number or its text.
    ///
    /// What is neither is asked again, three times in all. Fails with the kind `io` when the spell runs without a
    /// console, or input ends.
    ///
    /// ```luau
    /// local colour, err = console.select("Which colour?", {"red", "green"})
    /// print(colour or err)
    /// ```
    pub async fn select(cx: Context, question: String, choices: Vec<String>) -> Result<String> {
        super::select(&cx, &question, choices).await
    }

    /// Shows the user how far a work has come: `total` steps in all, if that is known, and what it is about.
    ///
    /// On a terminal this is a bar, and else a line now and then; it goes to stderr and is no output. Each change is
    /// charged to the `output` limit: its texts and 32 bytes.
    ///
    /// ```luau
    /// local files = {"one.txt", "two.txt", "three.txt"}
    /// local bar = console.progress(#files, "Reading")
    /// for _, file in files do
    ///     bar:message(file)
    ///     bar:advance()
    /// end
    /// bar:finish()
    /// ```
    pub fn progress(cx: &Context, total: Option<u64>, label: Option<String>) -> Result<Progress> {
        Ok(Progress(cx.console().progress(total, label.unwrap_or_default())?))
    }

    /// How far a work has come. It is finished when the spell lets go of it, or ends.
    #[derive(Debug)]
    pub struct Progress(GatedProgress);

    #[object]
    impl Progress {
        /// Says how many steps are done.
        ///
        /// ```luau
        /// local bar = console.progress(100)
        /// bar:update(50)
        /// ```
        pub fn update(&self, done: u64) -> Result<()> {
            self.0.update(done)
        }

        /// Says that so many more steps are done, or one.
        ///
        /// ```luau
        /// local bar = console.progress(10)
        /// bar:advance()
        /// bar:advance(9)
        /// ```
        pub fn advance(&self, steps: Option<u64>) -> Result<()> {
            self.0.advance(steps.unwrap_or(1))
        }

        /// Says what it is about just now.
        ///
        /// ```luau
        /// local bar = console.progress(nil, "Reading")
        /// bar:message("one.txt")
        /// ```
        pub fn message(&self, text: String) -> Result<()> {
            self.0.message(text)
        }

        /// Ends it where it is. What is said of it later is not shown.
        ///
        /// ```luau
        /// local bar = console.progress(1, "Thinking")
        /// bar:update(1)
        /// bar:finish()
        /// ```
        pub fn finish(&self) -> Result<()> {
            self.0.finish();
            Ok(())
        }
    }
}

/// How often a question is asked.
const TRIES: usize = 3;

async fn confirm(cx: &Context, question: &str, default: bool) -> Result<bool> {
    let prompt = format!("{question} [{}] ", if default { "Y/n" } else { "y/N" });
    ask(cx, &prompt, "Please answer yes or no. ", |answer| match answer.to_lowercase().as_str() {
        "" => Some(default),
        "y" | "yes" => Some(true),
        "n" | "no" => Some(false),
        _ => None,
    })
    .await
}

async fn select(cx: &Context, question: &str, choices: Vec<String>) -> Result<String> {
    if choices.is_empty() {
        return Err(Error::argument("argument 2 (`choices`): expected at least one choice, found none"));
    }
    let mut prompt = format!("{question}\n");
    // Writing to a string does not fail.
    for (number, choice) in (1..).zip(&choices) {
        let _ = writeln!(prompt, "  {number}. {choice}");
    }
    let _ = write!(prompt, "1-{}? ", choices.len());
    let again = format!("Please answer with a number from 1 to {}, or a choice. ", choices.len());
    ask(cx, &prompt, &again, |answer| {
        let named = choices.iter().find(|choice| choice.trim() == answer);
        let numbered = || choices.get(answer.parse::<usize>().ok()?.checked_sub(1)?);
        named.or_else(numbered).cloned()
    })
    .await
}

/// Asks until the answer, without the space around it, means something.
async fn ask<T>(cx: &Context, prompt: &str, again: &str, read: impl Fn(&str) -> Option<T>) -> Result<T> {
    let mut asked = prompt;
    for _ in 0..TRIES {
        let Some(line) = cx.console().read_line(asked.to_owned()).await? else {
            return Err(Error::new(ErrorKind::Io, "the input ended before the question was answered"));
        };
        if let Some(answer) = read(line.trim()) {
            return Ok(answer);
        }
        asked = again;
    }
    Err(Error::new(ErrorKind::Io, format!("no usable answer after {TRIES} questions")))
}
