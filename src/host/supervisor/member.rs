//! One component as its host sees it: what it is asked to do, what it says,
//! and where it is.

use std::time::Duration;

use super::{Id, LEAST, Op};
use crate::clock::Tick;
use crate::error::{Error, Result};
use crate::event::{EventKind, Health};
use crate::host::config::Spec;
use crate::host::restart::History;
use crate::name::Name;

/// A call into a component.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::host) enum Call {
    Start,
    Stop,
}

impl Call {
    pub(in crate::host) const fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
        }
    }
}

/// What a component says of itself.
#[derive(Debug)]
pub(in crate::host) enum Report {
    Health(Health),
    Failed(Error),
    Done,
}

/// What happened.
#[derive(Debug)]
pub(in crate::host) enum Input {
    /// A call came back, in time or not.
    Returned { call: Call, result: Result<()>, took: Duration },
    /// A call has passed its deadline and is stuck.
    Overdue { call: Call, stuck_for: Duration },
    /// The component said something.
    Reported(Report),
}

/// What is to be done about it.
#[derive(Debug)]
pub(in crate::host) enum Action {
    /// Call into the component.
    Call { id: Id, generation: u64, call: Call, timeout: Duration },
    /// Cancel what the component was given at its start.
    Cancel { id: Id },
    /// Drop the component.
    Discard { id: Id },
    /// Tell everybody.
    Tell { source: Name, what: EventKind },
    /// Tell the one who waits.
    Answer { op: Op, result: Result<()> },
}

/// Where a component is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::host) enum Stage {
    Registered,
    Waiting {
        until: Tick,
    },
    /// In `start`; left behind at `cut`, if its own deadline does not come
    /// first.
    Starting {
        cut: Tick,
    },
    Started,
    /// In `stop`, as above.
    Stopping {
        cut: Tick,
    },
    BackingOff {
        until: Tick,
    },
    Stopped,
    Failed,
    Abandoned {
        call: Call,
    },
}

impl Stage {
    /// Whether it may be at work, as far as the others are concerned.
    pub(super) fn is_alive(self) -> bool {
        matches!(self, Self::Starting { .. } | Self::Started | Self::Stopping { .. })
    }

    pub(super) fn is_in_call(self) -> bool {
        matches!(self, Self::Starting { .. } | Self::Stopping { .. })
    }
}

/// Why a run has to end.
#[derive(Debug, Clone)]
pub(super) enum Ending {
    Failed(Error),
    Done,
}

#[derive(Debug)]
pub(super) enum Leaving {
    /// For good. `always`: also when its `stop` fails.
    Removed { answer: Option<(Op, Result<()>)>, always: bool },
    /// For another.
    Replaced(Box<Candidate>),
}

#[derive(Debug)]
pub(super) struct Candidate {
    pub(super) id: Id,
    pub(super) spec: Spec,
    pub(super) limit: Duration,
    pub(super) op: Op,
}

/// A component that has to come up, or the one before it returns.
#[derive(Debug)]
pub(super) struct Trial {
    pub(super) before: Box<Member>,
    /// Counts from its start, or from when it had to wait for others.
    pub(super) by: Tick,
    pub(super) limit: Duration,
    pub(super) op: Option<Op>,
}

#[derive(Debug)]
pub(super) struct Edge {
    pub(super) idx: Option<usize>,
    pub(super) or_stop: bool,
    /// Since when the one that waits has found it not ready.
    pub(super) missed: Option<Tick>,
}

/// One component.
#[derive(Debug)]
pub(in crate::host) struct Member {
    pub(in crate::host) id: Id,
    pub(in crate::host) spec: Spec,
    pub(in crate::host) stage: Stage,
    pub(in crate::host) since: Tick,
    pub(in crate::host) generation: u64,
    pub(in crate::host) health: Health,
    pub(in crate::host) up: bool,
    pub(in crate::host) last_error: Option<Error>,
    pub(in crate::host) restarts: u64,
    /// When the present call was asked for.
    pub(in crate::host) called: Tick,
    /// Stuck in a call and out of its place.
    pub(in crate::host) stray: bool,
    pub(super) wanted: bool,
    pub(super) ending: Option<Ending>,
    /// It says itself how it is.
    pub(super) speaks: bool,
    pub(super) told_ready: bool,
    pub(super) ran_since: Option<Tick>,
    /// Its last `stop` failed: it may still be at work.
    pub(in crate::host) unstopped: bool,
    /// It failed and is not started again by itself.
    pub(in crate::host) gave_up: bool,
    pub(super) cancelled: bool,
    pub(super) history: History,
    pub(super) leaving: Option<Leaving>,
    /// How long it may take to leave.
    pub(super) grace: Duration,
    pub(super) trial: Option<Trial>,
    /// Who waits for its first start.
    pub(super) op: Option<Op>,
    pub(super) edges: Vec<Edge>,
}

impl Member {
    pub(super) fn new(id: Id, spec: Spec, now: Tick) -> Self {
        Self {
            id,
            spec,
            stage: Stage::Registered,
            since: now,
            generation: 0,
            health: Health::Unknown,
            up: false,
            last_error: None,
            restarts: 0,
            called: now,
            stray: false,
            wanted: false,
            ending: None,
            speaks: false,
            told_ready: false,
            ran_since: None,
            unstopped: false,
            gave_up: false,
            cancelled: false,
            history: History::default(),
            leaving: None,
            grace: Duration::MAX,
            trial: None,
            op: None,
            edges: Vec::new(),
        }
    }

    pub(in crate::host) fn name(&self) -> &Name {
        &self.spec.name
    }

    /// The names that it requires, and that those do which may come or return
    /// in its place.
    pub(super) fn all_required(&self) -> impl Iterator<Item = &Name> {
        let before = self.trial.as_ref().map(|trial| &trial.before.spec);
        let next = match &self.leaving {
            Some(Leaving::Replaced(candidate)) => Some(&candidate.spec),
            _ => None,
        };
        let specs = [Some(&self.spec), before, next].into_iter().flatten();
        specs.flat_map(|spec| &spec.requires).map(|require| &require.name)
    }

    /// How long its `stop` may take at most.
    pub(super) fn stop_timeout(&self) -> Duration {
        self.spec.stop_timeout.min(self.grace).max(LEAST)
    }

    pub(super) fn set(&mut self, stage: Stage, now: Tick) {
        self.stage = stage;
        self.since = now;
    }

    pub(super) fn tell(&self, out: &mut Vec<Action>, what: EventKind) {
        out.push(Action::Tell { source: self.spec.name.clone(), what });
    }

    /// Whether it has to end for a reason of its own.
    pub(in crate::host) fn is_ending(&self) -> bool {
        !self.wanted || self.leaving.is_some() || self.ending.is_some()
    }

    /// Whether somebody waits for its start, maybe in a start that is not to
    /// wait for it in turn.
    pub(super) fn is_asked_for(&self) -> bool {
        self.op.is_some() || self.trial.as_ref().is_some_and(|trial| trial.op.is_some())
    }

    /// Whether what requires it may run, as far as it alone decides.
    pub(super) fn can_take_work(&self) -> bool {
        self.stage == Stage::Started
            && self.up
            && !self.is_ending()
            && matches!(self.health, Health::Ready | Health::Degraded)
    }

    /// When its host ends a call into it, or did, before the call's own time is
    /// over.
    pub(in crate::host) fn cut(&self) -> Tick {
        match (self.stage, &self.trial) {
            // Once it is to end, its trial does not end it earlier.
            (Stage::Starting { cut: Tick::NEVER }, Some(trial)) => trial.by,
            (Stage::Starting { cut } | Stage::Stopping { cut }, _) => cut,
            (Stage::Abandoned { .. }, _) => self.since,
            _ => Tick::NEVER,
        }
    }

    /// When to look at it again though nothing happens, after a look at this
    /// moment.
    pub(super) fn deadline(&self, looked: Tick) -> Tick {
        let stage = match self.stage {
            // Due, and waits for its turn: that comes with an input.
            Stage::BackingOff { until } if until <= looked => Tick::NEVER,
            Stage::Waiting { until } | Stage::BackingOff { until } => until,
            Stage::Starting { cut } | Stage::Stopping { cut } => cut,
            _ => Tick::NEVER,
        };
        stage.min(self.trial.as_ref().map_or(Tick::NEVER, |trial| trial.by))
    }

    pub(super) fn fail(&mut self, error: Error, out: &mut Vec<Action>) {
        self.last_error = Some(error.clone());
        self.tell(out, EventKind::ComponentFailed { error: error.clone() });
        self.ending = Some(Ending::Failed(error));
    }
}
