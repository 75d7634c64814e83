//! How a list goes on, on further pages.

use serde_json::Value;
use ureq::http::Uri;

use crate::pointer::{Kind, Pointer};
use crate::probe::http::target::follow;
use crate::rest::Answer;

/// How a list goes on, on further pages.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Paging {
    /// It does not.
    #[default]
    None,
    /// By the link that the header `Link` calls `next`.
    LinkHeader,
    /// By the link at a place of the document; without one, or with `null`,
    /// `false` or an empty text, the page is the last.
    NextLink(Pointer),
    /// By the value at a place of the document, sent along as a parameter of
    /// the first URL; the page is the last as with [`NextLink`](Self::NextLink).
    Cursor {
        /// Where the document has it.
        at: Pointer,
        /// The parameter it is sent as.
        parameter: String,
    },
    /// By counting pages in a parameter, until one has no items.
    Page {
        /// The parameter.
        parameter: String,
        /// The number of the first page.
        first: u64,
    },
    /// By counting items in a parameter, until a page has none.
    Offset {
        /// The parameter.
        parameter: String,
    },
}

impl Paging {
    /// Says what is wrong with it, if something is.
    pub(super) fn check(&self) -> Result<(), &'static str> {
        match self {
            Self::Cursor { parameter, .. } | Self::Page { parameter, .. } | Self::Offset { parameter }
                if parameter.is_empty() =>
            {
                Err("the parameter must not be empty")
            }
            _ => Ok(()),
        }
    }

    /// The path of the first page.
    pub(super) fn first(&self, path: &str) -> String {
        match self {
            Self::Page { parameter, first } => with_parameter(path, parameter, &first.to_string()),
            Self::Offset { parameter } => with_parameter(path, parameter, "0"),
            _ => path.to_owned(),
        }
    }

    /// Where the next page is, if there is one.
    pub(super) fn next(&self, at: &At<'_>) -> Result<Option<Next>, String> {
        let path = |parameter: &str, value: &str| Next::Path(with_parameter(at.path, parameter, value));
        let link = |link: &str| match follow(at.uri, link) {
            Ok(uri) => Ok(Some(Next::Link(uri))),
            Err(text) => {
                Err(format!("the link to the next page {}", text.replacen("redirected", "leads", 1)))
            }
        };
        match self {
            Self::None => Ok(None),
            Self::LinkHeader => {
                let mut lines = at.answer.header_lines("link");
                lines.find_map(|line| next_link(&line).map(link)).unwrap_or(Ok(None))
            }
            Self::NextLink(pointer) => match pointer.find(at.document) {
                Err(_) | Ok(Value::Null | Value::Bool(false)) => Ok(None),
                Ok(Value::String(text)) if text.is_empty() => Ok(None),
                Ok(Value::String(text)) => link(text),
                Ok(other) => Err(format!("next: expected a link at {pointer}, found {}", Kind(other))),
            },
            Self::Cursor { at: pointer, parameter } => match pointer.find(at.document) {
                Err(_) | Ok(Value::Null | Value::Bool(false)) => Ok(None),
                Ok(Value::String(text)) if text.is_empty() => Ok(None),
                Ok(Value::String(text)) => Ok(Some(path(parameter, text))),
                Ok(Value::Number(number)) => Ok(Some(path(parameter, &number.to_string()))),
                Ok(other) => {
                    Err(format!("next: expected a string or a number at {pointer}, found {}", Kind(other)))
                }
            },
            Self::Page { .. } | Self::Offset { .. } if at.items_here == 0 => Ok(None),
            Self::Page { parameter, first } => {
                Ok(Some(path(parameter, &first.saturating_add(at.pages).to_string())))
            }
            Self::Offset { parameter } => Ok(Some(path(parameter, &at.items.to_string()))),
        }
    }
}

/// A page that was read.
pub(super) struct At<'a> {
    pub(super) answer: &'a Answer,
    pub(super) document: &'a Value,
    pub(super) uri: &'a Uri,
    /// What was asked for first.
    pub(super) path: &'a str,
    /// How many pages there were, with this one.
    pub(super) pages: u64,
    pub(super) items: usize,
    pub(super) items_here: usize,
}

/// Where a page is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Next {
    Path(String),
    Link(Uri),
}

fn with_parameter(path: &str, name: &str, value: &str) -> String {
    let mut path = path.to_owned();
    path.push(if path.contains('?') { '&' } else { '?' });
    escape(name, &mut path);
    path.push('=');
    escape(value, &mut path);
    path
}

fn escape(text: &str, path: &mut String) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            path.push(char::from(byte));
        } else {
            path.push_str(&format!("%{byte:02X}"));
        }
    }
}

/// The link that a header `Link` calls `next`: `<URL>; rel="next", ..`.
pub(super) fn next_link(header: &str) -> Option<&str> {
    let mut rest = header;
    loop {
        let (link, after) = rest.split_once('<')?.1.split_once('>')?;
        let (mut parameters, further) = split_unquoted(after, ',');
        while !parameters.is_empty() {
            let (parameter, others) = split_unquoted(parameters, ';');
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            let mut relations = value.trim().trim_matches('"').split_ascii_whitespace();
            if name.trim().eq_ignore_ascii_case("rel")
                && relations.any(|one| one.eq_ignore_ascii_case("next"))
            {
                return Some(link);
            }
            parameters = others;
        }
        rest = further;
    }
}

/// Splits at the first `separator` that no quotes are around.
fn split_unquoted(text: &str, separator: char) -> (&str, &str) {
    let mut is_quoted = false;
    let end = text.find(|c| {
        is_quoted ^= c == '"';
        c == separator && !is_quoted
    });
    match end {
        Some(end) => (&text[..end], &text[end + separator.len_utf8()..]),
        None => (text, ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_link_is_found_among_others() {
        for (header, link) in [
            ("</p?page=2>; rel=\"next\"", Some("/p?page=2")),
            ("</1>; rel=\"prev\", </3>; rel=next; title=x", Some("/3")),
            ("</1>;title=\"a, b; rel=next\",</2>; REL=\"last NEXT\"", Some("/2")),
            ("</a,b>; rel=next", Some("/a,b")),
            ("</1>; rel=\"prev\"", None),
            ("</1>", None),
            ("rel=next", None),
            ("<", None),
            ("", None),
            ("</1>; rel=\"next", Some("/1")),
        ] {
            assert_eq!(next_link(header), link, "{header}");
        }
    }

    #[test]
    fn parameters_are_escaped() {
        assert_eq!(with_parameter("/a", "page", "2"), "/a?page=2");
        assert_eq!(with_parameter("/a?b=c", "p q", "x&y/é"), "/a?b=c&p%20q=x%26y%2F%C3%A9");
    }
}
