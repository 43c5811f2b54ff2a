//! The cases of one test file: their order, the current one, and their results.
//!
//! The `test` bridge adds cases while the file is read, and the first one starts a task in the session that runs them
//! one after the other. Each result is sent to the runner (`testing.rs`) as a [`Note`]. The task waits until the runner
//! has taken it, so that printed text is attributed to the right case.

use std::collections::{HashSet, VecDeque};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use llmspell_core::{Callback, Context, Error, ErrorKind, Result, Value};
use tempfile::TempDir;
use tokio::sync::{mpsc, oneshot};

use super::same::{failed, like_snapshot};
use super::{CaseReport, CaseState, Setup, files};

/// The time limit of a case, except in recordings.
const PATIENCE: Duration = Duration::from_secs(60);

/// The result of a case, and the channel on which the runner confirms that it has taken it.
pub(super) type Note = (CaseReport, oneshot::Sender<()>);

/// The test file in a session's state, where the `test` bridge finds it.
#[derive(Default)]
pub(super) struct TestFileSlot(OnceLock<Arc<TestFile>>);

impl TestFileSlot {
    /// Sets the test file, before the session begins.
    pub(super) fn set(&self, test_file: Arc<TestFile>) {
        // A session has exactly one test file, so this is the first call.
        let _ = self.0.set(test_file);
    }
}

/// The cases of one test file.
pub(super) struct TestFile {
    pub(super) setup: Arc<Setup>,
    pub(super) file: String,
    notes: mpsc::UnboundedSender<Note>,
    state: Mutex<TestFileState>,
}

#[derive(Default)]
struct TestFileState {
    waiting: VecDeque<Case>,
    slugs: HashSet<String>,
    current: Option<Current>,
    /// Whether the task that runs the cases is active.
    under_way: bool,
    /// The recordings and snapshots that cases have used.
    used: HashSet<String>,
    seen: usize,
}

struct Case {
    name: String,
    /// The function of the case; `None` if it is skipped.
    run: Option<Callback>,
}

struct Current {
    name: String,
    slug: String,
    began: Instant,
    runs: usize,
    snapshots: usize,
    sandbox: Option<Arc<Sandbox>>,
}

/// A temporary copy of the spell's folder, with a storage, in which a case records its runs.
pub(super) struct Sandbox {
    /// The temporary folder; `None` once it has been removed.
    root: Mutex<Option<TempDir>>,
    /// The copy of the spell's folder.
    pub(super) spell: PathBuf,
    /// The root of storages.
    pub(super) storage: PathBuf,
}

impl Sandbox {
    fn new(setup: &Setup) -> Result<Self> {
        let failed = |error: std::io::Error| {
            Error::new(ErrorKind::Io, format!("cannot make a folder to record in: {error}"))
                .with_source(error)
        };
        let root = TempDir::with_prefix("llmspell-test-").map_err(failed)?;
        // The copy has the name of the original, because a spell without a name in its manifest is named after its
        // folder.
        let spell = root.path().join(setup.root.file_name().unwrap_or("spell".as_ref()));
        let storage = root.path().join(".storage");
        Dir::create_ambient_dir_all(&spell, ambient_authority()).map_err(failed)?;
        let copy = Dir::open_ambient_dir(&spell, ambient_authority()).map_err(failed)?;
        files::copy(&setup.folder.dir, &copy)?;
        Ok(Self { root: Mutex::new(Some(root)), spell, storage })
    }

    fn remove(&self) {
        drop(self.root.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}

impl TestFile {
    pub(super) fn new(setup: Arc<Setup>, file: String, notes: mpsc::UnboundedSender<Note>) -> Self {
        Self { setup, file, notes, state: Mutex::default() }
    }

    /// Returns the test file of a session.
    ///
    /// # Errors
    /// When the session does not belong to a test.
    pub(super) fn of(cx: &Context) -> Result<Arc<Self>> {
        cx.state::<TestFileSlot>().0.get().cloned().ok_or_else(|| {
            Error::argument("this is no test").hint("`llmspell test` runs the tests of a spell")
        })
    }

    fn state(&self) -> MutexGuard<'_, TestFileState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a case to the queue.
    ///
    /// # Errors
    /// When the name is taken, or when the call is made within another case.
    pub(super) fn add(self: &Arc<Self>, cx: &Context, name: String, run: Option<Callback>) -> Result<()> {
        let mut state = self.state();
        if let Some(current) = &state.current {
            let message = format!("the case `{name}` stands within the case `{}`", current.name);
            return Err(Error::argument(message).hint("cases stand side by side; a loop may name many"));
        }
        let slug = files::slug(&name);
        if !state.slugs.insert(slug.clone()) {
            return Err(Error::argument(format!(
                "there is a case `{name}` already, or one that is kept by that name"
            ))
            .hint(format!("what it keeps is named `{slug}`: give each case a name of its own")));
        }
        state.seen += 1;
        if !self.setup.wants(&self.file, &name) {
            // Its recordings and snapshots still count as used, because unused files are only searched for without a
            // filter.
            return Ok(());
        }
        state.waiting.push_back(Case { name, run });
        if !state.under_way {
            state.under_way = true;
            let test_file = Arc::clone(self);
            cx.beside(async move { test_file.work().await });
        }
        Ok(())
    }

    /// Runs the cases one after the other.
    async fn work(&self) -> Result<()> {
        while let Some(run) = self.begin() {
            let result = match run {
                None => None,
                Some(run) => Some(self.run(&run).await),
            };
            // An error that ends the whole file is reported with the remaining cases, by `break_off`.
            if let Some(Err(error)) = &result
                && error.is_final()
            {
                return Err(error.clone());
            }
            let Some(report) = self.end(result) else { continue };
            let (taken, is_taken) = oneshot::channel();
            if self.notes.send((report, taken)).is_ok() {
                // From here on, printed text belongs to the next case.
                let _ = is_taken.await;
            }
        }
        Ok(())
    }

    async fn run(&self, case: &Callback) -> Result<()> {
        let running = case.call(Vec::new());
        if self.setup.record.is_some() {
            return running.await.map(drop);
        }
        match tokio::time::timeout(PATIENCE, running).await {
            Ok(result) => result.map(drop),
            Err(_) => Err(failed(format!("the case took longer than {} s", PATIENCE.as_secs()))),
        }
    }

    /// Starts the next case and returns its function. The inner `None` is a skipped case.
    fn begin(&self) -> Option<Option<Callback>> {
        let mut state = self.state();
        let Some(Case { name, run }) = state.waiting.pop_front() else {
            state.under_way = false;
            return None;
        };
        let slug = files::slug(&name);
        state.current =
            Some(Current { name, slug, began: Instant::now(), runs: 0, snapshots: 0, sandbox: None });
        Some(run)
    }

    /// Ends the current case. Without a result it was skipped.
    fn end(&self, result: Option<Result<()>>) -> Option<CaseReport> {
        let current = self.state().current.take()?;
        let (state, error) = match result {
            None => (CaseState::Skipped, None),
            Some(Ok(())) => (CaseState::Passed, None),
            Some(Err(error)) => (CaseState::Failed, Some(error)),
        };
        let seconds = current.began.elapsed().as_secs_f64();
        Some(CaseReport { seconds, error, ..CaseReport::new(&self.file, &current.name, state) })
    }

    /// Ends the file with an error. Returns the reports of the current case and of those that had not begun.
    pub(super) fn break_off(&self, error: &Error) -> Vec<CaseReport> {
        let mut left: Vec<_> = self.end(Some(Err(error.clone()))).into_iter().collect();
        let waiting = std::mem::take(&mut self.state().waiting);
        left.extend(waiting.into_iter().map(|case| match case.run {
            Some(_) => CaseReport {
                error: Some(error.clone()),
                ..CaseReport::new(&self.file, &case.name, CaseState::Failed)
            },
            None => CaseReport::new(&self.file, &case.name, CaseState::Skipped),
        }));
        left
    }

    /// Removes the folder in which the current case records, even if its runs have not ended.
    pub(super) fn abandon(&self) {
        if let Some(sandbox) = self.state().current.as_ref().and_then(|current| current.sandbox.as_ref()) {
            sandbox.remove();
        }
    }

    /// Returns the number of cases in the file, whether the filter selects them or not.
    pub(super) fn seen(&self) -> usize {
        self.state().seen
    }

    /// Returns the recordings and snapshots that no case has used.
    ///
    /// # Errors
    /// When a folder cannot be read.
    pub(super) fn unused(&self) -> Result<Vec<String>> {
        let dir = &self.setup.folder.dir;
        let mut kept = files::list(dir, &files::recordings(&self.file))?;
        kept.extend(files::list(dir, &files::snapshots(&self.file))?);
        let state = self.state();
        kept.retain(|file| !state.used.contains(file));
        Ok(kept)
    }

    /// Returns the path of the recording for the next run in the current case, and the folder to record in if it is to
    /// be recorded.
    ///
    /// # Errors
    /// When no case is active, or when the spell's folder cannot be copied.
    pub(super) fn next_run(&self) -> Result<(String, Option<Arc<Sandbox>>)> {
        let mut state = self.state();
        let TestFileState { current, used, .. } = &mut *state;
        let current = current.as_mut().ok_or_else(|| outside("run"))?;
        current.runs += 1;
        let file = files::recording(&self.file, &current.slug, current.runs);
        used.insert(file.clone());
        if self.setup.record.is_none() {
            return Ok((file, None));
        }
        let sandbox = match &current.sandbox {
            Some(sandbox) => Arc::clone(sandbox),
            None => Arc::clone(current.sandbox.insert(Arc::new(Sandbox::new(&self.setup)?))),
        };
        Ok((file, Some(sandbox)))
    }

    /// Compares a value with the next snapshot of the current case, or stores it when recording.
    ///
    /// # Errors
    /// When the value differs, or when there is no snapshot.
    pub(super) fn snapshot(&self, value: &Value) -> Result<()> {
        let file = {
            let mut state = self.state();
            let TestFileState { current, used, .. } = &mut *state;
            let current = current.as_mut().ok_or_else(|| outside("snapshot"))?;
            current.snapshots += 1;
            let file = files::snapshot(&self.file, &current.slug, current.snapshots);
            used.insert(file.clone());
            file
        };
        let text = match value {
            Value::Str(text) => text.clone(),
            data if data.is_data() => {
                let json = serde_json::to_string_pretty(data);
                json.map_err(|error| failed(format!("this cannot be kept: {error}")))? + "\n"
            }
            other => return Err(failed(format!("a {} cannot be kept: only data can", other.type_name()))),
        };
        let dir = &self.setup.folder.dir;
        if self.setup.record.is_some() {
            return files::write(dir, &file, &text);
        }
        match files::read(dir, &file)? {
            Some(kept) => like_snapshot(&text, &kept, &file),
            None => Err(failed(format!("there is no snapshot {file}"))
                .hint("`llmspell test --update` keeps what there is now")),
        }
    }
}

fn outside(what: &str) -> Error {
    Error::argument(format!("`test.{what}` stands within a case"))
        .hint("test.case(\"what it shows\", function() … end)")
}
