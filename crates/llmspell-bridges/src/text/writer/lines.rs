//! The parts of the writer that begin and end lines and prepare the output for a word.

use std::fmt::Write as _;

use super::super::table::Table;
use super::{BlockFrame, Code, MAX_DEPTH, MarkdownWriter};

impl MarkdownWriter {
    pub(super) fn in_cell(&self) -> bool {
        self.table.as_ref().is_some_and(Table::in_cell)
    }

    /// Returns whether a row or cell that begins now belongs to the table being written, and not to a nested one.
    pub(super) fn is_table_part(&self) -> bool {
        self.table.as_ref().is_some_and(|table| table.nested == 0)
    }

    /// Returns the line ends around a list. A list in an item has no empty line around it.
    pub(super) fn around_list(&self) -> usize {
        if self.frames.iter().any(|frame| matches!(frame, BlockFrame::Item(_))) { 1 } else { 2 }
    }

    pub(super) fn push(&mut self, frame: BlockFrame) {
        if self.frames.len() < MAX_DEPTH && self.code.is_none() && !self.in_cell() {
            self.frames.push(frame);
        }
    }

    pub(super) fn pop(&mut self, is_wanted: impl Fn(&BlockFrame) -> bool) {
        if let Some(at) =
            self.frames.iter().rposition(is_wanted).filter(|_| self.code.is_none() && !self.in_cell())
        {
            self.frames.truncate(at);
            self.marker.clear();
        }
    }

    /// Ends the line, with `count` line ends before the next word.
    pub(super) fn break_lines(&mut self, count: usize) {
        if let Some(code) = &mut self.code {
            if !code.block {
                code.text.push(' ');
            }
            return;
        }
        self.space |= self.in_cell();
        if self.in_cell() || self.line == self.out.len() || !self.marker.is_empty() {
            return;
        }
        if self.link.as_ref().is_some_and(|link| link.written) {
            // Link text in a following paragraph is written as plain text.
            self.close_link();
        }
        self.close_marks(0);
        self.broken_in =
            if self.breaks == 0 { self.frames.len() } else { self.broken_in.min(self.frames.len()) };
        self.breaks = self.breaks.max(count);
        self.space = false;
    }

    /// Prepares the output for a word: writes pending line ends, indentation and marks.
    pub(super) fn begin(&mut self) {
        if self.table.is_some() && !self.in_cell() {
            // Browsers also show text between cells.
            self.open_cell();
        }
        if !self.in_cell() && (self.breaks > 0 || self.out.is_empty()) {
            self.begin_line();
        } else if self.space && self.line < self.out.len() {
            self.out.push(' ');
        }
        self.space = false;
        let around = self.link.as_ref().map_or(self.marks.len(), |link| link.marks);
        self.begin_marks(0, around);
        if let Some(link) = &mut self.link
            && !link.written
        {
            self.out.push('[');
            link.written = true;
        }
        self.begin_marks(around, self.marks.len());
    }

    pub(super) fn begin_marks(&mut self, from: usize, to: usize) {
        for marked in self.marks[from..to].iter_mut().filter(|marked| !marked.written) {
            self.out.push_str(marked.mark.as_str());
            marked.written = true;
        }
    }

    pub(super) fn begin_line(&mut self) {
        let breaks = std::mem::take(&mut self.breaks);
        if std::mem::take(&mut self.hard) && breaks == 1 {
            self.out.push_str("  ");
        }
        if breaks > 0 {
            self.out.push('\n');
        }
        for _ in 1..breaks {
            self.indent(self.broken_in.min(self.frames.len()));
            self.out.truncate(self.out.trim_end_matches(' ').len());
            self.out.push('\n');
        }
        let marker = std::mem::take(&mut self.marker);
        let in_place = std::mem::take(&mut self.marks_item) && !marker.is_empty();
        self.indent(self.frames.len() - usize::from(in_place));
        self.out.push_str(&marker);
        if let Some(level) = self.heading.take() {
            self.out.push_str(&"######"[..level]);
            self.out.push(' ');
        }
        self.line = self.out.len();
    }

    pub(super) fn indent(&mut self, frames: usize) {
        for frame in &self.frames[..frames] {
            match frame {
                BlockFrame::Quote => self.out.push_str("> "),
                BlockFrame::List(_) => {}
                BlockFrame::Item(width) => self.out.extend(std::iter::repeat_n(' ', *width)),
            }
        }
    }

    /// Closes the marks from index `from` on, innermost first. Marks that are still open are written again before the
    /// next word.
    pub(super) fn close_marks(&mut self, from: usize) {
        for marked in self.marks[from..].iter_mut().rev().filter(|marked| marked.written) {
            self.out.push_str(marked.mark.as_str());
            marked.written = false;
        }
    }

    /// Writes a word, escaping the characters that have a meaning in Markdown.
    pub(super) fn escaped(&mut self, word: &str) {
        for letter in word.chars() {
            let line = &self.out[self.line..];
            let acts = match letter {
                '\\' | '`' | '*' | '[' | '<' => true,
                // An underscore within a word has no meaning in Markdown.
                '_' => !self.out.ends_with(char::is_alphanumeric),
                '|' => self.in_cell(),
                '#' | '>' | '+' | '-' | '=' | '~' => line.is_empty(),
                '.' | ')' => {
                    (1..10).contains(&line.len()) && line.bytes().all(|digit| digit.is_ascii_digit())
                }
                _ => false,
            };
            if acts {
                self.out.push('\\');
            }
            self.out.push(letter);
        }
    }

    pub(super) fn write_code(&mut self) {
        let Some(Code { text, block, language }) = self.code.take() else { return };
        if block && !self.in_cell() {
            let fence = "`".repeat(longest_run(&text).max(2) + 1);
            let text = text.strip_prefix('\n').unwrap_or(&text);
            self.code_line(&format!("{fence}{}", language.unwrap_or_default()));
            for line in text.lines() {
                self.code_line(line);
            }
            self.code_line(&fence);
            self.paragraph();
            return;
        }
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        if text.is_empty() {
            return;
        }
        self.begin();
        let fence = "`".repeat(longest_run(&text) + 1);
        let pad = if text.starts_with('`') || text.ends_with('`') { " " } else { "" };
        let text = if self.in_cell() { text.replace('|', "\\|") } else { text };
        let _ = write!(self.out, "{fence}{pad}{text}{pad}{fence}");
    }

    pub(super) fn code_line(&mut self, line: &str) {
        self.begin_line();
        self.out.push_str(line);
        // An empty code line must be written too.
        (self.breaks, self.broken_in) = (1, self.frames.len());
    }
}

/// Returns the length of the longest run of backticks.
fn longest_run(text: &str) -> usize {
    text.split(|letter| letter != '`').map(str::len).max().unwrap_or_default()
}
