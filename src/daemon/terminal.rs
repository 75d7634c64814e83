//! How the output looks: for a terminal or a pipe, in colour or not, in the
//! characters of the user's locale.

use std::io::{self, IsTerminal};
use std::os::fd::AsFd;

use loopkeeper::Health;
use loopkeeper::config::process_environment;
use loopkeeper::console::columns;

/// How text is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Look {
    /// How wide a line may be, where that matters.
    pub(super) columns: Option<usize>,
    pub(super) colours: bool,
    /// Whether other characters than those of ASCII are shown.
    pub(super) unicode: bool,
}

impl Look {
    /// That of this process's standard output.
    pub(super) fn of_stdout() -> Self {
        Self::of(&io::stdout())
    }

    /// That of this process's standard error.
    pub(super) fn of_stderr() -> Self {
        Self::of(&io::stderr())
    }

    fn of(out: &(impl IsTerminal + AsFd)) -> Self {
        let all = process_environment();
        let variable = |name: &str| {
            let (_, value) = all.iter().find(|(key, _)| key == name)?;
            value.to_str().filter(|value| !value.is_empty()).map(str::to_owned)
        };
        Self::new(out.is_terminal(), columns(out), variable)
    }

    /// Whether this process's standard output can be drawn over, in colours or
    /// not.
    pub(super) fn redraws() -> bool {
        let all = process_environment();
        let term = all.iter().find(|(key, _)| key == "TERM").and_then(|(_, value)| value.to_str());
        can_redraw(io::stdout().is_terminal(), term)
    }

    fn new(is_terminal: bool, columns: Option<usize>, variable: impl Fn(&str) -> Option<String>) -> Self {
        let is_dumb = variable("TERM").is_none_or(|term| term == "dumb");
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"].iter().find_map(|name| variable(name));
        let locale = locale.unwrap_or_default().to_ascii_lowercase();
        Self {
            columns: columns.filter(|_| is_terminal),
            colours: is_terminal && !is_dumb && variable("NO_COLOR").is_none(),
            unicode: !is_terminal || locale.contains("utf-8") || locale.contains("utf8"),
        }
    }

    /// A text on one line, in characters that the locale has.
    pub(super) fn line(self, text: &str) -> String {
        let text = super::escaped(text);
        if self.unicode || text.is_ascii() {
            return text;
        }
        let mut line = String::with_capacity(text.len());
        for c in text.chars() {
            match c {
                c if c.is_ascii() => line.push(c),
                '…' => line.push_str("..."),
                // The unit of short times.
                'µ' => line.push('u'),
                c => line.extend(c.escape_unicode()),
            }
        }
        line
    }

    /// A text in the colour of a health.
    pub(super) fn paint(self, health: &str, text: &str) -> String {
        let colour = match health {
            _ if !self.colours => return text.to_owned(),
            health if health == Health::Ready.as_str() => 32,
            health if health == Health::Degraded.as_str() => 33,
            health if health == Health::Down.as_str() => 31,
            _ => 36,
        };
        format!("\x1b[{colour}m{text}\x1b[0m")
    }
}

fn can_redraw(is_terminal: bool, term: Option<&str>) -> bool {
    is_terminal && term.is_some_and(|term| !matches!(term, "" | "dumb"))
}

/// The lines of a text that are at most `width` characters long, broken at
/// spaces where there are some.
pub(super) fn wrap(text: &str, width: usize) -> Vec<String> {
    let width = width.max(1);
    let mut lines = Vec::new();
    let mut line = String::new();
    let mut len = 0;
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        let mut word: Vec<char> = word.chars().collect();
        if len > 0 && len + 1 + word.len() > width {
            lines.push(std::mem::take(&mut line));
            len = 0;
        }
        while word.len() > width {
            lines.push(word.drain(..width).collect());
        }
        if len > 0 {
            line.push(' ');
            len += 1;
        }
        len += word.len();
        line.extend(word);
    }
    if len > 0 {
        lines.push(line);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_that_knows_how_is_drawn_over() {
        for (is_terminal, term, expected) in [
            (true, Some("xterm"), true),
            (true, Some("dumb"), false),
            (true, Some(""), false),
            (true, None, false),
            (false, Some("xterm"), false),
        ] {
            assert_eq!(can_redraw(is_terminal, term), expected, "{term:?}");
        }
    }

    #[test]
    fn colours_are_for_terminals_whose_owner_wants_them() {
        let check = |is_terminal, set: &[(&str, &str)]| {
            let variable = |name: &str| {
                let value = set.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
                value.filter(|value| !value.is_empty())
            };
            let look = Look::new(is_terminal, Some(80), variable);
            (look.columns.is_some(), look.colours, look.unicode)
        };
        let term = ("TERM", "xterm");
        for (is_terminal, set, expected) in [
            (false, &[term][..], (false, false, true)),
            (true, &[term], (true, true, false)),
            (true, &[term, ("NO_COLOR", "1")], (true, false, false)),
            (true, &[term, ("NO_COLOR", "")], (true, true, false)),
            (true, &[("TERM", "dumb")], (true, false, false)),
            (true, &[], (true, false, false)),
            (true, &[term, ("LANG", "de_DE.UTF-8")], (true, true, true)),
            (true, &[term, ("LC_ALL", "C"), ("LANG", "de_DE.UTF-8")], (true, true, false)),
            (true, &[term, ("LC_CTYPE", "C.utf8")], (true, true, true)),
        ] {
            assert_eq!(check(is_terminal, set), expected, "{is_terminal} {set:?}");
        }
    }

    #[test]
    fn characters_that_the_locale_lacks_are_written_out() {
        let ascii = Look { columns: None, colours: false, unicode: false };
        assert_eq!(ascii.line("größe…\n"), "gr\\u{f6}\\u{df}e...\\n");
        assert_eq!(ascii.line("782.0µs"), "782.0us");
        assert_eq!(Look { unicode: true, ..ascii }.line("größe…\n\u{202e}"), "größe…\\n\\u{202e}");
    }

    #[test]
    fn lines_break_at_spaces_and_else_where_they_must() {
        for (text, width, lines) in [
            ("", 5, &[][..]),
            ("a bc def", 4, &["a bc", "def"]),
            ("abcdefgh ij", 3, &["abc", "def", "gh", "ij"]),
            ("ab cdefgh", 4, &["ab", "cdef", "gh"]),
            ("éé é", 2, &["éé", "é"]),
            ("abc", 0, &["a", "b", "c"]),
        ] {
            assert_eq!(wrap(text, width), lines, "{text:?} {width}");
        }
    }
}
