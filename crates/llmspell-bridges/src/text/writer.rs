//! A Markdown writer that works incrementally.
//!
//! The converter reports elements as they open and close, and the writer appends to its output. Line ends, spaces,
//! marks and list markers are pending until the next word needs them, so empty elements leave no trace.

mod lines;

use std::fmt::Write as _;

use super::table::Table;

/// The maximum depth of lists and quotations. Deeper ones are merged into those around them.
const MAX_DEPTH: usize = 24;

/// The maximum length of a URL in bytes. Longer URLs usually contain data.
const MAX_ADDRESS: usize = 2048;

/// Inline markup of words.
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

/// A mark that is open.
struct Marked {
    mark: Mark,
    /// The number of open elements that require the mark.
    count: u32,
    /// Whether the mark is written. It is written before its first word.
    written: bool,
}

/// A link that is open.
struct OpenLink {
    address: String,
    /// Whether the opening bracket is written. It is written before the first word.
    written: bool,
    /// The number of marks that were open before the link. They enclose the link.
    marks: usize,
}

/// A block that determines how each of its lines begins.
enum BlockFrame {
    Quote,
    /// A list, with the number of its next item if it is numbered.
    List(Option<u64>),
    /// An item, with the indentation of its lines.
    Item(usize),
}

/// Code, which is written at its end, because the length of the fence depends on the text.
struct Code {
    text: String,
    block: bool,
    language: Option<String>,
}

/// A Markdown writer. No call looks back further than the current line.
#[derive(Default)]
pub(super) struct MarkdownWriter {
    out: String,
    frames: Vec<BlockFrame>,
    marks: Vec<Marked>,
    link: Option<OpenLink>,
    code: Option<Code>,
    table: Option<Table>,
    /// The number of line ends to write before the next word.
    breaks: usize,
    /// The number of blocks that continue across those line ends.
    broken_in: usize,
    /// Whether the line ends with a hard break (`<br>`), unless the paragraph ends as well.
    hard: bool,
    /// Whether to write a space before the next word.
    space: bool,
    /// The list marker of the next line: a bullet or number.
    marker: String,
    /// The level of the heading whose first word has not been written yet.
    heading: Option<usize>,
    /// Whether the marker replaces the indentation of the innermost item.
    marks_item: bool,
    /// The offset in the output at which the text of the current line begins.
    line: usize,
}

impl MarkdownWriter {
    /// Returns the number of bytes written so far.
    pub(super) fn len(&self) -> usize {
        self.out.len()
            + self.code.as_ref().map_or(0, |code| code.text.len())
            + self.table.as_ref().map_or(0, Table::len)
    }

    /// Writes text of the page. Runs of white space count as one space.
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

    /// Writes a hard line break within a paragraph.
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

    /// Writes a thematic break.
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

    /// Ends a heading, whether it had text or not.
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
            self.link = address.map(|address| OpenLink { address, written: false, marks: self.marks.len() });
        }
    }

    pub(super) fn close_link(&mut self) {
        if self.code.is_none()
            && let Some(link) = self.link.take()
            && link.written
        {
            self.close_marks(link.marks);
            // Writing to a `String` cannot fail.
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
        self.push(BlockFrame::Quote);
    }

    pub(super) fn close_quote(&mut self) {
        self.paragraph();
        self.pop(|frame| matches!(frame, BlockFrame::Quote));
    }

    /// Begins a list. A numbered list starts at `first`.
    pub(super) fn open_list(&mut self, first: Option<u64>) {
        self.break_lines(self.around_list());
        self.push(BlockFrame::List(first));
    }

    pub(super) fn close_list(&mut self) {
        self.pop(|frame| matches!(frame, BlockFrame::List(_)));
        self.break_lines(self.around_list());
    }

    pub(super) fn open_item(&mut self) {
        self.close_item();
        if self.code.is_some() || self.in_cell() {
            return;
        }
        self.marker.clear();
        match self.frames.last_mut() {
            Some(BlockFrame::List(Some(number))) => {
                let _ = write!(self.marker, "{number}. ");
                *number = number.saturating_add(1);
            }
            _ => self.marker.push_str("- "),
        }
        self.marks_item = self.frames.len() < MAX_DEPTH;
        self.push(BlockFrame::Item(self.marker.len()));
    }

    pub(super) fn close_item(&mut self) {
        self.break_lines(1);
        let open = self.frames.iter().rposition(|frame| matches!(frame, BlockFrame::Item(_)));
        let list = self.frames.iter().rposition(|frame| matches!(frame, BlockFrame::List(_)));
        if let Some(open) = open.filter(|_| open > list && self.code.is_none() && !self.in_cell()) {
            self.frames.truncate(open);
            self.marker.clear();
        }
    }

    pub(super) fn open_table(&mut self) {
        match &mut self.table {
            // The cells of a table within a cell become words of that cell.
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

    /// Begins the caption, which is written above the table.
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

    /// Ends the page and returns the Markdown.
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

/// Escapes a URL for a Markdown link. Returns an empty string for URLs that a reader cannot open.
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
