//! Tests of spells: scripts that run a spell and check its result, without live effects.
//!
//! A test file is a script in a spell's folder `tests`, or one named `*.test.<extension>`. It has the bridges of
//! spells, but its journal refuses live effects, and it has one more bridge: [`mod@test`].
//!
//! Each test file runs in its own session and names its cases (`test_file.rs`). A case runs the spell with `test.run`
//! (`run.rs`). The answers to the spell's effects have three sources, in this order:
//!
//! 1. Scripted answers. Faults and typed lines come from the journal itself (`test_journal.rs`). Models and web pages
//!    come from stand-ins behind the gate (`world.rs`), so retries, redirects and permissions are the real ones.
//! 2. The recording of the case, a file in `tests/recordings`.
//! 3. With `llmspell test --update`, the real world in place of that recording. Its answers become the new recording,
//!    which is replayed at once.

mod bridge;
mod files;
mod options;
mod run;
mod same;
mod test_file;
mod test_journal;
mod world;

use std::path::PathBuf;
use std::sync::Arc;

use llmspell_core::{Error, Event, Permissions, Result};
use serde::Serialize;
use tokio::sync::mpsc;

pub use self::bridge::test;
pub use self::options::{Fault, HttpAnswer, ModelAnswer, RunOptions, Short};
pub use self::run::{Failure, LogLine, RunResult};

use self::run::RUN_ID;
use self::test_file::{Note, TestFile, TestFileSlot};
use self::test_journal::DenyAll;
use crate::run::{Events, TestWorld};
use crate::runtime::Runtime;
use crate::spell::{Folder, Spell};

/// The name of the case that stands for a test file which fails as a whole.
pub const WHOLE_FILE: &str = "(the file)";

/// How a case ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CaseState {
    /// All checks passed.
    Passed,
    /// A check failed, or there was an error.
    Failed,
    /// The case was not run.
    Skipped,
}

/// The result of one case.
#[derive(Debug, Clone, Serialize)]
pub struct CaseReport {
    /// The path of the test file in the spell's folder.
    pub file: String,
    /// The name of the case, or [`WHOLE_FILE`] if the failure belongs to no case.
    pub name: String,
    /// How the case ended.
    pub state: CaseState,
    /// How long the case took, in seconds.
    pub seconds: f64,
    /// Why the case failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Error>,
    /// The text that the test printed during the case.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub output: String,
}

impl CaseReport {
    fn new(file: &str, name: &str, state: CaseState) -> Self {
        let (file, name) = (file.to_owned(), name.to_owned());
        Self { file, name, state, seconds: 0.0, error: None, output: String::new() }
    }
}

/// The result of all tests of a spell.
#[derive(Debug, Clone, Default, Serialize)]
pub struct TestReport {
    /// The cases, in the order in which they ran.
    pub cases: Vec<CaseReport>,
    /// Recordings and snapshots that no case used. They were removed if the tests were recorded.
    pub unused: Vec<String>,
}

impl TestReport {
    /// Returns how many cases ended in this state.
    #[must_use]
    pub fn count(&self, state: CaseState) -> usize {
        self.cases.iter().filter(|case| case.state == state).count()
    }
}

/// The settings of recorded runs. Their models are the runtime's.
#[derive(Debug, Clone, Default)]
pub struct RecordingSettings {
    /// The permissions. Paths in the spell's folder are moved to the copy in which a case records.
    pub permissions: Permissions,
    /// The model for requests that name none; replaces the manifest's.
    pub model: Option<String>,
    /// The fallback models; replace the manifest's.
    pub fallback: Option<Vec<String>>,
}

/// The settings that all test files of a spell share.
struct Setup {
    runtime: Runtime,
    spell: Spell,
    /// The spell's folder, as an absolute path.
    root: PathBuf,
    folder: Arc<Folder>,
    filter: Option<String>,
    /// How to record; without it, all live effects are off.
    record: Option<RecordingSettings>,
}

impl Setup {
    /// Whether the filter selects a case.
    fn wants(&self, file: &str, case: &str) -> bool {
        self.filter.as_ref().is_none_or(|filter| format!("{file} > {case}").contains(filter))
    }
}

/// The tests of a spell, to be run with [`Tests::run`].
///
/// ```no_run
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// use llmspell::testing::{CaseState, Tests};
/// use llmspell::{Runtime, Spell};
///
/// let runtime = Runtime::builder().build()?;
/// let tests = Tests::new(&runtime, Spell::load("greet".as_ref())?)?;
/// let report = tests.run(|case| println!("{}", case.name)).await?;
/// assert_eq!(report.count(CaseState::Failed), 0);
/// # Ok::<(), llmspell::Error>(()) }).unwrap()
/// ```
#[must_use = "tests do nothing until they are run"]
pub struct Tests(Setup);

impl std::fmt::Debug for Tests {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tests").field("spell", &self.0.spell.name()).finish_non_exhaustive()
    }
}

impl Tests {
    /// Creates the tests of a spell that was loaded from its folder.
    ///
    /// # Errors
    /// When the spell is a lone script, which has no tests.
    pub fn new(runtime: &Runtime, spell: Spell) -> Result<Self> {
        let folder = spell.has_own_folder().then(|| spell.folder().cloned()).flatten();
        let (Some(folder), Some(dir)) = (folder, spell.dir()) else {
            return Err(Error::load(format!("`{}` is a lone script, which has no tests", spell.name()))
                .hint("tests belong to a folder with a main script"));
        };
        let root = std::path::absolute(dir).map_err(|error| {
            Error::load(format!("cannot tell where {} is: {error}", dir.display())).with_source(error)
        })?;
        Ok(Self(Setup { runtime: runtime.clone(), spell, root, folder, filter: None, record: None }))
    }

    /// Runs only the cases whose `file > name` contains this text.
    pub fn filter(mut self, text: impl Into<String>) -> Self {
        self.0.filter = Some(text.into());
        self
    }

    /// Records the runs again. Each case runs in a copy of the spell's folder, so files that a spell writes there are
    /// lost.
    pub fn record(mut self, with: RecordingSettings) -> Self {
        self.0.record = Some(with);
        self
    }

    /// Runs the test files one after the other. Calls `each` with each case when it has ended.
    ///
    /// # Errors
    /// When there are no tests, the filter selects none, or the files cannot be read.
    pub async fn run(self, mut each: impl FnMut(&CaseReport)) -> Result<TestReport> {
        let setup = Arc::new(self.0);
        let engines = setup.runtime.engines().descriptors();
        let is_script = |extension: &str| engines.iter().any(|engine| engine.has_extension(extension));
        let found = files::find(&setup.folder.dir, is_script)?;
        if found.is_empty() {
            let name = setup.spell.name();
            return Err(Error::load(format!("the spell `{name}` has no tests"))
                .hint("a test is a script in its folder `tests`, or one named like main.test.luau"));
        }
        let mut report = TestReport::default();
        for file in found {
            setup.file(file, &mut report, &mut each).await?;
        }
        match &setup.filter {
            Some(filter) if report.cases.is_empty() => {
                Err(Error::load(format!("no case is named like `{filter}`"))
                    .hint("it is looked for in `file > name of the case`"))
            }
            _ => Ok(report),
        }
    }
}

impl Setup {
    /// Runs one test file.
    async fn file(
        self: &Arc<Self>,
        file: String,
        report: &mut TestReport,
        each: &mut impl FnMut(&CaseReport),
    ) -> Result<()> {
        let before = report.cases.len();
        let mut done = |case: CaseReport| {
            each(&case);
            report.cases.push(case);
        };
        let (sender, mut notes) = mpsc::unbounded_channel::<Note>();
        let test_file = Arc::new(TestFile::new(Arc::clone(self), file.clone(), sender));
        // Cleans up the recording folder if this future is dropped before the run has ended.
        let _abandoned = Abandoned(Arc::clone(&test_file));
        let text = match self.folder.text(&file) {
            Ok(text) => text.unwrap_or_default(),
            Err(error) => {
                if self.wants(&file, WHOLE_FILE) {
                    done(failed(&file, error));
                }
                return Ok(());
            }
        };
        let bridge = {
            let test_file = Arc::clone(&test_file);
            test::bridge().on_init(move |cx| {
                cx.state::<TestFileSlot>().set(Arc::clone(&test_file));
                Ok(())
            })
        };
        let builder = self.runtime.run(self.spell.beside(&file, text)).bridge(bridge);
        // All permissions are granted, so that the journal refuses live effects with an error that speaks of tests.
        let builder = builder.permissions(Permissions::all()).journal(Arc::new(DenyAll));
        let builder = builder.on(TestWorld::empty(&self.runtime, &self.root)?, RUN_ID);
        let builder = match self.record {
            // A recording may take as long as the real services need.
            Some(_) => builder.limits(|limits| limits.wall = std::time::Duration::from_hours(24)),
            None => builder,
        };
        let (run, mut events) = builder.start_with_events();
        let mut outcome = std::pin::pin!(run.outcome());
        let outcome = loop {
            tokio::select! {
                biased;
                Some((mut case, taken)) = notes.recv() => {
                    case.output = printed(&mut events);
                    done(case);
                    // The case that waits for this answer may have been dropped.
                    let _ = taken.send(());
                }
                outcome = &mut outcome => break outcome,
            }
        };
        let whole = |error| self.wants(&file, WHOLE_FILE).then(|| failed(&file, error)).into_iter().collect();
        let mut left: Vec<_> = match &outcome.error {
            Some(error) => match test_file.break_off(error) {
                left if left.is_empty() => whole(error.clone()),
                left => left,
            },
            None if test_file.seen() == 0 => {
                let error = Error::load("the file has no case");
                whole(error.hint("`test.case` adds one; what tests share is at home in `tests/lib`"))
            }
            None => Vec::new(),
        };
        if let Some(first) = left.first_mut() {
            first.output = printed(&mut events);
        }
        left.into_iter().for_each(done);
        let all_passed = report.cases[before..].iter().all(|case| case.state == CaseState::Passed);
        if self.filter.is_none() && all_passed {
            let unused = test_file.unused()?;
            if self.record.is_some() {
                unused.iter().try_for_each(|file| files::remove(&self.folder.dir, file))?;
            }
            report.unused.extend(unused);
        }
        Ok(())
    }
}

/// Cleans up a test file when it is dropped, so that dropping the tests leaves no temporary folder behind.
struct Abandoned(Arc<TestFile>);

impl Drop for Abandoned {
    fn drop(&mut self) {
        self.0.abandon();
    }
}

/// Returns the report of a test file that failed as a whole.
fn failed(file: &str, error: Error) -> CaseReport {
    CaseReport { error: Some(error), ..CaseReport::new(file, WHOLE_FILE, CaseState::Failed) }
}

/// Returns the text that was printed since the last call.
fn printed(events: &mut Events) -> String {
    let mut text = String::new();
    while let Some(event) = events.try_next() {
        if let Event::Output { text: more } = event {
            text.push_str(&more);
        }
    }
    text
}
