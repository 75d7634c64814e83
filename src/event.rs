//! What is worth telling: typed events, numbered per source and per
//! environment.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::error::Error;
use crate::name::Name;
use crate::stamp::Stamp;

/// What kind of loop a source is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum LoopKind {
    /// Watches one service.
    Watcher,
    /// Watches the files of a configuration.
    ConfigWatcher,
}

impl LoopKind {
    /// The word for it in status, metrics and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Watcher => "watcher",
            Self::ConfigWatcher => "config",
        }
    }

    /// The front part of its threads' names.
    pub(crate) const fn thread_prefix(self) -> &'static str {
        match self {
            Self::Watcher => "w",
            Self::ConfigWatcher => "cfg",
        }
    }
}

impl fmt::Display for LoopKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The answer to "can it take work?".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Health {
    /// Nothing is known yet. Where every state starts, and where it returns
    /// when nobody looks any more.
    #[default]
    Unknown,
    /// It can take work.
    Ready,
    /// It works, in part.
    Degraded,
    /// It cannot take work.
    Down,
}

impl Health {
    /// The word for it in status and events.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Ready => "ready",
            Self::Degraded => "degraded",
            Self::Down => "down",
        }
    }
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// One thing that happened.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Event {
    /// The number among all events of the environment, from 1.
    pub seq: u64,
    /// The number among the events of this source, from 1, without a gap.
    pub n: u64,
    /// When it happened.
    pub at: Stamp,
    /// Who it happened to.
    pub source: Name,
    /// What kind of loop that is.
    pub kind: LoopKind,
    /// What happened.
    pub what: EventKind,
}

/// What happened.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum EventKind {
    /// The loop was started; its first call follows.
    Started,
    /// The service turned ready.
    Ready {
        /// What it was before.
        from: Health,
        /// The number of the attempt that succeeded, counted since the start
        /// or since the service went down.
        attempt: u32,
        /// How long the probe took.
        latency: Duration,
    },
    /// The service turned down.
    Down {
        /// What it was before.
        from: Health,
        /// What the last probe said.
        error: Error,
        /// How many probes in a row have failed.
        failures: u32,
    },
    /// The service did not come up in the start-up's attempts. Said once;
    /// probing goes on at the poll interval.
    GaveUp {
        /// What the last probe said.
        error: Error,
        /// How many probes were made.
        attempts: u32,
    },
    /// A call passed its deadline and is still stuck.
    TimedOut {
        /// For how long it has run.
        stuck_for: Duration,
    },
    /// A call that had timed out came back; its answer was thrown away.
    Late {
        /// For how long it ran.
        took: Duration,
    },
    /// Another configuration is in force.
    ConfigReloaded {
        /// Its number, counted since the load.
        generation: u64,
        /// The paths whose values are others now, the first 64 in order. The
        /// values themselves are never in an event.
        changed: Arc<[String]>,
        /// How many paths there are.
        n_changed: usize,
    },
    /// What is on disk cannot be put in force; what was in force still is.
    ConfigRejected {
        /// What is wrong with it, and where; without the values.
        error: Error,
    },
    /// The loop was told to end: its state is unknown from now on.
    Stopped,
}

impl EventKind {
    /// The word for it, as `/events` prints it.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Ready { .. } => "ready",
            Self::Down { .. } => "down",
            Self::GaveUp { .. } => "gave_up",
            Self::TimedOut { .. } => "timed_out",
            Self::Late { .. } => "late",
            Self::ConfigReloaded { .. } => "config_reloaded",
            Self::ConfigRejected { .. } => "config_rejected",
            Self::Stopped => "stopped",
        }
    }

    /// The error it carries, if it does.
    #[must_use]
    pub fn error(&self) -> Option<&Error> {
        match self {
            Self::Down { error, .. } | Self::GaveUp { error, .. } | Self::ConfigRejected { error } => {
                Some(error)
            }
            _ => None,
        }
    }
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Started => f.write_str("started"),
            Self::Ready { attempt, latency, .. } => {
                write!(f, "ready (attempt {attempt}, {latency:.1?})")
            }
            Self::Down { error, failures, .. } => {
                write!(f, "down (failures in a row: {failures}): {}", error.report())
            }
            Self::GaveUp { error, attempts } => {
                write!(f, "gave up waiting for it to start after {attempts} attempts: {}", error.report())
            }
            Self::TimedOut { stuck_for } => write!(f, "call timed out, stuck for {stuck_for:.1?}"),
            Self::Late { took } => write!(f, "call came back late, after {took:.1?}"),
            Self::ConfigReloaded { generation, changed, n_changed } => {
                write!(f, "reloaded (generation {generation}): {}", changed.join(", "))?;
                let more = n_changed.saturating_sub(changed.len());
                if more > 0 { write!(f, " and {more} more") } else { Ok(()) }
            }
            Self::ConfigRejected { error } => {
                write!(f, "not reloaded, the last good configuration stays: {}", error.report())
            }
            Self::Stopped => f.write_str("stopped"),
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.kind, self.source, self.what)
    }
}
