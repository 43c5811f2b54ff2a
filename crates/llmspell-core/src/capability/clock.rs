//! The time, and randomness.

use std::time::{Duration, SystemTime};

use crate::context::Context;
use crate::effect::{Ask, Permit};
use crate::error::{Error, ErrorKind, Result};

/// Tells the time.
pub trait Clock: Send + Sync {
    /// The time of day.
    fn now(&self, permit: Permit) -> SystemTime;

    /// The time since a moment of the clock's own choosing. Never goes back.
    fn ticks(&self, permit: Permit) -> Duration;
}

/// Makes what nobody can guess.
pub trait Random: Send + Sync {
    /// Fills a buffer with random bytes.
    ///
    /// # Errors
    /// When the system has none.
    fn fill(&self, permit: Permit, bytes: &mut [u8]) -> Result<()>;
}

/// The clock behind the gate.
#[derive(Debug)]
pub struct GatedClock<'a>(pub(crate) &'a Context);

impl GatedClock<'_> {
    /// The time of day, since the beginning of 1970 in UTC; before that it is zero.
    ///
    /// # Errors
    /// When there is no clock, or the run is over.
    pub fn now(&self) -> Result<Duration> {
        let clock = self.capability()?;
        self.0.gate_now(Ask::new("clock", "now", &())?, |permit| {
            Ok(clock.now(permit).duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default())
        })
    }

    /// The time since some moment, for measuring: it never goes back, whatever becomes of the time of day.
    ///
    /// # Errors
    /// When there is no clock, or the run is over.
    pub fn ticks(&self) -> Result<Duration> {
        let clock = self.capability()?;
        self.0.gate_now(Ask::new("clock", "ticks", &())?, |permit| Ok(clock.ticks(permit)))
    }

    fn capability(&self) -> Result<&dyn Clock> {
        self.0.clock_capability().ok_or_else(|| missing("clock"))
    }

    /// Waits; within the run's wall limit, and without use of its processor time.
    ///
    /// # Errors
    /// When the run ends meanwhile.
    pub async fn sleep(&self, time: Duration) -> Result<()> {
        let ask = Ask::new("clock", "sleep", &time)?;
        let slept = async move {
            tokio::time::sleep(time).await;
            Ok(())
        };
        self.0.gate(ask, |_| slept).await
    }
}

/// Randomness behind the gate.
#[derive(Debug)]
pub struct GatedRandom<'a>(pub(crate) &'a Context);

impl GatedRandom<'_> {
    /// So many random bytes.
    ///
    /// # Errors
    /// When there is no randomness, or the run is over.
    pub fn bytes<const N: usize>(&self) -> Result<[u8; N]> {
        self.list(N)?
            .try_into()
            .map_err(|_| Error::internal("the journal holds another number of random bytes"))
    }

    /// So many random bytes, where the number is known only now.
    ///
    /// # Errors
    /// When there is no randomness, or the run is over.
    pub fn list(&self, count: usize) -> Result<Vec<u8>> {
        let random = self.0.random_capability().ok_or_else(|| missing("randomness"))?;
        self.0.gate_now(Ask::new("random", "bytes", &count)?, |permit| {
            let mut bytes = vec![0; count];
            random.fill(permit, &mut bytes)?;
            Ok(bytes)
        })
    }
}

fn missing(what: &str) -> Error {
    Error::new(ErrorKind::Unsupported, format!("this runtime has no {what}"))
}
