//! Paths with places for values.

use std::fmt;

use crate::error::{Error, Result};
use crate::text::head;

/// How much of a value an error shows, in bytes.
const SHOWN: usize = 100;

/// A path below a base URL, with places for values: `/runs/{run}/checkpoints`.
///
/// A value becomes one piece of the path, whatever is in it: all that is not a
/// letter, a digit or one of `-._~` is escaped.
///
/// # Examples
///
/// ```
/// use loopkeeper::rest::Template;
///
/// let template = Template::new("/runs/{run}?full=1", &["run"])?;
/// assert_eq!(template.fill(&[("run", "a/b c")])?, "/runs/a%2Fb%20c?full=1");
/// assert_eq!(template.fill(&[("run", "..")]).unwrap_err().to_string(), "run: cannot be part of a path: \"..\"");
///
/// let error = Template::new("/runs/{rnu}", &["run"]).unwrap_err();
/// assert_eq!(error.to_string(), "unknown place {rnu}, expected {run}");
/// # Ok::<(), loopkeeper::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Template {
    text: String,
    pieces: Vec<Piece>,
}

#[derive(Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Place(String),
}

impl Template {
    /// Reads a template whose places are among `places`.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` when it does not begin with a slash, has a place
    /// that is not among them, or what no URL may have.
    pub fn new(text: impl Into<String>, places: &[&str]) -> Result<Self> {
        let text = text.into();
        let pieces = read(&text, places).map_err(Error::invalid)?;
        Ok(Self { text, pieces })
    }

    /// Puts values in the places.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` when a place has no value, or one that would change
    /// which path is meant: empty, `.` or `..`.
    pub fn fill(&self, values: &[(&str, &str)]) -> Result<String> {
        let mut path = String::with_capacity(self.text.len() + 32);
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => path.push_str(text),
                Piece::Place(name) => {
                    let value = values.iter().find(|(known, _)| known == name).map(|(_, value)| *value);
                    let value = value.ok_or_else(|| Error::invalid(format!("{name}: has no value")))?;
                    if ["", ".", ".."].contains(&value) {
                        return Err(Error::invalid(format!("{name}: cannot be part of a path: {value:?}")));
                    }
                    escape(value, &mut path);
                }
            }
        }
        Ok(path)
    }

    /// Whether it has a place of this name.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.pieces.iter().any(|piece| matches!(piece, Piece::Place(known) if known == name))
    }

    /// The template as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

fn read(text: &str, places: &[&str]) -> std::result::Result<Vec<Piece>, String> {
    let shown = || head(text.as_bytes(), SHOWN);
    if !text.starts_with('/') {
        return Err(format!("expected a path that begins with \"/\", found \"{}\"", shown()));
    }
    // More would be taken for the name of a host.
    if text.starts_with("//") {
        return Err(format!("expected a path that begins with one \"/\", found \"{}\"", shown()));
    }
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find(['{', '}']) {
        let (before, after) = rest.split_at(at);
        let place = after.strip_prefix('{').and_then(|after| after.split_once('}'));
        let Some((name, after)) = place else {
            return Err(format!(
                "expected a place such as {{run}}, found \"{}\"",
                head(after.as_bytes(), SHOWN)
            ));
        };
        if !places.contains(&name) {
            let known: Vec<String> = places.iter().map(|name| format!("{{{name}}}")).collect();
            let expected = if known.is_empty() { "none".to_owned() } else { known.join(" or ") };
            return Err(format!("unknown place {{{}}}, expected {expected}", head(name.as_bytes(), SHOWN)));
        }
        pieces.push(Piece::Text(before.to_owned()));
        pieces.push(Piece::Place(name.to_owned()));
        rest = after;
    }
    pieces.push(Piece::Text(rest.to_owned()));
    let is_fine = |c: char| c.is_ascii_graphic() && !['"', '#', '<', '>', '\\', '^', '`', '|'].contains(&c);
    if let Some(c) = text.chars().find(|c| !is_fine(*c)) {
        return Err(format!("{c:?} cannot be in a URL, found \"{}\"", shown()));
    }
    Ok(pieces)
}

fn escape(value: &str, path: &mut String) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            path.push(char::from(byte));
        } else {
            path.push('%');
            path.push(char::from(DIGITS[usize::from(byte >> 4)]));
            path.push(char::from(DIGITS[usize::from(byte & 15)]));
        }
    }
}

impl fmt::Debug for Template {
    /// Without the query, which may hold something secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.text.split('?').next().unwrap_or_default(), f)
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_one_piece_of_the_path_whatever_is_in_it() {
        let template = Template::new("/r/{run}/c/{run}-x?q={run}", &["run"]).unwrap();
        for (value, path) in [
            ("a", "/r/a/c/a-x?q=a"),
            ("a/b", "/r/a%2Fb/c/a%2Fb-x?q=a%2Fb"),
            ("?&#%", "/r/%3F%26%23%25/c/%3F%26%23%25-x?q=%3F%26%23%25"),
            ("é", "/r/%C3%A9/c/%C3%A9-x?q=%C3%A9"),
            ("a:b~._-", "/r/a%3Ab~._-/c/a%3Ab~._--x?q=a%3Ab~._-"),
        ] {
            assert_eq!(template.fill(&[("run", value)]).unwrap(), path);
        }
        for value in ["", ".", ".."] {
            let text = template.fill(&[("run", value)]).unwrap_err().to_string();
            assert_eq!(text, format!("run: cannot be part of a path: {value:?}"));
        }
        assert_eq!(template.fill(&[]).unwrap_err().to_string(), "run: has no value");
    }

    #[test]
    fn what_is_no_template_is_refused() {
        for (text, flaw) in [
            ("", "expected a path that begins with \"/\", found \"\""),
            ("runs", "expected a path that begins with \"/\", found \"runs\""),
            ("//h/x", "expected a path that begins with one \"/\", found \"//h/x\""),
            ("/a{", "expected a place such as {run}, found \"{\""),
            ("/a}b", "expected a place such as {run}, found \"}b\""),
            ("/{}", "unknown place {}, expected {run}"),
            ("/{{run}}", "unknown place {{run}, expected {run}"),
            ("/a b", "' ' cannot be in a URL, found \"/a b\""),
            ("/a#b", "'#' cannot be in a URL, found \"/a#b\""),
            ("/\n", "'\\n' cannot be in a URL, found \"/\""),
        ] {
            assert_eq!(Template::new(text, &["run"]).unwrap_err().to_string(), flaw, "{text:?}");
        }
    }
}
