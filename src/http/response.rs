//! An answer, and how it is written.

use std::borrow::Cow;
use std::io::Write;
use std::sync::Arc;

use super::date::Date;

/// The statuses this server answers with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    Ok,
    Accepted,
    NotModified,
    BadRequest,
    Unauthorized,
    Forbidden,
    NotFound,
    MethodNotAllowed,
    RequestTimeout,
    Conflict,
    ContentTooLarge,
    Misdirected,
    HeadTooLarge,
    InternalError,
    Unavailable,
    VersionNotSupported,
}

impl Status {
    pub(super) const fn code(self) -> u16 {
        match self {
            Self::Ok => 200,
            Self::Accepted => 202,
            Self::NotModified => 304,
            Self::BadRequest => 400,
            Self::Unauthorized => 401,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::MethodNotAllowed => 405,
            Self::RequestTimeout => 408,
            Self::Conflict => 409,
            Self::ContentTooLarge => 413,
            Self::Misdirected => 421,
            Self::HeadTooLarge => 431,
            Self::InternalError => 500,
            Self::Unavailable => 503,
            Self::VersionNotSupported => 505,
        }
    }

    const fn reason(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::Accepted => "Accepted",
            Self::NotModified => "Not Modified",
            Self::BadRequest => "Bad Request",
            Self::Unauthorized => "Unauthorized",
            Self::Forbidden => "Forbidden",
            Self::NotFound => "Not Found",
            Self::MethodNotAllowed => "Method Not Allowed",
            Self::RequestTimeout => "Request Timeout",
            Self::Conflict => "Conflict",
            Self::ContentTooLarge => "Content Too Large",
            Self::Misdirected => "Misdirected Request",
            Self::HeadTooLarge => "Request Header Fields Too Large",
            Self::InternalError => "Internal Server Error",
            Self::Unavailable => "Service Unavailable",
            Self::VersionNotSupported => "HTTP Version Not Supported",
        }
    }
}

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";

/// An answer before it is known how it is asked for.
#[derive(Debug, Clone)]
pub(super) struct Response {
    status: Status,
    content_type: &'static str,
    /// Further headers; names and values are ours, so nothing is escaped.
    headers: Vec<(&'static str, Cow<'static, str>)>,
    /// What these very bytes are known by, if they may be asked for again.
    tag: Option<Arc<str>>,
    body: Body,
}

#[derive(Debug, Clone)]
enum Body {
    Own(Vec<u8>),
    /// One copy for all who ask.
    Shared(Arc<[u8]>),
}

impl Body {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Own(bytes) => bytes,
            Self::Shared(bytes) => bytes,
        }
    }
}

/// What goes over the wire: the head and a body of its own, then a body that
/// is shared.
#[derive(Debug, Default)]
pub(super) struct Output {
    pub(super) own: Vec<u8>,
    pub(super) shared: Option<Arc<[u8]>>,
}

impl Response {
    fn new(status: Status, content_type: &'static str, body: Body) -> Self {
        Self { status, content_type, headers: Vec::new(), tag: None, body }
    }

    /// A text; a line end is added where it has none.
    pub(super) fn text(status: Status, text: &str) -> Self {
        let mut body = text.as_bytes().to_vec();
        if body.last() != Some(&b'\n') {
            body.push(b'\n');
        }
        Self::new(status, TEXT, Body::Own(body))
    }

    /// A value as JSON, or what stands in when it cannot be written.
    pub(super) fn json(value: &impl serde::Serialize) -> Self {
        match serde_json::to_vec(value) {
            Ok(body) => Self::new(Status::Ok, JSON, Body::Own(body)),
            Err(error) => Self::text(Status::InternalError, &format!("the answer is not JSON: {error}")),
        }
    }

    /// JSON that others are answered, too, and that is known by `tag`.
    pub(super) fn shared_json(body: Arc<[u8]>, tag: Arc<str>) -> Self {
        Self { tag: Some(tag), ..Self::new(Status::Ok, JSON, Body::Shared(body)) }
    }

    /// A text that is not for people.
    pub(super) fn of_type(content_type: &'static str, text: String) -> Self {
        Self::new(Status::Ok, content_type, Body::Own(text.into_bytes()))
    }

    /// The same as another type of content.
    pub(super) fn with_type(self, content_type: &'static str) -> Self {
        Self { content_type, ..self }
    }

    /// The same, or that it is what the client has: `known` is the value of
    /// its `If-None-Match`.
    pub(super) fn unless_known(self, known: Option<&str>) -> Self {
        let (Some(tag), Some(known)) = (&self.tag, known) else { return self };
        let is_tag = |text: &str| text == "*" || text.strip_prefix("W/").unwrap_or(text) == &**tag;
        if !known.split(',').any(|text| is_tag(text.trim())) {
            return self;
        }
        Self { status: Status::NotModified, body: Body::Own(Vec::new()), ..self }
    }

    /// The same with another status.
    pub(super) fn with_status(self, status: Status) -> Self {
        Self { status, ..self }
    }

    /// Adds a header.
    pub(super) fn header(mut self, name: &'static str, value: impl Into<Cow<'static, str>>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    #[cfg(any(test, fuzzing))]
    pub(super) fn status(&self) -> Status {
        self.status
    }

    #[cfg(test)]
    pub(super) fn body(&self) -> &[u8] {
        self.body.bytes()
    }

    /// The answer as text, but for a body that is shared, at the epoch.
    #[cfg(test)]
    pub(super) fn written(self) -> String {
        let output = self.render(Form::default(), *b"Thu, 01 Jan 1970 00:00:00 GMT");
        String::from_utf8(output.own).unwrap()
    }

    /// The answer as it goes over the wire. What is its own is in one piece,
    /// so that it is one write and one packet.
    pub(super) fn render(self, form: Form, date: Date) -> Output {
        let Self { status, content_type, headers, tag, body } = self;
        let mut own = Vec::with_capacity(360 + if let Body::Own(body) = &body { body.len() } else { 0 });
        // Writing to a vector does not fail.
        let _ = write!(own, "HTTP/1.1 {} {}\r\nDate: ", status.code(), status.reason());
        own.extend_from_slice(&date);
        own.extend_from_slice(b"\r\n");
        if status != Status::NotModified {
            let len = body.bytes().len();
            let _ = write!(own, "Content-Type: {content_type}\r\nContent-Length: {len}\r\n");
        }
        // What has a tag may be kept, and is asked about each time.
        let cache = if tag.is_some() { "no-cache" } else { "no-store" };
        let _ = write!(own, "Cache-Control: {cache}\r\nX-Content-Type-Options: nosniff\r\n");
        if let Some(tag) = tag {
            let _ = write!(own, "ETag: {tag}\r\n");
        }
        for (name, value) in headers {
            let _ = write!(own, "{name}: {value}\r\n");
        }
        if form.close {
            own.extend_from_slice(b"Connection: close\r\n");
        }
        own.extend_from_slice(b"\r\n");
        let mut shared = None;
        match body {
            _ if form.head_only => {}
            Body::Own(body) => own.extend_from_slice(&body),
            Body::Shared(body) => shared = Some(body),
        }
        Output { own, shared }
    }
}

/// How an answer is to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Form {
    /// Without the body, as HEAD asks.
    pub(super) head_only: bool,
    /// As the last answer of its connection.
    pub(super) close: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATE: &Date = b"Sun, 06 Nov 1994 08:49:37 GMT";

    #[test]
    fn an_answer_is_one_piece() {
        let response = Response::text(Status::MethodNotAllowed, "no").header("Allow", "GET, HEAD");
        let head = "HTTP/1.1 405 Method Not Allowed\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\
                    Content-Type: text/plain; charset=utf-8\r\nContent-Length: 3\r\nCache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n\
                    Allow: GET, HEAD\r\n";
        for (form, rest) in [
            (Form { head_only: false, close: false }, "\r\nno\n"),
            (Form { head_only: true, close: false }, "\r\n"),
            (Form { head_only: false, close: true }, "Connection: close\r\n\r\nno\n"),
        ] {
            let output = response.clone().render(form, *DATE);
            assert_eq!(String::from_utf8(output.own).unwrap(), format!("{head}{rest}"));
            assert!(output.shared.is_none());
        }
    }

    #[test]
    fn what_the_client_has_is_not_sent_again() {
        let response = || Response::shared_json(b"[]"[..].into(), "\"a-1\"".into()).header("Age", "2");
        for known in [None, Some(""), Some("a-1"), Some("\"a-2\""), Some("W/\"a\", \"b\""), Some("\"a-1")] {
            let output = response().unless_known(known).render(Form::default(), *DATE);
            assert_eq!(output.shared.as_deref(), Some(&b"[]"[..]), "{known:?}");
            let head = String::from_utf8(output.own).unwrap();
            assert!(head.contains("Content-Length: 2\r\nCache-Control: no-cache\r\n"), "{head}");
            assert!(head.contains("\r\nETag: \"a-1\"\r\nAge: 2\r\n\r\n"), "{head}");
        }
        for known in ["\"a-1\"", "*", "W/\"a-1\"", "\"b\" ,\"a-1\""] {
            let output = response().unless_known(Some(known)).render(Form::default(), *DATE);
            assert!(output.shared.is_none(), "{known}");
            let expected = "HTTP/1.1 304 Not Modified\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\
                            Cache-Control: no-cache\r\nX-Content-Type-Options: nosniff\r\nETag: \"a-1\"\r\nAge: 2\r\n\r\n";
            assert_eq!(String::from_utf8(output.own).unwrap(), expected, "{known}");
        }
        // Without a tag nothing is known.
        let text = Response::text(Status::Ok, "x").unless_known(Some("*"));
        assert_eq!(text.status().code(), 200);
    }

    #[test]
    fn a_value_that_is_not_json_is_a_500() {
        let bad = std::collections::BTreeMap::from([((1, 2), 3)]);
        let response = Response::json(&bad);
        assert_eq!(response.status().code(), 500);
        assert_eq!(Response::json(&[1, 2]).body(), b"[1,2]");
    }
}
