//! Writes Markdown piece by piece.

mod lines;

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
