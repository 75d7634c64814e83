//! The HTTP server that a checker asks, as its settings say.

use std::fmt;

use ureq::http::Uri;

use crate::component::Context;
use crate::error::{Error, Result};
use crate::monitor::Principal;
use crate::probe::http::target::{Shown, parse};
use crate::rest::{Answer, Client, ClientConfig, Key, Request};

/// Where a checker asks, and as whom.
///
/// # Examples
///
/// ```
/// use loopkeeper::monitor::check::HttpTarget;
/// use loopkeeper::monitor::Principal;
///
/// let principal = Principal::new("monitor").token_file("/run/secrets/token");
/// let target = HttpTarget::new("http://127.0.0.1:8480/clusters?all=1").principal(principal);
/// assert!(target.check().is_ok());
/// assert!(HttpTarget::new("clusters").check().is_err());
/// ```
#[derive(Clone)]
#[must_use = "a target is there to be handed to a checker"]
pub struct HttpTarget {
    url: String,
    headers: Vec<(String, String)>,
    principal: Option<Principal>,
    bearer_file: Option<std::path::PathBuf>,
    max_body: u64,
    redirects: u32,
    #[cfg(feature = "tls")]
    tls: Option<crate::rest::TlsFiles>,
}

/// How much of a body is read by default, in bytes.
pub(super) const MAX_BODY: u64 = 4 * 1024 * 1024;
pub(super) const REDIRECTS: u32 = 3;

impl HttpTarget {
    /// Asks by `GET` for a whole URL.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            headers: Vec::new(),
            principal: None,
            bearer_file: None,
            max_body: MAX_BODY,
            redirects: REDIRECTS,
            #[cfg(feature = "tls")]
            tls: None,
        }
    }

    /// Adds a header to each request. Its value is in no error or log.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// As whom it asks: the token goes along as `Authorization: Bearer`. When
    /// the server answers 401, the next request takes another, at most each
    /// half minute. Defaults to nobody.
    pub fn principal(self, principal: Principal) -> Self {
        Self { principal: Some(principal), ..self }
    }

    /// Sends the content of a file as the token instead, read for each request.
    pub fn bearer_file(self, path: impl Into<std::path::PathBuf>) -> Self {
        Self { bearer_file: Some(path.into()), ..self }
    }

    /// How long an answer may be, in bytes. Defaults to 4 MiB.
    pub fn max_body(self, bytes: u64) -> Self {
        Self { max_body: bytes, ..self }
    }

    /// How many redirects are followed. Defaults to 3.
    pub fn follow_redirects(self, times: u32) -> Self {
        Self { redirects: times, ..self }
    }

    /// Proves who asks, and knows the server, by files.
    #[cfg(feature = "tls")]
    pub fn tls(self, files: crate::rest::TlsFiles) -> Self {
        Self { tls: Some(files), ..self }
    }

    /// Says whether the settings can be used.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` that names the setting.
    pub fn check(&self) -> Result<()> {
        self.prepare().map(drop)
    }

    /// Who asks for it, and for what.
    pub(super) fn prepare(&self) -> Result<Asker> {
        let uri = parse(&self.url).map_err(|text| Error::invalid(format!("url: {text}")))?;
        let base = format!(
            "{}://{}",
            uri.scheme_str().unwrap_or("http"),
            uri.authority().map_or("", |authority| authority.as_str())
        );
        let mut config = ClientConfig::new(base).max_body(self.max_body).follow_redirects(self.redirects);
        for (name, value) in &self.headers {
            config = config.header(name, value);
        }
        if let Some(principal) = &self.principal {
            principal.check()?;
        }
        let is_asked = self.bearer_file.is_none();
        let token = self.principal.clone().filter(|principal| is_asked && principal.has_token());
        if let Some(path) = &self.bearer_file {
            config = config.key(Key::file(path));
        } else if let Some(principal) = token.clone() {
            let name = principal.name().to_owned();
            config = config.key(Key::ask(name, move |cx| {
                let token = principal.token(cx)?;
                Ok(token.map(|token| token.expose().to_owned()).unwrap_or_default())
            }));
        }
        #[cfg(feature = "tls")]
        if let Some(files) = &self.tls {
            config = config.tls(files.clone());
        }
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        Ok(Asker { client: Client::new(config)?, principal: token, path, uri })
    }
}

impl fmt::Debug for HttpTarget {
    /// Without headers, and without user, password and query of the URL.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url = parse(&self.url).map_or_else(|_| "..".to_owned(), |uri| Shown(&uri).to_string());
        f.debug_struct("HttpTarget")
            .field("url", &url)
            .field("principal", &self.principal)
            .field("bearer_file", &self.bearer_file)
            .finish_non_exhaustive()
    }
}

/// A client, and what it asks for first.
pub(super) struct Asker {
    client: Client,
    principal: Option<Principal>,
    /// With its query.
    pub(super) path: String,
    pub(super) uri: Uri,
}

impl fmt::Debug for Asker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Asker").field(&self.what()).finish()
    }
}

impl Asker {
    /// What is asked for, as errors begin.
    pub(super) fn what(&self) -> String {
        format!("GET {}", Shown(&self.uri))
    }

    /// Asks, and takes any status.
    pub(super) fn send(&self, cx: &Context, request: &Request) -> Result<Answer> {
        let answer = self.client.send(cx, request)?;
        if let (401, Some(principal)) = (answer.status(), &self.principal) {
            principal.refused(cx.env().stamp());
        }
        Ok(answer)
    }
}
