//! What a monitor decides, without threads or clocks: which checker is next,
//! when the next pass is due, and in which state everything is.

mod checker;

use std::sync::Arc;
use std::time::Duration;

pub(super) use self::checker::Checked;
use self::checker::Checker;
use super::Verdict;
use super::items::{problem, tally};
use super::report::Found;
use crate::clock::Tick;
use crate::duration;
use crate::error::{Error, ErrorClass, clip};
use crate::event::{EventKind, Health};
use crate::name::Name;
use crate::record::Record;
use crate::schedule::Schedule;
use crate::stamp::Stamp;
use crate::status::{CheckCounts, CheckerStatus, MonitorStatus, Phase, Tally, severity};

/// The longest reason, in bytes.
const MAX_REASON: usize = 1024;

/// The settings a machine goes by, checked.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub(super) poll_period: Duration,
    pub(super) critical: bool,
    pub(super) spread: bool,
    pub(super) principal: Option<Arc<str>>,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// The checker is to look now.
    Call(usize),
    /// Nothing until then.
    Wait(Tick),
}

/// How a look ended, as it is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    Success,
    Error,
    Timeout,
    Panic,
    /// It gave up by itself: nothing is learnt.
    Nothing,
}

pub(super) struct MonitorMachine {
    name: Name,
    settings: Settings,
    record: Record,
    schedule: Option<Schedule>,
    checkers: Vec<Checker>,
    /// How many checkers are in which state.
    tally: Tally,
    pass: Option<Pass>,
    /// Another pass is to follow the present one at once.
    again: bool,
    passes: u64,
}

#[derive(Debug, Clone, Copy)]
struct Pass {
    begun: Tick,
    next: usize,
}

impl MonitorMachine {
    pub(super) fn new(name: Name, settings: Settings, checkers: Vec<Checked>) -> Self {
        let checkers: Vec<Checker> = checkers.into_iter().map(Checker::new).collect();
        let tally = unknown(checkers.len());
        let record = Record::default();
        Self { name, settings, record, schedule: None, checkers, tally, pass: None, again: false, passes: 0 }
    }

    /// Begins, for the first time or after a stop: the first pass is due now.
    /// A look that is stuck stays so.
    pub(super) fn start(&mut self, now: Tick) {
        self.forget(now);
        self.checkers.iter_mut().for_each(|checker| checker.since = now);
        self.record.start(now, Phase::Starting);
        let period = self.settings.poll_period;
        self.schedule = Some(if self.settings.spread {
            Schedule::spread(now, period, self.name.as_str())
        } else {
            Schedule::from_now(now, period)
        });
        if self.checkers.is_empty() {
            self.record.due = Tick::NEVER;
        }
    }

    /// The monitor was told to end: nothing is known any more. `at` is the
    /// checker whose look goes on, and since when.
    pub(super) fn stop(&mut self, now: Tick, at: Option<(usize, Tick)>) {
        if let Some((idx, begun)) = at {
            self.checkers[idx].stuck_since = Some(begun);
        }
        self.forget(now);
        self.record.stop(now);
    }

    fn forget(&mut self, now: Tick) {
        (self.pass, self.again) = (None, false);
        self.tally = unknown(self.checkers.len());
        for checker in &mut self.checkers {
            if checker.health != Health::Unknown {
                (checker.health, checker.since) = (Health::Unknown, now);
            }
            (checker.looked, checker.succeeded) = (None, None);
            (checker.error, checker.reason) = (None, None);
            checker.items.clear();
        }
    }

    /// Decides what is next.
    pub(super) fn turn(&mut self, now: Tick, events: &mut Vec<EventKind>) -> Turn {
        loop {
            let Some(pass) = &mut self.pass else {
                if now < self.record.due {
                    return Turn::Wait(self.record.due);
                }
                self.passes += 1;
                self.pass = Some(Pass { begun: now, next: 0 });
                continue;
            };
            let idx = pass.next;
            let Some(checker) = self.checkers.get_mut(idx) else {
                self.end_pass(now, events);
                continue;
            };
            pass.next += 1;
            if checker.stuck_since.is_none() {
                return Turn::Call(idx);
            }
            checker.counts.skipped += 1;
        }
    }

    fn end_pass(&mut self, now: Tick, events: &mut Vec<EventKind>) {
        let Some(pass) = self.pass.take() else { return };
        self.record.phase = Phase::Polling;
        self.record.latency = Some(now.since(pass.begun));
        self.record.last_check = Some(now);
        if let Some(schedule) = &self.schedule {
            self.record.wait_for(schedule, now);
        }
        if std::mem::take(&mut self.again) {
            self.record.due = now;
        }
        self.judge(now, events);
    }

    /// Somebody asked for a pass now; during one: right after it.
    pub(super) fn poke(&mut self, now: Tick) {
        if self.pass.is_some() {
            self.again = true;
        } else if !self.checkers.is_empty() && self.record.phase != Phase::Stopped {
            self.record.due = self.record.due.min(now);
        }
    }

    /// A look ended in time.
    pub(super) fn returned(
        &mut self,
        now: Tick,
        idx: usize,
        result: Result<Verdict, Error>,
        found: Found,
        took: Duration,
        events: &mut Vec<EventKind>,
    ) -> Ending {
        let checker = &mut self.checkers[idx];
        let verdict = match result {
            Ok(verdict) => verdict,
            Err(error) => return self.failed(now, idx, &error, found, took, events),
        };
        checker.counts.ok += 1;
        checker.looked = Some(now);
        checker.succeeded = Some(now);
        checker.took = took;
        checker.error = None;
        let (health, reason) = match verdict {
            Verdict::Ready => (Health::Ready, None),
            Verdict::Degraded(text) => (Health::Degraded, Some(clip(text, MAX_REASON))),
            Verdict::Items => {
                let health = tally(&found).health();
                let none = || found.items.is_empty().then(|| "there are no items".to_owned());
                (health, problem(&found).or_else(none))
            }
        };
        // Most are ready, and stay so.
        if reason.is_some() || checker.reason.is_some() {
            checker.reason = reason.map(|reason| clip(reason, MAX_REASON).into());
        }
        checker.items.merge(now, found, true);
        self.set(now, idx, health, Some(took), events);
        self.record.last_success = Some(now);
        Ending::Success
    }

    fn failed(
        &mut self,
        now: Tick,
        idx: usize,
        error: &Error,
        found: Found,
        took: Duration,
        events: &mut Vec<EventKind>,
    ) -> Ending {
        if error.is_undecided() {
            // What was known counts on; else this is why nothing is.
            let checker = &mut self.checkers[idx];
            checker.counts.skipped += 1;
            if checker.health == Health::Unknown {
                checker.reason = Some(clip(error.report().to_string(), MAX_REASON).into());
            }
            return Ending::Nothing;
        }
        let counts = &mut self.checkers[idx].counts;
        let ending = match error.class() {
            ErrorClass::Cancelled => {
                counts.skipped += 1;
                self.checkers[idx].items.merge(now, found, false);
                return Ending::Nothing;
            }
            ErrorClass::TimedOut => {
                counts.timeouts += 1;
                Ending::Timeout
            }
            ErrorClass::Panicked => {
                counts.panics += 1;
                Ending::Panic
            }
            ErrorClass::Retryable | ErrorClass::Terminal => {
                counts.failed += 1;
                Ending::Error
            }
        };
        self.fail(now, idx, error.report().to_string(), found, took, events);
        ending
    }

    /// A look passed its deadline and is stuck. What it found before counts.
    pub(super) fn timed_out(
        &mut self,
        now: Tick,
        idx: usize,
        begun: Tick,
        found: Found,
        events: &mut Vec<EventKind>,
    ) {
        let checker = &mut self.checkers[idx];
        checker.counts.timeouts += 1;
        checker.stuck_since = Some(begun);
        let stuck_for = now.since(begun);
        events.push(EventKind::CheckTimedOut { checker: checker.about.name.clone(), stuck_for });
        let text = format!("not done within {}", duration::format(checker.about.deadline));
        self.fail(now, idx, text, found, stuck_for, events);
    }

    /// A look came back that had been given up: it can be made again.
    pub(super) fn late(&mut self, now: Tick, idx: usize) -> EventKind {
        let checker = &mut self.checkers[idx];
        let begun = checker.stuck_since.take().unwrap_or(now);
        EventKind::CheckLate { checker: checker.about.name.clone(), took: now.since(begun) }
    }

    fn fail(
        &mut self,
        now: Tick,
        idx: usize,
        text: String,
        found: Found,
        took: Duration,
        events: &mut Vec<EventKind>,
    ) {
        let checker = &mut self.checkers[idx];
        checker.looked = Some(now);
        checker.took = took;
        checker.error = Some(clip(text, MAX_REASON).into());
        checker.reason = None;
        // What it could look at, and what it could not.
        let mut states = tally(&found);
        states.add(Health::Down);
        checker.items.merge(now, found, false);
        self.set(now, idx, states.health(), Some(took), events);
        self.record.failures += 1;
    }

    fn set(
        &mut self,
        now: Tick,
        idx: usize,
        to: Health,
        took: Option<Duration>,
        events: &mut Vec<EventKind>,
    ) {
        let checker = &mut self.checkers[idx];
        let from = checker.health;
        if from == to {
            return;
        }
        (checker.health, checker.since) = (to, now);
        let reason = if to == Health::Ready { None } else { checker.why() };
        events.push(EventKind::CheckerChanged {
            checker: checker.about.name.clone(),
            from,
            to,
            reason,
            took,
        });
        self.tally.turn(from, to);
        self.judge(now, events);
    }

    /// Bad news counts at once, good news when all have been asked: a whole
    /// that comes back is not told of in steps.
    fn judge(&mut self, now: Tick, events: &mut Vec<EventKind>) {
        let (from, to) = (self.record.health, self.tally.health());
        if from == to || self.pass.is_some() && is_better(to, from) {
            return;
        }
        self.record.turn(to, now);
        let worst = self.checkers.iter().filter(|checker| checker.health != Health::Ready);
        let worst = worst.min_by_key(|checker| (severity(checker.health), &checker.about.name));
        let reason = worst.map(|checker| {
            let (name, health) = (&checker.about.name, checker.health);
            let why = checker.why().map_or_else(String::new, |why| format!(": {why}"));
            format!("{name} is {health}{why}").into()
        });
        events.push(EventKind::HealthChanged { from, to, reason });
    }

    /// What was found too long ago is unknown from now on. Gives the moment at
    /// which the next will be.
    pub(super) fn age(&mut self, now: Tick, events: &mut Vec<EventKind>) -> Tick {
        let mut next = Tick::NEVER;
        for idx in 0..self.checkers.len() {
            let checker = &mut self.checkers[idx];
            let until = checker.fresh_until();
            if checker.health == Health::Unknown {
                continue;
            }
            if now < until {
                next = next.min(until);
                continue;
            }
            let reason = checker.stale_reason(now);
            checker.reason = Some(reason.into());
            self.set(now, idx, Health::Unknown, None, events);
        }
        next
    }

    /// The first moment at which something found will be too old.
    pub(super) fn stale_at(&self) -> Tick {
        let known = self.checkers.iter().filter(|checker| checker.health != Health::Unknown);
        known.map(Checker::fresh_until).min().unwrap_or(Tick::NEVER)
    }

    pub(super) fn record(&self) -> &Record {
        &self.record
    }

    pub(super) fn is_empty(&self) -> bool {
        self.checkers.is_empty()
    }

    pub(super) fn is_critical(&self) -> bool {
        self.settings.critical
    }

    pub(super) fn about(&self, idx: usize) -> &Checked {
        &self.checkers[idx].about
    }

    pub(super) fn totals(&self) -> CheckCounts {
        let mut totals = CheckCounts::default();
        for CheckCounts { ok, failed, panics, timeouts, skipped } in
            self.checkers.iter().map(|checker| checker.counts)
        {
            totals.ok += ok;
            totals.failed += failed;
            totals.panics += panics;
            totals.timeouts += timeouts;
            totals.skipped += skipped;
        }
        totals
    }

    /// Everything at the moment `now`, also what has aged since somebody
    /// looked.
    pub(super) fn view(&self, now: Tick, wall: Stamp) -> (Health, MonitorStatus) {
        let mut checkers: Vec<CheckerStatus> =
            self.checkers.iter().map(|checker| checker.view(now, wall)).collect();
        crate::order::sort_by(&mut checkers, |a, b| a.name.cmp(&b.name));
        let mut items = Tally::default();
        let mut has_aged = false;
        for (status, checker) in checkers.iter().zip(self.by_name()) {
            items.ready += status.items.ready;
            items.degraded += status.items.degraded;
            items.down += status.items.down;
            items.unknown += status.items.unknown;
            has_aged |= status.health != checker.health;
        }
        let health = if has_aged {
            super::roll_up(checkers.iter().map(|checker| checker.health))
        } else {
            self.record.health
        };
        let status = MonitorStatus {
            poll_period: self.settings.poll_period,
            principal: self.settings.principal.clone(),
            passes: self.passes,
            items,
            checkers,
        };
        (health, status)
    }

    fn by_name(&self) -> Vec<&Checker> {
        let mut checkers: Vec<&Checker> = self.checkers.iter().collect();
        crate::order::sort_by(&mut checkers, |a, b| a.about.name.cmp(&b.about.name));
        checkers
    }
}

fn unknown(n: usize) -> Tally {
    let mut tally = Tally::default();
    (0..n).for_each(|_| tally.add(Health::Unknown));
    tally
}

/// Whether one state is better news than another. Where nothing is known all
/// may be wrong.
fn is_better(to: Health, from: Health) -> bool {
    const fn rank(health: Health) -> u8 {
        match health {
            Health::Ready => 0,
            Health::Degraded => 1,
            Health::Unknown => 2,
            Health::Down => 3,
        }
    }
    rank(to) < rank(from)
}

#[cfg(test)]
mod tests;
