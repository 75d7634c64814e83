//! The books of a loop's machine: what came of its calls, and when the next
//! is due. Every machine keeps one and every status is read from it.

use std::time::Duration;

use crate::clock::{Tick, wall_at};
use crate::error::Error;
use crate::event::{EventKind, Health, LoopKind};
use crate::name::Name;
use crate::schedule::Schedule;
use crate::stamp::Stamp;
use crate::status::{Phase, StatusView};

/// What a machine keeps of its calls.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) health: Health,
    pub(crate) phase: Phase,
    /// Since when the health is what it is.
    pub(crate) since: Tick,
    /// When the next call is due.
    pub(crate) due: Tick,
    pub(crate) attempt: u32,
    pub(crate) failures_in_a_row: u32,
    pub(crate) last_check: Option<Tick>,
    pub(crate) last_success: Option<Tick>,
    pub(crate) last_error: Option<Error>,
    pub(crate) latency: Option<Duration>,
    pub(crate) failures: u64,
    pub(crate) missed: u64,
    pub(crate) transitions: u64,
    pub(crate) results: Results,
}

/// How the runs of a loop ended whose runs do work, and on how much.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Results {
    pub(crate) successes: u64,
    pub(crate) errors: u64,
    pub(crate) timeouts: u64,
    pub(crate) panics: u64,
    pub(crate) items: u64,
}

impl Default for Record {
    fn default() -> Self {
        Self {
            health: Health::Unknown,
            phase: Phase::Stopped,
            since: Tick::ZERO,
            due: Tick::NEVER,
            attempt: 0,
            failures_in_a_row: 0,
            last_check: None,
            last_success: None,
            last_error: None,
            latency: None,
            failures: 0,
            missed: 0,
            transitions: 0,
            results: Results::default(),
        }
    }
}

impl Record {
    /// Begins anew, with a call that is due now. The totals go on.
    pub(crate) fn start(&mut self, now: Tick, phase: Phase) {
        let Self { failures, missed, transitions, results, .. } = *self;
        let totals = Self { failures, missed, transitions, results, ..Self::default() };
        *self = Self { phase, since: now, due: now, ..totals };
    }

    /// Nothing is known any more, and nothing is due.
    pub(crate) fn stop(&mut self, now: Tick) {
        self.phase = Phase::Stopped;
        self.due = Tick::NEVER;
        self.turn(Health::Unknown, now);
    }

    /// Changes the health and gives back the old one.
    pub(crate) fn turn(&mut self, health: Health, now: Tick) -> Health {
        if self.health != health {
            self.transitions += 1;
            self.since = now;
        }
        std::mem::replace(&mut self.health, health)
    }

    /// Turns ready, and tells it when that is new.
    pub(crate) fn turn_ready(
        &mut self,
        now: Tick,
        attempt: u32,
        latency: Duration,
        events: &mut Vec<EventKind>,
    ) {
        let from = self.turn(Health::Ready, now);
        if from != Health::Ready {
            events.push(EventKind::Ready { from, attempt, latency });
        }
    }

    /// Turns down, and tells it when that is new.
    pub(crate) fn turn_down(&mut self, now: Tick, error: &Error, events: &mut Vec<EventKind>) {
        let from = self.turn(Health::Down, now);
        if from != Health::Down {
            let failures = self.failures_in_a_row;
            events.push(EventKind::Down { from, error: error.clone(), failures });
        }
    }

    /// Counts a failure, and keeps why.
    pub(crate) fn fail(&mut self, error: Error) {
        self.failures += 1;
        self.failures_in_a_row = self.failures_in_a_row.saturating_add(1);
        self.last_error = Some(error);
    }

    /// Counts a success.
    pub(crate) fn succeed(&mut self, now: Tick) {
        self.last_success = Some(now);
        self.last_error = None;
        self.failures_in_a_row = 0;
    }

    /// What it has to say of a loop at one moment.
    pub(crate) fn view<'a>(
        &'a self,
        name: &'a Name,
        kind: LoopKind,
        critical: bool,
        now: Tick,
        wall: Stamp,
    ) -> StatusView<'a> {
        let stamp = |tick: Tick| wall_at(tick, now, wall);
        StatusView {
            last_check: self.last_check.map(stamp),
            age: self.last_check.map(|last| now.since(last)),
            last_success: self.last_success.map(stamp),
            consecutive_failures: self.failures_in_a_row,
            attempt: self.attempt,
            latency: self.latency,
            failures: self.failures,
            missed: self.missed,
            transitions: self.transitions,
            ..StatusView::new(name, kind, critical, self.health, self.phase, stamp(self.since))
        }
    }

    /// The next call is due at the next regular moment; those passed over
    /// since the last due are counted.
    pub(crate) fn wait_for(&mut self, schedule: &Schedule, now: Tick) {
        let (due, missed) = schedule.next(self.due.min(now), now);
        self.due = due;
        self.missed += missed;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    fn at(seconds: u64) -> Tick {
        Tick::ZERO + Duration::from_secs(seconds)
    }

    #[test]
    fn a_new_start_forgets_all_but_the_totals() {
        let mut record = Record::default();
        record.start(at(1), Phase::Starting);
        assert_eq!((record.due, record.since, record.health), (at(1), at(1), Health::Unknown));
        let mut events = Vec::new();
        record.fail(Error::new(ErrorKind::Probe));
        record.turn_down(at(2), &Error::new(ErrorKind::Probe), &mut events);
        record.turn_down(at(3), &Error::new(ErrorKind::Probe), &mut events);
        record.wait_for(&Schedule::from_now(at(0), Duration::from_secs(10)), at(25));
        record.stop(at(30));
        record.stop(at(31));
        let words: Vec<_> = events.iter().map(EventKind::as_str).collect();
        assert_eq!(words, ["down"]);
        assert_eq!((record.due, record.since, record.transitions), (Tick::NEVER, at(30), 2));
        record.start(at(40), Phase::Polling);
        assert_eq!((record.failures, record.missed, record.transitions), (1, 2, 2));
        assert_eq!((record.failures_in_a_row, record.due), (0, at(40)));
        assert!(record.last_error.is_none());
    }
}
