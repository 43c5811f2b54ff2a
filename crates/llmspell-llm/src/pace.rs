//! How fast providers may be called.

use std::num::{NonZeroU32, NonZeroU64, NonZeroUsize};

/// Calls in flight to one provider when nobody says otherwise.
pub(crate) const IN_FLIGHT: usize = 32;

/// How fast one provider may be called. Nothing is set by default.
///
/// What holds is shared by all clients of the process that call one address with one key. Where they set different
/// limits, the strictest holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pace {
    /// Calls in flight at once; 32 when it is not set. The answer's end is the call's.
    pub in_flight: Option<NonZeroUsize>,
    /// Requests in any minute, tries again included. A tenth may go at once, the others one after another.
    pub requests_per_minute: Option<NonZeroU32>,
    /// Tokens a minute, read and written, as they are counted before a call and corrected after it.
    pub tokens_per_minute: Option<NonZeroU64>,
}

impl Pace {
    /// The stricter of two in each.
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
