//! What a loop measures, and what of a step is measured.

use std::time::Duration;

use crate::clock::Tick;
use crate::env::Env;
use crate::event::Health;
use crate::observe::{Counter, Gauge, Histogram};
use crate::record::{Record, Results};

/// What a loop measures. Used inline, with no lock held.
#[derive(Debug, Default)]
pub(crate) struct Instruments {
    /// 1 while ready, else 0, and right when no change is under way.
    pub(crate) ready: Gauge,
    pub(crate) to_ready: Counter,
    pub(crate) to_down: Counter,
    pub(crate) to_unknown: Counter,
    /// Seconds of each call that returned in time.
    pub(crate) duration: Histogram,
    pub(crate) missed: Counter,
    /// Where runs do work; boxed, because most loops have none.
    pub(crate) runs: Option<Box<RunInstruments>>,
}

/// What a loop measures whose runs do work.
#[derive(Debug)]
pub(crate) struct RunInstruments {
    /// 1 while the loop has a thread, else 0.
    pub(crate) running: Gauge,
    pub(crate) successes: Counter,
    pub(crate) errors: Counter,
    pub(crate) timeouts: Counter,
    pub(crate) panics: Counter,
    /// Errors, timeouts and panics.
    pub(crate) failures: Counter,
    pub(crate) items: Counter,
    /// Seconds since 1970.
    pub(crate) last_run: Gauge,
    pub(crate) last_success: Gauge,
}

/// What a step changed that is measured.
#[must_use = "measured once the lock is released"]
pub(super) struct Change {
    pub(super) before: Numbers,
    pub(super) after: Numbers,
}

/// What of a record is measured.
#[derive(Clone, Copy)]
pub(super) struct Numbers {
    pub(super) health: Health,
    missed: u64,
    failures: u64,
    results: Results,
    last_check: Option<Tick>,
}

impl Numbers {
    pub(super) fn of(record: &Record) -> Self {
        let &Record { health, missed, failures, results, last_check, .. } = record;
        Self { health, missed, failures, results, last_check }
    }
}

impl RunInstruments {
    fn note(&self, change: &Change, env: &Env) {
        let (before, after) = (&change.before.results, &change.after.results);
        for (counter, before, after) in [
            (&self.successes, before.successes, after.successes),
            (&self.errors, before.errors, after.errors),
            (&self.timeouts, before.timeouts, after.timeouts),
            (&self.panics, before.panics, after.panics),
            (&self.failures, change.before.failures, change.after.failures),
            (&self.items, before.items, after.items),
        ] {
            if after > before {
                counter.add(after - before);
            }
        }
        let has_run =
            change.after.last_check.is_some() && change.after.last_check != change.before.last_check;
        let has_succeeded = after.successes > before.successes;
        if has_run || has_succeeded {
            let seconds = Duration::from_micros(env.stamp().as_micros()).as_secs_f64();
            self.last_run.set(seconds);
            if has_succeeded {
                self.last_success.set(seconds);
            }
        }
    }
}

impl Instruments {
    pub(super) fn note(&self, change: &Change, env: &Env) {
        let Change { before, after } = change;
        if after.missed > before.missed {
            self.missed.add(after.missed - before.missed);
        }
        if let Some(runs) = &self.runs {
            runs.note(change, env);
        }
        if before.health == after.health {
            return;
        }
        match after.health {
            Health::Ready => self.to_ready.add(1),
            Health::Down => self.to_down.add(1),
            Health::Unknown => self.to_unknown.add(1),
            Health::Degraded => {}
        }
    }
}

/// Sets a gauge to the health of now, which `look` tells. Of two threads that
/// do the later may be the one that looked first, so each looks again after it
/// has set: whoever sets last has seen the truth. Not a lock, because a gauge is
/// the user's code.
pub(crate) fn show_health(gauge: &Gauge, look: impl Fn() -> Health) {
    let mut health = look();
    loop {
        gauge.set(if health == Health::Ready { 1.0 } else { 0.0 });
        let now = look();
        if now == health {
            return;
        }
        health = now;
    }
}
