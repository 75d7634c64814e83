//! Tells people: a command or a webhook when a service goes down, while it
//! stays down, and when it is back.
//!
//! An alert is about what a loop has found out; it is sent by a thread of its
//! own, so that one that hangs delays no probe. One that fails is tried again
//! with growing delays, and one of a service that is down behind another that
//! it requires is not sent at all. See the page on
//! [operations](crate::_documentation::operations).

pub(crate) mod behind;
pub mod descriptor;
mod ledger;
mod letter;
mod machine;
mod queue;
pub(crate) mod registry;
mod runner;
mod subject;

use std::ffi::OsString;
use std::fmt;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::event::Health;
use crate::probe::{ExecProbe, Probe, exec};

pub use crate::status::alert::AlertStatus;
pub use runner::{Alerts, AlertsConfig};

/// How long a command or a webhook may take, unless told otherwise.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The longest it may.
const MAX_TIMEOUT: Duration = Duration::from_secs(300);

/// What is done when a service goes down, stays down, and is back.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use loopkeeper::alert::{Action, AlertConfig};
/// use loopkeeper::{WatcherConfig, probe};
///
/// let alert = AlertConfig::default()
///     .on_down(Action::exec(["/usr/local/bin/page", "mqtt"]))
///     .remind_every(Duration::from_secs(3600));
/// let watcher = WatcherConfig::new("mqtt", probe::tcp("127.0.0.1:1883")).alert(alert);
///
/// let wrong = AlertConfig::default().on_ready(Action::exec([""]));
/// assert_eq!(wrong.check().unwrap_err().to_string(), "on_ready: command: must name a program");
/// # drop(watcher);
/// ```
#[derive(Debug, Clone, Default)]
#[must_use = "it does nothing until a loop has it"]
pub struct AlertConfig {
    pub(crate) on_ready: Option<Action>,
    pub(crate) on_down: Option<Action>,
    pub(crate) remind_every: Option<Duration>,
}

impl AlertConfig {
    /// Done when a service is ready again of which a down was told or, where
    /// there is no [`on_down`](Self::on_down), would have been. Not at the
    /// first ready after a start. Defaults to nothing.
    pub fn on_ready(mut self, action: Action) -> Self {
        self.on_ready = Some(action);
        self
    }

    /// Done when a service that was ready is down, or did not come up in the
    /// attempts of its start. Defaults to nothing.
    pub fn on_down(mut self, action: Action) -> Self {
        self.on_down = Some(action);
        self
    }

    /// How often [`on_down`](Self::on_down) is done again while the service
    /// stays down. Defaults to never.
    pub fn remind_every(mut self, time: Duration) -> Self {
        self.remind_every = Some(time);
        self
    }

    /// Whether nothing is ever done.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.on_ready.is_none() && self.on_down.is_none()
    }

    /// What is done when a service is so.
    fn action(&self, state: Health) -> Option<&Action> {
        if state == Health::Down { self.on_down.as_ref() } else { self.on_ready.as_ref() }
    }

    /// Says what is wrong with the settings, if something is.
    ///
    /// # Errors
    ///
    /// `InvalidArgument`, which names the setting.
    pub fn check(&self) -> Result<()> {
        for (key, action) in [("on_ready", &self.on_ready), ("on_down", &self.on_down)] {
            action
                .as_ref()
                .map_or(Ok(()), Action::check)
                .map_err(|error| Error::invalid(format!("{key}: {}", error.report())))?;
        }
        match self.remind_every {
            Some(time) if time.is_zero() => Err(Error::invalid("remind_every: must be more than zero")),
            Some(_) if self.on_down.is_none() => Err(Error::invalid("remind_every: needs on_down")),
            _ => Ok(()),
        }
    }
}

/// One thing to do: run a command, or ask a web server.
#[derive(Clone)]
#[must_use = "it is done by an alert"]
pub struct Action {
    pub(crate) way: Way,
    pub(crate) timeout: Duration,
}

#[derive(Clone)]
pub(crate) enum Way {
    Exec(ExecProbe),
    #[cfg(feature = "http-client")]
    Webhook(Webhook),
}

/// A web server that is told.
#[cfg(feature = "http-client")]
#[derive(Clone)]
pub(crate) struct Webhook {
    pub(crate) client: crate::rest::ClientConfig,
    /// The path and the query of its URL.
    pub(crate) path: String,
}

impl Action {
    /// Runs a program without a shell, with what is told as a JSON object on
    /// its standard input, and `LOOPKEEPER_NAME`, `LOOPKEEPER_STATE` and
    /// `LOOPKEEPER_ERROR` in its environment. It must end with 0; with any
    /// other code it is run again later.
    pub fn exec<I>(argv: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<OsString>,
    {
        Self { way: Way::Exec(exec(argv)), timeout: TIMEOUT }
    }

    /// Posts what is told as a JSON object to a URL, with `headers`. It must
    /// answer with a status of 200 to 299; with any other it is told again
    /// later.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` when the URL or a header cannot be used.
    #[cfg(feature = "http-client")]
    pub fn webhook<'a>(url: &str, headers: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self> {
        crate::probe::http::check_url(url).map_err(|text| Error::invalid(format!("url: {text}")))?;
        // What is below a base may not be in it, and a query may be a secret.
        let authority = url.find("://").map_or(0, |at| at + 3);
        let at = url[authority..].find(['/', '?']).map_or(url.len(), |at| at + authority);
        let (base, path) = url.split_at(at);
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        let client = crate::rest::ClientConfig::new(base).max_body(64 * 1024);
        let client = headers.into_iter().fold(client, |client, (name, value)| client.header(name, value));
        client.check()?;
        Ok(Self { way: Way::Webhook(Webhook { client, path }), timeout: TIMEOUT })
    }

    /// How long it may take, at most five minutes. Defaults to 10 s.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    fn check(&self) -> Result<()> {
        if self.timeout.is_zero() || self.timeout > MAX_TIMEOUT {
            return Err(Error::invalid("timeout: must be more than zero and at most 5m0s"));
        }
        match &self.way {
            Way::Exec(probe) => probe.check(),
            #[cfg(feature = "http-client")]
            Way::Webhook(webhook) => webhook.client.check(),
        }
    }
}

impl fmt::Debug for Action {
    /// Without arguments, headers and the path: they may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let way = match &self.way {
            Way::Exec(_) => "exec",
            #[cfg(feature = "http-client")]
            Way::Webhook(_) => "webhook",
        };
        f.debug_struct("Action").field("way", &way).field("timeout", &self.timeout).finish_non_exhaustive()
    }
}
