//! What a loop says of itself, to who asks and in the report of a stop.

use std::time::Duration;

use super::{Decide, Machine, Source, Stage, State};
use crate::clock::{Signals, Tick, wall_at};
use crate::env::Listed;
use crate::error::Error;
use crate::event::Health;
use crate::name::Name;
use crate::slot::Phase;
use crate::stamp::Stamp;
use crate::status::{CallStatus, LoopStatus, ThreadStatus, is_stale};
use crate::thread::{Activity, Looks, Straggler, Task};

impl Source {
    pub(super) fn straggler(&self, task: &Task) -> Option<Straggler> {
        if task.has_ended() {
            return None;
        }
        let activity = self.look(task.tid());
        let state = self.state.lock();
        let now = self.env.clock().now();
        let (phase, doing, stuck_for) = match &state.call {
            Some(call) => ("its call", self.steps.current(), now.since(call.begun)),
            None => ("its end", None, Duration::ZERO),
        };
        drop(state);
        let straggler = Straggler::new(self.name.as_str(), task, phase, stuck_for);
        Some(straggler.doing(doing.map(|(_, text)| text)).seen(activity))
    }

    /// Looks what the thread of the present call does, as the kernel sees it.
    /// Reads a file, so with no lock that others wait for.
    pub(super) fn look(&self, tid: u32) -> Option<Activity> {
        let generation = self.slot.state().generation();
        let mut looks = self.looks.lock();
        if looks.0 != generation {
            *looks = (generation, Looks::default());
        }
        looks.1.look(tid)
    }

    /// Whether it runs, and how it is.
    pub(super) fn status(&self) -> (bool, LoopStatus) {
        self.status_at(self.env.clock().now(), self.env.stamp())
    }

    /// The same for one who asks many loops at one moment.
    pub(super) fn status_at(&self, now: Tick, wall: Stamp) -> (bool, LoopStatus) {
        self.tell_status(now, wall, None)
    }

    /// The same, lean when there is somebody who takes the error.
    pub(super) fn tell_status(
        &self,
        now: Tick,
        wall: Stamp,
        take_error: Option<&mut dyn FnMut(&Error)>,
    ) -> (bool, LoopStatus) {
        let is_lean = take_error.is_some();
        let thread = {
            let task = self.task.lock();
            let running = task.as_ref().filter(|task| !task.has_ended());
            running.map(|task| match is_lean {
                true => ThreadStatus { name: String::new(), tid: task.tid() },
                false => ThreadStatus::of(task),
            })
        };
        let is_stuck = self.slot.state().phase() == Phase::Overdue;
        let activity = thread.as_ref().filter(|_| is_stuck).and_then(|thread| self.look(thread.tid));
        let lost = self.voice.lost();
        let state = self.state.lock();
        let record = state.machine.record();
        let due = record.due;
        let running = state.stage == Stage::Running;
        let overdue = state.overdue(now);
        // A call that hangs has a verdict of its own.
        let late_by = overdue.filter(|_| state.call.is_none());
        let apart = record.last_check.map_or(Duration::ZERO, |last| due.since(last));
        let stale = late_by.is_some_and(|late_by| is_stale(late_by, apart));
        let next_run = running && state.call.is_none() && due != Tick::NEVER;
        let last_error = match (take_error, &record.last_error) {
            (Some(take_error), Some(error)) => {
                take_error(error);
                None
            }
            (_, error) => error.as_ref().map(|error| error.report().to_string()),
        };
        let mut status = LoopStatus {
            ready: record.health == Health::Ready && !stale,
            stale,
            last_error,
            next_run: next_run.then(|| wall_at(due, now, wall)),
            runs: state.runs,
            panics: state.panics,
            timeouts: state.timeouts,
            late: state.late,
            running_for: state.call.as_ref().map(|call| now.since(call.begun)),
            overdue_for: overdue,
            call: state.call.as_ref().map(|call| {
                let (since, phase) =
                    self.steps.current().unwrap_or_else(|| (call.begun, CallStatus::SILENT.into()));
                let stuck = overdue.is_some();
                CallStatus { phase, phase_for: now.since(since), stuck, activity: activity.filter(|_| stuck) }
            }),
            thread,
            lost_callbacks: lost.coalesced + lost.dropped,
            ..record.status(self.name.clone(), self.kind, state.machine.is_critical(), now, wall)
        };
        state.machine.detail(wall, &mut status);
        (running, status)
    }
}

impl State<dyn Decide> {
    /// For how long the present call is past its deadline, or the next one
    /// past its due.
    fn overdue(&self, now: Tick) -> Option<Duration> {
        let due = self.machine.record().due;
        match &self.call {
            Some(call) if call.timed_out || now > call.deadline => {
                Some(now.since(call.begun + self.machine.timeout()))
            }
            None if self.stage == Stage::Running && now > due => Some(now.since(due)),
            _ => None,
        }
    }
}

impl Source {
    /// How late it is, if it runs.
    fn overdue(&self, now: Tick) -> Option<Duration> {
        let state = self.state.lock();
        let is_running = state.stage == Stage::Running;
        is_running.then(|| state.overdue(now).unwrap_or_default())
    }

    /// Has the next run made now, if it runs; says whether it does.
    fn trigger(&self) -> bool {
        let is_running = self.state.lock().stage == Stage::Running;
        if is_running {
            self.inbox.ring(Signals::POKE);
        }
        is_running
    }
}

impl<M: Machine> Listed for Source<M> {
    fn status(&self) -> (bool, LoopStatus) {
        self.any().status()
    }

    fn overdue(&self, now: Tick) -> Option<Duration> {
        self.any().overdue(now)
    }

    fn name(&self) -> &Name {
        &self.name
    }

    fn trigger(&self) -> bool {
        self.any().trigger()
    }
}
