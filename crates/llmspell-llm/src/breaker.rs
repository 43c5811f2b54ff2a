//! A circuit breaker: stops calls to a provider that is down.

use std::time::Duration;

use llmspell_core::{Error, ErrorKind};
use tokio::time::Instant;

use crate::retry::is_unanswered;

/// The number of consecutive failures after which the breaker opens.
const FAILURES: u32 = 5;

/// How long the breaker stays open at first. The period doubles after each failed probe.
const SHORTEST: Duration = Duration::from_secs(15);

/// The longest period for which the breaker stays open.
const LONGEST: Duration = Duration::from_secs(120);

/// A circuit breaker for the calls of one model with one key.
///
/// A call with a fallback is turned away while the breaker is open, retries included. After the period, one call at a
/// time may probe the provider.
///
/// A call without a fallback gains nothing from being turned away. It is refused only if five whole calls in a row have
/// failed and another call is probing. So a script that makes one call after another can always ask, and a failure that
/// passes within a call's retries does not affect other calls.
#[derive(Debug, Default)]
pub(crate) struct Breaker {
    /// The number of failed tries since the last success.
    failures: u32,
    /// The number of calls that failed after all their tries, since the last success.
    lost: u32,
    open: Option<OpenBreaker>,
    /// Whether a call is probing the provider.
    probing: bool,
}

#[derive(Debug, Clone, Copy)]
struct OpenBreaker {
    until: Instant,
    span: Duration,
}

/// Whether an error means that the provider is down. A refusal or a rate limit is an answer, so the provider is up.
pub(crate) fn is_down(error: &Error) -> bool {
    match error.kind() {
        ErrorKind::Network => true,
        ErrorKind::Overloaded => {
            error.call().and_then(|call| call.status).is_none_or(|status| !(300..500).contains(&status))
        }
        ErrorKind::Timeout => is_unanswered(error),
        _ => false,
    }
}

impl Breaker {
    /// Returns how long a call that is turned away should wait; `None` if it may ask.
    pub(crate) fn turns_away(&self, now: Instant, has_fallback: bool, is_again: bool) -> Option<Duration> {
        let open = self.open?;
        let left = open.until.saturating_duration_since(now);
        let away = match (has_fallback, is_again) {
            (true, _) => !left.is_zero() || self.probing,
            (false, true) => false,
            (false, false) => self.lost >= FAILURES && self.probing,
        };
        away.then_some(left)
    }

    /// Whether calls with a fallback are turned away now.
    pub(crate) fn is_open(&self, now: Instant) -> bool {
        self.open.is_some_and(|open| self.probing || open.until > now)
    }

    /// Returns the number of consecutive failed tries.
    pub(crate) fn failures(&self) -> u32 {
        self.failures
    }

    /// Records that a try begins. Returns whether it is the probe.
    pub(crate) fn begin(&mut self) -> bool {
        let probes = self.open.is_some() && !self.probing;
        self.probing |= probes;
        probes
    }

    /// Records that the probe ended without showing whether the provider is up.
    pub(crate) fn learned_nothing(&mut self) {
        self.probing = false;
    }

    /// Records that the provider answered, which closes the breaker.
    pub(crate) fn up(&mut self) {
        *self = Self::default();
    }

    /// Records that a try failed because the provider is down. Returns whether the breaker opened, or stays open for
    /// longer.
    pub(crate) fn down(&mut self, now: Instant, probed: bool) -> bool {
        self.failures = self.failures.saturating_add(1);
        if probed {
            self.probing = false;
        }
        let span = match self.open {
            Some(open) if probed && now >= open.until => (open.span * 2).min(LONGEST),
            None if self.failures >= FAILURES => SHORTEST,
            _ => return false,
        };
        self.open = Some(OpenBreaker { until: now + span, span });
        true
    }

    /// Records that a call failed, after all its tries, because the provider is down.
    pub(crate) fn lost(&mut self) {
        self.lost = self.lost.saturating_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use llmspell_core::CallInfo;

    fn seconds(breaker: &Breaker, now: Instant) -> Option<u64> {
        breaker.turns_away(now, true, false).map(|left| left.as_secs())
    }

    #[test]
    fn it_opens_after_five_failures_in_a_row_and_asks_one_at_a_time() {
        let mut now = Instant::now();
        let mut breaker = Breaker::default();
        for _ in 0..4 {
            breaker.down(now, false);
        }
        breaker.up();
        for _ in 0..4 {
            breaker.down(now, false);
            assert_eq!(seconds(&breaker, now), None);
        }
        breaker.down(now, false);
        assert_eq!(seconds(&breaker, now), Some(15));
        for expected in [30, 60, 120, 120] {
            let left = breaker.turns_away(now, true, false).unwrap();
            now += left;
            assert_eq!(seconds(&breaker, now), None);
            assert!(breaker.begin());
            assert_eq!(seconds(&breaker, now), Some(0), "one asks already");
            assert!(!breaker.begin());
            breaker.down(now, true);
            assert_eq!(seconds(&breaker, now), Some(expected));
        }
        now += LONGEST;
        assert!(breaker.begin());
        breaker.learned_nothing();
        assert_eq!(seconds(&breaker, now), None, "the next one asks");
        assert!(breaker.begin());
        breaker.up();
        assert_eq!(seconds(&breaker, now), None);
        assert!(!breaker.begin());
    }

    #[test]
    fn who_has_nowhere_else_to_go_may_ask_unless_all_fail_and_one_asks_already() {
        let now = Instant::now();
        let mut breaker = Breaker::default();
        for _ in 0..20 {
            breaker.down(now, false);
        }
        assert!(breaker.begin());
        assert_eq!(breaker.turns_away(now, false, false), None, "tries failed, and no call yet");
        for _ in 0..5 {
            breaker.lost();
        }
        assert_eq!(breaker.turns_away(now, false, false), Some(SHORTEST));
        assert_eq!(breaker.turns_away(now, false, true), None, "a call's own tries are its own");
        breaker.down(now, true);
        assert_eq!(breaker.turns_away(now, false, false), None, "nobody else asks");
        assert_eq!(seconds(&breaker, now), Some(15), "asked before its time, it does not grow");
    }

    #[test]
    fn what_a_provider_says_itself_is_no_sign_that_it_is_down() {
        let error =
            |kind, status| Error::new(kind, "x").with_call(CallInfo { status, ..CallInfo::default() });
        for (kind, status, expected) in [
            (ErrorKind::Network, None, true),
            (ErrorKind::Overloaded, Some(500), true),
            (ErrorKind::Overloaded, Some(529), true),
            (ErrorKind::Overloaded, Some(200), true),
            (ErrorKind::Overloaded, Some(408), false),
            (ErrorKind::Overloaded, Some(409), false),
            (ErrorKind::RateLimited, Some(429), false),
            (ErrorKind::Timeout, None, false),
            (ErrorKind::BadRequest, Some(400), false),
            (ErrorKind::BadResponse, Some(200), false),
        ] {
            assert_eq!(is_down(&error(kind, status)), expected, "{kind} {status:?}");
        }
        let late = error(ErrorKind::Timeout, None).with_source(crate::provider::Unanswered);
        assert!(is_down(&late));
    }
}
