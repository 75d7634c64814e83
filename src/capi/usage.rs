//! Who uses what a slot of the table of handles holds.
//!
//! One number: the slot's generation, whether its object was freed, and how
//! many calls use that. Of an object that was freed the last user takes it
//! out; until then it is only read, and after that the slot is nobody's until
//! it is given out anew. A short call may use an object alone, with half of the
//! cost: whoever comes meanwhile waits. `tests/loom.rs` tries every order of
//! this.

#[cfg(not(loom))]
use crate::primitive::{AtomicU64, Ordering};
#[cfg(loom)]
use loom::sync::atomic::{AtomicU64, Ordering};
#[cfg(loom)]
use loom::thread::yield_now;
#[cfg(not(loom))]
use std::thread::yield_now;

const FREED: u64 = 1 << 23;
const ALONE: u64 = 1 << 22;
const USERS: u64 = ALONE - 1;
const GENERATION: u32 = 24;

pub(super) struct Usage(AtomicU64);

/// Whether a use has begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Begin {
    /// An [`Usage::end`] must follow.
    Begun,
    /// What was of this generation was freed.
    Freed,
    /// There was no such generation yet.
    Never,
}

/// What the end of a use leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// It can be used on.
    Open,
    /// It was freed, and others still use it.
    Others,
    /// It was freed, and nobody uses it: whoever is told so takes it out.
    Last,
}

impl Usage {
    /// Of a slot that was never given out.
    pub(super) fn new() -> Self {
        Self(AtomicU64::new(FREED))
    }

    pub(super) fn generation(&self) -> u64 {
        self.0.load(Ordering::Relaxed) >> GENERATION
    }

    /// Gives the slot out anew, once its object is in it; to be called by the
    /// one who has the slot alone.
    pub(super) fn give_out(&self) -> u64 {
        let generation = self.generation() + 1;
        // Release: whoever begins a use sees the object.
        self.0.store(generation << GENERATION, Ordering::Release);
        generation
    }

    pub(super) fn begin(&self, generation: u64) -> Begin {
        let mut state = self.0.load(Ordering::Relaxed);
        loop {
            let present = state >> GENERATION;
            if !(1..=present).contains(&generation) {
                return Begin::Never;
            }
            if present != generation || state & FREED != 0 {
                return Begin::Freed;
            }
            if state & ALONE != 0 {
                yield_now();
                state = self.0.load(Ordering::Relaxed);
                continue;
            }
            match self.0.compare_exchange_weak(state, state + 1, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => return Begin::Begun,
                Err(now) => state = now,
            }
        }
    }

    /// Begins to use the object alone, if nobody uses it and it is of this
    /// generation and not freed. For what is over soon and calls nobody: an
    /// [`end_alone`](Self::end_alone) must follow.
    #[inline]
    pub(super) fn begin_alone(&self, generation: u64) -> bool {
        let idle = generation << GENERATION;
        // The first generation is 1: before it the slot is freed.
        self.0.compare_exchange(idle, idle | ALONE, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }

    #[inline]
    pub(super) fn end_alone(&self, generation: u64) {
        // Nobody has changed it meanwhile. Release: what was done with the
        // object is over for the next.
        self.0.store(generation << GENERATION, Ordering::Release);
    }

    /// Frees the object, during a use; whether it was not freed before.
    pub(super) fn free(&self) -> bool {
        self.0.fetch_or(FREED, Ordering::Relaxed) & FREED == 0
    }

    /// Whether others use the object, too, during a use.
    pub(super) fn is_shared(&self) -> bool {
        self.0.load(Ordering::Acquire) & USERS > 1
    }

    pub(super) fn end(&self) -> End {
        // Release: what was done with the object is over for the last.
        let before = self.0.fetch_sub(1, Ordering::AcqRel);
        match (before & FREED != 0, before & USERS) {
            (false, _) => End::Open,
            (true, 1) => End::Last,
            (true, _) => End::Others,
        }
    }

    /// As if all generations before this one had been used.
    #[cfg(test)]
    pub(super) fn skip_to(&self, generation: u64) {
        self.0.store(generation << GENERATION, Ordering::Relaxed);
    }
}
