//! Everything that the command writes to stderr: errors, warnings, notes, traces and the spell's log.
//!
//! Most functions return text: during a run it must go through the screen (`run_view.rs`), which keeps it apart from
//! the spell's output. Text of spells, models and servers is escaped for terminals.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write as _};

use llmspell::agent::{AgentEvent, AgentStep};
use llmspell::trace::{EffectEvent, EffectStage};
use llmspell::{CallInfo, Error, LogEntry, LogLevel, StackFrame, Value};

use crate::exit::Exit;
use crate::format;
use crate::terminal::{self, no_color};

/// The most frames of a traceback that are shown. A runaway recursion has thousands.
const FRAMES: usize = 16;

/// Prefixes of the operations that may take long. A trace shows when they start as well as when they end.
const WAITING: [&str; 5] = ["models.chat", "models.stream", "models.list", "net.", "console."];

/// The most characters of a line about an agent.
const AGENT_LINE: usize = 200;

/// How to write to stderr.
#[derive(Debug)]
pub(crate) struct Reporter {
    /// The lowest level that is shown.
    pub(crate) level: LogLevel,
    /// Whether to use colour on stderr.
    pub(crate) colour: bool,
    /// Whether to escape control characters on stderr.
    pub(crate) escape: bool,
    /// Whether `--raw` was given, which turns off escaping on both streams.
    pub(crate) raw: bool,
}

impl Reporter {
    /// Prints an error, and returns its exit code.
    pub(crate) fn fail(&self, error: &Error) -> Exit {
        say(&self.error(error));
        Exit::of(error)
    }

    /// Prints a warning.
    pub(crate) fn warn(&self, message: &str) {
        say(&self.warning(message));
    }

    /// Formats a warning.
    pub(crate) fn warning(&self, message: &str) -> String {
        format!("{} {}\n", self.label(LogLevel::Warn), self.safe(message))
    }

    /// Returns the same settings for stdout, for commands whose result has colour.
    pub(crate) fn on_stdout(&self) -> Self {
        let stdout = std::io::stdout().is_terminal();
        let (colour, escape) = (stdout && !no_color(), stdout && !self.raw);
        Self { colour, escape, ..*self }
    }

    /// Colours a word that means success.
    pub(crate) fn good(&self, word: &str) -> String {
        self.paint(GREEN, word)
    }

    /// Colours a word that means failure.
    pub(crate) fn bad(&self, word: &str) -> String {
        self.paint(RED, word)
    }

    /// Formats an error.
    pub(crate) fn error(&self, error: &Error) -> String {
        let mut text = format!("{} {}\n", self.label(LogLevel::Error), self.safe(error.message()));
        for line in self.details(error) {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "  {}", self.safe(&line));
        }
        for hint in error.hints() {
            let _ = writeln!(text, "{} {}", self.paint(CYAN, "hint:"), self.safe(hint));
        }
        text
    }

    /// Returns the lines below the message: source location, traceback, excerpt, raised value and details of the call.
    fn details(&self, error: &Error) -> Vec<String> {
        let mut lines = Vec::new();
        let frames = error.traceback();
        if let Some(place) =
            error.place().filter(|place| frames.first().is_none_or(|top| top.place != **place))
        {
            lines.push(format!("at {place}"));
        }
        lines.extend(frames.iter().take(FRAMES).map(frame));
        if frames.len() > FRAMES {
            lines.push(format!("… {} calls more", frames.len() - FRAMES));
        }
        if let Some(excerpt) = error.excerpt() {
            lines.extend(excerpt.lines().map(str::to_owned));
        }
        if let Some(value) = error.value() {
            lines.push(format!("raised {}", json(value)));
        }
        lines.extend(error.call().and_then(call));
        lines
    }

    /// Formats a line of the spell's log, or returns `None` if its level is not shown.
    pub(crate) fn log(&self, entry: &LogEntry) -> Option<String> {
        if entry.level < self.level {
            return None;
        }
        let mut line = format!("{} {}", self.label(entry.level), self.safe(&entry.message));
        for (name, value) in &entry.fields {
            let _ = write!(line, " {}={}", self.safe(name), self.safe(&field(value)));
        }
        line.push('\n');
        Some(line)
    }

    /// Formats a line of the trace. Operations that may take long have one when they start and one when they end.
    pub(crate) fn trace(&self, event: &EffectEvent) -> Option<String> {
        let waits = WAITING.iter().any(|operation| event.operation.starts_with(operation));
        let (mark, end) = match event.stage {
            EffectStage::Began if waits => ("┌", ""),
            EffectStage::Began => return None,
            EffectStage::Ended if waits => ("└", ""),
            EffectStage::Ended => ("·", ""),
            EffectStage::Recorded => ("·", "  from the journal"),
        };
        let deep = event.at.split('#').next().unwrap_or_default().matches('.').count();
        // A path contains names that the script gave to its steps.
        let at = terminal::escape_name(&event.at);
        let what = format::effect(event);
        Some(format!("{} {:deep$}{mark} {at}  {what}{end}\n", self.paint(DIM, "trace:"), ""))
    }

    /// Formats a step of an agent. Tool calls and their results are shown with `--verbose`; that the context was
    /// shortened is always worth a note.
    pub(crate) fn agent(&self, event: &AgentEvent) -> Option<String> {
        let (level, what) = match &event.step {
            AgentStep::ToolCall { name, arguments, .. } => {
                (LogLevel::Debug, format!("calls {name} {arguments}"))
            }
            AgentStep::ToolResult { name, content, is_error: false, .. } => {
                (LogLevel::Debug, format!("{name} answers {content}"))
            }
            AgentStep::ToolResult { name, content, .. } => {
                (LogLevel::Debug, format!("{name} failed: {content}"))
            }
            AgentStep::Shortened { policy, count, tokens_before, tokens_after } => {
                let what = if policy == "summarize" { "messages summed up" } else { "results left out" };
                let told =
                    format!("{count} {what} to make room: {tokens_before} tokens became {tokens_after}");
                (LogLevel::Info, told)
            }
            AgentStep::Text { .. } | AgentStep::Reasoning { .. } | AgentStep::Usage { .. } => return None,
        };
        let line: String =
            what.chars().take(AGENT_LINE).map(|letter| if letter == '\n' { ' ' } else { letter }).collect();
        let more = if line.len() < what.len() { "…" } else { "" };
        let AgentEvent { agent, turn, .. } = event;
        (level >= self.level).then(|| {
            format!(
                "{} {} {}{more}\n",
                self.paint(DIM, "agent:"),
                self.safe(&format!("{agent} {turn}")),
                self.safe(&line)
            )
        })
    }

    /// Formats a note, or returns `None` with `--quiet`.
    pub(crate) fn note(&self, message: &str) -> Option<String> {
        let heard = self.level <= LogLevel::Info;
        heard.then(|| format!("{} {}\n", self.paint(CYAN, "note:"), self.safe(message)))
    }

    /// Escapes text for stderr if that is a terminal.
    pub(crate) fn safe<'a>(&self, text: &'a str) -> Cow<'a, str> {
        if self.escape { terminal::escape(text) } else { Cow::Borrowed(text) }
    }

    /// Escapes text for stdout if that is a terminal.
    pub(crate) fn safe_out<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let escape = !self.raw && std::io::stdout().is_terminal();
        if escape { terminal::escape(text) } else { Cow::Borrowed(text) }
    }

    fn label(&self, level: LogLevel) -> String {
        match level {
            LogLevel::Debug => self.paint(DIM, "debug:"),
            LogLevel::Info => self.paint(GREEN, "info:"),
            LogLevel::Warn => self.paint(YELLOW, "warning:"),
            LogLevel::Error => self.paint(RED, "error:"),
        }
    }

    fn paint(&self, style: &str, text: &str) -> String {
        if self.colour { format!("\u{1b}[{style}m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}

const RED: &str = "1;31";
const YELLOW: &str = "1;33";
const GREEN: &str = "32";
const CYAN: &str = "36";
const DIM: &str = "2";

/// Writes to stderr.
pub(crate) fn say(text: &str) {
    // If stderr is closed, there is nobody to report to.
    let _ = std::io::stderr().write_all(text.as_bytes());
}

fn frame(frame: &StackFrame) -> String {
    match &frame.function {
        Some(function) => format!("at {} in {function}", frame.place),
        None => format!("at {}", frame.place),
    }
}

/// Formats the details of a provider call: `provider openai, status 401, request id r1, 3 attempts`.
fn call(call: &CallInfo) -> Option<String> {
    let facts: Vec<String> = [
        call.provider.as_ref().map(|provider| format!("provider {provider}")),
        call.status.map(|status| format!("status {status}")),
        call.request_id.as_ref().map(|id| format!("request id {id}")),
        (call.attempts > 1).then(|| format!("{} attempts", call.attempts)),
        call.retry_after.map(|seconds| format!("retry after {seconds}s")),
    ]
    .into_iter()
    .flatten()
    .collect();
    (!facts.is_empty()).then(|| facts.join(", "))
}

/// Formats a value in a log line: a simple text without quotes, everything else as JSON.
fn field(value: &Value) -> String {
    match value {
        Value::Str(text) if !text.is_empty() && !text.contains([' ', '"', '=', '\n']) => text.clone(),
        value => json(value),
    }
}

/// Returns the first 64 KB of a value's JSON, since a spell's value may be as large as its memory limit.
fn json(value: &Value) -> String {
    let mut text = Beginning(Vec::new());
    let written = serde_json::to_writer(&mut text, value);
    match written {
        Ok(()) => String::from_utf8_lossy(&text.0).into_owned(),
        Err(error) if error.is_io() => String::from_utf8_lossy(&text.0).into_owned() + "…",
        Err(_) => format!("a {}", value.type_name()),
    }
}

/// A writer that fails once it has a fixed number of bytes.
struct Beginning(Vec<u8>);

impl Beginning {
    const MOST: usize = 64 * 1024;
}

impl std::io::Write for Beginning {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let room = bytes.len().min(Self::MOST - self.0.len());
        self.0.extend_from_slice(&bytes[..room]);
        Ok(room)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use llmspell::{Map, SourceLocation};

    use super::*;

    const PLAIN: Reporter = Reporter { level: LogLevel::Info, colour: false, escape: false, raw: false };

    fn place(line: u32) -> SourceLocation {
        SourceLocation { file: "main.luau".into(), line, column: None }
    }

    #[test]
    fn an_error_is_message_place_excerpt_and_hints() {
        let error = Error::syntax("expected an expression")
            .at(place(3))
            .with_excerpt("3 | local x = = 1\n  |           ^")
            .hint("take out one `=`");
        let expected = "error: expected an expression\n  at main.luau:3\n  3 | local x = = 1\n    |           ^\n\
                        hint: take out one `=`\n";
        assert_eq!(PLAIN.error(&error), expected);
    }

    #[test]
    fn a_traceback_is_shown_once_and_not_without_end() {
        let frame = |line| StackFrame { place: place(line), function: Some("dig".into()) };
        let error = Error::runtime("boom").at(place(1)).with_traceback((1..=40).map(frame).collect());
        let text = PLAIN.error(&error);
        assert!(text.starts_with("error: boom\n  at main.luau:1 in dig\n  at main.luau:2 in dig\n"));
        assert!(text.ends_with("  at main.luau:16 in dig\n  … 24 calls more\n"));
    }

    #[test]
    fn a_failed_call_says_what_the_provider_knows_of_it() {
        let info = CallInfo {
            provider: Some("openai".into()),
            status: Some(429),
            request_id: Some("r1".into()),
            attempts: 3,
            retry_after: Some(7.5),
            ..CallInfo::default()
        };
        let text = PLAIN.error(&Error::runtime("slow down").with_call(info));
        let call = "  provider openai, status 429, request id r1, 3 attempts, retry after 7.5s\n";
        assert_eq!(text, format!("error: slow down\n{call}"));
    }

    #[test]
    fn a_terminal_gets_colour_and_no_control_characters_of_others() {
        let report = Reporter { colour: true, escape: true, ..PLAIN };
        let text = report.error(&Error::runtime("\u{1b}[2Jboo").hint("run\u{202e}"));
        assert_eq!(
            text,
            "\u{1b}[1;31merror:\u{1b}[0m \\u{1b}[2Jboo\n\u{1b}[36mhint:\u{1b}[0m run\\u{202e}\n"
        );
    }

    #[test]
    fn what_an_agent_does_is_a_line_for_whoever_wants_to_hear_all() {
        let event = |step| AgentEvent { agent: "clerk".into(), turn: 2, step };
        let call = event(AgentStep::ToolCall {
            id: "c".into(),
            name: "price".into(),
            arguments: serde_json::json!({"thing": "lamp"}),
        });
        let result = event(AgentStep::ToolResult {
            id: "c".into(),
            name: "price".into(),
            content: "40\neuros ".repeat(40),
            is_error: false,
            untrusted: true,
        });
        let shortened = event(AgentStep::Shortened {
            policy: "drop_results".into(),
            count: 3,
            tokens_before: 9_000,
            tokens_after: 4_000,
        });
        let all = Reporter { level: LogLevel::Debug, ..PLAIN };
        assert_eq!(all.agent(&call).unwrap(), "agent: clerk 2 calls price {\"thing\":\"lamp\"}\n");
        let line = all.agent(&result).unwrap();
        assert!(
            line.starts_with("agent: clerk 2 price answers 40 euros 40 euros") && line.ends_with("…\n"),
            "{line}"
        );
        assert_eq!(PLAIN.agent(&call), None);
        let told = "agent: clerk 2 3 results left out to make room: 9000 tokens became 4000\n";
        assert_eq!(PLAIN.agent(&shortened).unwrap(), told);
    }

    #[test]
    fn a_log_line_has_its_level_message_and_fields() {
        let entry = |level| LogEntry {
            time: 0.0,
            level,
            message: "read".into(),
            fields: Map::from_iter([
                ("file".to_owned(), Value::from("a.txt")),
                ("note".to_owned(), Value::from("two words")),
                ("bytes".to_owned(), Value::from(7)),
            ]),
            spell: "s".into(),
            run_id: "r".into(),
        };
        let line = "info: read file=a.txt note=\"two words\" bytes=7\n";
        assert_eq!(PLAIN.log(&entry(LogLevel::Info)).as_deref(), Some(line));
        assert_eq!(PLAIN.log(&entry(LogLevel::Debug)), None);
        let quiet = Reporter { level: LogLevel::Warn, ..PLAIN };
        assert_eq!((quiet.log(&entry(LogLevel::Info)), quiet.note("n")), (None, None));
        assert!(quiet.log(&entry(LogLevel::Error)).is_some());
    }
}
