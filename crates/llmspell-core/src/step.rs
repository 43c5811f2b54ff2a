//! Named steps: work that is done once in a run, however often the run is resumed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use crate::capability::settle;
use crate::context::{Context, Event};
use crate::convert::from_value;
use crate::effect::{Ask, Lookup, Task};
use crate::error::{Error, ErrorKind, Result};
use crate::value::Value;

/// The longest name of a step, in bytes.
const LONGEST: usize = 200;

/// What was printed, logged and used in a step, and in the steps within it.
#[derive(Debug)]
pub(crate) struct Said {
    events: Mutex<Vec<Event>>,
    outer: Option<Arc<Said>>,
}

impl Said {
    /// Nothing yet, in a step that is taken within this one.
    pub(crate) fn within(outer: Option<Arc<Self>>) -> Self {
        Self { events: Mutex::default(), outer }
    }

    /// Keeps what has to be said again where the step is not taken again.
    pub(crate) fn keep(&self, event: &Event) {
        if !matches!(event, Event::Output { .. } | Event::Log(_) | Event::Usage { .. }) {
            return;
        }
        self.events.lock().unwrap_or_else(PoisonError::into_inner).push(event.clone());
        if let Some(outer) = &self.outer {
            outer.keep(event);
        }
    }

    fn take(&self) -> Vec<Event> {
        std::mem::take(&mut *self.events.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A step that was taken, as the journal keeps it.
#[derive(Serialize, Deserialize)]
struct Taken {
    /// A nil value has no field in the journal.
    #[serde(default)]
    value: Value,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    said: Vec<Event>,
}

/// The steps of a run by their names.
#[derive(Default)]
struct Steps(Mutex<HashMap<String, Step>>);

struct Step {
    /// It goes on counting when the step is taken again, having failed.
    task: Arc<Task>,
    stands: Stands,
}

enum Stands {
    UnderWay,
    Failed,
    Taken(Value),
}

impl Steps {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Step>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a step as a task of this one's, or finds what it came to.
    fn begin(&self, name: &str, outer: &Task) -> Result<Begun> {
        let mut steps = self.lock();
        let new = || Step { task: Arc::new(outer.step(name)), stands: Stands::Failed };
        let step = steps.entry(name.to_owned()).or_insert_with(new);
        match &step.stands {
            Stands::Taken(value) => Ok(Begun::Before(value.clone())),
            Stands::Failed => {
                step.stands = Stands::UnderWay;
                Ok(Begun::Now(Arc::clone(&step.task)))
            }
            Stands::UnderWay => {
                Err(Error::new(ErrorKind::Conflict, format!("the step `{name}` is under way"))
                    .hint("each step of a run has a name of its own"))
            }
        }
    }
}

enum Begun {
    /// It has been taken, and came to this.
    Before(Value),
    Now(Arc<Task>),
}

/// A step under way. Dropped before it came to anything, it has failed.
struct UnderWay<'a> {
    steps: &'a Steps,
    name: &'a str,
}

impl UnderWay<'_> {
    fn end(&self, stands: Stands) {
        if let Some(step) = self.steps.lock().get_mut(self.name)
            && matches!(step.stands, Stands::UnderWay)
        {
            step.stands = stands;
        }
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.end(Stands::Failed);
    }
}

impl Context {
    /// Takes a named step: does the work, unless this run has done it before, also before it was resumed. What it came to
    /// is data, and is kept by the name; a step that failed was not taken. What it does is found by the step's name too:
    /// a spell that is changed elsewhere can still be resumed.
    ///
    /// # Errors
    /// What the work fails with; when the name is empty or too long, when a step of that name is under way, or when its
    /// result is no data.
    pub async fn step<F>(&self, name: &str, work: impl FnOnce(Self) -> F) -> Result<Value>
    where
        F: Future<Output = Result<Value>>,
    {
        if name.is_empty() || name.len() > LONGEST {
            return Err(Error::argument(format!("a step's name has 1 to {LONGEST} bytes")));
        }
        let steps = self.state::<Steps>();
        let within = match steps.begin(name, self.task())? {
            Begun::Before(value) => return Ok(value),
            Begun::Now(task) => self.as_task(task),
        };
        let step = UnderWay { steps: &steps, name };
        let said = || within.task().said().map(Said::take).unwrap_or_default();
        // What an earlier time said that failed is not of this one.
        said();
        let (lookup, _permit) = within.begin(Ask::new("spell", "step", &name)?)?;
        let value = match lookup {
            Lookup::Recorded(end) => {
                self.release(self.turns().wait(end.order)).await?;
                let taken: Taken = from_value(end.answer?)?;
                self.say_again(taken.said).await?;
                taken.value
            }
            // In a recording, it failed or was cut off: what it did is recorded.
            Lookup::NeverEnded => work(within.clone()).await?,
            Lookup::Live { entry, .. } => {
                let value = work(within.clone()).await?;
                if !value.is_data() {
                    return Err(Error::argument(format!(
                        "the step `{name}` came to a function or an object: only data can be kept"
                    )));
                }
                let taken = Ok(Taken { value, said: said() });
                if let Some(turn) = self.finish(entry, &taken)? {
                    self.release(turn).await?;
                }
                taken?.value
            }
        };
        step.end(Stands::Taken(value.clone()));
        Ok(value)
    }

    async fn say_again(&self, said: Vec<Event>) -> Result<()> {
        for event in said {
            match event {
                Event::Usage { usage } => {
                    self.count_call().await?.settled();
                    settle(self, &usage);
                }
                event => self.emit(event),
            }
        }
        Ok(())
    }
}
