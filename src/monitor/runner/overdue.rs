//! What the watchdog does for a monitor: it takes in that a look has passed its
//! deadline, or that what was found is too old.

use std::sync::{Arc, Weak};
use std::time::Duration;

use super::{Look, Numbers, Shared};
use crate::clock::Tick;
use crate::monitor::machine::Ending;
use crate::slot::Slot;
use crate::watchdog::Guarded;

/// After how long a thread is asked for again that was refused.
const TRY_AGAIN: Duration = Duration::from_secs(1);

/// What the watchdog minds for one thread.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    /// That its looks end.
    Looks,
    /// That what was found does not count for too long. Nothing is ever called
    /// in this slot: it is the moment that matters.
    Ages,
}

pub(super) struct Watched {
    pub(super) slot: Slot,
    pub(super) shared: Weak<Shared>,
    pub(super) id: u64,
    pub(super) kind: Kind,
}

impl Guarded for Watched {
    fn slot(&self) -> &Slot {
        &self.slot
    }

    fn overdue(&self, generation: u64, now: Tick) -> Tick {
        // The thread holds on to it for as long as its guard is there.
        let Some(shared) = self.shared.upgrade() else { return Tick::NEVER };
        shared.overdue(self.id, generation, now)
    }

    fn starved(&self, now: Tick) -> Tick {
        let Some(shared) = self.shared.upgrade() else { return Tick::NEVER };
        match self.kind {
            Kind::Looks => now + shared.least_deadline,
            Kind::Ages => shared.age(now),
        }
    }
}

impl Shared {
    /// A look has passed its deadline: what it found is taken in, and another
    /// thread goes on. Gives the moment at which to come again.
    fn overdue(self: &Arc<Self>, id: u64, generation: u64, now: Tick) -> Tick {
        let mut state = self.state.lock();
        if !state.is_in_office(id) {
            return Tick::NEVER;
        }
        if self.is_ending(&state) {
            drop(state);
            // A token was cancelled, and the thread cannot say so itself.
            self.end();
            return Tick::NEVER;
        }
        let before = Numbers::of(&state.machine);
        let look = state.office.as_mut().and_then(|office| office.look.as_mut());
        let Some(look) = look.filter(|look| look.generation == generation) else {
            return Tick::NEVER;
        };
        let Look { idx, begun, .. } = *look;
        let is_news = !std::mem::replace(&mut look.timed_out, true);
        let token = state.places[idx].token.clone();
        if is_news {
            let found = state.places[idx].give_up();
            let mut events = Vec::new();
            state.machine.timed_out(now, idx, begun, found, &mut events);
            self.tell_all(&mut state, events);
        }
        let run = state.run.clone();
        let mut retired = None;
        // Where there is no room for a successor now, ask again later.
        let again = match self.spawn(&mut state, &run) {
            Ok(successor) => {
                state.retired.retain(|office| !office.task.has_ended());
                let before = state.office.replace(successor);
                retired = before.as_ref().map(|office| office.task.clone());
                state.retired.extend(before);
                Tick::NEVER
            }
            Err(_) => now + TRY_AGAIN,
        };
        self.note(state, before);
        if let Some(task) = retired {
            // The first of two looks, between which its time is counted.
            let _ = task.look();
            // It may end by itself now.
            token.cancel();
        }
        if let Some(instruments) = self.instruments.checkers.get(idx).filter(|_| is_news) {
            instruments.note(Ending::Timeout, None, &self.env);
        }
        again
    }

    /// What was found too long ago is unknown from now on.
    fn age(&self, now: Tick) -> Tick {
        let mut state = self.state.lock();
        if self.is_ending(&state) {
            return Tick::NEVER;
        }
        let before = Numbers::of(&state.machine);
        let mut events = Vec::new();
        let next = state.machine.age(now, &mut events);
        self.tell_all(&mut state, events);
        self.note(state, before);
        next
    }
}
