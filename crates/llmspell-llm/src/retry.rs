//! Retries with exponential backoff and jitter. This is the only layer that retries.
//!
//! An error is retried if the provider was busy or not reached. A request that was sent without an answer is retried
//! only with [`RetryPolicy::repeat_paid`], because the provider may charge for both. A malformed answer is retried
//! once. A server that is loading its model is asked again until the deadline; such requests are no attempts.

use std::time::{Duration, SystemTime};

use llmspell_core::{Error, ErrorKind, Result};
use tokio::time::Instant;

use crate::provider::{Unanswered, Unsent};

/// The maximum number of tries per call, regardless of the configuration.
const MOST_ATTEMPTS: u32 = 10;

/// The longest wait that a provider may ask for. If it asks for more, the error is returned at once.
pub(crate) const LONGEST_WAIT: Duration = Duration::from_secs(120);

/// The longest wait that a provider may ask for if another model can answer the call at once.
pub(crate) const LONGEST_WAIT_WITH_FALLBACK: Duration = Duration::from_secs(1);

/// The longest pause before a server that is loading its model is asked again, unless it asks for a longer one.
const LONGEST_LOADING_WAIT: Duration = Duration::from_secs(2);

/// How failed calls are retried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// The maximum number of retries. Default 2, at most 9.
    pub retries: u32,
    /// The maximum wait before the first retry; it doubles with each retry. The actual wait is random. Default 500 ms.
    pub base: Duration,
    /// The upper limit of the wait before any retry. A wait that the provider asks for may be longer. Default 20 s.
    pub most: Duration,
    /// Whether to retry once when a request was sent and no byte came back. The provider may charge for both. Default
    /// no.
    pub repeat_paid: bool,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            retries: 2,
            base: Duration::from_millis(500),
            most: Duration::from_secs(20),
            repeat_paid: false,
        }
    }
}

impl RetryPolicy {
    /// Returns a policy without retries.
    #[must_use]
    pub fn none() -> Self {
        Self { retries: 0, ..Self::default() }
    }
}

/// The retry state of one call.
#[derive(Debug)]
pub(crate) struct RetryState {
    policy: RetryPolicy,
    deadline: Instant,
    /// The longest wait that the provider may ask for.
    longest: Duration,
    made: u32,
    not_understood: u32,
    unanswered: u32,
    /// How often the server said that it is loading the model.
    loading: u32,
}

impl RetryState {
    pub(crate) fn new(policy: RetryPolicy, deadline: Instant) -> Self {
        Self {
            policy,
            deadline,
            longest: LONGEST_WAIT,
            made: 0,
            not_understood: 0,
            unanswered: 0,
            loading: 0,
        }
    }

    /// Sets that another model can answer if this one asks for a wait.
    pub(crate) fn with_fallback(&mut self) {
        self.longest = LONGEST_WAIT_WITH_FALLBACK;
    }

    /// Counts a try that begins.
    pub(crate) fn begin(&mut self) {
        self.made += 1;
    }

    /// Takes back the last try: its request was not sent, or it only asked whether the model is loaded.
    pub(crate) fn undo(&mut self) {
        self.made = self.made.saturating_sub(1);
    }

    /// Waits until a server that is loading its model may be asked again. That is no attempt.
    ///
    /// # Errors
    /// The given error, when the wait would exceed the deadline, or is not worth it because another model can answer.
    pub(crate) async fn wait_for_model(&mut self, error: Error) -> Result<()> {
        self.undo();
        let doubled = self.policy.base.saturating_mul(2_u32.saturating_pow(self.loading.min(16)));
        self.loading += 1;
        let asked = error.call().and_then(|call| call.retry_after).map(Duration::try_from_secs_f64);
        let wait = match asked {
            Some(Ok(asked)) => asked,
            _ => doubled.min(LONGEST_LOADING_WAIT),
        };
        if wait > self.longest || Instant::now() + wait >= self.deadline {
            return Err(error);
        }
        tokio::time::sleep(wait).await;
        Ok(())
    }

    /// Returns the number of tries so far.
    pub(crate) fn made(&self) -> u32 {
        self.made
    }

    /// Waits until the call may be retried.
    ///
    /// # Errors
    /// The given error, when it is not retryable or the wait would exceed the deadline.
    pub(crate) async fn wait(&mut self, error: Error) -> Result<()> {
        let Some(wait) = self.next_wait(&error) else { return Err(error) };
        if Instant::now() + wait >= self.deadline {
            let hint = format!(
                "not tried again: a wait of {:.1} s would outlast the time that is left",
                wait.as_secs_f64()
            );
            return Err(error.hint(hint));
        }
        tokio::time::sleep(wait).await;
        Ok(())
    }

    fn next_wait(&mut self, error: &Error) -> Option<Duration> {
        if !error.is_retryable() || self.made > self.policy.retries || self.made >= MOST_ATTEMPTS {
            return None;
        }
        let unanswered = is_unanswered(error);
        let again = match error.kind() {
            _ if unanswered => {
                self.unanswered += 1;
                self.policy.repeat_paid && self.unanswered == 1
            }
            ErrorKind::RateLimited | ErrorKind::Overloaded | ErrorKind::Network => true,
            ErrorKind::BadResponse => {
                self.not_understood += 1;
                self.not_understood == 1
            }
            _ => false,
        };
        if !again {
            return None;
        }
        match error.call().and_then(|call| call.retry_after).map(Duration::try_from_secs_f64) {
            Some(Ok(asked)) if asked > self.longest => None,
            // A random delay on top, so that waiting clients do not all return at the same instant.
            Some(Ok(asked)) => Some(asked + asked.min(Duration::from_secs(2)).mul_f64(fastrand::f64() / 8.0)),
            Some(Err(_)) | None => Some(self.backoff()),
        }
    }

    /// Returns a random wait between zero and a maximum that doubles with each try ("full jitter").
    fn backoff(&self) -> Duration {
        let doubled = 2_u32.saturating_pow(self.made.saturating_sub(1).min(16));
        self.policy.base.saturating_mul(doubled).min(self.policy.most).mul_f64(fastrand::f64())
    }
}

/// Whether the request may have been served although no answer came back.
pub(crate) fn is_unanswered(error: &Error) -> bool {
    std::error::Error::source(error).is_some_and(|source| source.is::<Unanswered>())
}

/// Whether a request was refused before it was sent.
pub(crate) fn is_unsent(error: &Error) -> bool {
    std::error::Error::source(error).is_some_and(|source| source.is::<Unsent>())
}

/// Reads `retry-after-ms` or `retry-after`: seconds or an HTTP date. A malformed value is ignored. A number too large
/// for a `Duration` is capped, and so exceeds every wait.
pub(crate) fn retry_after(header: impl Fn(&str) -> Option<String>) -> Option<Duration> {
    const FOR_EVER: f64 = u32::MAX as f64;
    let seconds = |text: String, scale: f64| {
        let digits = text.trim().starts_with(|first: char| first.is_ascii_digit());
        let number: f64 = text.trim().parse().ok().filter(|_| digits)?;
        Duration::try_from_secs_f64((number * scale).min(FOR_EVER)).ok()
    };
    header("retry-after-ms").and_then(|text| seconds(text, 0.001)).or_else(|| {
        let text = header("retry-after")?;
        seconds(text.clone(), 1.0).or_else(|| {
            let date = httpdate::parse_http_date(text.trim()).ok()?;
            date.duration_since(SystemTime::now()).ok()
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use llmspell_core::CallInfo;

    fn overloaded(retry_after: Option<f64>) -> Error {
        Error::new(ErrorKind::Overloaded, "busy")
            .with_retryable(true)
            .with_call(CallInfo { retry_after, ..CallInfo::default() })
    }

    /// Returns the length of each wait until the error is returned.
    async fn waits(policy: RetryPolicy, error: &Error, limit: Duration) -> Vec<Duration> {
        let mut tries = RetryState::new(policy, Instant::now() + limit);
        let mut waits = Vec::new();
        loop {
            tries.begin();
            let before = Instant::now();
            if tries.wait(error.clone()).await.is_err() {
                return waits;
            }
            waits.push(before.elapsed());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn waits_grow_and_differ_and_end() {
        fastrand::seed(7);
        let hour = Duration::from_secs(3_600);
        let policy = RetryPolicy { retries: 1_000, ..RetryPolicy::default() };
        let found = waits(policy, &overloaded(None), hour).await;
        assert_eq!(found.len(), 9, "ten tries at most");
        for (at, wait) in found.iter().enumerate() {
            let ceiling = Duration::from_millis(501) * 2_u32.pow(u32::try_from(at).unwrap());
            assert!(*wait <= ceiling.min(Duration::from_secs(21)), "{at}: {wait:?}");
        }
        assert!(found.windows(2).any(|pair| pair[0] != pair[1]));
        assert_eq!(waits(RetryPolicy::default(), &overloaded(None), hour).await.len(), 2);
        assert_eq!(waits(RetryPolicy::none(), &overloaded(None), hour).await.len(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_that_the_provider_asks_for_is_kept_unless_it_is_too_long() {
        let policy = RetryPolicy { retries: 1, ..RetryPolicy::default() };
        let minute = Duration::from_secs(60);
        let found = waits(policy, &overloaded(Some(2.0)), minute).await;
        assert!(found[0] >= Duration::from_secs(2) && found[0] < Duration::from_millis(2_300), "{found:?}");
        assert_eq!(waits(policy, &overloaded(Some(86_400.0)), minute * 10_000).await, []);
        assert_eq!(waits(policy, &overloaded(Some(61.0)), minute).await, [], "past the deadline");
    }

    #[tokio::test(start_paused = true)]
    async fn only_what_may_pass_is_tried_again() {
        let sent = Error::new(ErrorKind::Network, "lost").with_retryable(true).with_source(Unanswered);
        let garbled = Error::new(ErrorKind::BadResponse, "html").with_retryable(true);
        let refused = Error::new(ErrorKind::Network, "refused").with_retryable(true);
        let tls = Error::new(ErrorKind::Network, "certificate");
        let policy = RetryPolicy { retries: 5, ..RetryPolicy::default() };
        let paid = RetryPolicy { repeat_paid: true, ..policy };
        for (name, policy, error, expected) in [
            ("refused", policy, &refused, 5),
            ("certificate", policy, &tls, 0),
            ("sent and lost", policy, &sent, 0),
            ("sent and lost, repeats allowed", paid, &sent, 1),
            ("garbled", policy, &garbled, 1),
        ] {
            assert_eq!(waits(policy, error, Duration::from_secs(3_600)).await.len(), expected, "{name}");
        }
    }

    #[test]
    fn retry_after_is_read_in_every_form_and_garbage_is_none() {
        let date = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(100));
        for (name, value, from, to) in [
            ("retry-after", "2", 2.0, 2.0),
            ("retry-after", "1.5", 1.5, 1.5),
            ("retry-after", "86400", 86_400.0, 86_400.0),
            ("retry-after-ms", "250", 0.25, 0.25),
            ("retry-after", date.as_str(), 97.0, 100.0),
        ] {
            let found = retry_after(|asked| (asked == name).then(|| value.to_owned())).unwrap().as_secs_f64();
            assert!((from..=to).contains(&found), "{value}: {found}");
        }
        for garbage in ["", "-1", "NaN", "inf", "soon", "Sun, 06 Nov 1994 08:49:37 GMT"] {
            assert_eq!(retry_after(|_| Some(garbage.to_owned())), None, "{garbage}");
        }
        for absurd in ["18446744073709551616", "1e20", "1e300", "1e400"] {
            let found = retry_after(|name| (name == "retry-after").then(|| absurd.to_owned())).unwrap();
            assert!(found > LONGEST_WAIT && found < Duration::MAX, "{absurd}: {found:?}");
        }
    }
}
