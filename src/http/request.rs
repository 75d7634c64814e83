//! From bytes to a request that may be answered, or to the reason why not.
//!
//! Pure: no socket, no time. What is refused here closes the connection,
//! because where the next request begins is no longer certain, or because
//! who asks is not who should.

use super::accept;
use super::hosts::Hosts;
use super::response::{Response, Status};
use crate::config::Secret;
use crate::error::clip;
use crate::observe::MetricsFormat;

/// The longest head that is read, in bytes.
pub(super) const MAX_HEAD: usize = 8 * 1024;

/// The most header lines of one head.
const MAX_HEADERS: usize = 64;

/// What the bytes received so far amount to.
#[derive(Debug)]
pub(super) enum Parsed {
    /// The beginning of a head, or nothing.
    Incomplete,
    /// A whole request in the first `len` bytes.
    Complete { request: Request, len: usize },
    /// Never an acceptable request, whatever follows.
    Refused(Response),
}

/// How it is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    Get,
    /// As GET, and the answer comes without its body.
    Head,
    Post,
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) method: Method,
    /// The path, as written.
    pub(super) path: String,
    /// What follows the first question mark, as written.
    pub(super) query: Option<String>,
    /// Whether the connection may serve another request.
    pub(super) keep_alive: bool,
    /// What stands in for a name and password, if anything does.
    pub(super) token: Option<Secret>,
    /// The form that metrics are asked for in.
    pub(super) format: MetricsFormat,
    /// Whether a page for a browser is wanted.
    pub(super) html: bool,
    /// The tags of what the client has already.
    pub(super) known: Option<String>,
}

/// Reads the first request of `bytes`.
pub(super) fn parse(bytes: &[u8], hosts: &Hosts) -> Parsed {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut head = httparse::Request::new(&mut headers);
    let len = match head.parse(bytes) {
        Ok(httparse::Status::Complete(len)) if len <= MAX_HEAD => len,
        Ok(httparse::Status::Partial) if bytes.len() < MAX_HEAD => return Parsed::Incomplete,
        Ok(_) => return Parsed::Refused(too_large(&format!("the head is longer than {MAX_HEAD} bytes"))),
        Err(httparse::Error::TooManyHeaders) => {
            return Parsed::Refused(too_large(&format!("the head has more than {MAX_HEADERS} header lines")));
        }
        Err(httparse::Error::Version) => {
            let text = "this server speaks HTTP/1.1 and HTTP/1.0 only";
            return Parsed::Refused(Response::text(Status::VersionNotSupported, text));
        }
        Err(error) => return Parsed::Refused(bad(&format!("the head is not HTTP: {error}"))),
    };
    if !has_whole_line_ends(&bytes[..len]) {
        return Parsed::Refused(bad("the lines of a head end with CR and LF"));
    }
    match decide(&head, hosts) {
        Ok(request) => Parsed::Complete { request, len },
        Err(response) => Parsed::Refused(response),
    }
}

/// Whether no line ends with LF alone. Others that read the same bytes may
/// take such a line end for none, and see another request.
fn has_whole_line_ends(head: &[u8]) -> bool {
    head.iter().enumerate().all(|(i, &byte)| byte != b'\n' || i > 0 && head[i - 1] == b'\r')
}

fn decide(head: &httparse::Request<'_, '_>, hosts: &Hosts) -> Result<Request, Response> {
    let (Some(method), Some(target), Some(minor)) = (head.method, head.path, head.version) else {
        return Err(bad("the head is not HTTP"));
    };
    let target = split_target(target);
    let host = one(head, "host")?;
    match host {
        Some(host) => check_host(host, hosts)?,
        None if minor == 0 => {}
        None => return Err(bad("an HTTP/1.1 request has a Host header, and this one has none")),
    }
    let (path, query) = match target {
        Some(Target { authority, path, query }) => {
            if let Some(authority) = authority {
                check_host(authority.as_bytes(), hosts)?;
            }
            (path, query)
        }
        // What other methods may ask for, such as CONNECT's host and port.
        None if matches!(method, "GET" | "HEAD" | "POST") => {
            return Err(bad("the target must be a path that begins with \"/\", or an http:// URL"));
        }
        None => ("", None),
    };
    let method = match method {
        "GET" => Method::Get,
        "HEAD" => Method::Head,
        "POST" => Method::Post,
        _ => {
            let text =
                format!("{} is not answered here: only GET, HEAD and POST are", clip(method.to_owned(), 40));
            return Err(Response::text(Status::MethodNotAllowed, &text).header("Allow", "GET, HEAD, POST"));
        }
    };
    check_body(head)?;
    if method == Method::Post {
        check_origin(one(head, "origin")?, host)?;
    }
    let token = one(head, "authorization")?.and_then(bearer).map(Secret::new);
    let asks_to_close = values(head, "connection")
        .flat_map(|value| value.split(|&byte| byte == b','))
        .any(|token| token.trim_ascii().eq_ignore_ascii_case(b"close"));
    Ok(Request {
        method,
        path: path.to_owned(),
        query: query.map(str::to_owned),
        keep_alive: minor == 1 && !asks_to_close,
        token,
        format: accept::format(values(head, "accept")),
        html: accept::is_html(values(head, "accept")),
        known: known(head),
    })
}

/// Refuses what a page from elsewhere makes a browser ask for: only pages of
/// this server's own may act. Browsers say with each POST where it comes
/// from; other clients do not.
fn check_origin(origin: Option<&[u8]>, host: Option<&[u8]>) -> Result<(), Response> {
    let Some(origin) = origin else { return Ok(()) };
    // A proxy in front may speak https.
    let schemes: [&[u8]; 2] = [b"http://", b"https://"];
    let authority = schemes.iter().find_map(|scheme| origin.strip_prefix(*scheme));
    if authority.zip(host).is_some_and(|(authority, host)| authority.eq_ignore_ascii_case(host)) {
        return Ok(());
    }
    Err(Response::text(Status::Forbidden, "a page from elsewhere may do nothing here"))
}

/// The token of an `Authorization: Bearer` header (RFC 6750).
fn bearer(value: &[u8]) -> Option<&str> {
    let (scheme, token) = std::str::from_utf8(value).ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim_ascii())
}

struct Target<'a> {
    authority: Option<&'a str>,
    path: &'a str,
    query: Option<&'a str>,
}

/// Takes a target apart: `/path?query`, or the same after `http://host`.
fn split_target(target: &str) -> Option<Target<'_>> {
    let scheme = "http://";
    let (authority, rest) = match target.get(..scheme.len()) {
        Some(start) if start.eq_ignore_ascii_case(scheme) => {
            let rest = &target[scheme.len()..];
            let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
            (Some(&rest[..end]), &rest[end..])
        }
        _ if target.starts_with('/') => (None, target),
        _ => return None,
    };
    if rest.contains('#') {
        return None;
    }
    let (path, query) = match rest.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (rest, None),
    };
    let path = if path.is_empty() { "/" } else { path };
    Some(Target { authority, path, query })
}

fn check_host(host: &[u8], hosts: &Hosts) -> Result<(), Response> {
    let text = String::from_utf8_lossy(host);
    let shown = || clip(text.chars().flat_map(char::escape_default).collect(), 100);
    match hosts.allow(&text) {
        Some(true) => Ok(()),
        Some(false) => Err(Response::text(
            Status::Misdirected,
            &format!(
                "the host \"{}\" is not this server's: it answers to its own address, \
                 to loopback addresses and to the names in allowed_hosts",
                shown()
            ),
        )),
        None => Err(bad(&format!(
            "the host \"{}\" is neither a name nor an address, alone or with a port from 0 to 65535",
            shown()
        ))),
    }
}

/// Refuses what announces a body: nothing here takes one.
fn check_body(head: &httparse::Request<'_, '_>) -> Result<(), Response> {
    let length = one(head, "content-length")?;
    if values(head, "transfer-encoding").next().is_some() {
        return Err(bad("a request with Transfer-Encoding is not answered: nothing here takes a body"));
    }
    let Some(length) = length else { return Ok(()) };
    if length.is_empty() || !length.iter().all(u8::is_ascii_digit) {
        return Err(bad("the Content-Length is not a number"));
    }
    if length.iter().all(|&digit| digit == b'0') {
        return Ok(());
    }
    Err(Response::text(Status::ContentTooLarge, "nothing here takes a body"))
}

fn values<'a>(head: &'a httparse::Request<'_, '_>, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
    let headers = head.headers.iter().filter(move |header| header.name.eq_ignore_ascii_case(name));
    headers.map(|header| header.value)
}

/// The value of a header that may stand once.
fn one<'a>(head: &'a httparse::Request<'_, '_>, name: &'a str) -> Result<Option<&'a [u8]>, Response> {
    let mut values = values(head, name);
    let value = values.next();
    if values.next().is_some() {
        return Err(bad(&format!("the header {name} stands more than once")));
    }
    Ok(value.map(<[u8]>::trim_ascii))
}

/// All values of `If-None-Match`, as one.
fn known(head: &httparse::Request<'_, '_>) -> Option<String> {
    let values: Vec<_> = values(head, "if-none-match").map(String::from_utf8_lossy).collect();
    (!values.is_empty()).then(|| values.join(","))
}

fn bad(text: &str) -> Response {
    Response::text(Status::BadRequest, text)
}

fn too_large(text: &str) -> Response {
    Response::text(Status::HeadTooLarge, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts() -> Hosts {
        Hosts::new("10.1.2.3:80".parse().unwrap(), &["status.example".to_owned()]).unwrap()
    }

    fn request(path: &str, query: Option<&str>) -> Request {
        let (path, query) = (path.into(), query.map(Into::into));
        Request {
            method: Method::Get,
            path,
            query,
            keep_alive: true,
            token: None,
            format: MetricsFormat::OpenMetrics,
            html: false,
            known: None,
        }
    }

    #[track_caller]
    fn complete(head: &str) -> Request {
        match parse(head.as_bytes(), &hosts()) {
            Parsed::Complete { request, len } => {
                assert_eq!(len, head.len());
                request
            }
            other => panic!("{head:?}: {other:?}"),
        }
    }

    #[test]
    fn requests_are_read() {
        for (line, expected) in [
            ("GET / HTTP/1.1", request("/", None)),
            ("GET /events?after=1&max=2 HTTP/1.1", request("/events", Some("after=1&max=2"))),
            ("GET /readyz? HTTP/1.1", request("/readyz", Some(""))),
            ("GET /a?b?c HTTP/1.1", request("/a", Some("b?c"))),
            ("GET //x HTTP/1.1", request("//x", None)),
            ("GET http://localhost/status?x HTTP/1.1", request("/status", Some("x"))),
            ("GET HTTP://LOCALHOST:99 HTTP/1.1", request("/", None)),
            ("HEAD /livez HTTP/1.1", Request { method: Method::Head, ..request("/livez", None) }),
            (
                "POST /deploy/rescan HTTP/1.1",
                Request { method: Method::Post, ..request("/deploy/rescan", None) },
            ),
            ("GET /livez HTTP/1.0", Request { keep_alive: false, ..request("/livez", None) }),
        ] {
            assert_eq!(complete(&format!("{line}\r\nHost: localhost\r\n\r\n")), expected, "{line}");
        }
    }

    #[test]
    fn a_connection_closes_when_asked() {
        for (headers, keep_alive) in [
            ("", true),
            ("Connection: close\r\n", false),
            ("Connection: Keep-Alive, CLOSE\r\n", false),
            ("connection: keep-alive\r\nConnection:\tclose \r\n", false),
            ("Connection: closed\r\n", true),
            ("Content-Length: 0\r\n", true),
        ] {
            let head = format!("GET / HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n");
            assert_eq!(complete(&head).keep_alive, keep_alive, "{headers:?}");
        }
        assert!(!complete("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").keep_alive);
    }

    #[test]
    fn what_the_client_has_and_likes_is_read() {
        let request = complete(
            "GET / HTTP/1.1\r\nHost: localhost\r\nIf-None-Match: \"a\", \"b\"\r\nAccept: text/html\r\n\
             if-none-match: W/\"c\"\r\n\r\n",
        );
        assert_eq!(request.known.as_deref(), Some("\"a\", \"b\",W/\"c\""));
        assert!(request.html);
    }

    #[test]
    fn a_token_is_read() {
        for (header, token) in [
            ("", None),
            ("Authorization: Bearer abc=\r\n", Some("abc=")),
            ("authorization: bEARER   abc \r\n", Some("abc")),
            ("Authorization: Bearer a b\r\n", Some("a b")),
            ("Authorization: Bearer\r\n", None),
            ("Authorization: Basic abc\r\n", None),
            ("Authorization: Bearer \u{e9}\r\n", Some("\u{e9}")),
        ] {
            let request = complete(&format!("POST /x HTTP/1.1\r\nHost: localhost\r\n{header}\r\n"));
            assert_eq!(request.token, token.map(Secret::new), "{header}");
            assert!(!format!("{request:?}").contains("abc"));
        }
    }

    #[test]
    fn a_page_from_elsewhere_may_do_nothing() {
        let post = |host: &str, origin: &str| {
            parse(format!("POST /x HTTP/1.1\r\nHost: {host}\r\n{origin}\r\n").as_bytes(), &hosts())
        };
        for (host, origin) in [
            ("localhost:80", ""),
            ("localhost:80", "Origin: http://localhost:80\r\n"),
            ("status.example", "Origin: https://Status.Example\r\n"),
        ] {
            assert!(matches!(post(host, origin), Parsed::Complete { .. }), "{host} {origin}");
        }
        for origin in [
            "Origin: null\r\n",
            "Origin: http://localhost:81\r\n",
            "Origin: http://localhost:80.evil.example\r\n",
            "Origin: http://evil.example\r\n",
            "Origin: file://localhost:80\r\n",
            "Origin:\r\n",
            "Origin: localhost:80\r\n",
        ] {
            match post("localhost:80", origin) {
                Parsed::Refused(response) => assert_eq!(response.status().code(), 403, "{origin}"),
                other => panic!("{origin}: {other:?}"),
            }
        }
        assert!(matches!(post("localhost", "Origin: a\r\nOrigin: a\r\n"), Parsed::Refused(_)));
        // Whoever only looks may say where they come from.
        complete("GET / HTTP/1.1\r\nHost: localhost\r\nOrigin: http://evil.example\r\n\r\n");
    }

    #[test]
    fn every_beginning_of_a_head_is_incomplete() {
        let head = "\r\nGET /x HTTP/1.1\r\nHost: status.example:80\r\nA: b\r\n\r\n";
        for len in 0..head.len() {
            assert!(matches!(parse(&head.as_bytes()[..len], &hosts()), Parsed::Incomplete), "{len}");
        }
        let two = format!("{head}GET /y HTTP/1.1\r\n");
        match parse(two.as_bytes(), &hosts()) {
            Parsed::Complete { request, len } => assert_eq!((request.path.as_str(), len), ("/x", head.len())),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_cannot_be_answered_is_refused_with_the_reason() {
        let long = format!("GET / HTTP/1.1\r\nHost: localhost\r\nX: {}", "x".repeat(MAX_HEAD));
        let whole = format!("{long}\r\n\r\n");
        let many = format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(MAX_HEADERS + 1));
        let get = |headers: &str| format!("GET / HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n");
        for (head, status, text) in [
            ("GARBAGE\r\n\r\n".into(), 400, "not HTTP"),
            ("\u{16}\u{3}\u{1}".into(), 400, "not HTTP"),
            ("GET / HTTP/2.0\r\n\r\n".into(), 505, "HTTP/1.1"),
            ("GET / HTTP/1.1\r\n\r\n".into(), 400, "has none"),
            ("GET / HTTP/1.1\r\nHost:\r\n\r\n".into(), 400, "neither a name nor an address"),
            ("GET / HTTP/1.1\r\nHost: a b\r\n\r\n".into(), 400, "neither"),
            ("GET / HTTP/1.1\r\nHost: localhost:99999\r\n\r\n".into(), 400, "port from 0 to 65535"),
            ("GET / HTTP/1.0\r\nHost: [::1]:65536\r\n\r\n".into(), 400, "\"[::1]:65536\""),
            ("GET http://localhost:65536/ HTTP/1.1\r\nHost: localhost\r\n\r\n".into(), 400, "port"),
            ("GET / HTTP/1.1\r\nHost: localhost, localhost\r\n\r\n".into(), 400, "neither"),
            (get("Host: localhost\r\n"), 400, "host stands more than once"),
            ("GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n".into(), 421, "\"evil.example\""),
            ("GET / HTTP/1.0\r\nHost: evil.example\r\n\r\n".into(), 421, "allowed_hosts"),
            ("GET http://evil.example/ HTTP/1.1\r\nHost: localhost\r\n\r\n".into(), 421, "evil"),
            ("GET http:/// HTTP/1.1\r\nHost: localhost\r\n\r\n".into(), 400, "neither"),
            ("GET http://a@localhost/ HTTP/1.1\r\nHost: localhost\r\n\r\n".into(), 400, "neither"),
            ("GET https://localhost/ HTTP/1.1\r\nHost: localhost\r\n\r\n".into(), 400, "http://"),
            ("GET livez HTTP/1.1\r\nHost: localhost\r\n\r\n".into(), 400, "must be a path"),
            ("GET /a#b HTTP/1.1\r\nHost: localhost\r\n\r\n".into(), 400, "must be a path"),
            ("GET * HTTP/1.1\r\nHost: localhost\r\n\r\n".into(), 400, "must be a path"),
            ("PUT / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nabc".into(), 405, "PUT"),
            ("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nabc".into(), 413, "body"),
            ("POST x HTTP/1.1\r\nHost: localhost\r\n\r\n".into(), 400, "must be a path"),
            (get("Authorization: a b\r\nAuthorization: a b\r\n"), 400, "authorization stands more"),
            ("OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n".into(), 405, "OPTIONS"),
            ("CONNECT a:1 HTTP/1.1\r\nHost: localhost\r\n\r\n".into(), 405, "CONNECT"),
            ("get / HTTP/1.1\r\nHost: localhost\r\n\r\n".into(), 405, "get is not answered"),
            (get("Content-Length: 3\r\n"), 413, "body"),
            (get("Content-Length: 99999999999999999999999\r\n"), 413, "body"),
            (get("Content-Length: -1\r\n"), 400, "not a number"),
            (get("Content-Length: 0\r\nContent-Length: 0\r\n"), 400, "content-length stands more"),
            (get("Transfer-Encoding: chunked\r\n"), 400, "Transfer-Encoding"),
            (get(" folded\r\n"), 400, "invalid header name"),
            (get("A: b\r\n folded\r\n"), 400, "invalid header name"),
            (get("A : b\r\n"), 400, "invalid header name"),
            (get("Transfer-Encoding : chunked\r\n"), 400, "invalid header name"),
            (get("Transfer-Encoding:\tchunked\r\nContent-Length: 0\r\n"), 400, "Transfer-Encoding"),
            (get("transfer-encoding: identity\r\n"), 400, "Transfer-Encoding"),
            (get("Content-Length: +0\r\n"), 400, "not a number"),
            (get("Content-Length: 0, 0\r\n"), 400, "not a number"),
            (get("Content-Length: 0x0\r\n"), 400, "not a number"),
            (get("Content-Length:\r\n"), 400, "not a number"),
            ("GET / HTTP/1.1\nHost: localhost\n\n".into(), 400, "CR and LF"),
            ("\nGET / HTTP/1.1\r\nHost: localhost\r\n\r\n".into(), 400, "CR and LF"),
            ("GET / HTTP/1.1\r\nHost: localhost\r\nA: b\n\r\n".into(), 400, "CR and LF"),
            ("GET / HTTP/1.1\r\nHost: localhost\r\n\n".into(), 400, "CR and LF"),
            (get("A: b\rContent-Length: 5\r\n"), 400, "invalid header value"),
            ("GET / HTTP/1.1\rHost: localhost\r\n\r\n".into(), 400, "not HTTP"),
            ("GET /\r\nHost: localhost\r\n\r\n".into(), 400, "not HTTP"),
            (get("A: \0\r\n"), 400, "invalid header value"),
            (long, 431, "8192 bytes"),
            (whole, 431, "8192 bytes"),
            (many, 431, "64 header lines"),
        ] {
            match parse(head.as_bytes(), &hosts()) {
                Parsed::Refused(response) => {
                    let body = String::from_utf8(response.body().to_vec()).unwrap();
                    assert_eq!(response.status().code(), status, "{head:?}: {body}");
                    assert!(body.contains(text), "{head:?}: {body}");
                }
                other => panic!("{head:?}: {other:?}"),
            }
        }
    }
}
