//! What came back.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use serde_json::Value;
use ureq::http::HeaderMap;

use super::retry_after;
use crate::document;
use crate::error::{Error, ErrorClass, ErrorKind, Result};
use crate::pointer::{Kind, Pointer};
use crate::probe::wait::Took;
use crate::secret::SHOWN as SECRET;
use crate::stamp::Stamp;
use crate::text::head;

/// How much of a body an error shows, in bytes.
const SHOWN: usize = 200;
/// What is shorter stands in any text.
pub(super) const SHORTEST_SECRET: usize = 4;

/// What came back: a status, headers and a body that is bounded and complete.
#[derive(Clone)]
pub struct Answer {
    pub(super) what: String,
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
    pub(super) latency: Duration,
    pub(super) at: Stamp,
    /// What was sent that nobody else may see; a server may say it again.
    pub(super) secrets: Vec<String>,
}

impl Answer {
    /// The status, 100 to 999.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The time from the beginning of the call to the last byte.
    #[must_use]
    pub fn latency(&self) -> Duration {
        self.latency
    }

    /// A header's value, if it is there and is text; of several the first.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// All values of a header, in their order; what is no text in them is
    /// replaced.
    pub(crate) fn header_lines(&self, name: &str) -> impl Iterator<Item = Cow<'_, str>> {
        self.headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()))
    }

    /// The body.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// What was asked: the method and the URL without its query, as errors
    /// begin.
    #[must_use]
    pub fn what(&self) -> &str {
        &self.what
    }

    /// The answer, if its status is 200 to 299.
    ///
    /// # Errors
    ///
    /// See the [module](super): the text has the status, the time it took and
    /// the beginning of the body.
    pub fn expect_success(self) -> Result<Self> {
        if (200..=299).contains(&self.status) {
            return Ok(self);
        }
        let (kind, class) = match self.status {
            404 | 410 => (ErrorKind::NotFound, ErrorClass::Terminal),
            408 | 425 | 429 | 500.. => (ErrorKind::Probe, ErrorClass::Retryable),
            _ => (ErrorKind::Probe, ErrorClass::Terminal),
        };
        let text = format!(
            "{}: status {}, expected 200-299, after {}{}",
            self.what,
            self.status,
            Took(self.latency),
            self.excerpt()
        );
        let error = Error::new(kind).with_class(class).context(text);
        // What cannot help is not tried later either.
        let wait = retry_after::read(&self.headers, self.at).filter(|_| class == ErrorClass::Retryable);
        Err(wait.map_or(error.clone(), |wait| error.with_retry_after(wait)))
    }

    /// Reads the body as JSON, whatever the server calls it.
    ///
    /// # Errors
    ///
    /// `Probe` when it is not: the text has the place, the type that the
    /// server gives it and the beginning of it.
    pub fn json(&self) -> Result<Value> {
        let refuse = |error: &dyn fmt::Display| {
            let kind = self.header("content-type").map_or_else(
                || "no content type".to_owned(),
                |kind| format!("content type {}", head(kind.as_bytes(), 60)),
            );
            let what =
                if self.body.is_empty() { "is empty".to_owned() } else { format!("is not JSON: {error}") };
            self.flaw(format!("the answer {what}; {kind}{}", self.excerpt()))
        };
        let text = std::str::from_utf8(&self.body).map_err(|error| refuse(&error))?;
        document::read(text).map_err(|error| refuse(&error))
    }

    /// An error about the content of this answer, which begins with what was
    /// asked.
    #[must_use]
    pub fn flaw(&self, text: impl fmt::Display) -> Error {
        let text = self.without_secrets(text.to_string());
        Error::new(ErrorKind::Probe).context(format!("{}: {text}", self.what))
    }

    /// An error that says what was expected at a place of this answer, and
    /// what is there.
    #[must_use]
    pub fn unexpected(&self, at: &Pointer, expected: &str, found: &Value) -> Error {
        self.flaw(format_args!("{at}: expected {expected}, found {}", Kind(found)))
    }

    fn without_secrets(&self, text: String) -> String {
        self.secrets.iter().fold(text, |text, secret| without(text, secret))
    }

    fn excerpt(&self) -> String {
        // Before it is cut: half a secret is one, too.
        let body = self.without_secrets(String::from_utf8_lossy(&self.body).into_owned());
        match head(body.as_bytes(), SHOWN) {
            text if text.is_empty() => String::new(),
            text => format!("; body: \"{text}\""),
        }
    }
}

/// The text without a secret, also where it is cut in the middle of it.
fn without(text: String, secret: &str) -> String {
    let text = if text.contains(secret) { text.replace(secret, SECRET) } else { text };
    let lens = || (SHORTEST_SECRET..secret.len()).rev().filter(|len| secret.is_char_boundary(*len));
    let pieces = text.split_inclusive('…').map(|piece| {
        let bare = piece.strip_suffix('…').unwrap_or_default();
        let cut = lens().find_map(|len| bare.strip_suffix(&secret[..len]));
        cut.map_or_else(|| piece.to_owned(), |rest| format!("{rest}{SECRET}…"))
    });
    pieces.collect()
}

impl fmt::Debug for Answer {
    /// Without headers and body.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer")
            .field("what", &self.what)
            .field("status", &self.status)
            .field("latency", &self.latency)
            .finish_non_exhaustive()
    }
}
