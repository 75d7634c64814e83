//! What is asked for.

use std::fmt;
use std::time::Duration;

use serde_json::Value;
use ureq::http::Method;

/// One request below a [client's](super::Client) base URL.
#[derive(Clone)]
#[must_use = "a request does nothing until a client sends it"]
pub struct Request {
    pub(super) method: Method,
    pub(super) target: Target,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Option<Value>,
    pub(super) timeout: Option<Duration>,
    pub(super) has_idempotency_key: bool,
    pub(super) is_once: bool,
}

#[derive(Debug, Clone)]
pub(super) enum Target {
    /// Below the base.
    Path(String),
    /// As the server wrote it.
    Link(String),
}

impl Request {
    fn new(method: Method, path: impl Into<String>) -> Self {
        Self {
            method,
            target: Target::Path(path.into()),
            headers: Vec::new(),
            body: None,
            timeout: None,
            has_idempotency_key: false,
            is_once: false,
        }
    }

    /// Asks for what is at `path`, which goes to the end of the base URL and
    /// begins with a slash; see [`Template`](super::Template).
    pub fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path)
    }

    /// Sends a document to `path`.
    pub fn post(path: impl Into<String>, body: Value) -> Self {
        Self { body: Some(body), ..Self::new(Method::POST, path) }
    }

    /// Asks for something to be done at `path`, which needs no document.
    pub fn act(path: impl Into<String>) -> Self {
        Self::new(Method::POST, path)
    }

    /// Puts a document in the place of what is at `path`.
    pub fn put(path: impl Into<String>, body: Value) -> Self {
        Self { body: Some(body), ..Self::new(Method::PUT, path) }
    }

    /// Deletes what is at `path`.
    pub fn delete(path: impl Into<String>) -> Self {
        Self::new(Method::DELETE, path)
    }

    /// Asks for what a link of the server's leads to, such as that to a next
    /// page: a path from the root of the server, one relative to the base
    /// URL, a query alone, or a whole URL. A link to another server is
    /// refused.
    pub fn link(link: impl Into<String>) -> Self {
        Self { target: Target::Link(link.into()), ..Self::new(Method::GET, "") }
    }

    /// Adds a header. Its value is in no error or log.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Sends an `Idempotency-Key`, by which the server knows a request that
    /// it has seen: sent again where a kept connection turns out to be gone.
    pub fn idempotency_key(mut self, key: impl Into<String>) -> Self {
        self.has_idempotency_key = true;
        self.header("idempotency-key", key)
    }

    /// How long it may take, if that is less than its call has left.
    pub fn timeout(self, timeout: Duration) -> Self {
        Self { timeout: Some(timeout), ..self }
    }

    /// Sends it once, whatever becomes of it, over a connection of its own. An
    /// answer of 200-299 that is too long or encoded is a terminal error: what
    /// was asked for was done.
    pub fn once(self) -> Self {
        Self { is_once: true, ..self }
    }

    /// Whether sending it twice is the same as sending it once.
    pub(super) fn is_repeatable(&self) -> bool {
        !self.is_once && (self.has_idempotency_key || self.method.is_idempotent())
    }
}

impl fmt::Debug for Request {
    /// Without headers, query and body.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Target::Path(text) | Target::Link(text)) = &self.target;
        let path = text.split(['?', '#']).next().unwrap_or_default();
        f.debug_struct("Request").field("method", &self.method).field("path", &path).finish_non_exhaustive()
    }
}
