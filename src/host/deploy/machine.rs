//! When a deployer looks at its folder, and what it says of itself: without
//! threads or clocks.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::Tick;
use crate::error::{Error, ErrorKind};
use crate::event::{EventKind, Health};
use crate::looper::{Input, Machine, View};
use crate::name::Name;
use crate::primitive::Mutex;
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
    due: Tick,
    phase: Phase,
    health: Health,
    since: Tick,
    last_check: Option<Tick>,
    last_success: Option<Tick>,
    last_error: Option<Error>,
    latency: Option<Duration>,
    failures_in_a_row: u32,
    attempt: u32,
    failures: u64,
    missed: u64,
    transitions: u64,
}

impl DeployMachine {
    pub(super) fn new(
        name: Name,
        (interval, timeout): (Duration, Duration),
        spread: bool,
        critical: bool,
        outbox: Outbox,
    ) -> Self {
        Self {
            name,
            interval,
            timeout,
            spread,
            critical,
            outbox,
            schedule: None,
            due: Tick::NEVER,
            phase: Phase::Stopped,
            health: Health::Unknown,
            since: Tick::ZERO,
            last_check: None,
            last_success: None,
            last_error: None,
            latency: None,
            failures_in_a_row: 0,
            attempt: 0,
            failures: 0,
            missed: 0,
            transitions: 0,
        }
    }

    fn turn(&mut self, health: Health, now: Tick) -> Health {
        if self.health != health {
            self.transitions += 1;
            self.since = now;
        }
        std::mem::replace(&mut self.health, health)
    }

    fn fail(&mut self, now: Tick, error: Error, events: &mut Vec<EventKind>) {
        self.failures += 1;
        self.failures_in_a_row = self.failures_in_a_row.saturating_add(1);
        self.last_error = Some(error.clone());
        let from = self.turn(Health::Down, now);
        if from != Health::Down {
            events.push(EventKind::Down { from, error, failures: self.failures_in_a_row });
        }
    }

    fn take(&mut self, now: Tick, report: Report, took: Duration, events: &mut Vec<EventKind>) {
        let folder = match report.scanned {
            None if self.health == Health::Down => return,
            None => Ok(()),
            Some(folder) => {
                self.last_check = Some(now);
                self.attempt = self.attempt.saturating_add(1);
                self.latency = Some(took);
                folder
            }
        };
        if let Err(error) = folder {
            self.fail(now, error, events);
            return;
        }
        self.last_success = Some(now);
        self.failures_in_a_row = 0;
        let health = if report.rejection.is_some() { Health::Degraded } else { Health::Ready };
        self.last_error = report.rejection;
        let attempt = self.attempt;
        let from = self.turn(health, now);
        if health == Health::Ready && from != health {
            events.push(EventKind::Ready { from, attempt, latency: took });
        }
        self.phase = Phase::Polling;
        self.attempt = 0;
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
        let (regular, missed) = schedule.next(self.due, now);
        self.missed += missed;
        self.due = regular.min(again.max(now));
    }
}

impl Machine for DeployMachine {
    type Output = Report;

    fn start(&mut self, now: Tick) {
        self.schedule = None;
        self.due = now;
        self.phase = Phase::Starting;
        self.health = Health::Unknown;
        self.since = now;
        self.attempt = 0;
        self.failures_in_a_row = 0;
        self.last_error = None;
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
                self.last_check = Some(now);
                self.fail(now, error, events);
                self.schedule(now, Tick::NEVER);
            }
            Input::TimedOut { .. } => {
                let context = format!("the scan takes longer than {:?}", self.timeout);
                self.fail(now, Error::new(ErrorKind::Timeout).context(context), events);
            }
            Input::Late => self.schedule(now, Tick::NEVER),
            Input::Poked => self.due = now,
        }
    }

    fn stop(&mut self, now: Tick) {
        self.turn(Health::Unknown, now);
        self.phase = Phase::Stopped;
        self.due = Tick::NEVER;
    }

    fn due(&self) -> Tick {
        self.due
    }

    fn timeout(&self) -> Duration {
        self.timeout
    }

    fn counts_timeouts(&self) -> bool {
        self.health != Health::Down
    }

    fn view(&self) -> View<'_> {
        View {
            health: self.health,
            phase: self.phase,
            since: self.since,
            last_check: self.last_check,
            last_success: self.last_success,
            last_error: self.last_error.as_ref(),
            consecutive_failures: self.failures_in_a_row,
            attempt: self.attempt,
            failures: self.failures,
            latency: self.latency,
            missed: self.missed,
            transitions: self.transitions,
            critical: self.critical,
        }
    }
}
