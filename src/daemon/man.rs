//! The man page, made of what the program says of itself.

use super::help::Topic;

const VERSION: &str = env!("CARGO_PKG_VERSION");
/// When this version was released; empty while it was not.
const DATE: &str = released(include_str!("../docs/changelog.md"), VERSION);

/// How many bytes an input line of roff should have at most.
const WIDTH: usize = 80;

/// The date at the heading of a version, which is `## VERSION - YYYY-MM-DD`.
/// Made when this is compiled, so that the changelog is no part of the program.
const fn released<'a>(changelog: &'a str, version: &str) -> &'a str {
    let text = changelog.as_bytes();
    let mut at = 0;
    while at < text.len() {
        let begin = at;
        while at < text.len() && text[at] != b'\n' {
            at += 1;
        }
        let after = begin + 3 + version.len() + 3;
        if after + 10 <= at
            && is_at(text, begin, b"## ")
            && is_at(text, begin + 3, version.as_bytes())
            && is_at(text, begin + 3 + version.len(), b" - ")
        {
            let (_, rest) = text.split_at(after);
            let (date, _) = rest.split_at(10);
            return match std::str::from_utf8(date) {
                Ok(date) => date,
                Err(_) => "",
            };
        }
        at += 1;
    }
    ""
}

const fn is_at(text: &[u8], at: usize, part: &[u8]) -> bool {
    let mut i = 0;
    while i < part.len() {
        if at + i >= text.len() || text[at + i] != part[i] {
            return false;
        }
        i += 1;
    }
    true
}

/// The page as roff.
pub(super) fn page() -> String {
    let mut page = format!(
        ".TH LOOPKEEPER 1 \"{DATE}\" \"loopkeeper {VERSION}\" \"User Commands\"\n.SH NAME\nloopkeeper \\- watches \
         services and keeps loops alive\n.SH SYNOPSIS\n.B loopkeeper\n.I COMMAND\n[\\fIOPTIONS\\fR]\n\
         .SH DESCRIPTION\n"
    );
    blocks(Topic::Program.text(), &mut page);
    page.push_str(".SH COMMANDS\n");
    for topic in Topic::COMMANDS {
        page.push_str(&format!(".SS {}\n", topic.name()));
        blocks(topic.text(), &mut page);
    }
    page.push_str(
        ".SH ENVIRONMENT\n.TP\n.B LOOPKEEPER_TOKEN\nThe token by which trigger, rescan and recovery may act.\n\
         .TP\n.BI LOOPKEEPER_ SECTION __ KEY\nA setting, such as LOOPKEEPER_HTTP__LISTEN for http.listen.\n\
         .TP\n.B NO_COLOR\nNo colours, if it is set.\n",
    );
    page
}

/// Paragraphs as such, options with what they are for, all else as it is.
fn blocks(text: &str, page: &mut String) {
    for (i, block) in text.split("\n\n").enumerate() {
        let lines: Vec<&str> = block.lines().collect();
        let is_indented = lines.iter().all(|line| line.starts_with("    "));
        // The way a command is called, at its top, is laid out already.
        let is_call = lines.first().is_some_and(|line| line.starts_with("loopkeeper "));
        // A heading begins a paragraph by itself.
        let paragraph = if i == 0 { "" } else { ".PP\n" };
        if is_indented && lines[0].trim_start().starts_with("--") {
            options(&lines, page);
        } else if is_indented || (i == 0 && is_call && block.contains(['[', '|'])) {
            page.push_str(&format!("{paragraph}.nf\n"));
            lines.iter().for_each(|line| page.push_str(&format!("{}\n", escape(line))));
            page.push_str(".fi\n");
        } else {
            page.push_str(paragraph);
            filled(&lines, page);
        }
    }
}

/// Words, on lines of a good length: where they break is the reader's choice.
fn filled(lines: &[&str], page: &mut String) {
    let mut text = String::new();
    for word in lines.iter().flat_map(|line| line.split_whitespace()).map(escape) {
        if !text.is_empty() && text.len() + 1 + word.len() > WIDTH {
            page.push_str(&format!("{text}\n"));
            text.clear();
        }
        if !text.is_empty() {
            text.push(' ');
        }
        text.push_str(&word);
    }
    if !text.is_empty() {
        page.push_str(&format!("{text}\n"));
    }
}

fn options(lines: &[&str], page: &mut String) {
    for line in lines {
        let line = line.trim();
        match line.split_once("  ").filter(|_| line.starts_with("--")) {
            Some((option, what)) => {
                page.push_str(&format!(".TP\n.B {}\n{}\n", escape(option), escape(what.trim())));
            }
            None => page.push_str(&format!("{}\n", escape(line))),
        }
    }
}

/// Text that roff takes for nothing else.
fn escape(line: &str) -> String {
    let text = line.trim_end().replace('\\', "\\e").replace('-', "\\-");
    if text.starts_with(['.', '\'']) { format!("\\&{text}") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_becomes_roff() {
        let mut page = String::new();
        blocks(
            "loopkeeper x [--a]\n\nIt does.\n.not a macro\n\n    --a FILE   the \"file\"\n               of it\n\nExample:\n\n    $ x \\\n",
            &mut page,
        );
        let expected = ".nf\nloopkeeper x [\\-\\-a]\n.fi\n.PP\nIt does. \\&.not a macro\n.TP\n.B \\-\\-a FILE\n\
                        the \"file\"\nof it\n.PP\nExample:\n.PP\n.nf\n    $ x \\e\n.fi\n";
        assert_eq!(page, expected);
        let page = super::page();
        assert!(Topic::COMMANDS.iter().all(|topic| page.contains(&format!("\n.SS {}\n", topic.name()))));
        assert!(!page.contains("\n\n"));
    }

    #[test]
    fn the_date_is_that_of_the_release() {
        let changelog = "# Changelog\n\n## Unreleased\n\n## 1.2.0 - 2026-03-04\n\n- 1.2.0\n\n## 1.1.0 - 2025-01-02\n## 1.0.0\n";
        for (version, expected) in
            [("1.2.0", "2026-03-04"), ("1.1.0", "2025-01-02"), ("1.0.0", ""), ("1.2", ""), ("2.0.0", "")]
        {
            assert_eq!(released(changelog, version), expected, "{version}");
        }
        assert_eq!(released("## 1.0.0 - 2026-0", "1.0.0"), "");
    }

    #[test]
    fn every_help_teaches_by_an_example_and_says_how_it_ends() {
        for topic in Topic::COMMANDS {
            let text = topic.text();
            assert!(text.starts_with(&format!("loopkeeper {}", topic.name())), "{}", topic.name());
            assert!(text.contains("\n\nExample:\n\n    $ "), "{}", topic.name());
            assert!(text.contains("\n\nEnds with 0"), "{}", topic.name());
            assert!(text.lines().all(|line| line.chars().count() <= 110), "{}", topic.name());
        }
    }
}
