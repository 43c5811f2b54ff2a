//! Writes Markdown piece by piece.

use std::fmt::Write as _;

use super::table::Table;

/// Lists and quotations inside each other that show; deeper ones are part of those around them.
const MAX_DEPTH: usize = 24;

/// The longest address that is kept; a longer one holds data.
const MAX_ADDRESS: usize = 2048;

/// A mark around words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    Strong,
    Emphasis,
    Struck,
}

impl Mark {
    fn as_str(self) -> &'static str {
        match self {
            Self::Strong => "**",
            Self::Emphasis => "*",
            Self::Struck => "~~",
        }
    }
}

/// A mark that is in force.
struct Marked {
    mark: Mark,
    /// How many elements ask for it.
    count: u32,
    /// Whether it is written; it is when its first word is.
    written: bool,
}

/// A link whose text is being written.
struct Link {
    address: String,
    /// Whether its bracket is written; it is when its first word is.
    written: bool,
    /// How many marks were in force before it: those are around it.
    marks: usize,
}

/// What each line begins with.
enum Frame {
    Quote,
    /// A list, with the number of its next item when they are counted.
    List(Option<u64>),
    /// An item, and how far its lines are indented.
    Item(usize),
}

/// Code, which is written when it ends: only then the fence is known.
struct Code {
    text: String,
    block: bool,
    language: Option<String>,
}

/// Writes Markdown piece by piece. No call looks back further than a line.
#[derive(Default)]
pub(super) struct Writer {
    out: String,
    frames: Vec<Frame>,
    marks: Vec<Marked>,
    link: Option<Link>,
    code: Option<Code>,
    table: Option<Table>,
    /// Line ends to write before the next word.
    breaks: usize,
    /// How many frames go on past those line ends.
    broken_in: usize,
    /// Whether the line ends within its paragraph, if nothing else ends it.
    hard: bool,
    /// Whether a space stands before the next word.
    space: bool,
    /// What the next line begins with behind its indentation: the bullet or number of an item.
    marker: String,
    /// The level of the heading whose first word is to come.
    heading: Option<usize>,
    /// Whether the marker stands in place of the innermost item's indentation.
    marks_item: bool,
    /// Where the text of this line begins.
    line: usize,
}

impl Writer {
    /// Bytes written so far.
    pub(super) fn len(&self) -> usize {
        self.out.len()
            + self.code.as_ref().map_or(0, |code| code.text.len())
            + self.table.as_ref().map_or(0, Table::len)
    }

    /// Writes text of the page, of which runs of white space count as one space.
    pub(super) fn text(&mut self, text: &str) {
        if let Some(code) = &mut self.code {
            code.text.push_str(text);
            return;
        }
        for word in text.split_inclusive(|letter: char| letter.is_ascii_whitespace()) {
            let trimmed = word.trim_end_matches(|letter: char| letter.is_ascii_whitespace());
            if !trimmed.is_empty() {
                self.begin();
                self.escaped(trimmed);
            }
            self.space |= trimmed.len() < word.len();
        }
    }

    /// Ends a line within a paragraph.
    pub(super) fn line_break(&mut self) {
        if let Some(code) = &mut self.code {
            code.text.push('\n');
        } else {
            self.hard = self.breaks == 0;
            self.break_lines(if self.hard { 1 } else { 2 });
        }
    }

    /// Ends a paragraph.
    pub(super) fn paragraph(&mut self) {
        self.break_lines(2);
    }

    /// Draws a line across.
    pub(super) fn rule(&mut self) {
        self.paragraph();
        if !self.in_cell() && self.code.is_none() {
            self.begin();
            self.out.push_str("---");
            self.paragraph();
        }
    }

    pub(super) fn open_heading(&mut self, level: usize) {
        self.paragraph();
        if self.code.is_none() && !self.in_cell() {
            self.heading = Some(level.min(6));
        }
    }

    /// Ends a heading, if it said anything or not.
    pub(super) fn close_heading(&mut self) {
        self.heading = None;
        self.paragraph();
    }

    pub(super) fn open(&mut self, mark: Mark) {
        if self.code.is_some() {
            return;
        }
        match self.marks.iter_mut().find(|marked| marked.mark == mark) {
            Some(marked) => marked.count = marked.count.saturating_add(1),
            None => self.marks.push(Marked { mark, count: 1, written: false }),
        }
    }

    pub(super) fn close(&mut self, mark: Mark) {
        let Some(at) = self.marks.iter().position(|marked| marked.mark == mark) else { return };
        if self.code.is_some() {
            return;
        }
        self.marks[at].count -= 1;
        if self.marks[at].count == 0 {
            match &mut self.link {
                Some(link) if at < link.marks && !link.written => link.marks -= 1,
                Some(link) if at < link.marks => self.close_link(),
                _ => {}
            }
            self.close_marks(at);
            self.marks.remove(at);
        }
    }

    pub(super) fn open_link(&mut self, address: Option<String>) {
        self.close_link();
        let address = address.map(|address| plain_address(&address)).filter(|address| !address.is_empty());
        if self.code.is_none() {
            self.link = address.map(|address| Link { address, written: false, marks: self.marks.len() });
        }
    }

    pub(super) fn close_link(&mut self) {
        if self.code.is_none()
            && let Some(link) = self.link.take()
            && link.written
        {
            self.close_marks(link.marks);
            // Writing to a string does not fail.
            let _ = write!(self.out, "]({})", link.address);
        }
    }

    pub(super) fn image(&mut self, text: &str, address: String) {
        let address = plain_address(&address);
        if self.code.is_some() || (address.is_empty() && text.is_empty()) {
            return;
        }
        if address.is_empty() {
            self.text(text);
            return;
        }
        self.begin();
        self.out.push_str("![");
        for word in text.split_whitespace() {
            if !self.out.ends_with("![") {
                self.out.push(' ');
            }
            self.escaped(word);
        }
        let _ = write!(self.out, "]({address})");
    }

    pub(super) fn open_code(&mut self, language: Option<String>) {
        match &mut self.code {
            Some(code) => code.language = code.language.take().or(language),
            None => self.code = Some(Code { text: String::new(), block: false, language: None }),
        }
    }

    pub(super) fn close_code(&mut self) {
        if self.code.as_ref().is_some_and(|code| !code.block) {
            self.write_code();
        }
    }

    pub(super) fn open_block_code(&mut self) {
        self.write_code();
        self.paragraph();
        self.code = Some(Code { text: String::new(), block: true, language: None });
    }

    pub(super) fn close_block_code(&mut self) {
        if self.code.as_ref().is_some_and(|code| code.block) {
            self.write_code();
            self.paragraph();
        }
    }

    pub(super) fn open_quote(&mut self) {
        self.paragraph();
        self.push(Frame::Quote);
    }

    pub(super) fn close_quote(&mut self) {
        self.paragraph();
        self.pop(|frame| matches!(frame, Frame::Quote));
    }

    /// Begins a list, which counts its items from `first`.
    pub(super) fn open_list(&mut self, first: Option<u64>) {
        self.break_lines(self.around_list());
        self.push(Frame::List(first));
    }

    pub(super) fn close_list(&mut self) {
        self.pop(|frame| matches!(frame, Frame::List(_)));
        self.break_lines(self.around_list());
    }

    pub(super) fn open_item(&mut self) {
        self.close_item();
        if self.code.is_some() || self.in_cell() {
            return;
        }
        self.marker.clear();
        match self.frames.last_mut() {
            Some(Frame::List(Some(number))) => {
                let _ = write!(self.marker, "{number}. ");
                *number = number.saturating_add(1);
            }
            _ => self.marker.push_str("- "),
        }
        self.marks_item = self.frames.len() < MAX_DEPTH;
        self.push(Frame::Item(self.marker.len()));
    }

    pub(super) fn close_item(&mut self) {
        self.break_lines(1);
        let open = self.frames.iter().rposition(|frame| matches!(frame, Frame::Item(_)));
        let list = self.frames.iter().rposition(|frame| matches!(frame, Frame::List(_)));
        if let Some(open) = open.filter(|_| open > list && self.code.is_none() && !self.in_cell()) {
            self.frames.truncate(open);
            self.marker.clear();
        }
    }

    pub(super) fn open_table(&mut self) {
        match &mut self.table {
            // A table in a cell: its cells are words of that cell.
            Some(table) => table.nested = table.nested.saturating_add(1),
            None if self.code.is_some() => {}
            None => {
                self.paragraph();
                self.table = Some(Table::new());
            }
        }
    }

    pub(super) fn open_row(&mut self) {
        if self.is_table_part() {
            self.close_cell();
            if let Some(table) = &mut self.table {
                table.open_row();
            }
        }
    }

    /// Begins what a table says of itself: it stands in a row of its own, above.
    pub(super) fn open_caption(&mut self) {
        self.open_cell();
        if self.is_table_part()
            && let Some(table) = &mut self.table
        {
            table.in_caption = true;
        }
    }

    pub(super) fn open_cell(&mut self) {
        if self.is_table_part() {
            self.close_cell();
            if let Some(table) = &mut self.table {
                table.open_cell(std::mem::take(&mut self.out));
                (self.line, self.space) = (0, false);
            }
        } else {
            self.space = true;
        }
    }

    pub(super) fn close_cell(&mut self) {
        if self.is_table_part() && self.in_cell() {
            self.write_code();
            self.close_link();
            self.close_marks(0);
            if let Some(table) = &mut self.table {
                let outer = table.close_cell(&self.out);
                self.out = outer;
            }
            (self.line, self.space) = (self.out.len(), false);
        }
    }

    pub(super) fn close_table(&mut self) {
        match &mut self.table {
            Some(table) if table.nested > 0 => table.nested -= 1,
            Some(_) => {
                self.close_cell();
                if let Some(table) = self.table.take() {
                    for line in table.lines() {
                        if line.is_empty() {
                            self.paragraph();
                            continue;
                        }
                        self.begin();
                        self.out.push_str(&line);
                        self.break_lines(1);
                    }
                    self.paragraph();
                }
            }
            None => {}
        }
    }

    /// Ends the page.
    pub(super) fn finish(mut self) -> String {
        self.write_code();
        if let Some(table) = &mut self.table {
            table.nested = 0;
        }
        self.close_table();
        self.close_link();
        self.close_marks(0);
        if !self.out.is_empty() {
            self.out.truncate(self.out.trim_end().len());
            self.out.push('\n');
        }
        self.out
    }

    fn in_cell(&self) -> bool {
        self.table.as_ref().is_some_and(Table::in_cell)
    }

    /// Whether a row or cell that begins now is one of the table that is being written.
    fn is_table_part(&self) -> bool {
        self.table.as_ref().is_some_and(|table| table.nested == 0)
    }

    /// A list in an item has no empty line around it.
    fn around_list(&self) -> usize {
        if self.frames.iter().any(|frame| matches!(frame, Frame::Item(_))) { 1 } else { 2 }
    }

    fn push(&mut self, frame: Frame) {
        if self.frames.len() < MAX_DEPTH && self.code.is_none() && !self.in_cell() {
            self.frames.push(frame);
        }
    }

    fn pop(&mut self, is_wanted: impl Fn(&Frame) -> bool) {
        if let Some(at) =
            self.frames.iter().rposition(is_wanted).filter(|_| self.code.is_none() && !self.in_cell())
        {
            self.frames.truncate(at);
            self.marker.clear();
        }
    }

    /// Ends the line, with `count` line ends before the next word.
    fn break_lines(&mut self, count: usize) {
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
            // What it says in the next paragraph is text.
            self.close_link();
        }
        self.close_marks(0);
        self.broken_in =
            if self.breaks == 0 { self.frames.len() } else { self.broken_in.min(self.frames.len()) };
        self.breaks = self.breaks.max(count);
        self.space = false;
    }

    /// Gets ready for a word: lines end, indentation and marks are written.
    fn begin(&mut self) {
        if self.table.is_some() && !self.in_cell() {
            // Text between cells, which browsers show too.
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

    fn begin_marks(&mut self, from: usize, to: usize) {
        for marked in self.marks[from..to].iter_mut().filter(|marked| !marked.written) {
            self.out.push_str(marked.mark.as_str());
            marked.written = true;
        }
    }

    fn begin_line(&mut self) {
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

    fn indent(&mut self, frames: usize) {
        for frame in &self.frames[..frames] {
            match frame {
                Frame::Quote => self.out.push_str("> "),
                Frame::List(_) => {}
                Frame::Item(width) => self.out.extend(std::iter::repeat_n(' ', *width)),
            }
        }
    }

    /// Ends the marks from this one on, innermost first; those that stay in force begin again with the next word.
    fn close_marks(&mut self, from: usize) {
        for marked in self.marks[from..].iter_mut().rev().filter(|marked| marked.written) {
            self.out.push_str(marked.mark.as_str());
            marked.written = false;
        }
    }

    /// Writes a word so that no letter of it has a meaning in Markdown.
    fn escaped(&mut self, word: &str) {
        for letter in word.chars() {
            let line = &self.out[self.line..];
            let acts = match letter {
                '\\' | '`' | '*' | '[' | '<' => true,
                // Within a word it is a letter like any other.
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

    fn write_code(&mut self) {
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

    fn code_line(&mut self, line: &str) {
        self.begin_line();
        self.out.push_str(line);
        // An empty line is a line too.
        (self.breaks, self.broken_in) = (1, self.frames.len());
    }
}

/// The longest run of backticks.
fn longest_run(text: &str) -> usize {
    text.split(|letter| letter != '`').map(str::len).max().unwrap_or_default()
}

/// An address with nothing in it that ends a link; empty when it leads nowhere a reader can go.
fn plain_address(address: &str) -> String {
    let address = address.trim();
    let scheme = address.split(':').next().unwrap_or_default();
    if address.len() > MAX_ADDRESS || ["data", "javascript"].iter().any(|no| scheme.eq_ignore_ascii_case(no))
    {
        return String::new();
    }
    let mut plain = String::with_capacity(address.len());
    for letter in address.chars() {
        match letter {
            ' ' => plain.push_str("%20"),
            '(' => plain.push_str("%28"),
            ')' => plain.push_str("%29"),
            '<' => plain.push_str("%3C"),
            '>' => plain.push_str("%3E"),
            '|' => plain.push_str("%7C"),
            control if control.is_control() => {}
            letter => plain.push(letter),
        }
    }
    plain
}
