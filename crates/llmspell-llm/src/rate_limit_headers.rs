//! Reads the rate-limit headers of an answer. Headers are not trusted: an implausible value is ignored.
//!
//! OpenAI and those compatible with it send `x-ratelimit-…`, Anthropic sends `anthropic-ratelimit-…`, and all may send
//! `retry-after`.

use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use reqwest::header::HeaderMap;

use crate::retry::{LONGEST_WAIT, retry_after};

/// The largest limit that is believed. Larger values are taken for mistakes.
const MOST: u64 = 1_000_000_000_000;

/// One limit as a provider reports it.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
pub(crate) struct RateLimit {
    /// The limit.
    pub(crate) limit: Option<u64>,
    /// How much of it remains.
    pub(crate) left: Option<u64>,
    /// The time until all of it is available again.
    pub(crate) reset: Option<Duration>,
}

impl RateLimit {
    /// Returns how long not to call, if nothing remains and the reset is known. At most [`LONGEST_WAIT`].
    pub(crate) fn wait(&self) -> Option<Duration> {
        self.reset.filter(|_| self.left == Some(0)).map(|reset| reset.min(LONGEST_WAIT))
    }
}

/// The limits that one answer reports.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
pub(crate) struct ReportedLimits {
    /// The limit on requests.
    pub(crate) requests: RateLimit,
    /// The limit on tokens.
    pub(crate) tokens: RateLimit,
    /// The limits on input tokens and on output tokens.
    pub(crate) one_way: [RateLimit; 2],
    /// How long the provider asks not to be called.
    pub(crate) retry_after: Option<Duration>,
}

impl ReportedLimits {
    /// Reads the headers of an answer with this status. A `retry-after` counts only with status 429, 503 or 529.
    pub(crate) fn read(status: u16, headers: &HeaderMap) -> Self {
        let text = |name: &str| headers.get(name)?.to_str().ok().map(str::trim);
        // Reset times are by the provider's clock, which the `date` header shows.
        let now = text("date").and_then(|date| httpdate::parse_http_date(date).ok());
        let now = now.unwrap_or_else(SystemTime::now);
        let openai = |what: &str| {
            let read = |which: &str| text(&format!("x-ratelimit-{which}-{what}"));
            RateLimit {
                limit: read("limit").and_then(count),
                left: read("remaining").and_then(count),
                reset: read("reset").and_then(span),
            }
        };
        let anthropic = |what: &str| {
            let read = |which: &str| text(&format!("anthropic-ratelimit-{what}-{which}"));
            RateLimit {
                limit: read("limit").and_then(count),
                left: read("remaining").and_then(count),
                reset: read("reset").and_then(|time| until(time, now)),
            }
        };
        let either = |what: &str| match openai(what) {
            told if told == RateLimit::default() => anthropic(what),
            told => told,
        };
        let asks = matches!(status, 429 | 503 | 529);
        Self {
            requests: either("requests"),
            tokens: either("tokens"),
            one_way: [anthropic("input-tokens"), anthropic("output-tokens")],
            retry_after: asks.then(|| retry_after(|name| text(name).map(str::to_owned))).flatten(),
        }
    }
}

fn count(text: &str) -> Option<u64> {
    text.parse().ok().filter(|count| *count <= MOST)
}

/// Parses a duration in OpenAI's format: `1s`, `6m0s`, `120ms`, `1h2m3.5s`. A bare number is in seconds.
fn span(text: &str) -> Option<Duration> {
    let mut seconds = 0.0;
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(|letter: char| !letter.is_ascii_digit() && letter != '.').unwrap_or(rest.len());
        let number: f64 = rest[..end].parse().ok()?;
        rest = &rest[end..];
        let end = rest.find(|letter: char| letter.is_ascii_digit()).unwrap_or(rest.len());
        seconds += number
            * match &rest[..end] {
                "d" => 86_400.0,
                "h" => 3_600.0,
                "m" => 60.0,
                "" | "s" => 1.0,
                "ms" => 1e-3,
                "us" | "µs" => 1e-6,
                "ns" => 1e-9,
                _ => return None,
            };
        rest = &rest[end..];
    }
    Duration::try_from_secs_f64(seconds).ok().filter(|_| !text.is_empty())
}

/// Returns the time from `now` to an RFC 3339 timestamp; `None` if it is past.
fn until(time: &str, now: SystemTime) -> Option<Duration> {
    let time: Timestamp = time.parse().ok()?;
    let since_epoch = Duration::from_millis(u64::try_from(time.as_millisecond()).ok()?);
    SystemTime::UNIX_EPOCH.checked_add(since_epoch)?.duration_since(now).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use reqwest::header::{HeaderName, HeaderValue};

    fn read(status: u16, pairs: &[(&str, &str)]) -> ReportedLimits {
        let pair = |(name, value): &(&str, &str)| {
            (name.parse::<HeaderName>().unwrap(), HeaderValue::from_bytes(value.as_bytes()).unwrap())
        };
        ReportedLimits::read(status, &pairs.iter().map(pair).collect())
    }

    #[test]
    fn spans_are_read_as_openai_writes_them_and_garbage_is_none() {
        for (text, millis) in [
            ("1s", Some(1_000)),
            ("6m0s", Some(360_000)),
            ("120ms", Some(120)),
            ("1h2m3.5s", Some(3_723_500)),
            ("2m59.56s", Some(179_560)),
            ("7", Some(7_000)),
            ("0s", Some(0)),
            ("", None),
            ("s", None),
            ("-1s", None),
            ("1x", None),
            ("1.2.3s", None),
            ("soon", None),
            ("١s", None),
            (&"9".repeat(400), None),
        ] {
            assert_eq!(span(text).map(|span| span.as_millis()), millis, "{text}");
        }
    }

    #[test]
    fn each_house_is_read_in_its_own_words() {
        let told = |limit, left, seconds| RateLimit {
            limit: Some(limit),
            left: Some(left),
            reset: Some(Duration::from_secs(seconds)),
        };
        let openai = read(
            200,
            &[
                ("x-ratelimit-limit-requests", "60"),
                ("x-ratelimit-remaining-requests", "0"),
                ("x-ratelimit-reset-requests", "6m0s"),
                ("x-ratelimit-limit-tokens", "150000"),
                ("x-ratelimit-remaining-tokens", "149984"),
                ("x-ratelimit-reset-tokens", "1s"),
                ("retry-after", "2"),
            ],
        );
        assert_eq!(openai.requests, told(60, 0, 360));
        assert_eq!(openai.requests.wait(), Some(LONGEST_WAIT));
        assert_eq!((openai.tokens, openai.tokens.wait()), (told(150_000, 149_984, 1), None));
        assert_eq!(openai.retry_after, None, "a good answer asks for nothing");

        let anthropic = read(
            429,
            &[
                ("date", "Tue, 15 Nov 1994 08:12:31 GMT"),
                ("anthropic-ratelimit-requests-limit", "50"),
                ("anthropic-ratelimit-requests-remaining", "49"),
                ("anthropic-ratelimit-requests-reset", "1994-11-15T08:12:32Z"),
                ("anthropic-ratelimit-input-tokens-limit", "1000"),
                ("anthropic-ratelimit-input-tokens-remaining", "0"),
                ("anthropic-ratelimit-input-tokens-reset", "1994-11-15T09:12:41+01:00"),
                ("retry-after", "2"),
            ],
        );
        assert_eq!(anthropic.requests, told(50, 49, 1));
        assert_eq!(anthropic.one_way[0].wait(), Some(Duration::from_secs(10)));
        assert_eq!(anthropic.retry_after, Some(Duration::from_secs(2)));
    }

    #[test]
    fn garbage_is_as_if_it_were_not_there() {
        for garbage in ["", "-1", "NaN", "1e9", "99999999999999999999999", "\u{7f}", "٣", "12 apples"] {
            let names = ["limit", "remaining", "reset"].map(|which| format!("x-ratelimit-{which}-requests"));
            let others =
                ["limit", "remaining", "reset"].map(|which| format!("anthropic-ratelimit-tokens-{which}"));
            for name in names.iter().chain(&others) {
                if HeaderValue::from_str(garbage).is_ok() {
                    assert_eq!(
                        read(200, &[(name.as_str(), garbage)]),
                        ReportedLimits::default(),
                        "{name}: {garbage}"
                    );
                }
            }
        }
        let past = read(200, &[("anthropic-ratelimit-tokens-reset", "1994-11-15T08:12:32Z")]);
        assert_eq!(past, ReportedLimits::default());
    }
}
