//! Progress on stderr: bars on a terminal, and an occasional line where stderr is not a terminal.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle, TermLike};
use llmspell::capability::ProgressUpdate;
use tokio::time::Instant;

use crate::terminal;

/// The shortest time between two frames.
const FRAME: Duration = Duration::from_millis(100);

/// The shortest time between two lines about work without a known total.
const LINE: Duration = Duration::from_secs(5);

/// The width of a terminal, in columns, from which a bar is shown next to its text.
const ROOM: u16 = 40;

/// How progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProgressMode {
    /// As bars that are redrawn.
    Bars,
    /// As a line at the start, at each tenth (or every few seconds without a total), and at the end.
    Lines,
    /// Not at all.
    Hidden,
}

/// The work in progress.
pub(crate) struct Bars {
    look: ProgressMode,
    works: BTreeMap<u64, BarState>,
    /// The number of lines in the frame on the screen. The cursor is in the last one.
    drawn: usize,
    /// Whether the work has changed since that frame.
    changed: bool,
    last_frame: Option<Instant>,
}

struct BarState {
    now: ProgressUpdate,
    /// The last line that was written about it, the tenth that this line was in, and when it was written.
    line: (String, u64, Instant),
}

impl Bars {
    pub(crate) fn new(look: ProgressMode) -> Self {
        Self { look, works: BTreeMap::new(), drawn: 0, changed: false, last_frame: None }
    }

    /// Records the progress of some work, and returns a line to write at once, if any.
    pub(crate) fn update(&mut self, now: &ProgressUpdate) -> Option<String> {
        match self.look {
            ProgressMode::Hidden => None,
            ProgressMode::Lines => self.line(now),
            ProgressMode::Bars => {
                self.changed = true;
                if now.finished {
                    self.works.remove(&now.id);
                    return Some(row(now, terminal::stderr_size().columns) + "\n");
                }
                self.note(now);
                None
            }
        }
    }

    /// Finishes all remaining work, and returns the lines that stay on the screen.
    pub(crate) fn finish(&mut self) -> String {
        let open: Vec<_> = self.works.values().map(|work| work.now.clone()).collect();
        open.into_iter().filter_map(|now| self.update(&ProgressUpdate { finished: true, ..now })).collect()
    }

    /// Returns when the next frame is due, if there is anything to draw.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.changed.then(|| self.last_frame.map_or_else(Instant::now, |last| last + FRAME))
    }

    /// Returns the next frame, which replaces the one on the screen.
    pub(crate) fn draw(&mut self) -> String {
        let size = terminal::stderr_size();
        let mut frame = self.clear();
        // A frame higher than the screen could not be erased.
        let rows: Vec<_> = self
            .works
            .values()
            .take(size.rows.saturating_sub(1).into())
            .map(|work| row(&work.now, size.columns))
            .collect();
        frame.push_str(&rows.join("\n"));
        self.drawn = rows.len();
        self.changed = false;
        self.last_frame = Some(Instant::now());
        frame
    }

    /// Returns the escape sequence that erases the bars. The next frame draws them again.
    pub(crate) fn clear(&mut self) -> String {
        let up = match std::mem::take(&mut self.drawn) {
            0 => return String::new(),
            1 => String::new(),
            rows => format!("\u{1b}[{}A", rows - 1),
        };
        (self.changed, self.last_frame) = (true, None);
        format!("\r{up}\u{1b}[J")
    }

    fn line(&mut self, now: &ProgressUpdate) -> Option<String> {
        let text = text(now);
        let tenth = now.total.map_or(0, |total| tenth(now.done, total));
        let last = self.works.get(&now.id).map(|work| &work.line);
        let worth = last.is_none_or(|(last, last_tenth, written)| {
            let later = if now.total.is_some() { tenth > *last_tenth } else { written.elapsed() >= LINE };
            *last != text && (later || now.finished)
        });
        if now.finished {
            self.works.remove(&now.id);
        } else {
            let work = self.note(now);
            if worth {
                work.line = (text.clone(), tenth, Instant::now());
            }
        }
        worth.then(|| text + "\n")
    }

    fn note(&mut self, now: &ProgressUpdate) -> &mut BarState {
        let line = || (String::new(), 0, Instant::now());
        let work = self.works.entry(now.id).or_insert_with(|| BarState { now: now.clone(), line: line() });
        work.now.clone_from(now);
        work
    }
}

/// Returns how many tenths of the work are done.
fn tenth(done: u64, total: u64) -> u64 {
    if done >= total { 10 } else { (u128::from(done) * 10 / u128::from(total)) as u64 }
}

/// Describes the progress in words: `3/10 Reading three.txt`.
fn text(now: &ProgressUpdate) -> String {
    let mut text = now.done.to_string();
    if let Some(total) = now.total {
        // Writing to a string cannot fail.
        let _ = write!(text, "/{total}");
    }
    for part in [&now.label, &now.message] {
        if !part.is_empty() {
            let _ = write!(text, " {}", terminal::escape(part).replace(['\n', '\t'], " "));
        }
    }
    text
}

/// Returns a bar and its text, cut to fit in one row of a terminal.
fn row(now: &ProgressUpdate, columns: u16) -> String {
    let template =
        if now.total.is_some() && columns >= ROOM { "[{bar:20}] {wide_msg}" } else { "{wide_msg}" };
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    // The last column stays empty, because some terminals start a new row when it is written.
    let row = TestTerminal { columns: columns.saturating_sub(1).max(1), written: Arc::default() };
    let written = Arc::clone(&row.written);
    let bar = ProgressBar::with_draw_target(now.total, ProgressDrawTarget::term_like(Box::new(row)))
        .with_style(style.progress_chars("=> "))
        .with_position(now.done)
        .with_message(text(now));
    bar.force_draw();
    let text = std::mem::take(&mut *written.lock().unwrap_or_else(PoisonError::into_inner));
    text.trim_end().to_owned()
}

/// A terminal of one row that stores what is written to it.
#[derive(Debug)]
struct TestTerminal {
    columns: u16,
    written: Arc<Mutex<String>>,
}

impl TermLike for TestTerminal {
    fn width(&self) -> u16 {
        self.columns
    }

    fn move_cursor_up(&self, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn move_cursor_down(&self, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn move_cursor_right(&self, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn move_cursor_left(&self, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn write_line(&self, text: &str) -> io::Result<()> {
        self.write_str(text)
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner).push_str(text);
        Ok(())
    }

    fn clear_line(&self) -> io::Result<()> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner).clear();
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(done: u64, total: Option<u64>, label: &str, message: &str) -> ProgressUpdate {
        ProgressUpdate { id: 1, label: label.into(), message: message.into(), done, total, finished: false }
    }

    #[test]
    fn a_row_fits_into_its_terminal() {
        let half = at(5, Some(10), "Reading", "one.txt");
        let long = at(1, Some(2), "Reading", "a name that is much too long to be shown");
        for (now, columns, expected) in [
            (&half, 80, "[==========>         ] 5/10 Reading one.txt"),
            (&long, 44, "[==========>         ] 1/2 Reading a name t"),
            (&half, 39, "5/10 Reading one.txt"),
            (&half, 10, "5/10 Read"),
            (&half, 0, "5"),
            (&at(7, None, "Reading", ""), 80, "7 Reading"),
            (&at(0, Some(0), "", ""), 80, "[====================] 0/0"),
            (&at(9, Some(4), "", ""), 80, "[====================] 9/4"),
            (&at(u64::MAX, Some(u64::MAX), "", ""), 30, "18446744073709551615/18446744"),
            (&at(1, None, "漢字漢字", ""), 8, "1 漢字"),
            (&at(1, None, "a\u{1b}[2Jb\nc\t{pos}", ""), 80, "1 a\\u{1b}[2Jb c {pos}"),
        ] {
            assert_eq!(row(now, columns), expected);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn lines_come_at_the_start_at_each_tenth_and_at_the_end() {
        let mut bars = Bars::new(ProgressMode::Lines);
        let mut said = String::new();
        for done in 0..=95 {
            said.extend(bars.update(&at(done, Some(100), "Reading", "")));
        }
        let tenths: Vec<_> = (0..10).map(|tenth| format!("{}/100 Reading\n", tenth * 10)).collect();
        assert_eq!(said, tenths.concat());
        assert_eq!(bars.finish(), "95/100 Reading\n");
        assert_eq!(bars.finish(), "");
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_total_lines_come_now_and_then() {
        let mut bars = Bars::new(ProgressMode::Lines);
        let mut said = String::new();
        for second in 0..12 {
            said.extend(bars.update(&at(second, None, "Waiting", "")));
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        said.extend(bars.update(&ProgressUpdate { finished: true, ..at(11, None, "Waiting", "") }));
        assert_eq!(said, "0 Waiting\n5 Waiting\n10 Waiting\n11 Waiting\n");
    }

    #[tokio::test(start_paused = true)]
    async fn frames_come_at_most_ten_times_a_second() {
        let mut bars = Bars::new(ProgressMode::Bars);
        assert_eq!(bars.due(), None);
        bars.update(&at(1, None, "a", ""));
        let start = Instant::now();
        assert_eq!(bars.due(), Some(start));
        assert_eq!(bars.draw(), "1 a");
        assert_eq!(bars.due(), None);
        bars.update(&ProgressUpdate { id: 2, ..at(2, None, "b", "") });
        assert_eq!(bars.due(), Some(start + FRAME));
        assert_eq!(bars.draw(), "\r\u{1b}[J1 a\n2 b");
        assert_eq!(bars.clear(), "\r\u{1b}[1A\u{1b}[J");
        assert_eq!(bars.clear(), "");
        assert_eq!(
            bars.update(&ProgressUpdate { finished: true, ..at(3, None, "a", "") }).as_deref(),
            Some("3 a\n")
        );
        assert_eq!(bars.draw(), "2 b");
        assert_eq!(bars.finish(), "2 b\n");
    }
}
