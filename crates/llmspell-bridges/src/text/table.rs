//! A table during the conversion of HTML to Markdown. It is written at its end, when the number of columns is known.

/// The rows of a table, and the output that was set aside while a cell is open.
#[derive(Default)]
pub(super) struct Table {
    rows: Vec<Vec<String>>,
    /// The writer's output before the open cell.
    outer: Option<String>,
    /// The number of open tables nested in this one.
    pub(super) nested: u32,
    bytes: usize,
    /// The caption.
    caption: String,
    /// Whether the open cell is the caption.
    pub(super) in_caption: bool,
}

impl Table {
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// Returns the size of the table in bytes.
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

    /// Stores the text of the open cell and returns the output that was set aside for it.
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

    /// Returns the lines of the table in Markdown. The first row is the header. A table with a single column is
    /// written as plain text, because such tables usually serve the page layout.
    pub(super) fn lines(self) -> impl Iterator<Item = String> {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or_default();
        let has_caption = !self.caption.is_empty();
        let rule = format!("|{}", " --- |".repeat(columns));
        // An empty line separates the caption from the table.
        let caption = [self.caption, String::new()].into_iter().take(if has_caption { 2 } else { 0 });
        let rows =
            self.rows.into_iter().filter(|row| !row.is_empty()).enumerate().flat_map(move |(number, row)| {
                let line = if columns == 1 {
                    row.concat()
                } else {
                    // Only the header row must have all columns.
                    let missing = if number == 0 { columns - row.len() } else { 0 };
                    format!("| {} |{}", row.join(" | "), "  |".repeat(missing))
                };
                let rule = (number == 0 && columns > 1).then(|| rule.clone());
                [Some(line).filter(|line| !line.is_empty()), rule].into_iter().flatten()
            });
        caption.chain(rows)
    }
}
