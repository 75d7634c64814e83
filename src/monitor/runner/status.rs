//! What a monitor says of itself.

use std::sync::Arc;
use std::time::Duration;

use super::{Look, Place, Shared, Stage, State};
use crate::clock::{Tick, wall_at};
use crate::env::Listed;
use crate::event::{Health, LoopKind};
use crate::name::Name;
use crate::stamp::Stamp;
use crate::status::{CallStatus, LoopStatus, ThreadStatus, is_stale};

impl Shared {
    pub(in crate::monitor) fn status(&self) -> (bool, LoopStatus) {
        self.status_at(self.env.clock().now(), self.env.stamp())
    }

    /// As one sees it who asks at that moment.
    fn status_at(&self, now: Tick, wall: Stamp) -> (bool, LoopStatus) {
        let lost = self.voice.lost();
        let state = self.state.lock();
        let record = state.machine.record();
        let (health, mut monitor) = state.machine.view(now, wall);
        let stamp = |tick: Tick| wall_at(tick, now, wall);
        let is_running = state.stage == Stage::Running;
        let look = state.office.as_ref().and_then(|office| office.look);
        let next_run = (is_running && look.is_none() && record.due != Tick::NEVER).then(|| stamp(record.due));
        let task = state.office.as_ref().map(|office| &office.task).filter(|task| !task.has_ended());
        let totals = state.machine.totals();
        // Looked at below: that reads files.
        let mut stuck = Vec::new();
        for office in state.office.iter().chain(&state.retired) {
            let Some(look) = office.look.filter(|look| look.timed_out) else { continue };
            let name = &state.machine.about(look.idx).name;
            let Some(checker) = monitor.checkers.iter().position(|checker| checker.name == *name) else {
                continue;
            };
            let (since, phase) = state.places[look.idx].present(look);
            let deadline = state.deadline_of(look);
            let call = CallStatus {
                phase,
                phase_for: now.since(since),
                deadline: CallStatus::deadline_at(deadline, now, wall),
                stuck: true,
                activity: None,
            };
            stuck.push((checker, call, office.task.clone()));
        }
        // A look that hangs has a verdict of its own.
        let late_by = state.overdue(now).filter(|_| look.is_none());
        let apart = record.last_check.map_or(Duration::ZERO, |last| record.due.since(last));
        let stale = late_by.is_some_and(|late_by| is_stale(late_by, apart));
        let critical = state.machine.is_critical();
        let mut status = LoopStatus {
            health,
            ready: matches!(health, Health::Ready | Health::Degraded) && !stale,
            stale,
            last_error: monitor.worst().map(ToString::to_string),
            next_run,
            runs: state.looks,
            panics: totals.panics,
            timeouts: totals.timeouts,
            late: state.late,
            running_for: look.map(|look| now.since(look.begun)),
            overdue_for: state.overdue(now),
            call: look.map(|look| {
                let checker = &state.machine.about(look.idx).name;
                let (since, phase) = state.places[look.idx].present(look);
                let phase = format!("{checker}: {phase}").into();
                let deadline = state.deadline_of(look);
                CallStatus {
                    phase,
                    phase_for: now.since(since),
                    deadline: CallStatus::deadline_at(deadline, now, wall),
                    stuck: now > deadline,
                    activity: None,
                }
            }),
            thread: task.map(ThreadStatus::of),
            lost_callbacks: lost.coalesced + lost.dropped,
            ..LoopStatus::of(&record.view(&self.name, LoopKind::Monitor, critical, now, wall))
        };
        drop(state);
        for (checker, mut call, task) in stuck {
            call.activity = task.look();
            let checker = &mut monitor.checkers[checker];
            checker.call = Some(call);
            checker.thread = Some(ThreadStatus::of(&task));
        }
        status.monitor = Some(Box::new(monitor));
        (is_running, status)
    }
}

impl State {
    fn deadline_of(&self, look: Look) -> Tick {
        look.begun + self.machine.about(look.idx).deadline
    }

    /// For how long the present look is past its deadline, or the next pass
    /// past its due.
    fn overdue(&self, now: Tick) -> Option<Duration> {
        let due = self.machine.record().due;
        match self.office.as_ref().and_then(|office| office.look) {
            Some(look) => {
                let deadline = self.deadline_of(look);
                (now > deadline).then(|| now.since(deadline))
            }
            None => (self.stage == Stage::Running && now > due).then(|| now.since(due)),
        }
    }
}

impl Place {
    /// Since when its look does what it says it is doing.
    fn present(&self, look: Look) -> (Tick, Arc<str>) {
        self.steps.current().unwrap_or_else(|| (look.begun, CallStatus::SILENT.into()))
    }
}

impl Listed for Shared {
    fn status_at(&self, now: Tick, wall: Stamp) -> (bool, LoopStatus) {
        self.status_at(now, wall)
    }

    #[cfg(feature = "capi")]
    fn kind(&self) -> LoopKind {
        LoopKind::Monitor
    }

    fn overdue(&self, now: Tick) -> Option<Duration> {
        let state = self.state.lock();
        (state.stage == Stage::Running).then(|| state.overdue(now).unwrap_or_default())
    }

    fn name(&self) -> &Name {
        &self.name
    }

    fn trigger(&self) -> bool {
        let is_running = self.is_running();
        self.poke();
        is_running
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use super::*;
    use crate::component::Context;
    use crate::env::Env;
    use crate::monitor::{Monitor, MonitorConfig, Report, Verdict};
    use crate::{BoxError, ManualClock};

    #[test]
    fn a_monitor_that_makes_no_pass_is_stale_and_not_ready() {
        let clock = ManualClock::default();
        let env = Env::manual(&clock).expect("a thread");
        let period = Duration::from_secs(30);
        let well = |_: &Context, _: &Report| -> Result<Verdict, BoxError> { Ok(Verdict::Ready) };
        let config = MonitorConfig::new("m").poll_period(period).stale_after(Duration::from_secs(7200));
        let monitor = Monitor::start_in(&env, config.check("a", well)).expect("a thread");
        clock.settle();
        let (now, wall) = (clock.now(), env.stamp());
        for (late, is_stale) in [(0, false), (29, false), (31, true), (3600, true)] {
            // As one sees it whose thread has not had its turn by then.
            let age = period + Duration::from_secs(late);
            let (_, status) = monitor.shared.status_at(now + age, wall);
            let overdue = (late > 0).then(|| Duration::from_secs(late));
            assert_eq!((status.age, status.overdue_for), (Some(age), overdue), "{late}");
            assert_eq!((status.health, status.stale), (Health::Ready, is_stale), "{late}");
            assert_eq!(status.ready, !is_stale, "{late}");
        }
        assert!(monitor.stop(Duration::from_secs(1)).is_clean());
    }
}
