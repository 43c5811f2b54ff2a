//! Line differences in the unified format, with a time limit.
//!
//! The crate `similar` offers this in its `text` layer, which selects among six algorithms at run time and therefore
//! compiles each of them for each type of line. Here lines are numbered first, and only one algorithm is compiled,
//! for numbers.

use std::collections::HashMap;
use std::fmt::Write;
use std::ops::Range;
use std::time::{Duration, Instant};

use similar::ChangeTag;
use similar::algorithms::{Capture, Compact, Replace, myers};

/// Returns the difference of two texts with `context` equal lines around each change; empty if they are equal.
///
/// When the timeout is reached, the rest is shown as changed entirely.
#[must_use]
pub fn unified_diff(old: &str, new: &str, names: [&str; 2], context: usize, timeout: Duration) -> String {
    let deadline = Instant::now() + timeout;
    let (old, new) = (lines(old), lines(new));
    let mut numbers = HashMap::new();
    let mut number = |line| {
        let next = numbers.len();
        *numbers.entry(line).or_insert(next)
    };
    let old_numbers: Vec<usize> = old.iter().map(|line| number(*line)).collect();
    let new_numbers: Vec<usize> = new.iter().map(|line| number(*line)).collect();
    let mut hook = Compact::new(Replace::new(Capture::new()), &old_numbers, &new_numbers);
    let (all_old, all_new) = (0..old.len(), 0..new.len());
    let Ok(()) =
        myers::diff_deadline(&mut hook, &old_numbers, all_old, &new_numbers, all_new, Some(deadline));
    let hunks = hook.into_inner().into_inner().into_grouped_ops(context);
    let mut text = String::new();
    for hunk in hunks.iter().filter(|hunk| !hunk.is_empty()) {
        if text.is_empty() {
            let [old, new] = names;
            let _ = writeln!(text, "--- {old}\n+++ {new}");
        }
        let span = |ranges: &dyn Fn(usize) -> Range<usize>| ranges(0).start..ranges(hunk.len() - 1).end;
        let old_span = header_range(&span(&|index| hunk[index].old_range()));
        let new_span = header_range(&span(&|index| hunk[index].new_range()));
        let _ = writeln!(text, "@@ -{old_span} +{new_span} @@");
        for op in hunk {
            let (tag, old_range, new_range) = op.as_tag_tuple();
            match tag {
                similar::DiffTag::Equal => push(&mut text, ChangeTag::Equal, &old[old_range]),
                _ => {
                    push(&mut text, ChangeTag::Delete, &old[old_range]);
                    push(&mut text, ChangeTag::Insert, &new[new_range]);
                }
            }
        }
    }
    text
}

/// Splits a text into lines, each with its end: `\n`, `\r\n` or `\r`.
fn lines(text: &str) -> Vec<&str> {
    let mut lines = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find(['\n', '\r']) {
        let end = if rest[at..].starts_with("\r\n") { at + 2 } else { at + 1 };
        let (line, after) = rest.split_at(end);
        lines.push(line);
        rest = after;
    }
    if !rest.is_empty() {
        lines.push(rest);
    }
    lines
}

/// Formats a range as `first,count`, with lines counted from 1. An empty range names the line before it.
fn header_range(range: &Range<usize>) -> String {
    match range.len() {
        0 => format!("{},0", range.start),
        1 => format!("{}", range.start + 1),
        count => format!("{},{count}", range.start + 1),
    }
}

fn push(text: &mut String, tag: ChangeTag, lines: &[&str]) {
    for line in lines {
        let _ = write!(text, "{tag}{line}");
        if !line.ends_with(['\n', '\r']) {
            text.push_str("\n\\ No newline at end of file\n");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_shown_with_the_lines_around_them() {
        for (old, new, expected) in [
            ("", "", ""),
            ("a\n", "a\n", ""),
            ("", "a\n", "--- a\n+++ b\n@@ -0,0 +1 @@\n+a\n"),
            ("a\n", "", "--- a\n+++ b\n@@ -1 +0,0 @@\n-a\n"),
            (
                "a",
                "b",
                "--- a\n+++ b\n@@ -1 +1 @@\n-a\n\\ No newline at end of file\n+b\n\\ No newline at end of file\n",
            ),
            ("a\r\nb\rc\n", "a\r\nx\rc\n", "--- a\n+++ b\n@@ -1,3 +1,3 @@\n a\r\n-b\r+x\r c\n"),
            (
                "1\n2\n3\n4\n5\n6\n7\n8\n9\n",
                "0\n1\n2\n3\n4\n5\n6\n7\n8\n",
                "--- a\n+++ b\n@@ -1 +1,2 @@\n+0\n 1\n@@ -8,2 +9 @@\n 8\n-9\n",
            ),
        ] {
            assert_eq!(unified_diff(old, new, ["a", "b"], 1, Duration::from_secs(60)), expected);
        }
    }
}
