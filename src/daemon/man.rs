//! The man page, made of what the program says of itself.

use super::help::Topic;

/// The page as roff.
pub(super) fn page() -> String {
    let mut page = format!(
        ".TH LOOPKEEPER 1 2026-01-01 \"loopkeeper {}\" \"User Commands\"\n.SH NAME\nloopkeeper \\- watches services \
         and keeps loops alive\n.SH SYNOPSIS\n.B loopkeeper\n.I COMMAND\n[\\fIOPTIONS\\fR]\n.SH DESCRIPTION\n",
        env!("CARGO_PKG_VERSION")
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
        if is_indented && lines[0].trim_start().starts_with("--") {
            options(&lines, page);
        } else if is_indented || (i == 0 && is_call && block.contains(['[', '|'])) {
            page.push_str(".PP\n.nf\n");
            lines.iter().for_each(|line| page.push_str(&format!("{}\n", escape(line))));
            page.push_str(".fi\n");
        } else {
            page.push_str(".PP\n");
            lines.iter().for_each(|line| page.push_str(&format!("{}\n", escape(line))));
        }
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
        let expected = ".PP\n.nf\nloopkeeper x [\\-\\-a]\n.fi\n.PP\nIt does.\n\\&.not a macro\n.TP\n.B \\-\\-a FILE\n\
                        the \"file\"\nof it\n.PP\nExample:\n.PP\n.nf\n    $ x \\e\n.fi\n";
        assert_eq!(page, expected);
        let page = super::page();
        assert!(Topic::COMMANDS.iter().all(|topic| page.contains(&format!("\n.SS {}\n", topic.name()))));
        assert!(!page.contains("\n\n"));
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
