//! The runtime: everything that runs share.
//!
//! A program builds one [`Runtime`] and starts any number of runs with it. Worker threads, the journal writer and the
//! watchdog belong to the runtime and start on demand. Nothing is ambient: a run has only the capabilities that the
//! builder was given, within the permissions of its `RunBuilder`.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use llmspell_core::cache::Cache;
use llmspell_core::capability::{Clock, Console, Extension, Models, Net, Random};
use llmspell_core::{
    Bridge, BridgeSet, Engine, EngineDescriptor, EngineRegistry, Error, Method, Result, World,
};

use tokio::sync::Semaphore;

use crate::clock::{SystemClock, SystemRandom};
use crate::journal::JournalWriter;
use crate::net::Sockets;
use crate::open_session::OpenSession;
use crate::run::RunBuilder;
use crate::spell::Spell;
use crate::watchdog::{Unresponsive, Watchdog};
use crate::worker::Workers;

pub(crate) struct RuntimeInner {
    pub(crate) engines: EngineRegistry,
    pub(crate) bridges: BridgeSet,
    pub(crate) functions: Vec<Method>,
    /// The capabilities of each run, except for those that belong to its spell.
    pub(crate) world: World,
    /// The folder of the storages of all spells.
    pub(crate) storage: Option<PathBuf>,
    pub(crate) workers: Workers,
    pub(crate) journal_writer: JournalWriter,
    /// Limits the number of open sessions.
    pub(crate) room: Option<Arc<Semaphore>>,
}

/// Engines, bridges, models and worker threads, shared by any number of runs. Cheap to clone.
///
/// Threads start on demand, and end when the last clone and the last run are gone.
#[derive(Clone)]
pub struct Runtime(pub(crate) Arc<RuntimeInner>);

impl Runtime {
    /// Returns a builder. [`RuntimeBuilder`] lists the defaults.
    pub fn builder() -> RuntimeBuilder {
        RuntimeBuilder {
            workers: None,
            max_open: None,
            engines: Vec::new(),
            bridges: Vec::new(),
            functions: Vec::new(),
            world: World::default(),
            storage: None,
            unresponsive: None,
        }
    }

    /// Loads a spell like [`Spell::load`], but knows all engines of this runtime. Scripts of these engines are part of
    /// the spell's digest and can be loaded as modules. `Spell::load` knows only the engines of this build.
    ///
    /// # Errors
    /// Those of [`Spell::load`].
    pub fn load(&self, path: &Path) -> Result<Spell> {
        Spell::load_with(&self.0.engines.descriptors(), path, None)
    }

    /// Loads a spell like [`Spell::load_in`], but knows all engines of this runtime.
    ///
    /// # Errors
    /// Those of [`Spell::load_in`].
    pub fn load_in(&self, path: &Path, language: &str) -> Result<Spell> {
        Spell::load_with(&self.0.engines.descriptors(), path, Some(language))
    }

    /// Returns a builder for a run of a spell.
    pub fn run(&self, spell: Spell) -> RunBuilder {
        RunBuilder::new(self.clone(), spell)
    }

    /// Opens a VM of this engine, given by its name, a language or a file extension. It stays open until the handle is dropped.
    ///
    /// # Errors
    /// When there is no such engine, or its VM cannot be created.
    pub async fn open(&self, engine: &str) -> Result<OpenSession> {
        self.run(Spell::blank(engine)).open().await
    }

    /// Returns the engines. More can be registered at any time.
    #[must_use]
    pub fn engines(&self) -> &EngineRegistry {
        &self.0.engines
    }

    /// Returns the bridges of new runs. More can be added at any time.
    #[must_use]
    pub fn bridges(&self) -> &BridgeSet {
        &self.0.bridges
    }

    /// Returns the engine of a spell: the one that its manifest names, or the one for its entry's extension.
    ///
    /// # Errors
    /// When there is no such engine; the error names those that exist.
    pub fn engine_for(&self, spell: &Spell) -> Result<Arc<dyn Engine>> {
        match &spell.manifest().engine {
            Some(key) => self.0.engines.by_key(key),
            None => self.0.engines.by_extension(spell.extension()),
        }
    }
}

impl fmt::Debug for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runtime").field("engines", &self.0.engines).finish_non_exhaustive()
    }
}

type EngineFactory = Box<dyn Fn() -> Arc<dyn Engine> + Send + Sync>;

/// Builds a [`Runtime`]. By default, a runtime has
///
/// - one worker thread per processor, and no maximum of concurrent runs;
/// - the engines and bridges of this build;
/// - the real network, although a run reaches nothing of it without permissions;
/// - the system's clock and randomness;
/// - no host functions, no models, no cache, no console and no storage;
/// - no working folder: relative paths are looked up in the spell's folder.
#[must_use]
pub struct RuntimeBuilder {
    workers: Option<usize>,
    max_open: Option<usize>,
    engines: Vec<(EngineDescriptor, EngineFactory)>,
    bridges: Vec<Bridge>,
    functions: Vec<Method>,
    world: World,
    storage: Option<PathBuf>,
    unresponsive: Option<Unresponsive>,
}

impl RuntimeBuilder {
    /// Sets the maximum number of worker threads, at least one.
    pub fn workers(mut self, most: usize) -> Self {
        self.workers = Some(most);
        self
    }

    /// Sets the maximum number of concurrent runs and open VMs, at least one. Further runs wait in order of arrival,
    /// while their `wall` limits count. A run that starts other runs and waits for them needs a place for each.
    pub fn max_open(mut self, most: usize) -> Self {
        self.max_open = Some(most.clamp(1, Semaphore::MAX_PERMITS));
        self
    }

    /// Sets the language models.
    pub fn models(mut self, models: Arc<dyn Models>) -> Self {
        self.world.models = Some(models);
        self
    }

    /// Sets the cache of model answers, such as a [`RunStore`](crate::RunStore). It answers only requests that opt in.
    pub fn cache(mut self, cache: Arc<dyn Cache>) -> Self {
        self.world.cache = Some(cache);
        self
    }

    /// Sets the console that spells read from.
    pub fn console(mut self, console: Arc<dyn Console>) -> Self {
        self.world.console = Some(console);
        self
    }

    /// Replaces the real network. Permissions still decide what a spell may reach.
    pub fn net(mut self, net: Arc<dyn Net>) -> Self {
        self.world.net = Some(net);
        self
    }

    /// Replaces the system's clock, for example by a fixed one in a test.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.world.clock = Some(clock);
        self
    }

    /// Replaces the system's randomness.
    pub fn random(mut self, random: Arc<dyn Random>) -> Self {
        self.world.random = Some(random);
        self
    }

    /// Gives each spell its own storage beneath this folder, which is created on first use.
    pub fn storage(mut self, root: impl Into<PathBuf>) -> Self {
        self.storage = Some(root.into());
        self
    }

    /// Sets the working folder, an absolute path. Relative paths are looked up there first, and then in the spell's
    /// folder.
    pub fn working_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.world.working_dir = Some(dir.into());
        self
    }

    /// Adds a capability of the program. Its bridges reach it with [`Context::extension`](crate::Context::extension).
    pub fn extension<T: Extension>(mut self, capability: T) -> Self {
        self.world.extensions.insert(capability);
        self
    }

    /// Adds an engine to the built-in ones.
    pub fn engine(
        mut self,
        descriptor: EngineDescriptor,
        factory: impl Fn() -> Arc<dyn Engine> + Send + Sync + 'static,
    ) -> Self {
        self.engines.push((descriptor, Box::new(factory)));
        self
    }

    /// Adds a bridge to the built-in ones.
    pub fn bridge(mut self, bridge: Bridge) -> Self {
        self.bridges.push(bridge);
        self
    }

    /// Adds a host function, a global of the script.
    pub fn function(mut self, function: Method) -> Self {
        self.functions.push(function);
        self
    }

    /// Sets the reaction to a run that has exceeded a limit for this long, because a native that cannot be interrupted
    /// holds its thread. It is called on the watchdog's thread. A program that must not hang ends its process.
    pub fn on_stuck(mut self, after: Duration, call: impl Fn(&Error) + Send + Sync + 'static) -> Self {
        self.unresponsive = Some(Unresponsive { after, call: Box::new(call) });
        self
    }

    /// Builds the runtime, without starting threads.
    ///
    /// # Errors
    /// When two engines or two bridges claim the same name.
    pub fn build(self) -> Result<Runtime> {
        let engines = EngineRegistry::new();
        llmspell_engines::register_all(&engines)?;
        for (descriptor, factory) in self.engines {
            engines.register(descriptor, factory)?;
        }
        let bridges = BridgeSet::new();
        bridges.add_all(llmspell_bridges::BRIDGES.iter().map(|bridge| bridge()))?;
        bridges.add_all(self.bridges)?;
        let mut world = self.world;
        world.net.get_or_insert_with(|| Arc::new(Sockets::default()));
        world.clock.get_or_insert_with(|| Arc::new(SystemClock::new()));
        world.random.get_or_insert_with(|| Arc::new(SystemRandom));
        let workers = self
            .workers
            .unwrap_or_else(|| std::thread::available_parallelism().map_or(1, std::num::NonZero::get));
        Ok(Runtime(Arc::new(RuntimeInner {
            engines,
            bridges,
            functions: self.functions,
            world,
            storage: self.storage,
            journal_writer: JournalWriter::default(),
            workers: Workers::new(workers, Watchdog::new(self.unresponsive)),
            room: self.max_open.map(|most| Arc::new(Semaphore::new(most))),
        })))
    }
}

impl fmt::Debug for RuntimeBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RuntimeBuilder").field("workers", &self.workers).finish_non_exhaustive()
    }
}
