//! Shows a run: what it prints on stdout, what it logs on stderr.

use std::io::{self, IsTerminal};

use clap::ValueEnum;
use llmspell::{Event, Outcome, Value};
use serde::Serialize;
use tokio::io::{AsyncWriteExt, Stderr, Stdout};

use crate::console::Question;
use crate::report::Report;
use crate::terminal;

/// What a run writes to stdout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Output {
    /// What the spell prints, then the value it returns.
    #[default]
    Text,
    /// One JSON object at the end: value, error, output, logs, usage.
    Json,
    /// One JSON object a line for each event as it happens; the last is the outcome.
    StreamJson,
}

/// The two streams of a run.
///
/// They are written on tokio's blocking thread, so that a reader who has stopped reading stops neither the sockets nor
/// Ctrl-C.
pub(crate) struct Screen<'a> {
    report: &'a Report,
    output: Output,
    stdout: Stdout,
    stderr: Stderr,
    /// Whether stdout is a terminal that must be kept from obeying the spell.
    escape: bool,
    /// Whether a terminal's cursor stands behind text of the spell.
    mid_line: bool,
    /// What to say when the first model call has been made.
    notice: Option<String>,
}

#[derive(Serialize)]
struct LastLine<'a> {
    event: &'static str,
    #[serde(flatten)]
    outcome: &'a Outcome,
}

impl<'a> Screen<'a> {
    pub(crate) fn new(report: &'a Report, output: Output) -> Self {
        let escape = output == Output::Text && io::stdout().is_terminal() && !report.raw;
        Self {
            report,
            output,
            stdout: tokio::io::stdout(),
            stderr: tokio::io::stderr(),
            escape,
            mid_line: false,
            notice: None,
        }
    }

    /// Sets what to say when the first model call has been made; a spell that calls none need not hear it.
    pub(crate) fn notice(&mut self, notice: Option<String>) {
        self.notice = notice;
    }

    /// Shows one event; [`flush`](Self::flush) sends it on its way.
    ///
    /// # Errors
    /// When stdout cannot be written.
    pub(crate) async fn event(&mut self, event: &Event) -> io::Result<()> {
        if matches!(event, Event::Chunk { .. } | Event::Usage { .. })
            && let Some(notice) = self.notice.take()
        {
            self.say(self.report.note(&notice)).await?;
        }
        if let Event::Log(entry) = event {
            self.say(self.report.log(entry)).await?;
        }
        match (self.output, event) {
            (Output::Text, Event::Output { text }) => self.print(text).await,
            (Output::StreamJson, event) => self.json_line(event).await,
            _ => Ok(()),
        }
    }

    /// Shows what the spell asks.
    ///
    /// # Errors
    /// When stdout cannot be written.
    pub(crate) async fn ask(&mut self, question: &Question) -> io::Result<()> {
        self.flush().await?;
        let prompt = self.report.safe(&question.prompt);
        // Nobody to tell when stderr is gone.
        let _ = self.stderr.write_all(prompt.as_bytes()).await;
        let _ = self.stderr.flush().await;
        // What is typed ends with a line end.
        self.mid_line = false;
        Ok(())
    }

    /// Shows what the run came to, but for its error.
    ///
    /// # Errors
    /// When stdout cannot be written.
    pub(crate) async fn outcome(&mut self, outcome: &Outcome) -> io::Result<()> {
        match self.output {
            Output::Json => self.json_line(outcome).await?,
            Output::StreamJson => self.json_line(&LastLine { event: "outcome", outcome }).await?,
            Output::Text => match &outcome.value {
                Value::Nil => {}
                Value::Str(text) => self.print(&format!("{text}\n")).await?,
                value => self.print(&format!("{}\n", serde_json::to_string_pretty(value)?)).await?,
            },
        }
        if self.mid_line && outcome.error.is_some() && io::stdout().is_terminal() {
            self.print("\n").await?;
        }
        self.flush().await
    }

    /// Waits until everything is out.
    ///
    /// # Errors
    /// When stdout cannot be written.
    pub(crate) async fn flush(&mut self) -> io::Result<()> {
        self.stdout.flush().await
    }

    async fn print(&mut self, text: &str) -> io::Result<()> {
        if let Some(last) = text.chars().next_back() {
            self.mid_line = last != '\n';
        }
        if self.escape {
            self.stdout.write_all(terminal::escape(text).as_bytes()).await
        } else {
            self.stdout.write_all(text.as_bytes()).await
        }
    }

    async fn json_line(&mut self, value: &impl Serialize) -> io::Result<()> {
        let mut line = serde_json::to_vec(value)?;
        line.push(b'\n');
        self.stdout.write_all(&line).await
    }

    /// Writes to stderr, in order with stdout for those who see both.
    async fn say(&mut self, text: Option<String>) -> io::Result<()> {
        let Some(text) = text else { return Ok(()) };
        self.flush().await?;
        // Nobody to tell when stderr is gone.
        let _ = self.stderr.write_all(text.as_bytes()).await;
        let _ = self.stderr.flush().await;
        Ok(())
    }
}
