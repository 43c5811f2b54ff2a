//! Runs of spells, as an embedding program sees them.
//!
//! [`RunBuilder`] builds a run: it sets the inputs of the run and where its effects are recorded. [`Run`] is the handle
//! of a started run. The script itself runs on a worker thread (`worker.rs`), in a session that `open_session.rs`
//! opens.

mod builder;

use std::sync::Arc;

use llmspell_core::commit::CommitPoint;
use llmspell_core::{Context, Error, Event, Outcome, Result, Value};
use tokio::sync::{mpsc, oneshot};

pub use self::builder::RunBuilder;
pub(crate) use self::builder::{Prepared, TestWorld};
use crate::sink::Collector;

/// A started run. Dropping it cancels the run and closes its sockets, unless it was [detached](Run::detach).
#[derive(Debug)]
pub struct Run {
    cx: Context,
    said: Arc<Collector>,
    outcome: oneshot::Receiver<Outcome>,
    detached: bool,
}

impl Run {
    /// Returns the run's id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.cx.spell().run_id
    }

    /// Waits for the end of the run and returns its outcome.
    pub async fn outcome(mut self) -> Outcome {
        match (&mut self.outcome).await {
            Ok(outcome) => outcome,
            Err(_) => outcome(&self.cx, &self.said, Err(Error::internal("the worker lost the run"))).await,
        }
    }

    /// Cancels the run. Its outcome arrives promptly, with an error of kind `cancelled`.
    pub fn cancel(&self) {
        self.cx.cancel();
    }

    /// Returns a function that cancels the run from elsewhere.
    pub fn canceller(&self) -> impl Fn() + Send + Sync + Clone + use<> {
        let cx = self.cx.clone();
        move || cx.cancel()
    }

    /// Lets the run continue without its handle.
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

/// The events of a run, in order. The stream ends when the run has ended.
#[derive(Debug)]
pub struct Events(mpsc::UnboundedReceiver<Event>);

impl Events {
    /// Waits for the next event; `None` when the run has ended.
    pub async fn next(&mut self) -> Option<Event> {
        self.0.recv().await
    }

    /// Returns the next event, if one has arrived already.
    pub fn try_next(&mut self) -> Option<Event> {
        self.0.try_recv().ok()
    }
}

/// Returns the outcome of a run, after its journal is durable.
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

/// Like [`outcome`], but blocks the thread while it waits.
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

/// Checks that a value may leave the run. Functions and host objects belong to their VM.
pub(crate) fn data(value: Value) -> Result<Value> {
    match value.is_data() {
        true => Ok(value),
        false => Err(Error::runtime("a function or an object cannot leave the script: only data can")),
    }
}
