//! A table of a page, which is written when it ends: only then the number of its columns is known.

/// Rows of cells, and what was written before the cell that is open.
#[derive(Default)]
pub(super) struct Table {
    rows: Vec<Vec<String>>,
    /// What the writer had written before this cell.
    outer: Option<String>,
    /// Tables open inside this one.
    pub(super) nested: u32,
    bytes: usize,
    /// What the table says of itself.
    caption: String,
    /// Whether the open cell is that.
    pub(super) in_caption: bool,
}

impl Table {
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// Bytes that it takes.
    pub(super) fn len(&self) -> usize {
        self.bytes + self.outer.as_ref().map_or(0, String::len)
    }

    pub(super) fn in_cell(&self) -> bool {
        self.outer.is_some()
    }

    pub(super) fn open_row(&mut self) {
        if self.rows.last().is_none_or(|row| !row.is_empty()) {
            self.rows.push(Vec::new());
            self.bytes += size_of::<Vec<String>>();
        }
    }

    pub(super) fn open_cell(&mut self, outer: String) {
        if self.rows.is_empty() {
            self.open_row();
        }
        self.outer = Some(outer);
    }

    /// Keeps what the cell came to, and gives back what was written before it.
    pub(super) fn close_cell(&mut self, text: &str) -> String {
        let text = text.trim();
        self.bytes += text.len() + size_of::<String>();
        if std::mem::take(&mut self.in_caption) {
            text.clone_into(&mut self.caption);
        } else if let Some(row) = self.rows.last_mut() {
            row.push(text.to_owned());
        }
        self.outer.take().unwrap_or_default()
    }

    /// The lines of the table; the first row is its head. A table of one column is text, laid out.
    pub(super) fn lines(self) -> impl Iterator<Item = String> {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or_default();
        let has_caption = !self.caption.is_empty();
        let rule = format!("|{}", " --- |".repeat(columns));
        // An empty line parts the caption from the table.
        let caption = [self.caption, String::new()].into_iter().take(if has_caption { 2 } else { 0 });
        let rows =
            self.rows.into_iter().filter(|row| !row.is_empty()).enumerate().flat_map(move |(number, row)| {
                let line = if columns == 1 {
                    row.concat()
                } else {
                    // Only the head must have them all.
                    let missing = if number == 0 { columns - row.len() } else { 0 };
                    format!("| {} |{}", row.join(" | "), "  |".repeat(missing))
                };
                let rule = (number == 0 && columns > 1).then(|| rule.clone());
                [Some(line).filter(|line| !line.is_empty()), rule].into_iter().flatten()
            });
        caption.chain(rows)
    }
}
