//! `llmspell runs resume`.

use std::fmt::Write as _;
use std::io::IsTerminal as _;
use std::sync::Arc;

use clap::{Args, ValueEnum};
use llmspell::{Claim, Error, ErrorKind, InDoubt, Result, RunIndex, RunState, Spell};

use super::store;
use crate::commands::run::execute::{RunPlan, RunSettings, RunStart, perform};
use crate::connect::{self, ConnectedProviders, WantedModels};
use crate::console::{StdinReader, UserQuestion};
use crate::environment;
use crate::exit::Exit;
use crate::language;
use crate::report::{Reporter, say};
use crate::run_view::{Output, Screen};
use crate::signals::Interrupts;
use crate::terminal::{self, escape_name};

/// Resumes a run where it stopped
///
/// The run keeps its parameters, permissions and model, and gets its full limits again. It repeats no recorded effect
/// and prints no line twice. A run that had succeeded prints only its value.
#[derive(Debug, Args)]
pub(super) struct ResumeArgs {
    /// The run's id, or a unique prefix
    run: String,
    #[command(flatten)]
    again: ResumePlan,
    #[command(flatten)]
    settings: RunSettings,
    /// What to write to stdout
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

/// Options of a resumed run.
#[derive(Debug, Default, Args)]
pub(crate) struct ResumePlan {
    /// What to do about effects in doubt, without asking: effects that are not idempotent and were in progress when the
    /// run ended
    #[arg(long, value_enum)]
    in_doubt: Option<InDoubtChoice>,
    /// Resume although the spell has changed; if it requests something else than before, the run fails
    #[arg(long)]
    changed: bool,
    /// The spell; if `None`, it is loaded from the run's origin.
    #[arg(skip)]
    spell: Option<Spell>,
}

/// The decision about effects in doubt.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum InDoubtChoice {
    /// They have happened: continue without repeating them
    Done,
    /// They have not happened: perform them now
    Repeat,
    /// Raise an error in the spell, which may handle it
    Fail,
}

impl From<InDoubtChoice> for InDoubt {
    fn from(choice: InDoubtChoice) -> Self {
        match choice {
            InDoubtChoice::Done => Self::Done,
            InDoubtChoice::Repeat => Self::Repeat,
            InDoubtChoice::Fail => Self::Fail,
        }
    }
}

impl ResumeArgs {
    pub(super) async fn execute(self, report: &Reporter) -> Result<Exit> {
        let mut screen = Screen::new(report, self.output);
        let plan = self.again.plan(&self.run, self.settings, &mut screen).await;
        perform(plan, &mut screen, report).await
    }
}

impl ResumePlan {
    /// Resumes with this spell.
    pub(crate) fn with(spell: Spell) -> Self {
        Self { spell: Some(spell), ..Self::default() }
    }

    /// Determines everything that is needed to resume a run.
    ///
    /// # Errors
    /// When the run cannot be resumed: it is in progress, its spell has changed, or effects in doubt are undecided.
    pub(crate) async fn plan(
        self,
        run: &str,
        settings: RunSettings,
        screen: &mut Screen<'_>,
    ) -> Result<RunPlan> {
        let store = store()?;
        let run = store.load(&store.resolve(run).await?).await?;
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
        let mut reader = StdinReader::default();
        let mut interrupts = Interrupts::listen()?;
        let in_doubt = match self.in_doubt {
            Some(choice) => choice.into(),
            None => decide(&run, &mut reader, &mut interrupts).await?,
        };
        let wanted = WantedModels {
            model: run.summary.info.model.as_deref(),
            fallback: &settings.pace.fallback,
            pace: settings.pace.of_provider(),
            retries: settings.pace.retries.or(spell.manifest().retries),
            ..WantedModels::default()
        };
        let ConnectedProviders { models, fallback, notice, .. } = tokio::select! {
            connected = connect::models(wanted) => connected?,
            () = interrupts.next() => return Err(Error::cancelled()),
        };
        screen.notice(notice);
        let lease = store.claim(&run.summary.info.run_id, Claim::IfFree).await?;
        let cache = Some(Arc::clone(&store));
        let start = RunStart::Resume { store, lease, run: Box::new(run), in_doubt, fallback };
        let (limits, trace) = (settings.limits, settings.trace.trace());
        Ok(RunPlan { spell, start, limits, trace, models: Some(models), cache, reader, interrupts })
    }
}

/// Asks the user about effects in doubt, if there are any and there is a user.
async fn decide(run: &RunIndex, reader: &mut StdinReader, interrupts: &mut Interrupts) -> Result<InDoubt> {
    let mut open = String::new();
    for effect in run.in_doubt() {
        let request = serde_json::to_string(&effect.request).unwrap_or_default();
        // Writing to a string does not fail.
        let _ = write!(
            open,
            "\n  {}",
            escape_name(&format!("{} {}.{} {request}", effect.path, effect.capability, effect.operation))
        );
    }
    if open.is_empty() {
        return Ok(InDoubt::default());
    }
    let told = format!("nobody knows whether this happened when the run ended:{open}");
    let undecided = || {
        let hint =
            "look, and say --in-doubt=done, --in-doubt=repeat, or --in-doubt=fail to let the spell handle it";
        Err(Error::new(ErrorKind::Interrupted, &told).hint(hint))
    };
    if !(std::io::stdin().is_terminal() && std::io::stderr().is_terminal()) {
        return undecided();
    }
    terminal::forget_typed();
    say(&format!("{told}\nDid it? [y]es, leave it / [n]o, do it now / [Q]uit: "));
    let (question, line) = UserQuestion::new();
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
        Some("y" | "yes") => Ok(InDoubt::Done),
        Some("n" | "no") => Ok(InDoubt::Repeat),
        _ => undecided(),
    }
}
