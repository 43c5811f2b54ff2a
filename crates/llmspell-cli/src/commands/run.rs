//! `llmspell run`.

mod allow;
mod dry;
mod grants;
mod params;
mod question;

use std::io::IsTerminal as _;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use llmspell::capability::Models;
use llmspell::{
    Error, Event, Limits, Map, Outcome, Permissions, Result, Runtime, Spell, parse_size, parse_span,
};
use tokio::sync::mpsc;
use tokio::time::Instant;

use self::allow::Allow;
use self::dry::Preview;
use self::grants::{By, Grants, lines};
use self::question::Answer;
use crate::connect::{self, Connected, Wanted};
use crate::console::{Questions, Reader, console};
use crate::environment;
use crate::exit::{self, Exit};
use crate::remembered::Memory;
use crate::report::{Report, say};
use crate::screen::{Output, Screen};
use crate::signals::Interrupts;
use crate::stdout::written;

/// How long a run that was told to stop may take; what is left of the second that a limit may be overrun by is for
/// saying so.
const PATIENCE: Duration = Duration::from_millis(900);

/// How long the screen may take to say why the process ends.
const LAST_WORDS: Duration = Duration::from_millis(100);

/// Runs a spell
///
/// stdout gets what the spell prints and then the value that it returns; all else goes to stderr. A flag wins over the
/// spell's manifest. A parameter whose name is also a flag's is given without dashes.
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
    /// The model to use when the spell names none: `provider/model`, or a name that the provider knows
    #[arg(short, long)]
    model: Option<String>,
    /// The provider to use when the spell names none
    #[arg(long)]
    provider: Option<String>,
    /// Time the spell may take, waiting included, such as 60s or 5m
    #[arg(long, value_name = "TIME", value_parser = parse_span)]
    timeout: Option<Duration>,
    /// Memory that the spell may use, such as 128MB
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    memory: Option<u64>,
    /// Tokens that the spell may have read and written
    #[arg(long, value_name = "COUNT")]
    max_tokens: Option<u64>,
    /// US dollars that the spell may spend
    #[arg(long, value_name = "USD", value_parser = dollars)]
    max_cost: Option<f64>,
    /// Calls that may be in flight to one provider at once; the others wait [default: 32]
    #[arg(long, value_name = "COUNT")]
    max_in_flight: Option<NonZeroUsize>,
    /// What to write to stdout
    #[arg(long, value_enum, default_value_t)]
    output: Output,
    /// Show what would run, and with which permissions and limits, and run nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    allow: Allow,
}

fn dollars(text: &str) -> Result<f64> {
    let dollars =
        text.trim_start_matches('$').parse().ok().filter(|sum: &f64| sum.is_finite() && *sum >= 0.0);
    dollars.ok_or_else(|| Error::config("expected a sum of US dollars such as 0.50"))
}

/// The limits that flags set.
#[derive(Debug)]
struct LimitFlags {
    wall: Option<Duration>,
    memory: Option<u64>,
    tokens: Option<u64>,
    cost: Option<f64>,
}

impl LimitFlags {
    fn apply(&self, limits: &mut Limits) {
        limits.wall = self.wall.unwrap_or(limits.wall);
        limits.memory = self.memory.unwrap_or(limits.memory);
        limits.tokens = self.tokens.or(limits.tokens);
        limits.cost = self.cost.or(limits.cost);
    }
}

/// What is known of a run before anybody is asked or connected to.
struct Draft {
    spell: Spell,
    params: Map,
    grants: Grants,
    /// Where answers are kept; not looked for when there is nothing to ask.
    memory: Option<Memory>,
}

/// A run with nothing left to find out.
struct Plan {
    spell: Spell,
    params: Map,
    permissions: Permissions,
    limits: LimitFlags,
    models: Arc<dyn Models>,
    model: Option<String>,
    reader: Reader,
    interrupts: Interrupts,
}

/// How a run ended for the command.
enum Ended {
    /// With an outcome, and what became of stdout.
    Run(Box<Outcome>, std::io::Result<()>),
    /// Not at all: it does not obey a limit or the user. It holds a thread, so the process has to end.
    Stuck(Error),
}

impl RunArgs {
    pub(crate) async fn execute(self, report: &Report) -> Result<Exit> {
        if self.dry_run {
            return self.preview(report).await;
        }
        let mut screen = Screen::new(report, self.output);
        let ended = match self.plan(report, &mut screen).await {
            Ok(plan) => plan.run(&mut screen).await?,
            Err(error) => failed(error),
        };
        let (outcome, shown) = match ended {
            Ended::Run(outcome, shown) => (outcome, shown),
            Ended::Stuck(error) => {
                let outcome = Outcome { error: Some(error.clone()), ..Outcome::default() };
                let _ = tokio::time::timeout(LAST_WORDS, screen.outcome(&outcome)).await;
                exit::now(report.fail(&error));
            }
        };
        let shown = match shown {
            Ok(()) => screen.outcome(&outcome).await,
            Err(error) => {
                screen.abandon().await;
                Err(error)
            }
        };
        let heard = written(shown)?;
        Ok(match &outcome.error {
            // A run that was stopped because nobody reads has no error of its own.
            Some(error) if heard == Exit::DONE || !error.is_cancelled() => report.fail(error),
            _ => heard,
        })
    }

    /// Shows what would run.
    async fn preview(self, report: &Report) -> Result<Exit> {
        let Draft { spell, params, grants, .. } = self.draft(report)?;
        let wanted = Wanted { offline: true, ..self.wanted() };
        let Connected { models, default_model, notice } = connect::models(wanted).await?;
        let model = default_model.as_deref().or(spell.manifest().model.as_deref());
        let (model, note) = match models.resolve(None, model) {
            // It would be no more than a guess.
            _ if notice.is_some() && default_model.is_none() => (None, notice),
            Ok(model) => (Some(model), None),
            Err(error) => (None, Some(error.message().to_owned())),
        };
        let mut limits = spell.manifest().limits.over(Limits::default());
        self.limits().apply(&mut limits);
        Preview::new(&spell, params, &grants, &limits, model, note)?.show(self.output, report)
    }

    /// Finds out all that a run needs.
    async fn plan(self, report: &Report, screen: &mut Screen<'_>) -> Result<Plan> {
        let mut draft = self.draft(report)?;
        let mut reader = Reader::default();
        let mut interrupts =
            Interrupts::listen().map_err(|error| exit::io("cannot listen for Ctrl-C", error))?;
        self.settle(&mut draft, report, &mut reader, &mut interrupts).await?;
        let Connected { models, default_model: model, notice } = tokio::select! {
            connected = connect::models(self.wanted()) => connected?,
            () = interrupts.next() => return Err(Error::cancelled()),
        };
        screen.notice(notice);
        let permissions = draft.grants.effective();
        let (spell, params, limits) = (draft.spell, draft.params, self.limits());
        Ok(Plan { spell, params, permissions, limits, models, model, reader, interrupts })
    }

    /// Finds out what there is to run and what it may touch, as far as that is known without a question.
    fn draft(&self, report: &Report) -> Result<Draft> {
        let spell = Spell::load(&self.spell).map_err(|error| params::blame_flag(error, &self.words))?;
        for warning in &spell.manifest().warnings {
            report.warn(&format!("{}: {warning}", self.spell.join("spell.yaml").display()));
        }
        let params = params::gather(&spell, self.params_file.as_deref(), &self.params, &self.words)?;
        // Looked over before anybody is asked; the run will do it again.
        spell.params(params.clone())?;
        let flags = self.allow.granted(&environment::working_folder()?);
        let mut grants = Grants::new(flags, spell.asked().clone());
        let mut memory = None;
        if self.allow.asked {
            grants.settle_all(By::AllowAsked);
        } else if !grants.open().is_empty() {
            memory = Memory::of(&spell, &self.spell);
            match memory.as_ref().map(Memory::recall).transpose() {
                Ok(granted) => grants.settle(By::Remembered, &granted.unwrap_or_default()),
                Err(error) => report.warn(&format!("{error}: nothing is remembered")),
            }
        }
        Ok(Draft { spell, params, grants, memory })
    }

    /// Asks the user for what is asked and not granted yet, where there is a user to ask.
    async fn settle(
        &self,
        draft: &mut Draft,
        report: &Report,
        reader: &mut Reader,
        interrupts: &mut Interrupts,
    ) -> Result<()> {
        let note = |what: &str, permissions: &Permissions| {
            for line in lines(permissions) {
                report.note(&format!("{what}: {line}")).iter().for_each(|note| say(note));
            }
        };
        for (_, granted) in draft.grants.settled().filter(|(by, _)| *by == By::AllowAsked) {
            note("granted", granted);
        }
        let open = draft.grants.open().clone();
        if open.is_empty() {
            return Ok(());
        }
        // What comes through a pipe is for the spell, and no answer.
        let at_terminal = std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
        if self.allow.no_prompt || !at_terminal {
            note("asked for and not granted", &open);
            report.note("--allow-asked grants what a spell asks for").iter().for_each(|note| say(note));
            return Ok(());
        }
        let memory = draft.memory.as_ref();
        match question::ask(&draft.spell, &open, memory.is_some(), reader, interrupts).await? {
            Answer::No => return Ok(()),
            Answer::Once => {}
            Answer::Always => {
                if let Some(Err(error)) = memory.map(|memory| memory.keep(&open)) {
                    report.warn(&format!("{error}: the answer is good for this run"));
                }
            }
        }
        draft.grants.settle_all(By::Answer);
        Ok(())
    }

    fn wanted(&self) -> Wanted<'_> {
        Wanted {
            provider: self.provider.as_deref(),
            model: self.model.as_deref(),
            max_in_flight: self.max_in_flight,
            offline: false,
        }
    }

    fn limits(&self) -> LimitFlags {
        LimitFlags { wall: self.timeout, memory: self.memory, tokens: self.max_tokens, cost: self.max_cost }
    }
}

fn failed(error: Error) -> Ended {
    Ended::Run(Box::new(Outcome { error: Some(error), ..Outcome::default() }), Ok(()))
}

impl Plan {
    async fn run(mut self, screen: &mut Screen<'_>) -> Result<Ended> {
        let (console, questions) = console();
        let (stuck, mut was_stuck) = mpsc::unbounded_channel();
        let mut builder = Runtime::builder()
            // For one run; counting the processors costs more than reading the spell.
            .workers(1)
            .models(self.models)
            .working_dir(environment::working_folder()?)
            .console(Arc::new(console))
            .on_stuck(PATIENCE, move |error| end_soon(&stuck, error));
        if let Some(folder) = environment::state_folder() {
            builder = builder.storage(folder.join("storage"));
        }
        let runtime = builder.build()?;
        let mut cast = runtime
            .cast(self.spell)
            .params(self.params)
            .permissions(self.permissions)
            .limits(|limits| self.limits.apply(limits));
        if let Some(model) = self.model {
            cast = cast.model(model);
        }
        let (run, events) = cast.start_with_events();
        let cancel = run.canceller();
        let interrupted = async {
            self.interrupts.next().await;
            cancel();
            // A second one, or no end, and the process ends.
            let _ = tokio::time::timeout(PATIENCE, self.interrupts.next()).await;
        };
        Ok(tokio::select! {
            biased;
            ended = follow(run, events, questions, self.reader, screen) => ended,
            () = interrupted => Ended::Stuck(Error::cancelled()),
            Some(error) = was_stuck.recv() => Ended::Stuck(error),
        })
    }
}

/// Shows a run until it ends. When nobody reads stdout any more, it is stopped.
async fn follow(
    run: llmspell::Run,
    mut events: llmspell::Events,
    mut questions: Questions,
    mut reader: Reader,
    screen: &mut Screen<'_>,
) -> Ended {
    let cancel = run.canceller();
    let mut outcome = std::pin::pin!(run.outcome());
    let mut shown = Ok(());
    // In this order: what was said before a question or the end is shown before it.
    let outcome = loop {
        let frame = screen.due();
        let step = tokio::select! {
            biased;
            Some(event) = events.next() => show(screen, event, &mut events).await,
            Some(question) = questions.recv() => match screen.ask(&question).await {
                Ok(()) => match reader.answer(question) {
                    Ok(()) => Ok(()),
                    Err(error) => return failed(error),
                },
                Err(error) => Err(error),
            },
            outcome = &mut outcome => break outcome,
            () = at(frame) => screen.flush().await,
        };
        if step.is_err() && shown.is_ok() {
            shown = step;
            cancel();
        }
    };
    while let Some(event) = events.try_next() {
        if shown.is_ok() {
            shown = screen.event(&event);
        }
    }
    Ended::Run(Box::new(outcome), shown)
}

/// Waits until then; for ever when it is never.
async fn at(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// Shows an event and those that wait behind it, and then sends them on their way.
async fn show(screen: &mut Screen<'_>, event: Event, events: &mut llmspell::Events) -> std::io::Result<()> {
    let mut next = Some(event);
    while let Some(event) = next {
        screen.event(&event)?;
        next = events.try_next();
    }
    screen.flush().await
}

/// Called on the watchdog's thread when a native holds a run beyond its limit: the screen gets a moment to say so,
/// and the process ends even if it does not take it.
fn end_soon(stuck: &mpsc::UnboundedSender<Error>, error: &Error) {
    let _ = stuck.send(error.clone());
    std::thread::sleep(LAST_WORDS * 2);
    exit::now(Exit::of(error));
}
