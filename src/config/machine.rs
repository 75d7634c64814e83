//! What a config watcher decides, without threads or clocks.
//!
//! It looks at a fixed rate. What cannot be used is looked at once more soon,
//! because an editor may just be between truncating and writing; only what is
//! still wrong then is told, once, and makes the watcher degraded. The one
//! that is looked at is also the one that is told of: who put a configuration
//! in force does not matter.

use std::sync::Arc;
use std::time::Duration;

use super::fingerprint::Fingerprint;
use super::live::faults_of;
use super::snapshot::without_values;
use super::{Config, Snapshot};
use crate::backoff::Backoff;
use crate::clock::Tick;
use crate::duration;
use crate::error::{Error, ErrorKind};
use crate::event::{EventKind, Health};
use crate::looper::{Input, Machine};
use crate::name::Name;
use crate::record::Record;
use crate::schedule::Schedule;
use crate::stamp::Stamp;
use crate::status::{ConfigStatus, LoopStatus, Phase};

/// How soon a failure is looked at again before it is told.
const CONFIRM: Duration = Duration::from_millis(250);
/// The longest wait before content that was refused is tried again.
const MAX_RETRY: Duration = Duration::from_secs(60);
/// How many changed keys an event names.
const MAX_KEYS: usize = 64;

/// What one look found.
pub(super) struct Look {
    /// When it was.
    pub(super) at: Stamp,
    /// What is on disk; `None` when it cannot be read.
    pub(super) on_disk: Option<Fingerprint>,
    /// What is in force after it.
    pub(super) snapshot: Arc<Snapshot>,
    /// Why that is not what is on disk.
    pub(super) error: Option<Error>,
    /// The time between looks from now on; `None` when there is nothing to
    /// look at that could change by itself.
    pub(super) interval: Option<Duration>,
}

#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub(super) interval: Duration,
    pub(super) timeout: Duration,
    pub(super) spread: bool,
    /// Keys that the program reads only when it starts.
    pub(super) fixed: Vec<String>,
}

pub(super) struct ConfigMachine {
    name: Name,
    settings: Settings,
    /// Read for what is said of it, never for a decision.
    config: Config,
    /// The configuration that the program was started with.
    started: Arc<Snapshot>,
    schedule: Option<Schedule>,
    record: Record,
    /// The configuration that was last told of.
    told: Arc<Snapshot>,
    /// The failure that was last told.
    told_error: Option<String>,
    /// A failure that was seen once.
    suspect: Option<String>,
    on_disk: Option<(Fingerprint, Stamp)>,
}

impl ConfigMachine {
    pub(super) fn new(name: Name, settings: Settings, config: Config, told: Arc<Snapshot>) -> Self {
        Self {
            name,
            settings,
            config,
            started: told.clone(),
            schedule: None,
            record: Record::default(),
            told,
            told_error: None,
            suspect: None,
            on_disk: None,
        }
    }

    pub(super) fn last_error(&self) -> Option<&Error> {
        self.record.last_error.as_ref()
    }

    fn looked(&mut self, now: Tick, look: Look, took: Duration, events: &mut Vec<EventKind>) {
        let Look { at, on_disk, snapshot, error, interval } = look;
        match interval {
            None => self.schedule = None,
            Some(interval) if interval != self.settings.interval || self.schedule.is_none() => {
                self.settings.interval = interval;
                self.begin_schedule(now);
            }
            Some(_) => {}
        }
        self.on_disk = on_disk.map(|newest| match self.on_disk {
            Some((known, since)) if known == newest => (known, since),
            _ => (newest, at),
        });
        if snapshot.generation() != self.told.generation() {
            let mut changed = snapshot.changes_since(&self.told);
            let n_changed = changed.len();
            changed.truncate(MAX_KEYS);
            let generation = snapshot.generation();
            let needs_restart = self.needs_restart(&snapshot).into();
            let changed = changed.into();
            events.push(EventKind::ConfigReloaded { generation, changed, n_changed, needs_restart });
        }
        self.told = snapshot;
        match error {
            None => self.succeed(now, took, events),
            Some(error) => self.fail(now, &error, events),
        }
    }

    /// The fixed keys whose values are not those of the start.
    fn needs_restart(&self, snapshot: &Snapshot) -> Vec<String> {
        let mut changed = snapshot.changes_since(&self.started);
        changed.retain(|path| self.settings.fixed.iter().any(|key| is_within(path, key)));
        changed.truncate(MAX_KEYS);
        changed
    }

    fn begin_schedule(&mut self, now: Tick) {
        let interval = self.settings.interval;
        self.schedule = Some(if self.settings.spread {
            Schedule::spread(now, interval, self.name.as_str())
        } else {
            Schedule::from_now(now, interval)
        });
    }

    fn succeed(&mut self, now: Tick, took: Duration, events: &mut Vec<EventKind>) {
        let attempt = self.record.failures_in_a_row.saturating_add(1);
        self.record.succeed(now);
        (self.suspect, self.told_error) = (None, None);
        self.record.turn_ready(now, attempt, took, events);
        self.poll(now);
    }

    fn fail(&mut self, now: Tick, error: &Error, events: &mut Vec<EventKind>) {
        let error = quiet(error);
        let text = error.report().to_string();
        self.record.fail(error.clone());
        if self.told_error.as_ref() == Some(&text) {
            self.poll(now);
        } else if self.suspect.as_ref() == Some(&text) {
            self.suspect = None;
            self.told_error = Some(text);
            self.record.turn(Health::Degraded, now);
            events.push(EventKind::ConfigRejected { error });
            self.poll(now);
        } else {
            self.suspect = Some(text);
            self.record.due = now + CONFIRM.min(self.settings.interval);
        }
    }

    fn poll(&mut self, now: Tick) {
        if let Some(schedule) = &self.schedule {
            self.record.wait_for(schedule, now);
        } else {
            self.record.due = Tick::NEVER;
        }
    }
}

impl Machine for ConfigMachine {
    type Output = Look;

    fn start(&mut self, now: Tick) {
        self.begin_schedule(now);
        (self.suspect, self.told_error) = (None, None);
        self.record.start(now, Phase::Polling);
    }

    fn step(&mut self, now: Tick, input: Input<Look>, events: &mut Vec<EventKind>) {
        match input {
            Input::Returned { result, took } => {
                self.record.last_check = Some(now);
                self.record.latency = Some(took);
                match result {
                    Ok(look) => self.looked(now, look, took, events),
                    Err(error) => self.fail(now, &error, events),
                }
            }
            Input::TimedOut { .. } => {
                self.record.last_check = Some(now);
                let allowed = duration::format(self.settings.timeout);
                let text = format!("no look was finished within {allowed}");
                self.record.fail(Error::new(ErrorKind::Timeout).context(text));
                self.record.turn(Health::Degraded, now);
                self.poll(now);
            }
            // Decided when its deadline passed.
            Input::Late => {}
            Input::Poked => self.record.due = now,
        }
        self.record.attempt = self.record.failures_in_a_row;
    }

    fn timeout(&self) -> Duration {
        self.settings.timeout
    }

    fn counts_timeouts(&self) -> bool {
        self.record.health != Health::Degraded
    }

    /// A program with yesterday's settings is up.
    fn is_critical(&self) -> bool {
        false
    }

    fn record(&self) -> &Record {
        &self.record
    }

    fn record_mut(&mut self) -> &mut Record {
        &mut self.record
    }

    fn detail(&self, at: Stamp, status: &mut LoopStatus) {
        let snapshot = self.config.snapshot();
        let age = at.as_micros().saturating_sub(snapshot.loaded_at().as_micros());
        status.config = Some(Box::new(ConfigStatus {
            source: self.config.source(),
            generation: snapshot.generation(),
            hash: snapshot.fingerprint().to_string(),
            loaded_at: snapshot.loaded_at(),
            age: Duration::from_micros(age),
            hash_on_disk: self.on_disk.map(|(newest, _)| newest.to_string()),
            on_disk_since: self.on_disk.map(|(_, since)| since),
            applied: self.on_disk.is_some_and(|(newest, _)| newest == snapshot.fingerprint()),
            needs_restart: self.needs_restart(&snapshot),
        }));
    }
}

/// Whether a path is a key, is below it, or is an object that holds it.
fn is_within(path: &str, key: &str) -> bool {
    let below = |inner: &str, outer: &str| {
        inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    below(path, key) || below(key, path)
}

/// An error as events tell it: keys and places, no values.
fn quiet(error: &Error) -> Error {
    match faults_of(error) {
        Some(faults) => Error::new(error.kind()).context(without_values(faults)),
        None => error.clone(),
    }
}

/// When content that was refused is tried again: twice at once, because it
/// may just be written, then with growing delays, because a check may ask
/// about the world. Other content is tried at once.
#[derive(Debug)]
pub(super) struct Retry {
    backoff: Backoff,
    refused: Option<Refused>,
}

#[derive(Debug)]
struct Refused {
    content: Fingerprint,
    error: Error,
    times: u32,
    again: Tick,
}

impl Retry {
    pub(super) fn new(interval: Duration) -> Self {
        let max = MAX_RETRY.max(interval);
        Self { backoff: Backoff { initial: interval, max, multiplier: 2.0, jitter: 0.0 }, refused: None }
    }

    /// Why this content is not to be tried now; `None` when it is.
    pub(super) fn holds_back(&self, content: Fingerprint, now: Tick) -> Option<&Error> {
        let refused = self.refused.as_ref()?;
        (refused.content == content && now < refused.again).then_some(&refused.error)
    }

    pub(super) fn refuse(&mut self, content: Fingerprint, now: Tick, error: &Error) {
        let before = self.refused.as_ref().filter(|refused| refused.content == content);
        let times = before.map_or(0, |refused| refused.times).saturating_add(1);
        let delay = if times < 2 { Duration::ZERO } else { self.backoff.delay(times - 1) };
        self.refused = Some(Refused { content, error: error.clone(), times, again: now + delay });
    }

    pub(super) fn clear(&mut self) {
        self.refused = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Layers};

    fn machine(fixed: &[&str], json: &str) -> ConfigMachine {
        let config = Config::load(Layers::default().text("f", json)).unwrap();
        let told = config.snapshot();
        let mut machine = ConfigMachine::new("c".parse().unwrap(), settings(fixed), config, told);
        machine.start(at(0));
        machine
    }

    fn settings(fixed: &[&str]) -> Settings {
        Settings {
            interval: Duration::from_secs(2),
            timeout: Duration::from_secs(10),
            spread: false,
            fixed: fixed.iter().map(|&key| key.to_owned()).collect(),
        }
    }

    fn looked(snapshot: Arc<Snapshot>, error: Option<Error>) -> Look {
        let interval = Some(Duration::from_secs(2));
        Look { at: Stamp::from_micros(0), on_disk: None, snapshot, error, interval }
    }

    fn at(millis: u64) -> Tick {
        Tick::ZERO + Duration::from_millis(millis)
    }

    /// Steps a machine through looks, each `(moment, failure)`, and compares
    /// health, due and events after each.
    fn check(looks: &[(u64, Option<&str>, &str)]) {
        let mut machine = machine(&[], "{}");
        let told = machine.told.clone();
        for (moment, failure, expected) in looks {
            let mut events = Vec::new();
            let error = failure.map(|text| Error::new(ErrorKind::Config).context(text.to_owned()));
            let look = looked(told.clone(), error);
            let input = Input::Returned { result: Ok(look), took: Duration::ZERO };
            machine.step(at(*moment), input, &mut events);
            let words: Vec<&str> = events.iter().map(EventKind::as_str).collect();
            let due = machine.record().due.since(at(0)).as_millis();
            assert_eq!(
                format!("{} {due} {}", machine.record().health, words.join(" ")).trim_end(),
                *expected,
                "{moment}"
            );
        }
    }

    #[test]
    fn a_failure_is_told_when_it_is_still_there_and_once() {
        check(&[
            (0, None, "ready 2000 ready"),
            (2000, Some("a"), "ready 2250"),
            (2250, Some("a"), "degraded 4000 config_rejected"),
            (4000, Some("a"), "degraded 6000"),
            (6000, Some("b"), "degraded 6250"),
            (6250, Some("b"), "degraded 8000 config_rejected"),
            (8000, None, "ready 10000 ready"),
            (10000, Some("a"), "ready 10250"),
            (10250, None, "ready 12000"),
        ]);
        check(&[(0, Some("a"), "unknown 250"), (250, Some("a"), "degraded 2000 config_rejected")]);
    }

    #[test]
    fn keys_that_are_read_at_the_start_are_told_until_they_are_as_then() {
        let told = r#"{"http": {"listen": "a", "hosts": []}, "dir": "d", "level": 1}"#;
        let mut machine = machine(&["http", "dir"], told);
        let start = machine.told.clone();
        for (json, expected) in [
            (r#"{"http": {"listen": "a", "hosts": []}, "dir": "d", "level": 2}"#, ""),
            (r#"{"http": {"listen": "b", "hosts": []}, "dir": "e", "level": 2}"#, "dir http.listen"),
            (r#"{"http": null, "dir": "d", "level": 2}"#, "http"),
            (r#"{"dirs": 1, "http": {"listen": "a", "hosts": [1]}, "dir": "d"}"#, "http.hosts"),
            (told, ""),
        ] {
            let next = Config::load(Layers::default().text("f", json)).unwrap().snapshot();
            assert_eq!(machine.needs_restart(&next).join(" "), expected, "{json}");
        }
        assert!(machine.needs_restart(&start).is_empty());
        let mut look = looked(start, None);
        look.interval = Some(Duration::from_secs(7));
        machine.step(at(0), Input::Returned { result: Ok(look), took: Duration::ZERO }, &mut Vec::new());
        assert_eq!(machine.record().due, at(7000));
        let mut look = looked(machine.told.clone(), None);
        look.interval = None;
        machine.step(at(7000), Input::Returned { result: Ok(look), took: Duration::ZERO }, &mut Vec::new());
        assert_eq!(machine.record().due, Tick::NEVER);
        machine.step(at(9000), Input::Poked, &mut Vec::new());
        assert_eq!(machine.record().due, at(9000));
    }

    #[test]
    fn wrt_35_content_that_was_refused_is_tried_again_and_less_often() {
        let mut retry = Retry::new(Duration::from_secs(2));
        let (one, other) = (Fingerprint::NONE.with(b"1"), Fingerprint::NONE.with(b"2"));
        let error = Error::new(ErrorKind::Config).context("no");
        assert!(retry.holds_back(one, at(0)).is_none());
        let mut now = 0;
        for delay in [0, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000] {
            retry.refuse(one, at(now), &error);
            if delay > 0 {
                assert_eq!(retry.holds_back(one, at(now + delay - 1)).unwrap().to_string(), "no");
            }
            assert!(retry.holds_back(one, at(now + delay)).is_none(), "{delay}");
            assert!(retry.holds_back(other, at(now)).is_none());
            now += delay;
        }
        retry.clear();
        assert!(retry.holds_back(one, at(now)).is_none());
    }
}
