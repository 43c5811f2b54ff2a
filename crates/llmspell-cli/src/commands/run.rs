//! `llmspell run`.

mod params;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use llmspell::capability::Models;
use llmspell::{
    Error, Event, Grant, Limits, Map, NetRule, Outcome, Permissions, Result, Runtime, Spell, parse_size,
    parse_span,
};
use tokio::sync::mpsc;

use crate::connect::{self, Connected, Wanted};
use crate::console::{Questions, Reader, console};
use crate::environment;
use crate::exit::{self, Exit};
use crate::report::Report;
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
    /// What to write to stdout
    #[arg(long, value_enum, default_value_t)]
    output: Output,
    #[command(flatten)]
    allow: Allow,
}

/// What the spell may touch; nothing but models without these.
#[derive(Debug, Args)]
#[command(next_help_heading = "Permissions")]
struct Allow {
    /// Hosts that the spell may reach, as host or host:port
    #[arg(long = "allow-net", value_name = "HOST", value_delimiter = ',', require_equals = true)]
    net: Vec<NetRule>,
    /// Folders that it may read
    #[arg(long = "allow-read", value_name = "DIR", value_delimiter = ',', require_equals = true)]
    read: Vec<PathBuf>,
    /// Folders that it may write
    #[arg(long = "allow-write", value_name = "DIR", value_delimiter = ',', require_equals = true)]
    write: Vec<PathBuf>,
    /// Environment variables that it may see
    #[arg(long = "allow-env", value_name = "NAME", value_delimiter = ',', require_equals = true)]
    env: Vec<String>,
    /// Programs that it may start
    #[arg(long = "allow-run", value_name = "PROG", value_delimiter = ',', require_equals = true)]
    run: Vec<String>,
    /// MCP servers that it may use
    #[arg(long = "allow-mcp", value_name = "NAME", value_delimiter = ',', require_equals = true)]
    mcp: Vec<String>,
}

impl From<Allow> for Permissions {
    fn from(allow: Allow) -> Self {
        let Allow { net, read, write, env, run, mcp } = allow;
        Self {
            net: Grant::Only(net),
            read: Grant::Only(read),
            write: Grant::Only(write),
            env: Grant::Only(env),
            run: Grant::Only(run),
            mcp: Grant::Only(mcp),
        }
    }
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

/// A run with nothing left to find out.
struct Plan {
    spell: Spell,
    params: Map,
    permissions: Permissions,
    limits: LimitFlags,
    models: Arc<dyn Models>,
    model: Option<String>,
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
            Err(error) => Err(error),
        };
        let heard = written(shown)?;
        Ok(match &outcome.error {
            // A run that was stopped because nobody reads has no error of its own.
            Some(error) if heard == Exit::DONE || !error.is_cancelled() => report.fail(error),
            _ => heard,
        })
    }

    /// Finds out all that a run needs.
    async fn plan(self, report: &Report, screen: &mut Screen<'_>) -> Result<Plan> {
        let spell = Spell::load(&self.spell).map_err(|error| params::blame_flag(error, &self.words))?;
        for warning in &spell.manifest().warnings {
            report.warn(&format!("{}: {warning}", self.spell.join("spell.yaml").display()));
        }
        let params = params::gather(&spell, self.params_file.as_deref(), &self.params, &self.words)?;
        // Looked over before anything is connected; the run will do it again.
        spell.params(params.clone())?;
        let wanted = Wanted { provider: self.provider.as_deref(), model: self.model.as_deref() };
        let Connected { models, default_model: model, notice } = connect::models(wanted).await?;
        screen.notice(notice);
        let limits = LimitFlags {
            wall: self.timeout,
            memory: self.memory,
            tokens: self.max_tokens,
            cost: self.max_cost,
        };
        Ok(Plan { spell, params, permissions: self.allow.into(), limits, models, model })
    }
}

fn failed(error: Error) -> Ended {
    Ended::Run(Box::new(Outcome { error: Some(error), ..Outcome::default() }), Ok(()))
}

impl Plan {
    async fn run(self, screen: &mut Screen<'_>) -> Result<Ended> {
        let mut interrupts =
            Interrupts::listen().map_err(|error| exit::io("cannot listen for Ctrl-C", error))?;
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
            interrupts.next().await;
            cancel();
            // A second one, or no end, and the process ends.
            let _ = tokio::time::timeout(PATIENCE, interrupts.next()).await;
        };
        Ok(tokio::select! {
            biased;
            ended = follow(run, events, questions, screen) => ended,
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
    screen: &mut Screen<'_>,
) -> Ended {
    let cancel = run.canceller();
    let mut outcome = std::pin::pin!(run.outcome());
    let mut reader = Reader::default();
    let mut shown = Ok(());
    // In this order: what was said before a question or the end is shown before it.
    let outcome = loop {
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
    exit::now(Exit::of(error.kind()));
}
