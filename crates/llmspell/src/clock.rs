//! The clock and the random numbers of the operating system, as capabilities.

use std::time::{Duration, Instant, SystemTime};

use llmspell_core::capability::{Clock, Random};
use llmspell_core::effect::Permit;
use llmspell_core::{Error, ErrorKind, Result};

/// The system's clock. Its ticks are the time since it was created.
#[derive(Debug)]
pub(crate) struct SystemClock {
    made: Instant,
}

impl SystemClock {
    pub(crate) fn new() -> Self {
        Self { made: Instant::now() }
    }
}

impl Clock for SystemClock {
    fn now(&self, _: Permit) -> SystemTime {
        SystemTime::now()
    }

    fn ticks(&self, _: Permit) -> Duration {
        self.made.elapsed()
    }
}

/// The system's source of random bytes.
#[derive(Debug)]
pub(crate) struct SystemRandom;

impl Random for SystemRandom {
    fn fill(&self, _: Permit, bytes: &mut [u8]) -> Result<()> {
        getrandom::fill(bytes)
            .map_err(|error| Error::new(ErrorKind::Io, format!("the system has no randomness: {error}")))
    }
}
