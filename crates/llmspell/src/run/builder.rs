//! Builds a run: its inputs, its context, and the journal that records its effects or answers them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use llmspell_core::capability::{Models, Modules};
use llmspell_core::effect::Journal;
use llmspell_core::{
    Bridge, Context, Error, ErrorKind, Event, Limits, Map, Permissions, Result, Source, SpellInfo, Value,
    World,
};
use llmspell_llm::Client;
use tokio::sync::{mpsc, oneshot};

use super::{Events, Run, outcome, outcome_now};
use crate::files::Disk;
use crate::journal::{InDoubt, OnUnavailable, Queue, Recording, RunInfo, RunJournal};
use crate::open_session::{OpenSession, WorkerSession};
use crate::runtime::Runtime;
use crate::sink::Collector;
use crate::spell::{Spell, SpellModules};
use crate::storage::Store;
use crate::store::{Lease, NewRun, RecordingFile, RunIndex, RunStore};
use crate::tracing::{Traced, Tracer};

/// Builds a run of a spell. Without further calls, the run has no parameters and no permissions. Its limits are the
/// defaults, overridden by the manifest.
#[must_use = "a run builder does nothing until it is started"]
#[derive(Debug)]
pub struct RunBuilder {
    runtime: Runtime,
    spell: Spell,
    params: Map,
    permissions: Permissions,
    limits: Limits,
    model: Option<String>,
    fallback: Vec<String>,
    run_id: String,
    written: JournalSource,
    tracers: Vec<Arc<dyn Tracer>>,
    traces_events: bool,
    bridges: Vec<Bridge>,
    world: Option<TestWorld>,
    shares_vm: bool,
}

/// The sandbox of a run in a spell test. It replaces the world of the runtime, and is the same on every machine except
/// for the location of the folder.
#[derive(Debug)]
pub(crate) struct TestWorld {
    /// Its working folder is also the spell's folder.
    pub(crate) world: World,
    /// The folder of storages.
    pub(crate) storage: PathBuf,
}

/// The journal of a run: where effects are recorded, or answered from.
#[derive(Default)]
enum JournalSource {
    #[default]
    Nowhere,
    Own(Arc<dyn Journal>),
    Kept(Arc<dyn RunStore>, OnUnavailable),
    Resumed(Arc<dyn RunStore>, Lease, Box<RunIndex>, InDoubt),
    Recorded(PathBuf),
    Replayed(Box<Recording>),
}

impl std::fmt::Debug for JournalSource {
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

impl RunBuilder {
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
            written: JournalSource::Nowhere,
            tracers: Vec::new(),
            traces_events: false,
            bridges: Vec::new(),
            world: None,
            shares_vm: false,
        }
    }

    /// Sets one parameter.
    pub fn param(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.params.insert(name.to_owned(), value.into());
        self
    }

    /// Adds parameters.
    pub fn params(mut self, params: Map) -> Self {
        self.params.extend(params);
        self
    }

    /// Sets the permissions that the user granted.
    pub fn permissions(mut self, permissions: Permissions) -> Self {
        self.permissions = permissions;
        self
    }

    /// Changes the limits. They start as the defaults, overridden by the manifest.
    pub fn limits(mut self, change: impl FnOnce(&mut Limits)) -> Self {
        change(&mut self.limits);
        self
    }

    /// Sets the model for requests that name none. It overrides the manifest.
    pub fn model(mut self, model: impl Into<String>) -> Self {
        self.model = Some(model.into());
        self
    }

    /// Sets the fallback models, in order, for requests whose model cannot answer. They override the manifest. A
    /// resumed or replayed run has its own; to change those, call this method last.
    pub fn fallback(mut self, models: Vec<String>) -> Self {
        self.fallback = models;
        self
    }

    /// Adds a bridge for this run only.
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
    /// let run = |script| Ok::<_, llmspell::Error>(runtime.run(Spell::from_source("shop.luau", script)?));
    /// let mine = run("return shop.order()")?.bridge(Bridge::new("shop").method(order)).start().outcome().await;
    /// assert_eq!(mine.into_result()?, 4711.into());
    /// assert!(run("return shop.order()")?.start().outcome().await.error.is_some());
    /// // The names of the runtime's bridges are taken.
    /// assert!(run("return 1")?.bridge(Bridge::new("llm")).start().outcome().await.error.is_some());
    /// # Ok::<(), llmspell::Error>(()) }).unwrap()
    /// ```
    pub fn bridge(mut self, bridge: Bridge) -> Self {
        self.bridges.push(bridge);
        self
    }

    /// Runs in the sandbox of a test, under this run id.
    pub(crate) fn on(mut self, world: TestWorld, run_id: &str) -> Self {
        run_id.clone_into(&mut self.run_id);
        self.world = Some(world);
        self
    }

    /// Records effects in the program's own journal. `journal`, [`in_store`](Self::in_store), [`resume`](Self::resume),
    /// [`record`](Self::record) and [`replay`](Self::replay) exclude each other; the last call wins. Without any of
    /// them, nothing is recorded.
    pub fn journal(mut self, journal: Arc<dyn Journal>) -> Self {
        self.written = JournalSource::Own(journal);
        self
    }

    /// Stores the run, so that it can be inspected, and resumed if it fails or its process dies. It is created in the
    /// store with its first effect.
    pub fn in_store(mut self, store: &Arc<dyn RunStore>, on_unavailable: OnUnavailable) -> Self {
        self.written = JournalSource::Kept(Arc::clone(store), on_unavailable);
        self
    }

    /// Resumes a run that did not succeed. The run must be [claimed](RunStore::claim) and [loaded](RunStore::load). It
    /// has its original id, parameters, permissions and model. Recorded effects are not performed again, and printed
    /// lines are not sent to the listener again, but the outcome contains all of them.
    ///
    /// The spell must be the one that ran, which [`RunIndex::same_spell`] checks. If it requests something else than
    /// before, the run fails with kind `replay`.
    pub fn resume(
        mut self,
        store: &Arc<dyn RunStore>,
        lease: Lease,
        run: RunIndex,
        in_doubt: InDoubt,
    ) -> Self {
        self.take_over(&run.summary.info);
        self.written = JournalSource::Resumed(Arc::clone(store), lease, Box::new(run), in_doubt);
        self
    }

    /// Records the run into this file. The file is complete when the run has ended; until then, the records are in
    /// `FILE.partial`.
    pub fn record(mut self, file: impl Into<PathBuf>) -> Self {
        self.written = JournalSource::Recorded(file.into());
        self
    }

    /// Replays a recorded run with its id, parameters, permissions and model. Nothing reaches the outside world: a
    /// request that is not recorded fails with kind `replay`.
    pub fn replay(mut self, recording: Recording) -> Self {
        self.take_over(&recording.info);
        self.written = JournalSource::Replayed(Box::new(recording));
        self
    }

    fn take_over(&mut self, info: &RunInfo) {
        self.run_id.clone_from(&info.run_id);
        self.params.clone_from(&info.params);
        self.permissions.clone_from(&info.permissions);
        self.model.clone_from(&info.model);
        self.fallback.clone_from(&info.fallback);
    }

    /// Adds a tracer, which is notified of each effect. May be called several times.
    pub fn trace(mut self, tracer: Arc<dyn Tracer>) -> Self {
        self.tracers.push(tracer);
        self
    }

    /// Sends each effect to the listener, as [`Event::Effect`].
    pub fn trace_events(mut self) -> Self {
        self.traces_events = true;
        self
    }

    /// Allows the run to reuse the VM of an earlier run of the same spell that ended well, and to leave it to the next
    /// run. For many runs of one spell, this takes a tenth of the time and memory of a new VM.
    ///
    /// The VM is reset for each run. But only the engine then separates the runs, so runs of different users should not
    /// share VMs. A JavaScript VM always serves one run.
    pub fn share_vm(mut self) -> Self {
        self.shares_vm = true;
        self
    }

    /// Starts the run.
    pub fn start(self) -> Run {
        self.start_with(None)
    }

    /// Starts the run, and returns its events too.
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
            prepared.runtime.clone().0.workers.post(move |worker_cx, underway| {
                Box::pin(async move {
                    let (result, opened) = match WorkerSession::new(prepared, cx.clone(), worker_cx).await {
                        Ok(mut opened) => {
                            let result = opened.eval(&source).await;
                            opened.clean_up();
                            (result, Some(opened))
                        }
                        Err(error) => (Err(error), None),
                    };
                    let ended_well = result.is_ok();
                    let outcome = outcome(&cx, &ended, result).await;
                    // Retire the VM before the outcome is sent, so that a run that is started on the outcome can use
                    // it.
                    let left = match opened {
                        Some(opened) if ended_well => opened.retire(),
                        opened => opened,
                    };
                    // Free the worker before the outcome is sent, or a run that is started on the outcome would go to a
                    // busy worker. The VM is destroyed after sending, so that nobody waits for that.
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

    /// Opens the spell's VM without running its script, for evaluation piece by piece.
    ///
    /// # Errors
    /// When a parameter is invalid, or the engine or its VM is not available.
    pub async fn open(mut self) -> Result<OpenSession> {
        let (cx, said, journal) = self.context(None);
        journal?;
        let prepared = self.prepare()?;
        OpenSession::open(prepared, cx, said).await
    }

    /// Creates the journal and the sink of the run.
    fn written(
        &mut self,
        listener: Option<mpsc::UnboundedSender<Event>>,
        modules: Option<&Arc<SpellModules>>,
    ) -> (Arc<Collector>, Result<Option<Arc<dyn Journal>>>) {
        let shown_before = match &self.written {
            JournalSource::Resumed(_, _, run, _) => run.lines_shown(),
            _ => 0,
        };
        let said = Arc::new(Collector::new(listener.clone(), shown_before));
        // Ignore a listener that was dropped.
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
            JournalSource::Nowhere => Ok(None),
            JournalSource::Own(journal) => Ok(Some(journal)),
            JournalSource::Replayed(recording) => {
                Ok(Some(Arc::new(recording.into_replay()) as Arc<dyn Journal>))
            }
            JournalSource::Kept(store, on_unavailable) => {
                let queue =
                    Queue::new(store, writer, self.new_run(), self.spell.clone(), on_unavailable, show);
                recorded(Arc::clone(&queue), RunJournal::new(queue, modules))
            }
            JournalSource::Recorded(file) => {
                let (file, spell) = (Arc::new(RecordingFile::new(file)), self.spell.clone());
                let queue = Queue::new(file, writer, self.new_run(), spell, OnUnavailable::Fail, show);
                recorded(Arc::clone(&queue), RunJournal::new(queue, None).recording())
            }
            JournalSource::Resumed(store, lease, run, in_doubt) => {
                let queue = Queue::claimed(Arc::clone(&store) as _, writer, lease, show);
                let journal = RunJournal::resume(Arc::clone(&queue), store, *run, modules, in_doubt);
                recorded(queue, journal)
            }
        };
        (said, journal)
    }

    /// Describes the run for its store. The digest of the spell is added by the writer.
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
        let working_dir = self.runtime.0.world.working_dir.clone();
        NewRun { info, path, working_dir, started: SystemTime::now() }
    }

    fn context(
        &mut self,
        listener: Option<mpsc::UnboundedSender<Event>>,
    ) -> (Context, Arc<Collector>, Result<()>) {
        let offline = matches!(self.written, JournalSource::Replayed(_));
        let modules = self.spell.modules();
        let (said, journal) = self.written(listener, modules.as_ref());
        let (journal, written) = match journal {
            Ok(journal) => (journal, Ok(())),
            Err(error) => (None, Err(error)),
        };
        let shared = &self.runtime.0;
        let world = self.world.take();
        let dir = match &world {
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
        let (mut world, storage) = match world {
            Some(TestWorld { world, storage }) => (world, Some(storage)),
            None => (shared.world.clone(), shared.storage.clone()),
        };
        if offline {
            // A replay needs a client for counting tokens, but no provider.
            let client = Client::builder().build().ok();
            world.models = client.map(|client| Arc::new(client) as Arc<dyn Models>);
        }
        world.default_model.clone_from(&self.model);
        world.fallback.clone_from(&self.fallback);
        world.files.get_or_insert_with(|| Arc::new(Disk::default()));
        world.modules = modules.map(|modules| modules as Arc<dyn Modules>);
        if let Some(root) = storage {
            world.storage = Some(Arc::new(Store::new(&root, &self.spell)));
        }
        let mut builder = Context::builder()
            .spell(info)
            .permissions(self.permissions.clone())
            .limits(self.limits.clone())
            .world(world)
            .sink(Arc::clone(&said) as Arc<dyn llmspell_core::Sink>);
        if let Some(journal) = journal {
            builder = builder.journal(journal);
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

/// The data that a worker needs to open a session.
pub(crate) struct Prepared {
    pub(crate) runtime: Runtime,
    pub(crate) engine: Arc<dyn llmspell_core::Engine>,
    pub(crate) bridges: Vec<Arc<Bridge>>,
    /// The source that identifies the shared VM, if the run shares one.
    pub(crate) shared: Option<Arc<Source>>,
    pub(crate) params: Value,
}
