//! The only place that makes threads, and the budget that refuses first.
//!
//! Every thread has a name, an owner and a bounded join. Threads take no
//! signals. A thread that the machine has no room for is an error the caller
//! sees: near the limit on memory mappings std would abort the process, so
//! the budget counts before it spawns.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::error::{Error, ErrorKind, Result};
use crate::primitive::{AtomicU32, Condvar, Mutex, Ordering, thread};
use crate::sys::{limits, signals};

/// Default stack of a loop's thread, in bytes: only touched pages count.
pub(crate) const STACK_SIZE: usize = 256 * 1024;

/// A thread's mappings: its stack, the signal stack, a guard page for each.
const MAPPINGS_PER_THREAD: u64 = 4;
/// Mappings kept back for the program itself.
const RESERVE: u64 = 512;

/// How a thread ended.
#[derive(Debug, Clone)]
pub(crate) enum Exit {
    /// Its body returned.
    Returned,
    /// Its body panicked, with this error.
    Panicked(Error),
}

/// Counts what the machine still allows before a thread is made. Shared by
/// all loops of an environment.
#[derive(Debug, Default)]
pub(crate) struct Budget {
    /// How many threads may be made before the mappings are counted again.
    credit: Mutex<u64>,
}

impl Budget {
    /// Takes room for one thread.
    fn take(&self) -> Result<()> {
        let mut credit = self.credit.lock();
        if *credit == 0 {
            *credit = Self::headroom()?;
        }
        *credit -= 1;
        Ok(())
    }

    /// Counts afresh. Half of the room is handed out before the next count,
    /// so that others in the process may take some, too: about as many
    /// counts as the logarithm of the room.
    fn headroom() -> Result<u64> {
        let mut room = u64::MAX;
        if let (Some(max), Some(used)) = (limits::max_mappings(), limits::mappings()) {
            room = max.saturating_sub(used.saturating_add(RESERVE)) / MAPPINGS_PER_THREAD;
            if room == 0 {
                return Err(Error::new(ErrorKind::Budget).context(format!(
                    "no room for another thread: vm.max_map_count is {max}, {used} in use, \
                     {RESERVE} kept in reserve and {MAPPINGS_PER_THREAD} needed for each"
                )));
            }
        }
        for (name, limit) in [("pids.max", limits::group_pids()), ("pid_max", Self::pids())] {
            let Some((used, max)) = limit else { continue };
            room = room.min(max.saturating_sub(used));
            if room == 0 {
                return Err(Error::new(ErrorKind::Budget)
                    .context(format!("no room for another thread: {name} is {max}, {used} in use")));
            }
        }
        Ok(room.min(1 << 20).div_ceil(2))
    }

    fn pids() -> Option<(u64, u64)> {
        Some((limits::threads()?, limits::max_pids()?))
    }
}

#[derive(Debug, Default)]
struct Shared {
    exit: Mutex<Option<Exit>>,
    ended: Condvar,
    tid: AtomicU32,
    handle: Mutex<Option<thread::JoinHandle<()>>>,
}

/// A thread of ours: named, owned, joined within a bound. Cloning shares it.
#[derive(Clone)]
#[must_use = "a thread that nobody joins outlives its owner"]
pub(crate) struct Task {
    shared: Arc<Shared>,
    thread: thread::Thread,
}

impl Task {
    /// Makes a thread. `name` is `<kind>/<name>`; the kernel shows 15 bytes.
    ///
    /// # Errors
    ///
    /// `Budget` when the machine has no room for it, naming the limit;
    /// `Spawn` when the operating system refuses.
    pub(crate) fn spawn(
        budget: &Budget,
        name: String,
        stack_size: usize,
        body: impl FnOnce() + Send + 'static,
    ) -> Result<Self> {
        budget.take()?;
        let shared = Arc::new(Shared::default());
        let theirs = shared.clone();
        let run = move || {
            theirs.tid.store(limits::thread_id(), Ordering::Relaxed);
            let exit = match std::panic::catch_unwind(std::panic::AssertUnwindSafe(body)) {
                Ok(()) => Exit::Returned,
                Err(payload) => Exit::Panicked(Error::from_panic(&*payload)),
            };
            *theirs.exit.lock() = Some(exit);
            theirs.ended.notify_all();
        };
        // Without signals from its first instruction on.
        let blocked = signals::block();
        #[allow(clippy::disallowed_methods, reason = "this module is where threads are made")]
        let spawned = thread::Builder::new().name(name).stack_size(stack_size).spawn(run);
        drop(blocked);
        match spawned {
            Ok(handle) => {
                let thread = handle.thread().clone();
                *shared.handle.lock() = Some(handle);
                Ok(Self { shared, thread })
            }
            Err(error) => Err(Error::new(ErrorKind::Spawn)
                .context(format!("no thread: {} (limits: {})", error, limits::thread_limits()))
                .caused_by(error)),
        }
    }

    /// The thread's full name.
    pub(crate) fn name(&self) -> &str {
        self.thread.name().unwrap_or_default()
    }

    /// The kernel's number for the thread; 0 before it runs.
    pub(crate) fn tid(&self) -> u32 {
        self.shared.tid.load(Ordering::Relaxed)
    }

    /// Whether the caller is this thread.
    pub(crate) fn is_current(&self) -> bool {
        self.thread.id() == thread::current().id()
    }

    /// Whether the thread's body is over.
    pub(crate) fn has_ended(&self) -> bool {
        self.shared.exit.lock().is_some()
    }

    /// Waits until the thread has ended or `deadline` passes; `None`: it
    /// passed. Real time, even where a test owns the clock. Several threads
    /// may wait at once.
    pub(crate) fn join_until(&self, deadline: Instant) -> Option<Exit> {
        let mut exit = self.shared.exit.lock();
        while exit.is_none() {
            let (guard, timed_out) = self.shared.ended.wait_until(exit, deadline);
            exit = guard;
            if timed_out {
                break;
            }
        }
        let ended = exit.clone()?;
        drop(exit);
        let handle = self.shared.handle.lock().take();
        if let Some(handle) = handle {
            // Its last act was to say so: this join waits for no code of ours.
            let _ = handle.join();
        }
        Some(ended)
    }
}

impl fmt::Debug for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Task").field("name", &self.name()).field("tid", &self.tid()).finish_non_exhaustive()
    }
}

/// A thread that did not end in the time it was given. It cannot be killed;
/// it ends when the call it is stuck in returns.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Straggler {
    /// The loop or component it belongs to.
    pub name: String,
    /// The thread's name.
    pub thread: String,
    /// The kernel's number for it, as `top` and `ps` show it.
    pub tid: u32,
    /// What it is doing.
    pub phase: &'static str,
    /// For how long.
    pub stuck_for: Duration,
}

impl fmt::Display for Straggler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} is still in {} after {:.1?} (thread {}, tid {})",
            self.name, self.phase, self.stuck_for, self.thread, self.tid
        )
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use super::*;
    use crate::clock::real_deadline;
    use crossbeam_channel::bounded;

    const PATIENCE: Duration = Duration::from_secs(5);

    #[test]
    fn a_join_is_bounded_and_gives_the_task_back() {
        let (tx, rx) = bounded::<()>(0);
        let task = Task::spawn(&Budget::default(), "t/slow".into(), STACK_SIZE, move || {
            let _ = rx.recv();
        })
        .unwrap();
        assert!(task.join_until(real_deadline(Duration::ZERO)).is_none());
        assert_eq!(task.name(), "t/slow");
        drop(tx);
        assert!(matches!(task.join_until(real_deadline(PATIENCE)), Some(Exit::Returned)));
    }

    #[test]
    fn a_panicking_body_is_an_exit() {
        let task = Task::spawn(&Budget::default(), "t/p".into(), STACK_SIZE, || panic!("boom")).unwrap();
        let exit = task.join_until(real_deadline(PATIENCE)).unwrap();
        assert!(matches!(exit, Exit::Panicked(error) if error.to_string() == "panicked: boom"));
    }

    #[test]
    fn the_budget_counts_now_and_then() {
        let budget = Budget::default();
        budget.take().unwrap();
        let credit = *budget.credit.lock();
        budget.take().unwrap();
        assert_eq!(*budget.credit.lock(), credit - 1);
    }
}
