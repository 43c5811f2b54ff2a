//! Lines that the user types, for spells and for the permission question.
//!
//! A spell's question takes two steps. [`Asker`] sends it to the loop that drives the run, which shows the prompt after
//! all earlier output. Then [`StdinReader`] reads a line on a separate thread, since reading stdin cannot be cancelled.

use std::io::{BufRead, Read};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use llmspell::capability::Console;
use llmspell::effect::Permit;
use llmspell::{Error, ErrorKind, Result};
use tokio::sync::{mpsc, oneshot};

use crate::exit;

/// The longest line of input, in bytes.
const MAX_LINE: u64 = 16 * 1024 * 1024;

/// A line of input, or `None` at the end of input.
pub(crate) type Line = Result<Option<String>>;

/// A question to the user that waits for a line.
pub(crate) struct UserQuestion {
    /// The prompt to show.
    pub(crate) prompt: String,
    answer: oneshot::Sender<Line>,
    answered: Arc<AtomicBool>,
}

impl UserQuestion {
    /// Creates a question whose prompt has been shown already, and the receiver of its answer.
    pub(crate) fn new() -> (Self, oneshot::Receiver<Line>) {
        let (answer, line) = oneshot::channel();
        (Self { prompt: String::new(), answer, answered: Arc::default() }, line)
    }

    /// Returns a flag that is set when the answer has arrived.
    pub(crate) fn answered(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.answered)
    }
}

/// The console of a run. It sends questions to the screen, which shows them after all earlier output.
pub(crate) struct Asker(mpsc::UnboundedSender<UserQuestion>);

/// The receiver of a console's questions.
pub(crate) type Questions = mpsc::UnboundedReceiver<UserQuestion>;

/// Creates a console and the receiver of its questions.
pub(crate) fn console() -> (Asker, Questions) {
    let (sender, questions) = mpsc::unbounded_channel();
    (Asker(sender), questions)
}

impl Console for Asker {
    fn read_line(&self, _: Permit, prompt: String) -> Pin<Box<dyn Future<Output = Line> + Send>> {
        let (answer, line) = oneshot::channel();
        let answered = Arc::<AtomicBool>::default();
        let asked = self.0.send(UserQuestion { prompt, answer, answered: Arc::clone(&answered) });
        Box::pin(async move {
            let closed = || Error::new(ErrorKind::Io, "the console is closed");
            asked.map_err(|_| closed())?;
            let line = line.await.map_err(|_| closed())?;
            answered.store(true, Ordering::Relaxed);
            line
        })
    }
}

/// Reads stdin on a separate thread, which starts with the first question. A thread that waits for a line does not
/// keep the process alive.
#[derive(Default)]
pub(crate) struct StdinReader(Option<std::sync::mpsc::Sender<UserQuestion>>);

impl StdinReader {
    /// Answers a question with the next line of stdin.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub(crate) fn answer(&mut self, question: UserQuestion) -> Result<()> {
        let sender = match &self.0 {
            Some(sender) => sender,
            None => {
                let (sender, questions) = std::sync::mpsc::channel();
                std::thread::Builder::new()
                    .name("stdin".into())
                    .spawn(move || serve(std::io::stdin().lock(), &questions))
                    .map_err(|error| exit::io("cannot read stdin", error))?;
                self.0.insert(sender)
            }
        };
        // The thread receives until the sender is dropped, so this cannot fail.
        let _ = sender.send(question);
        Ok(())
    }
}

fn serve(mut input: impl BufRead, questions: &std::sync::mpsc::Receiver<UserQuestion>) {
    // A line that was read for a question that was then abandoned answers the next question.
    let mut unwanted = None;
    for question in questions {
        if question.answer.is_closed() {
            continue;
        }
        let line = unwanted.take().unwrap_or_else(|| read_line(&mut input));
        unwanted = question.answer.send(line).err();
    }
}

fn read_line(input: &mut impl BufRead) -> Line {
    let mut bytes = Vec::new();
    input
        .take(MAX_LINE + 1)
        .read_until(b'\n', &mut bytes)
        .map_err(|error| exit::io("cannot read stdin", error))?;
    let bad = |what: &str| Error::new(ErrorKind::Io, format!("the line read from stdin is {what}"));
    if bytes.len() as u64 > MAX_LINE {
        return Err(bad("longer than 16 MB"));
    }
    if bytes.is_empty() {
        return Ok(None);
    }
    let mut line = String::from_utf8(bytes).map_err(|_| bad("not UTF-8 text"))?;
    if line.ends_with('\n') {
        line.pop();
        if line.ends_with('\r') {
            line.pop();
        }
    }
    Ok(Some(line))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_without_their_ends_until_there_are_no_more() {
        let mut input = &b"one\ntwo\r\n\nlast"[..];
        let lines: Vec<_> = std::iter::from_fn(|| read_line(&mut input).unwrap()).collect();
        assert_eq!(lines, ["one", "two", "", "last"]);
        let error = read_line(&mut &b"\xff\n"[..]).unwrap_err();
        assert_eq!(error.message(), "the line read from stdin is not UTF-8 text");
        let error = read_line(&mut std::io::BufReader::new(std::io::repeat(b'x'))).unwrap_err();
        assert_eq!(error.message(), "the line read from stdin is longer than 16 MB");
    }

    #[test]
    fn a_question_that_nobody_waits_for_takes_no_line() {
        let (sender, questions) = std::sync::mpsc::channel();
        let (given_up, gone) = oneshot::channel();
        drop(gone);
        let (answer, mut line) = oneshot::channel();
        for answer in [given_up, answer] {
            sender.send(UserQuestion { prompt: String::new(), answer, answered: Arc::default() }).unwrap();
        }
        drop(sender);
        serve(&b"first\n"[..], &questions);
        assert_eq!(line.try_recv().unwrap().unwrap().as_deref(), Some("first"));
    }
}
