//! The builder of a run's context: which capabilities, permissions and limits a run gets.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use tokio_util::sync::CancellationToken;

use super::{Context, RunContext, SpellInfo};
use crate::cache::Cache;
use crate::capability::{Clock, Console, Files, Models, Modules, Net, Random, Storage};
use crate::effect::{Journal, NoJournal};
use crate::event::{Silent, Sink};
use crate::limits::Limits;
use crate::meter::Meter;
use crate::permission::Permissions;
use crate::sequencer::AnswerSequencer;
use crate::task::Task;
use crate::world::World;

/// Builds a [`Context`]. Nothing is ambient. A context has, unless a setter is called:
///
/// - no permission, no model, no cache, no console, no network, no files, no storage, no clock, no randomness and no
///   module;
/// - the default [`Limits`];
/// - a journal that stores nothing, and a sink that drops all events.
#[must_use]
pub struct ContextBuilder {
    spell: SpellInfo,
    permissions: Permissions,
    limits: Limits,
    journal: Option<Arc<dyn Journal>>,
    sink: Arc<dyn Sink>,
    world: World,
}

impl ContextBuilder {
    pub(super) fn new() -> Self {
        Self {
            spell: SpellInfo::default(),
            permissions: Permissions::default(),
            limits: Limits::default(),
            journal: None,
            sink: Arc::new(Silent),
            world: World::default(),
        }
    }

    /// Sets the spell that runs.
    pub fn spell(mut self, spell: SpellInfo) -> Self {
        self.spell = spell;
        self
    }

    /// Sets the permissions that the user granted.
    pub fn permissions(mut self, permissions: Permissions) -> Self {
        self.permissions = permissions;
        self
    }

    /// Sets the limits of the run.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Sets the journal that records effects.
    pub fn journal(mut self, journal: Arc<dyn Journal>) -> Self {
        self.journal = Some(journal);
        self
    }

    /// Sets the sink that receives events.
    pub fn sink(mut self, sink: Arc<dyn Sink>) -> Self {
        self.sink = sink;
        self
    }

    /// Sets all capabilities at once.
    pub fn world(mut self, world: World) -> Self {
        self.world = world;
        self
    }

    /// Sets the models.
    pub fn models(mut self, models: Arc<dyn Models>) -> Self {
        self.world.models = Some(models);
        self
    }

    /// Sets the model for requests that name none: `provider/model`, or a name that the default provider knows.
    pub fn default_model(mut self, model: Option<String>) -> Self {
        self.world.default_model = model;
        self
    }

    /// Sets the fallback models for requests that name none.
    pub fn fallback(mut self, models: Vec<String>) -> Self {
        self.world.fallback = models;
        self
    }

    /// Sets the console.
    pub fn console(mut self, console: Arc<dyn Console>) -> Self {
        self.world.console = Some(console);
        self
    }

    /// Sets the network. The permissions decide which hosts may be reached.
    pub fn net(mut self, net: Arc<dyn Net>) -> Self {
        self.world.net = Some(net);
        self
    }

    /// Sets the files. The permissions decide which of them may be read and written.
    pub fn files(mut self, files: Arc<dyn Files>) -> Self {
        self.world.files = Some(files);
        self
    }

    /// Sets the spell's storage.
    pub fn storage(mut self, storage: Arc<dyn Storage>) -> Self {
        self.world.storage = Some(storage);
        self
    }

    /// Sets the clock.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.world.clock = Some(clock);
        self
    }

    /// Sets the source of randomness.
    pub fn random(mut self, random: Arc<dyn Random>) -> Self {
        self.world.random = Some(random);
        self
    }

    /// Sets the working folder. Relative paths are looked up there first, and then in the spell's own folder.
    pub fn working_dir(mut self, dir: PathBuf) -> Self {
        self.world.working_dir = Some(dir);
        self
    }

    /// Sets the cache of model answers.
    pub fn cache(mut self, cache: Arc<dyn Cache>) -> Self {
        self.world.cache = Some(cache);
        self
    }

    /// Sets the modules of the spell's folder.
    pub fn modules(mut self, modules: Arc<dyn Modules>) -> Self {
        self.world.modules = Some(modules);
        self
    }

    /// Builds the context and starts its wall clock.
    #[must_use]
    pub fn build(self) -> Context {
        let journal = self.journal.unwrap_or_else(|| Arc::new(NoJournal));
        let run = RunContext {
            spell: self.spell,
            permissions: self.permissions,
            meter: Arc::new(Meter::new(self.limits)),
            cancellation: CancellationToken::new(),
            sequencer: Arc::new(AnswerSequencer::after(journal.last_order(), journal.commits())),
            journal,
            sink: self.sink,
            world: self.world,
            state: Mutex::default(),
            children: Mutex::default(),
            beside: Mutex::default(),
            bars: Arc::default(),
            said: Arc::default(),
            broken: Arc::default(),
        };
        let ledger = Arc::clone(run.meter.ledger());
        Context { run: Arc::new(run), task: Arc::new(Task::main()), ledger }
    }
}
