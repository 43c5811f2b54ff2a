//! The rate limits of a provider.

use std::num::{NonZeroU32, NonZeroU64, NonZeroUsize};

/// The default maximum of calls in flight to one provider.
pub(crate) const IN_FLIGHT: usize = 32;

/// The rate limits of one provider. None is set by default.
///
/// All clients of the process that call one origin with one key share these limits. If they set different limits, the
/// strictest applies.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RateLimits {
    /// The maximum number of calls in flight; 32 if not set. A call is in flight until its answer has ended.
    pub in_flight: Option<NonZeroUsize>,
    /// The maximum number of requests in any minute, retries included. A tenth may go at once, the rest is evenly
    /// spaced.
    pub requests_per_minute: Option<NonZeroU32>,
    /// The maximum number of tokens per minute, input and output together. Estimated before a call and corrected after
    /// it.
    pub tokens_per_minute: Option<NonZeroU64>,
}

impl RateLimits {
    /// Returns the stricter of the two values for each limit.
    pub(crate) fn stricter(self, other: Self) -> Self {
        fn least<T: Ord>(one: Option<T>, other: Option<T>) -> Option<T> {
            one.into_iter().chain(other).min()
        }
        Self {
            in_flight: least(self.in_flight, other.in_flight),
            requests_per_minute: least(self.requests_per_minute, other.requests_per_minute),
            tokens_per_minute: least(self.tokens_per_minute, other.tokens_per_minute),
        }
    }
}
