//! The place where a loop says what it is doing and until when, and the
//! handshake with the watchdog that reads it.
//!
//! Entering and leaving a call are a few stores by the loop and one
//! compare-and-swap; the watchdog takes the call away from the loop with the
//! other. Whoever wins the swap decides whether the call was in time.
//!
//! The ring rule: a loop stores its deadline, then its state, then fences,
//! then looks at the watchdog's alarm; the watchdog stores its alarm, then
//! fences, then looks at the slots. Of two sequentially consistent fences one
//! comes first, so one of the two sees the other's store, and a deadline
//! before the alarm is never slept through. Deadline before state, with
//! release and acquire on the state: whoever sees a state sees its deadline
//! or a later one.

#[cfg(not(loom))]
use crate::primitive::{AtomicU64, Ordering, fence};
#[cfg(loom)]
use loom::sync::atomic::{AtomicU64, Ordering, fence};

const PHASE_BITS: u32 = 2;
const PHASE_MASK: u64 = (1 << PHASE_BITS) - 1;

/// What the owner of a slot is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Waiting for its next due; the deadline says when it should have begun
    /// and ended the next call.
    Waiting = 0,
    /// In a call into user code.
    Running = 1,
    /// In a call that has passed its deadline.
    Overdue = 2,
}

/// A slot's number of calls so far and what it is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct State(u64);

impl State {
    fn new(generation: u64, phase: Phase) -> Self {
        Self(generation << PHASE_BITS | phase as u64)
    }

    pub(crate) fn generation(self) -> u64 {
        self.0 >> PHASE_BITS
    }

    pub(crate) fn phase(self) -> Phase {
        match self.0 & PHASE_MASK {
            0 => Phase::Waiting,
            1 => Phase::Running,
            _ => Phase::Overdue,
        }
    }
}

/// When the watchdog will look at the slots again, in nanoseconds.
#[derive(Debug)]
pub(crate) struct Alarm(AtomicU64);

impl Alarm {
    /// The watchdog is awake and will look before it sleeps: nobody rings.
    const AWAKE: u64 = 0;

    pub(crate) fn new() -> Self {
        Self(AtomicU64::new(Self::AWAKE))
    }

    /// Published by the watchdog before its last look at the slots.
    pub(crate) fn set(&self, until: u64) {
        self.0.store(until, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// The watchdog is awake.
    pub(crate) fn clear(&self) {
        self.0.store(Self::AWAKE, Ordering::Relaxed);
    }

    /// Whether a deadline just stored must be announced by a ring.
    fn misses(&self, deadline: u64) -> bool {
        fence(Ordering::SeqCst);
        deadline < self.0.load(Ordering::Relaxed)
    }
}

/// One thread's slot. It has no cache lines of its own: it stands in the block
/// of its owner, whose other fields the same thread uses in the same turn, and
/// a line that holds more of them is one less to be fetched.
#[derive(Debug)]
pub(crate) struct Slot {
    state: AtomicU64,
    deadline: AtomicU64,
}

impl Slot {
    pub(crate) fn new() -> Self {
        Self { state: AtomicU64::new(0), deadline: AtomicU64::new(u64::MAX) }
    }

    /// Begins call number `generation`. True: the watchdog must be rung.
    #[must_use]
    pub(crate) fn enter(&self, generation: u64, deadline: u64, alarm: &Alarm) -> bool {
        self.deadline.store(deadline, Ordering::Relaxed);
        self.state.store(State::new(generation, Phase::Running).0, Ordering::Release);
        alarm.misses(deadline)
    }

    /// Ends call number `generation`. True: it was in time.
    #[must_use]
    pub(crate) fn leave(&self, generation: u64) -> bool {
        let running = State::new(generation, Phase::Running).0;
        let waiting = State::new(generation, Phase::Waiting).0;
        let in_time =
            self.state.compare_exchange(running, waiting, Ordering::AcqRel, Ordering::Acquire).is_ok();
        if !in_time {
            self.state.store(waiting, Ordering::Release);
        }
        in_time
    }

    /// Says until when the next call should be over. True: the watchdog must
    /// be rung.
    #[must_use]
    pub(crate) fn wait_until(&self, deadline: u64, alarm: &Alarm) -> bool {
        self.deadline.store(deadline, Ordering::Relaxed);
        alarm.misses(deadline)
    }

    pub(crate) fn state(&self) -> State {
        State(self.state.load(Ordering::Acquire))
    }

    pub(crate) fn deadline(&self) -> u64 {
        self.deadline.load(Ordering::Relaxed)
    }

    /// The watchdog takes a running call away. True: it was still running.
    #[must_use]
    pub(crate) fn expire(&self, seen: State) -> bool {
        let overdue = State::new(seen.generation(), Phase::Overdue).0;
        self.state.compare_exchange(seen.0, overdue, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// The watchdog moves the deadline on, unless the loop has set another.
    pub(crate) fn postpone(&self, seen: u64, deadline: u64) {
        let _ = self.deadline.compare_exchange(seen, deadline, Ordering::Relaxed, Ordering::Relaxed);
    }
}

#[cfg(all(test, not(shuttle), not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_in_time_until_it_is_taken_away() {
        let (slot, alarm) = (Slot::new(), Alarm::new());
        alarm.set(100);
        assert!(slot.enter(1, 50, &alarm), "before the alarm: ring");
        assert!(slot.leave(1));
        assert!(!slot.enter(2, 150, &alarm), "after the alarm: the watchdog looks anyway");
        let seen = slot.state();
        assert_eq!((seen.generation(), seen.phase()), (2, Phase::Running));
        assert!(slot.expire(seen));
        assert_eq!(slot.state().phase(), Phase::Overdue);
        assert!(!slot.leave(2));
        assert_eq!(slot.state().phase(), Phase::Waiting);
        assert!(!slot.expire(seen), "a call that is over cannot be taken away");
    }
}
