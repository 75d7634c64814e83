//! Asks by an HTTP request.

use std::fmt;
use std::io::{self, Read};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use ureq::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Uri};
use ureq::{Agent, Body};

use super::Probe;
use super::connect::Failure;
use super::text::reason;
use super::wait::Wait;
use crate::component::Context;
use crate::condition::{Condition, Facts, Outcome};
use crate::duration::Shown as Quoted;
use crate::error::{BoxError, Error, ErrorKind, Result};
use crate::text::head;

pub(crate) mod target;
pub(crate) mod transport;

use target::{Shown, authorization, follow, is_same_server, parse, without_credentials};
use transport::{Exchange, agent, apart};

/// How much of a body an error shows, in bytes.
const SHOWN: usize = 200;
/// How much of a body is read by default, in bytes.
const MAX_BODY: u64 = 64 * 1024;
/// How long a refused answer's body is waited for, to show it.
const EXCERPT_WAIT: Duration = Duration::from_millis(200);

/// Sends a request to `url` and asks whether the answer is as expected.
///
/// See [`HttpProbe`].
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use loopkeeper::{Context, Env, Name, Probe, probe};
///
/// let env = Env::new()?;
/// let cx = Context::detached(&env, Name::new("web")?, Duration::from_secs(5));
/// let mut web = probe::http("http://127.0.0.1:1/healthz").expect_body("ok");
/// let text = web.probe(&cx).unwrap_err().to_string();
/// // GET http://127.0.0.1:1/healthz: connection refused after 0.2ms
/// assert!(text.starts_with("GET http://127.0.0.1:1/healthz: connection refused after "));
///
/// let error = probe::http("ftp://example.org/").check().unwrap_err();
/// assert_eq!(error.to_string(), "url: must begin with http:// or https://");
/// # Ok::<(), loopkeeper::Error>(())
/// ```
pub fn http(url: impl Into<String>) -> HttpProbe {
    HttpProbe {
        url: url.into(),
        method: "GET".to_owned(),
        headers: Vec::new(),
        statuses: Vec::new(),
        body: None,
        conditions: Vec::new(),
        redirects: 0,
        max_body: MAX_BODY,
    }
}

/// Sends one HTTP/1.1 request and looks at status and body; made by [`http`].
///
/// Each call makes a connection of its own, so that one kept alive from
/// better times cannot hide that nobody accepts any more. A name is looked up
/// each time, as by [`tcp`](super::tcp()). No proxy is used. The body is read to
/// its end or to its bound: a server that stops in the middle is down.
///
/// A user and password in the URL are sent as basic authentication, without
/// the escapes of URLs: `%40` is an `@`. Neither they nor the query appear in
/// errors.
///
/// Ends at its deadline and at once on cancel, whatever the server does, but
/// for the lookup of a name: the system's resolver cannot be told to end. No
/// thread is made for a request.
///
/// An `https` URL needs the feature `tls`, and a certificate that leads to
/// one of the roots that browsers trust.
///
/// # Errors
///
/// `Probe` when the answer is not as expected or nobody accepts, `Timeout`
/// when the answer is not over at the deadline, `Io` when there is no socket
/// to be had, `Budget` when this process has no descriptor left, `Cancelled`; `InvalidArgument` when a setting cannot be used.
#[derive(Clone)]
#[must_use = "a probe does nothing until it is asked"]
pub struct HttpProbe {
    url: String,
    method: String,
    headers: Vec<(String, String)>,
    /// Empty stands for the default.
    statuses: Vec<RangeInclusive<u16>>,
    body: Option<String>,
    conditions: Vec<Condition>,
    redirects: u32,
    max_body: u64,
}

impl HttpProbe {
    /// The method, in upper case. `POST`, `PUT` and `PATCH` send an empty
    /// body. Defaults to `GET`.
    pub fn method(mut self, method: impl Into<String>) -> Self {
        self.method = method.into();
        self
    }

    /// Adds a header. Call it again for more, also of the same name where a
    /// request may have several. Defaults to none but what the
    /// protocol asks for.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Expects a status in this range; `204..=204` is a single one. Call it
    /// again to accept more. Defaults to `200..=299`.
    pub fn expect_status(mut self, range: RangeInclusive<u16>) -> Self {
        self.statuses.push(range);
        self
    }

    /// Expects this text somewhere in the body, byte for byte. Defaults to
    /// any body.
    pub fn expect_body(mut self, text: impl Into<String>) -> Self {
        self.body = Some(text.into());
        self
    }

    /// Expects that a condition holds for the JSON of the body, such as
    /// `body./queue/depth < 100`, in which `/queue/depth` is a JSON pointer; it
    /// may also be about `status`, `latency` and headers of the answer, see
    /// [`condition`](crate::condition). Call it again for more: all must hold.
    /// One that cannot be told, because the body is no JSON or has no such
    /// value, does not hold. Defaults to none.
    ///
    /// # Examples
    ///
    /// ```
    /// use loopkeeper::{Probe, probe};
    ///
    /// let queue = probe::http("http://127.0.0.1:8080/health")
    ///     .expect_json(r#"body./state == "ok""#.parse()?)
    ///     .expect_json("body./queue/depth < 100".parse()?);
    /// assert!(queue.check().is_ok());
    /// # Ok::<(), loopkeeper::condition::ParseError>(())
    /// ```
    pub fn expect_json(mut self, condition: Condition) -> Self {
        self.conditions.push(condition);
        self
    }

    /// Follows up to so many redirects, to http and https only. Basic
    /// authentication and the headers `Host`, `Authorization`,
    /// `Proxy-Authorization` and `Cookie` are not sent on to another host or
    /// port, other headers are. Errors name the first URL and the one that
    /// was asked last. Defaults to 0: a redirect is an answer like any other.
    pub fn follow_redirects(mut self, times: u32) -> Self {
        self.redirects = times;
        self
    }

    /// How much of the body is read, in bytes; the rest is left. 0 reads
    /// none. Defaults to 64 KiB.
    pub fn max_body(mut self, bytes: u64) -> Self {
        self.max_body = bytes;
        self
    }

    fn prepare(&self) -> Result<Request<()>> {
        let uri = parse(&self.url).map_err(|text| Error::invalid(format!("url: {text}")))?;
        let method = method(&self.method).map_err(|text| Error::invalid(format!("method: {text}")))?;
        for range in &self.statuses {
            status_range(range).map_err(|text| Error::invalid(format!("expect_status: {text}")))?;
        }
        if self.body.as_ref().is_some_and(|body| body.len() as u64 > self.max_body) {
            return Err(Error::invalid("expect_body: is longer than max_body, so it cannot be found"));
        }
        for (idx, condition) in self.conditions.iter().enumerate() {
            check_condition(condition)
                .map_err(|text| Error::invalid(format!("expect_json[{idx}]: {text}")))?;
        }
        if !self.conditions.is_empty() && self.max_body == 0 {
            return Err(Error::invalid("expect_json: there is no body to look at when max_body is 0"));
        }
        let mut request = Request::new(());
        *request.uri_mut() = uri;
        *request.method_mut() = method;
        let pairs = self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        *request.headers_mut() =
            read_headers(pairs).map_err(|text| Error::invalid(format!("headers: {text}")))?;
        if let Some(value) = authorization(request.uri()) {
            request.headers_mut().entry("authorization").or_insert(value);
        }
        // Nobody uses the connection again.
        request.headers_mut().insert("connection", HeaderValue::from_static("close"));
        Ok(request)
    }

    /// Asks, and asks again where the answer is a redirect to be followed.
    fn ask(&self, agent: &Agent, mut request: Request<()>, what: &str, exchange: &Exchange) -> Result<()> {
        let mut now_at = what.to_owned();
        let mut left = self.redirects;
        loop {
            // Kept for the next, because the client takes it.
            let asked = request.clone();
            let Some(location) = self.ask_once(agent, request, &now_at, exchange)? else { return Ok(()) };
            let fail = |text: String| {
                let took = exchange.wait().took();
                Error::new(ErrorKind::Probe).context(format!("{now_at}: {text} after {took}"))
            };
            if left == 0 {
                return Err(fail(format!("redirected more than {} times", self.redirects)));
            }
            left -= 1;
            request = redirected(asked, &location).map_err(fail)?;
            now_at = format!("{what} -> {}", Shown(request.uri()));
            *request.uri_mut() = without_credentials(request.uri());
        }
    }

    /// Asks once; answers where a redirect leads that is to be followed.
    fn ask_once(
        &self,
        agent: &Agent,
        request: Request<()>,
        what: &str,
        exchange: &Exchange,
    ) -> Result<Option<Redirect>> {
        let wait = exchange.wait();
        let fail = |text: String| Error::new(ErrorKind::Probe).context(format!("{what}: {text}"));
        let broken = |error| match exchange.failure() {
            Some(failure) => failure.into_error(what, wait),
            None => fail(format!("{} after {}", complaint(&error), wait.took())),
        };
        wait.step(format_args!("asking {what}"));
        let mut response = send(agent, request).map_err(broken)?;
        let answered = wait.took().0;
        wait.step(format_args!("status {}, reading the body", response.status().as_u16()));
        if let Some(redirect) = Redirect::of(&response).filter(|_| self.redirects > 0) {
            return Ok(Some(redirect));
        }
        let status = response.status().as_u16();
        if !self.expects(status) {
            wait.hurry(EXCERPT_WAIT);
            let mut body = Vec::new();
            // What cannot be read cannot be shown, and changes nothing.
            let _ = read(&mut response, SHOWN as u64 + 1, &mut body);
            if let Some(failure @ Failure::Cancelled) = exchange.failure() {
                return Err(failure.into_error(what, wait));
            }
            return Err(fail(format!(
                "status {status}{}, expected {}, after {}{}",
                redirect(&response),
                Ranges(&self.statuses),
                wait.took(),
                excerpt(&body)
            )));
        }
        let mut body = Vec::new();
        read(&mut response, self.max_body, &mut body).map_err(ureq::Error::from).map_err(broken)?;
        wait.detail(|| format!("body of {} bytes{}", body.len(), excerpt(&body)));
        match &self.body {
            Some(expected) if !contains(&body, expected.as_bytes()) => {
                let bound = if body.len() as u64 == self.max_body {
                    format!(" in its first {} bytes", body.len())
                } else {
                    String::new()
                };
                Err(fail(format!(
                    "body does not contain \"{}\"{bound}, after {}{}",
                    head(expected.as_bytes(), SHOWN),
                    wait.took(),
                    excerpt(&body)
                )))
            }
            _ => self.hold(&response, body, answered, wait).map_err(fail).map(|()| None),
        }
    }

    /// Says which condition does not hold, and why.
    fn hold(
        &self,
        response: &Response<Body>,
        body: Vec<u8>,
        latency: Duration,
        wait: &Wait,
    ) -> std::result::Result<(), String> {
        if self.conditions.is_empty() {
            return Ok(());
        }
        let is_cut = body.len() as u64 == self.max_body;
        let n_bytes = body.len();
        let mut facts = Facts::new().latency(latency).status(response.status().as_u16()).body(body);
        for name in self.conditions.iter().flat_map(Condition::headers) {
            if let Some(value) = response.headers().get(name) {
                facts = facts.header(name, String::from_utf8_lossy(value.as_bytes()));
            }
        }
        for condition in &self.conditions {
            let (verb, found) = match condition.evaluate(&facts) {
                Outcome::Holds => {
                    wait.detail(|| format!("{condition} holds"));
                    continue;
                }
                Outcome::Fails(found) => ("does not hold", found),
                Outcome::Undecided(found) => ("cannot be told", found),
            };
            let cut = if is_cut {
                format!(" (of the body the first {n_bytes} bytes were read)")
            } else {
                String::new()
            };
            return Err(format!("{condition} {verb}: {found}{cut}, after {}", wait.took()));
        }
        Ok(())
    }

    fn expects(&self, status: u16) -> bool {
        match &self.statuses[..] {
            [] => DEFAULT_STATUS.contains(&status),
            ranges => ranges.iter().any(|range| range.contains(&status)),
        }
    }
}

fn send(agent: &Agent, request: Request<()>) -> Result<Response<Body>, ureq::Error> {
    let request = apart(agent, request);
    if [Method::POST, Method::PUT, Method::PATCH].contains(request.method()) {
        agent.run(request.map(|()| ""))
    } else {
        agent.run(request)
    }
}

/// What the client says, in our words.
pub(crate) fn complaint(error: &ureq::Error) -> String {
    match error {
        ureq::Error::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            "connection closed before the answer was over".to_owned()
        }
        ureq::Error::Io(error) => reason(error),
        ureq::Error::Protocol(error) => format!("the answer is not HTTP: {error}"),
        ureq::Error::LargeResponseHeader(..) => "the answer's headers are too long".to_owned(),
        // The URL in it may hold secrets.
        ureq::Error::BadUri(_) => "the URL cannot be used".to_owned(),
        error => error.to_string(),
    }
}

/// An answer that says to ask elsewhere.
struct Redirect {
    status: u16,
    location: String,
}

impl Redirect {
    fn of(response: &Response<Body>) -> Option<Self> {
        let status = response.status().as_u16();
        let location = response.headers().get("location")?;
        let location = String::from_utf8_lossy(location.as_bytes()).into_owned();
        [301, 302, 303, 307, 308].contains(&status).then_some(Self { status, location })
    }
}

/// The request that a redirect leads to, or why there is none.
fn redirected(mut request: Request<()>, redirect: &Redirect) -> std::result::Result<Request<()>, String> {
    let uri = follow(request.uri(), &redirect.location)?;
    if redirect.status < 307 {
        if ![Method::GET, Method::HEAD].contains(request.method()) {
            *request.method_mut() = Method::GET;
        }
    } else if [Method::POST, Method::PUT, Method::PATCH, Method::DELETE].contains(request.method()) {
        return Err("redirected in a way that cannot be followed".to_owned());
    }
    if !is_same_server(request.uri(), &uri) {
        for name in ["authorization", "cookie", "host", "proxy-authorization"] {
            request.headers_mut().remove(name);
        }
    }
    if let Some(value) = authorization(&uri) {
        request.headers_mut().insert("authorization", value);
    }
    *request.uri_mut() = uri;
    Ok(request)
}

pub(super) const DEFAULT_STATUS: RangeInclusive<u16> = 200..=299;

impl Probe for HttpProbe {
    fn check(&self) -> Result<()> {
        self.prepare().map(drop)
    }

    fn probe(&mut self, cx: &Context) -> std::result::Result<(), BoxError> {
        let mut request = self.prepare()?;
        let what = format!("{} {}", request.method(), Shown(request.uri()));
        // The client would send them with their escapes.
        *request.uri_mut() = without_credentials(request.uri());
        let exchange = Arc::new(Exchange::new(Wait::begin(cx, &what)?));
        let _current = exchange.enter();
        Ok(self.ask(cx.env().agent(agent), request, &what, &exchange)?)
    }
}

impl fmt::Debug for HttpProbe {
    /// Without headers, user and password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url = parse(&self.url).map_or_else(|_| "..".to_owned(), |uri| Shown(&uri).to_string());
        f.debug_struct("HttpProbe").field("method", &self.method).field("url", &url).finish_non_exhaustive()
    }
}

/// Says what is wrong with a URL, without repeating it: it may hold secrets.
pub(crate) fn check_url(url: &str) -> std::result::Result<(), String> {
    parse(url).map(drop)
}

/// Says what is wrong with a method.
pub(crate) fn check_method(text: &str) -> std::result::Result<(), String> {
    method(text).map(drop)
}

/// Headers of which a request has one at most. Names are the same whatever
/// their case.
const SINGLE: [&str; 13] = [
    "authorization",
    "content-type",
    "cookie",
    "date",
    "expect",
    "from",
    "host",
    "if-modified-since",
    "if-unmodified-since",
    "max-forwards",
    "proxy-authorization",
    "referer",
    "user-agent",
];

/// Reads headers, or says what is wrong with one.
pub(crate) fn read_headers<'a>(
    pairs: impl Iterator<Item = (&'a str, &'a str)>,
) -> std::result::Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        let (name, value) = header(name, value)?;
        if SINGLE.contains(&name.as_str()) && headers.contains_key(&name) {
            return Err(format!("\"{name}\" is there more than once, a request has one"));
        }
        headers.append(name, value);
    }
    Ok(headers)
}

/// Says what is wrong with a condition for an answer.
pub(crate) fn check_condition(condition: &Condition) -> std::result::Result<(), String> {
    match condition.files().first() {
        None => Ok(()),
        Some(path) => Err(format!("is about the file {}, expected the answer only", Quoted(path))),
    }
}

/// Says what is wrong with a range of statuses.
pub(super) fn status_range(range: &RangeInclusive<u16>) -> std::result::Result<(), String> {
    let (start, end) = (*range.start(), *range.end());
    if (100..=999).contains(&start) && (start..=999).contains(&end) {
        Ok(())
    } else {
        Err(format!("expected statuses from 100 to 999, lower first, found {}", One(range)))
    }
}

fn method(text: &str) -> std::result::Result<Method, String> {
    let method = Method::from_bytes(text.as_bytes()).ok();
    let upper = text.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-');
    method
        .filter(|method| upper && *method != Method::CONNECT)
        .ok_or_else(|| format!("expected a method such as \"GET\", found \"{}\"", head(text.as_bytes(), 60)))
}

fn header(name: &str, value: &str) -> std::result::Result<(HeaderName, HeaderValue), String> {
    let shown = head(name.as_bytes(), 60);
    let parsed = HeaderName::from_bytes(name.as_bytes())
        .map_err(|_| format!("\"{shown}\" is not the name of a header"))?;
    if ["connection", "content-length", "transfer-encoding"].contains(&parsed.as_str()) {
        return Err(format!("{shown} is set by the probe itself"));
    }
    let mut value = HeaderValue::from_str(value)
        .map_err(|_| format!("the value of {shown} has characters that no header may have"))?;
    value.set_sensitive(true);
    Ok((parsed, value))
}

fn read(response: &mut Response<Body>, max: u64, body: &mut Vec<u8>) -> io::Result<()> {
    if max == 0 {
        return Ok(());
    }
    response.body_mut().as_reader().take(max).read_to_end(body).map(drop)
}

fn contains(body: &[u8], text: &[u8]) -> bool {
    text.is_empty() || body.windows(text.len()).any(|window| window == text)
}

fn excerpt(body: &[u8]) -> String {
    match head(body, SHOWN) {
        text if text.is_empty() => String::new(),
        text => format!("; body: \"{text}\""),
    }
}

/// Where a redirect leads that was not followed.
fn redirect(response: &Response<Body>) -> String {
    if !response.status().is_redirection() {
        return String::new();
    }
    let location = response.headers().get("location").and_then(|value| value.to_str().ok());
    match location.and_then(|location| location.parse::<Uri>().ok()) {
        Some(uri) => format!(" to {}", head(Shown(&uri).to_string().as_bytes(), SHOWN)),
        None => String::new(),
    }
}

/// `200-299, 304`
struct Ranges<'a>(&'a [RangeInclusive<u16>]);

impl fmt::Display for Ranges<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return One(&DEFAULT_STATUS).fmt(f);
        }
        for (idx, range) in self.0.iter().enumerate() {
            if idx > 0 {
                f.write_str(" or ")?;
            }
            One(range).fmt(f)?;
        }
        Ok(())
    }
}

struct One<'a>(&'a RangeInclusive<u16>);

impl fmt::Display for One<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0.start(), self.0.end()) {
            (start, end) if start == end => write!(f, "{start}"),
            (start, end) => write!(f, "{start}-{end}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_cannot_be_used_are_named() {
        let ok = || http("http://localhost/");
        for (probe, text) in [
            (ok().method("get"), "method: expected a method such as \"GET\", found \"get\""),
            (ok().method(""), "method: expected a method such as \"GET\", found \"\""),
            (ok().method("CONNECT"), "method: expected a method such as \"GET\", found \"CONNECT\""),
            (
                ok().expect_status(0..=200),
                "expect_status: expected statuses from 100 to 999, lower first, found 0-200",
            ),
            (
                ok().expect_status(RangeInclusive::new(299, 200)),
                "expect_status: expected statuses from 100 to 999, lower first, found 299-200",
            ),
            (ok().header("a b", "c"), "headers: \"a b\" is not the name of a header"),
            (
                ok().header("x-token", "geh\neim"),
                "headers: the value of x-token has characters that no header may have",
            ),
            (ok().header("x-a", "b\0"), "headers: the value of x-a has characters that no header may have"),
            (
                ok().header("Host", "a").header("host", "a"),
                "headers: \"host\" is there more than once, a request has one",
            ),
            (ok().header("Connection", "close"), "headers: Connection is set by the probe itself"),
            (
                ok().expect_body("abc").max_body(2),
                "expect_body: is longer than max_body, so it cannot be found",
            ),
        ] {
            assert_eq!(probe.check().unwrap_err().to_string(), text);
        }
        assert!(ok().header("accept", "a/b").header("Accept", "c/d").check().is_ok());
        assert!(ok().method("PROPFIND").header("x", "y").expect_status(204..=204).check().is_ok());
    }

    #[test]
    fn nothing_secret_is_printed() {
        let probe = http("http://user:geheim@localhost/x?token=geheim").header("x-token", "geheim");
        assert_eq!(
            format!("{probe:?}"),
            "HttpProbe { method: \"GET\", url: \"http://***@localhost/x?…\", .. }"
        );
        assert!(!format!("{:?}", http("geheim:geheim")).contains("geheim"));
    }
}
