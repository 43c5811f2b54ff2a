//! Shows a run: its output on stdout; its logs, progress and prompts on stderr.
//!
//! On a terminal both streams appear in one place. So a [`Screen`] tracks whether the cursor is in the middle of a
//! line, and erases the progress bars before it writes anything else. A spell's control characters are escaped on a
//! terminal.

use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::ValueEnum;
use llmspell::{Event, LogLevel, Outcome, Value};
use serde::Serialize;
use tokio::time::Instant;

use crate::console::UserQuestion;
use crate::progress::{Bars, ProgressMode};
use crate::report::Reporter;
use crate::terminal;
use crate::writer::OutputWriter;

/// The format in which a run is written to stdout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Output {
    /// What the spell prints, then the value it returns.
    #[default]
    Text,
    /// One JSON object at the end, with value, error, output, logs and usage.
    Json,
    /// One JSON object per line for each event as it happens; the last is the outcome.
    StreamJson,
}

/// The two streams of a run. Methods add to a buffer, and [`flush`](Self::flush) writes it.
pub(crate) struct Screen<'a> {
    report: &'a Reporter,
    output: Output,
    writer: OutputWriter,
    /// Whether text of the spell goes to a terminal on stdout, so that its control characters are escaped.
    terminal: bool,
    cursor: Cursor,
    /// A note to show when the first model call has been made.
    notice: Option<String>,
    bars: Bars,
}

/// Where the next text on the terminal would appear.
enum Cursor {
    /// At the start of a line, not counting bars.
    Start,
    /// After text of the spell.
    Text,
    /// After a prompt. Once the user has answered, this is the start of a line.
    Prompt(Arc<AtomicBool>),
}

#[derive(Serialize)]
struct LastLine<'a> {
    event: &'static str,
    #[serde(flatten)]
    outcome: &'a Outcome,
}

impl<'a> Screen<'a> {
    pub(crate) fn new(report: &'a Reporter, output: Output) -> Self {
        let terminal = output == Output::Text && io::stdout().is_terminal();
        let look = match () {
            // A reader of the event stream gets the progress there, and `--quiet` asks for warnings and errors only.
            () if output == Output::StreamJson || report.level > LogLevel::Info => ProgressMode::Hidden,
            () if io::stderr().is_terminal() => ProgressMode::Bars,
            () => ProgressMode::Lines,
        };
        let (writer, bars) = (OutputWriter::default(), Bars::new(look));
        Self { report, output, writer, terminal, cursor: Cursor::Start, notice: None, bars }
    }

    /// Sets a note to show when the first model call has been made. Spells that call no model do not show it.
    pub(crate) fn notice(&mut self, notice: Option<String>) {
        self.notice = notice;
    }

    /// Shows one event.
    ///
    /// # Errors
    /// When it cannot be converted to JSON.
    pub(crate) fn event(&mut self, event: &Event) -> io::Result<()> {
        if matches!(event, Event::Chunk { .. } | Event::Usage { .. })
            && let Some(notice) = self.notice.take()
        {
            self.say(self.report.note(&notice));
        }
        if let Event::Log(entry) = event {
            self.say(self.report.log(entry));
        }
        if let (Output::Text | Output::Json, Event::Agent(event)) = (self.output, event) {
            self.say_lines(self.report.agent(event).unwrap_or_default());
        }
        if let Event::Progress(now) = event {
            let line = self.bars.update(now).unwrap_or_default();
            self.say_lines(line);
        }
        match (self.output, event) {
            (Output::Text | Output::Json, Event::Effect(event)) => {
                self.say_lines(self.report.trace(event).unwrap_or_default());
            }
            (Output::Text, Event::Output { text }) => self.print(text),
            (Output::StreamJson, event) => self.json_line(event)?,
            _ => {}
        }
        Ok(())
    }

    /// Shows a warning about something other than the run itself.
    pub(crate) fn warn(&mut self, message: &str) {
        self.say_lines(self.report.warning(message));
    }

    /// Shows the prompt of a question.
    ///
    /// # Errors
    /// When stdout cannot be written.
    pub(crate) async fn ask(&mut self, question: &UserQuestion) -> io::Result<()> {
        self.say(Some(self.report.safe(&question.prompt).into_owned()));
        // Until the question is answered, other lines must start on a new line.
        self.cursor = match io::stdin().is_terminal() {
            true => Cursor::Prompt(question.answered()),
            false => Cursor::Text,
        };
        self.flush().await
    }

    /// Returns when to flush even without an event, because a frame with bars is due.
    pub(crate) fn due(&self) -> Option<Instant> {
        if self.is_mid_line() { None } else { self.bars.due() }
    }

    fn is_mid_line(&self) -> bool {
        match &self.cursor {
            Cursor::Start => false,
            Cursor::Text => true,
            Cursor::Prompt(answered) => !answered.load(Ordering::Relaxed),
        }
    }

    /// Shows the outcome of the run, except its error.
    ///
    /// # Errors
    /// When stdout cannot be written.
    pub(crate) async fn outcome(&mut self, outcome: &Outcome) -> io::Result<()> {
        self.end_bars();
        match self.output {
            Output::Json => self.json_line(outcome)?,
            Output::StreamJson => self.json_line(&LastLine { event: "outcome", outcome })?,
            Output::Text => match &outcome.value {
                Value::Nil => {}
                Value::Str(text) => self.print(&format!("{text}\n")),
                value => self.print(&format!("{}\n", serde_json::to_string_pretty(value)?)),
            },
        }
        if self.terminal && self.is_mid_line() && outcome.error.is_some() {
            self.print("\n");
        }
        self.flush().await
    }

    /// Cleans up the terminal after stdout was closed, when there is no outcome to show.
    pub(crate) async fn abandon(&mut self) {
        self.end_bars();
        // The caller knows already that stdout cannot be written.
        let _ = self.flush().await;
    }

    /// Writes everything that was added, and waits until it is written.
    ///
    /// # Errors
    /// When stdout cannot be written.
    pub(crate) async fn flush(&mut self) -> io::Result<()> {
        if self.due().is_some_and(|due| due <= Instant::now()) {
            self.writer.stderr(self.bars.draw().as_bytes());
        }
        self.writer.flush().await
    }

    /// Finishes the bars, which then stay on the screen.
    fn end_bars(&mut self) {
        let lines = self.bars.finish();
        self.say_lines(lines);
    }

    /// Writes whole lines to stderr, which start on a new line.
    fn say_lines(&mut self, lines: String) {
        if lines.is_empty() {
            return;
        }
        if self.is_mid_line() {
            self.say(Some("\n".into()));
            self.cursor = Cursor::Start;
        }
        self.say(Some(lines));
    }

    fn print(&mut self, text: &str) {
        if self.terminal
            && let Some(last) = text.chars().next_back()
        {
            self.writer.stderr(self.bars.clear().as_bytes());
            self.cursor = if last == '\n' { Cursor::Start } else { Cursor::Text };
        }
        if self.terminal && !self.report.raw {
            self.writer.stdout(terminal::escape(text).as_bytes());
        } else {
            self.writer.stdout(text.as_bytes());
        }
    }

    fn json_line(&mut self, value: &impl Serialize) -> io::Result<()> {
        let mut line = serde_json::to_vec(value)?;
        line.push(b'\n');
        self.writer.stdout(&line);
        Ok(())
    }

    fn say(&mut self, text: Option<String>) {
        if let Some(text) = text {
            self.writer.stderr(self.bars.clear().as_bytes());
            self.writer.stderr(text.as_bytes());
        }
    }
}
