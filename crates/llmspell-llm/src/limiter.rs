//! The rate limiter of a provider's API key: decides when each try of a call may be sent.
//!
//! All clients of the process that call one origin with one key share one limiter ([`Limiter::of`]). A try takes these
//! steps:
//!
//! ```text
//! Turn (a call's place in the order) ── pass() ──▶ wait in the queue ──▶ Pass (permit: in flight) ──▶ worked / failed
//!                                                      │
//!                                                      └─▶ Refused: not in time, or the circuit breaker is open
//! ```
//!
//! Invariants:
//!
//! - Calls are served in the order in which they began. A retry keeps the number of its call, so it precedes younger
//!   calls.
//! - A waiting call does not occupy a slot in flight. Dropping the future of [`Limiter::pass`] leaves the queue.
//! - A `Retry-After` applies to the model that it answered. Calls of other models pass the calls that wait for it.
//! - If a rate limit or a hold would delay a call past its deadline, the call is refused at once, not after the wait.
//!
//! The limits per key are: calls in flight, requests and tokens per minute (from [`RateLimits`]), and the limits in the
//! provider's headers. Per model there are the back-off after a `Retry-After`, the slow start after it, and the circuit
//! breaker. `queue.rs` holds this state and decides; it never waits. This file waits, and turns decisions into errors.

mod queue;

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use llmspell_core::{Error, ErrorKind};
use reqwest::header::HeaderMap;
use secrecy::ExposeSecret;
use tokio::time::{Instant, sleep_until};

use self::queue::{LimiterState, QueuedCall};
use crate::breaker::is_down;
use crate::config::ProviderConfig;
use crate::rate_limit_headers::ReportedLimits;
use crate::rate_limits::RateLimits;

/// All limiters of the process that are in use.
static IN_USE: LazyLock<Mutex<InUse>> = LazyLock::new(Mutex::default);

#[derive(Default)]
struct InUse {
    /// Hashes an origin and its key. The hasher has a random secret per process, so the map does not reveal keys.
    hasher: RandomState,
    limiters: HashMap<u64, Weak<Limiter>>,
}

/// The rate limiter of one key.
#[derive(Debug)]
pub(crate) struct Limiter {
    gate: Mutex<LimiterState>,
    next: AtomicU64,
}

/// A call's place in the queue, the same for all its tries.
#[derive(Debug, Clone)]
pub(crate) struct QueueTicket {
    /// The call's number. Lower numbers go first.
    pub(crate) number: u64,
    /// The model that is called. Empty for calls without a model, such as listing models.
    pub(crate) model: Arc<str>,
    /// The estimated tokens of the call; 0 if tokens are not limited.
    pub(crate) tokens: u64,
    /// Whether the request can fall back to another model.
    pub(crate) has_fallback: bool,
    /// Whether this is a retry.
    pub(crate) is_again: bool,
    /// The instant until which the call can wait.
    pub(crate) deadline: Instant,
}

/// Why a try may not be sent.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum LimiterRefusal {
    /// A limit leaves no room before the call's deadline.
    Limit {
        /// The limit in words.
        limit: String,
        wait: Duration,
    },
    /// The circuit breaker is open.
    Down { failures: u32, wait: Duration },
    /// The call's deadline passed while it waited.
    Late,
}

impl Limiter {
    /// Returns the limiter of a provider's key, shared in the process. Of different limits, the stricter ones apply.
    pub(crate) fn of(config: &ProviderConfig, pace: RateLimits) -> Arc<Self> {
        let mut in_use = IN_USE.lock().unwrap_or_else(PoisonError::into_inner);
        let origin = config.base_url.origin().ascii_serialization();
        let digest = in_use.hasher.hash_one((origin, config.key.as_ref().map(ExposeSecret::expose_secret)));
        if let Some(limiter) = in_use.limiters.get(&digest).and_then(Weak::upgrade) {
            limiter.gate().tighten(pace, Instant::now());
            return limiter;
        }
        in_use.limiters.retain(|_, limiter| limiter.strong_count() > 0);
        let limiter = Self::alone(pace);
        in_use.limiters.insert(digest, Arc::downgrade(&limiter));
        limiter
    }

    /// Creates a limiter that is not shared.
    pub(crate) fn alone(pace: RateLimits) -> Arc<Self> {
        Arc::new(Self { gate: Mutex::new(LimiterState::new(pace, Instant::now())), next: AtomicU64::new(0) })
    }

    fn gate(&self) -> MutexGuard<'_, LimiterState> {
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the number of a new call.
    pub(crate) fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// Whether tokens are limited, so that a call needs an estimate.
    pub(crate) fn counts_tokens(&self) -> bool {
        self.gate().counts_tokens()
    }

    /// Waits until a try of this call may be sent.
    ///
    /// # Errors
    /// At once when the try cannot be sent before the call's deadline, or when the circuit breaker is open.
    pub(crate) async fn pass(self: &Arc<Self>, turn: &QueueTicket) -> Result<AttemptPermit, LimiterRefusal> {
        let joined = self.gate().join(turn, Instant::now());
        let mut place = QueueSlot { limiter: self, joined, turn };
        loop {
            let wait = {
                let now = Instant::now();
                let mut gate = self.gate();
                match gate.step(turn, &mut place.joined, now)? {
                    None => {
                        let probes = gate.enter(turn, now);
                        return Ok(AttemptPermit {
                            limiter: Arc::clone(self),
                            model: Arc::clone(&turn.model),
                            tokens: turn.tokens,
                            probes,
                            told: false,
                        });
                    }
                    Some(until) => until.min(turn.deadline),
                }
            };
            tokio::select! {
                () = place.joined.woken.notified() => {}
                () = sleep_until(wait) => {
                    if Instant::now() >= turn.deadline {
                        return Err(LimiterRefusal::Late);
                    }
                }
            }
        }
    }

    /// Updates the limits from the status and the headers of an answer.
    pub(crate) fn heard(&self, model: &str, status: u16, headers: &HeaderMap) {
        self.gate().learn(&model.into(), &ReportedLimits::read(status, headers), Instant::now());
    }

    /// Records that a call failed after all its tries.
    pub(crate) fn lost(&self, model: &Arc<str>, error: &Error) {
        if is_down(error) {
            self.gate().lost(model, Instant::now());
        }
    }
}

/// A slot in the queue. Dropping it, with or without a permit, wakes the next call.
struct QueueSlot<'a> {
    limiter: &'a Limiter,
    joined: QueuedCall,
    turn: &'a QueueTicket,
}

impl Drop for QueueSlot<'_> {
    fn drop(&mut self) {
        self.limiter.gate().leave(self.turn, Instant::now());
    }
}

/// The permit of one try. The try counts as in flight until the permit is dropped.
#[derive(Debug)]
pub(crate) struct AttemptPermit {
    limiter: Arc<Limiter>,
    model: Arc<str>,
    tokens: u64,
    probes: bool,
    /// Whether the outcome of the try is recorded.
    told: bool,
}

impl AttemptPermit {
    /// Records that the try succeeded.
    pub(crate) fn worked(&mut self) {
        self.told = true;
        self.limiter.gate().worked(&self.model, Instant::now());
    }

    /// Records that the try failed.
    pub(crate) fn failed(mut self, error: &Error) {
        self.told = true;
        let mut gate = self.limiter.gate();
        gate.failed(&self.model, error, self.probes, Instant::now());
    }

    /// Replaces the estimated tokens by the actual ones.
    pub(crate) fn used(&mut self, tokens: u64) {
        if self.tokens > 0 {
            self.limiter.gate().correct(self.tokens, tokens, Instant::now());
            self.tokens = tokens;
        }
    }
}

impl Drop for AttemptPermit {
    fn drop(&mut self) {
        let (mut gate, now) = (self.limiter.gate(), Instant::now());
        if !self.told {
            gate.told_nothing(&self.model, self.probes, now);
        }
        gate.ended(now);
    }
}

impl LimiterRefusal {
    /// Returns the reason in words.
    fn told(&self, provider: &str, time_limit: Duration) -> String {
        match self {
            Self::Limit { limit, wait } => format!(
                "{provider}: {limit}: it would take {:.1} s, and {:.1} s are left",
                wait.as_secs_f64(),
                time_limit.as_secs_f64()
            ),
            Self::Down { failures, wait } if wait.is_zero() => {
                format!(
                    "{provider}: not asked: the last {failures} tries failed, and another call finds out now whether it is back"
                )
            }
            Self::Down { failures, wait } => format!(
                "{provider}: not asked: the last {failures} tries failed, and it is asked again in {:.1} s",
                wait.as_secs_f64()
            ),
            Self::Late => format!("{provider}: the call's time was up before its turn came"),
        }
    }

    /// Returns the error of a call that was never sent.
    pub(crate) fn error(&self, provider: &str, time_limit: Duration) -> Error {
        let (kind, wait) = match self {
            Self::Limit { wait, .. } => (ErrorKind::RateLimited, Some(*wait)),
            Self::Down { wait, .. } => (ErrorKind::Overloaded, Some(*wait)),
            Self::Late => (ErrorKind::Timeout, None),
        };
        let mut error = Error::new(kind, self.told(provider, time_limit)).with_retryable(true);
        error.call_mut().retry_after = wait.map(|wait| wait.as_secs_f64());
        error
    }

    /// Returns the hint for the error of a call that was sent before and is not retried.
    pub(crate) fn hint(&self, provider: &str, time_limit: Duration) -> String {
        format!("not tried again: {}", self.told(provider, time_limit))
    }
}

#[cfg(test)]
mod tests;
