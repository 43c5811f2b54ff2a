//! One run of a spell, from the outside: what it gets, and the handle that waits for it or stops it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use llmspell_core::capability::{Console, Models, Net};
use llmspell_core::commit::CommitPoint;
use llmspell_core::effect::Journal;
use llmspell_core::{
    Bridge, Context, Error, ErrorKind, Event, Limits, Map, Outcome, Permissions, Result, Source, SpellInfo,
    Value,
};
use llmspell_llm::Client;
use tokio::sync::{mpsc, oneshot};

use crate::files::Disk;
use crate::journal::{InDoubt, OnUnavailable, Queue, Recording, RunInfo, RunJournal};
use crate::live::{Live, Opened};
use crate::runtime::Runtime;
use crate::sink::Collector;
use crate::spell::{Spell, SpellModules};
use crate::storage::Store;
use crate::store::{Lease, NewRun, RecordingFile, RunStore, StoredRun};
use crate::tracing::{Traced, Tracer};

/// A spell about to run, and what it gets: no parameters, no permissions, the default limits under the manifest's.
#[must_use = "a cast does nothing until it is started"]
#[derive(Debug)]
pub struct Cast {
    runtime: Runtime,
    spell: Spell,
    params: Map,
    permissions: Permissions,
    limits: Limits,
    model: Option<String>,
    fallback: Vec<String>,
    run_id: String,
    written: Written,
    tracers: Vec<Arc<dyn Tracer>>,
    traces_events: bool,
    bridges: Vec<Bridge>,
    stage: Option<Stage>,
    shares_vm: bool,
}

/// What a run has in the place of what its runtime has, when a test runs a spell. It is the same on every machine, but
/// for where the folder is.
pub(crate) struct Stage {
    pub(crate) models: Arc<dyn Models>,
    pub(crate) console: Arc<dyn Console>,
    pub(crate) net: Arc<dyn Net>,
    /// The working folder, and the spell's own.
    pub(crate) folder: PathBuf,
    /// Where storages are.
    pub(crate) storage: PathBuf,
}

impl std::fmt::Debug for Stage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stage").field("folder", &self.folder).finish_non_exhaustive()
    }
}

/// Where a run's effects are written down, or read from.
#[derive(Default)]
enum Written {
    #[default]
    Nowhere,
    Own(Arc<dyn Journal>),
    Kept(Arc<dyn RunStore>, OnUnavailable),
    Resumed(Arc<dyn RunStore>, Lease, Box<StoredRun>, InDoubt),
    Recorded(PathBuf),
    Replayed(Box<Recording>),
}

impl std::fmt::Debug for Written {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Nowhere => "Nowhere",
            Self::Own(_) => "Own",
            Self::Kept(..) => "Kept",
            Self::Resumed(..) => "Resumed",
            Self::Recorded(_) => "Recorded",
            Self::Replayed(_) => "Replayed",
        })
    }
}

impl Cast {
    pub(crate) fn new(runtime: Runtime, spell: Spell) -> Self {
        let limits = spell.manifest().limits.over(Limits::default());
        let (model, fallback) = (spell.manifest().model.clone(), spell.manifest().fallback.clone());
        let permissions = Permissions::default();
        Self {
            runtime,
            spell,
            params: Map::new(),
            permissions,
            limits,
            model,
            fallback,
            run_id: uuid::Uuid::now_v7().simple().to_string(),
            written: Written::Nowhere,
            tracers: Vec::new(),
            traces_events: false,
            bridges: Vec::new(),
            stage: None,
            shares_vm: false,
        }
    }

    /// Sets a parameter.
    pub fn param(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.params.insert(name.to_owned(), value.into());
        self
    }

    /// Sets parameters.
    pub fn params(mut self, params: Map) -> Self {
        self.params.extend(params);
        self
    }

    /// Sets what the user granted.
    pub fn permissions(mut self, permissions: Permissions) -> Self {
        self.permissions = permissions;
        self
    }

    /// Changes the limits; they begin as the defaults with the manifest's over them.
    pub fn limits(mut self, change: impl FnOnce(&mut Limits)) -> Self {
        change(&mut self.limits);
        self
    }

    /// Sets the model used when a request names none, over the manifest's.
    pub fn model(mut self, model: impl Into<String>) -> Self {
        self.model = Some(model.into());
        self
    }

    /// Sets the models that are asked, in order, when the one that was asked cannot answer, over the manifest's. A run
    /// that goes on or is played again has its own: to change those, this comes last.
    pub fn fallback(mut self, models: Vec<String>) -> Self {
        self.fallback = models;
        self
    }

    /// Gives this run a bridge that the runtime does not give to all.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
    /// use llmspell::{Bridge, Method, Runtime, Spell};
    ///
    /// let order = Method::sync("order", |_, arguments| {
    ///     arguments.end()?;
    ///     Ok(4711)
    /// });
    /// let runtime = Runtime::builder().build()?;
    /// let cast = |script| Ok::<_, llmspell::Error>(runtime.cast(Spell::from_source("shop.luau", script)?));
    /// let mine = cast("return shop.order()")?.bridge(Bridge::new("shop").method(order)).start().outcome().await;
    /// assert_eq!(mine.into_result()?, 4711.into());
    /// assert!(cast("return shop.order()")?.start().outcome().await.error.is_some());
    /// // The names of the runtime's bridges are taken.
    /// assert!(cast("return 1")?.bridge(Bridge::new("llm")).start().outcome().await.error.is_some());
    /// # Ok::<(), llmspell::Error>(()) }).unwrap()
    /// ```
    pub fn bridge(mut self, bridge: Bridge) -> Self {
        self.bridges.push(bridge);
        self
    }

    /// Runs on a stage of its own, under this id.
    pub(crate) fn on(mut self, stage: Stage, run_id: &str) -> Self {
        run_id.clone_into(&mut self.run_id);
        self.stage = Some(stage);
        self
    }

    /// Has effects written down in a journal of the program's own. This and the next four exclude each other: the last
    /// one holds, and without any of them nothing is written down.
    pub fn journal(mut self, journal: Arc<dyn Journal>) -> Self {
        self.written = Written::Own(journal);
        self
    }

    /// Keeps the run in a store, so that it can be looked at, and resumed when it fails or its process dies. It is created
    /// there at its first effect.
    pub fn in_store(mut self, store: &Arc<dyn RunStore>, on_unavailable: OnUnavailable) -> Self {
        self.written = Written::Kept(Arc::clone(store), on_unavailable);
        self
    }

    /// Goes on with a run that did not succeed, which was [claimed](RunStore::claim) and [loaded](RunStore::load). It has
    /// its id, parameters, permissions and model; what it did is not done again, and what it printed is not handed to the
    /// listener again, while the outcome has all of it.
    ///
    /// The spell must be the one that ran, which [`StoredRun::same_spell`] checks. If it asks for something else than it did
    /// then, the run fails with an error of kind `replay`.
    pub fn resume(
        mut self,
        store: &Arc<dyn RunStore>,
        lease: Lease,
        run: StoredRun,
        in_doubt: InDoubt,
    ) -> Self {
        self.take_over(&run.summary.info);
        self.written = Written::Resumed(Arc::clone(store), lease, Box::new(run), in_doubt);
        self
    }

    /// Records the run into this file, which is complete when the run has ended; until then, what it has done is in
    /// `FILE.partial`.
    pub fn record(mut self, file: impl Into<PathBuf>) -> Self {
        self.written = Written::Recorded(file.into());
        self
    }

    /// Plays a recorded run again, with its id, parameters, permissions and model. Nothing is asked of the world: what the
    /// recording does not answer is an error of kind `replay`.
    pub fn replay(mut self, recording: Recording) -> Self {
        self.take_over(&recording.info);
        self.written = Written::Replayed(Box::new(recording));
        self
    }

    fn take_over(&mut self, info: &RunInfo) {
        self.run_id.clone_from(&info.run_id);
        self.params.clone_from(&info.params);
        self.permissions.clone_from(&info.permissions);
        self.model.clone_from(&info.model);
        self.fallback.clone_from(&info.fallback);
    }

    /// Has this one hear of each effect of the run. Each call adds one.
    pub fn trace(mut self, tracer: Arc<dyn Tracer>) -> Self {
        self.tracers.push(tracer);
        self
    }

    /// Has the listener hear of each effect of the run, as [`Event::Effect`].
    pub fn trace_events(mut self) -> Self {
        self.traces_events = true;
        self
    }

    /// Lets the run have a VM in which another run of the same spell has ended well, and leave it to the next. That
    /// takes a tenth of the time and of the memory of a new VM, for many runs of one spell.
    ///
    /// Each run finds the VM as new. But the engine is then all that stands between them: runs that work for different
    /// people should not share. A VM of JavaScript serves one run all the same.
    pub fn share_vm(mut self) -> Self {
        self.shares_vm = true;
        self
    }

    /// Starts the run.
    pub fn start(self) -> Run {
        self.start_with(None)
    }

    /// Starts the run and listens to what it says while it runs.
    pub fn start_with_events(self) -> (Run, Events) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (self.start_with(Some(sender)), Events(receiver))
    }

    fn start_with(mut self, listener: Option<mpsc::UnboundedSender<Event>>) -> Run {
        let (cx, said, journal) = self.context(listener);
        let (sender, receiver) = oneshot::channel();
        let source = self.spell.shared_source();
        let ended = Arc::clone(&said);
        let run = Run { cx: cx.clone(), said: Arc::clone(&said), outcome: receiver, detached: false };
        let prepared = journal.and_then(|()| self.prepare());
        let posted = prepared.and_then(|prepared| {
            let cx = cx.clone();
            prepared.runtime.clone().0.workers.post(move |desk, underway| {
                Box::pin(async move {
                    let (result, opened) = match Opened::new(prepared, cx.clone(), desk).await {
                        Ok(mut opened) => {
                            let result = opened.eval(&source).await;
                            opened.clean_up();
                            (result, Some(opened))
                        }
                        Err(error) => (Err(error), None),
                    };
                    let ended_well = result.is_ok();
                    let outcome = outcome(&cx, &ended, result).await;
                    // Whoever starts the next run when this one has ended finds its VM.
                    let left = match opened {
                        Some(opened) if ended_well => opened.retire(),
                        opened => opened,
                    };
                    // Whoever starts the next run finds this worker free; it would else go to one that is busy. And nobody
                    // has to wait for a VM to be taken apart.
                    drop(underway);
                    let _ = sender.send(outcome);
                    drop(left);
                })
            })
        });
        match posted {
            Ok(()) => run,
            Err(error) => {
                let (sender, receiver) = oneshot::channel();
                let _ = sender.send(outcome_now(&cx, &said, Err(error)));
                Run { cx, said, outcome: receiver, detached: false }
            }
        }
    }

    /// Opens the spell's VM without running its script, to evaluate piece by piece.
    ///
    /// # Errors
    /// When a parameter is wrong, or there is no engine or VM for the spell.
    pub async fn open(mut self) -> Result<Live> {
        let (cx, said, journal) = self.context(None);
        journal?;
        let prepared = self.prepare()?;
        Live::open(prepared, cx, said).await
    }

    /// Where the run's effects are recorded.
    fn written(
        &mut self,
        listener: Option<mpsc::UnboundedSender<Event>>,
        modules: Option<&Arc<SpellModules>>,
    ) -> (Arc<Collector>, Result<Option<Arc<dyn Journal>>>) {
        let shown_before = match &self.written {
            Written::Resumed(_, _, run, _) => run.lines_shown(),
            _ => 0,
        };
        let said = Arc::new(Collector::new(listener.clone(), shown_before));
        // A listener that went away has heard enough.
        let show = Box::new(move |event| {
            if let Some(listener) = &listener {
                drop(listener.send(event));
            }
        });
        let writer = self.runtime.0.journal_writer.clone();
        let written = std::mem::take(&mut self.written);
        let modules = modules.cloned();
        let recorded = |queue: Arc<Queue>, journal: RunJournal| {
            said.through(queue);
            Ok(Some(Arc::new(journal) as Arc<dyn Journal>))
        };
        let journal = match written {
            Written::Nowhere => Ok(None),
            Written::Own(journal) => Ok(Some(journal)),
            Written::Replayed(recording) => Ok(Some(Arc::new(recording.into_replay()) as Arc<dyn Journal>)),
            Written::Kept(store, on_unavailable) => {
                let queue =
                    Queue::new(store, writer, self.new_run(), self.spell.clone(), on_unavailable, show);
                recorded(Arc::clone(&queue), RunJournal::new(queue, modules))
            }
            Written::Recorded(file) => {
                let (file, spell) = (Arc::new(RecordingFile::new(file)), self.spell.clone());
                let queue = Queue::new(file, writer, self.new_run(), spell, OnUnavailable::Fail, show);
                recorded(Arc::clone(&queue), RunJournal::new(queue, None).recording())
            }
            Written::Resumed(store, lease, run, in_doubt) => {
                let queue = Queue::claimed(store, writer, lease, show);
                RunJournal::resume(Arc::clone(&queue), *run, modules, in_doubt)
                    .and_then(|journal| recorded(queue, journal))
            }
        };
        (said, journal)
    }

    /// The run as its store gets it, but for the digest of its spell.
    fn new_run(&self) -> NewRun {
        let info = RunInfo {
            run_id: self.run_id.clone(),
            spell: self.spell.name().to_owned(),
            version: self.spell.manifest().version.clone(),
            digest: String::new(),
            modules: BTreeMap::new(),
            params: self.params.clone(),
            permissions: self.permissions.clone(),
            model: self.model.clone(),
            fallback: self.fallback.clone(),
        };
        let path = self.spell.origin().map(std::path::Path::to_owned);
        let working_dir = self.runtime.0.working_dir.clone();
        NewRun { info, path, working_dir, started: SystemTime::now() }
    }

    fn context(
        &mut self,
        listener: Option<mpsc::UnboundedSender<Event>>,
    ) -> (Context, Arc<Collector>, Result<()>) {
        let offline = matches!(self.written, Written::Replayed(_));
        let modules = self.spell.modules();
        let (said, journal) = self.written(listener, modules.as_ref());
        let (journal, written) = match journal {
            Ok(journal) => (journal, Ok(())),
            Err(error) => (None, Err(error)),
        };
        let shared = &self.runtime.0;
        let stage = self.stage.take();
        let dir = match &stage {
            Some(_) => self.spell.dir().map(|_| PathBuf::from(".")),
            None => self.spell.dir().map(std::path::Path::to_owned),
        };
        let info = SpellInfo {
            name: self.spell.name().to_owned(),
            version: self.spell.manifest().version.clone(),
            run_id: self.run_id.clone(),
            dir,
        };
        let mut tracers = std::mem::take(&mut self.tracers);
        if self.traces_events {
            tracers.push(Arc::clone(&said) as Arc<dyn Tracer>);
        }
        let journal = match tracers.is_empty() {
            true => journal,
            false => Some(Arc::new(Traced::new(journal, tracers, info.clone())) as Arc<dyn Journal>),
        };
        let mut builder = Context::builder()
            .spell(info)
            .permissions(self.permissions.clone())
            .limits(self.limits.clone())
            .default_model(self.model.clone())
            .fallback(self.fallback.clone())
            .clock(Arc::clone(&shared.clock))
            .random(Arc::clone(&shared.random))
            .sink(Arc::clone(&said) as Arc<dyn llmspell_core::Sink>);
        if let Some(journal) = journal {
            builder = builder.journal(journal);
        }
        // A replay counts tokens, and asks no model.
        let none = || Client::builder().build().ok().map(|client| Arc::new(client) as Arc<dyn Models>);
        let (models, cache, console, net, storage, working_dir) = match stage {
            Some(Stage { models, console, net, folder, storage }) => {
                (Some(models), None, Some(console), net, Some(storage), Some(folder))
            }
            None => (
                if offline { none() } else { shared.models.clone() },
                shared.cache.clone(),
                shared.console.clone(),
                Arc::clone(&shared.net),
                shared.storage.clone(),
                shared.working_dir.clone(),
            ),
        };
        if let Some(models) = models {
            builder = builder.models(models);
        }
        if let Some(cache) = cache {
            builder = builder.cache(cache);
        }
        if let Some(console) = console {
            builder = builder.console(console);
        }
        builder = builder.net(net).files(Arc::new(Disk::default()));
        if let Some(root) = storage {
            builder = builder.storage(Arc::new(Store::new(&root, &self.spell)));
        }
        if let Some(dir) = working_dir {
            builder = builder.working_dir(dir);
        }
        if let Some(modules) = modules {
            builder = builder.modules(modules);
        }
        (builder.build(), said, written)
    }

    fn prepare(self) -> Result<Prepared> {
        let engine = self.runtime.engine_for(&self.spell)?;
        let params = self.spell.params(self.params)?;
        let mut bridges = self.runtime.0.bridges.list();
        for bridge in self.bridges {
            if bridges.iter().any(|known| known.name == bridge.name) {
                let message = format!("there is a bridge named `{}` already", bridge.name);
                return Err(Error::new(ErrorKind::Conflict, message));
            }
            bridges.push(Arc::new(bridge));
        }
        Ok(Prepared {
            bridges,
            runtime: self.runtime,
            engine,
            shared: self.shares_vm.then(|| self.spell.shared_source()),
            params: Value::Map(params),
        })
    }
}

/// What a worker needs to open a session.
pub(crate) struct Prepared {
    pub(crate) runtime: Runtime,
    pub(crate) engine: Arc<dyn llmspell_core::Engine>,
    pub(crate) bridges: Vec<Arc<Bridge>>,
    /// What the runs that share the VM run.
    pub(crate) shared: Option<Arc<Source>>,
    pub(crate) params: Value,
}

/// The outcome of a run, once its journal is durable.
pub(crate) async fn outcome(cx: &Context, said: &Collector, result: Result<Value>) -> Outcome {
    let (mut outcome, closed) = close(cx, said, result);
    let durable = match closed {
        Ok(point) => cx.recorded(point).await,
        Err(error) => Err(error),
    };
    if let Err(error) = durable {
        outcome.error.get_or_insert(error);
    }
    outcome
}

/// The same for a caller that cannot wait: the thread is blocked meanwhile.
pub(crate) fn outcome_now(cx: &Context, said: &Collector, result: Result<Value>) -> Outcome {
    let (mut outcome, closed) = close(cx, said, result);
    if let Err(error) = closed.and_then(|point| cx.wait_recorded(point)) {
        outcome.error.get_or_insert(error);
    }
    outcome
}

fn close(cx: &Context, said: &Collector, result: Result<Value>) -> (Outcome, Result<CommitPoint>) {
    let result = cx.broken().map_or(result, |error| Err(error.clone()));
    let (value, error) = match result.and_then(data) {
        Ok(value) => (value, None),
        Err(error) => (Value::Nil, Some(error)),
    };
    let said = said.take();
    let meter = cx.meter();
    let outcome = Outcome {
        run_id: cx.spell().run_id.clone(),
        spell: cx.spell().name.clone(),
        value,
        error,
        usage: meter.usage(),
        model_calls: meter.model_calls(),
        unpriced_calls: meter.unpriced_calls(),
        duration: meter.started().elapsed(),
        cpu: meter.cpu(),
        logs: said.logs,
        output: said.output,
    };
    let closed = cx.close(&outcome);
    (outcome, closed)
}

/// A value that may leave the run: functions and host objects die with it.
pub(crate) fn data(value: Value) -> Result<Value> {
    match value.is_data() {
        true => Ok(value),
        false => Err(Error::runtime("a function or an object cannot leave the script: only data can")),
    }
}

/// A run under way. Dropping it cancels the run and closes its sockets, unless it was [detached](Run::detach).
#[derive(Debug)]
pub struct Run {
    cx: Context,
    said: Arc<Collector>,
    outcome: oneshot::Receiver<Outcome>,
    detached: bool,
}

impl Run {
    /// The run's id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.cx.spell().run_id
    }

    /// Waits for the end.
    pub async fn outcome(mut self) -> Outcome {
        match (&mut self.outcome).await {
            Ok(outcome) => outcome,
            Err(_) => outcome(&self.cx, &self.said, Err(Error::internal("the worker lost the run"))).await,
        }
    }

    /// Stops the run. Its outcome comes at once, with an error of kind `cancelled`.
    pub fn cancel(&self) {
        self.cx.cancel();
    }

    /// A function that stops the run from elsewhere.
    pub fn canceller(&self) -> impl Fn() + Send + Sync + Clone + use<> {
        let cx = self.cx.clone();
        move || cx.cancel()
    }

    /// Lets the run go on without anybody waiting for it.
    pub fn detach(mut self) {
        self.detached = true;
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        if !self.detached {
            self.cx.cancel();
        }
    }
}

/// What a run says while it runs, in order. Ends when the run has ended.
#[derive(Debug)]
pub struct Events(mpsc::UnboundedReceiver<Event>);

impl Events {
    /// The next event; `None` when the run has ended.
    pub async fn next(&mut self) -> Option<Event> {
        self.0.recv().await
    }

    /// The next event that has already come.
    pub fn try_next(&mut self) -> Option<Event> {
        self.0.try_recv().ok()
    }
}
