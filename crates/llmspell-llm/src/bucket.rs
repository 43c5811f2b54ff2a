//! What may be used of a limit a minute: an allowance that comes back as time goes by.
//!
//! Our own and not the `governor` crate (0.10): there a limit is fixed when it is made, and what headers teach would
//! need a new one that has forgotten what was used; whoever waits races for the next cell, so nobody's turn is kept;
//! and time is its own clock's, which a test cannot pause together with tokio's.

use std::time::Duration;

use tokio::time::Instant;

/// A minute, and a little: calls may take longer on their way than those a minute later, and must not meet there.
const MINUTE: f64 = 61.0;

/// Sums of fractions are not exact.
const TOLERANCE: f64 = 1e-6;

/// The longest time that is reckoned with.
const FOR_EVER: f64 = 1e9;

/// An allowance that comes back as time goes by.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Bucket {
    limit: u64,
    /// The most that there can be, and so the most that is used at once.
    capacity: f64,
    per_second: f64,
    /// Below zero after a use of more than there can be.
    level: f64,
    at: Instant,
}

#[expect(clippy::cast_precision_loss, reason = "calls and tokens a minute are far below 2^53")]
impl Bucket {
    /// At most so many in any minute: a tenth at once, the others one after another.
    pub(crate) fn strict(limit: u64, now: Instant) -> Self {
        let capacity = (limit / 10).max(1);
        // A full bucket and what comes back in a minute are, together, the limit.
        let per_second = (limit.saturating_sub(capacity) + 1) as f64 / MINUTE;
        Self { limit, capacity: capacity as f64, per_second, level: capacity as f64, at: now }
    }

    /// As providers have it: the whole limit at once, and as much again in a minute.
    pub(crate) fn of_provider(limit: u64, now: Instant) -> Self {
        Self { limit, capacity: limit as f64, per_second: limit as f64 / 60.0, level: limit as f64, at: now }
    }

    /// The limit a minute.
    pub(crate) fn limit(&self) -> u64 {
        self.limit
    }

    /// The bucket with another limit, of which as much is used as of this one.
    pub(crate) fn with_limit(&self, limit: u64, now: Instant) -> Self {
        let used = self.capacity - self.level_at(now);
        let mut new = Self::of_provider(limit, now);
        new.level -= used;
        new
    }

    /// Learns that no more than this is left, and when all of it is back. Where that is sooner than a minute allows, the
    /// limit is one of a shorter time.
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

    /// How long it takes until this much may be used after those that come before have used theirs. What is more than
    /// there can be at once is used when the bucket is full, and owed.
    pub(crate) fn wait(&self, amount: u64, before: u64, now: Instant) -> Duration {
        let missing = before as f64 + (amount as f64).min(self.capacity) - self.level_at(now);
        if missing <= TOLERANCE {
            return Duration::ZERO;
        }
        // Not less than what a timer can tell.
        Duration::from_secs_f64((missing / self.per_second).clamp(0.001, FOR_EVER))
    }

    /// Uses this much.
    pub(crate) fn take(&mut self, amount: u64, now: Instant) {
        self.level = self.level_at(now) - amount as f64;
        self.at = now;
    }

    /// Corrects a use that was guessed.
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
