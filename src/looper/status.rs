//! What a loop says of itself, to who asks and in the report of a stop.

use std::fmt;
use std::time::Duration;

use super::machine::{Decide, Machine};
use super::source::{Source, Stage, State};
use crate::clock::{Signals, Tick, wall_at};
use crate::env::Listed;
#[cfg(feature = "capi")]
use crate::env::See;
use crate::error::Error;
use crate::event::Health;
#[cfg(feature = "capi")]
use crate::event::LoopKind;
use crate::name::Name;
use crate::slot::Phase;
use crate::stamp::Stamp;
use crate::status::{CallStatus, LoopStatus, StatusView, ThreadStatus, is_stale};
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
        let thread = self.thread(ThreadStatus::of);
        let tid = thread.as_ref().map(|thread| thread.tid);
        self.look_at(tid, now, wall, |state, view| {
            let mut status = LoopStatus::of(view);
            status.thread = thread;
            state.machine.detail(wall, &mut status);
            (state.stage == Stage::Running, status)
        })
    }

    /// The same for one who copies what there is to see.
    #[cfg(feature = "capi")]
    pub(super) fn view_at(&self, now: Tick, wall: Stamp, see: See<'_>) {
        self.look_at(self.thread(Task::tid), now, wall, |state, view| {
            see(state.stage == Stage::Running, view);
        });
    }

    /// Its thread, while it runs.
    fn thread<T>(&self, of: impl FnOnce(&Task) -> T) -> Option<T> {
        self.task.lock().as_ref().filter(|task| !task.has_ended()).map(of)
    }

    /// Has somebody see how it is, under its lock.
    fn look_at<R>(
        &self,
        tid: Option<u32>,
        now: Tick,
        wall: Stamp,
        see: impl FnOnce(&State<dyn Decide>, &StatusView<'_>) -> R,
    ) -> R {
        let is_stuck = self.slot.state().phase() == Phase::Overdue;
        let activity = tid.filter(|_| is_stuck).and_then(|tid| self.look(tid));
        let lost = self.voice.lost();
        let state = self.state.lock();
        let record = state.machine.record();
        let due = record.due;
        let overdue = state.overdue(now);
        // A call that hangs has a verdict of its own.
        let late_by = overdue.filter(|_| state.call.is_none());
        let apart = record.last_check.map_or(Duration::ZERO, |last| due.since(last));
        let stale = late_by.is_some_and(|late_by| is_stale(late_by, apart));
        let next_run = state.stage == Stage::Running && state.call.is_none() && due != Tick::NEVER;
        let call = state.call.as_ref().map(|call| {
            let (since, phase) =
                self.steps.current().unwrap_or_else(|| (call.begun, CallStatus::SILENT.into()));
            let stuck = overdue.is_some();
            CallStatus {
                phase,
                phase_for: now.since(since),
                deadline: CallStatus::deadline_at(call.begun + state.machine.timeout(), now, wall),
                stuck,
                activity: activity.filter(|_| stuck),
            }
        });
        let report = record.last_error.as_ref().map(Error::report);
        // Changed in place: a struct of this size is not moved for nothing.
        let mut view = record.view(&self.name, self.kind, state.machine.is_critical(), now, wall);
        view.ready = record.health == Health::Ready && !stale;
        view.stale = stale;
        view.last_error = report.as_ref().map(|report| report as &dyn fmt::Display);
        view.next_run = next_run.then(|| wall_at(due, now, wall));
        view.runs = state.runs;
        view.panics = state.panics;
        view.timeouts = state.timeouts;
        view.late = state.late;
        view.running_for = state.call.as_ref().map(|call| now.since(call.begun));
        view.overdue_for = overdue;
        view.call = call.as_ref();
        view.tid = tid;
        view.lost_callbacks = lost.coalesced + lost.dropped;
        see(&state, &view)
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
    fn status_at(&self, now: Tick, wall: Stamp) -> (bool, LoopStatus) {
        self.any().status_at(now, wall)
    }

    #[cfg(feature = "capi")]
    fn view_at(&self, now: Tick, wall: Stamp, see: See<'_>) {
        self.any().view_at(now, wall, see);
    }

    #[cfg(feature = "capi")]
    fn kind(&self) -> LoopKind {
        self.kind
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
