//! The daemon's configuration: one file, the environment and the command
//! line, merged key by key.
//!
//! [`Layers`] are merged into one tree that remembers where each value came
//! from, and the tree is read strictly into a [`Config`]. A setting that has
//! no effect is refused, not ignored.
//! Whatever is wrong is told all at once, each [`Fault`](crate::tree::Fault)
//! with its place.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use log::Level;

use crate::decode::{Field, Object};
use crate::duration::Shown;

mod file;
mod layers;

pub use layers::{Layers, Merged, process_environment};

/// What the daemon is told by its configuration.
///
/// Every setting has a default; `Config::default()` is all of them.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Config {
    /// What is logged, and how.
    pub logging: LoggingConfig,
    /// The status server.
    pub http: HttpConfig,
    /// Where the descriptors are.
    pub deploy: DeployConfig,
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
}

/// Where the descriptors are.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeployConfig {
    /// The folder. Written in the configuration file it is relative to that
    /// file's folder, elsewhere to the current one. Defaults to `deploy`
    /// beside the file.
    pub dir: PathBuf,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            logging: LoggingConfig { level: Level::Info, format: LogFormat::Text, source: false },
            http: HttpConfig {
                listen: Some(SocketAddr::from(([127, 0, 0, 1], 8470))),
                allowed_hosts: Vec::new(),
            },
            deploy: DeployConfig { dir: PathBuf::from(DEPLOY_DIR) },
            shutdown_timeout: Duration::from_secs(30),
        }
    }
}

impl LogFormat {
    /// Finds a format by its name, `text` or `json`.
    #[must_use]
    pub fn named(text: &str) -> Option<Self> {
        match text {
            "text" => Some(Self::Text),
            "json" => Some(Self::Json),
            _ => None,
        }
    }
}

const DEPLOY_DIR: &str = "deploy";

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

/// Reads the whole; `dir_base` is what a relative folder is relative to.
fn read(o: &mut Object<'_, '_>, dir_base: &Path) -> Option<Config> {
    let default = Config::default();
    let logging = o.object("logging", |o| {
        let level = word(o.string("level"), "\"debug\", \"info\", \"warn\" or \"error\"", level_named)
            .or(default.logging.level);
        let format =
            word(o.string("format"), "\"text\" or \"json\"", LogFormat::named).or(default.logging.format);
        let source = o.bool("source").or(default.logging.source);
        o.done().map(|_| LoggingConfig { level, format, source })
    });
    let logging = logging.or(default.logging);
    let http = o.object("http", |o| {
        let listen = o.string("listen").convert(|text| parse_listen(&text)).or(default.http.listen);
        let allowed_hosts = o.strings("allowed_hosts").or_default();
        o.done().map(|_| HttpConfig { listen, allowed_hosts })
    });
    let http = http.or(default.http);
    let deploy = o.object("deploy", |o| {
        let dir = o.string("dir").or(DEPLOY_DIR.to_owned());
        o.done().map(|_| DeployConfig { dir: dir_base.join(dir) })
    });
    let deploy = deploy.or(DeployConfig { dir: dir_base.join(DEPLOY_DIR) });
    let shutdown_timeout = o.duration("shutdown_timeout").or(default.shutdown_timeout);
    o.done().map(|_| Config { logging, http, deploy, shutdown_timeout })
}

/// Reads one word of several.
fn word<'n, 'f, T>(
    field: Field<'n, 'f, String>,
    expected: &str,
    named: impl FnOnce(&str) -> Option<T>,
) -> Field<'n, 'f, T> {
    field.convert(|text| {
        named(&text).ok_or_else(|| format!("expected {expected}, found the string {}", Shown(&text)))
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
