//! What a host says of its components.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Serialize, Serializer};

use super::runner::State;
use super::supervisor::{Member, Stage};
use crate::clock::{Tick, wall_at};
use crate::duration::as_seconds;
use crate::error::Error;
use crate::event::{Health, LoopKind};
use crate::name::Name;
use crate::stamp::Stamp;
use crate::status::{CallStatus, LoopStatus, Phase, ThreadStatus};
use crate::thread::Task;

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

/// What is known of a component under its host's lock, and the thread that is
/// in a call into it.
pub(super) struct Seen {
    status: ComponentStatus,
    task: Option<Arc<Task>>,
}

impl Seen {
    pub(super) fn of(state: &State, member: &Member, now: Tick, wall: Stamp) -> Self {
        let thread = state.thread_of(member.id, now);
        let shown = state_of(member);
        let status = ComponentStatus {
            id: member.id,
            name: member.name().clone(),
            state: shown,
            health: member.health,
            up: member.up && member.stage == Stage::Started,
            ready: matches!(shown, ComponentState::Ready | ComponentState::Degraded),
            critical: member.spec.critical,
            since: wall_at(member.since, now, wall),
            last_error: member.last_error.clone(),
            restarts: member.restarts,
            runs: member.generation,
            requires: member.spec.requires.iter().map(|require| require.name.clone()).collect(),
            waits_for: state.machine.waits_for(member),
            running_for: thread.map(|(_, running_for)| running_for),
            call: thread.map(|(_, phase_for)| CallStatus {
                phase: format!("in {}", state.phase(member)).into(),
                phase_for,
                deadline: CallStatus::deadline_at(state.deadline_of(member), now, wall),
                stuck: shown == ComponentState::Abandoned,
                activity: None,
            }),
            thread: thread.map(|(task, _)| ThreadStatus::of(task)),
        };
        Self { status, task: thread.map(|(task, _)| task.clone()) }
    }

    /// The whole, once the lock is released: the thread of a stuck call is
    /// looked at, and that reads files.
    pub(super) fn told(self) -> ComponentStatus {
        let Self { mut status, task } = self;
        if let (Some(call), Some(task)) = (status.call.as_mut().filter(|call| call.stuck), task) {
            call.activity = task.look();
        }
        status
    }
}

fn state_of(member: &Member) -> ComponentState {
    match member.stage {
        Stage::Registered => ComponentState::Registered,
        Stage::Waiting { .. } => ComponentState::Waiting,
        Stage::Starting { .. } => ComponentState::Starting,
        Stage::Started if member.is_ending() => ComponentState::Stopping,
        Stage::Started if !member.up => ComponentState::Starting,
        Stage::Started => match member.health {
            Health::Ready => ComponentState::Ready,
            Health::Degraded => ComponentState::Degraded,
            Health::Down | Health::Unknown => ComponentState::Down,
        },
        Stage::Stopping { .. } => ComponentState::Stopping,
        Stage::BackingOff { .. } => ComponentState::BackingOff,
        Stage::Stopped => ComponentState::Stopped,
        Stage::Failed => ComponentState::Failed,
        Stage::Abandoned { .. } => ComponentState::Abandoned,
    }
}

impl ComponentStatus {
    /// The component as the status server shows loops.
    pub(super) fn into_loop(self) -> LoopStatus {
        let phase = match self.state {
            ComponentState::Waiting | ComponentState::Starting => Phase::Starting,
            ComponentState::BackingOff => Phase::Recovering,
            ComponentState::Ready | ComponentState::Degraded | ComponentState::Down => Phase::Running,
            _ => Phase::Stopped,
        };
        let health = match self.state {
            ComponentState::Failed | ComponentState::BackingOff | ComponentState::Abandoned => Health::Down,
            _ => self.health,
        };
        LoopStatus {
            ready: self.ready,
            last_error: self.last_error.map(|error| error.report().to_string()),
            attempt: u32::try_from(self.runs).unwrap_or(u32::MAX),
            runs: self.runs,
            running_for: self.running_for,
            call: self.call,
            thread: self.thread,
            requires: self.requires,
            waits_for: self.waits_for,
            ..LoopStatus::new(self.name, LoopKind::Component, self.critical, health, phase, self.since)
        }
    }
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
