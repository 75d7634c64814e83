//! JSON pointers: the path to a value inside a JSON document.

use std::fmt;
use std::str::FromStr;

use serde_json::Value;

use crate::decode::closest;
use crate::duration::Shown;
use crate::error::{Error, Result, clip};

/// The longest pointer, in bytes.
const MAX_LEN: usize = 512;
/// How many keys of an object a message names.
const NAMED: usize = 5;

/// A JSON pointer (RFC 6901): `/queue/depth`, `/servers/0/name`; empty for the
/// whole document. In a key `~1` is a slash and `~0` a tilde.
///
/// # Examples
///
/// ```
/// use loopkeeper::pointer::Pointer;
///
/// let document = serde_json::json!({"queue": {"dept": 3}});
/// let depth: Pointer = "/queue/depth".parse()?;
/// assert_eq!(
///     depth.find(&document).unwrap_err().to_string(),
///     r#"/queue has no "depth", did you mean "dept"?"#,
/// );
/// let error = "queue".parse::<Pointer>().unwrap_err();
/// assert_eq!(error.to_string(), r#"expected a JSON pointer such as "/queue/depth", found "queue""#);
/// # Ok::<(), loopkeeper::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Pointer {
    text: String,
    keys: Vec<String>,
}

impl Pointer {
    /// Reads a pointer.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` when it does not begin with a slash, has a tilde that
    /// stands for nothing or a control character, or is longer than 512 bytes.
    pub fn new(text: impl Into<String>) -> Result<Self> {
        let text = text.into();
        let keys = keys(&text).map_err(Error::invalid)?;
        Ok(Self { text, keys })
    }

    /// The pointer as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Finds the value that it leads to.
    ///
    /// # Errors
    ///
    /// How far it leads, and what is there instead.
    pub fn find<'v>(&self, document: &'v Value) -> Result<&'v Value, Missing> {
        let mut value = document;
        for (depth, key) in self.keys.iter().enumerate() {
            let next = step(value, key);
            value = next.ok_or_else(|| Missing::new(&self.keys[..depth], key, value))?;
        }
        Ok(value)
    }
}

/// What is at a pointer that is known to be one; most have no escapes.
#[cfg_attr(not(feature = "http-client"), allow(dead_code, reason = "who asks a service does"))]
pub(crate) fn lookup<'v>(document: &'v Value, pointer: &str) -> Option<&'v Value> {
    if pointer.contains('~') {
        return document.pointer(pointer);
    }
    pointer.split('/').skip(1).try_fold(document, step)
}

fn step<'v>(value: &'v Value, key: &str) -> Option<&'v Value> {
    match value {
        Value::Object(members) => members.get(key),
        Value::Array(values) => index(key).and_then(|idx| values.get(idx)),
        _ => None,
    }
}

impl fmt::Display for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Pointer {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::new(text)
    }
}

/// Why a pointer leads to nothing; made by [`Pointer::find`]. One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing(String);

impl Missing {
    fn new(above: &[String], key: &str, value: &Value) -> Self {
        let at = match above {
            [] => "the document".to_owned(),
            keys => keys.iter().map(|key| format!("/{}", escaped(key))).collect(),
        };
        let at = clip(at.escape_debug().to_string(), 200);
        Self(match value {
            Value::Object(members) => {
                let known: Vec<&str> = members.keys().map(String::as_str).collect();
                let hint = match closest(key, &known) {
                    Some(meant) => format!(", did you mean {}?", Shown(meant)),
                    None if known.is_empty() => ", it is empty".to_owned(),
                    None => {
                        let named: Vec<String> =
                            known.iter().take(NAMED).map(|key| Shown(key).to_string()).collect();
                        let more = if known.len() > NAMED { ", .." } else { "" };
                        format!(", it has {}{more}", named.join(", "))
                    }
                };
                format!("{at} has no {}{hint}", Shown(key))
            }
            Value::Array(values) => format!("{at} has no {}, it is a list of {}", Shown(key), values.len()),
            other => format!("{at} has no {}, it is {}", Shown(key), Kind(other)),
        })
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Missing {}

/// Says what a value is: `the number 5`, `the string "x"`, `a list`.
pub(crate) struct Kind<'a>(pub(crate) &'a Value);

impl fmt::Display for Kind<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Value::Null => f.write_str("null"),
            Value::Bool(truth) => write!(f, "{truth}"),
            Value::Number(number) => write!(f, "the number {number}"),
            Value::String(text) => write!(f, "the string {}", Shown(text)),
            Value::Array(_) => f.write_str("a list"),
            Value::Object(_) => f.write_str("an object"),
        }
    }
}

/// Says what is wrong with a pointer, or splits it.
fn keys(text: &str) -> Result<Vec<String>, String> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    if text.len() > MAX_LEN {
        return Err(format!("a JSON pointer has at most {MAX_LEN} bytes, found {}", text.len()));
    }
    if text.contains(char::is_control) {
        return Err(format!("a JSON pointer must not have control characters, found {}", Shown(text)));
    }
    let Some(rest) = text.strip_prefix('/') else {
        return Err(format!("expected a JSON pointer such as \"/queue/depth\", found {}", Shown(text)));
    };
    rest.split('/').map(key).collect()
}

fn key(escaped: &str) -> Result<String, String> {
    let mut key = String::with_capacity(escaped.len());
    let mut chars = escaped.chars();
    while let Some(c) = chars.next() {
        key.push(match c {
            '~' => match chars.next() {
                Some('0') => '~',
                Some('1') => '/',
                _ => {
                    return Err(format!(
                        "expected ~0 (a tilde) or ~1 (a slash) after the ~ in {}",
                        Shown(escaped)
                    ));
                }
            },
            c => c,
        });
    }
    Ok(key)
}

fn escaped(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

/// A position in a list: digits, without a zero before others.
fn index(key: &str) -> Option<usize> {
    let digits = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_digit());
    (digits && (key == "0" || !key.starts_with('0'))).then(|| key.parse().ok())?
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_pointer_leads_to_a_value_or_says_how_far_it_led() {
        let document = json!({
            "queue": {"depth": 3, "a/b": {"m~n": true}, "": 1},
            "list": [{"x": 1}, 2],
            "n": null
        });
        for (pointer, found) in [
            ("/queue/depth", Ok(json!(3))),
            ("/queue/a~1b/m~0n", Ok(json!(true))),
            ("/queue/", Ok(json!(1))),
            ("/list/0/x", Ok(json!(1))),
            ("/n", Ok(json!(null))),
            ("/queue/deph", Err("/queue has no \"deph\", did you mean \"depth\"?")),
            ("/quux", Err("the document has no \"quux\", it has \"list\", \"n\", \"queue\"")),
            ("/list/2", Err("/list has no \"2\", it is a list of 2")),
            ("/list/00", Err("/list has no \"00\", it is a list of 2")),
            ("/list/-", Err("/list has no \"-\", it is a list of 2")),
            ("/list/1/x", Err("/list/1 has no \"x\", it is the number 2")),
            ("/n/x", Err("/n has no \"x\", it is null")),
        ] {
            let pointer: Pointer = pointer.parse().unwrap();
            let answer = pointer.find(&document).cloned().map_err(|missing| missing.to_string());
            assert_eq!(answer, found.map_err(str::to_owned), "{pointer}");
        }
        assert_eq!(Pointer::default().find(&document), Ok(&document));
    }

    #[test]
    fn what_a_pointer_leads_to_is_the_same_for_who_knows_that_it_is_one() {
        let document = json!({"a": {"b": [10, {"c/d": 1, "e~f": 2}]}, "": 3, "n": null, "s": "x"});
        for pointer in [
            "",
            "/",
            "/a/b/0",
            "/a/b/1/c~1d",
            "/a/b/1/e~0f",
            "/n",
            "/a/b/+1",
            "/a/b/-1",
            "/a/b/00",
            "/a/b/-",
            "/a/b/",
            "/a/b/1x",
            "/s/0",
            "//",
            "/n/",
        ] {
            assert_eq!(lookup(&document, pointer), document.pointer(pointer), "{pointer}");
            let found = Pointer::new(pointer).unwrap().find(&document).ok();
            assert_eq!(found, document.pointer(pointer), "{pointer}");
        }
    }

    #[test]
    fn what_is_no_pointer_is_refused() {
        for (text, flaw) in [
            ("x", "expected a JSON pointer such as \"/queue/depth\", found \"x\""),
            ("/a~2", "expected ~0 (a tilde) or ~1 (a slash) after the ~ in \"a~2\""),
            ("/a\n", "a JSON pointer must not have control characters, found \"/a\\n\""),
            ("/a~", "expected ~0 (a tilde) or ~1 (a slash) after the ~ in \"a~\""),
        ] {
            assert_eq!(text.parse::<Pointer>().unwrap_err().to_string(), flaw);
        }
        assert!(Pointer::new("/".repeat(MAX_LEN + 1)).is_err());
    }

    #[test]
    fn a_message_is_one_line_whatever_the_keys_are() {
        let missing = Pointer::new("/a/c").unwrap().find(&json!({"a": {"\u{1b}": "\n"}})).unwrap_err();
        assert_eq!(missing.to_string(), "/a has no \"c\", it has \"\\u{1b}\"");
    }
}
