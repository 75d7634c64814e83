//! Who asks: a server, a key, bounds, and one request at a time.

use std::borrow::Cow;
use std::fmt;
use std::io::Read;
use std::sync::Arc;

use ureq::http::header::{CONTENT_ENCODING, LOCATION};
use ureq::http::uri::Parts;
use ureq::http::{HeaderMap, HeaderName, HeaderValue, Method, Response, Uri};
use ureq::{Agent, Body};

use super::answer::{Answer, SHORTEST_SECRET};
use super::key::Key;
use super::request::{Request, Target};
use crate::component::Context;
use crate::error::{Error, ErrorClass, ErrorKind, Result};
use crate::probe::connect::Failure;
use crate::probe::http::target::{Shown, authorization, follow, is_same_server, parse, without_credentials};
use crate::probe::http::transport::{Exchange, agent, apart};
use crate::probe::http::{complaint, read_headers};
use crate::probe::wait::Wait;
use crate::text::head;

/// How much of a body is read by default, in bytes: 1 MiB.
pub const MAX_BODY: u64 = 1024 * 1024;
/// Headers whose values everybody may see.
const NO_SECRETS: [&str; 6] =
    ["accept", "accept-encoding", "accept-language", "content-type", "idempotency-key", "user-agent"];
/// How many redirects are followed by default.
const REDIRECTS: u32 = 3;

/// How a [`Client`] asks.
#[derive(Clone)]
#[must_use = "a client is made of it"]
pub struct ClientConfig {
    base: String,
    key: Option<Key>,
    key_header: String,
    headers: Vec<(String, String)>,
    max_body: u64,
    redirects: u32,
    #[cfg(feature = "tls")]
    tls: Option<super::TlsFiles>,
}

impl ClientConfig {
    /// Asks below a base URL, `http://host:port/and/a/path`. A user and
    /// password in it are sent as basic authentication, where there is no
    /// key; a query is refused.
    pub fn new(base: impl Into<String>) -> Self {
        Self {
            base: base.into(),
            key: None,
            key_header: "authorization".to_owned(),
            headers: Vec::new(),
            max_body: MAX_BODY,
            redirects: REDIRECTS,
            #[cfg(feature = "tls")]
            tls: None,
        }
    }

    /// The key that goes with each request. Defaults to none.
    pub fn key(self, key: Key) -> Self {
        Self { key: Some(key), ..self }
    }

    /// The header that the key is sent in. Defaults to `Authorization`, where
    /// `Bearer` stands before it; in another it stands alone.
    pub fn key_header(self, name: impl Into<String>) -> Self {
        Self { key_header: name.into(), ..self }
    }

    /// Adds a header to each request. Its value is in no error or log.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// How long a body may be, in bytes. Defaults to [`MAX_BODY`].
    pub fn max_body(self, bytes: u64) -> Self {
        Self { max_body: bytes, ..self }
    }

    /// How many redirects are followed. A request with a key or with headers
    /// of its own is not redirected to another server. Defaults to 3.
    pub fn follow_redirects(self, times: u32) -> Self {
        Self { redirects: times, ..self }
    }

    /// Proves who the client is, and knows its servers, by files.
    #[cfg(feature = "tls")]
    pub fn tls(self, files: super::TlsFiles) -> Self {
        Self { tls: Some(files), ..self }
    }

    /// Says what is wrong with the settings, if something is.
    ///
    /// # Errors
    ///
    /// `InvalidArgument`, which names the setting.
    pub fn check(&self) -> Result<()> {
        self.prepare().map(drop)
    }

    fn prepare(&self) -> Result<(Uri, HeaderMap)> {
        let base = parse(&self.base).map_err(|text| Error::invalid(format!("base_url: {text}")))?;
        if base.query().is_some() {
            return Err(Error::invalid("base_url: must not have a query"));
        }
        if self.max_body == 0 {
            return Err(Error::invalid("max_body: must be more than zero"));
        }
        let name = &self.key_header;
        read_headers([(name.as_str(), "")].into_iter())
            .map_err(|text| Error::invalid(format!("key_header: {text}")))?;
        let pairs = self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let headers = read_headers(pairs).map_err(|text| Error::invalid(format!("headers: {text}")))?;
        Ok((base, headers))
    }
}

impl fmt::Debug for ClientConfig {
    /// Without the key, headers, user and password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let base = parse(&self.base).map_or_else(|_| "..".to_owned(), |uri| Shown(&uri).to_string());
        f.debug_struct("ClientConfig")
            .field("base_url", &base)
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}

/// Asks one server. Cloning shares it.
///
/// Connections are those of the [`Env`](crate::Env) that a call belongs to,
/// for all clients of it; with keys of its own (feature `tls`) a client has
/// its own.
///
/// # Threads
///
/// Any thread may ask, many at once. A request is sent and read on the thread
/// that asks; none is made for it.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    config: ClientConfig,
    base: Uri,
    /// The base without user and password, to which paths go.
    server: Parts,
    prefix: String,
    headers: HeaderMap,
    #[cfg(feature = "tls")]
    identity: Option<super::tls::Identity>,
}

impl Client {
    /// Makes a client. Nothing is sent.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` when a setting cannot be used.
    pub fn new(config: ClientConfig) -> Result<Self> {
        let (base, mut headers) = config.prepare()?;
        if let Some(value) = authorization(&base) {
            headers.entry("authorization").or_insert(value);
        }
        headers.entry("accept").or_insert(HeaderValue::from_static("application/json"));
        #[cfg(feature = "tls")]
        let identity = config.tls.clone().map(super::tls::Identity::new).transpose()?;
        let server = without_credentials(&base).into_parts();
        let prefix = base.path().trim_end_matches('/').to_owned();
        Ok(Self(Arc::new(Inner {
            base,
            server,
            prefix,
            headers,
            #[cfg(feature = "tls")]
            identity,
            config,
        })))
    }

    /// Asks, and takes whatever comes back, of any status.
    ///
    /// # Errors
    ///
    /// See the [module](super): nothing came back, it was too much or in an
    /// encoding nobody asked for, or a redirect was not followed.
    pub fn send(&self, cx: &Context, request: &Request) -> Result<Answer> {
        let uri = self.uri(request)?;
        let what = Shown(&uri).with_method(&request.method);
        let headers = self.headers(cx, request).map_err(|error| {
            let text = format!("{what}: {}", error.report());
            let kind = match error.kind() {
                kind @ (ErrorKind::Cancelled | ErrorKind::InvalidArgument | ErrorKind::Budget) => kind,
                // Nobody was asked: that says nothing about the server.
                _ => ErrorKind::Io,
            };
            Error::new(kind).with_class(error.class()).context(text)
        })?;
        let wait = Wait::begin_kept(cx, request.timeout, &what).map_err(|error| Error::from_user(&*error))?;
        let exchange = Arc::new(Exchange::new(wait));
        let own = self.own_agent().map_err(|error| {
            let text = format!("{what}: {}", error.report());
            Error::new(error.kind()).context(text)
        })?;
        let agent = own.as_ref().unwrap_or_else(|| cx.env().agent(agent));
        let body = request.body.as_ref().map(|body| body.to_string().into_bytes());
        let first = Step { method: request.method.clone(), uri, what, body, is_apart: request.is_once };
        let _current = exchange.enter();
        self.ask(cx, agent, request, &headers, first, &exchange)
    }

    /// Asks, and wants a status of 200 to 299 and JSON.
    ///
    /// # Errors
    ///
    /// See the [module](super).
    pub fn json(&self, cx: &Context, request: &Request) -> Result<(Answer, serde_json::Value)> {
        let answer = self.send(cx, request)?.expect_success()?;
        let value = answer.json()?;
        Ok((answer, value))
    }

    #[cfg(feature = "tls")]
    fn own_agent(&self) -> Result<Option<Agent>> {
        self.0.identity.as_ref().map(super::tls::Identity::agent).transpose()
    }

    #[cfg(not(feature = "tls"))]
    #[allow(clippy::unnecessary_wraps, clippy::unused_self, reason = "with TLS it can fail")]
    fn own_agent(&self) -> Result<Option<Agent>> {
        Ok(None)
    }

    /// The URL that is meant, without user and password.
    fn uri(&self, request: &Request) -> Result<Uri> {
        let base = &self.0.base;
        let uri = match &request.target {
            Target::Path(path) if !path.starts_with('/') => {
                let found = head(path.as_bytes(), 100);
                return Err(Error::invalid(format!(
                    "path: expected one that begins with \"/\", found \"{found}\""
                )));
            }
            Target::Path(path) => {
                // The base was looked at already.
                let mut parts = Parts::default();
                parts.scheme.clone_from(&self.0.server.scheme);
                parts.authority.clone_from(&self.0.server.authority);
                let flaw = "path: cannot be part of a URL";
                let whole = [&*self.0.prefix, path].concat();
                parts.path_and_query = Some(whole.try_into().map_err(|_| Error::invalid(flaw))?);
                return Uri::from_parts(parts).map_err(|_| Error::invalid(flaw));
            }
            Target::Link(link) => {
                let uri = follow(base, link).map_err(|text| {
                    Error::new(ErrorKind::Probe)
                        .context(format!("link: {}", text.replacen("redirected", "leads", 1)))
                })?;
                if !is_same_server(base, &uri) {
                    let text = format!("link: leads to another server, {}", Shown(&uri));
                    return Err(Error::new(ErrorKind::Probe).with_class(ErrorClass::Terminal).context(text));
                }
                uri
            }
        };
        Ok(without_credentials(&uri))
    }

    fn headers(&self, cx: &Context, request: &Request) -> Result<Cow<'_, HeaderMap>> {
        if self.0.config.key.is_none() && request.headers.is_empty() {
            return Ok(Cow::Borrowed(&self.0.headers));
        }
        let mut headers = self.0.headers.clone();
        if let Some(key) = &self.0.config.key {
            let name = self.0.config.key_header.to_ascii_lowercase();
            let key = key.read(cx)?;
            let text = if name == "authorization" { format!("Bearer {key}") } else { key };
            let value = HeaderValue::from_str(&text).ok().filter(|value| value.to_str().is_ok());
            let mut value =
                value.ok_or_else(|| Error::invalid("key: has characters that no header may have"))?;
            value.set_sensitive(true);
            let name = HeaderName::from_bytes(name.as_bytes())
                .map_err(|_| Error::invalid("key_header: is not the name of a header"))?;
            headers.insert(name, value);
        }
        let pairs = request.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let own = read_headers(pairs).map_err(|text| Error::invalid(format!("headers: {text}")))?;
        for name in own.keys() {
            headers.remove(name);
        }
        headers.extend(own.iter().map(|(name, value)| (name.clone(), value.clone())));
        Ok(Cow::Owned(headers))
    }

    /// What goes with a request and may be in no error: the key, the password
    /// and the values of headers.
    fn secrets(headers: &HeaderMap) -> Vec<String> {
        let is_secret = |(name, value): &(&HeaderName, &HeaderValue)| {
            value.is_sensitive() && !NO_SECRETS.contains(&name.as_str())
        };
        let values = headers.iter().filter(is_secret).filter_map(|(_, value)| value.to_str().ok());
        let bare = values.map(|value| {
            let schemes = ["Bearer ", "Basic "];
            schemes.iter().find_map(|scheme| value.strip_prefix(scheme)).unwrap_or(value).to_owned()
        });
        bare.filter(|value| value.len() >= SHORTEST_SECRET).collect()
    }

    /// Whether what goes with a request is for this server only.
    fn is_private(&self, request: &Request) -> bool {
        #[cfg(feature = "tls")]
        if self.0.identity.as_ref().is_some_and(super::tls::Identity::proves_who_asks) {
            return true;
        }
        self.0.config.key.is_some()
            || !self.0.config.headers.is_empty()
            || !request.headers.is_empty()
            || authorization(&self.0.base).is_some()
    }

    /// Asks, and asks again where the answer is a redirect.
    fn ask(
        &self,
        cx: &Context,
        agent: &Agent,
        request: &Request,
        headers: &HeaderMap,
        mut step: Step,
        exchange: &Exchange,
    ) -> Result<Answer> {
        let mut left = self.0.config.redirects;
        loop {
            let response = self.ask_once(agent, request, headers, &step, exchange)?;
            let status = response.status().as_u16();
            let location = response.headers().get(LOCATION);
            let redirect = location.filter(|_| [301, 302, 303, 307, 308].contains(&status));
            if let Some(location) = redirect.filter(|_| self.0.config.redirects > 0) {
                let location = String::from_utf8_lossy(location.as_bytes()).into_owned();
                let refuse = |text: String| {
                    let text = format!("{}: {text} after {}", step.what, exchange.wait().took());
                    Error::new(ErrorKind::Probe).with_class(ErrorClass::Terminal).context(text)
                };
                if left == 0 {
                    return Err(refuse(format!("redirected more than {} times", self.0.config.redirects)));
                }
                left -= 1;
                let next = step.redirected(status, &location).map_err(refuse)?;
                if self.is_private(request) && !is_same_server(&self.0.base, &next.uri) {
                    let to = Shown(&next.uri);
                    return Err(refuse(format!(
                        "redirected to another server, {to}, with what is not for it,"
                    )));
                }
                step = next;
                continue;
            }
            return self.read(cx, response, step, exchange, request.is_once, Self::secrets(headers));
        }
    }

    /// Asks once, or once more where a kept connection was gone.
    fn ask_once(
        &self,
        agent: &Agent,
        request: &Request,
        headers: &HeaderMap,
        step: &Step,
        exchange: &Exchange,
    ) -> Result<Response<Body>> {
        let before = exchange.connects();
        match step.run(agent, headers) {
            Ok(response) => Ok(response),
            Err(_) if request.is_repeatable() && exchange.may_be_stale(before) => {
                exchange.renew();
                step.run(agent, headers).map_err(|error| broken(&step.what, exchange, &error))
            }
            Err(error) => Err(broken(&step.what, exchange, &error)),
        }
    }

    fn read(
        &self,
        cx: &Context,
        mut response: Response<Body>,
        step: Step,
        exchange: &Exchange,
        is_once: bool,
        secrets: Vec<String>,
    ) -> Result<Answer> {
        let wait = exchange.wait();
        let what = step.what;
        // It was done, whatever cannot be read of the answer.
        let is_done = is_once && response.status().is_success();
        let fail = |text: String| {
            let error = Error::new(ErrorKind::Probe);
            let error = if is_done { error.with_class(ErrorClass::Terminal) } else { error };
            error.context(format!("{what}: {text} after {}", wait.took()))
        };
        let max = self.0.config.max_body;
        let encoding = response.headers().get(CONTENT_ENCODING);
        if let Some(encoding) =
            encoding.filter(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"identity"))
        {
            let encoding = head(encoding.as_bytes(), 60);
            return Err(fail(format!("the answer is encoded as {encoding}, which was not asked for,")));
        }
        let promised = response.body().content_length();
        if let Some(promised) = promised.filter(|promised| *promised > max) {
            return Err(fail(format!("the answer is {promised} bytes long, at most {max} are read,")));
        }
        let mut body = Vec::with_capacity(promised.map_or(0, |promised| promised.min(max) as usize));
        let read = response.body_mut().as_reader().take(max + 1).read_to_end(&mut body);
        read.map_err(|error| broken(&what, exchange, &ureq::Error::from(error)))?;
        if body.len() as u64 > max {
            return Err(fail(format!("the answer is longer than {max} bytes")));
        }
        let latency = wait.took().0;
        let (parts, _) = response.into_parts();
        let at = cx.env().stamp();
        let status = parts.status.as_u16();
        Ok(Answer { what, status, headers: parts.headers, body, latency, at, secrets })
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Client").field(&self.0.config).finish()
    }
}

/// One request on the way to an answer.
struct Step {
    method: Method,
    uri: Uri,
    /// What errors begin with.
    what: String,
    body: Option<Vec<u8>>,
    /// Whether it has a connection of its own.
    is_apart: bool,
}

impl Step {
    fn run(&self, agent: &Agent, headers: &HeaderMap) -> std::result::Result<Response<Body>, ureq::Error> {
        let mut request = ureq::http::Request::new(());
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = headers.clone();
        if self.is_apart {
            request = apart(agent, request);
            request.headers_mut().insert("connection", HeaderValue::from_static("close"));
        }
        let Some(body) = &self.body else {
            let has_body = [Method::POST, Method::PUT].contains(&self.method);
            return if has_body { agent.run(request.map(|()| "")) } else { agent.run(request) };
        };
        let json = HeaderValue::from_static("application/json");
        request.headers_mut().entry("content-type").or_insert(json);
        agent.run(request.map(|()| &body[..]))
    }

    /// Where a redirect leads; 303 asks for a result, 307 and 308 for the
    /// same again, and of the others it is not known what becomes of a body.
    fn redirected(&self, status: u16, location: &str) -> std::result::Result<Self, String> {
        let uri = without_credentials(&follow(&self.uri, location)?);
        let what = match self.what.split_once(" -> ") {
            Some((first, _)) => format!("{first} -> {}", Shown(&uri)),
            None => format!("{} -> {}", self.what, Shown(&uri)),
        };
        let is_safe = [Method::GET, Method::HEAD].contains(&self.method);
        match status {
            303 if !is_safe => {
                Ok(Self { method: Method::GET, uri, what, body: None, is_apart: self.is_apart })
            }
            301 | 302 if !is_safe => Err(format!("redirected by status {status}, which cannot be followed,")),
            _ => {
                let (method, body) = (self.method.clone(), self.body.clone());
                Ok(Self { method, uri, what, body, is_apart: self.is_apart })
            }
        }
    }
}

fn broken(what: &str, exchange: &Exchange, error: &ureq::Error) -> Error {
    match exchange.failure() {
        Some(failure) => Failure::into_error(failure, what, exchange.wait()),
        None => {
            let text = format!("{what}: {} after {}", complaint(error), exchange.wait().took());
            Error::new(ErrorKind::Probe).context(text)
        }
    }
}
