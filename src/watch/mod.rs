//! Watching the services a program depends on.
//!
//! A [`Watcher`] probes one service: at once, with growing delays until it is
//! up, then at a fixed interval; after a drop with growing delays again. A
//! [`WatchManager`] holds many. What they decide is pure code, in `machine`.

mod config;
pub mod descriptor;
mod machine;
mod manager;
mod watcher;

pub use crate::backoff::Explanation;
pub use crate::status::LoopStatus as ServiceStatus;
pub use config::{BackoffConfig, WatcherConfig};
pub use manager::WatchManager;
pub use watcher::Watcher;
