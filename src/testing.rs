//! A kit for testing programs that embed the library (feature `test-util`):
//! a gate that holds a call open, a script of answers, a spy for events.
//!
//! With a [`ManualClock`] a test needs no sleep: let everything come to rest,
//! move time, look.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::{ManualClock, real_deadline};
use crate::component::Context;
use crate::error::BoxError;
use crate::event::{Event, EventKind};
use crate::observe::Observer;
use crate::primitive::{Condvar, Mutex};
use crate::probe::Probe;

/// Holds calls open until the test lets them go. Cloning shares it.
///
/// A test that fails lets them all go, so that no call is held for the tests
/// after it: a panic that drops the handle which was made first, and not by a
/// clone, opens the gate.
///
/// A call that waits here counts as at rest for [`ManualClock::settle`]. Only
/// calls made by the library may wait here: on a loop's thread or on the
/// dispatcher's.
#[derive(Default)]
pub struct Gate {
    shared: Arc<Shared>,
    /// In a call, and not in the test's hand: a panic there may be what is
    /// tested.
    is_clone: bool,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    open: bool,
    /// The clocks of those who wait, one entry each.
    waiting: Vec<ManualClock>,
    /// How many have ever come here.
    arrived: usize,
    /// Moves when those who wait now are let go.
    round: u64,
}

impl Gate {
    /// Waits until the gate is opened; passes at once when it is open.
    pub fn pass(&self, clock: &ManualClock) {
        let mut state = self.shared.state.lock();
        state.arrived += 1;
        if state.open {
            return;
        }
        let round = state.round;
        state.waiting.push(clock.clone());
        clock.park();
        while !state.open && state.round == round {
            (state, _) = self.shared.changed.wait_until(state, real_deadline(Duration::MAX));
        }
    }

    /// Lets all pass, now and later.
    pub fn open(&self) {
        self.release(true);
    }

    /// Lets those pass who wait now; the gate stays shut.
    pub fn release_waiting(&self) {
        self.release(false);
    }

    /// Shuts the gate again.
    pub fn shut(&self) {
        self.shared.state.lock().open = false;
    }

    /// How many wait at the gate.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.shared.state.lock().waiting.len()
    }

    /// How many have come to the gate so far.
    #[must_use]
    pub fn arrived(&self) -> usize {
        self.shared.state.lock().arrived
    }

    /// A probe that waits at this gate and then answers `Ok`.
    pub fn probe(&self, clock: &ManualClock) -> impl Probe + use<> {
        let (gate, clock) = (self.clone(), clock.clone());
        move |_: &Context| {
            gate.pass(&clock);
            Ok(())
        }
    }

    fn release(&self, open: bool) {
        let mut state = self.shared.state.lock();
        state.open |= open;
        state.round += 1;
        // Busy again before they are woken: a settle that comes between
        // would take them for held.
        for clock in state.waiting.drain(..) {
            clock.unpark(1);
        }
        drop(state);
        self.shared.changed.notify_all();
    }
}

impl Clone for Gate {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone(), is_clone: true }
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        if !self.is_clone && std::thread::panicking() {
            self.open();
        }
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate").field("waiting", &self.waiting()).finish_non_exhaustive()
    }
}

/// A probe whose answers a test sets. Cloning shares it.
///
/// Answers are given in turn; when the script is over, the last one is given
/// again.
#[derive(Clone, Debug)]
pub struct Script {
    answers: Arc<Mutex<Answers>>,
}

#[derive(Debug, Default)]
struct Answers {
    next: std::collections::VecDeque<Result<(), String>>,
    last: Option<Result<(), String>>,
    calls: usize,
}

impl Script {
    /// Answers `Ok` for true and an error `no` for false.
    pub fn new(answers: impl IntoIterator<Item = bool>) -> Self {
        let script = Self { answers: Arc::default() };
        script.push(answers);
        script
    }

    /// Adds answers at the end.
    pub fn push(&self, answers: impl IntoIterator<Item = bool>) {
        let answers = answers.into_iter().map(|ok| if ok { Ok(()) } else { Err("no".to_owned()) });
        self.answers.lock().next.extend(answers);
    }

    /// How often it was asked.
    #[must_use]
    pub fn calls(&self) -> usize {
        self.answers.lock().calls
    }
}

impl Probe for Script {
    fn probe(&mut self, _: &Context) -> Result<(), BoxError> {
        let mut answers = self.answers.lock();
        answers.calls += 1;
        if let Some(next) = answers.next.pop_front() {
            answers.last = Some(next);
        }
        answers.last.clone().unwrap_or(Ok(())).map_err(Into::into)
    }
}

/// Keeps every event it hears of. Cloning shares it.
#[derive(Clone, Debug, Default)]
pub struct Recorder {
    events: Arc<Mutex<Vec<Event>>>,
}

impl Recorder {
    /// An observer that records events and is inert otherwise.
    #[must_use]
    pub fn observer(&self) -> Observer {
        let events = self.events.clone();
        Observer {
            on_event: Some(Arc::new(move |event: &Event| events.lock().push(event.clone()))),
            ..Observer::default()
        }
    }

    /// All events so far, in the order they were told.
    #[must_use]
    pub fn events(&self) -> Vec<Event> {
        self.events.lock().clone()
    }

    /// The words for what happened so far, such as `ready`.
    #[must_use]
    pub fn words(&self) -> Vec<&'static str> {
        self.events.lock().iter().map(|event| EventKind::as_str(&event.what)).collect()
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use super::*;

    #[test]
    fn a_gate_opens_when_the_test_that_has_it_fails() {
        let gate = Gate::default();
        let theirs = gate.clone();
        let is_open = || theirs.shared.state.lock().open;
        let fails = |gate: Gate| {
            let failed = crate::thread::caught(move || assert_eq!(gate.waiting(), 1, "as a test fails"));
            assert!(failed.is_err());
        };
        // A call that panics opens none, and neither does a test that is over.
        fails(gate.clone());
        drop(Gate { shared: gate.shared.clone(), is_clone: false });
        assert!(!is_open());
        fails(gate);
        assert!(is_open());
    }
}
