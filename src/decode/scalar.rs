//! Values that are one word: how each is read from a node, and what is said
//! of a node that is none.

use std::fmt;
use std::time::Duration;

use super::size::{self, Size};
use crate::duration::{self, Flaw, GoDuration, Shown};
use crate::name::Name;
use crate::number::float;
use crate::tree::{Fault, Faults, Node, Value};

/// A type that [`value`] reads: `String`, `bool`, `i64`, `u32`, `u64`, `f64`,
/// `Duration`, `Size`, `Name`. Closed.
pub trait Scalar: sealed::Read {}

/// Reads a value that stands alone; `key` is its path, for the faults.
///
/// Nothing is lost on the way: a number with a fraction is no integer, and
/// one that does not fit is refused, not wrapped.
///
/// # Errors
///
/// One fault, when the value is of another type or out of range.
///
/// # Examples
///
/// ```
/// use loopkeeper::{decode, tree};
///
/// let node = tree::parse("app.json", "9007199254740993")?;
/// assert_eq!(decode::value::<i64>(&node, "id")?, 9_007_199_254_740_993);
///
/// let node = tree::parse("app.json", "1.9")?;
/// assert_eq!(
///     decode::value::<u32>(&node, "n").unwrap_err().to_string(),
///     "app.json:1:1: n: expected a whole number from 0 to 4294967295, found the number 1.9",
/// );
/// # Ok::<(), loopkeeper::tree::Faults>(())
/// ```
pub fn value<T: Scalar>(node: &Node, key: &str) -> Result<T, Faults> {
    T::read(node).map_err(|refusal| {
        let message = refusal.message(T::EXPECTED, node);
        Fault { place: node.place.clone(), key: key.to_owned(), message }.into()
    })
}

pub(crate) mod sealed {
    use super::Refusal;
    use crate::tree::Node;

    /// How a type is read from a node.
    pub trait Read: Sized {
        /// What is expected, as faults say it.
        const EXPECTED: &'static str;

        /// Reads it.
        fn read(node: &Node) -> Result<Self, Refusal>;
    }
}

use sealed::Read;

/// Why a value is refused.
#[derive(Debug)]
pub enum Refusal {
    /// It is not what was expected at all.
    Kind,
    /// It is not what was expected, and there is something to add.
    Hint(String),
    /// It is, but cannot be used for this reason.
    Text(String),
}

impl Refusal {
    pub(super) fn message(self, expected: &str, node: &Node) -> String {
        match self {
            Self::Kind => format!("expected {expected}, found {}", Found(node)),
            Self::Hint(hint) => format!("expected {expected}, found {}{hint}", Found(node)),
            Self::Text(message) => message,
        }
    }
}

/// Shows what was found instead.
pub(super) struct Found<'a>(pub(super) &'a Node);

impl fmt::Display for Found<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.value {
            Value::Null => f.write_str("null"),
            Value::Bool(truth) => write!(f, "{truth}"),
            Value::Number(text) if text.len() > 60 => write!(f, "a number of {} characters", text.len()),
            Value::Number(text) => write!(f, "the number {text}"),
            Value::String(text) | Value::Raw(text) => write!(f, "the string {}", Shown(text)),
            Value::Array(_) => f.write_str("a list"),
            Value::Object(_) => f.write_str("an object"),
        }
    }
}

fn text(node: &Node) -> Result<&str, Refusal> {
    match &node.value {
        Value::String(text) | Value::Raw(text) => Ok(text),
        _ => Err(Refusal::Kind),
    }
}

fn number<T: std::str::FromStr>(node: &Node) -> Result<T, Refusal> {
    match &node.value {
        Value::Number(text) => text.parse().map_err(|_| Refusal::Kind),
        Value::Raw(text) => text.trim().parse().map_err(|_| Refusal::Kind),
        _ => Err(Refusal::Kind),
    }
}

fn finite(node: &Node) -> Result<f64, Refusal> {
    match &node.value {
        Value::Number(text) => float(text),
        Value::Raw(text) => float(text.trim()),
        _ => None,
    }
    .ok_or(Refusal::Kind)
}

/// Reads a duration; zero is one.
pub(super) fn read_duration(node: &Node) -> Result<Duration, Refusal> {
    let negative = || Refusal::Text(format!("must not be negative, found {}", Found(node)));
    let too_long =
        || Refusal::Text(format!("must be at most {}, found {}", GoDuration(duration::MAX), Found(node)));
    let from_seconds = |seconds: f64| {
        if seconds < 0.0 {
            return Err(negative());
        }
        duration::from_secs_f64(seconds).map_err(|_| too_long())
    };
    let from_text = |text: &str| {
        duration::read(text).map_err(|flaw| match flaw {
            Flaw::Syntax(hint) => Refusal::Hint(hint.to_string()),
            Flaw::Negative => negative(),
            Flaw::TooLong => too_long(),
        })
    };
    match &node.value {
        Value::String(text) => from_text(text),
        Value::Number(_) => from_seconds(finite(node)?),
        // A bare number counts seconds here as it does in a file.
        Value::Raw(text) => match finite(node) {
            Ok(seconds) => from_seconds(seconds),
            Err(_) => from_text(text.trim()),
        },
        _ => Err(Refusal::Kind),
    }
}

pub(super) const DURATION: &str = "a duration such as \"30s\"";

impl Scalar for String {}
impl Read for String {
    const EXPECTED: &'static str = "a string";

    fn read(node: &Node) -> Result<Self, Refusal> {
        text(node).map(str::to_owned)
    }
}

impl Scalar for Name {}
impl Read for Name {
    const EXPECTED: &'static str = "a string";

    fn read(node: &Node) -> Result<Self, Refusal> {
        Self::new(text(node)?).map_err(|error| {
            let text = error.to_string();
            Refusal::Text(text.strip_prefix("name: ").unwrap_or(&text).to_owned())
        })
    }
}

impl Scalar for bool {}
impl Read for bool {
    const EXPECTED: &'static str = "true or false";

    fn read(node: &Node) -> Result<Self, Refusal> {
        match &node.value {
            Value::Bool(truth) => Ok(*truth),
            Value::Raw(text) => match text.trim() {
                "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
                "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
                _ => Err(Refusal::Kind),
            },
            _ => Err(Refusal::Kind),
        }
    }
}

impl Scalar for i64 {}
impl Read for i64 {
    const EXPECTED: &'static str = "a whole number from -9223372036854775808 to 9223372036854775807";

    fn read(node: &Node) -> Result<Self, Refusal> {
        number(node)
    }
}

impl Scalar for u32 {}
impl Read for u32 {
    const EXPECTED: &'static str = "a whole number from 0 to 4294967295";

    fn read(node: &Node) -> Result<Self, Refusal> {
        number(node)
    }
}

impl Scalar for u64 {}
impl Read for u64 {
    const EXPECTED: &'static str = "a whole number from 0 to 18446744073709551615";

    fn read(node: &Node) -> Result<Self, Refusal> {
        number(node)
    }
}

impl Scalar for f64 {}
impl Read for f64 {
    const EXPECTED: &'static str = "a number";

    fn read(node: &Node) -> Result<Self, Refusal> {
        finite(node)
    }
}

impl Scalar for Duration {}
impl Read for Duration {
    const EXPECTED: &'static str = DURATION;

    fn read(node: &Node) -> Result<Self, Refusal> {
        read_duration(node)
    }
}

impl Scalar for Size {}
impl Read for Size {
    const EXPECTED: &'static str = "a size such as \"1GiB\" or \"10%\"";

    fn read(node: &Node) -> Result<Self, Refusal> {
        let text = match &node.value {
            Value::Number(_) => return number(node).map(Self::Bytes),
            Value::String(text) => text,
            Value::Raw(text) => match number(node) {
                Ok(bytes) => return Ok(Self::Bytes(bytes)),
                Err(_) => text,
            },
            _ => return Err(Refusal::Kind),
        };
        size::read(text).map_err(|flaw| match flaw {
            size::Flaw::Syntax => Refusal::Kind,
            size::Flaw::Range(text) => Refusal::Text(format!("{text}, found {}", Found(node))),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::{Place, parse};

    fn raw<T: Scalar>(text: &str) -> Result<T, String> {
        let node = Node::new(Place::whole("env X"), Value::Raw(text.to_owned()));
        value(&node, "k").map_err(|faults| faults.to_string())
    }

    #[test]
    fn a_raw_text_is_what_its_reader_takes_it_for() {
        assert_eq!(raw::<String>("12345").as_deref(), Ok("12345"));
        assert_eq!(raw::<String>("null").as_deref(), Ok("null"));
        assert_eq!(raw("12345"), Ok(12_345_i64));
        assert_eq!(raw("-9223372036854775808"), Ok(i64::MIN));
        assert_eq!(raw(" 9007199254740993 "), Ok(9_007_199_254_740_993_u64));
        assert_eq!(raw("1e3"), Ok(1000.0));
        for text in ["1", "t", "T", "true", "TRUE", "True", " 1"] {
            assert_eq!(raw(text), Ok(true), "{text}");
        }
        for text in ["0", "f", "F", "false", "FALSE", "False"] {
            assert_eq!(raw(text), Ok(false), "{text}");
        }
        assert_eq!(raw("5"), Ok(Duration::from_secs(5)));
        assert_eq!(raw("1.5"), Ok(Duration::from_millis(1500)));
        assert_eq!(raw("1m"), Ok(Duration::from_secs(60)));
        assert_eq!(raw("1KiB"), Ok(Size::Bytes(1024)));
        assert_eq!(raw("7"), Ok(Size::Bytes(7)));
        let refused = raw::<bool>("yes").unwrap_err();
        assert_eq!(refused, "env X: k: expected true or false, found the string \"yes\"");
        for text in ["1.9", "", "x", "0x10", "9223372036854775808"] {
            assert!(raw::<i64>(text).unwrap_err().contains("a whole number from -9223"), "{text}");
        }
        for text in ["inf", "NaN", "1e999", ""] {
            assert!(raw::<f64>(text).is_err() && raw::<Duration>(text).is_err(), "{text}");
        }
    }

    #[test]
    fn wrt_37_no_number_is_cut_or_wrapped() {
        for (text, expected) in [
            ("9223372036854775807", Some(i64::MAX)),
            ("9007199254740993", Some(9_007_199_254_740_993)),
            ("-1", Some(-1)),
            ("9223372036854775808", None),
            ("1e30", None),
            ("1.9", None),
            ("1.0", None),
        ] {
            assert_eq!(value::<i64>(&parse("f", text).unwrap(), "k").ok(), expected, "{text}");
        }
        // Exactly 2^63 nanoseconds, which wraps a signed count of them.
        for text in ["9223372036.854775808", "1e300", "\"2562047h47m16.854775808s\""] {
            let refused = value::<Duration>(&parse("f", text).unwrap(), "k").unwrap_err().to_string();
            assert!(refused.contains("must be at most 2562047h47m16.854775807s"), "{refused}");
        }
    }
}
