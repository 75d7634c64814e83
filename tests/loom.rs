//! The memory orderings of the slot and the alarm, under loom.
//!
//!     RUSTFLAGS='--cfg loom' cargo test --release --test loom
//!
//! The file is taken in as source: loom's atomics stand in for the real ones.
#![cfg(loom)]

#[allow(dead_code, unreachable_pub, reason = "the model uses some of it, outside its crate")]
#[path = "../src/slot.rs"]
mod slot;

use loom::sync::Arc;
use loom::thread;
use slot::{Alarm, Phase, Slot};

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
