//! Where in a JSON document something is.

use std::fmt;

use serde_json::Value;

use crate::error::{Error, ErrorKind, Result};
use crate::probe::text::head;

/// How much of a document's names an error shows, in bytes.
const SHOWN: usize = 120;

/// A JSON pointer (RFC 6901): `/last_checkpoint/path`, `/items/0`; the empty
/// one is the whole document.
///
/// # Examples
///
/// ```
/// use loopkeeper::rest::Pointer;
///
/// let document = serde_json::json!({"run": {"id": "r1", "state": "up"}});
/// assert_eq!(Pointer::new("/run/id")?.get(&document)?, "r1");
/// assert_eq!(
///     Pointer::new("/run/name")?.get(&document).unwrap_err().to_string(),
///     "/run/name: not there, /run has \"id\" and \"state\"",
/// );
/// # Ok::<(), loopkeeper::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Pointer(String);

impl Pointer {
    /// Reads a pointer.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` when the text is neither empty nor begins with a
    /// slash, or has a `~` that is neither `~0` (for `~`) nor `~1` (for `/`).
    pub fn new(text: impl Into<String>) -> Result<Self> {
        let text = text.into();
        let shown = || head(text.as_bytes(), SHOWN);
        if !text.is_empty() && !text.starts_with('/') {
            let found = shown();
            return Err(Error::invalid(format!(
                "expected a JSON pointer such as \"/run/id\", found \"{found}\""
            )));
        }
        if text.split('~').skip(1).any(|rest| !rest.starts_with(['0', '1'])) {
            let found = shown();
            return Err(Error::invalid(format!(
                "a JSON pointer has only ~0 and ~1 after a ~, found \"{found}\""
            )));
        }
        Ok(Self(text))
    }

    /// What is there, if it is.
    #[must_use]
    pub fn find<'v>(&self, document: &'v Value) -> Option<&'v Value> {
        document.pointer(&self.0)
    }

    /// What is there.
    ///
    /// # Errors
    ///
    /// `Probe` when nothing is; the text says how far the document goes.
    pub fn get<'v>(&self, document: &'v Value) -> Result<&'v Value> {
        self.find(document).ok_or_else(|| Error::new(ErrorKind::Probe).context(self.missing(document)))
    }

    /// The pointer as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn missing(&self, document: &Value) -> String {
        let (mut at, mut known) = (document, 0);
        let ends = self.0.char_indices().skip(1).filter(|(_, c)| *c == '/').map(|(idx, _)| idx);
        for end in ends {
            match document.pointer(&self.0[..end]) {
                Some(value) => (at, known) = (value, end),
                None => break,
            }
        }
        let whole = if known == 0 { "the document" } else { &self.0[..known] };
        format!("{self}: not there, {whole} {}", Content(at))
    }
}

/// What a value has, where something else was looked for in it.
struct Content<'a>(&'a Value);

impl fmt::Display for Content<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Value::Object(fields) if fields.is_empty() => f.write_str("is an empty object"),
            Value::Object(fields) => {
                let mut names = String::new();
                for (idx, name) in fields.keys().take(10).enumerate() {
                    let comma = match idx {
                        0 => "",
                        _ if idx + 1 == fields.len() => " and ",
                        _ => ", ",
                    };
                    names.push_str(&format!("{comma}\"{name}\""));
                }
                if fields.len() > 10 {
                    names.push_str(" and more");
                }
                write!(f, "has {}", head(names.as_bytes(), SHOWN))
            }
            Value::Array(items) => write!(f, "is a list of {}", items.len()),
            value => write!(f, "is {}", Found(value)),
        }
    }
}

/// A value as people read it in an error: its type, and of a short one the
/// value.
pub(crate) struct Found<'a>(pub(crate) &'a Value);

impl fmt::Display for Found<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Value::Null => f.write_str("null"),
            Value::Bool(value) => write!(f, "{value}"),
            Value::Number(value) => write!(f, "the number {value}"),
            Value::String(text) => write!(f, "the string \"{}\"", head(text.as_bytes(), 60)),
            Value::Array(items) => write!(f, "a list of {}", items.len()),
            Value::Object(_) => f.write_str("an object"),
        }
    }
}

impl fmt::Display for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "the document" } else { &self.0 })
    }
}

impl fmt::Debug for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn pointers_find_what_they_name_or_say_how_far_they_got() {
        let document = json!({"a": {"b": [10, {"c/d": 1, "e~f": 2}]}, "": 3, "n": null, "s": "x"});
        for (pointer, found) in [
            ("", &document),
            ("/a/b/0", &json!(10)),
            ("/a/b/1/c~1d", &json!(1)),
            ("/a/b/1/e~0f", &json!(2)),
            ("/", &json!(3)),
            ("/n", &Value::Null),
        ] {
            assert_eq!(Pointer::new(pointer).unwrap().get(&document).unwrap(), found, "{pointer}");
        }
        for (pointer, text) in [
            ("/x", "/x: not there, the document has \"\", \"a\", \"n\" and \"s\""),
            ("/a/x/y", "/a/x/y: not there, /a has \"b\""),
            ("/a/b/2", "/a/b/2: not there, /a/b is a list of 2"),
            ("/a/b/01", "/a/b/01: not there, /a/b is a list of 2"),
            ("/a/b/0/x", "/a/b/0/x: not there, /a/b/0 is the number 10"),
            ("/n/x", "/n/x: not there, /n is null"),
            ("/s/é/x", "/s/é/x: not there, /s is the string \"x\""),
        ] {
            assert_eq!(Pointer::new(pointer).unwrap().get(&document).unwrap_err().to_string(), text);
        }
        for (pointer, flaw) in [
            ("a", "expected a JSON pointer such as \"/run/id\", found \"a\""),
            ("/a~", "a JSON pointer has only ~0 and ~1 after a ~, found \"/a~\""),
            ("/~2", "a JSON pointer has only ~0 and ~1 after a ~, found \"/~2\""),
        ] {
            assert_eq!(Pointer::new(pointer).unwrap_err().to_string(), flaw);
        }
    }
}
