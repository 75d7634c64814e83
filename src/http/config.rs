//! What a status server is made from.

use std::fmt;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::control::{Control, Gate};
use super::diary::Diary;
use super::health::Groups;
use super::hosts::Hosts;
use crate::config::{Config, Secret};
use crate::error::{Error, Result};
use crate::name::Name;
use crate::observe::MetricsSource;

/// The most connections that may be asked for.
const MAX_CONNECTIONS: usize = 65_536;

/// Settings of a [`StatusServer`](super::StatusServer), checked when it
/// starts.
#[derive(Clone)]
#[must_use = "settings do nothing until a server is started with them"]
pub struct StatusServerConfig {
    listen: String,
    listener: Option<Arc<TcpListener>>,
    max_connections: usize,
    request_deadline: Duration,
    allowed_hosts: Vec<String>,
    drop_grace: Duration,
    control: Option<Arc<dyn Control>>,
    token: Option<Secret>,
    config: Option<Config>,
    metrics: Option<Arc<dyn MetricsSource>>,
    groups: [Option<Vec<String>>; 3],
    history_file: Option<PathBuf>,
}

impl fmt::Debug for StatusServerConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StatusServerConfig")
            .field("listen", &self.listen)
            .field("max_connections", &self.max_connections)
            .field("request_deadline", &self.request_deadline)
            .field("allowed_hosts", &self.allowed_hosts)
            .field("token", &self.token)
            .finish_non_exhaustive()
    }
}

impl Default for StatusServerConfig {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:8470".to_owned(),
            listener: None,
            max_connections: 64,
            request_deadline: Duration::from_secs(10),
            allowed_hosts: Vec::new(),
            drop_grace: Duration::from_secs(1),
            control: None,
            token: None,
            config: None,
            metrics: None,
            groups: Default::default(),
            history_file: None,
        }
    }
}

impl StatusServerConfig {
    /// The address and port to listen on, such as `"[::1]:8470"`; port 0
    /// takes any free one. Names are not looked up. Anybody who can connect
    /// can read everything, so leave it on a loopback address unless the
    /// network is trusted. Defaults to `"127.0.0.1:8470"`.
    pub fn listen(mut self, address: impl Into<String>) -> Self {
        self.listen = address.into();
        self
    }

    /// A socket that listens already, as a service manager hands it over; the
    /// address is its own then. Defaults to one that is made.
    pub fn listener(mut self, listener: TcpListener) -> Self {
        self.listener = Some(Arc::new(listener));
        self
    }

    /// How many connections are served at once, 1 to 65,536. At the limit a
    /// kept connection that waits for nothing makes room, else the one that
    /// has waited longest without sending a whole request. While all are
    /// being answered, 16 further ones are answered if they ask for `/livez`,
    /// `/readyz` or `/startupz`, else 503, and closed. One that waits costs a
    /// descriptor and less than 1 KiB. Defaults to 64.
    pub fn max_connections(mut self, n: usize) -> Self {
        self.max_connections = n;
        self
    }

    /// How long a request may take from the first byte of its head to the
    /// last of its answer, however slowly the client sends or reads; after
    /// that the connection ends. Defaults to 10 s.
    pub fn request_deadline(mut self, deadline: Duration) -> Self {
        self.request_deadline = deadline;
        self
    }

    /// Names and addresses, without scheme and port, that a request's `Host`
    /// may have beside loopback ones and the address listened on; needed
    /// where the server is reached by another name. Defaults to none.
    pub fn allowed_hosts<T: Into<String>>(mut self, hosts: impl IntoIterator<Item = T>) -> Self {
        self.allowed_hosts = hosts.into_iter().map(Into::into).collect();
        self
    }

    /// Lets `POST` requests act that carry this token, as `Authorization:
    /// Bearer TOKEN`. It goes over the wire as it is: beyond loopback put
    /// something with TLS in front. Without a token, now or
    /// [later](super::StatusServer::set_token), actions answer 404. The token
    /// also opens the `reasons` of health checks. Defaults to nothing that
    /// could be done.
    pub fn control(mut self, control: Arc<dyn Control>, token: Option<Secret>) -> Self {
        self.control = Some(control);
        self.token = token;
        self
    }

    /// Shows this configuration at `/config`, without its secrets. Defaults to
    /// none.
    pub fn config(mut self, config: &Config) -> Self {
        self.config = Some(config.clone());
        self
    }

    /// Shows what this source says at `/metrics`, as OpenMetrics or, to who
    /// asks for plain text, in the older form of Prometheus: an
    /// `observe::prometheus::Exporter` with the feature `prometheus`. Defaults
    /// to none, and 404.
    pub fn metrics(mut self, source: impl MetricsSource + 'static) -> Self {
        self.metrics = Some(Arc::new(source));
        self
    }

    /// The loops by name that `/livez` depends on, beside the library's own
    /// threads: it is 503 while one of them is down or stale. For what a
    /// restart of this process mends, such as a watcher of the program's own
    /// main loop. Names may be of loops that do not run yet, or no more: of
    /// those nothing bad is known. `/livez` then waits for the status, as all
    /// other paths do. Defaults to none.
    pub fn liveness<T: Into<String>>(mut self, names: impl IntoIterator<Item = T>) -> Self {
        self.groups[LIVENESS] = Some(names.into_iter().map(Into::into).collect());
        self
    }

    /// The loops by name that `/readyz` depends on. One that does not run is
    /// not ready. Defaults to all that run.
    pub fn readiness<T: Into<String>>(mut self, names: impl IntoIterator<Item = T>) -> Self {
        self.groups[READINESS] = Some(names.into_iter().map(Into::into).collect());
        self
    }

    /// The loops by name that `/startupz` depends on: it is 503 until each that
    /// is critical was heard of, whatever was heard. Defaults to all that run.
    pub fn startup<T: Into<String>>(mut self, names: impl IntoIterator<Item = T>) -> Self {
        self.groups[STARTUP] = Some(names.into_iter().map(Into::into).collect());
        self
    }

    /// Keeps what the page at `/` shows of the last day in this file, so that
    /// it is there after a restart: changes of state, at most 64 for each of
    /// at most 4096 loops. It is written beside and put in its place, a minute
    /// after a change at the latest, every 10 minutes, and when the server
    /// stops. A file that cannot be read or written is a warning in the log.
    /// While the server runs, a lock on a file beside it, whose name has
    /// `.lock` at its end, keeps a second writer out; it ends with the process,
    /// however that ends. Defaults to none.
    pub fn history_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.history_file = Some(path.into());
        self
    }

    /// The grace of the stop that dropping the server is. Defaults to 1 s.
    pub fn drop_grace(mut self, grace: Duration) -> Self {
        self.drop_grace = grace;
        self
    }

    pub(super) fn check(self) -> Result<Checked> {
        let Self {
            listen,
            listener,
            max_connections,
            request_deadline,
            allowed_hosts,
            drop_grace,
            control,
            token,
            config,
            metrics,
            groups,
            history_file,
        } = self;
        let own = listener.as_ref().map(|listener| listener.local_addr());
        let own = own.transpose().map_err(|error| Error::invalid(format!("listener: {error}")))?;
        let listen = own.map_or(listen, |address| address.to_string());
        let Ok(listen) = listen.parse::<SocketAddr>() else {
            return Err(Error::invalid(format!(
                "listen: expected an address and port such as \"127.0.0.1:8470\", found {listen:?}"
            )));
        };
        if !(1..=MAX_CONNECTIONS).contains(&max_connections) {
            return Err(Error::invalid(format!(
                "max_connections: expected 1 to {MAX_CONNECTIONS}, found {max_connections}"
            )));
        }
        if request_deadline.is_zero() {
            return Err(Error::invalid("request_deadline: must be more than zero"));
        }
        // A deadline beyond a day is none; this keeps sums of moments in range.
        let request_deadline = request_deadline.min(Duration::from_secs(86_400));
        let hosts = Hosts::new(listen, &allowed_hosts)?;
        let gate = Gate::new(control, token);
        let groups = Groups {
            liveness: names("liveness", &groups[LIVENESS])?.unwrap_or_default(),
            readiness: names("readiness", &groups[READINESS])?,
            startup: names("startup", &groups[STARTUP])?,
        };
        let shown = Shown { gate, config, metrics, groups, diary: history_file.map(Diary::new) };
        Ok(Checked { listen, listener, max_connections, request_deadline, hosts, drop_grace, shown })
    }
}

// The places of groups.
const LIVENESS: usize = 0;
const READINESS: usize = 1;
const STARTUP: usize = 2;

fn names(group: &str, names: &Option<Vec<String>>) -> Result<Option<Vec<Name>>> {
    let Some(names) = names else { return Ok(None) };
    let names = names.iter().map(|name| Name::new(name).map_err(|error| error.context(group.to_owned())));
    names.collect::<Result<_>>().map(Some)
}

/// Settings that can be used.
#[derive(Debug)]
pub(super) struct Checked {
    pub(super) listen: SocketAddr,
    pub(super) listener: Option<Arc<TcpListener>>,
    pub(super) max_connections: usize,
    pub(super) request_deadline: Duration,
    pub(super) hosts: Hosts,
    pub(super) drop_grace: Duration,
    pub(super) shown: Shown,
}

/// What there is beside the loops to show and to do.
#[derive(Default)]
pub(super) struct Shown {
    pub(super) gate: Gate,
    pub(super) config: Option<Config>,
    pub(super) metrics: Option<Arc<dyn MetricsSource>>,
    pub(super) groups: Groups,
    pub(super) diary: Option<Diary>,
}

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shown").field("gate", &self.gate).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn settings_are_checked_by_name() {
        let config = StatusServerConfig::default;
        for (config, expected) in [
            (config().listen("8470"), "listen: expected an address and port such as"),
            (config().listen("localhost:8470"), "found \"localhost:8470\""),
            (config().max_connections(0), "max_connections: expected 1 to 65536, found 0"),
            (config().max_connections(65_537), "found 65537"),
            (config().request_deadline(Duration::ZERO), "request_deadline: must be more than zero"),
            (config().allowed_hosts(["http://x"]), "allowed_hosts: expected a name or an address"),
            (config().liveness(["a", "b c"]), "liveness"),
            (config().readiness([""]), "readiness"),
            (config().startup(["-"]), "startup"),
        ] {
            let error = config.check().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidArgument);
            assert!(error.to_string().contains(expected), "{error}");
        }
        let longest = config().request_deadline(Duration::MAX).allowed_hosts(["box.lan"]);
        assert!(longest.check().is_ok());
    }
}
