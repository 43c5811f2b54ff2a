//! The course of one test file: its cases, which of them is under way, and what each comes to.

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

/// How long a case may take that asks nothing of the world.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the runner hears: a case that has ended, and where to say that this was taken in.
pub(super) type Note = (CaseReport, oneshot::Sender<()>);

/// The course of a test file, as its session knows it.
#[derive(Default)]
pub(super) struct Slot(OnceLock<Arc<Course>>);

impl Slot {
    /// Sets it, before the session begins.
    pub(super) fn set(&self, course: Arc<Course>) {
        // One session has one course.
        let _ = self.0.set(course);
    }
}

/// The cases of one test file.
pub(super) struct Course {
    pub(super) setup: Arc<Setup>,
    pub(super) file: String,
    notes: mpsc::UnboundedSender<Note>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Case>,
    slugs: HashSet<String>,
    current: Option<Current>,
    /// Whether somebody works at the cases.
    under_way: bool,
    /// The kept files that cases have used.
    used: HashSet<String>,
    seen: usize,
}

struct Case {
    name: String,
    /// What to do; nothing for one that is skipped.
    run: Option<Callback>,
}

struct Current {
    name: String,
    slug: String,
    began: Instant,
    runs: usize,
    snapshots: usize,
    world: Option<Arc<World>>,
}

/// A copy of the spell's folder, and a storage, in which a case records its runs.
pub(super) struct World {
    /// Taken when it is removed.
    root: Mutex<Option<TempDir>>,
    /// The copy of the spell's folder.
    pub(super) spell: PathBuf,
    /// Where storages are.
    pub(super) storage: PathBuf,
}

impl World {
    fn new(setup: &Setup) -> Result<Self> {
        let failed = |error: std::io::Error| {
            Error::new(ErrorKind::Io, format!("cannot make a folder to record in: {error}"))
                .with_source(error)
        };
        let root = TempDir::with_prefix("llmspell-test-").map_err(failed)?;
        // A spell without another name is named like its folder.
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

impl Course {
    pub(super) fn new(setup: Arc<Setup>, file: String, notes: mpsc::UnboundedSender<Note>) -> Self {
        Self { setup, file, notes, state: Mutex::default() }
    }

    /// The course of the session that asks.
    ///
    /// # Errors
    /// When it is none of a test.
    pub(super) fn of(cx: &Context) -> Result<Arc<Self>> {
        cx.state::<Slot>().0.get().cloned().ok_or_else(|| {
            Error::argument("this is no test").hint("`llmspell test` runs the tests of a spell")
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a case, to be run when its turn comes.
    ///
    /// # Errors
    /// When there is one of its name, or it is named within another.
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
            // What it keeps is in use all the same.
            return Ok(());
        }
        state.waiting.push_back(Case { name, run });
        if !state.under_way {
            state.under_way = true;
            let course = Arc::clone(self);
            cx.beside(async move { course.work().await });
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
            // What ends the whole file is told with what is left of it.
            if let Some(Err(error)) = &result
                && error.is_final()
            {
                return Err(error.clone());
            }
            let Some(report) = self.end(result) else { continue };
            let (taken, is_taken) = oneshot::channel();
            if self.notes.send((report, taken)).is_ok() {
                // What is printed from now on belongs to the next case.
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

    /// Begins the next case.
    fn begin(&self) -> Option<Option<Callback>> {
        let mut state = self.state();
        let Some(Case { name, run }) = state.waiting.pop_front() else {
            state.under_way = false;
            return None;
        };
        let slug = files::slug(&name);
        state.current =
            Some(Current { name, slug, began: Instant::now(), runs: 0, snapshots: 0, world: None });
        Some(run)
    }

    /// Ends the case under way; without a result, it was skipped.
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

    /// What is left of the cases when this ended the file: the one under way, and those that had not begun.
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

    /// Removes what the case under way records in, though its runs may not have ended.
    pub(super) fn abandon(&self) {
        if let Some(world) = self.state().current.as_ref().and_then(|current| current.world.as_ref()) {
            world.remove();
        }
    }

    /// How many cases there were, wanted or not.
    pub(super) fn seen(&self) -> usize {
        self.state().seen
    }

    /// The kept files that no case has used.
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

    /// The recording of the next run in the case under way, and where it is recorded if it is.
    ///
    /// # Errors
    /// When no case is under way, or the spell's folder cannot be copied.
    pub(super) fn next_run(&self) -> Result<(String, Option<Arc<World>>)> {
        let mut state = self.state();
        let State { current, used, .. } = &mut *state;
        let current = current.as_mut().ok_or_else(|| outside("run"))?;
        current.runs += 1;
        let file = files::recording(&self.file, &current.slug, current.runs);
        used.insert(file.clone());
        if self.setup.record.is_none() {
            return Ok((file, None));
        }
        let world = match &current.world {
            Some(world) => Arc::clone(world),
            None => Arc::clone(current.world.insert(Arc::new(World::new(&self.setup)?))),
        };
        Ok((file, Some(world)))
    }

    /// Compares a value with the next snapshot of the case under way, or keeps it as that.
    ///
    /// # Errors
    /// When it is another, or there is none.
    pub(super) fn snapshot(&self, value: &Value) -> Result<()> {
        let file = {
            let mut state = self.state();
            let State { current, used, .. } = &mut *state;
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
