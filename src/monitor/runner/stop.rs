//! The end of a monitor: what it waits for, and what it leaves behind.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Numbers, Shared, Stage, State};
use crate::clock::{Inbox, Signals};
use crate::error::{Error, ErrorKind};
use crate::event::EventKind;
use crate::looper::StopDeadlines;
use crate::stop::StopReport;
use crate::thread::{Exit, Straggler, Task, caught};

impl Shared {
    /// Marks the end: nothing begins, and nothing is told, after this. Gives
    /// the doorbell of the thread that was in office.
    pub(super) fn end(&self) -> Option<Arc<Inbox>> {
        let mut state = self.state.lock();
        if state.stage != Stage::Running {
            if state.stage == Stage::Idle {
                // There is nothing to tell, but who waits for it to begin.
                state.stage = Stage::Stopping;
                self.changed.notify_all();
                self.voice.hang_up();
            }
            return None;
        }
        let before = Numbers::of(&state.machine);
        state.stage = Stage::Stopping;
        let now = self.env.clock().now();
        let office = state.office.take();
        let look = office.as_ref().and_then(|office| office.look);
        let stuck = look.filter(|look| !look.timed_out).map(|look| (look.idx, look.begun));
        if let Some((idx, _)) = stuck {
            // Nobody waits for what it finds.
            let _ = state.places[idx].give_up();
        }
        state.machine.stop(now, stuck);
        self.tell(&mut state, EventKind::Stopped);
        self.voice.hang_up();
        let inbox = office.as_ref().map(|office| office.inbox.clone());
        state.retired.extend(office);
        self.note(state, before);
        inbox
    }

    /// Asks it to end. The first half of a stop: a `join` must follow.
    pub(in crate::monitor) fn cancel(&self) {
        let run = {
            let mut state = self.state.lock();
            state.stops += 1;
            state.run.clone()
        };
        let inbox = self.end();
        if let Some(inbox) = inbox {
            inbox.ring(Signals::CANCEL);
        }
        run.cancel();
    }

    /// The second half of a stop: waits for what was told to end.
    pub(in crate::monitor) fn join(&self, deadlines: StopDeadlines) -> StopReport {
        let mut report = StopReport::default();
        let tasks: Vec<(u64, Task)> = {
            let state = self.state.lock();
            state.retired.iter().map(|office| (office.id, office.task.clone())).collect()
        };
        let own_look = tasks.iter().any(|(_, task)| task.is_current());
        if own_look {
            let context = format!("{}: stop from one of its own checkers only cancels", self.name);
            report.add_error(Error::new(ErrorKind::InvalidState).context(context));
        } else {
            for (id, task) in tasks {
                self.join_one(id, &task, deadlines, &mut report);
            }
            self.voice.close(deadlines.all, &mut report);
        }
        let mut state = self.state.lock();
        state.retired.retain(|office| !office.task.has_ended());
        state.stops -= 1;
        state.waited |= !own_look;
        report
    }

    fn join_one(&self, id: u64, task: &Task, deadlines: StopDeadlines, report: &mut StopReport) {
        let mut exit = task.join_watched(deadlines.calls);
        let look = |state: &mut State| state.office_of(id).and_then(|office| office.look);
        if exit.is_none() && look(&mut self.state.lock()).is_none() {
            // In no look, and none begins: it only has to be scheduled.
            exit = task.join_until(deadlines.all);
        }
        match exit {
            Some(Exit::Returned) => {}
            Some(Exit::Panicked(error)) => report.add_error(error),
            None if task.has_ended() => {}
            None => {
                let mut state = self.state.lock();
                let now = self.env.clock().now();
                let (name, phase, doing, stuck_for) = match look(&mut state) {
                    Some(look) => {
                        let checker = &state.machine.about(look.idx).name;
                        let doing = state.places[look.idx].steps.current().map(|(_, text)| text);
                        (format!("{}/{checker}", self.name), "its check", doing, now.since(look.begun))
                    }
                    None => (self.name.to_string(), "its end", None, Duration::ZERO),
                };
                drop(state);
                let straggler = Straggler::new(name, task, phase, stuck_for);
                report.add_straggler(straggler.doing(doing));
            }
        }
    }

    /// Whether a stop has waited for the threads already.
    pub(in crate::monitor) fn was_waited_for(&self) -> bool {
        self.state.lock().waited
    }

    /// Gives up the checkers, so that they are dropped here.
    pub(in crate::monitor) fn close(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        let checkers: Vec<_> = state.places.iter_mut().filter_map(|place| place.checker.take()).collect();
        drop(state);
        for checker in checkers {
            // One that panics must not take the others with it.
            let _ = caught(|| drop(checker));
        }
    }

    /// Blocks until it has ended, or until `deadline`; says whether it has.
    pub(in crate::monitor) fn wait_until(&self, deadline: Instant) -> bool {
        let mut state = self.state.lock();
        while state.stage == Stage::Running && !state.is_inside() {
            let (guard, timed_out) = self.changed.wait_until(state, deadline);
            state = guard;
            if timed_out {
                break;
            }
        }
        if state.stage == Stage::Running {
            return false;
        }
        let tasks: Vec<Task> = state.retired.iter().map(|office| office.task.clone()).collect();
        drop(state);
        // One's own end cannot be waited for.
        tasks.iter().all(|task| task.is_current() || task.join_until(deadline).is_some())
    }
}
