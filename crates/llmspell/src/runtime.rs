//! What all runs share.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use llmspell_core::cache::Cache;
use llmspell_core::capability::{Clock, Console, Models, Net, Random};
use llmspell_core::{Bridge, BridgeSet, Engine, EngineDescriptor, EngineRegistry, Error, Method, Result};

use tokio::sync::Semaphore;

use crate::clock::{SystemClock, SystemRandom};
use crate::journal::Writer;
use crate::live::Live;
use crate::net::Sockets;
use crate::run::Cast;
use crate::spell::Spell;
use crate::watchdog::{Stuck, Watchdog};
use crate::worker::Workers;

pub(crate) struct Shared {
    pub(crate) engines: EngineRegistry,
    pub(crate) bridges: BridgeSet,
    pub(crate) functions: Vec<Method>,
    pub(crate) models: Option<Arc<dyn Models>>,
    pub(crate) cache: Option<Arc<dyn Cache>>,
    pub(crate) console: Option<Arc<dyn Console>>,
    pub(crate) net: Arc<dyn Net>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) random: Arc<dyn Random>,
    pub(crate) storage: Option<PathBuf>,
    pub(crate) working_dir: Option<PathBuf>,
    pub(crate) workers: Workers,
    pub(crate) journal_writer: Writer,
    /// For this many sessions.
    pub(crate) room: Option<Arc<Semaphore>>,
}

/// Engines, bridges, models and worker threads that any number of runs share. Cheap to clone.
///
/// Threads start when there is work for them and end when the last clone and the last run are gone.
#[derive(Clone)]
pub struct Runtime(pub(crate) Arc<Shared>);

impl Runtime {
    /// A builder; its documentation lists the defaults.
    pub fn builder() -> RuntimeBuilder {
        RuntimeBuilder {
            workers: None,
            max_open: None,
            engines: Vec::new(),
            bridges: Vec::new(),
            functions: Vec::new(),
            models: None,
            cache: None,
            console: None,
            net: None,
            clock: None,
            random: None,
            storage: None,
            working_dir: None,
            stuck: None,
        }
    }

    /// Loads a spell as [`Spell::load`] does, with the scripts of all engines of this runtime: its digest covers them, and
    /// it may load them as modules. `Spell::load` knows the engines of this build.
    ///
    /// # Errors
    /// As [`Spell::load`].
    pub fn load(&self, path: &Path) -> Result<Spell> {
        Spell::load_for(&self.0.engines.descriptors(), path)
    }

    /// Prepares a run of a spell.
    pub fn cast(&self, spell: Spell) -> Cast {
        Cast::new(self.clone(), spell)
    }

    /// Opens a VM of this engine, by name or language, and keeps it open until the handle is dropped.
    ///
    /// # Errors
    /// When there is no such engine, or its VM cannot be made.
    pub async fn open(&self, engine: &str) -> Result<Live> {
        self.cast(Spell::blank(engine)).open().await
    }

    /// The engines there are; more may be registered at any time.
    #[must_use]
    pub fn engines(&self) -> &EngineRegistry {
        &self.0.engines
    }

    /// The bridges that new runs get; more may be added at any time.
    #[must_use]
    pub fn bridges(&self) -> &BridgeSet {
        &self.0.bridges
    }

    /// The engine that runs a spell: the one its manifest names, or the one for its entry's extension.
    ///
    /// # Errors
    /// When there is none; the error names those there are.
    pub fn engine_for(&self, spell: &Spell) -> Result<Arc<dyn Engine>> {
        match &spell.manifest().engine {
            Some(name) => self.0.engines.by_name(name).or_else(|_| self.0.engines.by_language(name)),
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

/// Makes a [`Runtime`]. Without a call to a setter there are
///
/// - as many worker threads as processors, and as many runs at once as are started;
/// - the engines and bridges this build has;
/// - the network, of which a run reaches what it was granted: nothing, unless its cast says so;
/// - the clock and the randomness of the system;
/// - no host functions, no models, no cache, no console, no storage;
/// - no working folder: relative paths are looked up in the spell's own.
#[must_use]
pub struct RuntimeBuilder {
    workers: Option<usize>,
    max_open: Option<usize>,
    engines: Vec<(EngineDescriptor, EngineFactory)>,
    bridges: Vec<Bridge>,
    functions: Vec<Method>,
    models: Option<Arc<dyn Models>>,
    cache: Option<Arc<dyn Cache>>,
    console: Option<Arc<dyn Console>>,
    net: Option<Arc<dyn Net>>,
    clock: Option<Arc<dyn Clock>>,
    random: Option<Arc<dyn Random>>,
    storage: Option<PathBuf>,
    working_dir: Option<PathBuf>,
    stuck: Option<Stuck>,
}

impl RuntimeBuilder {
    /// Sets the most worker threads; at least one.
    pub fn workers(mut self, most: usize) -> Self {
        self.workers = Some(most);
        self
    }

    /// Sets the most runs and open VMs at once; at least one. More wait in line, in the order in which they came, while
    /// their `wall` limits count. A run that starts others and waits for them needs room for both.
    pub fn max_open(mut self, most: usize) -> Self {
        self.max_open = Some(most.clamp(1, Semaphore::MAX_PERMITS));
        self
    }

    /// Gives spells language models.
    pub fn models(mut self, models: Arc<dyn Models>) -> Self {
        self.models = Some(models);
        self
    }

    /// Gives spells a cache for the answers of models, such as a [`RunStore`](crate::RunStore). A request is answered from there
    /// only when the script says that it may be.
    pub fn cache(mut self, cache: Arc<dyn Cache>) -> Self {
        self.cache = Some(cache);
        self
    }

    /// Gives spells a console to read from.
    pub fn console(mut self, console: Arc<dyn Console>) -> Self {
        self.console = Some(console);
        self
    }

    /// Gives spells another network than the real one. What they may reach of it is for their permissions to say.
    pub fn net(mut self, net: Arc<dyn Net>) -> Self {
        self.net = Some(net);
        self
    }

    /// Gives spells another clock than the system's: one that stands still, in a test.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = Some(clock);
        self
    }

    /// Gives spells another randomness than the system's.
    pub fn random(mut self, random: Arc<dyn Random>) -> Self {
        self.random = Some(random);
        self
    }

    /// Gives each spell a storage of its own beneath this folder, which is made when the first spell keeps something.
    pub fn storage(mut self, root: impl Into<PathBuf>) -> Self {
        self.storage = Some(root.into());
        self
    }

    /// Sets the folder, an absolute path, in which spells look up relative paths before they do in their own.
    pub fn working_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.working_dir = Some(dir.into());
        self
    }

    /// Adds an engine beside the built-in ones.
    pub fn engine(
        mut self,
        descriptor: EngineDescriptor,
        factory: impl Fn() -> Arc<dyn Engine> + Send + Sync + 'static,
    ) -> Self {
        self.engines.push((descriptor, Box::new(factory)));
        self
    }

    /// Adds a bridge beside the built-in ones.
    pub fn bridge(mut self, bridge: Bridge) -> Self {
        self.bridges.push(bridge);
        self
    }

    /// Adds a host function that scripts call by its own name.
    pub fn function(mut self, function: Method) -> Self {
        self.functions.push(function);
        self
    }

    /// Sets what to do when a run has not obeyed a limit for this long, because a native that cannot be interrupted
    /// holds its thread. Called on the watchdog's thread; a program that must be safe ends its process.
    pub fn on_stuck(mut self, after: Duration, call: impl Fn(&Error) + Send + Sync + 'static) -> Self {
        self.stuck = Some(Stuck { after, call: Box::new(call) });
        self
    }

    /// Makes the runtime. Starts nothing yet.
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
        let workers = self
            .workers
            .unwrap_or_else(|| std::thread::available_parallelism().map_or(1, std::num::NonZero::get));
        Ok(Runtime(Arc::new(Shared {
            engines,
            bridges,
            functions: self.functions,
            models: self.models,
            cache: self.cache,
            console: self.console,
            net: self.net.unwrap_or_else(|| Arc::new(Sockets::default())),
            clock: self.clock.unwrap_or_else(|| Arc::new(SystemClock::new())),
            random: self.random.unwrap_or_else(|| Arc::new(SystemRandom)),
            storage: self.storage,
            working_dir: self.working_dir,
            journal_writer: Writer::default(),
            workers: Workers::new(workers, Watchdog::new(self.stuck)),
            room: self.max_open.map(|most| Arc::new(Semaphore::new(most))),
        })))
    }
}

impl fmt::Debug for RuntimeBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RuntimeBuilder").field("workers", &self.workers).finish_non_exhaustive()
    }
}
