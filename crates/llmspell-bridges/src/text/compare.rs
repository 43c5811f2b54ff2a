//! How texts differ, and how much they have in common.

use std::time::Duration;

use llmspell_core::{Error, Result};
use similar::TextDiff;

/// What looking for the shortest difference may take; what is left then is shown as wholly changed.
const PATIENCE: Duration = Duration::from_millis(150);

/// The most bytes of both texts together: their comparison cannot be interrupted.
const MAX_BYTES: usize = 8 * 1024 * 1024;

/// The most lines of both texts together.
const MAX_LINES: usize = 400_000;

/// The lines in which the texts differ, in the unified format; empty when they do not.
///
/// # Errors
/// When the texts are too long.
pub(super) fn diff(a: &str, b: &str) -> Result<String> {
    check(a, b)?;
    let lines = [a, b].iter().map(|text| text.bytes().filter(|byte| *byte == b'\n').count()).sum::<usize>();
    if lines > MAX_LINES {
        return Err(Error::argument(format!(
            "the texts are too long to compare: {lines} of {MAX_LINES} lines"
        )));
    }
    let diff = TextDiff::configure().timeout(PATIENCE).diff_lines(a, b);
    let text = diff.unified_diff().context_radius(3).header("a", "b").to_string();
    Ok(text)
}

/// The share of pairs of neighbouring letters that the texts have in common (Dice's coefficient), from 0 to 1.
///
/// # Errors
/// When the texts are too long.
pub(super) fn similarity(a: &str, b: &str) -> Result<f64> {
    check(a, b)?;
    Ok(strsim::sorensen_dice(a, b))
}

fn check(a: &str, b: &str) -> Result<()> {
    let bytes = a.len() + b.len();
    if bytes <= MAX_BYTES {
        return Ok(());
    }
    Err(Error::argument(format!("the texts are too long to compare: {bytes} of {MAX_BYTES} bytes")))
}
