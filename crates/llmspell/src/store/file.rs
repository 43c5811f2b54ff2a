//! A sink that records one run into a file, a [recording](crate::Recording).

use std::fs::File;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures_util::future::BoxFuture;
use llmspell_core::{Error, ErrorKind, Result};

use super::{JournalRecord, Lease, NewRun, RecordSink, fenced};
use crate::journal::Recording;
use crate::journal::recording::RecordingText;

/// Records one run into a file. Until the run has ended, its records are in `FILE.partial`.
#[derive(Debug)]
pub(crate) struct RecordingFile {
    file: PathBuf,
    open: Mutex<Option<OpenRecording>>,
}

#[derive(Debug)]
struct OpenRecording {
    run_id: String,
    partial: File,
    text: RecordingText,
}

impl RecordingFile {
    /// Creates a sink for one run. An existing recording is replaced only when the new one is complete.
    pub(crate) fn new(file: impl Into<PathBuf>) -> Self {
        Self { file: file.into(), open: Mutex::default() }
    }

    fn partial(&self) -> PathBuf {
        self.beside("partial")
    }

    fn beside(&self, extension: &str) -> PathBuf {
        let mut path = self.file.clone().into_os_string();
        path.push(".");
        path.push(extension);
        path.into()
    }

    fn open(&self) -> MutexGuard<'_, Option<OpenRecording>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn create_run(&self, run: &NewRun) -> Result<Lease> {
        let mut open = self.open();
        if open.is_some() {
            return Err(Error::new(ErrorKind::Conflict, "a recording holds one run"));
        }
        let text = RecordingText::begin(&run.info)?;
        #[expect(clippy::disallowed_methods, reason = "the user names the file, no spell does")]
        let partial = File::create(self.partial()).map_err(|error| self.failed(error))?;
        let run_id = run.info.run_id.clone();
        let lease = Lease { run_id: run_id.clone(), epoch: 1 };
        *open = Some(OpenRecording { run_id, partial, text });
        Ok(lease)
    }

    fn append_records(&self, lease: &Lease, records: &[JournalRecord]) -> Result<()> {
        let mut open = self.open();
        let Some(recording) = open.as_mut().filter(|open| open.run_id == lease.run_id) else {
            return Err(fenced(lease));
        };
        let text = &mut recording.text;
        let mut is_closed = false;
        for record in records {
            match record {
                JournalRecord::Started { effect, .. } => text.effect(effect, None)?,
                JournalRecord::Part { path, order, part } => text.part(path, *order, part)?,
                JournalRecord::Ended { path, end, .. } => text.end(path, end)?,
                JournalRecord::Done { effect, end, .. } => text.effect(effect, Some(end))?,
                JournalRecord::Modules(_) | JournalRecord::Lines(_) => {}
                JournalRecord::Closed { .. } => is_closed = true,
            }
        }
        recording.partial.write_all(text.take().as_bytes()).map_err(|error| self.failed(error))?;
        if is_closed {
            *open = None;
            self.finish()?;
        }
        Ok(())
    }

    /// Sorts the partial file into the final recording.
    #[expect(clippy::disallowed_methods, reason = "the user names the file, no spell does")]
    fn finish(&self) -> Result<()> {
        let partial = self.partial();
        let text = Recording::read(&partial)?.text()?;
        let new = self.beside("new");
        std::fs::write(&new, text)
            .and_then(|()| std::fs::rename(&new, &self.file))
            .and_then(|()| std::fs::remove_file(&partial))
            .map_err(|error| self.failed(error))
    }

    fn failed(&self, error: std::io::Error) -> Error {
        let message = format!("cannot write the recording {}: {error}", self.file.display());
        Error::new(ErrorKind::Io, message).with_source(error)
    }
}

impl RecordSink for RecordingFile {
    fn create<'a>(&'a self, run: &'a NewRun) -> BoxFuture<'a, Result<Lease>> {
        Box::pin(async move { self.create_run(run) })
    }

    fn append<'a>(&'a self, lease: &'a Lease, records: &'a [JournalRecord]) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move { self.append_records(lease, records) })
    }

    fn try_append(&self, lease: &Lease, records: &[JournalRecord]) -> Option<Result<()>> {
        // The end of the run makes the final recording out of all records.
        let is_closed = records.iter().any(|record| matches!(record, JournalRecord::Closed { .. }));
        (!is_closed).then(|| self.append_records(lease, records))
    }

    /// Keeps the partial file, which can be replayed.
    fn release<'a>(&'a self, _: &'a Lease) -> BoxFuture<'a, Result<()>> {
        *self.open() = None;
        Box::pin(std::future::ready(Ok(())))
    }
}
