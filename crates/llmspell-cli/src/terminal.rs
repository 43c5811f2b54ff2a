//! Safe text for terminals. Text of a spell or a model must not move the cursor or hide other text.

use std::borrow::Cow;
use std::fmt::Write;

/// The number of columns to assume when the output is not a terminal.
const COLUMNS: usize = 80;

/// Whether colour is turned off, by any value of `NO_COLOR` except an empty one (see no-color.org).
#[expect(clippy::disallowed_methods, reason = "how the command prints is its own affair")]
pub(crate) fn no_color() -> bool {
    std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
}

/// Replaces control characters and bidirectional overrides by `\u{…}`. Newlines and tabs stay.
pub(crate) fn escape(text: &str) -> Cow<'_, str> {
    let Some(first) = text.find(acts) else { return Cow::Borrowed(text) };
    let (mut escaped, rest) = (text[..first].to_owned(), &text[first..]);
    for letter in rest.chars() {
        if acts(letter) {
            // Writing to a string cannot fail.
            let _ = write!(escaped, "\\u{{{:x}}}", u32::from(letter));
        } else {
            escaped.push(letter);
        }
    }
    Cow::Owned(escaped)
}

/// Escapes a name from outside so that it stays on one line: everything invisible is shown as an escape, and so are
/// backslashes, with which escapes begin.
pub(crate) fn escape_name(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '\'' | '"' => escaped.push(letter),
            letter => escaped.extend(letter.escape_debug()),
        }
    }
    escaped
}

/// Discards input that was typed and not yet read.
pub(crate) fn forget_typed() {
    #[cfg(unix)]
    {
        // Fails only if stdin is not a terminal, and then nothing was typed.
        let _ = rustix::termios::tcflush(std::io::stdin(), rustix::termios::QueueSelector::IFlush);
    }
}

/// Whether a terminal would act on a character instead of showing it.
fn acts(letter: char) -> bool {
    match letter {
        '\n' | '\t' => false,
        // Directional marks, embeddings, overrides and isolates.
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => true,
        _ => letter.is_control(),
    }
}

/// Returns the width for tables on stdout.
pub(crate) fn columns() -> usize {
    terminal_size::terminal_size_of(std::io::stdout())
        .map_or(COLUMNS, |(terminal_size::Width(columns), _)| columns.into())
}

/// The size of a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Size {
    pub(crate) columns: u16,
    pub(crate) rows: u16,
}

/// Returns the size of the terminal on stderr.
pub(crate) fn stderr_size() -> Size {
    match terminal_size::terminal_size_of(std::io::stderr()) {
        Some((terminal_size::Width(columns), terminal_size::Height(rows))) => Size { columns, rows },
        // The usual size, for a terminal that does not report one.
        None => Size { columns: 80, rows: 24 },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_act_on_is_shown() {
        for (text, shown) in [
            ("plain\n\ttext é 漢 👍🏽", "plain\n\ttext é 漢 👍🏽"),
            ("\u{1b}[31mred", "\\u{1b}[31mred"),
            ("a\rb\u{7}\u{8}\u{7f}", "a\\u{d}b\\u{7}\\u{8}\\u{7f}"),
            ("\u{9b}2J", "\\u{9b}2J"),
            ("user\u{202e}nimda\u{2066}", "user\\u{202e}nimda\\u{2066}"),
        ] {
            assert_eq!(escape(text), shown);
        }
    }

    #[test]
    fn a_name_is_one_line_and_hides_nothing() {
        for (name, shown) in [
            ("it's \"plain\" é 漢", "it's \"plain\" é 漢"),
            ("a\nb\tc\u{1b}[2J", "a\\nb\\tc\\u{1b}[2J"),
            ("\u{202e}gro.live\u{200b}\u{feff}", "\\u{202e}gro.live\\u{200b}\\u{feff}"),
            ("\\u{1b}", "\\\\u{1b}"),
        ] {
            assert_eq!(escape_name(name), shown);
        }
    }
}
