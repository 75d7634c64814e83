//! An answer, and how it is written.

use std::borrow::Cow;
use std::io::Write;

/// The statuses this server answers with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    Ok,
    Accepted,
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
    body: Vec<u8>,
}

impl Response {
    /// A text; a line end is added where it has none.
    pub(super) fn text(status: Status, text: &str) -> Self {
        let mut body = text.as_bytes().to_vec();
        if body.last() != Some(&b'\n') {
            body.push(b'\n');
        }
        Self { status, content_type: TEXT, headers: Vec::new(), body }
    }

    /// A value as JSON, or what stands in when it cannot be written.
    pub(super) fn json(value: &impl serde::Serialize) -> Self {
        match serde_json::to_vec(value) {
            Ok(body) => Self { status: Status::Ok, content_type: JSON, headers: Vec::new(), body },
            Err(error) => Self::text(Status::InternalError, &format!("the answer is not JSON: {error}")),
        }
    }

    /// A text that is not for people.
    pub(super) fn of_type(content_type: &'static str, text: String) -> Self {
        Self { status: Status::Ok, content_type, headers: Vec::new(), body: text.into_bytes() }
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
        &self.body
    }

    /// The answer as it goes over the wire, head and body in one piece, so
    /// that it is one write and one packet.
    pub(super) fn render(&self, form: Form) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(256 + self.body.len());
        let Self { status, content_type, headers, body } = self;
        // Writing to a vector does not fail.
        let _ = write!(
            bytes,
            "HTTP/1.1 {} {}\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n\
             Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n",
            status.code(),
            status.reason(),
            body.len()
        );
        for (name, value) in headers {
            let _ = write!(bytes, "{name}: {value}\r\n");
        }
        if form.close {
            bytes.extend_from_slice(b"Connection: close\r\n");
        }
        bytes.extend_from_slice(b"\r\n");
        if !form.head_only {
            bytes.extend_from_slice(body);
        }
        bytes
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

    #[test]
    fn an_answer_is_one_piece() {
        let response = Response::text(Status::MethodNotAllowed, "no").header("Allow", "GET, HEAD");
        let head = "HTTP/1.1 405 Method Not Allowed\r\nContent-Type: text/plain; charset=utf-8\r\n\
                    Content-Length: 3\r\nCache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n\
                    Allow: GET, HEAD\r\n";
        for (form, rest) in [
            (Form { head_only: false, close: false }, "\r\nno\n"),
            (Form { head_only: true, close: false }, "\r\n"),
            (Form { head_only: false, close: true }, "Connection: close\r\n\r\nno\n"),
        ] {
            assert_eq!(String::from_utf8(response.render(form)).unwrap(), format!("{head}{rest}"));
        }
    }

    #[test]
    fn a_value_that_is_not_json_is_a_500() {
        let bad = std::collections::BTreeMap::from([((1, 2), 3)]);
        let response = Response::json(&bad);
        assert_eq!(response.status().code(), 500);
        assert_eq!(Response::json(&[1, 2]).body(), b"[1,2]");
    }
}
