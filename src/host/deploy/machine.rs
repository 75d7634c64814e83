//! When a deployer looks at its folder, and what it says of itself: without
//! threads or clocks.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::Tick;
use crate::error::{Error, ErrorKind};
use crate::event::{EventKind, Health};
use crate::looper::{Input, Machine};
use crate::name::Name;
use crate::primitive::Mutex;
use crate::record::Record;
use crate::schedule::Schedule;
use crate::status::Phase;

/// What one turn of a deployer found.
#[derive(Debug, Clone)]
pub(super) struct Report {
    /// Whether the folder was read, and why it could not be; `None` when only
    /// answers were taken in.
    pub(super) scanned: Option<Result<(), Error>>,
    /// Why the first of the rejected files is.
    pub(super) rejection: Option<Error>,
    /// When there is something to try again.
    pub(super) again: Tick,
    /// The time between looks from now on.
    pub(super) interval: Duration,
}

/// The events that a turn leaves to be told. They are no part of its answer,
/// because they stay true when that comes too late.
pub(super) type Outbox = Arc<Mutex<Vec<EventKind>>>;

pub(super) struct DeployMachine {
    name: Name,
    interval: Duration,
    timeout: Duration,
    spread: bool,
    critical: bool,
    outbox: Outbox,
    schedule: Option<Schedule>,
    record: Record,
}

impl DeployMachine {
    pub(super) fn new(
        name: Name,
        (interval, timeout): (Duration, Duration),
        spread: bool,
        critical: bool,
        outbox: Outbox,
    ) -> Self {
        Self { name, interval, timeout, spread, critical, outbox, schedule: None, record: Record::default() }
    }

    fn fail(&mut self, now: Tick, error: Error, events: &mut Vec<EventKind>) {
        self.record.fail(error.clone());
        self.record.turn_down(now, &error, events);
    }

    fn take(&mut self, now: Tick, report: Report, took: Duration, events: &mut Vec<EventKind>) {
        let folder = match report.scanned {
            None if self.record.health == Health::Down => return,
            None => Ok(()),
            Some(folder) => {
                self.record.last_check = Some(now);
                self.record.attempt = self.record.attempt.saturating_add(1);
                self.record.latency = Some(took);
                folder
            }
        };
        if let Err(error) = folder {
            self.fail(now, error, events);
            return;
        }
        self.record.succeed(now);
        if report.rejection.is_some() {
            self.record.turn(Health::Degraded, now);
        } else {
            self.record.turn_ready(now, self.record.attempt, took, events);
        }
        self.record.last_error = report.rejection;
        self.record.phase = Phase::Polling;
        self.record.attempt = 0;
    }

    /// Decides when the next turn is due: at the next regular moment, or before
    /// it. The grid begins with the first turn.
    fn schedule(&mut self, now: Tick, again: Tick) {
        let schedule = self.schedule.get_or_insert_with(|| {
            if self.spread {
                Schedule::spread(now, self.interval, self.name.as_str())
            } else {
                Schedule::from_now(now, self.interval)
            }
        });
        let (regular, missed) = schedule.next(self.record.due, now);
        self.record.missed += missed;
        self.record.due = regular.min(again.max(now));
    }
}

impl Machine for DeployMachine {
    type Output = Report;

    fn start(&mut self, now: Tick) {
        self.schedule = None;
        self.record.start(now, Phase::Starting);
    }

    fn step(&mut self, now: Tick, input: Input<Report>, events: &mut Vec<EventKind>) {
        events.append(&mut self.outbox.lock());
        match input {
            Input::Returned { result: Ok(report), took } => {
                let again = report.again;
                if report.interval != self.interval {
                    self.interval = report.interval;
                    self.schedule = None;
                }
                self.take(now, report, took, events);
                self.schedule(now, again);
            }
            Input::Returned { result: Err(error), .. } => {
                self.record.last_check = Some(now);
                self.fail(now, error, events);
                self.schedule(now, Tick::NEVER);
            }
            Input::TimedOut { .. } => {
                let context = format!("the scan takes longer than {:?}", self.timeout);
                self.fail(now, Error::new(ErrorKind::Timeout).context(context), events);
            }
            Input::Late => self.schedule(now, Tick::NEVER),
            Input::Poked => self.record.due = now,
        }
    }

    fn timeout(&self) -> Duration {
        self.timeout
    }

    fn counts_timeouts(&self) -> bool {
        self.record.health != Health::Down
    }

    fn is_critical(&self) -> bool {
        self.critical
    }

    fn record(&self) -> &Record {
        &self.record
    }

    fn record_mut(&mut self) -> &mut Record {
        &mut self.record
    }
}
