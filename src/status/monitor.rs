//! What a monitor says of itself, of its checkers and of their items.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::{CallStatus, ThreadStatus, seconds_of};
use crate::duration::as_seconds;
use crate::event::Health;
use crate::name::Name;
use crate::stamp::Stamp;

/// A monitor and its checkers.
///
/// Its loop's `latency` is how long the last pass over all of them took.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct MonitorStatus {
    /// The time between two passes.
    #[serde(serialize_with = "seconds_of")]
    pub poll_period: Duration,
    /// As whom its checkers ask, if it was told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub principal: Option<Arc<str>>,
    /// How many passes were begun.
    pub passes: u64,
    /// How many items all checkers have in which state.
    pub items: Tally,
    /// The checkers, by name.
    pub checkers: Vec<CheckerStatus>,
}

/// One checker of a monitor.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct CheckerStatus {
    /// Its name.
    pub name: Name,
    /// What its findings are.
    pub role: Role,
    /// How what it looks at is. Unknown before the first look, after a stop,
    /// and when the last look is too long ago.
    #[serde(rename = "state")]
    pub health: Health,
    /// Since when.
    pub since: Stamp,
    /// Why it is not ready: what the last look failed with, what it found, or
    /// the first of its items that are not ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Arc<str>>,
    /// When the last look ended, or was given up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_check: Option<Stamp>,
    /// How long ago that is.
    #[serde(serialize_with = "as_seconds", skip_serializing_if = "Option::is_none")]
    pub age: Option<Duration>,
    /// How long that look took, or had taken when it was given up.
    #[serde(serialize_with = "as_seconds", skip_serializing_if = "Option::is_none")]
    pub duration: Option<Duration>,
    /// When a look last succeeded, whatever it found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_success: Option<Stamp>,
    /// Why the last look failed; absent after a success.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error: Option<Arc<str>>,
    /// For how long the present look is stuck that was given up.
    #[serde(serialize_with = "as_seconds", skip_serializing_if = "Option::is_none")]
    pub stuck_for: Option<Duration>,
    /// What that look is doing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub call: Option<CallStatus>,
    /// The thread that it holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thread: Option<ThreadStatus>,
    /// How long one look may take.
    #[serde(serialize_with = "seconds_of")]
    pub deadline: Duration,
    /// After which age what it found counts no more.
    #[serde(serialize_with = "seconds_of")]
    pub stale_after: Duration,
    /// How its looks ended.
    pub checks: CheckCounts,
    /// How many of its items are in which state.
    pub items: Tally,
    /// The items that are not ready: those that are down first, then by name,
    /// the first 50.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub not_ready: Vec<ItemStatus>,
    /// How many more there are that are not ready.
    pub more_not_ready: u64,
    /// How many items of the last look were too many to be kept. They count
    /// in the checker's state, and not in `items`.
    pub left_out: u64,
}

/// How the looks of a checker ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct CheckCounts {
    /// They said how what they look at is.
    pub ok: u64,
    /// They returned an error.
    pub failed: u64,
    /// They panicked.
    pub panics: u64,
    /// They passed their deadline.
    pub timeouts: u64,
    /// They were not made, because an earlier one is stuck, or gave up by
    /// themselves.
    pub skipped: u64,
}

/// One item that is not ready.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ItemStatus {
    /// Its name.
    pub name: String,
    /// How it is. Unknown also when it was last reported too long ago.
    #[serde(rename = "state")]
    pub health: Health,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Since when.
    pub since: Stamp,
    /// How long ago it was last reported.
    #[serde(serialize_with = "seconds_of")]
    pub age: Duration,
}

impl MonitorStatus {
    /// The checker that is worst off, the first by name of those, unless all
    /// are ready.
    #[must_use]
    pub fn worst(&self) -> Option<&CheckerStatus> {
        let not_ready = self.checkers.iter().filter(|checker| checker.health != Health::Ready);
        not_ready.min_by_key(|checker| severity(checker.health))
    }
}

impl fmt::Display for CheckerStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is {}", self.name, self.health)?;
        self.reason.as_ref().map_or(Ok(()), |reason| write!(f, ": {reason}"))
    }
}

/// The worst first.
pub(crate) const fn severity(health: Health) -> u8 {
    match health {
        Health::Down => 0,
        Health::Degraded => 1,
        Health::Unknown => 2,
        Health::Ready => 3,
    }
}

/// What a checker's findings are to those who read them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Role {
    /// The truth, from where it is made: what it finds is the state.
    #[default]
    Observation,
    /// A comparison of what is with what was asked for.
    DriftDetection,
    /// A number derived from states that others are the truth of.
    MetricsProjection,
    /// A safety net for what another part should have done itself.
    CompensatingControl,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 4] =
        [Self::Observation, Self::DriftDetection, Self::MetricsProjection, Self::CompensatingControl];

    /// The word for it in status and settings.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Observation => "observation",
            Self::DriftDetection => "drift_detection",
            Self::MetricsProjection => "metrics_projection",
            Self::CompensatingControl => "compensating_control",
        }
    }

    /// Finds a role by its word.
    #[must_use]
    pub fn named(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == text)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Serialize for Role {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// How many of a set are in which state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Tally {
    /// As they should be.
    pub ready: u64,
    /// Working, in part.
    pub degraded: u64,
    /// Not as they should be.
    pub down: u64,
    /// Not known.
    pub unknown: u64,
}

impl Tally {
    /// Counts one more.
    pub fn add(&mut self, health: Health) {
        *self.of(health) += 1;
    }

    /// One that was counted is in another state now.
    pub(crate) fn turn(&mut self, from: Health, to: Health) {
        *self.of(from) -= 1;
        *self.of(to) += 1;
    }

    fn of(&mut self, health: Health) -> &mut u64 {
        match health {
            Health::Ready => &mut self.ready,
            Health::Degraded => &mut self.degraded,
            Health::Down => &mut self.down,
            Health::Unknown => &mut self.unknown,
        }
    }

    /// How many there are.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.ready + self.degraded + self.down + self.unknown
    }

    /// All of them together: ready, down or unknown when every one is, and
    /// unknown when there is none; else degraded.
    #[must_use]
    pub fn health(&self) -> Health {
        let total = self.total();
        match *self {
            _ if total == 0 => Health::Unknown,
            Self { ready, .. } if ready == total => Health::Ready,
            Self { down, .. } if down == total => Health::Down,
            Self { unknown, .. } if unknown == total => Health::Unknown,
            _ => Health::Degraded,
        }
    }
}
