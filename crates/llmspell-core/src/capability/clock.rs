//! The capabilities of clock and randomness.

use std::time::{Duration, SystemTime};

use crate::effect::Permit;
use crate::error::Result;

/// A clock, implemented by the embedder.
pub trait Clock: Send + Sync {
    /// Returns the wall-clock time.
    fn now(&self, permit: Permit) -> SystemTime;

    /// Returns the time since an arbitrary, fixed moment. It is monotonic.
    fn ticks(&self, permit: Permit) -> Duration;
}

/// A source of cryptographic randomness, implemented by the embedder.
pub trait Random: Send + Sync {
    /// Fills a buffer with random bytes.
    ///
    /// # Errors
    /// Returns an error when the system has no randomness.
    fn fill(&self, permit: Permit, bytes: &mut [u8]) -> Result<()>;
}
