//! Executes a planned run and shows it.

use std::num::{NonZeroU32, NonZeroU64, NonZeroUsize};
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use llmspell::capability::Models;
use llmspell::llm;
use llmspell::{
    Error, Event, InDoubt, Lease, Map, OnUnavailable, Outcome, Permissions, Recording, Result, RunBuilder,
    RunIndex, RunStore, Runtime, Spell, SweepStart, sweep,
};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::limit_flags::LimitFlags;
use super::trace::{RunTrace, TraceFlags};
use crate::console::{Questions, StdinReader, console};
use crate::environment;
use crate::exit::{self, Exit};
use crate::format;
use crate::report::{Reporter, say};
use crate::run_view::Screen;
use crate::signals::Interrupts;
use crate::stdout::written;
use crate::terminal;

/// How long a cancelled run may take to stop. A run may exceed a limit by one second; the rest of that second is for
/// the error message.
pub(crate) const PATIENCE: Duration = Duration::from_millis(900);

/// How long the screen may take to show why the process ends.
const LAST_WORDS: Duration = Duration::from_millis(100);

fn at_least_one<T: FromStr>(text: &str) -> Result<T> {
    text.parse().map_err(|_| Error::config("expected a whole number from 1 on"))
}

/// Rate limits of providers, and fallback models.
#[derive(Debug, Args)]
pub(crate) struct RateFlags {
    /// Maximum calls in flight per provider; further calls wait [default: 32]
    #[arg(long, value_name = "COUNT", value_parser = at_least_one::<NonZeroUsize>)]
    max_in_flight: Option<NonZeroUsize>,
    /// Maximum requests per minute and provider, including retries; further calls wait
    #[arg(long, value_name = "COUNT", value_parser = at_least_one::<NonZeroU32>)]
    rpm: Option<NonZeroU32>,
    /// Maximum tokens per minute and provider, input and output together; further calls wait
    #[arg(long, value_name = "COUNT", value_parser = at_least_one::<NonZeroU64>)]
    tpm: Option<NonZeroU64>,
    /// Maximum retries of a failed model call, from 0 to 9 [default: 2]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(0..=9))]
    pub(crate) retries: Option<u32>,
    /// A model to call if the provider fails: `provider/model`; may be given several times, in order
    #[arg(long, value_name = "MODEL", value_delimiter = ',')]
    pub(crate) fallback: Vec<String>,
}

impl RateFlags {
    /// Converts the flags to the library's type.
    pub(crate) fn of_provider(&self) -> llm::RateLimits {
        llm::RateLimits {
            in_flight: self.max_in_flight,
            requests_per_minute: self.rpm,
            tokens_per_minute: self.tpm,
        }
    }
}

/// The options of a run, whether it is new, replayed or resumed.
#[derive(Debug, Args)]
pub(crate) struct RunSettings {
    #[command(flatten)]
    pub(crate) limits: LimitFlags,
    #[command(flatten)]
    pub(crate) pace: RateFlags,
    #[command(flatten)]
    pub(crate) trace: TraceFlags,
}

/// A run with everything determined.
pub(crate) struct RunPlan {
    pub(crate) spell: Spell,
    pub(crate) start: RunStart,
    pub(crate) limits: LimitFlags,
    pub(crate) trace: RunTrace,
    /// The models; `None` for a replay.
    pub(crate) models: Option<Arc<dyn Models>>,
    /// The cache of model answers.
    pub(crate) cache: Option<Arc<dyn RunStore>>,
    pub(crate) reader: StdinReader,
    pub(crate) interrupts: Interrupts,
}

/// The beginning of a run.
pub(crate) enum RunStart {
    /// A new run.
    New(Box<FreshRun>),
    /// A replay of a recorded run.
    Replay(Box<Recording>),
    /// A resumed run.
    Resume {
        store: Arc<dyn RunStore>,
        lease: Lease,
        run: Box<RunIndex>,
        in_doubt: InDoubt,
        fallback: Option<Vec<String>>,
    },
}

/// The inputs of a new run.
pub(crate) struct FreshRun {
    pub(crate) params: Map,
    pub(crate) permissions: Permissions,
    pub(crate) model: Option<String>,
    pub(crate) fallback: Option<Vec<String>>,
    pub(crate) journal: JournalTarget,
}

/// Where a run is recorded.
pub(crate) enum JournalTarget {
    Nowhere,
    To(PathBuf),
    Kept(Arc<dyn RunStore>),
}

/// How a run ended.
enum EndedRun {
    /// With an outcome, and the result of writing to stdout.
    Run(Box<Outcome>, std::io::Result<()>),
    /// The run does not stop at a limit or a cancellation. It occupies a thread, so the process must end.
    Stuck(Error),
}

/// Executes a plan and shows the result. If there is no plan, shows the error.
///
/// # Errors
/// When the run cannot be started, or stdout cannot be written.
pub(crate) async fn perform(
    plan: Result<RunPlan>,
    screen: &mut Screen<'_>,
    report: &Reporter,
) -> Result<Exit> {
    let (ended, store, is_replay) = match plan {
        Ok(plan) => {
            let (store, is_replay) = (plan.store(), matches!(plan.start, RunStart::Replay(_)));
            (plan.run(screen).await?, store, is_replay)
        }
        Err(error) => (failed(error), None, false),
    };
    let (outcome, shown) = match ended {
        EndedRun::Run(outcome, shown) => (outcome, shown),
        EndedRun::Stuck(error) => {
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
    if outcome.model_calls > 0 && !is_replay {
        report.note(&spent(&outcome)).iter().for_each(|note| say(note));
    }
    if let Some(store) = &store
        && let Err(error) = sweep_old_runs(&**store).await
    {
        say(&report.warning(&format!("old runs were not removed: {}", error.message())));
    }
    let Some(error) = outcome.error.as_ref().filter(|error| heard == Exit::Done || !error.is_cancelled())
    else {
        // The run was cancelled because stdout was closed; that is not the spell's error.
        return Ok(heard);
    };
    let exit = report.fail(error);
    if can_go_on(error)
        && let Some(store) = store
        && store.resolve(&outcome.run_id).await.is_ok()
    {
        let run = short(&outcome.run_id);
        let note = report.note(&format!("`llmspell runs resume {run}` goes on where it stopped"));
        note.iter().for_each(|note| say(note));
    }
    Ok(exit)
}

/// Removes old runs, at most once a day. What takes longer than a second is left to the next run.
async fn sweep_old_runs(store: &dyn RunStore) -> Result<()> {
    let retention = environment::retention()?;
    sweep(store, &retention, SweepStart::IfDue, Duration::from_secs(1)).await.map(drop)
}

/// Returns a one-line summary of the run's usage.
fn spent(outcome: &Outcome) -> String {
    let Outcome { model_calls: calls, unpriced_calls, usage, duration, .. } = outcome;
    let plural = if *calls == 1 { "" } else { "s" };
    let tokens = format::tokens(usage);
    let cost = match (unpriced_calls, usage.cost_usd) {
        (0, _) => format::cost(usage),
        (_, None | Some(0.0)) => "cost unknown".to_owned(),
        (unknown, _) => format!("{} and {unknown} of unknown cost", format::cost(usage)),
    };
    let saved = usage.saved_usd.filter(|saved| *saved >= 0.00005);
    let saved = saved.map(|saved| format!(" (${saved:.4} saved by caching)")).unwrap_or_default();
    format!(
        "{calls} model call{plural}, {tokens}, {cost}{saved}, {}",
        format::seconds(duration.as_secs_f64())
    )
}

/// Returns whether resuming the run may succeed.
fn can_go_on(error: &Error) -> bool {
    error.is_final() || error.is_provider()
}

/// Returns the beginning of a run's id: its time in milliseconds and a random part, enough to be unique.
pub(crate) fn short(run: &str) -> &str {
    run.get(..16).unwrap_or(run)
}

fn failed(error: Error) -> EndedRun {
    EndedRun::Run(Box::new(Outcome { error: Some(error), ..Outcome::default() }), Ok(()))
}

impl RunPlan {
    /// Creates a plan that asks nothing and calls no model.
    ///
    /// # Errors
    /// When signals cannot be received.
    pub(super) fn offline(spell: Spell, start: RunStart, settings: RunSettings) -> Result<Self> {
        let (reader, interrupts) = (StdinReader::default(), Interrupts::listen()?);
        let (limits, trace) = (settings.limits, settings.trace.trace());
        Ok(Self { spell, start, limits, trace, models: None, cache: None, reader, interrupts })
    }

    /// Returns the store of the run.
    fn store(&self) -> Option<Arc<dyn RunStore>> {
        match &self.start {
            RunStart::New(new) => match &new.journal {
                JournalTarget::Kept(store) => Some(Arc::clone(store)),
                JournalTarget::Nowhere | JournalTarget::To(_) => None,
            },
            RunStart::Resume { store, .. } => Some(Arc::clone(store)),
            RunStart::Replay(_) => None,
        }
    }

    async fn run(mut self, screen: &mut Screen<'_>) -> Result<EndedRun> {
        let (console, questions) = console();
        let (stuck, mut was_stuck) = mpsc::unbounded_channel();
        let mut builder = Runtime::builder()
            // There is only one run, and counting the processors takes longer than reading the spell.
            .workers(1)
            .working_dir(environment::working_folder()?)
            .console(Arc::new(console))
            .on_stuck(PATIENCE, move |error| end_soon(&stuck, error));
        if let Some(cache) = self.cache {
            builder = builder.cache(cache);
        }
        if let Some(models) = self.models {
            builder = builder.models(models);
        }
        if let Some(folder) = environment::state_folder() {
            builder = builder.storage(folder.join("storage"));
        }
        let runtime = builder.build()?;
        let builder = runtime.run(self.spell).limits(|limits| self.limits.apply(limits));
        let (run, events) = self.trace.apply(self.start.apply(builder)).start_with_events();
        let cancel = run.canceller();
        let interrupted = async {
            self.interrupts.next().await;
            cancel();
            // The process ends after a second interrupt, or if the run does not stop in time.
            let _ = tokio::time::timeout(PATIENCE, self.interrupts.next()).await;
        };
        let ended = tokio::select! {
            biased;
            ended = follow(run, events, questions, self.reader, screen) => ended,
            () = interrupted => EndedRun::Stuck(Error::cancelled()),
            Some(error) = was_stuck.recv() => return Ok(EndedRun::Stuck(error)),
        };
        if let EndedRun::Run(..) = &ended {
            let exported = tokio::select! {
                exported = self.trace.export() => exported,
                () = self.interrupts.next() => Ok(()),
            };
            exported.unwrap_or_else(|error| screen.warn(error.message()));
        }
        Ok(ended)
    }
}

impl RunStart {
    fn apply(self, builder: RunBuilder) -> RunBuilder {
        match self {
            Self::New(new) => {
                let FreshRun { params, permissions, model, fallback, journal } = *new;
                let mut builder = builder.params(params).permissions(permissions);
                if let Some(model) = model {
                    builder = builder.model(model);
                }
                if let Some(models) = fallback {
                    builder = builder.fallback(models);
                }
                match journal {
                    JournalTarget::Nowhere => builder,
                    JournalTarget::To(file) => builder.record(file),
                    JournalTarget::Kept(store) => builder.in_store(&store, OnUnavailable::Warn),
                }
            }
            Self::Replay(recording) => builder.replay(*recording),
            Self::Resume { store, lease, run, in_doubt, fallback } => {
                let builder = builder.resume(&store, lease, *run, in_doubt);
                match fallback {
                    Some(models) => builder.fallback(models),
                    None => builder,
                }
            }
        }
    }
}

/// Shows a run until it ends. If stdout is closed, the run is cancelled.
async fn follow(
    run: llmspell::Run,
    mut events: llmspell::Events,
    mut questions: Questions,
    mut reader: StdinReader,
    screen: &mut Screen<'_>,
) -> EndedRun {
    let cancel = run.canceller();
    let mut outcome = std::pin::pin!(run.outcome());
    let mut shown = Ok(());
    // The order matters: events are shown before a question or the end that follows them.
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
    EndedRun::Run(Box::new(outcome), shown)
}

/// Waits until this time; forever if it is `None`.
async fn at(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// Shows an event and all waiting ones, and then flushes them.
async fn show(screen: &mut Screen<'_>, event: Event, events: &mut llmspell::Events) -> std::io::Result<()> {
    let mut next = Some(event);
    while let Some(event) = next {
        screen.event(&event)?;
        next = events.try_next();
    }
    screen.flush().await
}

/// Called on the watchdog's thread when a native exceeds its limit. Leaves the screen a moment for the error, and then
/// ends the process in any case.
fn end_soon(stuck: &mpsc::UnboundedSender<Error>, error: &Error) {
    let _ = stuck.send(error.clone());
    std::thread::sleep(LAST_WORDS * 2);
    exit::now(Exit::of(error));
}

/// Reports the error and ends the process, when there is no screen to wait for.
pub(crate) fn end_now(error: &Error) {
    say(&format!("error: {}\n", terminal::escape(&error.to_string())));
    exit::now(Exit::of(error));
}
