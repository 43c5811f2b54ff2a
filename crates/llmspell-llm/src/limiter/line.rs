//! What a limiter knows, and its decisions. Nothing here waits.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use llmspell_core::{Error, ErrorKind};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::{Refused, Turn};
use crate::breaker::{Breaker, is_down};
use crate::bucket::Bucket;
use crate::pace::{IN_FLIGHT, Pace};
use crate::retry::LONGEST_WAIT;
use crate::told::{Limits, Told};

/// Longer than any process lives: what clocks can still be set to.
const FOR_EVER: Duration = Duration::from_secs(1 << 32);

/// A call that waits in the line.
#[derive(Debug)]
pub(super) struct Joined {
    /// Told when it may be its turn.
    pub(super) woken: Arc<Notify>,
    /// Whether it was looked at whether the line is too long for it.
    looked: bool,
}

#[derive(Debug)]
struct Waiting {
    tokens: u64,
    woken: Arc<Notify>,
}

/// No call is sent before this.
#[derive(Debug, Clone, Copy)]
struct Hold {
    /// When it is over: at the latest after what a call would wait.
    until: Instant,
    /// What the provider asked for.
    asked: Instant,
}

/// Requests and tokens a minute.
#[derive(Debug, Default)]
struct Rates {
    requests: Option<Bucket>,
    tokens: Option<Bucket>,
}

/// How long a limit a minute lets a call wait.
#[derive(Debug, Default)]
struct Rated {
    wait: Duration,
    limit: u64,
    told: &'static str,
}

impl fmt::Display for Rated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.limit, self.told)
    }
}

#[derive(Debug)]
pub(super) struct Gate {
    pace: Pace,
    /// What users allow.
    ours: Rates,
    /// What the provider's headers tell.
    theirs: Rates,
    hold: Option<Hold>,
    pub(super) breaker: Breaker,
    /// By the numbers of the calls.
    line: BTreeMap<u64, Waiting>,
    in_flight: usize,
    /// Those in flight of which nothing was heard yet.
    unheard: usize,
    /// How many of those there may be: fewer after the provider had no room, one more after each try that worked.
    window: usize,
}

impl Gate {
    pub(super) fn new(pace: Pace, now: Instant) -> Self {
        let mut gate = Self {
            pace: Pace::default(),
            ours: Rates::default(),
            theirs: Rates::default(),
            hold: None,
            breaker: Breaker::default(),
            line: BTreeMap::new(),
            in_flight: 0,
            unheard: 0,
            window: usize::MAX,
        };
        gate.tighten(pace, now);
        gate
    }

    /// Takes the stricter of the limits that hold and these.
    pub(super) fn tighten(&mut self, pace: Pace, now: Instant) {
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

    pub(super) fn join(&mut self, turn: Turn) -> Joined {
        let woken = Arc::new(Notify::new());
        self.line.insert(turn.number, Waiting { tokens: turn.tokens, woken: Arc::clone(&woken) });
        Joined { woken, looked: false }
    }

    pub(super) fn leave(&mut self, number: u64) {
        self.line.remove(&number);
        self.wake_first();
    }

    fn wake_first(&self) {
        if let Some((_, waiting)) = self.line.first_key_value() {
            waiting.woken.notify_one();
        }
    }

    fn wake_all(&self) {
        self.line.values().for_each(|waiting| waiting.woken.notify_one());
    }

    /// Whether a call may be sent now: `None` if it may, else when to look again if nothing happens before.
    ///
    /// # Errors
    /// When it may not, nor will in time.
    pub(super) fn step(
        &mut self,
        turn: &Turn,
        joined: &mut Joined,
        now: Instant,
    ) -> Result<Option<Instant>, Refused> {
        if let Some(wait) = self.breaker.turns_away(now, turn.has_fallback, turn.is_again) {
            return Err(Refused::Down { failures: self.breaker.failures(), wait });
        }
        let held = self.held(turn, now)?;
        let is_first = self.line.first_key_value().is_none_or(|(first, _)| *first >= turn.number);
        let mut wait = held;
        if is_first || !joined.looked {
            joined.looked = true;
            let before = self.line.range(..turn.number).fold((0, 0_u64), |(calls, tokens), (_, waiting)| {
                (calls + 1, tokens.saturating_add(waiting.tokens))
            });
            let rated = self.rated(turn.tokens, before, now);
            if now + rated.wait > turn.patience {
                return Err(Refused::Limit { limit: rated.to_string(), wait: rated.wait });
            }
            wait = wait.max(rated.wait);
        }
        let is_full = self.in_flight >= self.most() || self.unheard >= self.window;
        Ok(match is_first && !is_full {
            true => (!wait.is_zero()).then(|| now + wait),
            // Whoever makes room says so.
            false => Some(turn.patience),
        })
    }

    /// How long no call may be sent.
    fn held(&mut self, turn: &Turn, now: Instant) -> Result<Duration, Refused> {
        let Some(hold) = self.hold.filter(|hold| hold.until > now) else {
            self.hold = None;
            return Ok(Duration::ZERO);
        };
        let asked = hold.asked.saturating_duration_since(now);
        if asked > LONGEST_WAIT || hold.until > turn.patience {
            let limit = "the provider asked not to be called for a while".to_owned();
            return Err(Refused::Limit { limit, wait: asked });
        }
        Ok(hold.until - now)
    }

    /// What is allowed a minute, by the limit that lets a call wait longest after those before it.
    fn rated(&self, tokens: u64, before: (u64, u64), now: Instant) -> Rated {
        let rated = |bucket: &Option<Bucket>, amount, before, told| {
            let bucket = bucket.as_ref()?;
            Some(Rated { wait: bucket.wait(amount, before, now), limit: bucket.limit(), told })
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

    /// Sends a call: it is in flight from now on. Returns whether it finds out if the provider is back.
    pub(super) fn enter(&mut self, turn: &Turn, now: Instant) -> bool {
        for rates in [&mut self.ours, &mut self.theirs] {
            rates.requests.iter_mut().for_each(|bucket| bucket.take(1, now));
            rates.tokens.iter_mut().for_each(|bucket| bucket.take(turn.tokens, now));
        }
        self.in_flight += 1;
        self.unheard += 1;
        self.breaker.begin()
    }

    /// A call is in flight no more.
    pub(super) fn ended(&mut self) {
        self.in_flight = self.in_flight.saturating_sub(1);
        self.wake_first();
    }

    pub(super) fn worked(&mut self) {
        self.unheard = self.unheard.saturating_sub(1);
        self.window = self.window.saturating_add(1);
        self.breaker.up();
        self.wake_first();
    }

    pub(super) fn failed(&mut self, error: &Error, probed: bool, now: Instant) {
        if matches!(error.kind(), ErrorKind::RateLimited | ErrorKind::Overloaded) {
            self.window = (self.window.min(self.unheard) / 2).max(1);
            let asked = error.call().and_then(|call| call.retry_after);
            if let Some(asked) = asked.and_then(|asked| Duration::try_from_secs_f64(asked).ok()) {
                self.hold_for(asked, now);
            }
        }
        self.unheard = self.unheard.saturating_sub(1);
        if is_down(error) {
            if self.breaker.down(now, probed) {
                // Those that wait may have somewhere else to go.
                self.wake_all();
            }
        } else if error.call().is_some_and(|call| call.status.is_some()) {
            self.breaker.up();
        } else if probed {
            self.breaker.learned_nothing();
        }
    }

    /// A call ended, and nothing was heard of how it went.
    pub(super) fn told_nothing(&mut self, probed: bool) {
        self.unheard = self.unheard.saturating_sub(1);
        if probed {
            self.breaker.learned_nothing();
        }
    }

    pub(super) fn correct(&mut self, guessed: u64, used: u64) {
        for bucket in [&mut self.ours.tokens, &mut self.theirs.tokens].into_iter().flatten() {
            bucket.correct(guessed, used);
        }
        self.wake_first();
    }

    /// Holds all calls for this long. After it they begin again one at a time, for those that were held are many.
    fn hold_for(&mut self, asked: Duration, now: Instant) {
        let asked = asked.min(FOR_EVER);
        if asked.is_zero() {
            return;
        }
        let hold = Hold { until: now + asked.min(LONGEST_WAIT), asked: now + asked };
        self.window = 1;
        if self.hold.is_none_or(|known| known.asked < hold.asked) {
            self.hold = Some(hold);
            self.wake_all();
        }
    }

    /// Learns what a provider tells of its limits.
    pub(super) fn learn(&mut self, limits: &Limits, now: Instant) {
        learn(&mut self.theirs.requests, limits.requests, now);
        learn(&mut self.theirs.tokens, limits.tokens, now);
        if let Some(asked) = limits.retry_after {
            self.hold_for(asked, now);
        }
        let told = [limits.requests, limits.tokens].into_iter().chain(limits.one_way);
        if let Some(wait) = told.filter_map(|told| told.wait()).max() {
            self.hold_for(wait, now);
        }
    }
}

/// Learns of one limit. None at all is not believed: nothing could ever be sent.
fn learn(bucket: &mut Option<Bucket>, told: Told, now: Instant) {
    let Some(limit) = told.limit.filter(|limit| *limit > 0) else { return };
    let known = match bucket {
        Some(known) if known.limit() == limit => known,
        Some(known) => {
            *known = known.with_limit(limit, now);
            known
        }
        None => bucket.insert(Bucket::of_provider(limit, now)),
    };
    if let Some(left) = told.left {
        known.at_most(left, told.reset, now);
    }
}
