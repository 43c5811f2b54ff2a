//! Clock and randomness behind the gate.

use std::time::{Duration, SystemTime};

use crate::capability::Clock;
use crate::context::Context;
use crate::effect::EffectRequest;
use crate::error::{Error, ErrorKind, Result};

impl Context {
    /// Returns the gated view of the clock.
    #[must_use]
    pub fn clock(&self) -> GatedClock<'_> {
        GatedClock(self)
    }
}

/// The gated view of the clock.
#[derive(Debug)]
pub struct GatedClock<'a>(pub(crate) &'a Context);

impl GatedClock<'_> {
    /// Returns the time since the Unix epoch (1970 in UTC); zero for earlier times.
    ///
    /// # Errors
    /// Returns an error when the runtime has no clock, or the run has ended.
    pub fn now(&self) -> Result<Duration> {
        let clock = self.capability()?;
        self.0.gate_now(EffectRequest::new("clock", "now", &())?, |permit| {
            Ok(clock.now(permit).duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default())
        })
    }

    /// Returns the time of a monotonic clock, for measuring time spans.
    ///
    /// # Errors
    /// Returns an error when the runtime has no clock, or the run has ended.
    pub fn ticks(&self) -> Result<Duration> {
        let clock = self.capability()?;
        self.0.gate_now(EffectRequest::new("clock", "ticks", &())?, |permit| Ok(clock.ticks(permit)))
    }

    fn capability(&self) -> Result<&dyn Clock> {
        self.0.clock_capability().ok_or_else(|| missing("clock"))
    }

    /// Sleeps. The time counts against the run's wall limit, but not against its processor time.
    ///
    /// # Errors
    /// Returns an error when the run ends during the sleep.
    pub async fn sleep(&self, time: Duration) -> Result<()> {
        let ask = EffectRequest::new("clock", "sleep", &time)?;
        let slept = async move {
            tokio::time::sleep(time).await;
            Ok(())
        };
        self.0.gate(ask, |_| slept).await
    }
}

impl Context {
    /// Returns the gated view of the source of randomness.
    #[must_use]
    pub fn random(&self) -> GatedRandom<'_> {
        GatedRandom(self)
    }
}

/// The gated view of randomness.
#[derive(Debug)]
pub struct GatedRandom<'a>(pub(crate) &'a Context);

impl GatedRandom<'_> {
    /// Returns `N` random bytes.
    ///
    /// # Errors
    /// Returns an error when the runtime has no randomness, or the run has ended.
    pub fn bytes<const N: usize>(&self) -> Result<[u8; N]> {
        self.list(N)?
            .try_into()
            .map_err(|_| Error::internal("the journal holds another number of random bytes"))
    }

    /// Returns `count` random bytes.
    ///
    /// # Errors
    /// Returns an error when the runtime has no randomness, or the run has ended.
    pub fn list(&self, count: usize) -> Result<Vec<u8>> {
        let random = self.0.random_capability().ok_or_else(|| missing("randomness"))?;
        self.0.gate_now(EffectRequest::new("random", "bytes", &count)?, |permit| {
            let mut bytes = vec![0; count];
            random.fill(permit, &mut bytes)?;
            Ok(bytes)
        })
    }
}

fn missing(what: &str) -> Error {
    Error::new(ErrorKind::Unsupported, format!("this runtime has no {what}"))
}
