//! The writer thread, which appends journal records to stores.
//!
//! A run adds records to its [`Queue`] and continues. There are two ways from there into the store:
//!
//! - **On the run's own thread**, when the run begins to wait for a record and the store can append it in a moment
//!   ([`RecordSink::try_append`]). A run that makes one call after another would otherwise change threads twice for each
//!   of them, which costs more than the commit.
//! - **On the writer thread**, in all other cases: the first record of a run, a write-ahead start, which is synced to
//!   the disk, much data, or a store that is busy. The writer also appends what nobody waits for, [`LINGER`] after the
//!   first record, so that a busy run needs few commits. While one batch is being written, the next one fills. All runs
//!   of a runtime share one writer.
//!
//! Invariants:
//!
//! - A batch is appended completely or not at all, and batches of a run are appended in order.
//! - A printed line is shown only after the record that counts it is durable, so a resumed run repeats no line.
//! - A queue holds at most about [`MOST_WAITING`] bytes; then the script's thread waits.
//! - After a failed append, [`Commits`] holds the error and the run ends at its next effect.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::Duration;

use llmspell_core::commit::{CommitPoint, Commits, Committer};
use llmspell_core::{Error, ErrorKind, Event, LogEntry, LogLevel, Map, Result};
use tokio::sync::{Notify, mpsc};

use crate::spell::Spell;
use crate::store::{JournalRecord, Lease, NewRun, RecordSink};

/// The maximum size of the waiting records of one queue, in bytes. A run that adds more waits for the writer.
const MOST_WAITING: usize = 4 << 20;
/// The maximum size of a batch that is appended on the run's own thread, in bytes. It takes about a millisecond.
const MOST_AT_ONCE: usize = 256 << 10;
/// How long the writer waits for more records, or for the run to commit them itself.
const LINGER: Duration = Duration::from_millis(10);

/// A handle to the writer. Cheap to clone. The thread starts with the first record and ends with the last handle.
#[derive(Debug, Clone, Default)]
pub(crate) struct JournalWriter(Arc<Mutex<Option<mpsc::UnboundedSender<Arc<Queue>>>>>);

impl JournalWriter {
    /// Asks the writer to process a queue.
    fn notify(&self, queue: &Arc<Queue>) -> Result<()> {
        let mut sender = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let sender = match &mut *sender {
            Some(sender) => sender,
            none => none.insert(start()?),
        };
        sender.send(Arc::clone(queue)).map_err(|_| Error::internal("the journal writer has ended"))
    }
}

fn start() -> Result<mpsc::UnboundedSender<Arc<Queue>>> {
    let (sender, mut queues) = mpsc::unbounded_channel::<Arc<Queue>>();
    let failed = |error: std::io::Error| {
        Error::new(ErrorKind::Io, format!("cannot start the journal writer: {error}")).with_source(error)
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().map_err(failed)?;
    let run = move || {
        runtime.block_on(async {
            while let Some(queue) = queues.recv().await {
                // A task per queue, so that a store that waits for a network does not delay other runs.
                tokio::spawn(queue.write());
            }
        });
    };
    thread::Builder::new().name("journal".into()).spawn(run).map_err(failed)?;
    Ok(sender)
}

/// The reaction to a store that cannot create the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnUnavailable {
    /// The run fails at its first effect.
    Fail,
    /// A warning is logged, and the run continues without a journal.
    Warn,
}

/// The records of one run on their way to the store, and the events that must not be shown before them.
pub(crate) struct Queue {
    store: Arc<dyn RecordSink>,
    writer: JournalWriter,
    commits: Arc<Commits>,
    on_unavailable: OnUnavailable,
    /// Receives events that may be shown now.
    listener: Box<dyn Fn(Event) + Send + Sync>,
    state: Mutex<WriterState>,
    /// Notified when events have been shown.
    shown: Notify,
    /// Notified when the writer is to linger no longer.
    hurry: Notify,
}

struct WriterState {
    run: RunLease,
    records: Vec<JournalRecord>,
    bytes: usize,
    /// Waiting events, each with the record that must be durable first.
    events: Vec<(CommitPoint, Event)>,
    last: CommitPoint,
    /// How many lines the run has printed and logged, according to the last record about them.
    lines: u64,
    /// Whether the writer is processing this queue, or has been asked to.
    is_scheduled: bool,
    /// Whether the writer is appending records that it has taken out of the queue.
    is_writing: bool,
    /// Whether somebody waits for a record, so that the writer does not linger.
    is_urgent: bool,
    /// Whether the run is released when everything is written.
    is_abandoned: bool,
}

/// The run's state in the store.
#[derive(Debug, Clone)]
enum RunLease {
    /// The run is created together with its first record, when the digest of its spell is computed.
    New(Arc<(NewRun, Spell)>),
    Owned(Arc<Lease>),
    /// Nothing is written.
    Off,
}

/// The writer's next action for a queue.
enum WriterStep {
    Write(RunLease, Vec<JournalRecord>, CommitPoint),
    Release(Arc<Lease>),
    Nothing,
}

impl Queue {
    /// Creates the queue of a new run. The run is created in the store with its first record.
    pub(crate) fn new(
        store: Arc<dyn RecordSink>,
        writer: JournalWriter,
        run: NewRun,
        spell: Spell,
        on_unavailable: OnUnavailable,
        listener: Box<dyn Fn(Event) + Send + Sync>,
    ) -> Arc<Self> {
        Self::with(store, writer, RunLease::New(Arc::new((run, spell))), on_unavailable, listener)
    }

    /// Creates the queue of a resumed run.
    pub(crate) fn claimed(
        store: Arc<dyn RecordSink>,
        writer: JournalWriter,
        lease: Lease,
        listener: Box<dyn Fn(Event) + Send + Sync>,
    ) -> Arc<Self> {
        Self::with(store, writer, RunLease::Owned(Arc::new(lease)), OnUnavailable::Fail, listener)
    }

    fn with(
        store: Arc<dyn RecordSink>,
        writer: JournalWriter,
        run: RunLease,
        on_unavailable: OnUnavailable,
        listener: Box<dyn Fn(Event) + Send + Sync>,
    ) -> Arc<Self> {
        let state = WriterState {
            run,
            records: Vec::new(),
            bytes: 0,
            events: Vec::new(),
            last: CommitPoint::REACHED,
            lines: 0,
            is_scheduled: false,
            is_writing: false,
            is_urgent: false,
            is_abandoned: false,
        };
        Arc::new_cyclic(|queue: &Weak<Self>| Self {
            store,
            writer,
            commits: Arc::new(Commits::of(Weak::clone(queue) as Weak<dyn Committer>)),
            on_unavailable,
            listener,
            state: Mutex::new(state),
            shown: Notify::new(),
            hurry: Notify::new(),
        })
    }

    pub(crate) fn commits(&self) -> &Arc<Commits> {
        &self.commits
    }

    /// Returns whether the run is in the store, or will be with the records added so far.
    pub(crate) fn is_open(&self) -> bool {
        let state = self.state();
        !matches!(state.run, RunLease::New(_)) || state.last > CommitPoint::REACHED
    }

    /// Returns how many lines the run has printed and logged, according to the last record about them.
    pub(crate) fn lines(&self) -> u64 {
        self.state().lines
    }

    /// Adds a record without scheduling its writing. It is written with the next record of [`add`](Self::add), or when
    /// somebody waits for it.
    pub(crate) fn add_lazily(self: &Arc<Self>, record: JournalRecord, bytes: usize) -> Result<CommitPoint> {
        self.add_record(record, bytes, false)
    }

    /// Adds a record that is written within [`LINGER`], or as soon as somebody waits for it.
    pub(crate) fn add(self: &Arc<Self>, record: JournalRecord, bytes: usize) -> Result<CommitPoint> {
        self.add_record(record, bytes, true)
    }

    fn add_record(
        self: &Arc<Self>,
        record: JournalRecord,
        bytes: usize,
        at_once: bool,
    ) -> Result<CommitPoint> {
        let mut state = self.state();
        let is_full = state.bytes > MOST_WAITING;
        if is_full && !matches!(state.run, RunLease::Off) {
            let last = state.last;
            drop(state);
            self.commits.wait(last)?;
            state = self.state();
        }
        state.last = state.last.next();
        let last = state.last;
        if matches!(state.run, RunLease::Off) {
            self.commits.advance(last);
            return Ok(last);
        }
        if let JournalRecord::Lines(lines) = &record {
            state.lines = *lines;
        }
        state.records.push(record);
        state.bytes += bytes;
        if at_once {
            self.schedule(&mut state)?;
        }
        Ok(last)
    }

    fn schedule(self: &Arc<Self>, state: &mut WriterState) -> Result<()> {
        if !state.is_scheduled {
            self.writer.notify(self)?;
            state.is_scheduled = true;
        }
        Ok(())
    }

    /// Makes the writer append the queue without lingering.
    fn hurry(self: &Arc<Self>, state: &mut WriterState) -> Result<()> {
        if !state.is_urgent {
            state.is_urgent = true;
            if state.is_scheduled {
                self.hurry.notify_one();
            }
        }
        self.schedule(state)
    }

    /// Appends the queue on this thread, if that takes only a moment. Returns whether the queue is empty.
    fn append_now(&self, state: &mut WriterState) -> bool {
        if state.records.is_empty() {
            return true;
        }
        let RunLease::Owned(lease) = &state.run else { return false };
        if state.is_writing || state.bytes > MOST_AT_ONCE {
            return false;
        }
        let Some(appended) = self.store.try_append(lease, &state.records) else { return false };
        state.records.clear();
        state.bytes = 0;
        let last = state.last;
        self.show_until(state, last);
        self.settle(last, appended);
        true
    }

    fn settle(&self, point: CommitPoint, appended: Result<()>) {
        match appended {
            Ok(()) => self.commits.advance(point),
            Err(error) => self.commits.fail(error),
        }
    }

    /// Shows an event after all earlier events, once `record` is durable. `record` is written first.
    pub(crate) fn show(self: &Arc<Self>, event: Event, record: Option<JournalRecord>) -> Result<()> {
        let after = match record {
            Some(record) => self.add(record, 0)?,
            None => CommitPoint::REACHED,
        };
        let mut state = self.state();
        let after = after.max(state.events.last().map_or(CommitPoint::REACHED, |(last, _)| *last));
        match state.events.is_empty() && self.commits.is_settled(after) {
            true => (self.listener)(event),
            false => state.events.push((after, event)),
        }
        Ok(())
    }

    /// Waits until all events so far are shown.
    pub(crate) async fn all_shown(self: &Arc<Self>) {
        loop {
            let shown = self.shown.notified();
            if self.state().events.is_empty() {
                return;
            }
            Arc::clone(self).commit();
            shown.await;
        }
    }

    /// Writes the queue until it is empty.
    async fn write(self: Arc<Self>) {
        if !self.state().is_urgent {
            // An elapsed time is the usual case, not an error.
            let _ = tokio::time::timeout(LINGER, self.hurry.notified()).await;
        }
        loop {
            match self.next_step() {
                WriterStep::Write(run, records, point) => {
                    let appended = self.append(run, &records).await;
                    self.show_until(&mut self.state(), point);
                    self.settle(point, appended);
                }
                WriterStep::Release(lease) => {
                    // If this fails, the run counts as owned until this process ends.
                    let _ = self.store.release(&lease).await;
                    return;
                }
                WriterStep::Nothing => return,
            }
        }
    }

    fn next_step(&self) -> WriterStep {
        let mut state = self.state();
        state.is_writing = !state.records.is_empty();
        state.is_urgent = state.is_writing;
        if state.is_writing {
            state.bytes = 0;
            return WriterStep::Write(state.run.clone(), std::mem::take(&mut state.records), state.last);
        }
        state.is_scheduled = false;
        match state.is_abandoned {
            true => match std::mem::replace(&mut state.run, RunLease::Off) {
                RunLease::Owned(lease) => WriterStep::Release(lease),
                RunLease::New(_) | RunLease::Off => WriterStep::Nothing,
            },
            false => WriterStep::Nothing,
        }
    }

    /// Shows the events that waited for records up to this point. This happens before the waiters are woken, so the end
    /// of the run or a question cannot overtake an event. It happens under the lock, so a later event cannot either.
    fn show_until(&self, state: &mut WriterState, point: CommitPoint) {
        let ready = state.events.partition_point(|(after, _)| *after <= point);
        if ready > 0 {
            state.events.drain(..ready).for_each(|(_, event)| (self.listener)(event));
            self.shown.notify_waiters();
        }
    }

    async fn append(&self, run: RunLease, records: &[JournalRecord]) -> Result<()> {
        let lease = match run {
            RunLease::Owned(lease) => lease,
            RunLease::Off => return Ok(()),
            RunLease::New(new) => {
                let (mut run, spell) = (new.0.clone(), &new.1);
                run.info.digest = spell.digest()?;
                match self.store.create(&run).await {
                    Ok(lease) => {
                        let lease = Arc::new(lease);
                        self.state().run = RunLease::Owned(Arc::clone(&lease));
                        lease
                    }
                    Err(error)
                        if self.on_unavailable == OnUnavailable::Warn && error.kind() == ErrorKind::Io =>
                    {
                        self.state().run = RunLease::Off;
                        (self.listener)(Event::Log(unavailable(&run, &error)));
                        return Ok(());
                    }
                    Err(error) => return Err(error),
                }
            }
        };
        self.store.append(&lease, records).await
    }

    /// Releases the run when all its records are written, so that it can be claimed. A run that has ended needs no
    /// release.
    pub(crate) fn abandon(self: &Arc<Self>) {
        let mut state = self.state();
        if matches!(state.run, RunLease::Owned(_)) || !state.records.is_empty() {
            state.is_abandoned = true;
            // The run is gone, so nobody can receive the error.
            let _ = self.hurry(&mut state);
        }
    }

    fn state(&self) -> MutexGuard<'_, WriterState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Committer for Queue {
    fn commit(self: Arc<Self>) {
        let mut state = self.state();
        if !self.append_now(&mut state)
            && let Err(error) = self.hurry(&mut state)
        {
            self.commits.fail(error);
        }
    }
}

fn unavailable(run: &NewRun, error: &Error) -> LogEntry {
    LogEntry {
        time: LogEntry::now(),
        level: LogLevel::Warn,
        message: format!("this run is not recorded and cannot be resumed: {}", error.message()),
        fields: Map::new(),
        spell: run.info.spell.clone(),
        run_id: run.info.run_id.clone(),
    }
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queue").field("store", &self.store).finish_non_exhaustive()
    }
}
