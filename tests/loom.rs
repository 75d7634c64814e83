//! The memory orderings of the slot and the alarm, of the doorbell, and of the
//! handles of the C side, under loom.
//!
//!     RUSTFLAGS='--cfg loom' cargo test --release --test loom
//!
//! The file is taken in as source: loom's atomics stand in for the real ones.
#![cfg(loom)]
#![allow(unsafe_code, reason = "loom's cell, which sees what races, is read and written by pointer")]

#[allow(dead_code, unreachable_pub, reason = "the model uses some of it, outside its crate")]
#[path = "../src/slot.rs"]
mod slot;

#[allow(dead_code, unreachable_pub, reason = "the model uses some of it, outside its crate")]
#[path = "../src/capi/usage.rs"]
mod usage;

#[allow(dead_code, unreachable_pub, reason = "the model uses some of it, outside its crate")]
#[path = "../src/bell/number.rs"]
mod bell;

/// What the doorbell asks of the kernel.
mod sys {
    pub(crate) mod futex {
        use loom::sync::atomic::{AtomicU32, Ordering};
        use loom::sync::{Condvar, Mutex};

        loom::lazy_static! {
            static ref SLEEPERS: (Mutex<()>, Condvar) = (Mutex::new(()), Condvar::new());
        }

        /// The number is looked at under the lock that a wake takes. A deadline
        /// is over at once: others go on before it and after it.
        pub(crate) fn wait(word: &AtomicU32, expected: u32, deadline: Option<u64>) -> bool {
            let sleepers = SLEEPERS.0.lock().unwrap();
            if deadline.is_none() && word.load(Ordering::SeqCst) == expected {
                drop(SLEEPERS.1.wait(sleepers).unwrap());
            }
            deadline.is_some()
        }

        pub(crate) fn wake(_: &AtomicU32) {
            let _sleepers = SLEEPERS.0.lock().unwrap();
            SLEEPERS.1.notify_one();
        }
    }

    pub(crate) mod time {
        pub(crate) fn monotonic() -> u64 {
            0
        }
    }
}

use bell::Bell;
use loom::cell::UnsafeCell;
use loom::sync::{Arc, Mutex};
use loom::thread;
use slot::{Alarm, Phase, Slot};
use usage::{Begin, End, Usage};

/// Mutants: `ring` without release, `take` without acquire (what was written
/// before the ring races); no wake, or the sleep marked by a plain store (the
/// ring is slept through, which loom tells as a deadlock).
#[test]
fn a_ring_ends_the_wait_and_shows_what_was_before_it() {
    loom::model(|| {
        let shared = Arc::new((Bell::default(), UnsafeCell::new(0)));
        let theirs = shared.clone();
        let rings = thread::spawn(move || {
            // SAFETY: the other thread looks after the ring.
            theirs.1.with_mut(|value| unsafe { *value = 7 });
            theirs.0.ring();
        });
        shared.0.wait();
        // SAFETY: the other thread writes before its ring.
        assert_eq!(shared.1.with(|value| unsafe { *value }), 7);
        rings.join().unwrap();
    });
}

/// Mutant: `take` as a look and a store: a ring between the two is lost.
#[test]
fn a_ring_at_a_deadline_is_heard_once() {
    loom::model(|| {
        let bell = Arc::new(Bell::default());
        let theirs = bell.clone();
        let rings = thread::spawn(move || theirs.ring());
        let mut heard = u32::from(bell.wait_until(1)) + u32::from(bell.wait_until(1));
        rings.join().unwrap();
        heard += u32::from(bell.wait_until(1));
        assert_eq!(heard, 1);
        assert!(!bell.wait_until(1));
    });
}

/// The watchdog's half: set the alarm, then look at the slot. Says whether it
/// will be awake by the slot's deadline without being rung.
fn watchdog(slot: &Slot, alarm: &Alarm) -> bool {
    alarm.set(u64::MAX);
    slot.deadline() != u64::MAX
}

/// Mutants: `fence` taken out of `Alarm::misses` or of `Alarm::set`; the look
/// before the store in either.
#[test]
fn a_deadline_before_the_alarm_is_seen_or_rung() {
    loom::model(|| {
        let (slot, alarm) = (Arc::new(Slot::new()), Arc::new(Alarm::new()));
        let (theirs, their_alarm) = (slot.clone(), alarm.clone());
        let rings = thread::spawn(move || theirs.enter(1, 10, &their_alarm));
        let sees = watchdog(&slot, &alarm);
        let rings = rings.join().unwrap();
        // The alarm starts as awake: the watchdog looks after it sets it.
        assert!(sees || rings, "the watchdog sleeps through a deadline");
    });
}

/// Mutant: the state stored before the deadline in `Slot::enter`, or either
/// without release and acquire. The watchdog then takes a call away by the
/// deadline of the one before.
#[test]
fn a_state_is_never_seen_without_its_deadline() {
    loom::model(|| {
        let (slot, alarm) = (Arc::new(Slot::new()), Arc::new(Alarm::new()));
        let (theirs, their_alarm) = (slot.clone(), alarm.clone());
        let enters = thread::spawn(move || {
            let _ = theirs.enter(1, 10, &their_alarm);
            let _ = theirs.leave(1);
            let _ = theirs.enter(2, 20, &their_alarm);
        });
        let state = slot.state();
        let deadline = slot.deadline();
        if state.phase() == Phase::Running {
            assert!(deadline >= state.generation() * 10, "call {} by {deadline}", state.generation());
            assert!(deadline != u64::MAX);
        }
        enters.join().unwrap();
    });
}

/// Mutant: `leave` with a plain store instead of the swap.
#[test]
fn a_call_is_either_in_time_or_taken_away() {
    loom::model(|| {
        let (slot, alarm) = (Arc::new(Slot::new()), Arc::new(Alarm::new()));
        let _ = slot.enter(1, 10, &alarm);
        let theirs = slot.clone();
        let leaves = thread::spawn(move || theirs.leave(1));
        let seen = slot.state();
        let taken = seen.phase() == Phase::Running && slot.expire(seen);
        let in_time = leaves.join().unwrap();
        assert!(in_time != taken);
        assert_eq!(slot.state().phase(), Phase::Waiting);
    });
}

/// Mutants: the look before the store in `Slot::wait_until`, or no fence.
#[test]
fn an_earlier_due_is_seen_or_rung() {
    loom::model(|| {
        let (slot, alarm) = (Arc::new(Slot::new()), Arc::new(Alarm::new()));
        let (theirs, their_alarm) = (slot.clone(), alarm.clone());
        let rings = thread::spawn(move || theirs.wait_until(10, &their_alarm));
        let sees = watchdog(&slot, &alarm);
        let rings = rings.join().unwrap();
        assert!(sees || rings, "the watchdog sleeps through a due");
    });
}

/// One slot of the table of handles, and the list that it is on while it is
/// nobody's. What it holds is the number of its generation.
struct Handle {
    usage: Usage,
    held: UnsafeCell<Option<u64>>,
    free: Mutex<bool>,
}

impl Handle {
    fn new() -> Self {
        Self { usage: Usage::new(), held: UnsafeCell::new(None), free: Mutex::new(true) }
    }

    fn insert(&self) -> Option<u64> {
        if !std::mem::take(&mut *self.free.lock().unwrap()) {
            return None;
        }
        let next = self.usage.generation() + 1;
        self.held.with_mut(|held| unsafe { *held = Some(next) });
        Some(self.usage.give_out())
    }

    /// Uses what is of a generation, and frees it; whether it took it out.
    fn call(&self, generation: u64, frees: bool) -> (Begin, bool) {
        let begun = self.usage.begin(generation);
        if begun != Begin::Begun {
            return (begun, false);
        }
        self.held.with(|held| assert_eq!(unsafe { *held }, Some(generation)));
        if frees {
            self.usage.free();
        }
        let is_last = self.usage.end() == End::Last;
        if is_last {
            self.held.with_mut(|held| assert_eq!(unsafe { (*held).take() }, Some(generation)));
            *self.free.lock().unwrap() = true;
        }
        (begun, is_last)
    }
}

/// Mutants: `end` without release or without acquire; a user count that `free`
/// does not keep; a last that does not look whether it was freed.
#[test]
fn an_object_is_taken_out_once_by_its_last_user() {
    let mut model = loom::model::Builder::new();
    // Without a bound it takes a minute.
    model.preemption_bound = Some(3);
    model.check(|| {
        let handle = Arc::new(Handle::new());
        let generation = handle.insert().unwrap();
        let (one, two) = (handle.clone(), handle.clone());
        let one = thread::spawn(move || one.call(generation, true));
        let two = thread::spawn(move || two.call(generation, true));
        let (begun, last) = handle.call(generation, false);
        let (one, two) = (one.join().unwrap(), two.join().unwrap());
        assert_eq!(u8::from(last) + u8::from(one.1) + u8::from(two.1), 1);
        assert!(begun != Begin::Never && (one.0 == Begin::Begun || two.0 == Begin::Begun));
        assert_eq!(handle.usage.begin(generation), Begin::Freed);
    });
}

/// Mutants: `give_out` without release, `begin` without acquire, or one that
/// does not compare generations.
#[test]
fn a_slot_that_was_given_out_anew_is_never_used_by_an_old_number() {
    loom::model(|| {
        let handle = Arc::new(Handle::new());
        let generation = handle.insert().unwrap();
        let (theirs, other) = (handle.clone(), handle.clone());
        let frees = thread::spawn(move || {
            theirs.call(generation, true);
            theirs.insert()
        });
        // Guesses the number that comes next.
        let guesses = thread::spawn(move || other.call(generation + 1, false));
        handle.call(generation, false);
        let next = frees.join().unwrap();
        let _ = guesses.join().unwrap();
        assert!(next.is_none_or(|next| next == generation + 1));
        assert_eq!(handle.usage.begin(generation), Begin::Freed);
    });
}

/// Mutants: `begin_alone` without acquire, or by a load and a store;
/// `end_alone` without release; a `begin` that does not wait for it.
#[test]
fn whoever_uses_an_object_alone_changes_it_unseen() {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(|| {
        let handle = Arc::new(Handle::new());
        let generation = handle.insert().unwrap();
        let (one, two) = (handle.clone(), handle.clone());
        let alone = move |handle: &Handle| {
            if handle.usage.begin_alone(generation) {
                // As it is found, for a moment without it.
                handle.held.with_mut(|held| unsafe {
                    assert_eq!((*held).take(), Some(generation));
                    *held = Some(generation);
                });
                handle.usage.end_alone(generation);
            }
        };
        let one = thread::spawn(move || alone(&one));
        let two = thread::spawn(move || two.call(generation, true));
        alone(&handle);
        let (begun, last) = two.join().unwrap();
        assert_eq!((begun, last), (Begin::Begun, true));
        one.join().unwrap();
        assert!(!handle.usage.begin_alone(generation));
    });
}
