//! One thread that notices, for all loops, which call has passed its
//! deadline.
//!
//! It sleeps until the earliest deadline it knows and is rung only for an
//! earlier one (see [`slot`](crate::slot)), so steady periodic work costs
//! nothing. It never runs user code: it takes the call away and tells the
//! call's owner, which publishes the timeout while the call is still stuck.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::{Clock, Inbox, Signals, Tick, real_deadline};
use crate::error::Result;
use crate::primitive::{Condvar, Mutex};
use crate::slot::{Alarm, Phase, Slot};
use crate::thread::{Budget, Task};

/// How long a stop waits for the watchdog's thread, which runs no user code.
const GRACE: Duration = Duration::from_secs(5);

/// Who is told about a slot's deadline. Called on the watchdog's thread,
/// without a lock of the watchdog's; must not run user code.
pub(crate) trait Guarded: Send + Sync {
    /// Where the calls are marked. One thread at a time has a guard for it.
    fn slot(&self) -> &Slot;

    /// Call number `generation` has passed its deadline, or the one returned
    /// last, and has not returned. Returns when to say so again.
    fn overdue(&self, generation: u64, now: Tick) -> Tick;

    /// The thread should have made its next call by now and has not: the
    /// machine is overloaded or was asleep. Returns when to look again.
    fn starved(&self, now: Tick) -> Tick;
}

#[derive(Default)]
struct Registry {
    entries: Vec<Option<Arc<dyn Guarded>>>,
    free: Vec<usize>,
    /// The entry whose owner is being told.
    serving: Option<usize>,
}

struct Shared {
    clock: Clock,
    inbox: Arc<Inbox>,
    alarm: Alarm,
    registry: Mutex<Registry>,
    served: Condvar,
}

/// The watchdog's handle.
pub(crate) struct Watchdog {
    shared: Arc<Shared>,
    task: Mutex<Option<Task>>,
}

/// A slot that the watchdog looks at, until this is dropped.
pub(crate) struct Guard {
    owner: Arc<dyn Guarded>,
    shared: Arc<Shared>,
    key: usize,
}

impl Watchdog {
    pub(crate) fn start(clock: &Clock, budget: &Budget, stack_size: usize) -> Result<Self> {
        let (inbox, seat) = clock.join("watchdog");
        let shared = Arc::new(Shared {
            clock: clock.clone(),
            inbox,
            alarm: Alarm::new(),
            registry: Mutex::new(Registry::default()),
            served: Condvar::default(),
        });
        let theirs = shared.clone();
        let task = Task::spawn(budget, "lk/watchdog".to_owned(), stack_size, move || {
            theirs.run();
            drop(seat);
        })?;
        Ok(Self { shared, task: Mutex::new(Some(task)) })
    }

    /// Has the watchdog look at the slot of `owner`, in which no call is.
    pub(crate) fn guard(&self, owner: Arc<dyn Guarded>) -> Guard {
        let entry = owner.clone();
        let mut registry = self.shared.registry.lock();
        let key = match registry.free.pop() {
            Some(key) => {
                registry.entries[key] = Some(entry);
                key
            }
            None => {
                registry.entries.push(Some(entry));
                registry.entries.len() - 1
            }
        };
        drop(registry);
        Guard { owner, shared: self.shared.clone(), key }
    }

    /// Whether the thread runs.
    #[cfg_attr(not(feature = "http"), allow(dead_code, reason = "the server asks"))]
    pub(crate) fn is_alive(&self) -> bool {
        self.task.lock().as_ref().is_some_and(|task| !task.has_ended())
    }

    /// For how long it has left a deadline unattended: never more than a
    /// moment while its thread does its work.
    pub(crate) fn late_by(&self, now: Tick) -> Duration {
        now.since(Tick::from_nanos(self.shared.earliest()))
    }

    /// Ends the thread. From its own thread it only asks.
    pub(crate) fn stop(&self) {
        self.shared.inbox.ring(Signals::CANCEL);
        let task = self.task.lock().take();
        if let Some(task) = task.filter(|task| !task.is_current()) {
            // It runs no user code: what does not end here is a stalled
            // machine, and then the thread ends by itself later.
            drop(task.join_until(real_deadline(GRACE)));
        }
    }
}

impl Guard {
    /// Begins call number `generation`, to be over by `deadline`.
    pub(crate) fn enter(&self, generation: u64, deadline: Tick) {
        if self.owner.slot().enter(generation, deadline.nanos(), &self.shared.alarm) {
            self.shared.inbox.ring(Signals::POKE);
        }
    }

    /// Ends call number `generation`. True: it was in time.
    #[must_use]
    pub(crate) fn leave(&self, generation: u64) -> bool {
        self.owner.slot().leave(generation)
    }

    /// Says by when the next call should be over.
    pub(crate) fn wait_until(&self, deadline: Tick) {
        if self.owner.slot().wait_until(deadline.nanos(), &self.shared.alarm) {
            self.shared.inbox.ring(Signals::POKE);
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let mut registry = self.shared.registry.lock();
        // The watchdog must not be left with the last hold on an owner: what
        // users gave it would be dropped on the one thread that guards all.
        while registry.serving == Some(self.key) {
            registry = self.shared.served.wait(registry);
        }
        let entry = registry.entries[self.key].take();
        registry.free.push(self.key);
        drop(registry);
        drop(entry);
    }
}

impl Shared {
    fn run(&self) {
        loop {
            let mut earliest = self.earliest();
            loop {
                self.alarm.set(earliest);
                let again = self.earliest();
                if again >= earliest {
                    break;
                }
                earliest = again;
            }
            let signals = self.clock.wait(&self.inbox, Tick::from_nanos(earliest));
            self.alarm.clear();
            if signals.has(Signals::CANCEL) {
                return;
            }
            self.look();
        }
    }

    fn earliest(&self) -> u64 {
        let registry = self.registry.lock();
        let deadlines = registry.entries.iter().flatten().map(|entry| entry.slot().deadline());
        deadlines.min().unwrap_or(u64::MAX)
    }

    fn look(&self) {
        let now = self.clock.now();
        for key in self.due(now) {
            let Some(owner) = self.serve(key) else { continue };
            Self::tell(&*owner, now);
            // Never the last: its guard waits until this is over.
            drop(owner);
            self.registry.lock().serving = None;
            self.served.notify_all();
        }
    }

    fn tell(owner: &dyn Guarded, now: Tick) {
        let slot = owner.slot();
        // State before deadline: a deadline belongs to the state seen
        // before it or to a later one, which the swap then refuses.
        let state = slot.state();
        let deadline = slot.deadline();
        if deadline > now.nanos() {
            return;
        }
        let next = match state.phase() {
            Phase::Running if slot.expire(state) => owner.overdue(state.generation(), now),
            Phase::Running => return,
            Phase::Overdue => owner.overdue(state.generation(), now),
            Phase::Waiting => owner.starved(now),
        };
        slot.postpone(deadline, next.nanos());
    }

    fn due(&self, now: Tick) -> Vec<usize> {
        let registry = self.registry.lock();
        let is_due = |owner: &Arc<dyn Guarded>| owner.slot().deadline() <= now.nanos();
        let entries = registry.entries.iter().enumerate();
        let due = entries.filter(|(_, owner)| owner.as_ref().is_some_and(is_due));
        due.map(|(key, _)| key).collect()
    }

    /// The owner of an entry, unless it is gone by now.
    fn serve(&self, key: usize) -> Option<Arc<dyn Guarded>> {
        let mut registry = self.registry.lock();
        let owner = registry.entries[key].clone()?;
        registry.serving = Some(key);
        Some(owner)
    }
}
