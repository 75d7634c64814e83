//! Rows for people: aligned, each on its line, whatever is in them.

use std::fmt;
use std::time::Duration;

use loopkeeper::Stamp;

use super::escaped;

/// The longest cell, in characters; the last one of a row may be longer.
const CELL: usize = 32;
const LAST: usize = 80;

/// Rows below a heading. The last column is for words.
#[derive(Debug)]
pub(super) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(super) fn new(heading: &[&str]) -> Self {
        Self { rows: vec![heading.iter().map(|&word| word.to_owned()).collect()] }
    }

    pub(super) fn row<const N: usize>(&mut self, cells: [String; N]) {
        let clip = |(i, cell): (usize, String)| clip(&escaped(&cell), if i + 1 == N { LAST } else { CELL });
        self.rows.push(cells.into_iter().enumerate().map(clip).collect());
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = self.rows.first().map_or(0, Vec::len);
        let widths: Vec<usize> = (0..columns)
            .map(|i| self.rows.iter().map(|row| row[i].chars().count()).max().unwrap_or(0))
            .collect();
        for row in &self.rows {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                line.push_str(&format!("{cell:width$}  "));
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

fn clip(text: &str, max: usize) -> String {
    if text.chars().count() <= max {
        return text.to_owned();
    }
    text.chars().take(max - 1).chain(['…']).collect()
}

/// How long ago, in one unit.
pub(super) fn age(now: Stamp, then: Stamp) -> String {
    span(now.as_micros().saturating_sub(then.as_micros()))
}

/// How long it is until then, or how long that is over.
pub(super) fn until(now: Stamp, then: Stamp) -> String {
    if then > now { format!("in {}", age(then, now)) } else { format!("{} ago", age(now, then)) }
}

/// How long, in one unit.
pub(super) fn span(micros: u64) -> String {
    match Duration::from_micros(micros).as_secs() {
        n @ 0..120 => format!("{n}s"),
        n @ 120..7_200 => format!("{}m", n / 60),
        n @ 7_200..172_800 => format!("{}h", n / 3_600),
        n => format!("{}d", n / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_cells_stay_in_their_place() {
        let mut table = Table::new(&["ID", "NAME", "WHY"]);
        table.row(["1".to_owned(), "größe".to_owned(), "a\nb\u{1b}[31m\u{202e}".to_owned()]);
        table.row(["100".to_owned(), "x".repeat(40), String::new()]);
        let text = table.to_string();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], format!("ID   NAME{}  WHY", " ".repeat(28)));
        assert_eq!(lines[1], format!("1    größe{}  a\\nb\\u{{1b}}[31m\\u{{202e}}", " ".repeat(27)));
        assert_eq!(lines[2], format!("100  {}…", "x".repeat(31)));
    }

    #[test]
    fn spans_have_one_unit_and_a_direction() {
        let at = |secs: u64| Stamp::from_micros(secs * 1_000_000);
        for (now, then, expected) in [
            (100, 100, "0s ago"),
            (100, 41, "59s ago"),
            (100, 260, "in 2m"),
            (8_000, 1, "2h ago"),
            (8_000, 1_000_000_000, "in 11573d"),
        ] {
            assert_eq!(until(at(now), at(then)), expected);
        }
        // The database's clock may be behind who wrote the row.
        assert_eq!(age(at(1), at(2)), "0s");
    }
}
