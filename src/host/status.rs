//! What a host says of its components.

use std::fmt;
use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::duration::as_seconds;
use crate::error::Error;
use crate::event::Health;
use crate::name::Name;
use crate::stamp::Stamp;
use crate::status::{CallStatus, ThreadStatus};

/// Where a component is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ComponentState {
    /// Known, and not started.
    Registered,
    /// Not started until what it requires is ready.
    Waiting,
    /// In its `start`, or started and not up yet.
    Starting,
    /// It can take work.
    Ready,
    /// It can take work, in part.
    Degraded,
    /// It runs and can take no work.
    Down,
    /// It ended with an error and is left alone.
    Failed,
    /// It ended with an error and is started again when its delay is over.
    BackingOff,
    /// In its `stop`, or about to be.
    Stopping,
    /// It has ended.
    Stopped,
    /// Stuck in a call past its deadline; the host goes on without it.
    Abandoned,
}

impl ComponentState {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Registered => "registered",
            Self::Waiting => "waiting",
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Degraded => "degraded",
            Self::Down => "down",
            Self::Failed => "failed",
            Self::BackingOff => "backing_off",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
            Self::Abandoned => "abandoned",
        }
    }
}

impl fmt::Display for ComponentState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Serialize for ComponentState {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// One component at one moment.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct ComponentStatus {
    /// Its number in its host. One that takes its place has another.
    #[serde(skip)]
    pub id: u64,
    /// Its name.
    pub name: Name,
    /// Where it is.
    pub state: ComponentState,
    /// What it says of itself; unknown while it does not run.
    pub health: Health,
    /// Whether it works.
    pub up: bool,
    /// Whether what requires it may run.
    pub ready: bool,
    /// Whether the whole is down when this is.
    pub critical: bool,
    /// Since when it is where it is.
    pub since: Stamp,
    /// Why it failed the last time.
    #[serde(serialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub last_error: Option<Error>,
    /// How often it was started again by itself.
    pub restarts: u64,
    /// How often it was started.
    pub runs: u64,
    /// What it requires.
    pub requires: Vec<Name>,
    /// Which of it is not ready, while it waits.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub waits_for: Vec<Name>,
    /// For how long the call into it has run.
    #[serde(serialize_with = "as_seconds", skip_serializing_if = "Option::is_none")]
    pub running_for: Option<Duration>,
    /// What that call is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub call: Option<CallStatus>,
    /// The thread of that call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thread: Option<ThreadStatus>,
}

#[allow(clippy::ref_option, reason = "the form serde calls")]
fn text<S: Serializer>(error: &Option<Error>, serializer: S) -> Result<S::Ok, S::Error> {
    match error {
        Some(error) => serializer.collect_str(&error.report()),
        None => serializer.serialize_none(),
    }
}

impl fmt::Display for ComponentStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "component {}: {} since {}", self.name, self.state, self.since)?;
        if !self.waits_for.is_empty() {
            write!(f, ", waits for {}", crate::name::join(&self.waits_for))?;
        }
        if let Some(error) = &self.last_error {
            write!(f, ", last error: {}", error.report())?;
        }
        Ok(())
    }
}
