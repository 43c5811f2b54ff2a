//! `llmspell runs resume`.

use std::fmt::Write as _;
use std::io::IsTerminal as _;

use clap::{Args, ValueEnum};
use llmspell::{Error, ErrorKind, KeptRun, Result, RunState, Spell, Unfinished};

use super::kept;
use crate::commands::run::perform::{Conduct, Plan, Start, perform};
use crate::connect::{self, Connected, Wanted};
use crate::console::{Question, Reader};
use crate::environment;
use crate::exit::Exit;
use crate::language;
use crate::report::{Report, say};
use crate::screen::{Output, Screen};
use crate::signals::Interrupts;
use crate::terminal::{self, escape_name};

/// Goes on with a run where it stopped
///
/// It has the parameters, permissions and model that it had, and the limits anew. What it did is not done again, and what
/// it printed is not printed again. Of one that had ended well, only its value is printed.
#[derive(Debug, Args)]
pub(super) struct ResumeArgs {
    /// The run's id, or its beginning
    run: String,
    #[command(flatten)]
    again: Again,
    #[command(flatten)]
    conduct: Conduct,
    /// What to write to stdout
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

/// How a run goes on.
#[derive(Debug, Default, Args)]
pub(crate) struct Again {
    /// What to do about what was under way when the run ended, and must not be done twice, without a question
    #[arg(long, value_enum)]
    unfinished: Option<Choice>,
    /// Go on though the spell has changed; where it asks for something else than it did, the run fails
    #[arg(long)]
    changed: bool,
    /// The spell, when it is not for the run to say.
    #[arg(skip)]
    spell: Option<Spell>,
}

/// What may be said of an effect that nobody knows of.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Choice {
    /// It happened: leave it at that
    Done,
    /// It did not happen: do it now
    Repeat,
    /// Tell the spell, which fails if it is not prepared for that
    Fail,
}

impl From<Choice> for Unfinished {
    fn from(choice: Choice) -> Self {
        match choice {
            Choice::Done => Self::Done,
            Choice::Repeat => Self::Repeat,
            Choice::Fail => Self::Fail,
        }
    }
}

impl ResumeArgs {
    pub(super) async fn execute(self, report: &Report) -> Result<Exit> {
        let mut screen = Screen::new(report, self.output);
        let plan = self.again.plan(&self.run, self.conduct, &mut screen).await;
        perform(plan, &mut screen, report).await
    }
}

impl Again {
    /// With this spell.
    pub(crate) fn with(spell: Spell) -> Self {
        Self { spell: Some(spell), ..Self::default() }
    }

    /// Finds out all that it takes to go on with a run.
    ///
    /// # Errors
    /// When it cannot go on: it runs, its spell has changed, or what was under way is not decided.
    pub(crate) async fn plan(self, run: &str, conduct: Conduct, screen: &mut Screen<'_>) -> Result<Plan> {
        let runs = kept()?;
        let run = runs.find(run)?;
        let id = &run.summary.info.run_id;
        let conflict = |what: &str| Err(Error::new(ErrorKind::Conflict, format!("run {id} {what}")));
        if run.summary.state == RunState::Running {
            return conflict("is under way");
        }
        if let Some(folder) = &run.summary.working_dir {
            environment::work_in(folder)?;
        }
        let spell = match (self.spell, &run.summary.path) {
            (Some(spell), _) => spell,
            (None, Some(path)) => language::entry_of(path, &run.summary.info.digest)?,
            (None, None) => return conflict("is of a spell that was no file"),
        };
        let spell = match self.changed {
            true => spell,
            false => run.same_spell(spell).map_err(|error| match error.kind() {
                ErrorKind::Conflict => {
                    error.hint(format!("`llmspell runs resume {id} --changed` goes on with it as it is now"))
                }
                _ => error,
            })?,
        };
        let mut reader = Reader::default();
        let mut interrupts = Interrupts::listen()?;
        let unfinished = match self.unfinished {
            Some(choice) => choice.into(),
            None => decide(&run, &mut reader, &mut interrupts).await?,
        };
        let wanted = Wanted {
            model: run.summary.info.model.as_deref(),
            fallback: &conduct.pace.fallback,
            pace: conduct.pace.of_provider(),
            ..Wanted::default()
        };
        let Connected { models, fallback, notice, .. } = tokio::select! {
            connected = connect::models(wanted) => connected?,
            () = interrupts.next() => return Err(Error::cancelled()),
        };
        screen.notice(notice);
        let cache = Some(runs.clone());
        let start = Start::Resume { runs, run: Box::new(run), unfinished, fallback };
        let (limits, trace) = (conduct.limits, conduct.trace.trace());
        Ok(Plan { spell, start, limits, trace, models: Some(models), cache, reader, interrupts })
    }
}

/// Asks the user about what was under way, where there is such a thing and a user.
async fn decide(run: &KeptRun, reader: &mut Reader, interrupts: &mut Interrupts) -> Result<Unfinished> {
    let mut open = String::new();
    for effect in run.unfinished() {
        let request = serde_json::to_string(&effect.ask.request).unwrap_or_default();
        // Writing to a string does not fail.
        let _ = write!(
            open,
            "\n  {}",
            escape_name(&format!(
                "{} {}.{} {request}",
                effect.path, effect.ask.capability, effect.ask.operation
            ))
        );
    }
    if open.is_empty() {
        return Ok(Unfinished::default());
    }
    let told = format!("nobody knows whether this happened when the run ended:{open}");
    let undecided = || {
        let hint =
            "look, and say --unfinished=done, --unfinished=repeat, or --unfinished=fail to tell the spell";
        Err(Error::new(ErrorKind::Interrupted, &told).hint(hint))
    };
    if !(std::io::stdin().is_terminal() && std::io::stderr().is_terminal()) {
        return undecided();
    }
    terminal::forget_typed();
    say(&format!("{told}\nDid it? [y]es, leave it / [n]o, do it now / [Q]uit: "));
    let (question, line) = Question::new();
    reader.answer(question)?;
    let line = tokio::select! {
        biased;
        () = interrupts.next() => {
            say("\n");
            return Err(Error::cancelled());
        }
        line = line => line.ok().and_then(Result::ok).flatten(),
    };
    match line.as_deref().map(|line| line.trim().to_lowercase()).as_deref() {
        Some("y" | "yes") => Ok(Unfinished::Done),
        Some("n" | "no") => Ok(Unfinished::Repeat),
        _ => undecided(),
    }
}
