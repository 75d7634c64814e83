//! What a watcher decides, without threads or clocks.
//!
//! Three phases. *Starting*: probe at once, then with growing delays, until
//! the service is up or the attempts are used up. *Polling*: probe at a fixed
//! rate. *Recovering*: the service was up and went down; probe with growing
//! delays again, so that its return is seen in seconds, then poll.

use std::time::Duration;

use super::config::BackoffConfig;
use crate::backoff::{Random, hash, heeding};
use crate::clock::Tick;
use crate::duration;
use crate::error::{Error, ErrorClass, ErrorKind};
use crate::event::{EventKind, Health};
use crate::looper::{Input, Machine};
use crate::name::Name;
use crate::record::Record;
use crate::schedule::Schedule;
use crate::stamp::Stamp;
use crate::status::{LoopStatus, Phase};

/// The settings a machine goes by, checked.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub(super) backoff: BackoffConfig,
    pub(super) failure_threshold: u32,
    pub(super) success_threshold: u32,
    pub(super) critical: bool,
    pub(super) spread: bool,
    pub(super) seed: u64,
}

pub(super) struct WatchMachine {
    name: Name,
    settings: Settings,
    random: Random,
    schedule: Option<Schedule>,
    record: Record,
    gave_up: bool,
    successes_in_a_row: u32,
}

impl WatchMachine {
    pub(super) fn new(name: Name, settings: Settings) -> Self {
        let random = Random::new(settings.seed ^ hash(name.as_str()));
        Self {
            name,
            settings,
            random,
            schedule: None,
            record: Record::default(),
            gave_up: false,
            successes_in_a_row: 0,
        }
    }

    pub(super) fn last_error(&self) -> Option<&Error> {
        self.record.last_error.as_ref()
    }

    fn succeed(&mut self, now: Tick, took: Duration, again: Option<Duration>, events: &mut Vec<EventKind>) {
        self.succeed_now(now, took, events);
        if let Some(again) = again {
            self.record.due = self.record.due.min(now + again);
        }
    }

    fn succeed_now(&mut self, now: Tick, took: Duration, events: &mut Vec<EventKind>) {
        self.record.succeed(now);
        self.record.latency = Some(took);
        self.successes_in_a_row = self.successes_in_a_row.saturating_add(1);
        if self.record.health == Health::Ready {
            self.poll(now);
            return;
        }
        self.record.attempt = self.record.attempt.saturating_add(1);
        if self.successes_in_a_row < self.settings.success_threshold {
            // Not yet believed: ask again soon.
            self.record.due = now + self.soon(1);
            return;
        }
        self.record.turn_ready(now, self.record.attempt.max(1), took, events);
        self.begin_polling(now);
    }

    fn fail(&mut self, now: Tick, error: Error, events: &mut Vec<EventKind>) {
        self.successes_in_a_row = 0;
        self.record.fail(error.clone());
        let believed = error.is_certain() || self.record.failures_in_a_row >= self.settings.failure_threshold;
        // Asking again soon cannot help: wait for the next regular time.
        let terminal = error.class() == ErrorClass::Terminal;
        if self.record.health != Health::Ready {
            self.record.attempt = self.record.attempt.saturating_add(1);
        }
        match self.record.phase {
            Phase::Starting => {
                let gives_up = terminal || self.record.attempt >= self.settings.backoff.max_retries;
                if believed || gives_up {
                    self.record.turn_down(now, &error, events);
                }
                if gives_up {
                    self.gave_up = true;
                    events.push(EventKind::GaveUp { error, attempts: self.record.attempt });
                    self.begin_polling(now);
                } else {
                    let delays = self.settings.backoff.delays();
                    self.record.due = now + delays.after(self.record.attempt, &error, &mut self.random);
                }
            }
            Phase::Recovering => {
                if terminal || self.record.attempt >= self.settings.backoff.max_retries {
                    self.begin_polling(now);
                } else {
                    self.record.due = now + self.soon_after(self.record.attempt.saturating_add(1), &error);
                }
            }
            Phase::Polling | Phase::Running | Phase::Stopped
                if self.record.health == Health::Ready && believed =>
            {
                self.record.turn_down(now, &error, events);
                self.record.attempt = 0;
                if terminal {
                    self.poll(now);
                } else {
                    self.record.phase = Phase::Recovering;
                    self.record.due = now + self.soon_after(1, &error);
                }
            }
            Phase::Polling | Phase::Running | Phase::Stopped
                if self.record.health == Health::Ready && !terminal =>
            {
                // Suspicious: do not wait a whole interval for certainty.
                self.record.due = now + self.soon_after(self.record.failures_in_a_row, &error);
            }
            Phase::Polling | Phase::Running | Phase::Stopped => {
                if believed {
                    self.record.turn_down(now, &error, events);
                }
                self.poll(now);
            }
        }
    }

    /// The probe gave up by itself: nothing is learnt, it is asked again.
    fn ask_again(&mut self, now: Tick, error: &Error) {
        match self.record.phase {
            Phase::Starting | Phase::Recovering => {
                self.record.due = now + self.soon_after(self.record.attempt.saturating_add(1), error)
            }
            Phase::Polling | Phase::Running | Phase::Stopped => self.poll(now),
        }
    }

    /// A delay of the backoff that is never longer than a regular interval.
    fn soon(&mut self, n: u32) -> Duration {
        let delay = self.settings.backoff.delays().jittered(n, &mut self.random);
        delay.min(self.settings.backoff.poll_interval)
    }

    /// The same, or what the error asks for.
    fn soon_after(&mut self, n: u32, error: &Error) -> Duration {
        heeding(error, self.soon(n)).min(self.settings.backoff.poll_interval)
    }

    fn begin_polling(&mut self, now: Tick) {
        self.record.phase = Phase::Polling;
        let interval = self.settings.backoff.poll_interval;
        let schedule = if self.settings.spread {
            Schedule::spread(now, interval, self.name.as_str())
        } else {
            Schedule::from_now(now, interval)
        };
        self.schedule = Some(schedule);
        self.record.due = schedule.next(now, now).0;
    }

    fn poll(&mut self, now: Tick) {
        if let Some(schedule) = &self.schedule {
            self.record.wait_for(schedule, now);
        }
    }
}

impl Machine for WatchMachine {
    /// When to ask again at the latest, where the probe says so.
    type Output = Option<Duration>;

    fn start(&mut self, now: Tick) {
        self.schedule = None;
        self.gave_up = false;
        self.successes_in_a_row = 0;
        self.record.start(now, Phase::Starting);
    }

    fn detail(&self, _: Stamp, status: &mut LoopStatus) {
        let is_trying = matches!(self.record.phase, Phase::Starting | Phase::Recovering);
        status.max_attempts = is_trying.then_some(self.settings.backoff.max_retries);
    }

    fn step(&mut self, now: Tick, input: Input<Option<Duration>>, events: &mut Vec<EventKind>) {
        match input {
            Input::Returned { result, took } => {
                self.record.last_check = Some(now);
                match result {
                    Ok(again) => self.succeed(now, took, again, events),
                    Err(error) if error.class() == ErrorClass::Cancelled => self.ask_again(now, &error),
                    Err(error) if error.is_undecided() => {
                        self.ask_again(now, &error);
                        // Why nothing is known.
                        self.record.last_error = Some(error);
                    }
                    Err(error) => {
                        self.record.latency = Some(took);
                        self.fail(now, error, events);
                    }
                }
            }
            Input::TimedOut { stuck_for } => {
                self.record.last_check = Some(now);
                let allowed = duration::format(self.settings.backoff.probe_timeout);
                let text = if stuck_for < self.settings.backoff.probe_timeout * 2 {
                    format!("no answer within {allowed}")
                } else {
                    let stuck = Duration::from_secs(stuck_for.as_secs());
                    format!("no answer within {allowed}, stuck for {}", duration::format(stuck))
                };
                self.fail(now, Error::new(ErrorKind::Timeout).context(text), events);
            }
            // Decided when its deadline passed; the due counts from then.
            Input::Late => {}
            Input::Poked => self.record.due = now,
        }
    }

    fn timeout(&self) -> Duration {
        self.settings.backoff.probe_timeout
    }

    fn counts_timeouts(&self) -> bool {
        self.record.health != Health::Down || self.record.phase == Phase::Starting && !self.gave_up
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
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> Settings {
        Settings {
            backoff: BackoffConfig { jitter: 0.0, max_retries: 4, ..BackoffConfig::default() },
            failure_threshold: 1,
            success_threshold: 1,
            critical: true,
            spread: false,
            seed: 0,
        }
    }

    /// Steps a machine through `script` and compares what it says after each
    /// line. A line is `at input: phase health due events..`, with seconds
    /// for moments; the inputs are ok, no, busy (an error that asks for 90 s),
    /// never (a terminal error), cancelled, hang (a deadline passed), late and
    /// poke.
    fn check(settings: Settings, script: &str) {
        let at = |seconds: &str| Tick::ZERO + Duration::from_secs(seconds.parse().expect("seconds"));
        let mut machine = WatchMachine::new("m".parse().expect("a name"), settings);
        machine.start(Tick::ZERO);
        for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let (input, expected) = line.split_once(": ").expect("input: expected");
            let (moment, input) = input.split_once(' ').expect("moment input");
            let now = at(moment);
            let mut events = Vec::new();
            let took = Duration::ZERO;
            let input = match input {
                "ok" => Input::Returned { result: Ok(None), took },
                "soon" => Input::Returned { result: Ok(Some(Duration::from_secs(7))), took },
                "later" => Input::Returned { result: Ok(Some(Duration::from_secs(700))), took },
                "wait" => {
                    let error =
                        Error::new(ErrorKind::Probe).undecided().with_retry_after(Duration::from_secs(30));
                    Input::Returned { result: Err(error), took }
                }
                "certain" => Input::Returned { result: Err(Error::new(ErrorKind::Probe).certain()), took },
                "no" => Input::Returned { result: Err(Error::new(ErrorKind::Probe)), took },
                "busy" => {
                    let error = Error::new(ErrorKind::Probe).with_retry_after(Duration::from_secs(90));
                    Input::Returned { result: Err(error), took }
                }
                "never" => Input::Returned { result: Err(Error::terminal("no such host")), took },
                "cancelled" => Input::Returned { result: Err(Error::new(ErrorKind::Cancelled)), took },
                "hang" => Input::TimedOut { stuck_for: Duration::from_secs(10) },
                "late" => Input::Late,
                "poke" => Input::Poked,
                other => panic!("{other}?"),
            };
            machine.step(now, input, &mut events);
            let due = machine.record.due.since(Tick::ZERO).as_secs();
            let mut found = format!("{} {} {due}", machine.record.phase.as_str(), machine.record.health);
            for event in &events {
                found.push(' ');
                found.push_str(event.as_str());
            }
            assert_eq!(found, expected, "after `{line}`");
        }
    }

    #[test]
    fn starting_backs_off_then_polls() {
        check(
            settings(),
            "0 no: starting down 2 down
             2 no: starting down 6
             6 no: starting down 14
             14 ok: polling ready 74 ready
             74 ok: polling ready 134",
        );
    }

    #[test]
    fn giving_up_is_said_once_and_polling_goes_on() {
        check(
            settings(),
            "0 no: starting down 2 down
             2 no: starting down 6
             6 no: starting down 14
             14 no: polling down 74 gave_up
             74 no: polling down 134
             134 ok: polling ready 194 ready
             194 no: recovering down 196 down
             196 no: recovering down 200
             200 no: recovering down 208
             208 no: recovering down 224
             224 no: polling down 284",
        );
    }

    #[test]
    fn whoever_asks_to_be_left_alone_is_until_the_next_poll() {
        check(
            settings(),
            "0 busy: starting down 90 down
             90 ok: polling ready 150 ready
             150 busy: recovering down 210 down",
        );
    }

    #[test]
    fn what_cannot_be_told_yet_is_asked_again_and_changes_nothing() {
        check(
            settings(),
            "0 wait: starting unknown 30
             30 wait: starting unknown 60
             60 ok: polling ready 120 ready
             120 wait: polling ready 180
             180 no: recovering down 182 down
             182 wait: recovering down 212",
        );
    }

    #[test]
    fn what_is_certain_is_believed_at_once() {
        let settings = Settings { failure_threshold: 5, ..settings() };
        check(settings.clone(), "0 certain: starting down 2 down");
        check(
            settings,
            "0 ok: polling ready 60 ready
             60 no: polling ready 62
             62 certain: recovering down 64 down",
        );
    }

    #[test]
    fn a_probe_may_ask_to_be_asked_sooner() {
        check(
            settings(),
            "0 soon: polling ready 7 ready
             7 soon: polling ready 14
             14 later: polling ready 60
             60 ok: polling ready 120",
        );
    }

    #[test]
    fn a_drop_is_followed_by_the_backoff() {
        check(
            settings(),
            "0 ok: polling ready 60 ready
             60 no: recovering down 62 down
             62 ok: polling ready 122 ready",
        );
    }

    #[test]
    fn thresholds_hold_a_verdict_back() {
        let settings = Settings { failure_threshold: 3, success_threshold: 2, ..settings() };
        check(
            settings,
            "0 ok: starting unknown 2
             2 ok: polling ready 62 ready
             62 no: polling ready 64
             64 no: polling ready 68
             68 ok: polling ready 122
             122 no: polling ready 124
             124 no: polling ready 128
             128 no: recovering down 130 down
             130 ok: recovering down 132
             132 no: recovering down 140
             140 ok: recovering down 142
             142 ok: polling ready 202 ready",
        );
    }

    #[test]
    fn giving_up_is_a_verdict_whatever_the_threshold() {
        let settings = Settings { failure_threshold: 99, ..settings() };
        check(
            settings,
            "0 no: starting unknown 2
             2 no: starting unknown 6
             6 no: starting unknown 14
             14 no: polling down 74 down gave_up",
        );
    }

    #[test]
    fn a_hang_counts_from_its_deadlines_and_its_return_changes_nothing() {
        check(
            settings(),
            "10 hang: starting down 12 down
             20 hang: starting down 24
             30 hang: starting down 38
             40 hang: polling down 100 gave_up
             500 late: polling down 100
             500 ok: polling ready 560 ready",
        );
    }

    #[test]
    fn a_poke_is_due_now_and_leaves_the_grid_alone() {
        check(
            settings(),
            "0 ok: polling ready 60 ready
             30 poke: polling ready 30
             30 ok: polling ready 60
             60 ok: polling ready 120
             400 ok: polling ready 420",
        );
    }

    #[test]
    fn a_terminal_error_waits_for_the_regular_time() {
        check(
            settings(),
            "0 never: polling down 60 down gave_up
             60 ok: polling ready 120 ready
             120 never: polling down 180 down
             180 no: polling down 240
             240 ok: polling ready 300 ready
             300 no: recovering down 302 down
             302 never: polling down 362",
        );
        let settings = Settings { failure_threshold: 2, ..settings() };
        check(
            settings,
            "0 ok: polling ready 60 ready
             60 never: polling ready 120
             120 never: polling down 180 down",
        );
    }

    #[test]
    fn a_cancel_is_no_failure_and_no_success() {
        check(
            settings(),
            "0 cancelled: starting unknown 2
             2 ok: polling ready 62 ready
             62 cancelled: polling ready 122
             122 no: recovering down 124 down
             124 cancelled: recovering down 126
             126 ok: polling ready 186 ready",
        );
    }

    #[test]
    fn attempts_are_counted_until_it_is_ready() {
        let mut machine = WatchMachine::new("m".parse().expect("a name"), settings());
        machine.start(Tick::ZERO);
        let mut events = Vec::new();
        for n in 1..=7 {
            let result = if n < 7 { Err(Error::new(ErrorKind::Probe)) } else { Ok(None) };
            machine.step(Tick::ZERO, Input::Returned { result, took: Duration::ZERO }, &mut events);
            assert_eq!(machine.record.attempt, n);
        }
        assert!(matches!(events.last(), Some(EventKind::Ready { attempt: 7, .. })), "{events:?}");
    }

    #[test]
    fn further_timeouts_matter_until_down_and_gave_up_are_told() {
        let mut machine = WatchMachine::new("m".parse().expect("a name"), settings());
        machine.start(Tick::ZERO);
        let mut counted = 0;
        while machine.counts_timeouts() {
            counted += 1;
            let input = Input::TimedOut { stuck_for: Duration::from_secs(10 * counted) };
            machine.step(Tick::ZERO + Duration::from_secs(10 * counted), input, &mut Vec::new());
        }
        assert_eq!((counted, machine.gave_up, machine.record.health), (4, true, Health::Down));
    }

    #[test]
    fn a_stop_leaves_nothing_known_and_a_start_begins_afresh() {
        let mut machine = WatchMachine::new("m".parse().expect("a name"), settings());
        machine.start(Tick::ZERO);
        let input = Input::Returned { result: Ok(None), took: Duration::ZERO };
        machine.step(Tick::ZERO, input, &mut Vec::new());
        machine.stop(Tick::ZERO);
        assert_eq!(
            (machine.record.health, machine.record.phase, machine.record.due),
            (Health::Unknown, Phase::Stopped, Tick::NEVER)
        );
        let later = Tick::ZERO + Duration::from_secs(5);
        machine.start(later);
        assert_eq!(
            (machine.record.phase, machine.record.due, machine.record.attempt),
            (Phase::Starting, later, 0)
        );
        assert_eq!(machine.record.transitions, 2, "counters go on");
    }
}
