//! Conditions: what must hold, as one line that people write.
//!
//! ```text
//! latency < 500ms
//! status in 200..299 and body./state == "ok"
//! body./queue/depth < 100 or not has(body./queue)
//! age(/var/backups/last) < 26h and size(/var/backups/last) > 1MiB
//! ```
//!
//! | what is looked at | type |
//! | --- | --- |
//! | `latency` | a duration: how long the answer, or the connection, took |
//! | `status` | a number: the status of the answer |
//! | `body` | text: the whole body |
//! | `body./queue/depth` | the value that a [JSON pointer](crate::pointer::Pointer) leads to; `body."/a b"` where it has spaces or operators |
//! | `header.content-type` | text: a header of the answer |
//! | `len(body./items)` | a number: elements of a list or an object, characters of a text |
//! | `age(PATH)` | a duration: how long ago a file was changed |
//! | `size(PATH)` | a size: of a file |
//! | `has(body./error)`, `has(header.etag)`, `exists(PATH)` | true or false, by itself |
//!
//! It is compared with `==`, `!=`, `<`, `<=`, `>`, `>=`, with `in 200..299`
//! (both ends count) or `in ["ok", "idle"]`, and text and lists with
//! `contains`. What is on the right is a number, a duration such as `500ms`, a
//! size such as `1GiB`, a text in quotes of either kind, `true`, `false` or
//! `null`; types are checked when the condition is read. Comparisons are
//! joined by `not`, `and`, `or`, in the order in which they bind, and by
//! parentheses.
//!
//! Numbers are compared as they are written while they are whole and fit 64
//! bits, else as doubles. One of JSON that is beyond doubles, such as `1e999`,
//! counts as the largest or the least one: whatever else it is compared with,
//! it is on the right side.
//!
//! A condition whose facts are missing or of another type neither holds nor
//! fails: `not` does not turn that into something that holds. `A or B` holds
//! when one does, whatever is known of the other.

mod eval;
mod parse;
mod syntax;

use std::fmt;
use std::str::FromStr;

pub use eval::{Facts, FileFacts, Outcome};
pub use parse::ParseError;

use syntax::{Expr, Subject};

/// The longest condition, in bytes.
const MAX_LEN: usize = 1024;
/// How deep parentheses and `not` nest.
const MAX_DEPTH: usize = 16;
/// How many literals a list has.
const MAX_LIST: usize = 100;

/// What must hold; see the [module](self) for how it is written.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use loopkeeper::condition::{Condition, Facts, Outcome};
///
/// let condition: Condition = r#"status == 200 and body./queue/depth < 100"#.parse()?;
/// let facts = Facts::new().status(200).body(r#"{"queue": {"depth": 512}}"#);
/// assert_eq!(
///     condition.evaluate(&facts),
///     Outcome::Fails("body./queue/depth is the number 512".to_owned()),
/// );
///
/// let error = "latency < 500".parse::<Condition>().unwrap_err();
/// assert_eq!(error.to_string(), "expected a duration such as 500ms, found the number 500 (column 11)");
/// assert_eq!(error.excerpt(), "latency < 500\n          ^");
/// # Ok::<(), loopkeeper::condition::ParseError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Condition(Expr);

impl Condition {
    /// Reads a condition.
    ///
    /// # Errors
    ///
    /// What was found and what was expected, with its place in the text.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        parse::parse(text).map(Self)
    }

    /// Says whether it holds.
    #[must_use]
    pub fn evaluate(&self, facts: &Facts) -> Outcome {
        eval::evaluate(&self.0, facts)
    }

    /// Whether it is about the answer of a server or service.
    #[must_use]
    pub fn is_about_an_answer(&self) -> bool {
        self.any(|subject| !matches!(subject, Subject::Age(_) | Subject::Size(_) | Subject::Exists(_)))
    }

    /// Whether it is about an HTTP answer: more than how long it took.
    #[must_use]
    pub fn is_about_http(&self) -> bool {
        self.any(|subject| {
            !matches!(subject, Subject::Age(_) | Subject::Size(_) | Subject::Exists(_) | Subject::Latency)
        })
    }

    /// The files that it is about.
    #[must_use]
    pub fn files(&self) -> Vec<&str> {
        let mut files = Vec::new();
        self.0.visit(&mut |subject| {
            if let Subject::Age(path) | Subject::Size(path) | Subject::Exists(path) = subject {
                if !files.contains(&path.as_str()) {
                    files.push(path.as_str());
                }
            }
        });
        files
    }

    /// The headers of an answer that it is about, in lower case.
    #[must_use]
    pub fn headers(&self) -> Vec<&str> {
        let mut headers = Vec::new();
        self.0.visit(&mut |subject| {
            if let Subject::Header(name) | Subject::HasHeader(name) | Subject::LenHeader(name) = subject {
                if !headers.contains(&name.as_str()) {
                    headers.push(name.as_str());
                }
            }
        });
        headers
    }

    fn any(&self, is: impl Fn(&Subject) -> bool) -> bool {
        let mut found = false;
        self.0.visit(&mut |subject| found |= is(subject));
        found
    }
}

impl fmt::Display for Condition {
    /// Writes it in one way; reading that gives the same condition.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Condition {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        Self::parse(text)
    }
}

#[cfg(test)]
mod tests;
