//! A token bucket per minute: an allowance that refills over time.
//!
//! The `governor` crate (0.10) does not fit, for three reasons. Its limit is fixed at creation, while provider headers
//! change ours and what was used must be carried over. Its waiters race for the next cell, while our queue is ordered.
//! It has a clock of its own that a test cannot pause together with tokio's.

use std::time::Duration;

use tokio::time::Instant;

/// A minute with a margin. A call can take longer on its way than one a minute later, and both must not arrive within
/// one minute.
const MINUTE: f64 = 61.0;

/// The tolerance for rounding errors of `f64`.
const TOLERANCE: f64 = 1e-6;

/// The longest wait in seconds that is returned.
const FOR_EVER: f64 = 1e9;

/// An allowance that refills over time.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Bucket {
    limit: u64,
    /// The level of a full bucket, and so the most that can be used at once.
    capacity: f64,
    per_second: f64,
    /// The level at `at`. It is negative after a use of more than the bucket held.
    level: f64,
    at: Instant,
}

#[expect(clippy::cast_precision_loss, reason = "calls and tokens a minute are far below 2^53")]
impl Bucket {
    /// Returns a bucket that lets at most `limit` pass in any minute: a tenth at once, the rest evenly spaced.
    pub(crate) fn strict(limit: u64, now: Instant) -> Self {
        let capacity = (limit / 10).max(1);
        // The full bucket and the refill of one minute add up to the limit.
        let per_second = (limit.saturating_sub(capacity) + 1) as f64 / MINUTE;
        Self { limit, capacity: capacity as f64, per_second, level: capacity as f64, at: now }
    }

    /// Returns a bucket as providers define it: the whole limit at once, refilled within a minute.
    pub(crate) fn of_provider(limit: u64, now: Instant) -> Self {
        Self { limit, capacity: limit as f64, per_second: limit as f64 / 60.0, level: limit as f64, at: now }
    }

    /// Returns the limit per minute.
    pub(crate) fn limit(&self) -> u64 {
        self.limit
    }

    /// Returns a bucket with a new limit and the same usage.
    pub(crate) fn with_limit(&self, limit: u64, now: Instant) -> Self {
        let used = self.capacity - self.level_at(now);
        let mut new = Self::of_provider(limit, now);
        new.level -= used;
        new
    }

    /// Applies what a provider reports: at most `left` remains, and the bucket is full after `reset`. If `reset`
    /// implies a faster refill than `limit` per minute, the provider's limit is for a shorter period, and the faster
    /// refill applies.
    pub(crate) fn at_most(&mut self, left: u64, reset: Option<Duration>, now: Instant) {
        self.level = self.level_at(now).min(left as f64);
        self.at = now;
        if let Some(reset) = reset.filter(|reset| !reset.is_zero()) {
            let told = self.limit.saturating_sub(left) as f64 / reset.as_secs_f64();
            self.per_second = (self.limit as f64 / 60.0).max(told);
        }
    }

    fn level_at(&self, now: Instant) -> f64 {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        (self.level + passed * self.per_second).min(self.capacity)
    }

    /// Returns the wait until `amount` can be used, after `before` is used by earlier calls. An amount above the
    /// capacity can be used as soon as the bucket is full; the bucket's level is then negative.
    pub(crate) fn wait(&self, amount: u64, before: u64, now: Instant) -> Duration {
        let missing = before as f64 + (amount as f64).min(self.capacity) - self.level_at(now);
        if missing <= TOLERANCE {
            return Duration::ZERO;
        }
        // Tokio's timer has a resolution of one millisecond.
        Duration::from_secs_f64((missing / self.per_second).clamp(0.001, FOR_EVER))
    }

    /// Uses this amount.
    pub(crate) fn take(&mut self, amount: u64, now: Instant) {
        self.level = self.level_at(now) - amount as f64;
        self.at = now;
    }

    /// Replaces an estimated use by the actual one.
    pub(crate) fn correct(&mut self, guessed: u64, used: u64) {
        self.level = (self.level + guessed as f64 - used as f64).min(self.capacity);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(wait: Duration) -> f64 {
        (wait.as_secs_f64() * 100.0).round() / 100.0
    }

    #[tokio::test(start_paused = true)]
    async fn a_tenth_goes_at_once_and_the_rest_one_after_another() {
        let mut bucket = Bucket::strict(60, Instant::now());
        let begin = Instant::now();
        let mut times = Vec::new();
        for _ in 0..10 {
            tokio::time::sleep(bucket.wait(1, 0, Instant::now())).await;
            bucket.take(1, Instant::now());
            times.push(begin.elapsed().as_secs());
        }
        assert_eq!(times, [0, 0, 0, 0, 0, 0, 1, 2, 3, 4]);
        assert_eq!(bucket.wait(1, 54, Instant::now()).as_secs(), 60, "with 54 before it");
    }

    #[tokio::test(start_paused = true)]
    async fn the_smallest_limits_let_something_through() {
        for (limit, wait) in [(1, 61.0), (2, 30.5), (10, 6.1), (u64::MAX, 0.0)] {
            let mut bucket = Bucket::strict(limit, Instant::now());
            assert_eq!(bucket.wait(1, 0, Instant::now()), Duration::ZERO, "{limit}");
            bucket.take(1, Instant::now());
            assert_eq!(seconds(bucket.wait(1, 0, Instant::now())), wait, "{limit}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn more_than_there_can_be_is_owed() {
        let now = Instant::now();
        let mut bucket = Bucket::of_provider(600, now);
        assert_eq!(bucket.wait(10_000, 0, now), Duration::ZERO);
        bucket.take(1_200, now);
        assert_eq!(seconds(bucket.wait(1, 0, now)), 60.1);
        bucket.correct(1_200, 300);
        assert_eq!(bucket.wait(300, 0, now), Duration::ZERO);
        bucket.at_most(0, None, now);
        assert_eq!(seconds(bucket.wait(10, 0, now)), 1.0);
        bucket.at_most(0, Some(Duration::from_secs(1)), now);
        assert_eq!(seconds(bucket.wait(300, 0, now)), 0.5, "600 a second");
        bucket.at_most(300, Some(Duration::from_secs(3_600)), now);
        assert_eq!(seconds(bucket.wait(10, 0, now)), 1.0, "600 a day, it may be");
        bucket.correct(0, u64::MAX);
        assert!(bucket.wait(u64::MAX, u64::MAX, now) <= Duration::from_secs(1_000_000_000));
        let other = Bucket::of_provider(600, now).with_limit(60, now);
        assert_eq!((other.limit(), other.wait(60, 0, now)), (60, Duration::ZERO));
    }
}
