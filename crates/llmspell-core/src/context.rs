//! The only way to the world: what one run may do, what it has done, and how to stop it.

mod builder;

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::agent::AgentEvent;
use crate::bridge::Bridge;
use crate::budget::{Budget, Purse};
use crate::cache::Cache;
use crate::capability::{
    Clock, Console, Files, GatedClock, GatedConsole, GatedFiles, GatedModels, GatedNet, GatedRandom,
    GatedStorage, Models, Modules, Net, Progress, Random, Storage,
};
use crate::chat::Usage;
use crate::commit::CommitPoint;
use crate::effect::{Journal, Task};
use crate::error::{Error, Result};
use crate::held::Held;
use crate::limits::{Limits, Meter};
use crate::outcome::{LogEntry, LogLevel, Outcome};
use crate::permission::Permissions;
use crate::trace::EffectEvent;
use crate::turn::{Next, Turns};
use crate::value::{Map, Value};

/// The spell that runs, as it may know itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpellInfo {
    /// Its name.
    pub name: String,
    /// Its version, from the manifest.
    pub version: Option<String>,
    /// This run's id.
    pub run_id: String,
    /// Its folder.
    pub dir: Option<PathBuf>,
}

/// What a run says while it runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The spell printed.
    Output {
        /// The text, with its line ends.
        text: String,
    },
    /// The spell logged.
    Log(LogEntry),
    /// A piece of a model's answer arrived.
    Chunk {
        /// The new text alone.
        text: String,
    },
    /// A model call ended.
    Usage {
        /// What it used.
        usage: Usage,
    },
    /// A work that the spell shows has come further.
    Progress(Progress),
    /// An agent has come further.
    Agent(AgentEvent),
    /// An effect begins or has ended. Only a run that is traced tells.
    Effect(EffectEvent),
}

/// Where a run's events go. Called on the script's thread: it should hand over and return.
pub trait Sink: Send + Sync {
    /// Takes one event.
    fn emit(&self, event: Event);

    /// Waits until all events so far can be seen: a question must not appear before the lines above it.
    fn flushed(&self) -> BoxFuture<'static, ()> {
        Box::pin(std::future::ready(()))
    }
}

struct Silent;

impl Sink for Silent {
    fn emit(&self, _: Event) {}
}

pub use self::builder::ContextBuilder;
use self::builder::World;

/// What all tasks of a run share.
struct Run {
    spell: SpellInfo,
    permissions: Permissions,
    meter: Meter,
    cancellation: CancellationToken,
    journal: Arc<dyn Journal>,
    sink: Arc<dyn Sink>,
    world: World,
    state: Mutex<HashMap<TypeId, Arc<dyn Any + Send + Sync>>>,
    children: Mutex<Vec<Weak<Run>>>,
    beside: Mutex<Vec<BoxFuture<'static, Result<()>>>>,
    /// How many bars of progress there were, those of its family included: they share the sink.
    bars: Arc<AtomicU64>,
    /// How many lines were printed and logged, by its family too.
    said: Arc<AtomicU64>,
    /// The turns of its family.
    turns: Arc<Turns>,
    broken: Arc<OnceLock<Error>>,
    /// The bridges of its session.
    bridges: OnceLock<Vec<Arc<Bridge>>>,
}

impl Run {
    fn cancel(&self) {
        self.meter.cancel();
        self.cancellation.cancel();
        for child in lock(&self.children).drain(..).filter_map(|child| child.upgrade()) {
            child.cancel();
        }
    }
}

/// What one run may do, and the only way in which it can do it, as one of its tasks has it. Cheap to clone.
#[derive(Clone)]
pub struct Context {
    run: Arc<Run>,
    task: Arc<Task>,
    /// What its model calls spend: the run's, or a [budget](Self::within_budget) within it.
    purse: Arc<Purse>,
}

impl Context {
    /// A builder; its documentation lists the defaults.
    pub fn builder() -> ContextBuilder {
        ContextBuilder::new()
    }

    /// The same run as another of its tasks has it, which this one starts: its effects are numbered apart.
    #[must_use]
    pub fn spawn(&self) -> Self {
        self.as_task(Arc::new(self.task.child()))
    }

    /// The same run as this task of it has it.
    pub(crate) fn as_task(&self, task: Arc<Task>) -> Self {
        Self { run: Arc::clone(&self.run), task, purse: Arc::clone(&self.purse) }
    }

    /// The same task, whose model calls draw on a budget of their own from here on, which is part of what they drew on
    /// before. What is beyond it fails with `budget`, and the run goes on; `owner` says whose it is.
    #[must_use]
    pub fn within_budget(&self, owner: &str, budget: Budget) -> Self {
        let purse = Arc::new(Purse::within(&self.purse, owner, budget));
        Self { run: Arc::clone(&self.run), task: Arc::clone(&self.task), purse }
    }

    /// What its budget has spent, or the run when it has none of its own.
    #[must_use]
    pub fn spent(&self) -> Usage {
        self.purse.used()
    }

    /// A context for a child run: the same world with these permissions and limits, cancelled with its parent.
    #[must_use]
    pub fn child(&self, spell: SpellInfo, permissions: Permissions, limits: Limits) -> Self {
        let parent = &self.run;
        let child = Arc::new(Run {
            spell,
            permissions,
            meter: parent.meter.child(limits),
            cancellation: parent.cancellation.child_token(),
            journal: Arc::clone(&parent.journal),
            sink: Arc::clone(&parent.sink),
            world: parent.world.clone(),
            state: Mutex::default(),
            children: Mutex::default(),
            beside: Mutex::default(),
            bars: Arc::clone(&parent.bars),
            said: Arc::clone(&parent.said),
            turns: Arc::clone(&parent.turns),
            broken: Arc::clone(&parent.broken),
            bridges: OnceLock::new(),
        });
        let mut children = lock(&parent.children);
        children.retain(|child| child.strong_count() > 0);
        children.push(Arc::downgrade(&child));
        drop(children);
        if parent.cancellation.is_cancelled() {
            child.meter.cancel();
        }
        let purse = Arc::clone(child.meter.purse());
        Self { run: child, task: Arc::new(self.task.child()), purse }
    }

    /// The bridges that the run's script has.
    #[must_use]
    pub fn bridges(&self) -> &[Arc<Bridge>] {
        self.run.bridges.get().map_or(&[], Vec::as_slice)
    }

    /// Says which bridges the script has.
    pub(crate) fn set_bridges(&self, bridges: &[Arc<Bridge>]) {
        // A session is opened once for a run.
        let _ = self.run.bridges.set(bridges.to_vec());
    }

    pub(crate) fn purse(&self) -> &Arc<Purse> {
        &self.purse
    }

    /// The spell that runs.
    #[must_use]
    pub fn spell(&self) -> &SpellInfo {
        &self.run.spell
    }

    /// What the user granted.
    #[must_use]
    pub fn permissions(&self) -> &Permissions {
        &self.run.permissions
    }

    /// What the run has used.
    #[must_use]
    pub fn meter(&self) -> &Meter {
        &self.run.meter
    }

    /// The files the spell brings along.
    #[must_use]
    pub fn modules(&self) -> &dyn Modules {
        &*self.run.world.modules
    }

    /// Language models, behind the gate.
    #[must_use]
    pub fn models(&self) -> GatedModels<'_> {
        GatedModels(self)
    }

    /// The console, behind the gate.
    #[must_use]
    pub fn console(&self) -> GatedConsole<'_> {
        GatedConsole(self)
    }

    /// The network, behind the gate.
    #[must_use]
    pub fn net(&self) -> GatedNet<'_> {
        GatedNet(self)
    }

    /// Files, behind the gate.
    #[must_use]
    pub fn files(&self) -> GatedFiles<'_> {
        GatedFiles(self)
    }

    /// The spell's storage, behind the gate.
    #[must_use]
    pub fn storage(&self) -> GatedStorage<'_> {
        GatedStorage(self)
    }

    /// The clock, behind the gate.
    #[must_use]
    pub fn clock(&self) -> GatedClock<'_> {
        GatedClock(self)
    }

    /// Randomness, behind the gate.
    #[must_use]
    pub fn random(&self) -> GatedRandom<'_> {
        GatedRandom(self)
    }

    /// Hands an event to whoever listens.
    pub fn emit(&self, event: Event) {
        if matches!(event, Event::Output { .. } | Event::Log(_)) {
            self.run.said.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(said) = self.task.said() {
            said.keep(&event);
        }
        self.run.sink.emit(event);
    }

    /// Waits until all events so far can be seen.
    pub(crate) fn flushed(&self) -> BoxFuture<'static, ()> {
        self.run.sink.flushed()
    }

    /// Logs a line, charged to the `output` limit.
    ///
    /// # Errors
    /// When the output limit is reached.
    pub fn log(&self, level: LogLevel, message: String, fields: Map) -> Result<()> {
        let bytes: usize = fields.iter().map(|(name, value)| name.len() + weight(value)).sum();
        self.meter().charge_output((LOG_ENTRY + message.len() + bytes) as u64)?;
        let spell = self.spell();
        self.emit(Event::Log(LogEntry {
            time: LogEntry::now(),
            level,
            message,
            fields,
            spell: spell.name.clone(),
            run_id: spell.run_id.clone(),
        }));
        Ok(())
    }

    /// Counts bytes that the host keeps for the spell against its memory, for as long as the returned guard lives.
    ///
    /// # Errors
    /// When the `memory` limit is reached.
    pub fn hold(&self, bytes: u64) -> Result<Held> {
        Held::new(self.clone(), bytes)
    }

    /// What a bridge keeps for this run, made when first asked for. One value a type.
    #[must_use]
    pub fn state<T: Default + Send + Sync + 'static>(&self) -> Arc<T> {
        let mut state = lock(&self.run.state);
        let kept = state.entry(TypeId::of::<T>()).or_insert_with(|| Arc::new(T::default()));
        Arc::clone(kept).downcast().unwrap_or_default()
    }

    /// Has work done beside the script. The run ends when it has been done too, and fails when it fails.
    pub fn beside(&self, work: impl Future<Output = Result<()>> + Send + 'static) {
        lock(&self.run.beside).push(Box::pin(work));
    }

    /// The work to do beside the script that was not taken yet. For the engine's session, which looks after each call
    /// of the host.
    #[must_use]
    pub fn take_beside(&self) -> Vec<BoxFuture<'static, Result<()>>> {
        std::mem::take(&mut *lock(&self.run.beside))
    }

    /// Stops the run and its children: scripts at their next interrupt, calls where they wait.
    pub fn cancel(&self) {
        self.run.cancel();
    }

    /// Completes when the run is cancelled.
    #[must_use]
    pub fn cancellation(&self) -> &CancellationToken {
        &self.run.cancellation
    }

    pub(crate) fn models_capability(&self) -> Option<&dyn Models> {
        self.run.world.models.as_deref()
    }

    pub(crate) fn cache(&self) -> Option<&Arc<dyn Cache>> {
        self.run.world.cache.as_ref()
    }

    pub(crate) fn default_model(&self) -> Option<&str> {
        self.run.world.default_model.as_deref()
    }

    pub(crate) fn fallback(&self) -> &[String] {
        &self.run.world.fallback
    }

    pub(crate) fn console_capability(&self) -> Option<&dyn Console> {
        self.run.world.console.as_deref()
    }

    /// The number of a new bar of progress, from 1 on.
    pub(crate) fn next_bar(&self) -> u64 {
        self.run.bars.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub(crate) fn net_capability(&self) -> Option<&dyn Net> {
        self.run.world.net.as_deref()
    }

    pub(crate) fn files_capability(&self) -> Option<&dyn Files> {
        self.run.world.files.as_deref()
    }

    pub(crate) fn storage_capability(&self) -> Option<&dyn Storage> {
        self.run.world.storage.as_deref()
    }

    pub(crate) fn working_dir(&self) -> Option<&Path> {
        self.run.world.working_dir.as_deref()
    }

    pub(crate) fn clock_capability(&self) -> Option<&dyn Clock> {
        self.run.world.clock.as_deref()
    }

    pub(crate) fn random_capability(&self) -> Option<&dyn Random> {
        self.run.world.random.as_deref()
    }

    /// Says that from now on [`next_turn`](Self::next_turn) is called whenever the script has nothing to do, and lets
    /// answers wait for that where their order is kept. For the engine's session.
    pub fn take_turns(&self) {
        self.run.turns.take(self.journal().keeps());
    }

    /// Lets the next answer through to the script, which has nothing else to do; says whether there was one, or else
    /// whether a call was told that it waits in vain for room in its budget. For the engine's session.
    #[must_use]
    pub fn next_turn(&self) -> bool {
        match self.run.turns.next() {
            Next::Released => true,
            Next::NotDurable => false,
            Next::Empty => self.run.meter.purse().give_up(),
        }
    }

    /// Records the outcome in the journal; it is durable at the returned point.
    ///
    /// # Errors
    /// When the journal cannot be written.
    pub fn close(&self, outcome: &Outcome) -> Result<CommitPoint> {
        self.run.journal.close(outcome, self.said())
    }

    /// Waits until the journal's records up to this point are durable.
    ///
    /// # Errors
    /// When the journal cannot be written.
    pub async fn recorded(&self, point: CommitPoint) -> Result<()> {
        match self.run.turns.commits() {
            Some(commits) => commits.reached(point).await,
            None => Ok(()),
        }
    }

    /// The same, and blocks the thread.
    ///
    /// # Errors
    /// When the journal cannot be written.
    pub fn wait_recorded(&self, point: CommitPoint) -> Result<()> {
        self.run.turns.commits().map_or(Ok(()), |commits| commits.wait(point))
    }

    /// What is wrong with the journal, or with a replay from it, when that ended the run: no script may go on by itself
    /// after it.
    #[must_use]
    pub fn broken(&self) -> Option<&Error> {
        self.run.broken.get()
    }

    /// Ends the run, because its journal can no longer be relied on.
    pub(crate) fn break_off(&self, error: Error) -> Error {
        let error = self.run.broken.get_or_init(|| error).clone();
        self.cancel();
        error
    }

    pub(crate) fn journal(&self) -> &dyn Journal {
        &*self.run.journal
    }

    pub(crate) fn task(&self) -> &Task {
        &self.task
    }

    pub(crate) fn turns(&self) -> &Arc<Turns> {
        &self.run.turns
    }

    /// How many lines were printed and logged.
    pub(crate) fn said(&self) -> u64 {
        self.run.said.load(Ordering::Relaxed)
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("spell", &self.run.spell)
            .field("meter", &self.run.meter)
            .finish_non_exhaustive()
    }
}

/// What a line of the log takes beside its text.
const LOG_ENTRY: usize = 128;

/// About how many bytes a value takes in a log.
fn weight(value: &Value) -> usize {
    match value {
        Value::Str(text) => text.len(),
        Value::Bytes(bytes) => bytes.len(),
        Value::List(items) => size_of::<Value>() + items.iter().map(weight).sum::<usize>(),
        Value::Map(entries) => {
            size_of::<Value>() + entries.iter().map(|(name, value)| name.len() + weight(value)).sum::<usize>()
        }
        _ => size_of::<Value>(),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capability::{ModelListing, ModelRef, ProviderInfo};
    use crate::chat::{ChatRequest, Delta, Reply};
    use crate::effect::{MemoryJournal, Permit};
    use crate::error::ErrorKind;
    use crate::replay::Replay;
    use futures_util::stream::{self, BoxStream, StreamExt};

    /// Answers with what it was asked.
    struct Echo;

    impl Models for Echo {
        fn providers(&self) -> Vec<ProviderInfo> {
            Vec::new()
        }
        fn resolve(&self, _: Option<&str>, model: Option<&str>) -> Result<ModelRef> {
            Ok(ModelRef { provider: "echo".into(), model: model.unwrap_or("default").into() })
        }
        fn chat(&self, permit: Permit, request: ChatRequest) -> BoxFuture<'static, Result<Reply>> {
            let text = format!("{}: {}", permit.path(), request.messages[0].joined_text());
            let usage = Usage { output_tokens: 1, ..Usage::default() };
            Box::pin(async { Ok(Reply { text, usage, ..Reply::default() }) })
        }
        fn stream(
            &self,
            _: Permit,
            _: ChatRequest,
        ) -> BoxFuture<'static, Result<BoxStream<'static, Result<Delta>>>> {
            let pieces = ["one ", "two"].map(|text| Ok(Delta::Text { text: text.into() }));
            Box::pin(async { Ok(stream::iter(pieces).boxed()) })
        }
        fn list(&self, _: Permit, _: Option<String>) -> BoxFuture<'static, Result<ModelListing>> {
            Box::pin(async { Ok(ModelListing::default()) })
        }
        fn count_tokens(&self, _: &str, _: &ModelRef) -> u64 {
            0
        }
    }

    /// A chat, and a stream that is cut: what they came to.
    async fn ask(cx: &Context) -> (String, Vec<String>) {
        let reply = cx.models().chat(ChatRequest::prompt("hi")).await.unwrap();
        let pieces = cx.models().stream(ChatRequest::prompt("count")).await.unwrap();
        let pieces = pieces.map(|piece| match piece {
            Ok(Delta::Text { text }) => text,
            Ok(other) => format!("{other:?}"),
            Err(error) => {
                format!("{} after {:?}", error.kind(), error.call().and_then(|call| call.partial.clone()))
            }
        });
        (reply.text, pieces.collect().await)
    }

    #[tokio::test]
    async fn what_passes_the_gate_is_written_down_and_can_be_answered_from_there() {
        let journal = Arc::new(MemoryJournal::default());
        let live = Context::builder().models(Arc::new(Echo)).journal(journal.clone()).build();
        let came = ask(&live).await;
        let pieces = ["one ", "two", "stream_interrupted after Some(\"one two\")"].map(str::to_owned);
        assert_eq!(came, ("main#1: hi".to_owned(), pieces.to_vec()));
        let entries = journal.entries();
        let paths: Vec<_> = entries.iter().map(|entry| entry.effect.path.to_string()).collect();
        assert_eq!(paths, ["main#1", "main#2"]);

        let replayed =
            Context::builder().models(Arc::new(Echo)).journal(Arc::new(Replay::new(entries))).build();
        assert_eq!(ask(&replayed).await, came);
        assert_eq!(replayed.meter().usage(), live.meter().usage());
    }

    #[tokio::test]
    async fn a_budget_of_a_part_ends_that_part_and_charges_the_whole() {
        let run = Context::builder().models(Arc::new(Echo)).build();
        let part = run.within_budget("the helper", Budget { model_calls: Some(2), ..Budget::default() });
        let inner = part.spawn().within_budget("its own", Budget::default());
        let ask = |cx: Context| async move { cx.models().chat(ChatRequest::prompt("hi")).await };
        ask(part.clone()).await.unwrap();
        ask(inner.clone()).await.unwrap();
        for cx in [part.clone(), inner] {
            let error = ask(cx).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Budget);
            assert_eq!(error.message(), "the helper reached its model_calls limit of 2: 2 made, 0 left");
        }
        ask(run.clone()).await.unwrap();
        assert_eq!((part.spent().output_tokens, run.spent().output_tokens), (2, 3));
        assert_eq!(run.meter().usage(), run.spent());
    }

    #[tokio::test]
    async fn a_cancelled_run_touches_nothing_and_takes_its_children_along() {
        let parent = Context::builder().models(Arc::new(Echo)).build();
        let child = parent.child(SpellInfo::default(), Permissions::default(), Limits::default());
        parent.cancel();
        for cx in [parent, child] {
            assert!(cx.meter().must_check());
            assert!(cx.models().chat(ChatRequest::prompt("hi")).await.unwrap_err().is_cancelled());
        }
    }
}
