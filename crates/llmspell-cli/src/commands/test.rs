//! `llmspell test` runs the tests of a spell.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args;
use llmspell::testing::{CaseReport, CaseState, RecordingSettings, TestReport, Tests};
use llmspell::{Error, Result, Runtime, Spell};
use serde::Serialize;
use tokio::sync::Notify;

use super::run::allow::Allow;
use super::run::execute::{PATIENCE, RateFlags, end_now};
use super::run::grants::{GrantSource, Grants, lines};
use crate::connect::{self, ConnectedProviders, WantedModels};
use crate::environment;
use crate::exit::Exit;
use crate::format;
use crate::report::{Reporter, say};
use crate::signals::Interrupts;
use crate::stdout::{Format, print, print_json};
use crate::terminal::escape_name;

/// Runs the tests of a spell against its recordings, without live effects
///
/// A test is a script in the spell's folder `tests`, or one named like main.test.luau; `llmspell doc test` documents
/// its functions. The exit code is 1 when a case fails.
#[derive(Debug, Args)]
#[command(mut_group("Allow", |group| group.requires("update")), mut_group("RateFlags", |group| group.requires("update")))]
pub(crate) struct TestArgs {
    /// The spell's folder
    #[arg(default_value = ".")]
    spell: PathBuf,
    /// Run the spell live, and record its recordings and snapshots again
    ///
    /// The spell runs in a copy of its folder, so files that it writes there are lost. Permissions are granted as with
    /// `run`.
    #[arg(long)]
    update: bool,
    /// Run only the cases whose `file > name` contains this text
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
    /// The format of the output on stdout
    #[arg(long, value_enum, default_value_t)]
    output: Format,
    /// With --update, the model to use when the spell names none
    #[arg(short, long, requires = "update")]
    model: Option<String>,
    /// With --update, the provider to use when the spell names none
    #[arg(long, requires = "update")]
    provider: Option<String>,
    #[command(flatten)]
    pace: RateFlags,
    #[command(flatten)]
    allow: Allow,
}

impl TestArgs {
    pub(crate) async fn execute(self, report: &Reporter) -> Result<Exit> {
        let mut interrupts = Interrupts::listen()?;
        let tests = tokio::select! {
            tests = self.tests(report) => tests?,
            () = interrupts.next() => return Err(Error::cancelled()),
        };
        let shown = report.on_stdout();
        let (mut list, unheard) = (CaseList::default(), Notify::new());
        let mut heard = Ok(Exit::Done);
        let each = |case: &CaseReport| {
            if self.output == Format::Text && matches!(heard, Ok(Exit::Done)) {
                heard = print(&list.line(case, &shown));
                if !matches!(heard, Ok(Exit::Done)) {
                    unheard.notify_one();
                }
            }
        };
        let came = tokio::select! {
            came = tests.run(each) => Some(came?),
            () = unheard.notified() => None,
            () = interrupts.next() => return Err(Error::cancelled()),
        };
        let (Some(came), Exit::Done) = (came, heard?) else { return Ok(Exit::Closed) };
        let printed = match self.output {
            Format::Json => print_json(&Counted::new(&came))?,
            Format::Text => print(&(failures(&came, &shown) + &Counted::new(&came).line()))?,
        };
        for file in &came.unused {
            let what = match self.update {
                true => format!("removed {file}, which no case uses"),
                false => format!("no case uses {file}; --update removes it"),
            };
            report.note(&what).iter().for_each(|note| say(note));
        }
        let failed = came.count(CaseState::Failed) > 0;
        Ok(if failed { printed.max(Exit::Failed) } else { printed })
    }

    /// Prepares the tests.
    async fn tests(&self, report: &Reporter) -> Result<Tests> {
        let spell = Spell::load(&self.spell)?;
        for warning in &spell.manifest().warnings {
            report.warn(&format!("{}: {warning}", self.spell.join("spell.yaml").display()));
        }
        // One worker is enough: cases run one after the other, and parallel calls wait for servers and not for the
        // processor.
        let builder = Runtime::builder().workers(1).on_stuck(PATIENCE, end_now);
        let tests = if self.update {
            let ConnectedProviders { models, default_model: model, fallback, notice } =
                connect::models(self.wanted(&spell)).await?;
            notice.and_then(|notice| report.note(&notice)).iter().for_each(|note| say(note));
            let mut grants =
                Grants::new(self.allow.granted(&environment::working_folder()?), spell.asked().clone());
            if self.allow.asked {
                grants.settle_all(GrantSource::AllowAsked);
            }
            for line in lines(grants.open()) {
                let note = report.note(&format!("asked for and not granted: {line}"));
                note.iter().for_each(|note| say(note));
            }
            Tests::new(&builder.models(models).build()?, spell)?.record(RecordingSettings {
                permissions: grants.effective(),
                model,
                fallback,
            })
        } else {
            Tests::new(&builder.build()?, spell)?
        };
        Ok(match &self.filter {
            Some(text) => tests.filter(text),
            None => tests,
        })
    }

    fn wanted(&self, spell: &Spell) -> WantedModels<'_> {
        WantedModels {
            provider: self.provider.as_deref(),
            model: self.model.as_deref(),
            fallback: &self.pace.fallback,
            pace: self.pace.of_provider(),
            retries: self.pace.retries.or(spell.manifest().retries),
            offline: false,
        }
    }
}

/// The list of cases that is printed while they run.
#[derive(Default)]
struct CaseList {
    /// The last file name that was printed.
    file: String,
}

impl CaseList {
    /// Returns the line of a case, after a line for its file if that is another one.
    fn line(&mut self, case: &CaseReport, report: &Reporter) -> String {
        let mut text = String::new();
        if self.file != case.file {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{}", escape_name(&case.file));
            self.file.clone_from(&case.file);
        }
        let name = escape_name(&case.name);
        let _ = match case.state {
            CaseState::Passed => {
                writeln!(text, "  {}    {name}  {}", report.good("ok"), format::seconds(case.seconds))
            }
            // A case that had not begun when its file ended has no duration.
            CaseState::Failed if case.seconds == 0.0 => writeln!(text, "  {}  {name}", report.bad("FAIL")),
            CaseState::Failed => {
                writeln!(text, "  {}  {name}  {}", report.bad("FAIL"), format::seconds(case.seconds))
            }
            CaseState::Skipped => writeln!(text, "  skip  {name}"),
        };
        text
    }
}

/// Returns why cases failed, and what they printed before. An error that ended a file failed all remaining cases, and
/// is shown once.
fn failures(came: &TestReport, report: &Reporter) -> String {
    let mut text = String::from("\n");
    let mut failed = came.cases.iter().filter(|case| case.state == CaseState::Failed).peekable();
    while let Some(case) = failed.next() {
        let (file, name) = (escape_name(&case.file), escape_name(&case.name));
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{} {file} > {name}", report.bad("FAIL"));
        let told = |case: &CaseReport| case.error.as_ref().map(|error| report.error(error));
        let error = told(case);
        let is_same = |next: &&CaseReport| next.file == case.file && told(next) == error;
        if case.output.is_empty() && failed.peek().is_some_and(is_same) {
            continue;
        }
        text.push_str(&indented(&error.unwrap_or_default()));
        if !case.output.is_empty() {
            text.push_str("  it printed\n");
            text.push_str(&indented(&indented(&report.safe(&case.output))));
        }
        text.push('\n');
    }
    text
}

fn indented(text: &str) -> String {
    text.lines().map(|line| if line.is_empty() { "\n".to_owned() } else { format!("  {line}\n") }).collect()
}

/// A report with the number of cases in each state.
#[derive(Serialize)]
struct Counted<'a> {
    #[serde(flatten)]
    report: &'a TestReport,
    passed: usize,
    failed: usize,
    skipped: usize,
}

impl<'a> Counted<'a> {
    fn new(report: &'a TestReport) -> Self {
        let count = |state| report.count(state);
        let (passed, failed) = (count(CaseState::Passed), count(CaseState::Failed));
        Self { report, passed, failed, skipped: count(CaseState::Skipped) }
    }

    fn line(&self) -> String {
        format!("{} passed, {} failed, {} skipped\n", self.passed, self.failed, self.skipped)
    }
}
