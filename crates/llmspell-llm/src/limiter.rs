//! The one limiter of a provider's key: who may send, and when.
//!
//! All clients of the process that call one origin with one key share it. Every try of every call passes here, in the
//! order in which the calls began, and holds no place in flight while it waits. A call whose model asked for a wait lets
//! calls of other models pass: a limit of one model does not punish its neighbours.

mod line;

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use llmspell_core::{Error, ErrorKind};
use reqwest::header::HeaderMap;
use secrecy::ExposeSecret;
use tokio::time::{Instant, sleep_until};

use self::line::{Gate, Joined};
use crate::breaker::is_down;
use crate::config::ProviderConfig;
use crate::pace::Pace;
use crate::told::Limits;

/// The limiters in use.
static IN_USE: LazyLock<Mutex<InUse>> = LazyLock::new(Mutex::default);

#[derive(Default)]
struct InUse {
    /// What makes a digest of an origin and its key; it has a secret of this process's own.
    hasher: RandomState,
    limiters: HashMap<u64, Weak<Limiter>>,
}

/// Lets the calls of one key through.
#[derive(Debug)]
pub(crate) struct Limiter {
    gate: Mutex<Gate>,
    next: AtomicU64,
}

/// A call, as it waits for its turns.
#[derive(Debug, Clone)]
pub(crate) struct Turn {
    /// Its number: who has a lower one goes first.
    pub(crate) number: u64,
    /// The model that it asks; empty where it asks none, such as for a list of models.
    pub(crate) model: Arc<str>,
    /// Tokens that it takes, roughly; none when they are not limited.
    pub(crate) tokens: u64,
    /// Whether there is another provider to go to.
    pub(crate) has_fallback: bool,
    /// Whether it was tried before.
    pub(crate) is_again: bool,
    /// Until when it can wait.
    pub(crate) patience: Instant,
}

/// Why a call may not send.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Refused {
    /// A limit leaves no room in the time that is left.
    Limit {
        /// The limit, in words.
        limit: String,
        wait: Duration,
    },
    /// The provider counts as down.
    Down { failures: u32, wait: Duration },
    /// The time is up.
    Late,
}

impl Limiter {
    /// The limiter of a provider's key.
    pub(crate) fn of(config: &ProviderConfig, pace: Pace) -> Arc<Self> {
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

    /// A limiter that nobody else shares.
    pub(crate) fn alone(pace: Pace) -> Arc<Self> {
        Arc::new(Self { gate: Mutex::new(Gate::new(pace, Instant::now())), next: AtomicU64::new(0) })
    }

    fn gate(&self) -> MutexGuard<'_, Gate> {
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number of a call that begins.
    pub(crate) fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// Whether the tokens of a call matter.
    pub(crate) fn counts_tokens(&self) -> bool {
        self.gate().counts_tokens()
    }

    /// Waits until a try of this call may be sent.
    ///
    /// # Errors
    /// At once when it cannot be in time, and when the provider is down.
    pub(crate) async fn pass(self: &Arc<Self>, turn: &Turn) -> Result<Pass, Refused> {
        let joined = self.gate().join(turn, Instant::now());
        let mut place = Place { limiter: self, joined, turn };
        loop {
            let wait = {
                let now = Instant::now();
                let mut gate = self.gate();
                match gate.step(turn, &mut place.joined, now)? {
                    None => {
                        let probes = gate.enter(turn, now);
                        return Ok(Pass {
                            limiter: Arc::clone(self),
                            model: Arc::clone(&turn.model),
                            tokens: turn.tokens,
                            probes,
                            told: false,
                        });
                    }
                    Some(until) => until.min(turn.patience),
                }
            };
            tokio::select! {
                () = place.joined.woken.notified() => {}
                () = sleep_until(wait) => {
                    if Instant::now() >= turn.patience {
                        return Err(Refused::Late);
                    }
                }
            }
        }
    }

    /// Learns from the head of an answer to a call of this model.
    pub(crate) fn heard(&self, model: &str, status: u16, headers: &HeaderMap) {
        self.gate().learn(&model.into(), &Limits::read(status, headers), Instant::now());
    }

    /// A call of this model failed, with all its tries.
    pub(crate) fn lost(&self, model: &Arc<str>, error: &Error) {
        if is_down(error) {
            self.gate().lost(model, Instant::now());
        }
    }
}

/// A place in the line. Whoever leaves it, sent or not, makes room for the next.
struct Place<'a> {
    limiter: &'a Limiter,
    joined: Joined,
    turn: &'a Turn,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.limiter.gate().leave(self.turn, Instant::now());
    }
}

/// A try that was let through: it is in flight for as long as this lives.
#[derive(Debug)]
pub(crate) struct Pass {
    limiter: Arc<Limiter>,
    model: Arc<str>,
    tokens: u64,
    probes: bool,
    /// Whether it is known how it went.
    told: bool,
}

impl Pass {
    /// The provider answers.
    pub(crate) fn worked(&mut self) {
        self.told = true;
        self.limiter.gate().worked(&self.model, Instant::now());
    }

    /// The try failed.
    pub(crate) fn failed(mut self, error: &Error) {
        self.told = true;
        let mut gate = self.limiter.gate();
        gate.failed(&self.model, error, self.probes, Instant::now());
    }

    /// What it used is known.
    pub(crate) fn used(&mut self, tokens: u64) {
        if self.tokens > 0 {
            self.limiter.gate().correct(self.tokens, tokens, Instant::now());
            self.tokens = tokens;
        }
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        let (mut gate, now) = (self.limiter.gate(), Instant::now());
        if !self.told {
            gate.told_nothing(&self.model, self.probes, now);
        }
        gate.ended(now);
    }
}

impl Refused {
    /// Why, in words.
    fn told(&self, provider: &str, patience: Duration) -> String {
        match self {
            Self::Limit { limit, wait } => format!(
                "{provider}: {limit}: it would take {:.1} s, and {:.1} s are left",
                wait.as_secs_f64(),
                patience.as_secs_f64()
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

    /// The error of a call that was never sent.
    pub(crate) fn error(&self, provider: &str, patience: Duration) -> Error {
        let (kind, wait) = match self {
            Self::Limit { wait, .. } => (ErrorKind::RateLimited, Some(*wait)),
            Self::Down { wait, .. } => (ErrorKind::Overloaded, Some(*wait)),
            Self::Late => (ErrorKind::Timeout, None),
        };
        let mut error = Error::new(kind, self.told(provider, patience)).with_retryable(true);
        error.call_mut().retry_after = wait.map(|wait| wait.as_secs_f64());
        error
    }

    /// What is added to the error of a call that was sent before.
    pub(crate) fn hint(&self, provider: &str, patience: Duration) -> String {
        format!("not tried again: {}", self.told(provider, patience))
    }
}

#[cfg(test)]
mod tests;
