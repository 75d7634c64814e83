//! What is worth telling: typed events, numbered per source and per
//! environment.

mod json;
mod recovery;
mod text;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::error::Error;
use crate::name::Name;
use crate::stamp::Stamp;

pub use recovery::{RecoveryEvent, RecoveryStep};

/// What kind of loop a source is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum LoopKind {
    /// Watches one service.
    Watcher,
    /// Watches the files of a configuration.
    ConfigWatcher,
    /// Turns a folder of descriptors into running components.
    Deployer,
    /// Reconciles a part of the program's state.
    Controller,
    /// Looks at regular times whether things are as they should be.
    Monitor,
    /// Watches runs and restores those that are corrupted.
    Recovery,
    /// A part of the program that a host starts and stops.
    Component,
}

impl LoopKind {
    /// The word for it in status, metrics and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Watcher => "watcher",
            Self::ConfigWatcher => "config",
            Self::Deployer => "deployer",
            Self::Controller => "controller",
            Self::Monitor => "monitor",
            Self::Recovery => "recovery",
            Self::Component => "component",
        }
    }

    /// The kind of such a word.
    pub(crate) fn named(word: &str) -> Option<Self> {
        const ALL: [LoopKind; 7] = [
            LoopKind::Watcher,
            LoopKind::ConfigWatcher,
            LoopKind::Deployer,
            LoopKind::Controller,
            LoopKind::Monitor,
            LoopKind::Recovery,
            LoopKind::Component,
        ];
        ALL.into_iter().find(|kind| kind.as_str() == word)
    }

    /// The front part of its threads' names.
    pub(crate) const fn thread_prefix(self) -> &'static str {
        match self {
            Self::Watcher => "w",
            Self::ConfigWatcher => "cfg",
            Self::Deployer => "dep",
            Self::Controller => "ctl",
            Self::Monitor => "mon",
            Self::Recovery => "rec",
            Self::Component => "c",
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

    /// The health of such a word.
    pub(crate) fn named(word: &str) -> Option<Self> {
        [Self::Unknown, Self::Ready, Self::Degraded, Self::Down]
            .into_iter()
            .find(|health| health.as_str() == word)
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
    /// The number among the events of this source, from 1, without a gap. A
    /// source that is gone and made anew begins anew.
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
    /// A run of a controller dealt with items, although other steps of it may
    /// have failed. Runs without items are not told.
    Reconciled {
        /// How many items it dealt with, or would have in a dry run.
        items: u64,
        /// How long it took.
        took: Duration,
        /// Whether nothing was changed.
        dry_run: bool,
        /// What it says it did.
        summary: Option<Arc<str>>,
    },
    /// A run of a controller returned an error or panicked.
    ReconcileFailed {
        /// Why.
        error: Error,
        /// How many runs in a row have failed.
        failures: u32,
        /// When it is tried again before its next regular run; `None`: not
        /// before that.
        retry_in: Option<Duration>,
    },
    /// What a monitor's checkers found, all together, is another state.
    HealthChanged {
        /// What it was before.
        from: Health,
        /// What it is now.
        to: Health,
        /// The checker that is worst off, and why.
        reason: Option<Arc<str>>,
    },
    /// What one checker of a monitor looks at is in another state.
    CheckerChanged {
        /// The checker.
        checker: Name,
        /// What it was before.
        from: Health,
        /// What it is now.
        to: Health,
        /// Why it is not ready.
        reason: Option<Arc<str>>,
        /// How long the look took; `None` when nobody looked for too long.
        took: Option<Duration>,
    },
    /// A look of a checker passed its deadline and is still stuck. The other
    /// checkers go on.
    CheckTimedOut {
        /// The checker.
        checker: Name,
        /// For how long the look has run.
        stuck_for: Duration,
    },
    /// A look that had timed out came back; what it found was thrown away.
    CheckLate {
        /// The checker.
        checker: Name,
        /// For how long the look ran.
        took: Duration,
    },
    /// The controller does not run any more unless it is triggered.
    Paused,
    /// The controller runs at its regular times again.
    Resumed,
    /// Another configuration is in force.
    ConfigReloaded {
        /// Its number, counted since the load.
        generation: u64,
        /// The paths whose values are others now, the first 64 in order. The
        /// values themselves are never in an event.
        changed: Arc<[String]>,
        /// How many paths there are.
        n_changed: usize,
        /// The keys that differ from what the program was started with and
        /// are read only at its start.
        needs_restart: Arc<[String]>,
    },
    /// What is on disk cannot be put in force; what was in force still is.
    ConfigRejected {
        /// What is wrong with it, and where; without the values.
        error: Error,
    },
    /// A component that a file describes runs now.
    Deployed {
        /// The component.
        name: Name,
    },
    /// A component runs in place of the one that had its name.
    Replaced {
        /// The component.
        name: Name,
    },
    /// A component that no file describes any more was stopped.
    Undeployed {
        /// The component.
        name: Name,
    },
    /// A component that no file describes any more could not be stopped.
    UndeployFailed {
        /// The component.
        name: Name,
        /// Why.
        error: Error,
        /// When it is tried again.
        retry_in: Duration,
    },
    /// A file cannot be used. What runs goes on.
    Rejected {
        /// The component, as far as the file tells.
        name: Option<Name>,
        /// The file.
        file: String,
        /// Why.
        error: Error,
        /// When it is tried again; `None`: not until it changes.
        retry_in: Option<Duration>,
    },
    /// A component did not come up in place of the one that had its name.
    RolledBack {
        /// The component.
        name: Name,
        /// Why.
        error: Error,
        /// Whether the one that had its name runs again already.
        restored: bool,
        /// When the new one is tried again; `None`: not until it changes.
        retry_in: Option<Duration>,
    },
    /// The loop was told to end: its state is unknown from now on.
    Stopped,
    /// The component is not started until what it requires is ready.
    ComponentWaiting {
        /// What it waits for.
        requires: Vec<Name>,
    },
    /// The component's `start` is called.
    ComponentStarting,
    /// The component works. What requires it may have to wait still.
    ComponentUp {
        /// How long it took from the call of its `start`.
        took: Duration,
    },
    /// The component can take work: what requires it may start.
    ComponentReady,
    /// The component runs and can take no work any more.
    ComponentNotReady {
        /// What it says of itself.
        health: Health,
    },
    /// The component did not start, failed while it ran, or did not stop.
    ComponentFailed {
        /// Why.
        error: Error,
    },
    /// The component is started again after a delay.
    ComponentRestarting {
        /// The delay.
        delay: Duration,
        /// How often it was started again before.
        restarts: u64,
    },
    /// The component used up its restarts and is left as failed.
    ComponentGaveUp {
        /// Why it failed the last time.
        error: Error,
        /// How often it was started again.
        restarts: u64,
    },
    /// The component's `stop` is called.
    ComponentStopping,
    /// The component has ended.
    ComponentStopped,
    /// A call into the component passed its deadline: its thread was left to
    /// it, and the host went on without.
    ComponentAbandoned {
        /// The call, `start` or `stop`.
        call: &'static str,
        /// For how long it has run.
        stuck_for: Duration,
    },
    /// The component took the place of another, which is gone.
    ComponentReplaced,
    /// The component that was to take this one's place did not come up; this
    /// one is back in its place and is started again.
    ComponentRolledBack {
        /// Why the other one did not come up.
        error: Error,
    },
    /// The component is no longer part of the host.
    ComponentRemoved,
    /// A step of the recovery of a run. Shared, because there is much to say.
    Recovery(Arc<RecoveryEvent>),
}

impl EventKind {
    /// The word for it, as `/events` prints it.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Ready { .. } => "ready",
            Self::Down { .. } => "down",
            Self::GaveUp { .. } => "gave_up",
            Self::TimedOut { .. } => "timed_out",
            Self::Late { .. } => "late",
            Self::Reconciled { .. } => "reconciled",
            Self::ReconcileFailed { .. } => "reconcile_failed",
            Self::HealthChanged { .. } => "health_changed",
            Self::CheckerChanged { .. } => "checker_changed",
            Self::CheckTimedOut { .. } => "check_timed_out",
            Self::CheckLate { .. } => "check_late",
            Self::Paused => "paused",
            Self::Resumed => "resumed",
            Self::ConfigReloaded { .. } => "config_reloaded",
            Self::ConfigRejected { .. } => "config_rejected",
            Self::Deployed { .. } => "deployed",
            Self::Replaced { .. } => "replaced",
            Self::Undeployed { .. } => "undeployed",
            Self::UndeployFailed { .. } => "undeploy_failed",
            Self::Rejected { .. } => "rejected",
            Self::RolledBack { .. } => "rolled_back",
            Self::Stopped => "stopped",
            Self::ComponentWaiting { .. } => "component_waiting",
            Self::ComponentStarting => "component_starting",
            Self::ComponentUp { .. } => "component_up",
            Self::ComponentReady => "component_ready",
            Self::ComponentNotReady { .. } => "component_not_ready",
            Self::ComponentFailed { .. } => "component_failed",
            Self::ComponentRestarting { .. } => "component_restarting",
            Self::ComponentGaveUp { .. } => "component_gave_up",
            Self::ComponentStopping => "component_stopping",
            Self::ComponentStopped => "component_stopped",
            Self::ComponentAbandoned { .. } => "component_abandoned",
            Self::ComponentReplaced => "component_replaced",
            Self::ComponentRolledBack { .. } => "component_rolled_back",
            Self::ComponentRemoved => "component_removed",
            Self::Recovery(event) => event.step.event(),
        }
    }

    /// The error it carries, if it does.
    #[must_use]
    pub fn error(&self) -> Option<&Error> {
        match self {
            Self::Down { error, .. }
            | Self::GaveUp { error, .. }
            | Self::ReconcileFailed { error, .. }
            | Self::UndeployFailed { error, .. }
            | Self::Rejected { error, .. }
            | Self::RolledBack { error, .. }
            | Self::ConfigRejected { error }
            | Self::ComponentFailed { error }
            | Self::ComponentGaveUp { error, .. }
            | Self::ComponentRolledBack { error } => Some(error),
            Self::Recovery(event) => event.error.as_ref(),
            _ => None,
        }
    }
}
