//! The built-in tools. They are written as methods of a bridge, so that the name, description and schema come from
//! one definition.
#![allow(unreachable_pub, reason = "`#[bridge]` gathers what is `pub`")]

mod calculator;
mod web;

use llmspell_core::Result;
use llmspell_llm::{Tool, ToolKind};
use llmspell_macros::bridge;

/// The default size limit of a page or file that a tool returns, in bytes.
const MOST_TEXT: usize = 20_000;

/// The maximum number of files in a list.
const MOST_FILES: usize = 1_000;

/// Returns all built-in tools.
pub(super) fn tools() -> Result<Vec<Tool>> {
    let methods = built_in::bridge().methods;
    methods
        .iter()
        .map(|method| Ok(super::method::of(&method.name, method)?.kind(ToolKind::BuiltIn)))
        .collect()
}

/// The implementations of the built-in tools. This bridge is not a global of scripts.
#[bridge]
#[since("0.3")]
pub mod built_in {
    use llmspell_core::{Context, Map, Result, Value};

    use super::MOST_TEXT;

    /// Evaluates an arithmetic expression, such as "(2 + 3) * 4 / 7". Supports + - * / // % ^, parentheses, pi and e,
    /// and the functions sqrt, abs, round, floor, ceil, min, max, exp, ln, log10, sin, cos, tan.
    pub fn calculator(expression: String) -> Result<Value> {
        super::calculator::work_out(&expression)
    }

    /// Returns the current date and time in UTC, or at an offset from UTC in hours (`utc_offset`, such as -5 or 5.5).
    pub fn datetime(cx: &Context, utc_offset: Option<f64>) -> Result<Map> {
        super::datetime(cx, utc_offset.unwrap_or(0.0))
    }

    /// Fetches a web page and returns it as Markdown, at most `max_bytes` of it (default 20000).
    pub async fn web_fetch(cx: Context, url: String, max_bytes: Option<usize>) -> Result<String> {
        super::web::fetch(&cx, url, max_bytes.unwrap_or(MOST_TEXT)).await
    }

    /// Reads a text file, at most `max_bytes` of it (default 20000).
    pub async fn read_file(cx: Context, path: String, max_bytes: Option<usize>) -> Result<String> {
        Ok(super::cut(cx.files().read(&path).await?, max_bytes.unwrap_or(MOST_TEXT)))
    }

    /// Writes a text file. Replaces an existing file.
    pub async fn write_file(cx: Context, path: String, text: String) -> Result<String> {
        let bytes = text.len();
        cx.files().write(&path, text.into_bytes()).await?;
        Ok(format!("{bytes} bytes written"))
    }

    /// Lists the files that match a pattern, such as "src/**/*.rs", or the names in a folder.
    pub async fn list_files(cx: Context, path: String) -> Result<Vec<String>> {
        super::list(&cx, &path).await
    }
}

/// Truncates a text to a number of bytes, with a note that it was truncated.
fn cut(text: String, most: usize) -> String {
    llmspell_llm::cut_result(text, most)
}

async fn list(cx: &llmspell_core::Context, path: &str) -> Result<Vec<String>> {
    let mut files = match path.contains(['*', '?', '[']) {
        true => cx.files().glob(path).await?,
        false => cx.files().list(path).await?,
    };
    if files.len() > MOST_FILES {
        let more = files.len() - MOST_FILES;
        files.truncate(MOST_FILES);
        files.push(format!("[cut: {more} more]"));
    }
    Ok(files)
}

fn datetime(cx: &llmspell_core::Context, hours: f64) -> Result<llmspell_core::Map> {
    use llmspell_core::{Error, Value};

    const MOST_HOURS: f64 = 26.0;
    let wrong = || Error::argument(format!("`utc_offset` is hours between -26 and 26, found {hours}"));
    if !hours.is_finite() || hours.abs() >= MOST_HOURS {
        return Err(wrong());
    }
    let now = cx.clock().now()?;
    #[expect(clippy::cast_possible_truncation, reason = "in range by the test above")]
    let offset = jiff::tz::Offset::from_seconds((hours * 3600.0).round() as i32).map_err(|_| wrong())?;
    let seconds = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    let instant = jiff::Timestamp::from_second(seconds)
        .map_err(|error| Error::runtime(format!("the clock is beyond the calendar: {error}")))?;
    let local = offset.to_datetime(instant);
    let text = |pattern: &str| Value::from(local.strftime(pattern).to_string());
    Ok([
        ("date", text("%F")),
        ("time", text("%T")),
        ("weekday", text("%A")),
        ("utc_offset", Value::from(offset.to_string())),
        ("unix", Value::from(seconds)),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
    .collect())
}
