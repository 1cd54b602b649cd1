//! A line of a text that somebody wrote, with a place in it marked.
//!
//! ```text
//!    |
//! 12 | tcp 198.51.100.7 > 203.0.113.1:22
//!    |     ^^^^^^^^^^^^
//! ```
//!
//! Who writes the text decides how long its lines are. Of a long one a window around the place is
//! shown, so that a picture has a size that nobody else decides, and a formatter's width (which
//! Rust refuses above 65,535) is never taken from a text.

use std::fmt;

/// Characters of the longest line that is shown whole, and of the window of a longer one.
const WINDOW: usize = 512;
/// How many of them stand before the place.
const BEFORE: usize = WINDOW / 2;

/// A picture of a place. It ends behind the marks, without an end of line.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Picture<'a> {
    /// What stands in the margin: the line's number, if there is one.
    pub(crate) margin: &'a str,
    /// The line.
    pub(crate) text: &'a str,
    /// The first character that is marked, from 0.
    pub(crate) column: usize,
    /// How many are; one is at the least.
    pub(crate) width: usize,
}

impl fmt::Display for Picture<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { margin, text, column, width } = *self;
        let length = text.chars().count();
        // What is missing is missing behind the last character, or behind a blank there.
        let column = column.min(length + 1);
        let skipped = if length > WINDOW { column.saturating_sub(BEFORE) } else { 0 };
        let shown = text.chars().skip(skipped).take(WINDOW);
        // A tab is one character to the column but would be several to the terminal.
        let shown: String = shown.map(|letter| if letter == '\t' { ' ' } else { letter }).collect();
        let cut = |is_cut: bool| if is_cut { "…" } else { "" };
        let (left, right) = (cut(skipped > 0), cut(length > skipped + WINDOW));
        let blank = " ".repeat(margin.chars().count());
        let before = " ".repeat(column - skipped + left.chars().count());
        let marks = "^".repeat(width.min((skipped + WINDOW).saturating_sub(column)).max(1));
        writeln!(f, "{blank} |")?;
        writeln!(f, "{margin} | {left}{shown}{right}")?;
        write!(f, "{blank} | {before}{marks}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(text: &str, column: usize, width: usize) -> Vec<String> {
        let picture = Picture { margin: "12", text, column, width }.to_string();
        picture.lines().map(str::to_owned).collect()
    }

    #[test]
    fn a_short_line_is_shown_whole() {
        assert_eq!(drawn("a\tbc d", 2, 2), ["   |", "12 | a bc d", "   |   ^^"]);
        assert_eq!(drawn("ä", 2, 1), ["   |", "12 | ä", "   |   ^"]);
        assert_eq!(drawn("", usize::MAX, 0), ["   |", "12 | ", "   |  ^"]);
    }

    #[test]
    fn of_a_long_line_a_window_is_shown_with_the_mark_below_its_place() {
        let text = format!("{}zzz{}", "ä".repeat(70_000), "b".repeat(70_000));
        let picture = drawn(&text, 70_000, 3);
        let mark = picture[2].find("^^^").unwrap();
        assert_eq!(picture[1].chars().skip(mark).take(3).collect::<String>(), "zzz");
        assert!(picture[1].starts_with("12 | …ä") && picture[1].ends_with("b…"), "{}", picture[1]);
        assert_eq!(picture[1].chars().count(), 5 + 1 + WINDOW + 1);
        // Its beginning and its end, and a word longer than the window.
        assert!(drawn(&text, 0, 1)[1].starts_with("12 | ä"));
        assert!(drawn(&text, 140_003, 1)[1].ends_with('b'));
        for (column, width) in [(0, 140_003), (70_000, usize::MAX), (usize::MAX, usize::MAX)] {
            let picture = drawn(&text, column, width);
            assert!(picture[2].ends_with('^'), "{column}");
            assert!(picture[2].chars().count() <= 5 + 1 + WINDOW, "{column}");
        }
    }
}
