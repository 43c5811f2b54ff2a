//! Draws the excerpt of a source that a diagnostic shows.

/// Draws a line and the line before it, with `^` marks below the mistake.
///
/// Lines and columns count from 1, `width` counts characters. Without a column the whole line is marked. At most 200
/// characters of a line are drawn.
pub(crate) fn excerpt(text: &str, line: u32, column: Option<u32>, width: usize) -> String {
    let gutter = line.to_string().len() + 2;
    let mut drawn = String::new();
    let shown = text.lines().enumerate().map(|(at, text)| (at as u32 + 1, text));
    for (number, text) in shown.filter(|(number, _)| (line.saturating_sub(1)..=line).contains(number)) {
        let text: String = text.chars().take(200).map(|c| if c.is_control() { ' ' } else { c }).collect();
        drawn.push_str(&format!("{number:>gutter$} | {text}\n"));
        if number == line {
            let blank = text.chars().take_while(|c| c.is_whitespace()).count();
            let (start, width) = match column {
                Some(column) => (column as usize - 1, width),
                None => (blank, text.trim().chars().count().max(1)),
            };
            drawn.push_str(&format!("{:>gutter$} | {}{}\n", "", " ".repeat(start), "^".repeat(width)));
        }
    }
    drawn
}
