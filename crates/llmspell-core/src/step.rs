//! Named steps: work that a run performs once, however often it is resumed.
//!
//! A step is a task with a path of its own, `step(name)`. Its result is recorded under that path. A resumed run that
//! finds the result returns it, and emits the recorded output and usage of the step again. Because the paths inside a
//! step contain its name, a spell that was changed outside the step can still be resumed.
//!
//! A step that fails is not recorded as done; calling it again performs it again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use crate::context::Context;
use crate::convert::from_value;
use crate::effect::{EffectRequest, Lookup};
use crate::error::{Error, ErrorKind, Result};
use crate::event::{Event, StepOutput};
use crate::gate::settle;
use crate::task::Task;
use crate::value::Value;

/// The maximum length of a step's name, in bytes.
const LONGEST: usize = 200;

/// The record of a completed step.
#[derive(Serialize, Deserialize)]
struct StepRecord {
    /// The journal has no field for a nil value.
    #[serde(default)]
    value: Value,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    said: Vec<Event>,
}

/// The steps of a run, by name.
#[derive(Default)]
struct NamedSteps(Mutex<HashMap<String, NamedStep>>);

struct NamedStep {
    /// The task survives a failed attempt, so that the effects of the next attempt get new numbers.
    task: Arc<Task>,
    stands: StepState,
}

enum StepState {
    UnderWay,
    Failed,
    Taken(Value),
}

impl NamedSteps {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, NamedStep>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a step inside the task `outer`, or returns the result of the completed step.
    fn begin(&self, name: &str, outer: &Task) -> Result<StepStart> {
        let mut steps = self.lock();
        let new = || NamedStep { task: Arc::new(outer.step(name)), stands: StepState::Failed };
        let step = steps.entry(name.to_owned()).or_insert_with(new);
        match &step.stands {
            StepState::Taken(value) => Ok(StepStart::Before(value.clone())),
            StepState::Failed => {
                step.stands = StepState::UnderWay;
                Ok(StepStart::Now(Arc::clone(&step.task)))
            }
            StepState::UnderWay => {
                Err(Error::new(ErrorKind::Conflict, format!("the step `{name}` is under way"))
                    .hint("each step of a run has a name of its own"))
            }
        }
    }
}

enum StepStart {
    /// The step is complete, with this result.
    Before(Value),
    Now(Arc<Task>),
}

/// A step in progress. If it is dropped before it ends, the step counts as failed.
struct RunningStep<'a> {
    steps: &'a NamedSteps,
    name: &'a str,
}

impl RunningStep<'_> {
    fn end(&self, stands: StepState) {
        if let Some(step) = self.steps.lock().get_mut(self.name)
            && matches!(step.stands, StepState::UnderWay)
        {
            step.stands = stands;
        }
    }
}

impl Drop for RunningStep<'_> {
    fn drop(&mut self) {
        self.end(StepState::Failed);
    }
}

impl Context {
    /// Runs work under a name at most once in a run, across resumes. Returns the result, which must be data: it is
    /// stored under the name, and a second call returns it without doing the work. A failure is not stored.
    ///
    /// # Errors
    /// The error of the work, or an error when the name is empty or too long, a step of that name is in progress, or
    /// the result is not data.
    pub async fn step<F>(&self, name: &str, work: impl FnOnce(Self) -> F) -> Result<Value>
    where
        F: Future<Output = Result<Value>>,
    {
        if name.is_empty() || name.len() > LONGEST {
            return Err(Error::argument(format!("a step's name has 1 to {LONGEST} bytes")));
        }
        let steps = self.state::<NamedSteps>();
        let within = match steps.begin(name, self.task())? {
            StepStart::Before(value) => return Ok(value),
            StepStart::Now(task) => self.as_task(task),
        };
        let step = RunningStep { steps: &steps, name };
        let said = || within.task().said().map(StepOutput::take).unwrap_or_default();
        // Discard the output of an earlier attempt that failed.
        said();
        let (lookup, _permit) = within.begin(EffectRequest::new("spell", "step", &name)?)?;
        let value = match lookup {
            Lookup::Recorded(end) => {
                self.release(self.sequencer().wait(end.order)).await?;
                self.take_again(end.answer?).await?
            }
            Lookup::Stored { order, answer } => {
                self.release(self.sequencer().wait(order)).await?;
                self.take_again(self.read(answer)??).await?
            }
            // In the recording, the step failed or was interrupted. Its effects are recorded, so perform it again from
            // them.
            Lookup::NeverEnded => work(within.clone()).await?,
            Lookup::Live { entry, .. } => {
                let value = work(within.clone()).await?;
                if !value.is_data() {
                    return Err(Error::argument(format!(
                        "the step `{name}` came to a function or an object: only data can be kept"
                    )));
                }
                let taken = Ok(StepRecord { value, said: said() });
                if let Some(turn) = self.finish(entry, &taken)? {
                    self.release(turn).await?;
                }
                taken?.value
            }
        };
        step.end(StepState::Taken(value.clone()));
        Ok(value)
    }

    /// Returns the recorded result of a step, and emits its output again.
    async fn take_again(&self, recorded: Value) -> Result<Value> {
        let StepRecord { value, said } = from_value(recorded)?;
        for event in said {
            match event {
                Event::Usage { usage } => {
                    self.count_call().await?.settled();
                    settle(self, &usage);
                }
                event => self.emit(event),
            }
        }
        Ok(value)
    }
}
