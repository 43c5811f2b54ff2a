//! `llmspell run`.

pub(crate) mod allow;
mod dry;
pub(crate) mod execute;
pub(crate) mod grants;
mod limit_flags;
mod params;
mod question;
pub(crate) mod trace;

use std::io::IsTerminal as _;
use std::path::PathBuf;

use clap::Args;
use llmspell::{Error, Limits, Map, Permissions, Recording, Result, Spell};

use self::allow::Allow;
use self::dry::Preview;
use self::execute::{FreshRun, JournalTarget, RunPlan, RunSettings, RunStart};
use self::grants::{GrantSource, Grants, lines};
use self::question::UserAnswer;
use crate::commands::runs::ResumePlan;
use crate::connect::{self, ConnectedProviders, WantedModels};
use crate::console::StdinReader;
use crate::environment;
use crate::exit::Exit;
use crate::grant_store::GrantStore;
use crate::language::EntryArgs;
use crate::output_args::OutputArgs;
use crate::report::{Reporter, say};
use crate::run_view::{Output, Screen};
use crate::signals::Interrupts;

/// Flags that a replayed or resumed run cannot have, because it has its original values.
const TAKEN_OVER: [&str; 6] = ["words", "params", "params_file", "model", "provider", "Allow"];

/// Runs a spell
///
/// Prints the spell's output, and then the value that it returns, to stdout. Everything else goes to stderr. Flags
/// override the spell's manifest. If a parameter has the name of a flag, write it without dashes.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// The spell: its folder, or a script file
    spell: PathBuf,
    /// Parameters for the spell, as name=value or --name=value
    #[arg(value_name = "NAME=VALUE")]
    words: Vec<String>,
    /// A parameter for the spell
    #[arg(long = "param", value_name = "NAME=VALUE")]
    params: Vec<String>,
    /// A JSON file with an object of parameters; those on the command line win
    #[arg(long, value_name = "FILE")]
    params_file: Option<PathBuf>,
    /// The model for requests that name none: `provider/model`, or a name that the provider knows
    #[arg(short, long)]
    model: Option<String>,
    /// The provider for requests that name none
    #[arg(long)]
    provider: Option<String>,
    #[command(flatten)]
    entry: EntryArgs,
    #[command(flatten)]
    settings: RunSettings,
    /// What to write to stdout
    #[arg(long, value_enum, default_value_t)]
    output: Output,
    /// Record the run into this file, for --replay
    #[arg(long, value_name = "FILE", conflicts_with_all = ["replay", "resume"])]
    record: Option<PathBuf>,
    /// Replay a recorded run, with its parameters and permissions, without access to the outside world
    #[arg(long, value_name = "FILE", conflicts_with_all = TAKEN_OVER)]
    replay: Option<PathBuf>,
    /// Resume this run, which did not succeed; `llmspell runs` lists runs
    #[arg(long, value_name = "RUN", conflicts_with = "replay", conflicts_with_all = TAKEN_OVER)]
    resume: Option<String>,
    /// Do not store the run; it cannot be inspected or resumed
    #[arg(long)]
    no_journal: bool,
    /// Show what would run, with its permissions and limits, and do not run it
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    allow: Allow,
}

/// The part of a run's plan that needs no question and no connection.
struct RunDraft {
    spell: Spell,
    params: Map,
    grants: Grants,
    /// The store of remembered grants; `None` if no permission is open.
    memory: Option<GrantStore>,
}

/// Returns the long flags of `run`, without dashes.
pub(crate) fn run_flags() -> Vec<String> {
    let run = RunArgs::augment_args(OutputArgs::augment_args(clap::Command::new("run")));
    let flags = run.get_arguments().filter_map(|flag| flag.get_long().map(str::to_owned));
    flags.chain(["help".to_owned()]).collect()
}

impl RunArgs {
    pub(crate) async fn execute(self, report: &Reporter) -> Result<Exit> {
        if self.dry_run {
            return self.preview(report).await;
        }
        let mut screen = Screen::new(report, self.output);
        let plan = self.plan(report, &mut screen).await;
        execute::perform(plan, &mut screen, report).await
    }

    /// Shows what would run.
    async fn preview(self, report: &Reporter) -> Result<Exit> {
        let RunDraft { spell, params, grants, .. } = self.draft(report)?;
        let wanted = WantedModels { offline: true, ..self.wanted(&spell) };
        let ConnectedProviders { models, default_model, fallback, notice } = connect::models(wanted).await?;
        let model = default_model.as_deref().or(spell.manifest().model.as_deref());
        let (model, note) = match models.resolve(None, model) {
            // Without a provider, naming a model would be a guess.
            _ if notice.is_some() && default_model.is_none() => (None, notice),
            Ok(model) => (Some(model), None),
            Err(error) => (None, Some(error.message().to_owned())),
        };
        let fallback = fallback.unwrap_or_else(|| spell.manifest().fallback.clone());
        let mut limits = spell.manifest().limits.over(Limits::default());
        self.settings.limits.apply(&mut limits);
        Preview::new(&spell, params, &grants, &limits, model, fallback, note)?.show(self.output, report)
    }

    /// Determines everything that a run needs.
    async fn plan(self, report: &Reporter, screen: &mut Screen<'_>) -> Result<RunPlan> {
        if let Some(file) = &self.replay {
            let spell = self.spell()?;
            let start = RunStart::Replay(Box::new(Recording::read(file)?));
            return RunPlan::offline(spell, start, self.settings);
        }
        if let Some(run) = &self.resume {
            return ResumePlan::with(self.spell()?).plan(run, self.settings, screen).await;
        }
        let mut draft = self.draft(report)?;
        let mut reader = StdinReader::default();
        let mut interrupts = Interrupts::listen()?;
        self.settle(&mut draft, report, &mut reader, &mut interrupts).await?;
        let ConnectedProviders { models, default_model: model, fallback, notice } = tokio::select! {
            connected = connect::models(self.wanted(&draft.spell)) => connected?,
            () = interrupts.next() => return Err(Error::cancelled()),
        };
        screen.notice(notice);
        let cache = if self.no_journal { None } else { environment::run_store() };
        let journal = match self.record {
            Some(file) => JournalTarget::To(file),
            None => cache.clone().map_or(JournalTarget::Nowhere, JournalTarget::Kept),
        };
        let (permissions, params) = (draft.grants.effective(), draft.params);
        let start = RunStart::New(Box::new(FreshRun { params, permissions, model, fallback, journal }));
        let (spell, models) = (draft.spell, Some(models));
        let RunSettings { limits, trace, .. } = self.settings;
        let trace = trace.trace();
        Ok(RunPlan { spell, start, limits, trace, models, cache, reader, interrupts })
    }

    fn spell(&self) -> Result<Spell> {
        self.entry.load(&self.spell).map_err(|error| params::blame_flag(error, &self.words))
    }

    /// Determines the spell, its parameters and its grants, as far as possible without a question.
    fn draft(&self, report: &Reporter) -> Result<RunDraft> {
        let spell = self.spell()?;
        for warning in &spell.manifest().warnings {
            report.warn(&format!("{}: {warning}", self.spell.join("spell.yaml").display()));
        }
        let params = params::gather(&spell, self.params_file.as_deref(), &self.params, &self.words)?;
        // Check the parameters before the user is asked. The run checks them again.
        spell.params(params.clone())?;
        let flags = self.allow.granted(&environment::working_folder()?);
        let mut grants = Grants::new(flags, spell.asked().clone());
        let mut memory = None;
        if self.allow.asked {
            grants.settle_all(GrantSource::AllowAsked);
        } else if !grants.open().is_empty() {
            memory = GrantStore::of(&spell, &self.spell);
            match memory.as_ref().map(GrantStore::recall).transpose() {
                Ok(granted) => grants.settle(GrantSource::Remembered, &granted.unwrap_or_default()),
                Err(error) => report.warn(&format!("{error}: nothing is remembered")),
            }
        }
        Ok(RunDraft { spell, params, grants, memory })
    }

    /// Asks the user about permissions that the spell requests and nobody has granted, if there is a user to ask.
    async fn settle(
        &self,
        draft: &mut RunDraft,
        report: &Reporter,
        reader: &mut StdinReader,
        interrupts: &mut Interrupts,
    ) -> Result<()> {
        let note = |what: &str, permissions: &Permissions| {
            for line in lines(permissions) {
                report.note(&format!("{what}: {line}")).iter().for_each(|note| say(note));
            }
        };
        for (_, granted) in draft.grants.settled().filter(|(by, _)| *by == GrantSource::AllowAsked) {
            note("granted", granted);
        }
        let open = draft.grants.open().clone();
        if open.is_empty() {
            return Ok(());
        }
        // Input from a pipe belongs to the spell; it is not an answer.
        let at_terminal = std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
        if self.allow.no_prompt || !at_terminal {
            note("asked for and not granted", &open);
            report.note("--allow-asked grants what a spell asks for").iter().for_each(|note| say(note));
            return Ok(());
        }
        // The answer refers to the files as they are now. Computing the digest pins them, even if nothing can be
        // remembered.
        draft.spell.digest()?;
        let memory = draft.memory.as_ref();
        match question::ask(&draft.spell, &open, memory.is_some(), reader, interrupts).await? {
            UserAnswer::No => return Ok(()),
            UserAnswer::Once => {}
            UserAnswer::Always => {
                if let Some(Err(error)) = memory.map(|memory| memory.keep(&open)) {
                    report.warn(&format!("{error}: the answer is good for this run"));
                }
            }
        }
        draft.grants.settle_all(GrantSource::Answer);
        Ok(())
    }

    fn wanted(&self, spell: &Spell) -> WantedModels<'_> {
        WantedModels {
            provider: self.provider.as_deref(),
            model: self.model.as_deref(),
            fallback: &self.settings.pace.fallback,
            pace: self.settings.pace.of_provider(),
            retries: self.settings.pace.retries.or(spell.manifest().retries),
            offline: false,
        }
    }
}
