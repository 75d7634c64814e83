//! What a monitor decides, without threads or clocks: which checker is next,
//! when the next pass is due, and in which state everything is.

use std::sync::Arc;
use std::time::Duration;

use super::Verdict;
use super::items::{Items, problem, tally};
use super::report::Found;
use crate::clock::{Tick, wall_at};
use crate::duration;
use crate::error::{Error, ErrorClass, clip};
use crate::event::{EventKind, Health};
use crate::name::Name;
use crate::record::Record;
use crate::schedule::Schedule;
use crate::stamp::Stamp;
use crate::status::{CheckCounts, CheckerStatus, MonitorStatus, Phase, Role, Tally, severity};

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

/// A checker, as far as the machine must know it.
#[derive(Debug, Clone)]
pub(super) struct Checked {
    pub(super) name: Name,
    pub(super) role: Role,
    pub(super) deadline: Duration,
    pub(super) stale_after: Duration,
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

/// In the order of its fields: what a look that went well reads and writes is
/// in few cache lines, and what is told when something changes comes last.
#[repr(C)]
struct Checker {
    health: Health,
    /// Since when a look is stuck that was given up.
    stuck_since: Option<Tick>,
    /// When the last look ended or was given up.
    looked: Option<Tick>,
    succeeded: Option<Tick>,
    took: Duration,
    error: Option<Arc<str>>,
    /// Why it is in its state, where that is not the error.
    reason: Option<Arc<str>>,
    counts: CheckCounts,
    items: Items,
    since: Tick,
    about: Checked,
}

impl Checker {
    fn new(about: Checked) -> Self {
        Self {
            about,
            health: Health::Unknown,
            since: Tick::ZERO,
            looked: None,
            succeeded: None,
            took: Duration::ZERO,
            error: None,
            reason: None,
            stuck_since: None,
            counts: CheckCounts::default(),
            items: Items::default(),
        }
    }

    /// From when on what it found counts no more.
    fn fresh_until(&self) -> Tick {
        self.looked.map_or(Tick::NEVER, |looked| looked + self.about.stale_after)
    }

    fn why(&self) -> Option<Arc<str>> {
        self.reason.as_ref().or(self.error.as_ref()).cloned()
    }

    /// Why nothing is known of it at a moment at which it is stale.
    fn stale_reason(&self, now: Tick) -> String {
        let whole = |duration: Duration| duration::format(Duration::from_secs(duration.as_secs()));
        let age = whole(self.looked.map_or(Duration::ZERO, |looked| now.since(looked)));
        match (self.stuck_since, &self.error) {
            (Some(since), _) => format!("last looked at {age} ago, stuck for {}", whole(now.since(since))),
            (None, Some(error)) => format!("last looked at {age} ago, and then: {error}"),
            (None, None) => format!("last looked at {age} ago"),
        }
    }
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

impl Checker {
    fn view(&self, now: Tick, wall: Stamp) -> CheckerStatus {
        let stamp = |tick: Tick| wall_at(tick, now, wall);
        let fresh_until = self.fresh_until();
        // Also when that was not told yet.
        let is_stale = now >= fresh_until;
        let (health, since) = if is_stale && self.health != Health::Unknown {
            (Health::Unknown, fresh_until)
        } else {
            (self.health, self.since)
        };
        let reason = match health {
            Health::Ready => None,
            _ if is_stale => Some(self.stale_reason(now).into()),
            _ => self.why(),
        };
        let stale_after = u64::try_from(self.about.stale_after.as_nanos()).unwrap_or(u64::MAX);
        let fresh_since = now.nanos().checked_sub(stale_after).map(Tick::from_nanos);
        let (items, not_ready, more_not_ready) = self.items.view(now, wall, fresh_since);
        CheckerStatus {
            name: self.about.name.clone(),
            role: self.about.role,
            health,
            since: stamp(since),
            reason,
            last_check: self.looked.map(stamp),
            age: self.looked.map(|looked| now.since(looked)),
            duration: self.looked.map(|_| self.took),
            last_success: self.succeeded.map(stamp),
            last_error: self.error.clone(),
            stuck_for: self.stuck_since.map(|since| now.since(since)),
            call: None,
            thread: None,
            deadline: self.about.deadline,
            stale_after: self.about.stale_after,
            checks: self.counts,
            items,
            not_ready,
            more_not_ready,
            left_out: self.items.left_out,
        }
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
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    const fn secs(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    fn at(seconds: u64) -> Tick {
        Tick::ZERO + secs(seconds)
    }

    /// Every 60 s; what was found counts for 180 s.
    fn machine(names: &[&str]) -> MonitorMachine {
        let settings = Settings { poll_period: secs(60), critical: false, spread: false, principal: None };
        let about = |name: &&str| Checked {
            name: name.parse().expect("a name"),
            role: Role::default(),
            deadline: secs(10),
            stale_after: secs(180),
        };
        MonitorMachine::new("m".parse().expect("a name"), settings, names.iter().map(about).collect())
    }

    fn found(items: &[(&str, Health)]) -> Found {
        let report = super::super::Report::new();
        for (name, health) in items {
            report.state(*name, *health, "told so");
        }
        report.close()
    }

    /// Steps a machine of the checkers `a`, `b` .. through `script`, and
    /// compares what it does after each line: `moment input: result events..`.
    /// The inputs: turn (its result is the checker that is to look, or until
    /// when nothing is), ok, no, panic, timeout (by itself), cancelled, none
    /// (no items), half (one good item, one bad), part (an error after a good
    /// item), hang, late, each with a checker; poke, age (until when all is
    /// fresh), stop, start.
    fn check(names: &[&str], script: &str) -> MonitorMachine {
        let mut machine = machine(names);
        machine.start(Tick::ZERO);
        for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let (left, expected) = line.split_once(':').expect("input: expected");
            let mut words = left.split_whitespace();
            let now = at(words.next().and_then(|word| word.parse().ok()).expect("a moment"));
            let input = words.next().expect("an input");
            let idx = words.next().map_or(0, |name| names.iter().position(|other| *other == name).unwrap());
            let mut events = Vec::new();
            let mut out = Vec::new();
            let until = |tick: Tick| match tick {
                Tick::NEVER => "-".to_owned(),
                tick => tick.since(Tick::ZERO).as_secs().to_string(),
            };
            let error = |kind| Err(Error::new(kind).context("told so"));
            let result = match input {
                "ok" => Some((Ok(Verdict::Ready), found(&[]))),
                "degraded" => Some((Ok(Verdict::Degraded("half".into())), found(&[]))),
                "none" => Some((Ok(Verdict::Items), found(&[]))),
                "half" => Some((Ok(Verdict::Items), found(&[("x", Health::Ready), ("y", Health::Down)]))),
                "no" => Some((error(ErrorKind::Component), found(&[]))),
                "part" => Some((error(ErrorKind::Component), found(&[("x", Health::Ready)]))),
                "panic" => Some((error(ErrorKind::Panicked), found(&[]))),
                "timeout" => Some((error(ErrorKind::Timeout), found(&[]))),
                "cancelled" => Some((error(ErrorKind::Cancelled), found(&[]))),
                _ => None,
            };
            if let Some((result, found)) = result {
                out.push(format!("{:?}", machine.returned(now, idx, result, found, secs(1), &mut events)));
            }
            match input {
                "turn" => out.push(match machine.turn(now, &mut events) {
                    Turn::Call(idx) => names[idx].to_owned(),
                    Turn::Wait(due) => until(due),
                }),
                "hang" => machine.timed_out(
                    now,
                    idx,
                    Tick::from_nanos(now.nanos() - 10_000_000_000),
                    found(&[]),
                    &mut events,
                ),
                "late" => events.push(machine.late(now, idx)),
                "poke" => machine.poke(now),
                "age" => out.push(until(machine.age(now, &mut events))),
                "stop" => machine.stop(now, None),
                "start" => machine.start(now),
                _ => {}
            }
            out.extend(events.iter().map(|event| match event {
                EventKind::CheckerChanged { checker, from, to, .. } => format!("{checker}:{from}>{to}"),
                EventKind::HealthChanged { from, to, .. } => format!("{from}>{to}"),
                other => other.as_str().to_owned(),
            }));
            assert_eq!(out.join(" "), expected.trim(), "{line}");
        }
        machine
    }

    #[test]
    fn cum_01_a_pass_asks_all_in_order_and_the_next_is_due_a_period_after_it_began() {
        let machine = check(
            &["b", "a"],
            "0 turn: b
             1 ok b: Success b:unknown>ready
             1 turn: a
             2 ok a: Success a:unknown>ready
             2 turn: 60 unknown>ready
             59 turn: 60
             60 turn: b
             61 ok b: Success
             61 turn: a
             62 ok a: Success
             62 turn: 120",
        );
        assert_eq!((machine.passes, machine.record.missed, machine.totals().ok), (2, 0, 4));
    }

    #[test]
    fn wum_12_passes_whose_time_passes_during_another_are_counted() {
        let machine = check(
            &["a"],
            "0 turn: a
             200 ok a: Success a:unknown>ready
             200 turn: 240 unknown>ready
             240 turn: a
             240 ok a: Success
             240 turn: 300
             500 turn: a
             500 ok a: Success
             500 turn: 540",
        );
        assert_eq!(machine.record.missed, 3 + 3, "60, 120, 180; 360, 420, 480");
    }

    #[test]
    fn wum_02_who_hangs_is_left_out_until_it_is_back() {
        let machine = check(
            &["a", "b"],
            "0 turn: a
             10 hang a: check_timed_out a:unknown>down
             10 turn: b
             10 ok b: Success b:unknown>ready
             10 turn: 60 unknown>degraded
             60 turn: b
             60 no b: Error b:ready>down degraded>down
             60 turn: 120
             70 late a: check_late
             120 turn: a
             121 ok a: Success a:down>ready
             121 turn: b
             121 ok b: Success b:down>ready
             121 turn: 180 down>ready",
        );
        let a = &machine.checkers[0];
        assert_eq!((a.counts.skipped, a.counts.timeouts, a.stuck_since), (1, 1, None));
    }

    #[test]
    fn each_ending_is_counted_apart_and_a_cancel_teaches_nothing() {
        let machine = check(
            &["a"],
            "0 turn: a
             0 no a: Error a:unknown>down unknown>down
             0 turn: 60
             60 turn: a
             60 panic a: Panic
             60 turn: 120
             120 turn: a
             120 timeout a: Timeout
             120 turn: 180
             180 turn: a
             180 cancelled a: Nothing
             180 turn: 240
             240 turn: a
             240 degraded a: Success a:down>degraded
             240 turn: 300 down>degraded
             300 turn: a
             300 half a: Success
             300 turn: 360
             360 turn: a
             360 part a: Error
             360 turn: 420
             420 turn: a
             420 none a: Success a:degraded>unknown degraded>unknown
             420 turn: 480",
        );
        let CheckCounts { ok, failed, panics, timeouts, skipped } = machine.totals();
        assert_eq!((ok, failed, panics, timeouts, skipped), (3, 2, 1, 1, 1));
    }

    #[test]
    fn wum_07_what_is_too_old_is_unknown_at_its_moment() {
        let machine = check(
            &["a", "b"],
            "0 turn: a
             1 ok a: Success a:unknown>ready
             1 turn: b
             5 ok b: Success b:unknown>ready
             5 turn: 60 unknown>ready
             180 age: 181
             181 age: 185 a:ready>unknown ready>degraded
             181 age: 185
             185 age: - b:ready>unknown degraded>unknown
             200 turn: a
             200 ok a: Success a:unknown>ready
             200 age: 380",
        );
        assert_eq!(machine.stale_at(), at(380));
        // Also before anybody said so.
        let (health, status) = machine.view(at(380), Stamp::from_micros(0));
        assert_eq!((health, status.checkers[0].health), (Health::Unknown, Health::Unknown));
        assert_eq!(status.checkers[0].age, Some(secs(180)));
        let (health, status) = machine.view(at(379), Stamp::from_micros(0));
        assert_eq!((health, status.checkers[0].health), (Health::Unknown, Health::Ready));
    }

    #[test]
    fn a_poke_makes_the_next_pass_now_or_right_after_this_one() {
        let machine = check(
            &["a"],
            "0 turn: a
             0 poke:
             0 poke:
             5 ok a: Success a:unknown>ready
             5 turn: a unknown>ready
             6 ok a: Success
             6 turn: 60
             30 poke:
             30 turn: a
             30 ok a: Success
             30 turn: 60
             60 stop:
             60 poke:
             60 turn: -",
        );
        assert_eq!(machine.record.missed, 0);
        check(&[], "0 turn: -\n 0 poke:\n 0 turn: -");
    }

    #[test]
    fn what_is_told_is_what_was_found_last() {
        let first = "0 turn: a
             2 degraded a: Success a:unknown>degraded
             2 turn: 60 unknown>degraded";
        let second = "60 turn: a
             61 no a: Error a:degraded>down degraded>down
             61 turn: 120";
        let third = "70 stop:
             80 start:";
        let wall = Stamp::from_micros(100_000_000);
        let seen = |machine: &MonitorMachine, now| {
            let (_, mut status) = machine.view(at(now), wall);
            let a = status.checkers.remove(0);
            let ago = a.last_success.map(|then| (wall.as_micros() - then.as_micros()) / 1_000_000);
            (
                a.reason.map(|text| text.to_string()),
                a.last_error.map(|text| text.to_string()),
                ago,
                a.duration,
            )
        };
        let none = (None, None, None, None);
        assert_eq!(seen(&check(&["a"], ""), 1), none);
        let machine = check(&["a"], first);
        let record = &machine.record;
        assert_eq!((record.phase, record.latency), (Phase::Polling, Some(secs(2))));
        assert_eq!((record.last_check, record.last_success), (Some(at(2)), Some(at(2))));
        assert_eq!(seen(&machine, 2), (Some("half".into()), None, Some(0), Some(secs(1))));
        let machine = check(&["a"], &format!("{first}\n{second}"));
        let told = || Some("told so".to_owned());
        assert_eq!(seen(&machine, 61), (told(), told(), Some(59), Some(secs(1))));
        assert_eq!(seen(&check(&["a"], &format!("{first}\n{second}\n{third}")), 90), none);
    }

    #[test]
    fn a_look_that_goes_on_over_a_stop_is_not_made_twice() {
        let mut machine = machine(&["a", "b"]);
        machine.start(at(0));
        let mut turn = |machine: &mut MonitorMachine, now| machine.turn(at(now), &mut Vec::new());
        assert_eq!(turn(&mut machine, 0), Turn::Call(0));
        machine.stop(at(5), Some((0, at(0))));
        machine.start(at(10));
        assert_eq!(turn(&mut machine, 10), Turn::Call(1));
        assert_eq!(turn(&mut machine, 10), Turn::Wait(at(70)));
        assert_eq!(machine.view(at(10), Stamp::from_micros(0)).1.checkers[0].stuck_for, Some(secs(10)));
        machine.late(at(20), 0);
        assert_eq!(turn(&mut machine, 70), Turn::Call(0));
    }

    #[test]
    fn a_start_forgets_all_but_the_totals_and_who_hangs() {
        let machine = check(
            &["a", "b"],
            "0 turn: a
             10 hang a: check_timed_out a:unknown>down
             10 turn: b
             11 half b: Success b:unknown>degraded
             11 turn: 60 unknown>degraded
             20 stop:
             30 start:
             30 turn: b
             31 ok b: Success b:unknown>ready
             31 turn: 90 unknown>degraded",
        );
        let (_, status) = machine.view(at(40), Stamp::from_micros(0));
        let [a, b] = &status.checkers[..] else { panic!("two checkers") };
        assert_eq!((a.health, a.stuck_for, a.last_check), (Health::Unknown, Some(secs(40)), None));
        assert_eq!((b.health, b.items.total(), b.checks.ok), (Health::Ready, 0, 2));
        assert_eq!(status.passes, 2);
    }
}
