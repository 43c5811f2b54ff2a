//! The `console` bridge: output, questions and progress bars.

use std::fmt::Write as _;

use llmspell_core::{Context, Error, ErrorKind, Result};
use llmspell_macros::bridge;

/// Writes to the spell's output and asks the user questions.
#[bridge]
#[since("0.1")]
pub mod console {
    use llmspell_core::gate::GatedProgress;
    use llmspell_core::{Context, Result};

    /// Writes a text without a line end.
    ///
    /// `print` writes a whole line; use this for partial lines.
    ///
    /// ```luau
    /// console.write("one, ")
    /// console.write("two\n")
    /// ```
    pub fn write(cx: &Context, text: String) -> Result<()> {
        cx.console().write(text)
    }

    /// Shows a prompt, reads one line and returns it without its line end.
    ///
    /// Returns nil at the end of the input. Fails with the kind `io` when the spell runs without a console.
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

    /// Asks a yes-or-no question.
    ///
    /// An empty line selects the default, which is no unless `default` is given. After an invalid answer the question
    /// is repeated, three times in total. Fails with the kind `io` when the spell runs without a console, or the
    /// input ends.
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

    /// Shows a list of choices and returns the one that the user selects by its number or text.
    ///
    /// After an invalid answer the question is repeated, three times in total. Fails with the kind `io` when the
    /// spell runs without a console, or the input ends.
    ///
    /// ```luau
    /// local colour, err = console.select("Which colour?", {"red", "green"})
    /// print(colour or err)
    /// ```
    pub async fn select(cx: Context, question: String, choices: Vec<String>) -> Result<String> {
        super::select(&cx, &question, choices).await
    }

    /// Shows a progress bar. `total` is the number of steps, if it is known; `label` describes the work.
    ///
    /// A terminal shows a bar; elsewhere a line is printed now and then. Progress goes to stderr and is not part of
    /// the output. Each change is charged to the `output` limit: its texts plus 32 bytes.
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

    /// A progress bar. It finishes when the spell drops it or ends.
    #[derive(Debug)]
    pub struct Progress(GatedProgress);

    #[object]
    impl Progress {
        /// Sets the number of completed steps.
        ///
        /// ```luau
        /// local bar = console.progress(100)
        /// bar:update(50)
        /// ```
        pub fn update(&self, done: u64) -> Result<()> {
            self.0.update(done)
        }

        /// Adds completed steps; one by default.
        ///
        /// ```luau
        /// local bar = console.progress(10)
        /// bar:advance()
        /// bar:advance(9)
        /// ```
        pub fn advance(&self, steps: Option<u64>) -> Result<()> {
            self.0.advance(steps.unwrap_or(1))
        }

        /// Sets the text that describes the current step.
        ///
        /// ```luau
        /// local bar = console.progress(nil, "Reading")
        /// bar:message("one.txt")
        /// ```
        pub fn message(&self, text: String) -> Result<()> {
            self.0.message(text)
        }

        /// Finishes the progress bar at its current position. Later updates are not shown.
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

/// How many times a question is asked.
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
    // Writing to a `String` cannot fail.
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

/// Asks until the trimmed answer is valid.
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
