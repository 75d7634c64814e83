//! What a loop says of itself: one snapshot, taken under one short lock.

pub(crate) mod alert;
mod call;
mod json;
mod monitor;
mod view;
mod why;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::duration::as_seconds;
use crate::event::{Health, LoopKind};
use crate::name::Name;
use crate::stamp::Stamp;
use crate::thread::Task;

pub use crate::thread::{Activity, ActivityKind};
use alert::AlertStatus;
pub use call::CallStatus;
pub use json::write_json;
pub(crate) use monitor::severity;
pub use monitor::{CheckCounts, CheckerStatus, ItemStatus, MonitorStatus, Role, Tally};
pub(crate) use view::StatusView;
pub use why::{Cause, CauseKind, Next, Rejected, Why, why};

/// One loop at one moment.
///
/// As JSON: moments are RFC 3339 UTC, durations are seconds, absent optionals
/// are left out.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct LoopStatus {
    /// Its name.
    pub name: Name,
    /// What kind of loop it is.
    pub kind: LoopKind,
    /// What is known of what it looks after. Unknown before the first
    /// verdict and after a stop.
    #[serde(rename = "state")]
    pub health: Health,
    /// Whether what it looks after can take work, in part at least. Not while
    /// it is stale.
    pub ready: bool,
    /// Whether the loop should have been heard of again by now, so that what
    /// is known counts no more: no call runs, and the next one is late by more
    /// than the time between two, by 5 s at least and by 60 s at most.
    #[serde(skip_serializing_if = "is_false")]
    pub stale: bool,
    /// Whether the whole is down when this is.
    pub critical: bool,
    /// What the loop is doing.
    pub phase: Phase,
    /// Since when the health is what it is.
    pub since: Stamp,
    /// When the last call ended or timed out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_check: Option<Stamp>,
    /// How long ago that is.
    #[serde(serialize_with = "as_seconds", skip_serializing_if = "Option::is_none")]
    pub age: Option<Duration>,
    /// When a call last succeeded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_success: Option<Stamp>,
    /// Why the last call failed; absent after a success.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// How many calls in a row have failed.
    pub consecutive_failures: u32,
    /// How many calls were made since the start, or since it went down; not
    /// counted on while it is ready.
    pub attempt: u32,
    /// When the next call is due; absent while one runs and after a stop.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_run: Option<Stamp>,
    /// How long the last call took that returned in time.
    #[serde(serialize_with = "as_seconds", skip_serializing_if = "Option::is_none")]
    pub latency: Option<Duration>,
    /// How many calls were begun.
    pub runs: u64,
    /// How many calls failed, each timeout counted.
    pub failures: u64,
    /// How many calls panicked.
    pub panics: u64,
    /// How many deadlines passed.
    pub timeouts: u64,
    /// How many calls came back after their deadline.
    pub late: u64,
    /// How many regular runs were left out because their time had passed.
    pub missed: u64,
    /// How often the health changed.
    pub transitions: u64,
    /// For how long the present call has run.
    #[serde(serialize_with = "as_seconds", skip_serializing_if = "Option::is_none")]
    pub running_for: Option<Duration>,
    /// For how long the present call is past its deadline, or the next one
    /// past its due.
    #[serde(serialize_with = "as_seconds", skip_serializing_if = "Option::is_none")]
    pub overdue_for: Option<Duration>,
    /// What the present call is doing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub call: Option<CallStatus>,
    /// The thread's name and the kernel's number for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thread: Option<ThreadStatus>,
    /// How many callbacks were replaced by a later one or dropped at a stop.
    pub lost_callbacks: u64,
    /// What it requires, as a component of a host.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub requires: Vec<Name>,
    /// Which of it is not ready, while it waits for it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub waits_for: Vec<Name>,
    /// Who keeps it from being ready: what it requires, directly or through
    /// others, and what is down itself. Its health is unknown then, whatever
    /// its own checks say; a host looks for that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent: Option<Name>,
    /// What became of its alerts, if it has any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alert: Option<Box<AlertStatus>>,
    /// After which attempt it gives up asking often, and goes on at its
    /// regular times; absent while it does that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_attempts: Option<u32>,
    /// For a config watcher: what is in force, and what is on disk.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config: Option<Box<ConfigStatus>>,
    /// For a controller: its settings, and what its runs did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub controller: Option<Box<ControllerStatus>>,
    /// For a monitor: its checkers, and what they found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub monitor: Option<Box<MonitorStatus>>,
    /// For a recovery monitor or an executor: which runs it deals with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recovery: Option<Box<RecoveryStatus>>,
}

impl LoopStatus {
    /// One of which nothing else is known: it is ready as its health says, and
    /// what counts is zero. Whoever knows more adds it.
    pub(crate) fn new(
        name: Name,
        kind: LoopKind,
        critical: bool,
        health: Health,
        phase: Phase,
        since: Stamp,
    ) -> Self {
        Self::of(&StatusView::new(&name, kind, critical, health, phase, since))
    }

    /// A watcher for tests: critical, polling, as it is since 1970.
    #[cfg(test)]
    pub(crate) fn sample(name: &str, health: Health) -> Self {
        let since = Stamp::from_micros(0);
        Self::new(name.parse().expect("a name"), LoopKind::Watcher, true, health, Phase::Polling, since)
    }
}

/// By how much a loop may be late at least and at most before it is stale.
const LATE: [Duration; 2] = [Duration::from_secs(5), Duration::from_secs(60)];

/// Whether a loop that should have begun its next call so long ago is stale,
/// when its calls are so far apart.
pub(crate) fn is_stale(late_by: Duration, apart: Duration) -> bool {
    let [least, most] = LATE;
    late_by > apart.clamp(least, most)
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "the form serde calls")]
fn is_false(flag: &bool) -> bool {
    !flag
}

/// What a recovery monitor or an executor deals with.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct RecoveryStatus {
    /// How many runs are watched.
    pub watched: usize,
    /// How many of them could not be polled the last time.
    pub failing: usize,
    /// How many runs wait for a free place.
    pub queued: usize,
    /// How many attempts are under way.
    pub in_progress: usize,
    /// How many runs wait for the moment of their next attempt.
    pub waiting: usize,
    /// How many threads are in a call that has passed its deadline.
    pub stuck: usize,
    /// The first 100 incidents that are not over, by run.
    pub incidents: Vec<IncidentStatus>,
}

/// What becomes of one corrupted run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct IncidentStatus {
    /// The run: the corrupted one, or the one that took its place.
    pub run: String,
    /// The run that was corrupted first.
    pub first_run: String,
    /// How far it has come.
    pub phase: &'static str,
    /// How many attempts were begun.
    pub attempt: u32,
    /// Of how many.
    pub max_attempts: u32,
    /// Since when it is in its phase.
    pub since: Stamp,
    /// When it was found.
    pub detected_at: Stamp,
    /// When the next attempt is due, if it waits for that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_attempt: Option<Stamp>,
    /// What the present or last attempt restores from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<String>,
    /// Why the last attempt failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
}

/// What a controller does, and how its last run ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ControllerStatus {
    /// The time between regular runs.
    #[serde(serialize_with = "seconds_of")]
    pub interval: Duration,
    /// How long one run may take.
    #[serde(serialize_with = "seconds_of")]
    pub deadline: Duration,
    /// Whether it runs only when it is triggered.
    pub paused: bool,
    /// Whether its runs change nothing.
    pub dry_run: bool,
    /// How the last run ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_result: Option<RunResult>,
    /// How many items the last run dealt with that returned in time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_items: Option<u64>,
    /// What that run says it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_summary: Option<Arc<str>>,
    /// How many items all runs dealt with.
    pub items: u64,
    /// How many runs were still going when the next one was due.
    pub overruns: u64,
}

/// How a run of a controller ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RunResult {
    /// All of it succeeded.
    Success,
    /// It returned an error.
    Error,
    /// It passed its deadline.
    Timeout,
    /// It panicked.
    Panic,
}

impl RunResult {
    /// The word for it in status and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Error => "error",
            Self::Timeout => "timeout",
            Self::Panic => "panic",
        }
    }
}

impl fmt::Display for RunResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Serialize for RunResult {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// The configuration in force, and whether it is the one on disk.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct ConfigStatus {
    /// The file, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The number of the configuration in force, counted since the load.
    pub generation: u64,
    /// The hash of the files it was read from.
    pub hash: String,
    /// Since when it is in force.
    pub loaded_at: Stamp,
    /// For how long it is in force.
    #[serde(serialize_with = "seconds_of")]
    pub age: Duration,
    /// The hash of what is on disk; absent when that was not seen or cannot
    /// be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hash_on_disk: Option<String>,
    /// When that was first seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_disk_since: Option<Stamp>,
    /// Whether what is on disk is in force.
    pub applied: bool,
    /// The keys whose new values count from the next start of the program
    /// on, because they are read only then.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub needs_restart: Vec<String>,
}

/// A loop's thread, as the system's tools show it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ThreadStatus {
    /// Its name; the kernel shows the first 15 bytes.
    pub name: String,
    /// The kernel's number for it.
    pub tid: u32,
}

impl ThreadStatus {
    pub(crate) fn of(task: &Task) -> Self {
        Self { name: task.name().to_owned(), tid: task.tid() }
    }
}

/// What a loop is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[non_exhaustive]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Trying for the first time, with growing delays.
    Starting,
    /// Looking at regular times.
    Polling,
    /// Down after having been ready: trying with growing delays.
    Recovering,
    /// Running, without regular looks.
    Running,
    /// Ended, or told to end.
    Stopped,
}

impl Phase {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Polling => "polling",
            Self::Recovering => "recovering",
            Self::Running => "running",
            Self::Stopped => "stopped",
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Display for LoopStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.kind, self.name, self.health)?;
        if let Some(parent) = &self.parent {
            write!(f, " (parent {parent})")?;
        }
        write!(f, " since {}", self.since)?;
        if let Some(monitor) = &self.monitor {
            // What its last look failed with is one of many.
            monitor.worst().map_or(Ok(()), |worst| write!(f, ": {worst}"))?;
        } else if let Some(error) = &self.last_error {
            write!(f, " (failures in a row: {}): {error}", self.consecutive_failures)?;
        }
        if self.stale {
            f.write_str(", stale")?;
        }
        if let Some(overdue) = self.overdue_for {
            write!(f, ", overdue for {overdue:.1?}")?;
        }
        if let Some(call) = self.call.as_ref().filter(|call| call.stuck) {
            write!(f, ", {call}")?;
        }
        if self.controller.as_ref().is_some_and(|controller| controller.paused) {
            f.write_str(", paused")?;
        }
        Ok(())
    }
}

impl Serialize for LoopKind {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl Serialize for Health {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

fn seconds_of<S: serde::Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_secs_f64())
}

/// Who can say how its loops are: a manager, to the status server.
pub trait StatusSource: Send + Sync {
    /// A snapshot of every loop, in an order that does not change by itself.
    fn statuses(&self) -> Vec<LoopStatus>;

    /// The descriptors that cannot be used. Defaults to none.
    fn rejected(&self) -> Vec<Rejected> {
        Vec::new()
    }
}

/// Puts loops in an order that does not change by itself.
pub(crate) fn sort(loops: &mut [LoopStatus]) {
    crate::order::sort_by(loops, |a, b| (a.kind.as_str(), &a.name).cmp(&(b.kind.as_str(), &b.name)));
}

/// All loops together: down while a critical one is down or unknown, degraded
/// while another one is or any is degraded, else ready.
#[must_use]
pub fn aggregate<'a>(loops: impl IntoIterator<Item = &'a LoopStatus>) -> Health {
    let mut total = Health::Ready;
    for status in loops {
        if status.ready && status.health != Health::Degraded {
            continue;
        }
        if status.critical && !status.ready {
            return Health::Down;
        }
        total = Health::Degraded;
    }
    total
}

/// All loops together, unknown while a critical one may still turn it either
/// way: what a component of many loops says of itself.
pub(crate) fn verdict(loops: &[LoopStatus]) -> Health {
    let critical = |health| loops.iter().any(|status| status.critical && status.health == health);
    if critical(Health::Unknown) && !critical(Health::Down) { Health::Unknown } else { aggregate(loops) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loop_is_stale_when_it_is_late_by_a_whole_interval_within_bounds() {
        let secs = Duration::from_secs_f64;
        for (late_by, apart, stale) in [
            (0.0, 0.0, false),
            (5.0, 0.1, false),
            (5.1, 0.1, true),
            (29.0, 30.0, false),
            (31.0, 30.0, true),
            (60.0, 3600.0, false),
            (61.0, 3600.0, true),
        ] {
            assert_eq!(is_stale(secs(late_by), secs(apart)), stale, "{late_by} {apart}");
        }
    }
}
