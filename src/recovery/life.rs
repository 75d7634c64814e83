//! Beginning and end of an engine, and what its status says.

use std::sync::Arc;
use std::time::Duration;

use super::crew::{Role, Worker};
use super::engine::{Case, Class, Engine, Place, Stage, State};
use super::executor::{cancel, retry};
use super::incident::IncidentPhase;
use crate::clock::{Signals, Tick, real_deadline};
use crate::env::{Listed, RecoveryAct};
use crate::error::{Error, ErrorKind, Result};
use crate::event::{EventKind, LoopKind};
use crate::looper::wall_at;
use crate::name::Name;
use crate::stamp::Stamp;
use crate::status::{IncidentStatus, LoopStatus, Phase, RecoveryStatus, ThreadStatus};
use crate::stop::StopReport;
use crate::thread::{Task, caught};

/// How long a stop waits for polls, whose answers do not matter any more.
const POLL_GRACE: Duration = Duration::from_secs(1);
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

    /// Starts it, with a first thread for `role`.
    pub(super) fn start(self: &Arc<Self>, role: Role) -> Result<()> {
        let refused = |kind, text: &str| Err(Error::new(kind).context(format!("{}: {text}", self.name)));
        self.act(|state, now, _| {
            if state.stops > 0 {
                return refused(ErrorKind::InvalidState, "start while it is being stopped");
            }
            if state.stage == Stage::Running {
                return refused(ErrorKind::InvalidState, "start while it runs");
            }
            if self.parent.is_cancelled() {
                return refused(ErrorKind::Cancelled, "start after its token was cancelled");
            }
            state.workers.iter_mut().for_each(Worker::retire);
            state.token = self.parent.child();
            self.hire(state, role).map_err(|error| {
                let context = format!("{}: {error}", self.name);
                error.context(context)
            })?;
            if let Some(mailbox) = &self.mailbox {
                mailbox.reopen();
            }
            state.stage = Stage::Running;
            (state.waited, state.draining) = (false, false);
            self.tell_loop(state, EventKind::Started);
            Self::poll_afresh(state, now);
            Ok(())
        })
    }

    pub(super) fn stop(self: &Arc<Self>, grace: Duration) -> StopReport {
        let all = real_deadline(grace);
        let polls = real_deadline(grace.min(POLL_GRACE));
        let tasks: Vec<(Task, bool)> = self.act(|state, now, after| {
            state.stops += 1;
            self.end(state, now, after, "it was stopped");
            let tasks = state.workers.iter().map(|worker| (worker.task.clone(), worker.matters()));
            tasks.collect()
        });
        self.ring_all();
        let mut report = StopReport::default();
        let mut is_own_call = false;
        for (task, matters) in &tasks {
            if task.is_current() {
                is_own_call = true;
            } else {
                let _ = task.join_until(if *matters { all } else { polls });
            }
        }
        if is_own_call {
            let context = format!("{}: stop from its own call only cancels", self.name);
            report.add_error(Error::new(ErrorKind::InvalidState).context(context));
        }
        let now = self.now();
        for worker in &self.lock().workers {
            if !worker.task.has_ended() && !worker.task.is_current() {
                report.add_straggler(worker.straggler(self.name.as_str(), now));
            }
        }
        if let Some(mailbox) = &self.mailbox {
            let closed = mailbox.close(all);
            closed.tell(self.name.as_str(), now, &mut report);
        }
        let calls = self.callbacks.take_all();
        let _ = caught(|| drop(calls));
        let mut state = self.lock();
        state.stops -= 1;
        state.waited |= !is_own_call;
        report
    }

    fn ring_all(&self) {
        let inboxes: Vec<_> = self.lock().workers.iter().map(|worker| worker.inbox.clone()).collect();
        for inbox in inboxes {
            inbox.ring(Signals::CANCEL);
        }
    }

    /// Stops it as a drop does.
    pub(super) fn stop_for_drop(self: &Arc<Self>, grace: Duration) {
        let grace = if self.lock().waited { Duration::ZERO } else { grace };
        let _ = self.stop(grace);
    }

    pub(super) fn is_running(&self) -> bool {
        self.lock().stage == Stage::Running && !self.parent.is_cancelled()
    }

    /// Blocks until no attempt is under way or to come; false at `timeout`.
    pub(super) fn drain(self: &Arc<Self>, timeout: Duration) -> bool {
        let deadline = real_deadline(timeout);
        let mut state = self.lock();
        state.draining = true;
        // Its own call would wait for itself.
        let is_own = state.is_own_call();
        loop {
            if state.is_idle() {
                return true;
            }
            if is_own {
                return false;
            }
            let (guard, timed_out) = self.changed.wait_until(state, deadline);
            state = guard;
            if timed_out {
                return state.is_idle();
            }
        }
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
        let wall = self.wall();
        let lost = self.mailbox.as_ref().map(|mailbox| mailbox.counts()).unwrap_or_default();
        let state = self.lock();
        let is_running = state.stage == Stage::Running;
        let books = state.books;
        let thread = state.workers.iter().find(|worker| !worker.task.has_ended() && !worker.is_stuck());
        let last_error = state.watches.values().filter_map(|watch| watch.error.as_ref()).next();
        let failed = state.cases.values().filter_map(|case| case.incident.error.as_ref()).next();
        LoopStatus {
            name: self.name.clone(),
            kind: LoopKind::Recovery,
            health: books.health,
            ready: books.health == crate::event::Health::Ready,
            stale: false,
            critical: self.critical,
            phase: if is_running { Phase::Polling } else { Phase::Stopped },
            since: wall.at(books.since),
            last_check: books.last_poll.map(|tick| wall.at(tick)),
            age: books.last_poll.map(|tick| wall.now.since(tick)),
            last_success: books.last_success.map(|tick| wall.at(tick)),
            last_error: failed
                .map(|error| error.text.clone())
                .or_else(|| last_error.map(|error| error.report().to_string())),
            consecutive_failures: books.failures_in_a_row,
            attempt: 0,
            next_run: state.next_poll().filter(|_| is_running).map(|tick| wall.at(tick)),
            latency: books.latency,
            runs: books.runs,
            failures: books.failures,
            panics: books.panics,
            timeouts: books.timeouts,
            late: books.late,
            missed: 0,
            transitions: books.transitions,
            running_for: None,
            overdue_for: None,
            call: None,
            thread: thread
                .map(|worker| ThreadStatus { name: worker.task.name().to_owned(), tid: worker.task.tid() }),
            lost_callbacks: lost.coalesced + lost.dropped,
            requires: Vec::new(),
            waits_for: Vec::new(),
            parent: None,
            alert: None,
            max_attempts: None,
            config: None,
            controller: None,
            monitor: None,
            recovery: Some(Box::new(self.recovery_status(&state, wall))),
        }
    }

    pub(super) fn not_found(&self, run: &str) -> Error {
        let context = format!("{}: no run {}", self.name, crate::duration::Shown(run));
        Error::new(ErrorKind::NotFound).context(context)
    }
}

impl Listed for Engine {
    fn status(&self) -> (bool, LoopStatus) {
        (self.is_running(), self.loop_status())
    }

    fn overdue(&self, now: Tick) -> Option<Duration> {
        let state = self.lock();
        let late = state.next_poll().map(|due| now.since(due)).unwrap_or_default();
        (state.stage == Stage::Running).then_some(late)
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
