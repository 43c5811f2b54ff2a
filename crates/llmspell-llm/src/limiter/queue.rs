//! The state of a limiter and its decisions. Nothing here waits; the time is always an argument.
//!
//! Two kinds of limits apply:
//!
//! - *Per key*: calls in flight, requests per minute and tokens per minute.
//! - *Per model*: the hold that a `Retry-After` or an exhausted limit asks for, the slow start after it, and the circuit
//!   breaker.
//!
//! Each model has a queue of its own, ordered by call number. The next call to send is the oldest of the first calls of
//! all models that are not blocked. So a call that waits for its model does not block calls of other models behind it.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use llmspell_core::{Error, ErrorKind};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::{LimiterRefusal, QueueTicket};
use crate::breaker::{Breaker, is_down};
use crate::bucket::Bucket;
use crate::rate_limit_headers::{RateLimit, ReportedLimits};
use crate::rate_limits::{IN_FLIGHT, RateLimits};
use crate::retry::{LONGEST_WAIT, LONGEST_WAIT_WITH_FALLBACK};

/// Longer than the process lives, and still short enough to be added to an `Instant`.
const FOR_EVER: Duration = Duration::from_secs(1 << 32);

/// How many models are stored before idle ones are removed.
const MOST_MODELS: usize = 64;

/// A call in the queue.
#[derive(Debug)]
pub(super) struct QueuedCall {
    /// Notified when the call may be next.
    pub(super) woken: Arc<Notify>,
    /// Whether the call was already checked against the length of the queue.
    looked: bool,
}

#[derive(Debug)]
struct Waiter {
    tokens: u64,
    woken: Arc<Notify>,
}

/// A back-off: a period in which no call is sent.
#[derive(Debug, Clone, Copy)]
struct Backoff {
    /// The end of the hold; at most [`LONGEST_WAIT`] after its start.
    until: Instant,
    /// The end that the provider asked for.
    asked: Instant,
}

impl Backoff {
    /// Creates a hold that begins now, for as long as a provider asks.
    fn new(asked: Duration, now: Instant) -> Self {
        let asked = asked.min(FOR_EVER);
        Self { until: now + asked.min(LONGEST_WAIT), asked: now + asked }
    }

    /// Returns how long a call has to wait for the end of the hold.
    ///
    /// # Errors
    /// When the provider asked for more than [`LONGEST_WAIT`], or for more than the call's deadline allows, or for so
    /// much that the call had better fall back.
    fn wait(self, turn: &QueueTicket, whom: &str, now: Instant) -> Result<Duration, LimiterRefusal> {
        let asked = self.asked.saturating_duration_since(now);
        let longest = if turn.has_fallback { LONGEST_WAIT_WITH_FALLBACK } else { LONGEST_WAIT };
        if asked > longest || self.until > turn.deadline {
            let limit = format!("the provider asked not to be called{whom} for a while");
            return Err(LimiterRefusal::Limit { limit, wait: asked });
        }
        Ok(self.until.saturating_duration_since(now))
    }
}

/// Returns the hold if it is still active.
fn active(hold: Option<Backoff>, now: Instant) -> Option<Backoff> {
    hold.filter(|hold| hold.until > now)
}

/// Starts a hold, unless a longer one is active. Returns whether it did.
fn extend(hold: &mut Option<Backoff>, asked: Duration, now: Instant) -> bool {
    let new = Backoff::new(asked, now);
    let is_longer = active(*hold, now).is_none_or(|known| known.asked < new.asked);
    if is_longer {
        *hold = Some(new);
    }
    is_longer
}

/// The state of one model of the key.
#[derive(Debug)]
struct ModelState {
    hold: Option<Backoff>,
    breaker: Breaker,
    /// The model's waiting calls by number.
    line: BTreeMap<u64, Waiter>,
    /// The number of tries in flight without an outcome.
    unheard: usize,
    /// The maximum of `unheard`. It is halved when the provider is overloaded, and grows by one with each success.
    window: usize,
}

impl Default for ModelState {
    fn default() -> Self {
        Self {
            hold: None,
            breaker: Breaker::default(),
            line: BTreeMap::new(),
            unheard: 0,
            window: usize::MAX,
        }
    }
}

impl ModelState {
    /// Whether none of the model's calls may be sent now, regardless of the limits per key.
    fn is_blocked(&self, now: Instant) -> bool {
        active(self.hold, now).is_some() || self.unheard >= self.window
    }

    /// Starts a hold of the model. Afterwards calls restart one at a time, so that the waiting calls do not arrive as a
    /// burst. Returns whether the hold is new or longer.
    fn hold_for(&mut self, asked: Duration, now: Instant) -> bool {
        if asked.is_zero() {
            return false;
        }
        self.window = 1;
        extend(&mut self.hold, asked, now)
    }

    /// Wakes all waiting calls of the model.
    fn wake_all(&self) {
        self.line.values().for_each(|waiting| waiting.woken.notify_one());
    }

    /// Whether the model's state can be removed: no call waits, no try lacks an outcome, and no hold or breaker is
    /// active.
    fn is_idle(&self, now: Instant) -> bool {
        self.line.is_empty()
            && self.unheard == 0
            && active(self.hold, now).is_none()
            && !self.breaker.is_open(now)
    }
}

/// The buckets of requests and tokens per minute.
#[derive(Debug, Default)]
struct Rates {
    requests: Option<Bucket>,
    tokens: Option<Bucket>,
}

/// How long a limit per minute makes a call wait.
#[derive(Debug, Default)]
struct RateDelay {
    wait: Duration,
    limit: u64,
    told: &'static str,
}

impl fmt::Display for RateDelay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.limit, self.told)
    }
}

#[derive(Debug)]
pub(super) struct LimiterState {
    pace: RateLimits,
    /// The limits that users configure.
    ours: Rates,
    /// The limits that the provider's headers report.
    theirs: Rates,
    /// The models by name. A proxy may serve any number of models, so idle ones are removed.
    models: HashMap<Arc<str>, ModelState>,
    in_flight: usize,
}

impl LimiterState {
    pub(super) fn new(pace: RateLimits, now: Instant) -> Self {
        let mut gate = Self {
            pace: RateLimits::default(),
            ours: Rates::default(),
            theirs: Rates::default(),
            models: HashMap::new(),
            in_flight: 0,
        };
        gate.tighten(pace, now);
        gate
    }

    /// Applies the stricter of the current limits and these.
    pub(super) fn tighten(&mut self, pace: RateLimits, now: Instant) {
        let pace = self.pace.stricter(pace);
        if pace.requests_per_minute != self.pace.requests_per_minute {
            self.ours.requests =
                pace.requests_per_minute.map(|limit| Bucket::strict(limit.get().into(), now));
        }
        if pace.tokens_per_minute != self.pace.tokens_per_minute {
            self.ours.tokens = pace.tokens_per_minute.map(|limit| Bucket::strict(limit.get(), now));
        }
        self.pace = pace;
    }

    fn most(&self) -> usize {
        self.pace.in_flight.map_or(IN_FLIGHT, std::num::NonZeroUsize::get)
    }

    pub(super) fn counts_tokens(&self) -> bool {
        self.ours.tokens.is_some() || self.theirs.tokens.is_some()
    }

    /// Returns how many models are stored.
    #[cfg(test)]
    pub(super) fn models(&self) -> usize {
        self.models.len()
    }

    /// Returns the state of a model, created if it is new.
    fn model(&mut self, name: &Arc<str>, now: Instant) -> &mut ModelState {
        if self.models.len() >= MOST_MODELS && !self.models.contains_key(name) {
            self.models.retain(|_, model| !model.is_idle(now));
        }
        self.models.entry(Arc::clone(name)).or_default()
    }

    pub(super) fn join(&mut self, turn: &QueueTicket, now: Instant) -> QueuedCall {
        let woken = Arc::new(Notify::new());
        let waiting = Waiter { tokens: turn.tokens, woken: Arc::clone(&woken) };
        self.model(&turn.model, now).line.insert(turn.number, waiting);
        QueuedCall { woken, looked: false }
    }

    pub(super) fn leave(&mut self, turn: &QueueTicket, now: Instant) {
        self.model(&turn.model, now).line.remove(&turn.number);
        self.wake_first(now);
    }

    /// Returns the oldest waiting call of all models that are not blocked.
    fn first(&self, now: Instant) -> Option<(u64, &Waiter)> {
        let ready = self.models.values().filter(|model| !model.is_blocked(now));
        let firsts = ready.filter_map(|model| model.line.first_key_value());
        firsts.map(|(number, waiting)| (*number, waiting)).min_by_key(|(number, _)| *number)
    }

    fn wake_first(&self, now: Instant) {
        if let Some((_, waiting)) = self.first(now) {
            waiting.woken.notify_one();
        }
    }

    /// Decides whether a call may be sent now. Returns `None` if it may, else the instant at which to check again if
    /// nothing wakes the call before.
    ///
    /// # Errors
    /// When the call may not be sent, or cannot be sent before its deadline.
    pub(super) fn step(
        &mut self,
        turn: &QueueTicket,
        joined: &mut QueuedCall,
        now: Instant,
    ) -> Result<Option<Instant>, LimiterRefusal> {
        let model = self.model(&turn.model, now);
        if let Some(wait) = model.breaker.turns_away(now, turn.has_fallback, turn.is_again) {
            return Err(LimiterRefusal::Down { failures: model.breaker.failures(), wait });
        }
        if let Some(hold) = active(model.hold, now) {
            let whom = if turn.model.is_empty() { String::new() } else { format!(" with `{}`", turn.model) };
            let wait = hold.wait(turn, &whom, now)?;
            return Ok(Some(now + wait));
        }
        let is_slow = model.is_blocked(now);
        let mut wait = Duration::ZERO;
        let is_first = self.first(now).is_none_or(|(first, _)| first >= turn.number);
        if is_first || !joined.looked {
            joined.looked = true;
            // While a model is on hold, its waiting calls use none of the limits per minute.
            let models = self.models.values().filter(|model| active(model.hold, now).is_none());
            let earlier = models.flat_map(|model| model.line.range(..turn.number));
            let before = earlier.fold((0, 0_u64), |(calls, tokens), (_, waiting)| {
                (calls + 1, tokens.saturating_add(waiting.tokens))
            });
            let rated = self.rated(turn.tokens, before, now);
            if now + rated.wait > turn.deadline {
                return Err(LimiterRefusal::Limit { limit: rated.to_string(), wait: rated.wait });
            }
            wait = wait.max(rated.wait);
        }
        let is_full = is_slow || self.in_flight >= self.most();
        Ok(match is_first && !is_full {
            true => (!wait.is_zero()).then(|| now + wait),
            // The call that frees a slot wakes this one.
            false => Some(turn.deadline),
        })
    }

    /// Returns the limit per minute that makes a call wait longest, given the calls and tokens before it.
    fn rated(&self, tokens: u64, before: (u64, u64), now: Instant) -> RateDelay {
        let rated = |bucket: &Option<Bucket>, amount, before, told| {
            let bucket = bucket.as_ref()?;
            Some(RateDelay { wait: bucket.wait(amount, before, now), limit: bucket.limit(), told })
        };
        let (ours, theirs) = (&self.ours, &self.theirs);
        [
            rated(&ours.requests, 1, before.0, "requests a minute are allowed"),
            rated(&ours.tokens, tokens, before.1, "tokens a minute are allowed"),
            rated(&theirs.requests, 1, before.0, "requests a minute are what the provider allows"),
            rated(&theirs.tokens, tokens, before.1, "tokens a minute are what the provider allows"),
        ]
        .into_iter()
        .flatten()
        .max_by_key(|rated| rated.wait)
        .unwrap_or_default()
    }

    /// Counts a call as in flight. Returns whether it is the probe of an open circuit breaker.
    pub(super) fn enter(&mut self, turn: &QueueTicket, now: Instant) -> bool {
        for rates in [&mut self.ours, &mut self.theirs] {
            rates.requests.iter_mut().for_each(|bucket| bucket.take(1, now));
            rates.tokens.iter_mut().for_each(|bucket| bucket.take(turn.tokens, now));
        }
        self.in_flight += 1;
        let model = self.model(&turn.model, now);
        model.unheard += 1;
        model.breaker.begin()
    }

    /// Counts a call as no longer in flight.
    pub(super) fn ended(&mut self, now: Instant) {
        self.in_flight = self.in_flight.saturating_sub(1);
        self.wake_first(now);
    }

    pub(super) fn worked(&mut self, name: &Arc<str>, now: Instant) {
        let model = self.model(name, now);
        model.unheard = model.unheard.saturating_sub(1);
        model.window = model.window.saturating_add(1);
        model.breaker.up();
        self.wake_first(now);
    }

    pub(super) fn failed(&mut self, name: &Arc<str>, error: &Error, probed: bool, now: Instant) {
        let model = self.model(name, now);
        let mut wakes = false;
        if matches!(error.kind(), ErrorKind::RateLimited | ErrorKind::Overloaded) {
            model.window = (model.window.min(model.unheard) / 2).max(1);
            let asked = error.call().and_then(|call| call.retry_after);
            if let Some(asked) = asked.and_then(|asked| Duration::try_from_secs_f64(asked).ok()) {
                wakes = model.hold_for(asked, now);
            }
        }
        model.unheard = model.unheard.saturating_sub(1);
        if is_down(error) {
            // A waiting call may have a fallback: it must check the breaker again.
            wakes |= model.breaker.down(now, probed);
        } else if error.call().is_some_and(|call| call.status.is_some()) {
            model.breaker.up();
        } else if probed {
            model.breaker.learned_nothing();
        }
        if wakes {
            model.wake_all();
            self.wake_first(now);
        }
    }

    /// Records that a call failed after all its tries.
    pub(super) fn lost(&mut self, name: &Arc<str>, now: Instant) {
        self.model(name, now).breaker.lost();
    }

    /// Records that a try ended without an outcome.
    pub(super) fn told_nothing(&mut self, name: &Arc<str>, probed: bool, now: Instant) {
        let model = self.model(name, now);
        model.unheard = model.unheard.saturating_sub(1);
        if probed {
            model.breaker.learned_nothing();
        }
    }

    pub(super) fn correct(&mut self, guessed: u64, used: u64, now: Instant) {
        for bucket in [&mut self.ours.tokens, &mut self.theirs.tokens].into_iter().flatten() {
            bucket.correct(guessed, used);
        }
        self.wake_first(now);
    }

    /// Updates the limits from the headers of an answer to a call of this model.
    ///
    /// A `Retry-After` and an exhausted limit hold this model only: the providers count per model, and a limit of one
    /// model must not close the key. What is left of a limit paces all calls of the key.
    pub(super) fn learn(&mut self, name: &Arc<str>, limits: &ReportedLimits, now: Instant) {
        learn(&mut self.theirs.requests, limits.requests, now);
        learn(&mut self.theirs.tokens, limits.tokens, now);
        let told = [limits.requests, limits.tokens].into_iter().chain(limits.one_way);
        let used_up = told.filter_map(|told| told.wait()).max().unwrap_or_default();
        let model = self.model(name, now);
        if model.hold_for(limits.retry_after.unwrap_or_default().max(used_up), now) {
            model.wake_all();
            self.wake_first(now);
        }
    }
}

/// Updates one bucket. A limit of 0 is ignored, because it would block all calls for ever. An exhausted limit is the
/// hold of one model, and does not empty the bucket of all.
fn learn(bucket: &mut Option<Bucket>, told: RateLimit, now: Instant) {
    let Some(limit) = told.limit.filter(|limit| *limit > 0) else { return };
    let known = match bucket {
        Some(known) if known.limit() == limit => known,
        Some(known) => {
            *known = known.with_limit(limit, now);
            known
        }
        None => bucket.insert(Bucket::of_provider(limit, now)),
    };
    if let Some(left) = told.left.filter(|left| *left > 0) {
        known.at_most(left, told.reset, now);
    }
}
