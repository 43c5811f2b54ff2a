//! Tests of spells: scripts that run a spell and check what comes of it, against recordings, with all that is live off.
//!
//! A test file is a script in the folder `tests` of a spell, or one named `*.test.<extension>`. It has the bridges that
//! spells have, of which it can use nothing live, and the bridge [`test`].

mod bridge;
mod course;
mod files;
mod options;
mod run;
mod same;
mod staged;
mod world;

use std::path::PathBuf;
use std::sync::Arc;

use llmspell_core::{Error, Event, Permissions, Result};
use serde::Serialize;
use tokio::sync::mpsc;

pub use self::bridge::test;
pub use self::options::{Fault, HttpAnswer, ModelAnswer, RunOptions, Short};
pub use self::run::{Failure, LogLine, RunResult};

use self::course::{Course, Note, Slot};
use self::run::RUN_ID;
use self::staged::HandsOff;
use crate::run::{Events, Stage};
use crate::runtime::Runtime;
use crate::spell::{Folder, Spell};

/// What a file is called among its cases, when it fails as a whole.
pub const WHOLE_FILE: &str = "(the file)";

/// How a case ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CaseState {
    /// All that it checks is so.
    Passed,
    /// It is not.
    Failed,
    /// It was not run.
    Skipped,
}

/// What came of one case.
#[derive(Debug, Clone, Serialize)]
pub struct CaseReport {
    /// The test file, by its path in the spell's folder.
    pub file: String,
    /// The name of the case; [`WHOLE_FILE`] where no case is to blame.
    pub name: String,
    /// How it ended.
    pub state: CaseState,
    /// How long it took.
    pub seconds: f64,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Error>,
    /// What the test printed in it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub output: String,
}

impl CaseReport {
    fn new(file: &str, name: &str, state: CaseState) -> Self {
        let (file, name) = (file.to_owned(), name.to_owned());
        Self { file, name, state, seconds: 0.0, error: None, output: String::new() }
    }
}

/// What came of the tests of a spell.
#[derive(Debug, Clone, Default, Serialize)]
pub struct TestReport {
    /// The cases, in the order in which they ran.
    pub cases: Vec<CaseReport>,
    /// Recordings and snapshots that no case has used; when they were made anew, they were removed.
    pub unused: Vec<String>,
}

impl TestReport {
    /// How many cases ended so.
    #[must_use]
    pub fn count(&self, state: CaseState) -> usize {
        self.cases.iter().filter(|case| case.state == state).count()
    }
}

/// What recorded runs get; the models are the runtime's.
#[derive(Debug, Clone, Default)]
pub struct Record {
    /// What was granted. What is beneath the spell's folder holds in its copies.
    pub permissions: Permissions,
    /// The model for requests that name none, over the manifest's.
    pub model: Option<String>,
    /// The models to fall back on, over the manifest's.
    pub fallback: Option<Vec<String>>,
}

/// What all test files of a spell share.
struct Setup {
    runtime: Runtime,
    spell: Spell,
    /// The spell's folder.
    root: PathBuf,
    folder: Arc<Folder>,
    filter: Option<String>,
    /// How to record; without it, all that is live is off.
    record: Option<Record>,
}

impl Setup {
    /// Whether a case is to be run.
    fn wants(&self, file: &str, case: &str) -> bool {
        self.filter.as_ref().is_none_or(|filter| format!("{file} > {case}").contains(filter))
    }
}

/// The tests of a spell, about to run.
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
    /// The tests of a spell that was loaded from its folder.
    ///
    /// # Errors
    /// When it has none.
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

    /// Records anew, in copies of the spell's folder: what a spell writes there is gone afterwards.
    pub fn record(mut self, with: Record) -> Self {
        self.0.record = Some(with);
        self
    }

    /// Runs them one after the other. `each` is handed each case when it has ended.
    ///
    /// # Errors
    /// When there are none, or their files cannot be found.
    pub async fn run(self, mut each: impl FnMut(&CaseReport)) -> Result<TestReport> {
        let setup = Arc::new(self.0);
        let engines = setup.runtime.engines().descriptors();
        let is_script = |extension: &str| engines.iter().any(|engine| engine.extensions.contains(&extension));
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
        let course = Arc::new(Course::new(Arc::clone(self), file.clone(), sender));
        // Dropped behind the run, which it may cut off.
        let _abandoned = Abandoned(Arc::clone(&course));
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
            let course = Arc::clone(&course);
            test::bridge().on_init(move |cx| {
                cx.state::<Slot>().set(Arc::clone(&course));
                Ok(())
            })
        };
        let cast = self.runtime.cast(self.spell.beside(&file, text)).bridge(bridge);
        // All is granted, so that the journal says what a test may not do, and in its own words.
        let cast = cast.permissions(Permissions::all()).journal(Arc::new(HandsOff));
        let cast = cast.on(Stage::empty(&self.root)?, RUN_ID);
        let cast = match self.record {
            // As long as the world takes.
            Some(_) => cast.limits(|limits| limits.wall = std::time::Duration::from_hours(24)),
            None => cast,
        };
        let (run, mut events) = cast.start_with_events();
        let mut outcome = std::pin::pin!(run.outcome());
        let outcome = loop {
            tokio::select! {
                biased;
                Some((mut case, taken)) = notes.recv() => {
                    case.output = printed(&mut events);
                    done(case);
                    // The case that waits for it may be gone.
                    let _ = taken.send(());
                }
                outcome = &mut outcome => break outcome,
            }
        };
        let whole = |error| self.wants(&file, WHOLE_FILE).then(|| failed(&file, error)).into_iter().collect();
        let mut left: Vec<_> = match &outcome.error {
            Some(error) => match course.break_off(error) {
                left if left.is_empty() => whole(error.clone()),
                left => left,
            },
            None if course.seen() == 0 => {
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
            let unused = course.unused()?;
            if self.record.is_some() {
                unused.iter().try_for_each(|file| files::remove(&self.folder.dir, file))?;
            }
            report.unused.extend(unused);
        }
        Ok(())
    }
}

/// A course that ends with its guard: when nobody waits for the tests any more, nothing of them is left.
struct Abandoned(Arc<Course>);

impl Drop for Abandoned {
    fn drop(&mut self) {
        self.0.abandon();
    }
}

/// The failure of a file as a whole.
fn failed(file: &str, error: Error) -> CaseReport {
    CaseReport { error: Some(error), ..CaseReport::new(file, WHOLE_FILE, CaseState::Failed) }
}

/// What was printed since the last look.
fn printed(events: &mut Events) -> String {
    let mut text = String::new();
    while let Some(event) = events.try_next() {
        if let Event::Output { text: more } = event {
            text.push_str(&more);
        }
    }
    text
}
