//! Beginning and end of an engine.

use std::sync::Arc;
use std::time::Duration;

use super::Engine;
use super::afterwards::Afterwards;
use super::job::Role;
use super::state::{Stage, State};
use super::worker::Worker;
use crate::clock::{Signals, real_deadline};
use crate::error::{Error, ErrorKind, Result};
use crate::event::EventKind;
use crate::stop::StopReport;
use crate::thread::{Task, caught};

/// How long a stop waits for polls, whose answers do not matter any more.
const POLL_GRACE: Duration = Duration::from_secs(1);

impl Engine {
    /// Starts it, with a first thread for `role`.
    pub(in crate::recovery) fn start(self: &Arc<Self>, role: Role) -> Result<()> {
        // A stop that is at its end lets go of the file before or after this.
        let beginning = self.holding.lock();
        let names = self.hold_names()?;
        let mut after = Afterwards::default();
        let mut state = self.lock();
        let now = self.now();
        let begun = self.begin(&mut state, role);
        if begun.is_ok() {
            Self::take_names(&mut state, now, &mut after, names);
            Self::poll_afresh(&mut state, now);
            self.settle(&mut state, now, &mut after);
        }
        let runs = state.stage == Stage::Running;
        drop(state);
        if !runs {
            self.let_go_of_names();
        }
        drop(beginning);
        self.afterwards(after);
        begun
    }

    fn begin(self: &Arc<Self>, state: &mut State, role: Role) -> Result<()> {
        let refused = |kind, text: &str| Err(Error::new(kind).context(format!("{}: {text}", self.name)));
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
        Ok(())
    }

    pub(in crate::recovery) fn stop(self: &Arc<Self>, grace: Duration) -> StopReport {
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
                let _ = task.join_watched(if *matters { all } else { polls });
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
        let _end = self.holding.lock();
        self.let_go_of_names();
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

    /// Whether the caller is in one of its calls or callbacks.
    #[cfg(feature = "capi")]
    pub(in crate::recovery) fn is_own_call(&self) -> bool {
        let is_worker = self.lock().is_own_call();
        is_worker || self.mailbox.as_ref().is_some_and(|mailbox| mailbox.is_own_call())
    }

    /// Stops it as a drop does.
    pub(in crate::recovery) fn stop_for_drop(self: &Arc<Self>, grace: Duration) {
        let grace = if self.lock().waited { Duration::ZERO } else { grace };
        let _ = self.stop(grace);
    }

    pub(in crate::recovery) fn is_running(&self) -> bool {
        self.lock().stage == Stage::Running && !self.parent.is_cancelled()
    }

    /// Blocks until no attempt is under way or to come; false at `timeout`.
    pub(in crate::recovery) fn drain(self: &Arc<Self>, timeout: Duration) -> bool {
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

    pub(in crate::recovery) fn not_found(&self, run: &str) -> Error {
        let context = format!("{}: no run {}", self.name, crate::duration::Shown(run));
        Error::new(ErrorKind::NotFound).context(context)
    }
}
