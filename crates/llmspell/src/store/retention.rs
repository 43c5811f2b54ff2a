//! How long a store keeps runs.
//!
//! A [sweep](RunStore::sweep) removes runs by age, and then the oldest ones until the store is small enough. These runs
//! stay:
//!
//! - runs with a living owner;
//! - runs with effects in doubt, because only the user knows whether those happened;
//! - runs of the last day, however large they are;
//! - damaged runs, which nobody can judge.
//!
//! A sweep is made of slices, so that it never keeps another process waiting for long.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use llmspell_core::Result;

use super::{RunState, RunStore};

/// The runs that a store keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Runs that began longer ago are removed, and so are cached answers of this age. `None` keeps them.
    pub age: Option<Duration>,
    /// The size in bytes above which the oldest runs are removed. `None` is no limit.
    pub bytes: Option<u64>,
}

impl Default for Retention {
    /// 30 days and 1 GB.
    fn default() -> Self {
        Self { age: Some(30 * DAY), bytes: Some(1 << 30) }
    }
}

/// When a sweep begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SweepStart {
    /// Only if this process uses the store already and no sweep has finished within a day.
    IfDue,
    /// Now.
    Now,
}

/// The clock of a store, by which runs age.
#[derive(Clone)]
pub(super) struct StoreClock(Arc<dyn Fn() -> SystemTime + Send + Sync>);

impl StoreClock {
    pub(super) fn new(now: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    pub(super) fn now(&self) -> SystemTime {
        (self.0)()
    }
}

impl Default for StoreClock {
    fn default() -> Self {
        Self::new(SystemTime::now)
    }
}

impl fmt::Debug for StoreClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StoreClock")
    }
}

/// The results of a sweep.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SweptRuns {
    /// How many runs were removed.
    pub runs: usize,
    /// How many cached answers were removed.
    pub answers: usize,
    /// How many runs stay although they are old, because they have effects in doubt.
    pub in_doubt: usize,
    /// How many runs stay although they are old, because they are in progress.
    pub running: usize,
    /// How many bytes the store takes less than before.
    pub freed: u64,
    /// Whether nothing is left to remove.
    pub is_done: bool,
}

pub(super) const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The time after which a slice ends.
pub(super) const SLICE: Duration = Duration::from_millis(50);

/// Sweeps a store, slice by slice, for at most about this long. What is left is removed by the next sweep.
///
/// # Errors
/// When the store cannot be read or written.
pub async fn sweep(
    store: &dyn RunStore,
    retention: &Retention,
    start: SweepStart,
    most: Duration,
) -> Result<SweptRuns> {
    let began = Instant::now();
    let mut sum = SweptRuns::default();
    loop {
        let slice = store.sweep(retention, start).await?;
        sum = SweptRuns {
            runs: sum.runs + slice.runs,
            answers: sum.answers + slice.answers,
            freed: sum.freed + slice.freed,
            ..slice
        };
        if sum.is_done || began.elapsed() >= most {
            return Ok(sum);
        }
    }
}

/// Whether a sweep removes a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SweepDecision {
    Remove,
    Running,
    InDoubt,
}

impl Retention {
    /// Returns the time before which runs are too old; `None` if age does not matter.
    pub(super) fn oldest(&self, now: SystemTime) -> Option<SystemTime> {
        self.age.map(|age| now.checked_sub(age).unwrap_or(SystemTime::UNIX_EPOCH))
    }
}

/// Decides about a run that is old, or one too many. `in_doubt` tells whether it has effects in doubt.
pub(super) fn decide(state: RunState, in_doubt: impl FnOnce() -> Result<bool>) -> Result<SweepDecision> {
    Ok(match state {
        RunState::Running => SweepDecision::Running,
        RunState::Done => SweepDecision::Remove,
        RunState::Failed | RunState::Died => match in_doubt()? {
            true => SweepDecision::InDoubt,
            false => SweepDecision::Remove,
        },
    })
}
