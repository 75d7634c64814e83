//! The settings of the daemon: what each is, and what it defaults to.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use log::Level;

use super::Secret;
use crate::duration::{self, Shown};

/// What the daemon is told by its configuration.
///
/// Every setting has a default; `Settings::default()` is all of them.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Settings {
    /// What is logged, and how.
    pub logging: LoggingConfig,
    /// The status server.
    pub http: HttpConfig,
    /// Where the descriptors are.
    pub deploy: DeployConfig,
    /// How the configuration itself is looked after.
    pub config: ReloadConfig,
    /// Where a fleet is kept.
    pub store: StoreSettings,
    /// What holds for monitors whose descriptors do not say it.
    pub monitor: MonitorSettings,
    /// How people are told.
    pub alerts: AlertSettings,
    /// How long everything together may take to stop. Defaults to 30 s.
    pub shutdown_timeout: Duration,
}

/// What is logged, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LoggingConfig {
    /// The least level that is logged. Defaults to `Info`.
    pub level: Level,
    /// How a line looks. Defaults to text.
    pub format: LogFormat,
    /// Whether a line says which line of code wrote it. Defaults to false.
    pub source: bool,
}

/// How a line of the log looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
    /// One line of `key=value` pairs.
    Logfmt,
}

/// The status server.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct HttpConfig {
    /// Where it listens; `None`: nowhere. Defaults to `127.0.0.1:8470`.
    pub listen: Option<SocketAddr>,
    /// The names under which it may be asked, beside its address. Defaults
    /// to none.
    pub allowed_hosts: Vec<String>,
    /// How many connections are served at once, 1 to 65,536. Each takes a
    /// descriptor of the process. Defaults to 64.
    pub max_connections: u32,
    /// Who sends this token may act, not only look; `None`: nobody may. Best
    /// in a file of its own, which `token_file` names. Defaults to none.
    pub token: Option<Secret>,
    /// The names of the loops that `/livez` depends on beside the program's
    /// own threads. Defaults to none.
    pub liveness: Vec<String>,
    /// The names of the loops that `/readyz` depends on; `None`: all. Defaults
    /// to `None`.
    pub readiness: Option<Vec<String>>,
    /// The names of the loops that `/startupz` depends on; `None`: all.
    /// Defaults to `None`.
    pub startup: Option<Vec<String>>,
    /// A file that the page's bars of the last day are kept in over a restart.
    /// Written in the configuration file it is relative to that file's folder,
    /// elsewhere to the current one. Written a minute after a change at the
    /// latest, every 10 minutes and at the end. Defaults to none.
    pub history_file: Option<PathBuf>,
}

/// Where the descriptors are.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeployConfig {
    /// The folder. Written in the configuration file it is relative to that
    /// file's folder, elsewhere to the current one. Defaults to `deploy`
    /// beside the file.
    pub dir: PathBuf,
    /// The time between two looks at the folder, 10 ms at least. Defaults to
    /// 5 s.
    pub scan_interval: Duration,
}

/// How the configuration itself is looked after.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReloadConfig {
    /// The time between two looks at the files it comes from, 10 ms at least.
    /// Defaults to 2 s.
    pub watch_interval: Duration,
}

/// Where a fleet is kept.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct StoreSettings {
    /// The database: `sqlite:PATH` or `postgres://USER:PASSWORD@HOST/DATABASE`.
    /// A path that is written in the configuration file is relative to that
    /// file's folder, elsewhere to the current one. Opened only when something
    /// that is deployed needs it. Defaults to `sqlite:loopkeeper.db` beside
    /// the file.
    pub url: StoreUrl,
}

/// How people are told.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct AlertSettings {
    /// The file in which is kept what was told, so that a restart neither
    /// tells an incident again nor forgets to tell its end. Written in the
    /// configuration file it is relative to that file's folder, elsewhere to
    /// the current one. Defaults to none.
    pub state_file: Option<PathBuf>,
}

/// What holds for monitors whose descriptors do not say it.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct MonitorSettings {
    /// The time between two passes over all checkers. Defaults to 60 s.
    pub poll_period: Duration,
    /// As whom checkers ask other services. Defaults to `loopkeeper`.
    pub principal: String,
    /// A file with the token of the principal. Written in the configuration
    /// file it is relative to that file's folder, elsewhere to the current
    /// one. Defaults to none.
    pub token_file: Option<PathBuf>,
    /// A program that answers with the token of the principal, and its
    /// arguments. Defaults to none.
    pub token_command: Option<Vec<String>>,
    /// A certificate in PEM form by which checkers prove to `https` servers
    /// who asks (feature `tls`). Relative as `token_file` is. Defaults to none.
    pub client_cert: Option<PathBuf>,
    /// Its key, in PEM form. Defaults to the file of the certificate.
    pub client_key: Option<PathBuf>,
    /// The roots that `https` servers are believed by, in PEM form. Defaults
    /// to those of browsers.
    pub root_certs: Option<PathBuf>,
}

impl fmt::Debug for MonitorSettings {
    /// Without what the program is called with, which may be a key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MonitorSettings")
            .field("poll_period", &self.poll_period)
            .field("principal", &self.principal)
            .field("token_file", &self.token_file)
            .field("token_command", &self.token_command.as_ref().map(|_| Secret::default()))
            .field("client_cert", &self.client_cert)
            .field("client_key", &self.client_key)
            .field("root_certs", &self.root_certs)
            .finish()
    }
}

impl Default for MonitorSettings {
    fn default() -> Self {
        Self {
            poll_period: Duration::from_secs(60),
            principal: "loopkeeper".to_owned(),
            token_file: None,
            token_command: None,
            client_cert: None,
            client_key: None,
            root_certs: None,
        }
    }
}

/// A database.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreUrl {
    /// A file, made when it is not there.
    Sqlite(PathBuf),
    /// One on a server; with whatever proves who asks.
    Postgres(Secret),
}

impl Default for StoreUrl {
    fn default() -> Self {
        Self::Sqlite(PathBuf::from(STORE_FILE))
    }
}

impl StoreUrl {
    /// The feature of this library that reaches it.
    #[must_use]
    pub const fn feature(&self) -> &'static str {
        match self {
            Self::Sqlite(_) => "sqlite",
            Self::Postgres(_) => "postgres",
        }
    }

    /// Reads a URL; a relative path is relative to `base`. The errors do not
    /// show what was found: it may have a password.
    pub(crate) fn parse(text: &str, base: &Path) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("sqlite:") {
            return match path {
                // Not with what was expected, which would be the value itself.
                "" => Err("names no file".to_owned()),
                ":memory:" => {
                    Err("each component would have a memory of its own, expected sqlite:PATH".to_owned())
                }
                _ if path.starts_with("//") => {
                    Err("expected sqlite:PATH with the path as it is, without // before it".to_owned())
                }
                _ => Ok(Self::Sqlite(base.join(path))),
            };
        }
        if !["postgres://", "postgresql://"].iter().any(|scheme| text.starts_with(scheme)) {
            return Err("expected sqlite:PATH or postgres://USER:PASSWORD@HOST/DATABASE".to_owned());
        }
        if !cfg!(feature = "postgres") {
            let text = "is a PostgreSQL server's, and this program was built without the feature postgres";
            return Err(text.to_owned());
        }
        Ok(Self::Postgres(Secret::new(text)))
    }
}

impl Settings {
    /// The keys that are read only when the daemon starts; all others take
    /// effect while it runs.
    pub const READ_AT_START: [&str; 17] = [
        "http.listen",
        "http.allowed_hosts",
        "http.max_connections",
        "http.liveness",
        "http.readiness",
        "http.startup",
        "http.history_file",
        "deploy.dir",
        "store.url",
        "monitor.poll_period",
        "monitor.principal",
        "monitor.token_file",
        "monitor.token_command",
        "monitor.client_cert",
        "monitor.client_key",
        "monitor.root_certs",
        "alerts.state_file",
    ];

    /// These settings as a configuration file has them, without what is
    /// secret: for [`Layers::defaults`](super::Layers::defaults), so that
    /// every setting can be explained.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        let Self { logging, http, deploy, config, monitor, alerts, shutdown_timeout, .. } = self;
        let listen = http.listen.map_or_else(|| "none".to_owned(), |address| address.to_string());
        serde_json::json!({
            "logging": {
                "level": logging.level.as_str().to_ascii_lowercase(),
                "format": logging.format.as_str(),
                "source": logging.source,
            },
            "http": {
                "listen": listen,
                "allowed_hosts": http.allowed_hosts,
                "max_connections": http.max_connections,
                "token": null,
                "token_file": null,
                "liveness": http.liveness,
                "readiness": http.readiness,
                "startup": http.startup,
                "history_file": http.history_file,
            },
            "deploy": {"dir": deploy.dir, "scan_interval": duration::format(deploy.scan_interval)},
            "config": {"watch_interval": duration::format(config.watch_interval)},
            "store": {"url": null, "url_file": null},
            "monitor": {
                "poll_period": duration::format(monitor.poll_period),
                "principal": monitor.principal,
                "token_file": monitor.token_file,
                "token_command": monitor.token_command,
                "client_cert": monitor.client_cert,
                "client_key": monitor.client_key,
                "root_certs": monitor.root_certs,
            },
            "alerts": {"state_file": alerts.state_file},
            "shutdown_timeout": duration::format(*shutdown_timeout),
        })
    }

    /// The keys whose values are never shown.
    pub const SECRETS: [&str; 3] = ["http.token", "monitor.token_command", "store.url"];
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            logging: LoggingConfig { level: Level::Info, format: LogFormat::Text, source: false },
            http: HttpConfig {
                listen: Some(SocketAddr::from(([127, 0, 0, 1], 8470))),
                allowed_hosts: Vec::new(),
                max_connections: 64,
                token: None,
                liveness: Vec::new(),
                readiness: None,
                startup: None,
                history_file: None,
            },
            deploy: DeployConfig { dir: PathBuf::from(DEPLOY_DIR), scan_interval: Duration::from_secs(5) },
            config: ReloadConfig { watch_interval: Duration::from_secs(2) },
            store: StoreSettings::default(),
            monitor: MonitorSettings::default(),
            alerts: AlertSettings::default(),
            shutdown_timeout: Duration::from_secs(30),
        }
    }
}

impl LogFormat {
    /// Finds a format by its name: `text`, `logfmt` or `json`.
    #[must_use]
    pub fn named(text: &str) -> Option<Self> {
        match text {
            "text" => Some(Self::Text),
            "json" => Some(Self::Json),
            "logfmt" => Some(Self::Logfmt),
            _ => None,
        }
    }

    /// The format's name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Json => "json",
            Self::Logfmt => "logfmt",
        }
    }
}

pub(super) const DEPLOY_DIR: &str = "deploy";
pub(super) const STORE_FILE: &str = "loopkeeper.db";

/// Finds a level by its name: `debug`, `info`, `warn` or `warning`, `error`
/// or `err`, in any case and with space around it.
///
/// # Examples
///
/// ```
/// use loopkeeper::config::level_named;
///
/// assert_eq!(level_named(" Warning "), Some(log::Level::Warn));
/// assert_eq!(level_named("loud").unwrap_or(log::Level::Info), log::Level::Info);
/// ```
#[must_use]
pub fn level_named(text: &str) -> Option<Level> {
    match text.trim().to_ascii_lowercase().as_str() {
        "debug" => Some(Level::Debug),
        "info" => Some(Level::Info),
        "warn" | "warning" => Some(Level::Warn),
        "error" | "err" => Some(Level::Error),
        _ => None,
    }
}

/// Reads where to listen: an address with its port, or `none` for nowhere.
///
/// # Errors
///
/// A text that says what was expected, when it is neither.
///
/// # Examples
///
/// ```
/// use loopkeeper::config::parse_listen;
///
/// assert_eq!(parse_listen("none"), Ok(None));
/// assert_eq!(parse_listen("[::1]:0"), Ok(Some(([0, 0, 0, 0, 0, 0, 0, 1], 0).into())));
/// assert_eq!(
///     parse_listen("8470").unwrap_err(),
///     "expected an address such as \"127.0.0.1:8470\" or \"none\", found \"8470\"",
/// );
/// ```
pub fn parse_listen(text: &str) -> Result<Option<SocketAddr>, String> {
    if text == "none" {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| {
        format!("expected an address such as \"127.0.0.1:8470\" or \"none\", found {}", Shown(text))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crt_17_levels_have_several_names_and_a_fallback() {
        for (text, level) in [
            ("debug", Some(Level::Debug)),
            ("DEBUG", Some(Level::Debug)),
            ("info", Some(Level::Info)),
            (" Info\n", Some(Level::Info)),
            ("warn", Some(Level::Warn)),
            ("warning", Some(Level::Warn)),
            ("\tWARNING ", Some(Level::Warn)),
            ("error", Some(Level::Error)),
            ("eRr", Some(Level::Error)),
            ("", None),
            ("trace", None),
            ("in fo", None),
            ("warnings", None),
        ] {
            assert_eq!(level_named(text), level, "{text:?}");
            assert_eq!(level_named(text).unwrap_or(Level::Warn), level.unwrap_or(Level::Warn), "{text:?}");
        }
    }

    #[test]
    fn where_to_listen_is_an_address_or_none() {
        for text in ["127.0.0.1:0", "0.0.0.0:80", "[::1]:8470"] {
            assert_eq!(parse_listen(text).unwrap().unwrap().to_string(), text);
        }
        for text in
            ["", "None", "8470", ":8470", "localhost", "127.0.0.1", "127.0.0.1:65536", "127.0.0.1:80 "]
        {
            assert!(parse_listen(text).unwrap_err().starts_with("expected an address such as"), "{text}");
        }
    }
}
