//! The `time` bridge: clock, sleep, and formatting and parsing of dates.

use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::Time;
use jiff::fmt::strtime::{self, BrokenDownTime};
use jiff::tz::Offset;
use llmspell_core::{Error, ErrorKind, Result};
use llmspell_macros::bridge;

/// Reads the clock, sleeps, and formats and parses dates.
///
/// A time is a number: seconds since 1970 in UTC, with fractions.
#[bridge]
#[since("0.1")]
pub mod time {
    use llmspell_core::{Context, Result};

    /// Returns the current time as seconds since 1970 in UTC.
    ///
    /// ```luau
    /// assert(time.now() > 1700000000)
    /// ```
    pub fn now(cx: &Context) -> Result<f64> {
        Ok(cx.clock().now()?.as_secs_f64())
    }

    /// Returns the seconds of a monotonic clock, to measure how long something takes.
    ///
    /// Unlike `time.now`, this clock never goes back.
    ///
    /// ```luau
    /// local began = time.clock()
    /// time.sleep(0.01)
    /// assert(time.clock() - began >= 0.01)
    /// ```
    pub fn clock(cx: &Context) -> Result<f64> {
        Ok(cx.clock().ticks()?.as_secs_f64())
    }

    /// Sleeps for a number of seconds, while other tasks of the spell go on.
    ///
    /// ```luau
    /// time.sleep(0.01)
    /// assert(not pcall(time.sleep, -1))
    /// ```
    pub async fn sleep(cx: Context, seconds: f64) -> Result<()> {
        cx.clock().sleep(super::span(seconds)?).await
    }

    /// Formats a time in UTC.
    ///
    /// Without a pattern, the format is RFC 3339 to the microsecond. A pattern is that of `strftime`: `%Y` year, `%m`
    /// month, `%d` day, `%H` hour, `%M` minute, `%S` second, `%3f` milliseconds, `%j` day of the year, `%A` and `%a`
    /// weekday, `%B` and `%b` name of the month, `%F` for `%Y-%m-%d`, `%T` for `%H:%M:%S`, `%s` seconds since 1970,
    /// `%%` a percent sign.
    ///
    /// ```luau
    /// assert(time.format(0) == "1970-01-01T00:00:00Z")
    /// assert(time.format(1.5) == "1970-01-01T00:00:01.5Z")
    /// assert(time.format(86400, "%A, %d %B %Y") == "Friday, 02 January 1970")
    /// ```
    pub fn format(time: f64, pattern: Option<String>) -> Result<String> {
        super::format(time, pattern.as_deref())
    }

    /// Parses a time.
    ///
    /// Without a pattern, the text is a time in RFC 3339, such as `2026-07-01T12:30:00+02:00`. A pattern is that of
    /// `strftime`, as for `time.format`; a missing time of day is midnight, and a missing offset is UTC. Fails with
    /// the kind `parse` when the text does not match.
    ///
    /// ```luau
    /// assert(time.parse("1970-01-01T01:00:00+01:00") == 0)
    /// assert(time.parse("2 January 1970", "%d %B %Y") == 86400)
    ///
    /// local nothing, err = time.parse("yesterday")
    /// assert(nothing == nil and err.kind == "parse")
    /// ```
    pub fn parse(text: String, pattern: Option<String>) -> Result<f64> {
        super::parse(&text, pattern.as_deref())
    }
}

/// The maximum duration of a sleep in seconds: a year.
const LONGEST: f64 = 365.0 * 24.0 * 3600.0;

/// The maximum length of a pattern in bytes. It is more than any date needs, and bounds the length of the output.
const MAX_PATTERN: usize = 1024;

fn span(seconds: f64) -> Result<Duration> {
    if (0.0..=LONGEST).contains(&seconds) {
        return Ok(Duration::from_secs_f64(seconds));
    }
    Err(Error::argument(format!(
        "argument 1 (`seconds`): expected a number from 0 to {LONGEST}, found {seconds}"
    )))
}

fn format(time: f64, pattern: Option<&str>) -> Result<String> {
    // Doubles cannot represent nanoseconds of current times; digits beyond microseconds are noise.
    let micros = (time * 1e6).round();
    let timestamp = Some(micros)
        .filter(|micros| micros.is_finite())
        .and_then(|micros| Timestamp::from_microsecond(micros as i64).ok())
        .ok_or_else(|| {
            Error::argument(format!(
                "argument 1 (`time`): expected seconds since 1970 within the years -9999 to 9999, found {time}"
            ))
        })?;
    let Some(pattern) = pattern else { return Ok(timestamp.to_string()) };
    check(pattern)?;
    strtime::format(pattern, timestamp).map_err(|error| bad_pattern(pattern, &error))
}

fn parse(text: &str, pattern: Option<&str>) -> Result<f64> {
    let bad = |expected: &str, error: &jiff::Error| {
        Error::new(ErrorKind::Parse, format!("expected {expected}: {error}"))
    };
    let timestamp = match pattern {
        None => text.parse().map_err(|error| bad("a time such as `2026-07-01T12:30:00Z`", &error))?,
        Some(pattern) => {
            check(pattern)?;
            let parts = BrokenDownTime::parse(pattern, text)
                .map_err(|error| bad(&format!("a time by the pattern `{pattern}`"), &error))?;
            timestamp(&parts).map_err(|error| bad_pattern(pattern, &error))?
        }
    };
    Ok(timestamp.as_microsecond() as f64 / 1e6)
}

/// Returns the parsed time. A missing time of day is midnight, and a missing offset is UTC.
fn timestamp(parts: &BrokenDownTime) -> Result<Timestamp, jiff::Error> {
    if parts.timestamp().is_some() {
        return parts.to_timestamp();
    }
    let time = if parts.hour().is_some() { parts.to_time()? } else { Time::midnight() };
    parts.offset().unwrap_or(Offset::UTC).to_timestamp(parts.to_date()?.to_datetime(time))
}

fn check(pattern: &str) -> Result<()> {
    if pattern.len() <= MAX_PATTERN {
        return Ok(());
    }
    Err(Error::argument(format!("argument 2 (`pattern`): a pattern has at most {MAX_PATTERN} bytes")))
}

fn bad_pattern(pattern: &str, error: &jiff::Error) -> Error {
    Error::argument(format!("argument 2 (`pattern`): `{pattern}` cannot be used: {error}"))
}
