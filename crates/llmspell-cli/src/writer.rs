//! Writes to stdout and stderr in order, without blocking the thread that drives the sockets.

use std::io::{self, Write};
use std::sync::mpsc;
use std::thread;

use tokio::sync::oneshot;

/// Text for both streams, in the order in which it is to appear.
#[derive(Default)]
struct Batch {
    pieces: Vec<(OutputStream, Vec<u8>)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum OutputStream {
    Stdout,
    Stderr,
}

type WriteJob = (Batch, oneshot::Sender<io::Result<()>>);

/// The most bytes that a pipe accepts without blocking once it is writable: `PIPE_BUF`, which is 4096 on Linux.
const AT_ONCE: usize = 4096;

/// Buffers text for both streams and writes it in order.
///
/// Small texts are written directly while both streams are writable. From the first text that might block, all writes
/// go through a thread. A reader that stalls then blocks this thread, and not the one that handles sockets and Ctrl-C.
#[derive(Default)]
pub(crate) struct OutputWriter {
    waiting: Batch,
    thread: Option<mpsc::Sender<WriteJob>>,
}

impl OutputWriter {
    /// Adds bytes for stdout; [`flush`](Self::flush) writes them.
    pub(crate) fn stdout(&mut self, bytes: &[u8]) {
        self.waiting.add(OutputStream::Stdout, bytes);
    }

    /// Adds bytes for stderr; [`flush`](Self::flush) writes them.
    pub(crate) fn stderr(&mut self, bytes: &[u8]) {
        self.waiting.add(OutputStream::Stderr, bytes);
    }

    /// Waits until everything is written.
    ///
    /// # Errors
    /// When stdout cannot be written. Errors of stderr are ignored, since there is nowhere to report them.
    pub(crate) async fn flush(&mut self) -> io::Result<()> {
        if self.waiting.pieces.is_empty() {
            return Ok(());
        }
        let thread = match &self.thread {
            Some(thread) => thread,
            None if self.waiting.is_small() && are_ready() => {
                return std::mem::take(&mut self.waiting).write(&mut io::stdout(), &mut io::stderr());
            }
            None => self.thread.insert(start()?),
        };
        let (done, written) = oneshot::channel();
        // The thread receives until its sender is dropped, so this cannot fail.
        let _ = thread.send((std::mem::take(&mut self.waiting), done));
        written.await.unwrap_or_else(|_| Err(io::ErrorKind::BrokenPipe.into()))
    }
}

impl Batch {
    fn add(&mut self, stream: OutputStream, bytes: &[u8]) {
        match self.pieces.last_mut() {
            Some((last, piece)) if *last == stream => piece.extend_from_slice(bytes),
            _ => self.pieces.push((stream, bytes.to_vec())),
        }
    }

    fn is_small(&self) -> bool {
        self.pieces.iter().map(|(_, bytes)| bytes.len()).sum::<usize>() <= AT_ONCE
    }

    fn write(&self, stdout: &mut impl Write, stderr: &mut impl Write) -> io::Result<()> {
        let mut result = Ok(());
        for (stream, bytes) in &self.pieces {
            match stream {
                OutputStream::Stdout if result.is_ok() => {
                    result = stdout.write_all(bytes).and_then(|()| stdout.flush());
                }
                OutputStream::Stdout => {}
                OutputStream::Stderr => drop(stderr.write_all(bytes)),
            }
        }
        result
    }
}

/// Whether both streams accept a small text without blocking.
#[cfg(unix)]
fn are_ready() -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    let (stdout, stderr) = (io::stdout(), io::stderr());
    let mut streams = [PollFd::new(&stdout, PollFlags::OUT), PollFd::new(&stderr, PollFlags::OUT)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut streams, Some(&now)).is_ok_and(|ready| ready == streams.len())
        && streams.iter().all(|stream| stream.revents() == PollFlags::OUT)
}

/// Where this cannot be determined, the thread is always used.
#[cfg(not(unix))]
fn are_ready() -> bool {
    false
}

fn start() -> io::Result<mpsc::Sender<WriteJob>> {
    let (sender, jobs) = mpsc::channel::<WriteJob>();
    thread::Builder::new().name("writer".into()).spawn(move || {
        for (batch, done) in jobs {
            // The receiver may have been dropped after an interrupt.
            let _ = done.send(batch.write(&mut io::stdout(), &mut io::stderr()));
        }
    })?;
    Ok(sender)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Full;

    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn only_a_little_text_is_written_at_once() {
        let mut batch = Batch::default();
        batch.add(OutputStream::Stdout, &[b'x'; AT_ONCE]);
        assert!(batch.is_small());
        batch.add(OutputStream::Stderr, b"x");
        assert!(!batch.is_small());
    }

    #[test]
    fn what_goes_wrong_with_stdout_does_not_silence_stderr() {
        let mut batch = Batch::default();
        for (stream, text) in
            [(OutputStream::Stdout, "a"), (OutputStream::Stdout, "b"), (OutputStream::Stderr, "c")]
        {
            batch.add(stream, text.as_bytes());
        }
        assert_eq!(batch.pieces.len(), 2);
        let mut heard = Vec::new();
        let error = batch.write(&mut Full, &mut heard).unwrap_err();
        assert_eq!((error.kind(), heard.as_slice()), (io::ErrorKind::StorageFull, &b"c"[..]));
    }
}
