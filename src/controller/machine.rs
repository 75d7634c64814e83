//! What a controller decides, without threads or clocks.
//!
//! Regular runs are on a grid of moments, one interval apart; the wait for
//! each is shortened by jitter, the grid is not. Between them come retries
//! with growing delays, runs that were asked for, and runs that make up for
//! moments that were passed over. None of these moves the grid.

use std::sync::Arc;
use std::time::Duration;

use super::config::{BackoffConfig, Overrun};
use crate::backoff::{Random, hash, shorten};
use crate::clock::Tick;
use crate::duration;
use crate::error::{Error, ErrorClass, ErrorKind};
use crate::event::{EventKind, Health};
use crate::looper::{Input, Machine};
use crate::name::Name;
use crate::record::Record;
use crate::schedule::Schedule;
use crate::stamp::Stamp;
use crate::status::{ControllerStatus, LoopStatus, Phase, RunResult};

/// What one run came to that returned.
#[derive(Debug)]
pub(super) struct Pass {
    pub(super) items: u64,
    pub(super) requeue_after: Option<Duration>,
    pub(super) summary: Option<Arc<str>>,
    /// A step failed; what the others did is counted nevertheless.
    pub(super) error: Option<Error>,
}

/// The settings a machine goes by, checked.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub(super) interval: Duration,
    pub(super) deadline: Duration,
    pub(super) backoff: BackoffConfig,
    pub(super) overrun: Overrun,
    pub(super) jitter: f64,
    pub(super) spread: bool,
    pub(super) dry_run: bool,
    pub(super) first_run_after: Duration,
    pub(super) failure_threshold: u32,
    pub(super) critical: bool,
    pub(super) seed: u64,
}

/// The next regular run.
#[derive(Debug, Clone, Copy)]
struct Regular {
    schedule: Schedule,
    /// Its moment on the grid.
    moment: Tick,
    /// When it is due: then, or a little earlier.
    due: Tick,
}

pub(super) struct ControllerMachine {
    name: Name,
    settings: Settings,
    random: Random,
    record: Record,
    regular: Option<Regular>,
    paused: bool,
    /// Runs to be made right after each other, for moments passed over.
    backlog: u64,
    overruns: u64,
    last_result: Option<RunResult>,
    last_items: Option<u64>,
    last_summary: Option<Arc<str>>,
}

impl ControllerMachine {
    pub(super) fn new(name: Name, settings: Settings, paused: bool) -> Self {
        let random = Random::new(settings.seed ^ hash(name.as_str()));
        Self {
            name,
            settings,
            random,
            record: Record::default(),
            regular: None,
            paused,
            backlog: 0,
            overruns: 0,
            last_result: None,
            last_items: None,
            last_summary: None,
        }
    }

    pub(super) fn is_paused(&self) -> bool {
        self.paused
    }

    /// Has no run made any more that is not asked for.
    pub(super) fn pause(&mut self, events: &mut Vec<EventKind>) {
        self.record.due = Tick::NEVER;
        self.backlog = 0;
        if !std::mem::replace(&mut self.paused, true) && self.record.phase != Phase::Stopped {
            events.push(EventKind::Paused);
        }
    }

    /// Has the next run made now, and more at the regular times.
    pub(super) fn resume(&mut self, now: Tick, events: &mut Vec<EventKind>) {
        if !std::mem::replace(&mut self.paused, false) || self.record.phase == Phase::Stopped {
            return;
        }
        // What was passed over was to be: it is not missed.
        let _ = self.advance(now, now);
        self.record.due = now;
        events.push(EventKind::Resumed);
    }

    fn returned(&mut self, now: Tick, pass: Pass, took: Duration, events: &mut Vec<EventKind>) {
        self.record.results.items = self.record.results.items.saturating_add(pass.items);
        self.last_items = Some(pass.items);
        self.last_summary.clone_from(&pass.summary);
        match pass.error {
            None => self.succeed(now, pass.requeue_after, took, events),
            Some(error) => self.returned_error(now, error, took, events),
        }
        if pass.items > 0 {
            let Pass { items, summary, .. } = pass;
            events.push(EventKind::Reconciled { items, took, dry_run: self.settings.dry_run, summary });
        }
    }

    fn succeed(
        &mut self,
        now: Tick,
        requeue_after: Option<Duration>,
        took: Duration,
        events: &mut Vec<EventKind>,
    ) {
        self.record.succeed(now);
        self.record.results.successes += 1;
        self.last_result = Some(RunResult::Success);
        if self.record.health != Health::Ready {
            self.record.attempt = self.record.attempt.saturating_add(1);
        }
        self.record.phase = Phase::Polling;
        self.record.turn_ready(now, self.record.attempt.max(1), took, events);
        let passed = self.finish(now, took);
        let room = self.settings.overrun.allowance().saturating_sub(self.backlog);
        let made_up_for = passed.min(room);
        self.record.missed += passed - made_up_for;
        self.backlog += made_up_for;
        let asked = requeue_after.map_or(Tick::NEVER, |delay| now + delay);
        if self.paused {
            self.wait_for(Tick::NEVER);
        } else if self.backlog > 0 {
            self.backlog -= 1;
            self.record.due = now;
        } else {
            self.wait_for(asked);
        }
    }

    fn returned_error(&mut self, now: Tick, error: Error, took: Duration, events: &mut Vec<EventKind>) {
        if error.class() == ErrorClass::Cancelled {
            // It gave up by itself: nothing is learnt, it is asked again.
            let passed = self.finish(now, took);
            self.leave_out(passed);
            let delay = self.settings.backoff.delays().jittered(1, &mut self.random);
            self.wait_for(now + delay);
            return;
        }
        let (result, counter) = match error.class() {
            ErrorClass::TimedOut => (RunResult::Timeout, &mut self.record.results.timeouts),
            ErrorClass::Panicked => (RunResult::Panic, &mut self.record.results.panics),
            _ => (RunResult::Error, &mut self.record.results.errors),
        };
        *counter += 1;
        let retry_in = self.fail(now, &error, result, took);
        let failures = self.record.failures_in_a_row;
        events.push(EventKind::ReconcileFailed { error: error.clone(), failures, retry_in });
        self.judge(now, &error, events);
    }

    fn timed_out(&mut self, now: Tick, stuck_for: Duration, events: &mut Vec<EventKind>) {
        let allowed = duration::format(self.settings.deadline);
        let text = if stuck_for < self.settings.deadline.saturating_mul(2) {
            format!("not done within {allowed}")
        } else {
            let stuck = Duration::from_secs(stuck_for.as_secs());
            format!("not done within {allowed}, stuck for {}", duration::format(stuck))
        };
        let error = Error::new(ErrorKind::Timeout).context(text);
        self.record.results.timeouts += 1;
        let _ = self.fail(now, &error, RunResult::Timeout, stuck_for);
        self.judge(now, &error, events);
    }

    /// Counts a failure and decides when it is tried again: gives the delay,
    /// if that is before the next regular run.
    fn fail(&mut self, now: Tick, error: &Error, result: RunResult, took: Duration) -> Option<Duration> {
        self.record.fail(error.clone());
        self.last_result = Some(result);
        if self.record.health != Health::Ready {
            self.record.attempt = self.record.attempt.saturating_add(1);
        }
        let passed = self.finish(now, took);
        self.leave_out(passed);
        if self.paused || error.class() == ErrorClass::Terminal {
            self.record.phase = Phase::Polling;
            self.wait_for(Tick::NEVER);
            return None;
        }
        let n = self.record.failures_in_a_row;
        let retry = now + self.settings.backoff.delays().after(n, error, &mut self.random);
        self.wait_for(retry);
        let is_retry = self.regular.is_none_or(|regular| retry < regular.due);
        self.record.phase = if is_retry { Phase::Recovering } else { Phase::Polling };
        is_retry.then(|| retry.since(now))
    }

    fn judge(&mut self, now: Tick, error: &Error, events: &mut Vec<EventKind>) {
        let is_sure = self.record.failures_in_a_row >= self.settings.failure_threshold;
        if is_sure || error.class() == ErrorClass::Terminal {
            if self.record.health == Health::Ready {
                self.record.attempt = 0;
            }
            self.record.turn_down(now, error, events);
        }
    }

    /// Takes note of the end of a run: how many regular moments have passed
    /// without a run of their own. Of a paused one none should have any.
    fn finish(&mut self, now: Tick, took: Duration) -> u64 {
        let passed = self.advance(self.record.due, now);
        if self.paused {
            return 0;
        }
        if let Some(Regular { schedule, .. }) = &self.regular {
            let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
            let begun = Tick::from_nanos(now.nanos().saturating_sub(nanos));
            self.overruns += u64::from(schedule.next(begun, now).1 > 0);
        }
        passed
    }

    /// Finds the next regular run after `now`, where the one that is next has
    /// had its time; how many have passed over since a run that was due at
    /// `due`, that one not counted.
    fn advance(&mut self, due: Tick, now: Tick) -> u64 {
        let Some(regular) = self.regular.filter(|regular| now >= regular.due) else { return 0 };
        let from = if due >= regular.due { regular.moment } else { due };
        let (moment, passed) = regular.schedule.next(from, now.max(regular.moment));
        self.aim_at(regular.schedule, moment, now);
        passed
    }

    fn aim_at(&mut self, schedule: Schedule, moment: Tick, now: Tick) {
        let wait = moment.since(now);
        // Of a longer wait, after a run that was early, only the last interval.
        let whole = wait.min(self.settings.interval);
        let shortened = shorten(whole, self.settings.jitter, &mut self.random);
        self.regular = Some(Regular { schedule, moment, due: now + (wait - whole) + shortened });
    }

    fn leave_out(&mut self, passed: u64) {
        self.record.missed += passed + self.backlog;
        self.backlog = 0;
    }

    /// The next run is due at `asked`, or at its regular time if that is
    /// earlier; when paused, never.
    fn wait_for(&mut self, asked: Tick) {
        let regular = self.regular.map_or(Tick::NEVER, |regular| regular.due);
        self.record.due = if self.paused { Tick::NEVER } else { asked.min(regular) };
    }
}

impl Machine for ControllerMachine {
    type Output = Pass;

    fn start(&mut self, now: Tick) {
        self.backlog = 0;
        (self.last_result, self.last_items, self.last_summary) = (None, None, None);
        self.record.start(now, Phase::Starting);
        let first = now + self.settings.first_run_after;
        let interval = self.settings.interval;
        let schedule = if self.settings.spread {
            Schedule::spread(first, interval, self.name.as_str())
        } else {
            Schedule::from_now(first, interval)
        };
        self.aim_at(schedule, schedule.next(first, first).0, first);
        self.record.due = if self.paused { Tick::NEVER } else { first };
    }

    fn step(&mut self, now: Tick, input: Input<Pass>, events: &mut Vec<EventKind>) {
        match input {
            Input::Returned { result, took } => {
                self.record.last_check = Some(now);
                self.record.latency = Some(took);
                match result {
                    Ok(pass) => self.returned(now, pass, took, events),
                    Err(error) => self.returned_error(now, error, took, events),
                }
            }
            Input::TimedOut { stuck_for } => {
                self.record.last_check = Some(now);
                self.timed_out(now, stuck_for, events);
            }
            // Decided when its deadline passed; the due counts from then.
            Input::Late => {}
            Input::Poked => self.record.due = self.record.due.min(now),
        }
    }

    fn timeout(&self) -> Duration {
        self.settings.deadline
    }

    fn counts_timeouts(&self) -> bool {
        self.record.health != Health::Down
    }

    fn is_critical(&self) -> bool {
        self.settings.critical
    }

    fn record(&self) -> &Record {
        &self.record
    }

    fn record_mut(&mut self) -> &mut Record {
        &mut self.record
    }

    fn detail(&self, _: Stamp, status: &mut LoopStatus) {
        status.controller = Some(Box::new(self.about()));
    }
}

impl ControllerMachine {
    fn about(&self) -> ControllerStatus {
        ControllerStatus {
            interval: self.settings.interval,
            deadline: self.settings.deadline,
            paused: self.paused,
            dry_run: self.settings.dry_run,
            last_result: self.last_result,
            last_items: self.last_items,
            last_summary: self.last_summary.clone(),
            items: self.record.results.items,
            overruns: self.overruns,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn secs(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    /// Every 30 s, at most 10 s each; retries after 2, 4, 8 .. s.
    fn settings() -> Settings {
        Settings {
            interval: secs(30),
            deadline: secs(10),
            backoff: BackoffConfig { jitter: 0.0, ..BackoffConfig::default() },
            overrun: Overrun::Skip,
            jitter: 0.0,
            spread: false,
            dry_run: false,
            first_run_after: Duration::ZERO,
            failure_threshold: 1,
            critical: false,
            seed: 0,
        }
    }

    fn at(seconds: u64) -> Tick {
        Tick::ZERO + secs(seconds)
    }

    fn machine(settings: Settings) -> ControllerMachine {
        ControllerMachine::new("m".parse().expect("a name"), settings, false)
    }

    fn returned(result: Result<Pass, Error>, took: u64) -> Input<Pass> {
        Input::Returned { result, took: secs(took) }
    }

    /// Steps a machine through `script` and compares what it says after each
    /// line. A line is `at input: phase health due missed overruns events..`,
    /// with seconds for moments and `-` for never. The inputs: ok, no, never
    /// (a terminal error), panic, cancelled, half (a step failed, seven items),
    /// items, again (asks for a run in 5 s), hang (a deadline passed), late,
    /// poke, pause, resume; `ok+25` took 25 s.
    fn check(settings: Settings, script: &str) {
        let mut machine = machine(settings);
        machine.start(Tick::ZERO);
        for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let (input, expected) = line.split_once(": ").expect("input: expected");
            let (moment, input) = input.split_once(' ').expect("moment input");
            let expected = expected.trim_start();
            let (input, took) = input.split_once('+').unwrap_or((input, "0"));
            let (now, took) = (at(moment.parse().expect("seconds")), took.parse().expect("seconds"));
            let mut events = Vec::new();
            let pass = Pass { items: 0, requeue_after: None, summary: None, error: None };
            let error = || Error::new(ErrorKind::Component).context("no");
            let input = match input {
                "ok" => returned(Ok(pass), took),
                "items" => returned(Ok(Pass { items: 7, ..pass }), took),
                "again" => returned(Ok(Pass { requeue_after: Some(secs(5)), ..pass }), took),
                "half" => returned(Ok(Pass { items: 7, error: Some(error()), ..pass }), took),
                "no" => returned(Err(error()), took),
                "busy" => returned(Err(error().with_retry_after(secs(20))), took),
                "never" => returned(Err(Error::terminal("no")), took),
                "panic" => returned(Err(Error::new(ErrorKind::Panicked)), took),
                "cancelled" => returned(Err(Error::new(ErrorKind::Cancelled)), took),
                "hang" => Input::TimedOut { stuck_for: secs(took) },
                "late" => Input::Late,
                "poke" => Input::Poked,
                _ => {
                    match input {
                        "pause" => machine.pause(&mut events),
                        "resume" => machine.resume(now, &mut events),
                        other => panic!("{other}"),
                    }
                    Input::Late
                }
            };
            machine.step(now, input, &mut events);
            let Record { phase, health, due, missed, .. } = machine.record;
            let due = match due {
                Tick::NEVER => "-".to_owned(),
                due => due.since(Tick::ZERO).as_secs().to_string(),
            };
            let overruns = machine.overruns;
            let words: Vec<_> = events.iter().map(EventKind::as_str).collect();
            let found = format!("{phase} {health} {due} {missed} {overruns} {}", words.join(" "));
            assert_eq!(found.trim_end(), expected, "{line}");
        }
    }

    #[test]
    fn runs_are_regular_and_only_items_are_told() {
        check(
            settings(),
            "0 ok:      polling ready 30 0 0 ready
             30 items:  polling ready 60 0 0 reconciled
             63 ok+3:   polling ready 90 0 0
             90 poke:   polling ready 90 0 0
             90 ok:     polling ready 120 0 0
             100 poke:  polling ready 100 0 0
             101 ok+1:  polling ready 120 0 0
             120 again: polling ready 125 0 0
             125 ok:    polling ready 150 0 0
             148 poke:  polling ready 148 0 0
             149 again+1: polling ready 150 0 0",
        );
    }

    #[test]
    fn items_beyond_all_counting_are_as_many_as_can_be_counted() {
        let mut machine = machine(settings());
        machine.start(Tick::ZERO);
        for items in [u64::MAX, 7] {
            let pass = Pass { items, requeue_after: None, summary: None, error: None };
            machine.step(Tick::ZERO, returned(Ok(pass), 0), &mut Vec::new());
        }
        assert_eq!(machine.record.results.items, u64::MAX);
    }

    #[test]
    fn whoever_asks_to_be_left_alone_is_until_the_regular_time() {
        check(
            settings(),
            "0 busy:  recovering down 20 0 0 reconcile_failed down
             20 busy: polling down 30 0 0 reconcile_failed",
        );
    }

    #[test]
    fn wct_11_a_failure_is_tried_again_below_the_interval_and_a_terminal_one_is_not() {
        check(
            settings(),
            "0 no:    recovering down 2 0 0 reconcile_failed down
             2 panic: recovering down 6 0 0 reconcile_failed
             6 no:    recovering down 14 0 0 reconcile_failed
             14 no:   polling down 30 0 0 reconcile_failed
             30 no:   polling down 60 0 0 reconcile_failed
             60 ok:   polling ready 90 0 0 ready
             90 no:   recovering down 92 0 0 reconcile_failed down
             92 ok:   polling ready 120 0 0 ready
             120 never: polling down 150 0 0 reconcile_failed down
             150 half:  recovering down 154 0 0 reconcile_failed reconciled
             154 cancelled: recovering down 156 0 0",
        );
        let daily = Settings { interval: secs(86_400), ..settings() };
        check(
            daily,
            "0 no:    recovering down 2 0 0 reconcile_failed down
             2 never: polling down 86400 0 0 reconcile_failed
             86400 ok: polling ready 172800 0 0 ready",
        );
    }

    #[test]
    fn a_threshold_holds_back_the_verdict_but_not_the_retries() {
        check(
            Settings { failure_threshold: 3, ..settings() },
            "0 ok:    polling ready 30 0 0 ready
             30 no:   recovering ready 32 0 0 reconcile_failed
             32 no:   recovering ready 36 0 0 reconcile_failed
             36 no:   recovering down 44 0 0 reconcile_failed down
             44 ok:   polling ready 60 0 0 ready
             60 never: polling down 90 0 0 reconcile_failed down",
        );
    }

    #[test]
    fn a_hang_is_a_failure_at_its_deadline_and_its_answer_is_dropped() {
        check(
            Settings { failure_threshold: 2, ..settings() },
            "0 ok:      polling ready 30 0 0 ready
             40 hang+10: recovering ready 42 0 0
             50 hang+20: recovering down 54 0 0 down
             75 late:    recovering down 54 0 0
             76 ok+1:    polling ready 90 1 0 ready",
        );
    }

    #[test]
    fn wct_08_runs_that_are_passed_over_are_left_out_or_made_up_for_and_counted() {
        let long = Settings { deadline: secs(600), ..settings() };
        check(
            long.clone(),
            "0 ok:       polling ready 30 0 0 ready
             105 ok+75:  polling ready 120 2 1
             149 ok+29:  polling ready 150 2 1
             155 ok+5:   polling ready 180 2 1
             215 ok:     polling ready 240 3 1",
        );
        check(
            Settings { overrun: Overrun::QueueOne, ..long.clone() },
            "0 ok:       polling ready 30 0 0 ready
             105 ok+75:  polling ready 105 1 1
             106 ok+1:   polling ready 120 1 1
             155 ok+35:  polling ready 155 1 2
             155 no:     recovering down 157 1 2 reconcile_failed down",
        );
        check(
            Settings { overrun: Overrun::CatchUp { at_most: 3 }, ..long },
            "0 ok:       polling ready 30 0 0 ready
             165 ok+135: polling ready 165 1 1
             166 ok+1:   polling ready 166 1 1
             167 ok+1:   polling ready 167 1 1
             168 ok+1:   polling ready 180 1 1
             245 ok+65:  polling ready 245 1 2
             246 no+1:   recovering down 248 2 2 reconcile_failed down",
        );
    }

    #[test]
    fn a_paused_one_runs_when_it_is_triggered_only() {
        check(
            settings(),
            "0 ok:       polling ready 30 0 0 ready
             10 pause:   polling ready - 0 0 paused
             11 pause:   polling ready - 0 0
             100 poke:   polling ready 100 0 0
             101 no+1:   polling down - 0 0 reconcile_failed down
             200 poke:   polling down 200 0 0
             200 again:  polling ready - 0 0 ready
             310 resume: polling ready 310 0 0 resumed
             310 resume: polling ready 310 0 0
             311 ok+1:   polling ready 330 0 0
             330 pause:  polling ready - 0 0 paused
             335 ok+5:   polling ready - 0 0",
        );
    }

    #[test]
    fn a_start_keeps_the_pause_and_the_totals_and_begins_a_new_grid() {
        let mut machine = machine(Settings { first_run_after: secs(7), ..settings() });
        machine.start(at(0));
        assert_eq!(machine.record.due, at(7));
        let pass = Pass { items: 3, requeue_after: None, summary: Some("3 kept".into()), error: None };
        machine.step(at(7), returned(Ok(pass), 0), &mut Vec::new());
        assert_eq!(machine.record.due, at(37));
        machine.pause(&mut Vec::new());
        machine.stop(at(10));
        let mut events = Vec::new();
        machine.resume(at(11), &mut events);
        machine.pause(&mut events);
        assert!(events.is_empty(), "nothing is told of a loop that has stopped");
        machine.start(at(20));
        let status = machine.about();
        assert_eq!((machine.record.due, machine.is_paused(), status.items), (Tick::NEVER, true, 3));
        assert_eq!((status.last_items, status.last_summary, status.last_result), (None, None, None));
    }

    #[test]
    fn wct_10_jitter_shortens_the_wait_and_keeps_the_rate() {
        let settings = Settings { jitter: 0.5, interval: secs(100), ..settings() };
        let mut machine = machine(settings);
        machine.start(at(0));
        let mut dues = Vec::new();
        let mut now = at(0);
        for n in 0..100 {
            let pass = Pass { items: 0, requeue_after: None, summary: None, error: None };
            machine.step(now, returned(Ok(pass), 0), &mut Vec::new());
            let due = machine.record.due;
            let moment = at((n + 1) * 100);
            assert!(due <= moment && moment.since(due) <= secs(50), "{n}: {due:?}");
            dues.push(moment.since(due));
            now = due;
        }
        assert_eq!((machine.record.missed, machine.record.results.successes), (0, 100));
        dues.sort_unstable();
        dues.dedup();
        assert!(dues.len() > 90, "spread: {dues:?}");
    }

    #[test]
    fn absurd_settings_do_not_overflow() {
        for interval in [Duration::from_nanos(1), Duration::MAX] {
            let backoff =
                BackoffConfig { initial_delay: secs(1), max_delay: Duration::MAX, ..settings().backoff };
            let mut machine = machine(Settings {
                interval,
                deadline: Duration::MAX,
                backoff,
                jitter: 1.0,
                spread: true,
                overrun: Overrun::CatchUp { at_most: u32::MAX },
                first_run_after: Duration::MAX,
                ..settings()
            });
            machine.start(at(1));
            for n in 0..70 {
                let requeue_after = Some(Duration::MAX);
                let pass = Pass { items: u64::MAX / 128, requeue_after, summary: None, error: None };
                let result = if n % 2 == 0 { Ok(pass) } else { Err(Error::new(ErrorKind::Component)) };
                machine.step(at(1_000_000 + n), returned(result, 500), &mut Vec::new());
                machine.step(
                    at(1_000_000 + n),
                    Input::TimedOut { stuck_for: Duration::MAX },
                    &mut Vec::new(),
                );
            }
        }
    }
}
