//! Configuration: layers merged into one tree, a snapshot that is replaced
//! as a whole, a watcher that notices edits, and the daemon's own settings.
//!
//! [`Layers`] name where values come from: defaults, a file, the environment,
//! the command line. [`Config::load`] merges them into a [`Snapshot`] that
//! knows where each value stands; [`Config::reload`] puts the next one in
//! force, or keeps the last good one and says everything that is wrong. A
//! [`ConfigWatcher`] does that by itself and calls back about the keys that
//! changed.
//!
//! The daemon reads its [`Settings`] from the same layers, strictly: one that
//! has no effect is refused. Whatever is wrong is told all at once, each
//! [`Fault`](crate::tree::Fault) with its place.

mod de;
mod environment;
mod file;
mod fingerprint;
mod index;
mod layers;
mod listeners;
mod live;
mod machine;
mod merged;
mod path;
mod read;
mod secret;
mod settings;
mod snapshot;
mod watcher;

pub use fingerprint::Fingerprint;
pub use layers::{Layers, process_environment};
pub use listeners::{Change, ChangeGuard};
pub use live::{Config, Reload};
pub use merged::{Layer, Merged};
pub use secret::Secret;
pub use settings::{
    AlertSettings, DeployConfig, HttpConfig, LogFormat, LoggingConfig, MonitorSettings, ReloadConfig,
    Settings, StoreSettings, StoreUrl, level_named, parse_listen,
};
pub use snapshot::{Explanation, Snapshot};
pub use watcher::{ConfigWatcher, ConfigWatcherConfig};
