//! What an engine says of itself.

use std::sync::Arc;
use std::time::Duration;

use super::engine::{Case, Class, Engine, Place, Role, Stage, State};
use super::executor::{cancel, retry};
use super::incident::IncidentPhase;
use crate::clock::{Signals, Tick, wall_at};
use crate::env::{Listed, RecoveryAct};
use crate::error::Result;
use crate::event::{Health, LoopKind};
use crate::name::Name;
use crate::stamp::Stamp;
use crate::status::{IncidentStatus, LoopStatus, Phase, RecoveryStatus, ThreadStatus, is_stale};

/// How many incidents a status lists.
const MAX_LISTED: usize = 100;

/// A moment on the wall's clock, from a pair of both.
#[derive(Clone, Copy)]
pub(super) struct Wall {
    now: Tick,
    wall: Stamp,
}

impl Wall {
    pub(super) fn at(self, tick: Tick) -> Stamp {
        wall_at(tick, self.now, self.wall)
    }
}

impl Engine {
    pub(super) fn wall(&self) -> Wall {
        Wall { now: self.now(), wall: self.env.stamp() }
    }

    pub(super) fn incident_status(&self, case: &Case, wall: Wall) -> IncidentStatus {
        let incident = &case.incident;
        let next_attempt = match case.place {
            Place::Retry(due, _) => Some(wall.at(due)),
            _ => None,
        };
        IncidentStatus {
            run: incident.run.clone(),
            first_run: incident.first_run.clone(),
            phase: incident.phase.as_str(),
            attempt: incident.attempt,
            max_attempts: case.policy.max_attempts,
            since: incident.since,
            detected_at: incident.detected_at,
            next_attempt,
            checkpoint: incident.checkpoint.as_ref().map(|checkpoint| checkpoint.path.clone()),
            last_error: incident.error.as_ref().map(|error| error.text.clone()),
        }
    }

    fn recovery_status(&self, state: &State, wall: Wall) -> RecoveryStatus {
        let (mut queued, mut waiting, mut in_progress) = (0, 0, 0);
        for case in state.cases.values() {
            match (&case.place, case.incident.phase) {
                (Place::Attempt { .. }, _) => in_progress += 1,
                (Place::Retry(due, _), _) if *due > wall.now => waiting += 1,
                (Place::Fresh | Place::Retry(..), _) => queued += 1,
                (Place::Rest, _) => {}
            }
        }
        let is_told = |case: &&Case| case.incident.phase != IncidentPhase::Verified;
        let cases = state.cases.values().map(|case| &**case).filter(is_told).take(MAX_LISTED);
        RecoveryStatus {
            watched: state.watches.len(),
            failing: state.counts(Class::Failing),
            queued,
            in_progress,
            waiting,
            stuck: state.workers.iter().filter(|worker| worker.is_stuck()).count(),
            incidents: cases.map(|case| self.incident_status(case, wall)).collect(),
        }
    }

    pub(super) fn loop_status(&self) -> LoopStatus {
        self.loop_status_at(self.wall())
    }

    fn loop_status_at(&self, wall: Wall) -> LoopStatus {
        let now = wall.now;
        let lost = self.mailbox.as_ref().map(|mailbox| mailbox.counts()).unwrap_or_default();
        let state = self.lock();
        let is_running = state.stage == Stage::Running;
        let books = state.books;
        // Of calls the one that takes longest.
        let in_call = state.workers.iter().filter(|worker| worker.calls_since().is_some());
        let in_call = in_call.min_by_key(|worker| worker.calls_since());
        let call = in_call.and_then(|worker| worker.call(now, wall.wall));
        let stuck = in_call.filter(|_| call.as_ref().is_some_and(|call| call.stuck));
        let mut able = state.workers.iter().filter(|worker| !worker.task.has_ended() && !worker.is_stuck());
        let thread = stuck.or_else(|| able.next()).map(|worker| worker.task.clone());
        let last_error = state.watches.iter().find_map(|(_, watch)| watch.error.as_ref());
        let failed = state.cases.values().filter_map(|case| case.incident.error.as_ref()).next();
        let stale = is_running && state.is_stale(now);
        let phase = if is_running { Phase::Polling } else { Phase::Stopped };
        let since = wall.at(books.since);
        let mut status = LoopStatus {
            ready: books.health == Health::Ready && !stale,
            stale,
            last_check: books.last_poll.map(|tick| wall.at(tick)),
            age: books.last_poll.map(|tick| now.since(tick)),
            last_success: books.last_success.map(|tick| wall.at(tick)),
            last_error: failed
                .map(|error| error.text.clone())
                .or_else(|| last_error.map(|error| error.report().to_string())),
            consecutive_failures: books.failures_in_a_row,
            next_run: state.next_poll().filter(|_| is_running).map(|tick| wall.at(tick)),
            latency: books.latency,
            runs: books.runs,
            failures: books.failures,
            panics: books.panics,
            timeouts: books.timeouts,
            late: books.late,
            transitions: books.transitions,
            running_for: call.as_ref().map(|call| call.phase_for),
            overdue_for: state.overdue(now),
            call,
            thread: thread.as_ref().map(ThreadStatus::of),
            lost_callbacks: lost.coalesced + lost.dropped,
            recovery: Some(Box::new(self.recovery_status(&state, wall))),
            ..LoopStatus::new(
                self.name.clone(),
                LoopKind::Recovery,
                self.critical,
                books.health,
                phase,
                since,
            )
        };
        drop(state);
        // Without the lock: it reads files.
        if let (Some(call), Some(task)) = (status.call.as_mut().filter(|call| call.stuck), thread) {
            call.activity = task.look();
        }
        status
    }
}

impl State {
    /// For how long the call that is latest is past its deadline, or what is
    /// due next past its due.
    fn overdue(&self, now: Tick) -> Option<Duration> {
        let calls = self.workers.iter().filter_map(|worker| worker.past_deadline(now));
        let dues = [Role::Poll, Role::Attempt].into_iter().filter_map(|role| self.late(role, now));
        let dues = dues.filter(|_| self.stage == Stage::Running).map(|(late_by, _)| late_by);
        calls.chain(dues).max()
    }

    /// Whether nobody does what is due: every thread that there may be is
    /// stuck, or the machine gives them no time.
    fn is_stale(&self, now: Tick) -> bool {
        [Role::Poll, Role::Attempt].into_iter().any(|role| {
            let late = self.late(role, now).filter(|_| !self.is_manned(role));
            late.is_some_and(|(late_by, apart)| is_stale(late_by, apart))
        })
    }

    /// Whether a call of the role is under way that has not passed its
    /// deadline.
    fn is_manned(&self, role: Role) -> bool {
        self.workers.iter().any(|worker| worker.is_doing(role))
    }
}

impl Listed for Engine {
    fn status_at(&self, now: Tick, wall: Stamp) -> (bool, LoopStatus) {
        (self.is_running(), self.loop_status_at(Wall { now, wall }))
    }

    #[cfg(feature = "capi")]
    fn kind(&self) -> LoopKind {
        LoopKind::Recovery
    }

    fn overdue(&self, now: Tick) -> Option<Duration> {
        let state = self.lock();
        (state.stage == Stage::Running).then(|| state.overdue(now).unwrap_or_default())
    }

    fn name(&self) -> &Name {
        &self.name
    }

    fn recovery(self: Arc<Self>, act: RecoveryAct, run: &str) -> Option<Result<()>> {
        Some(match act {
            RecoveryAct::Cancel => cancel(&self, run),
            RecoveryAct::Retry => retry(&self, run),
        })
    }

    fn trigger(&self) -> bool {
        let mut state = self.lock();
        if state.stage != Stage::Running {
            return false;
        }
        Self::poll_all(&mut state, self.now());
        let inboxes: Vec<_> = state.workers.iter().map(|worker| worker.inbox.clone()).collect();
        drop(state);
        // Awake, they see how many are needed.
        for inbox in inboxes {
            inbox.ring(Signals::POKE);
        }
        true
    }
}
