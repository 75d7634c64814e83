//! Shows where in its file a fault stands, for people at a terminal.

use std::collections::HashMap;

use loopkeeper::tree::Faults;

use super::terminal::Look;

/// Each fault on a line of its own, and below it the line of its file with a
/// mark under the column. Where the file is another by now there is none.
pub(super) fn lines(faults: &Faults, columns: usize, look: Look) -> String {
    let mut files: HashMap<String, Option<String>> = HashMap::new();
    let mut out = Vec::new();
    for fault in faults {
        out.push(look.line(&fault.to_string()));
        let (file, line) = (fault.place.file(), fault.place.line() as usize);
        let text = files.entry(file.to_owned()).or_insert_with(|| std::fs::read_to_string(file).ok());
        let source = text.as_ref().filter(|_| line > 0).and_then(|text| text.lines().nth(line - 1));
        if let Some(source) = source {
            out.extend(marked(source, fault.place.column() as usize, columns, look).into_iter().flatten());
        }
    }
    out.join("\n")
}

/// The part of a line around a column, counted from 1, and the mark.
fn marked(source: &str, column: usize, columns: usize, look: Look) -> Option<[String; 2]> {
    const INDENT: usize = 4;
    let room = columns.saturating_sub(INDENT + 1).max(8);
    let at = column.checked_sub(1)?;
    let before: String = source.chars().take(at).collect();
    let after: String = source.chars().skip(at).collect();
    // What is no character of the terminal is written out, and so is wider.
    let (before, after) = (look.line(&before.replace('\t', " ")), look.line(&after.replace('\t', " ")));
    let width = before.chars().count();
    let skip = width.saturating_sub(room / 2);
    let shown: String = before.chars().chain(after.chars()).skip(skip).take(room).collect();
    let indent = " ".repeat(INDENT);
    let mark = format!("{indent}{}{}", " ".repeat(width - skip), look.paint("down", "^"));
    Some([format!("{indent}{}", shown.trim_end()), mark])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mark_stands_under_the_column() {
        let look = Look { columns: Some(40), colours: false, unicode: false };
        for (source, column, columns, expected) in [
            ("{\"a\": 1}", 7, 80, Some(["    {\"a\": 1}", "          ^"])),
            ("\t\"größe\": 1", 11, 80, Some(["     \"gr\\u{f6}\\u{df}e\": 1", "                        ^"])),
            ("abcdefghijklmnopqrstuvwxyz", 20, 14, Some(["    pqrstuvwx", "        ^"])),
            ("a\u{1b}[2J", 3, 80, Some(["    a\\u{1b}[2J", "           ^"])),
            ("ab", 9, 80, Some(["    ab", "      ^"])),
            ("ab", 0, 80, None),
        ] {
            let expected = expected.map(|lines| lines.map(str::to_owned));
            assert_eq!(marked(source, column, columns, look), expected, "{source} {column}");
        }
    }
}
