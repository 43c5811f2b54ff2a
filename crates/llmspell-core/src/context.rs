//! The context of a run: its only way to the outside world.
//!
//! A [`Context`] is created for each run and handed to every bridge method. It holds the run's permissions, limits,
//! journal and capabilities. The capability objects are private: a method gets a gated view of them, and each call of a
//! view passes the gate (`gate.rs`).
//!
//! | a method needs | it calls | which is |
//! |---|---|---|
//! | a model | [`models()`](Context::models) | checked, charged and recorded |
//! | the network, files, … | [`net()`](Context::net), [`files()`](Context::files), … | checked and recorded |
//! | a capability of the program | [`extension`](Context::extension) | checked and recorded |
//! | to print or log | [`console()`](Context::console), [`log`](Context::log) | charged to the `output` limit |
//! | memory on the host | [`hold`](Context::hold) | charged to the `memory` limit |
//! | values that last as long as the run | [`state`](Context::state) | free |
//! | to continue work after it returns | [`beside`](Context::beside) | finished before the run ends |
//!
//! For example, the method that implements `llm.chat` ends in `cx.models().chat(request).await`.
//!
//! A context belongs to one *task* of the run, which numbers its effects. These methods derive another context from it:
//!
//! - [`spawn`](Context::spawn): a child task of the same run, with its own effect numbers.
//! - [`within_budget`](Context::within_budget): the same task, whose model calls draw on an additional budget.
//! - [`child`](Context::child): a child run with its own permissions and limits. It shares the world, the journal and
//!   the answer sequencer of its parent, and is cancelled with it.
//!
//! Cancelling a context cancels its run and all child runs. It does not affect the parent.

mod builder;
mod callback;

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::budget::{Budget, SpendLedger};
use crate::cache::Cache;
use crate::capability::{Clock, Console, Extension, Files, Models, Modules, Net, Random, Storage};
use crate::chat::Usage;
use crate::commit::CommitPoint;
use crate::effect::Journal;
use crate::error::{Error, Result};
use crate::event::{Event, Sink};
use crate::limits::Limits;
use crate::memory_reservation::{MemoryBudget, MemoryReservation};
use crate::meter::Meter;
use crate::outcome::{LogEntry, LogLevel, Outcome};
use crate::permission::Permissions;
use crate::sequencer::{AnswerSequencer, NextAnswer};
use crate::task::Task;
use crate::value::{Map, Value};
use crate::world::World;

/// The identity of the running spell, which the script may read.
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

pub use self::builder::ContextBuilder;

struct NoModules;

impl Modules for NoModules {
    fn read(&self, _: &str) -> Result<Option<String>> {
        Ok(None)
    }
}

/// The state that all tasks of a run share.
struct RunContext {
    spell: SpellInfo,
    permissions: Permissions,
    meter: Arc<Meter>,
    cancellation: CancellationToken,
    journal: Arc<dyn Journal>,
    sink: Arc<dyn Sink>,
    world: World,
    state: Mutex<HashMap<TypeId, Arc<dyn Any + Send + Sync>>>,
    children: Mutex<Vec<Weak<RunContext>>>,
    beside: Mutex<Vec<BoxFuture<'static, Result<()>>>>,
    /// How many progress bars the run and its child runs have created. They share the sink.
    bars: Arc<AtomicU64>,
    /// How many lines the run and its child runs have printed and logged.
    said: Arc<AtomicU64>,
    /// The answer sequencer of the run and its child runs.
    sequencer: Arc<AnswerSequencer>,
    broken: Arc<OnceLock<Error>>,
}

impl RunContext {
    fn cancel(&self) {
        self.meter.cancel();
        self.cancellation.cancel();
        for child in lock(&self.children).drain(..).filter_map(|child| child.upgrade()) {
            child.cancel();
        }
    }
}

/// Everything that one task of a run may do, and its only way to the outside world. Cheap to clone.
#[derive(Clone)]
pub struct Context {
    run: Arc<RunContext>,
    task: Arc<Task>,
    /// The spend ledger that model calls draw on: the run's, or that of a [budget](Self::within_budget) inside it.
    ledger: Arc<SpendLedger>,
}

impl Context {
    /// Returns a builder. [`ContextBuilder`] lists the defaults.
    pub fn builder() -> ContextBuilder {
        ContextBuilder::new()
    }

    /// Returns the context of a new child task, whose effects are numbered separately.
    #[must_use]
    pub fn spawn(&self) -> Self {
        self.as_task(Arc::new(self.task.child()))
    }

    /// Returns the context of this task of the same run.
    pub(crate) fn as_task(&self, task: Arc<Task>) -> Self {
        Self { run: Arc::clone(&self.run), task, ledger: Arc::clone(&self.ledger) }
    }

    /// Returns the same task with an additional budget for its model calls. Spending counts for this budget and for the
    /// ledger around it. A call beyond the budget fails with kind `budget`, and the run continues. `owner` names the
    /// budget in errors.
    #[must_use]
    pub fn within_budget(&self, owner: &str, budget: Budget) -> Self {
        let ledger = Arc::new(SpendLedger::within(&self.ledger, owner, budget));
        Self { run: Arc::clone(&self.run), task: Arc::clone(&self.task), ledger }
    }

    /// Returns the spending of this context's budget, or of the run if the context has no budget.
    #[must_use]
    pub fn spent(&self) -> Usage {
        self.ledger.used()
    }

    /// Creates the context of a child run with its own permissions and limits. Cancelling this run cancels the child.
    #[must_use]
    pub fn child(&self, spell: SpellInfo, permissions: Permissions, limits: Limits) -> Self {
        let parent = &self.run;
        let child = Arc::new(RunContext {
            spell,
            permissions,
            meter: Arc::new(parent.meter.child(limits)),
            cancellation: parent.cancellation.child_token(),
            journal: Arc::clone(&parent.journal),
            sink: Arc::clone(&parent.sink),
            world: parent.world.clone(),
            state: Mutex::default(),
            children: Mutex::default(),
            beside: Mutex::default(),
            bars: Arc::clone(&parent.bars),
            said: Arc::clone(&parent.said),
            sequencer: Arc::clone(&parent.sequencer),
            broken: Arc::clone(&parent.broken),
        });
        let mut children = lock(&parent.children);
        children.retain(|child| child.strong_count() > 0);
        children.push(Arc::downgrade(&child));
        drop(children);
        if parent.cancellation.is_cancelled() {
            child.meter.cancel();
        }
        let ledger = Arc::clone(child.meter.ledger());
        Self { run: child, task: Arc::new(self.task.child()), ledger }
    }

    pub(crate) fn ledger(&self) -> &Arc<SpendLedger> {
        &self.ledger
    }

    /// Returns the identity of the running spell.
    #[must_use]
    pub fn spell(&self) -> &SpellInfo {
        &self.run.spell
    }

    /// Returns the permissions that the user granted.
    #[must_use]
    pub fn permissions(&self) -> &Permissions {
        &self.run.permissions
    }

    /// Returns the meter, which counts the run's resources and enforces its limits.
    #[must_use]
    pub fn meter(&self) -> &Meter {
        &self.run.meter
    }

    /// Returns the modules in the spell's folder.
    #[must_use]
    pub fn modules(&self) -> &dyn Modules {
        self.run.world.modules.as_deref().unwrap_or(&NoModules)
    }

    /// Sends an event to the sink.
    pub fn emit(&self, event: Event) {
        if matches!(event, Event::Output { .. } | Event::Log(_)) {
            self.run.said.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(said) = self.task.said() {
            said.keep(&event);
        }
        self.run.sink.emit(event);
    }

    /// Waits until all events so far are visible.
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

    /// Charges memory that the host uses for the spell to its `memory` limit, until the returned guard is dropped.
    ///
    /// # Errors
    /// When the `memory` limit is reached.
    pub fn hold(&self, bytes: u64) -> Result<MemoryReservation> {
        MemoryReservation::new(&self.run.meter, bytes)
    }

    /// Returns the run's `memory` limit, for a capability that allocates.
    pub(crate) fn memory_budget(&self) -> MemoryBudget {
        MemoryBudget::new(&self.run.meter)
    }

    /// Returns the run's value of type `T`, which is created on first use. Bridges store their state for a run here.
    #[must_use]
    pub fn state<T: Default + Send + Sync + 'static>(&self) -> Arc<T> {
        let mut state = lock(&self.run.state);
        let kept = state.entry(TypeId::of::<T>()).or_insert_with(|| Arc::new(T::default()));
        Arc::clone(kept).downcast().unwrap_or_default()
    }

    /// Runs work in the background of the script. The run ends only when the work has ended, and fails if it fails.
    pub fn beside(&self, work: impl Future<Output = Result<()>> + Send + 'static) {
        lock(&self.run.beside).push(Box::pin(work));
    }

    /// Takes the background work that was added since the last call. Used by the engine's session, which drives it.
    #[must_use]
    pub fn take_beside(&self) -> Vec<BoxFuture<'static, Result<()>>> {
        std::mem::take(&mut *lock(&self.run.beside))
    }

    /// Cancels the run and its child runs: scripts stop at their next interrupt, and waiting calls end.
    pub fn cancel(&self) {
        self.run.cancel();
    }

    /// Completes when the run is cancelled.
    #[must_use]
    pub fn cancellation(&self) -> &CancellationToken {
        &self.run.cancellation
    }

    pub(crate) fn extension_capability<T: Extension>(&self) -> Option<Arc<T>> {
        self.run.world.extensions.get::<T>()
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

    /// Returns the number of a new progress bar, from 1.
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

    /// Declares that [`next_turn`](Self::next_turn) is called from now on whenever the script has nothing to do.
    /// Answers then wait for that call if their order is recorded. Used by the engine's session.
    pub fn take_turns(&self) {
        self.run.sequencer.take(self.journal().keeps());
    }

    /// Releases the next answer to the script, which must have nothing else to do. Returns whether the script may
    /// continue: an answer was released, or a model call that waits in vain for its budget fails now. Used by
    /// the engine's session.
    #[must_use]
    pub fn next_turn(&self) -> bool {
        match self.run.sequencer.next() {
            NextAnswer::Released => true,
            NextAnswer::NotDurable => false,
            NextAnswer::Empty => self.run.meter.ledger().give_up(),
        }
    }

    /// Records the outcome in the journal. Returns the point at which the record is durable.
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
        match self.run.sequencer.commits() {
            Some(commits) => commits.reached(point).await,
            None => Ok(()),
        }
    }

    /// Blocks the thread until the journal's records up to this point are durable.
    ///
    /// # Errors
    /// When the journal cannot be written.
    pub fn wait_recorded(&self, point: CommitPoint) -> Result<()> {
        self.run.sequencer.commits().map_or(Ok(()), |commits| commits.wait(point))
    }

    /// Returns the error of the journal, or of the replay, that ended the run. The script must not continue after it.
    #[must_use]
    pub fn broken(&self) -> Option<&Error> {
        self.run.broken.get()
    }

    /// Ends the run because its journal is no longer reliable.
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

    pub(crate) fn sequencer(&self) -> &Arc<AnswerSequencer> {
        &self.run.sequencer
    }

    /// Returns how many lines were printed and logged.
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

/// The bytes charged for a log entry in addition to its text.
const LOG_ENTRY: usize = 128;

/// Returns the approximate size of a value in a log, in bytes.
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

    /// A provider that answers with the request's path and text.
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

    /// Makes a chat call and a stream that is interrupted, and returns their results.
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
