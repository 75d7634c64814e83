//! The only place that makes threads, and the budget that refuses first.
//!
//! Every thread has a name, an owner and a bounded join. Threads take no
//! signals. A thread that the machine has no room for is an error the caller
//! sees: near the limit on memory mappings std would abort the process, so
//! the budget counts before it spawns.

mod activity;

use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::clock::{real_deadline, real_remaining};
use crate::error::{Error, ErrorKind, Result};
use crate::primitive::{AtomicBool, AtomicU32, Condvar, Mutex, Ordering, thread};
use crate::sys::{limits, signals};

pub(crate) use activity::Looks;
pub use activity::{Activity, ActivityKind};

/// Default stack of a loop's thread, in bytes: only touched pages count.
pub(crate) const STACK_SIZE: usize = 256 * 1024;

/// After how long of waiting for a thread it is looked at for the first time.
pub(crate) const FIRST_LOOK: Duration = Duration::from_millis(50);

/// A thread's mappings: its stack, the signal stack, a guard page for each.
const MAPPINGS_PER_THREAD: u64 = 4;
/// How long a count of what is in use is gone by.
const FRESH: Duration = Duration::from_millis(100);
/// Mappings kept back for the program itself.
const RESERVE: u64 = 512;

/// Runs code of a user's: a panic is an error. What the panic carried is
/// dropped here; what panics even then is forgotten.
pub(crate) fn caught<T>(call: impl FnOnce() -> T) -> Result<T> {
    catch_unwind(AssertUnwindSafe(call)).map_err(panicked)
}

/// The error that a panic is, from what it carried.
#[cold]
pub(crate) fn panicked(payload: Box<dyn Any + Send>) -> Error {
    let error = Error::from_panic(&*payload);
    if let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        std::mem::forget(again);
    }
    error
}

/// The number of the calling thread, counted in the order in which threads
/// first ask.
#[cfg(feature = "http-client")]
pub(crate) fn number() -> usize {
    static NEXT: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
    std::thread_local! {
        static NUMBER: usize = NEXT.fetch_add(1, Ordering::Relaxed);
    }
    NUMBER.with(|number| *number)
}

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
    credit: Mutex<Credit>,
}

/// How many threads may be made before the room is counted again, and until
/// when the count is worth anything: others in the process take room, too.
#[derive(Debug, Default)]
struct Credit {
    threads: u64,
    until: Option<Instant>,
}

impl Budget {
    /// Takes room for one thread.
    fn take(&self) -> Result<()> {
        let mut credit = self.credit.lock();
        let is_fresh = credit.until.is_some_and(|until| !real_remaining(until).is_zero());
        if credit.threads == 0 || !is_fresh {
            let threads = Self::headroom()?;
            *credit = Credit { threads, until: Some(real_deadline(FRESH)) };
        }
        credit.threads -= 1;
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
    /// Whether there is an exit: a flag that others may look at often.
    is_over: AtomicBool,
    ended: Condvar,
    tid: AtomicU32,
    handle: Mutex<Option<thread::JoinHandle<()>>>,
    /// What was seen of it.
    looks: Mutex<Looks>,
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
        Self::spawn_boxed(budget, name, stack_size, Box::new(body))
    }

    /// What makes a thread is there once, and not for each body.
    fn spawn_boxed(
        budget: &Budget,
        name: String,
        stack_size: usize,
        body: Box<dyn FnOnce() + Send>,
    ) -> Result<Self> {
        budget.take()?;
        let shared = Arc::new(Shared::default());
        let theirs = shared.clone();
        let run = move || {
            theirs.tid.store(limits::thread_id(), Ordering::Relaxed);
            let exit = caught(body).map_or_else(Exit::Panicked, |()| Exit::Returned);
            *theirs.exit.lock() = Some(exit);
            theirs.is_over.store(true, Ordering::Release);
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
                .context(format!("no thread (limits: {})", limits::thread_limits()))
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
        self.shared.is_over.load(Ordering::Acquire)
    }

    /// On the thread itself, at the beginning of a call that may get stuck: the
    /// first look, without a file.
    pub(crate) fn mark(&self) {
        self.shared.looks.lock().begin();
    }

    /// Looks what the thread does, as the kernel sees it; from the second look
    /// on the time between two counts. Reads files, so with no lock that
    /// others wait for.
    pub(crate) fn look(&self) -> Option<Activity> {
        self.shared.looks.lock().look(self.tid())
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

    /// The same for a thread that may be stuck: it is looked at in between, so
    /// that a look at the end counts what it has done meanwhile.
    pub(crate) fn join_watched(&self, deadline: Instant) -> Option<Exit> {
        self.join_until(deadline.min(real_deadline(FIRST_LOOK))).or_else(|| {
            let _ = self.look();
            self.join_until(deadline)
        })
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
    /// What it is in.
    pub phase: &'static str,
    /// What the call says that it is doing there, by
    /// [`Context::step`](crate::Context::step).
    pub doing: Option<Arc<str>>,
    /// For how long it is in its phase.
    pub stuck_for: Duration,
    /// Whether it burns processor time or is blocked, where the system says.
    pub activity: Option<Activity>,
}

impl Straggler {
    /// Looks at the thread as well, once more.
    pub(crate) fn new(
        name: impl Into<String>,
        task: &Task,
        phase: &'static str,
        stuck_for: Duration,
    ) -> Self {
        Self::of(name, task.name(), task.tid(), phase, stuck_for).seen(task.look())
    }

    /// One of a thread that was not looked at.
    pub(crate) fn of(
        name: impl Into<String>,
        thread: impl Into<String>,
        tid: u32,
        phase: &'static str,
        stuck_for: Duration,
    ) -> Self {
        let (name, thread) = (name.into(), thread.into());
        Self { name, thread, tid, phase, doing: None, stuck_for, activity: None }
    }

    /// Adds what its call says.
    pub(crate) fn doing(self, doing: Option<Arc<str>>) -> Self {
        Self { doing, ..self }
    }

    /// Takes what was seen of the thread.
    pub(crate) fn seen(self, activity: Option<Activity>) -> Self {
        Self { activity: activity.or(self.activity), ..self }
    }
}

impl fmt::Display for Straggler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is still in {} after {:.1?}", self.name, self.phase, self.stuck_for)?;
        write!(f, " (thread {}, tid {}", self.thread, self.tid)?;
        self.activity.as_ref().map_or(Ok(()), |activity| write!(f, ", {activity}"))?;
        f.write_str(")")?;
        self.doing.as_ref().map_or(Ok(()), |doing| write!(f, ": {doing}"))
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
        let credit = budget.credit.lock().threads;
        budget.take().unwrap();
        let left = budget.credit.lock().threads;
        assert_eq!(left, credit - 1);
        // An old count is not gone by.
        *budget.credit.lock() = Credit { threads: u64::MAX, until: Some(real_deadline(Duration::ZERO)) };
        budget.take().unwrap();
        assert!(budget.credit.lock().threads <= credit + 64);
    }
}
