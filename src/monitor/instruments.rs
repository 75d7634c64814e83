//! What a monitor measures.

use std::time::Duration;

use super::machine::{Checked, Ending};
use crate::env::Env;
use crate::name::Name;
use crate::observe::{Attr, Counter, Gauge, Histogram, Observer};

/// What a monitor measures. Used with no lock held.
#[derive(Default)]
pub(super) struct Instruments {
    pub(super) ready: Gauge,
    pub(super) missed: Counter,
    /// In the order of the checkers; none when nobody measures.
    pub(super) checkers: Vec<CheckInstruments>,
}

/// What a monitor measures of one checker.
pub(super) struct CheckInstruments {
    pub(super) successes: Counter,
    pub(super) errors: Counter,
    pub(super) timeouts: Counter,
    pub(super) panics: Counter,
    /// Seconds of each look that returned in time.
    pub(super) duration: Histogram,
    /// Seconds since 1970.
    pub(super) last_success: Gauge,
}

impl CheckInstruments {
    pub(super) fn note(&self, ending: Ending, took: Option<Duration>, env: &Env) {
        if let Some(took) = took {
            self.duration.observe(took.as_secs_f64());
        }
        match ending {
            Ending::Success => {
                self.successes.add(1);
                self.last_success.set(env.stamp().as_secs_f64());
            }
            Ending::Error => self.errors.add(1),
            Ending::Timeout => self.timeouts.add(1),
            Ending::Panic => self.panics.add(1),
            Ending::Nothing => {}
        }
    }
}

impl Instruments {
    /// Resolves a monitor's instruments; every series exists from now on, at
    /// zero.
    pub(super) fn resolve(observer: &Observer, name: &Name, checkers: &[Checked]) -> Self {
        if observer.counter.is_none() && observer.gauge.is_none() && observer.histogram.is_none() {
            return Self::default();
        }
        let label = Attr::new("monitor", name);
        let of = |checker: &Checked| {
            let own = [label.clone(), Attr::new("checker", &checker.name)];
            let result = |word: &str| {
                let [monitor, checker] = own.clone();
                observer.counter("monitor_checks_total", &[monitor, checker, Attr::new("result", word)])
            };
            CheckInstruments {
                successes: result("success"),
                errors: result("error"),
                timeouts: result("timeout"),
                panics: result("panic"),
                duration: observer.histogram("monitor_check_duration_seconds", &own),
                last_success: observer.gauge("monitor_last_success_timestamp_seconds", &own),
            }
        };
        // No gauge is set: where this is to replace another of its name, that
        // one's word counts until it has ended.
        Self {
            ready: observer.gauge("monitor_ready", std::slice::from_ref(&label)),
            missed: observer.counter("loop_missed_ticks_total", &[Attr::new("loop", name)]),
            checkers: checkers.iter().map(of).collect(),
        }
    }
}
