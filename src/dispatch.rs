//! Calls users back about events: in order and one at a time per source, on a
//! thread of its own, never on a loop's.
//!
//! Each source with somebody to call has a [`Mailbox`]. The dispatcher's
//! thread takes the mailboxes that have mail in turn, one event each. The
//! handler is taken out of its mailbox for a call and put back when the call
//! returns, so one that hangs is simply absent: after ten seconds its thread
//! is retired and a successor goes on with the others.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use crate::clock::{Clock, Inbox, Seat, Signals, Tick, real_deadline};
use crate::event::Event;
use crate::primitive::{AtomicU64, Condvar, Mutex, MutexGuard, Ordering, thread};
use crate::slot::Slot;
use crate::stop::StopReport;
use crate::sys::limits;
use crate::thread::{Budget, FIRST_LOOK, Looks, Straggler, Task, caught};
use crate::watchdog::{Guard, Guarded, Watchdog};

/// A callback that runs longer than this loses its thread.
pub(crate) const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// How many events wait for one source's callbacks before the newest
/// replaces the one before it.
const CAPACITY: usize = 256;
/// How long a stop waits for a dispatcher's thread that is in no call.
const GRACE: Duration = Duration::from_secs(5);
/// How long it waits for one that is.
const CALL_GRACE: Duration = Duration::from_secs(1);
/// The name of a dispatcher's thread.
const THREAD: &str = "lk/dispatch";

/// What a mailbox calls for each event.
pub(crate) type Handler = Box<dyn FnMut(&Event) + Send>;

/// A call for the dispatcher's thread that is not about an event.
pub(crate) type Job = Box<dyn FnOnce() + Send>;

/// The queue and the handler of one source.
pub(crate) struct Mailbox {
    dispatcher: Weak<Shared>,
    state: Mutex<Mail>,
    idle: Condvar,
}

struct Mail {
    queue: VecDeque<Arc<Event>>,
    handler: Option<Handler>,
    /// The mailbox is in the dispatcher's list, or its handler is running.
    scheduled: bool,
    running: Option<Running>,
    closed: bool,
    coalesced: u64,
    dropped: u64,
}

/// What became of a source's callbacks.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct MailCounts {
    /// Events replaced by a later one, because too many were waiting.
    pub(crate) coalesced: u64,
    /// Events that nobody was called about, because of a stop.
    pub(crate) dropped: u64,
}

/// A callback in progress: on which thread, and since when.
#[derive(Debug, Clone, Copy)]
struct Running {
    id: thread::ThreadId,
    thread: &'static str,
    tid: u32,
    since: Tick,
}

/// How the end of a source's callbacks went.
#[derive(Debug)]
pub(crate) struct Closed {
    /// Events that nobody was called about.
    dropped: u64,
    /// A callback that has not returned, unless the caller is in it.
    running: Option<Running>,
    /// What was seen of its thread.
    looks: Looks,
}

impl Closed {
    /// Says in a source's report what its stop did not wait for.
    pub(crate) fn tell(mut self, name: &str, now: Tick, report: &mut StopReport) {
        report.add_dropped_callbacks(self.dropped);
        if let Some(Running { thread, tid, since, .. }) = self.running {
            let straggler = Straggler::of(name, thread, tid, "its callback", now.since(since));
            report.add_straggler(straggler.seen(self.looks.look(tid)));
        }
    }
}

pub(crate) struct Dispatcher {
    shared: Arc<Shared>,
}

struct Shared {
    clock: Clock,
    watchdog: Arc<Watchdog>,
    budget: Arc<Budget>,
    stack_size: usize,
    state: Mutex<State>,
    panics: AtomicU64,
    retired: AtomicU64,
}

#[derive(Default)]
struct State {
    due: VecDeque<Due>,
    worker: Option<Worker>,
    /// The worker is in a call.
    calling: bool,
    /// Since when the next call waits to be taken.
    waits_since: Option<Tick>,
    stopped: bool,
}

enum Due {
    Mail(Arc<Mailbox>),
    Job(Job),
}

struct Worker {
    id: u64,
    inbox: Arc<Inbox>,
    task: Task,
}

impl Dispatcher {
    pub(crate) fn new(
        clock: &Clock,
        watchdog: Arc<Watchdog>,
        budget: Arc<Budget>,
        stack_size: usize,
    ) -> Self {
        let (clock, state) = (clock.clone(), Mutex::new(State::default()));
        let (panics, retired) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { shared: Arc::new(Shared { clock, watchdog, budget, stack_size, state, panics, retired }) }
    }

    /// Makes the mailbox of a source. The thread is made with the first.
    ///
    /// # Errors
    ///
    /// As [`Task::spawn`].
    pub(crate) fn mailbox(&self, handler: Handler) -> crate::error::Result<Arc<Mailbox>> {
        self.shared.ensure_worker()?;
        let mail = Mail {
            queue: VecDeque::new(),
            handler: Some(handler),
            scheduled: false,
            running: None,
            closed: false,
            coalesced: 0,
            dropped: 0,
        };
        Ok(Arc::new(Mailbox {
            dispatcher: Arc::downgrade(&self.shared),
            state: Mutex::new(mail),
            idle: Condvar::default(),
        }))
    }

    /// Runs user code that is about a cancel, soon, in a slot.
    pub(crate) fn submit(&self, job: Job) {
        if self.shared.ensure_worker().is_ok() {
            self.shared.push(Due::Job(job));
        } else {
            // No thread is to be had: the work it would have cut short ends
            // at its deadline instead.
            drop(job);
        }
    }

    /// How many panics of callbacks were caught.
    pub(crate) fn panics(&self) -> u64 {
        self.shared.panics.load(Ordering::Relaxed)
    }

    /// How many threads were retired because a callback hung.
    pub(crate) fn retired(&self) -> u64 {
        self.shared.retired.load(Ordering::Relaxed)
    }

    /// For how long nothing was taken although something waits: never much
    /// more than a call may take.
    pub(crate) fn late_by(&self, now: Tick) -> Duration {
        self.shared.state.lock().waits_since.map_or(Duration::ZERO, |since| now.since(since))
    }

    /// Ends the thread after its present call, which is waited for a moment.
    /// From a callback it only asks.
    pub(crate) fn stop(&self) {
        let mut state = self.shared.state.lock();
        state.stopped = true;
        let worker = state.worker.take();
        let rest = std::mem::take(&mut state.due);
        let grace = if state.calling { CALL_GRACE } else { GRACE };
        drop(state);
        for due in rest {
            // A panic here must not keep the other threads from being ended.
            let _ = caught(|| drop(due));
        }
        if let Some(worker) = worker {
            worker.inbox.ring(Signals::CANCEL);
            if !worker.task.is_current() {
                worker.task.join_until(real_deadline(grace));
            }
        }
    }
}

impl fmt::Debug for Dispatcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dispatcher").finish_non_exhaustive()
    }
}

impl Mailbox {
    /// Has the handler called about an event. Never waits.
    pub(crate) fn send(self: &Arc<Self>, event: Arc<Event>) {
        let mut mail = self.state.lock();
        if mail.closed {
            return;
        }
        let replaced = if mail.queue.len() == CAPACITY {
            mail.coalesced += 1;
            mail.queue.pop_back()
        } else {
            None
        };
        mail.queue.push_back(event);
        let schedule = mail.handler.is_some() && !mail.scheduled;
        mail.scheduled |= schedule;
        drop(mail);
        drop(replaced);
        if schedule {
            if let Some(dispatcher) = self.dispatcher.upgrade() {
                dispatcher.push(Due::Mail(self.clone()));
            }
        }
    }

    /// Takes no more events, waits until `deadline` for those that wait, and
    /// drops the rest. From a callback it does not wait.
    pub(crate) fn close(&self, deadline: Instant) -> Closed {
        let me = thread::current().id();
        let on_dispatcher = self.dispatcher.upgrade().is_some_and(|shared| shared.is_current());
        let mut mail = self.state.lock();
        mail.closed = true;
        let own_call = on_dispatcher || mail.running.is_some_and(|running| running.id == me);
        let mut looks = Looks::default();
        if !own_call {
            mail = self.wait_idle(mail, deadline.min(real_deadline(FIRST_LOOK)));
            if let Some(running) = mail.running {
                drop(mail);
                // The first of two looks, between which its time is counted.
                let _ = looks.look(running.tid);
                mail = self.state.lock();
            }
            mail = self.wait_idle(mail, deadline);
        }
        let rest = std::mem::take(&mut mail.queue);
        let dropped = rest.len() as u64;
        mail.dropped += dropped;
        let running = mail.running.filter(|running| running.id != me);
        drop(mail);
        drop(rest);
        Closed { dropped, running, looks }
    }

    /// Waits until nothing is scheduled and nothing runs, or until `deadline`.
    fn wait_idle<'a>(&'a self, mut mail: MutexGuard<'a, Mail>, deadline: Instant) -> MutexGuard<'a, Mail> {
        while mail.scheduled || mail.running.is_some() {
            let (guard, timed_out) = self.idle.wait_until(mail, deadline);
            mail = guard;
            if timed_out {
                break;
            }
        }
        mail
    }

    /// Whether the caller is in its handler.
    #[cfg(feature = "capi")]
    pub(crate) fn is_own_call(&self) -> bool {
        let me = thread::current().id();
        self.state.lock().running.is_some_and(|running| running.id == me)
    }

    /// Whether nothing is scheduled and nothing runs.
    pub(crate) fn is_idle(&self) -> bool {
        let mail = self.state.lock();
        !mail.scheduled && mail.running.is_none()
    }

    /// Takes events again, after a restart of its source.
    pub(crate) fn reopen(&self) {
        self.state.lock().closed = false;
    }

    pub(crate) fn counts(&self) -> MailCounts {
        let mail = self.state.lock();
        MailCounts { coalesced: mail.coalesced, dropped: mail.dropped }
    }

    fn take(&self, now: Tick) -> Option<(Handler, Arc<Event>)> {
        let mut mail = self.state.lock();
        let taken = match (mail.handler.take(), mail.queue.pop_front()) {
            (Some(handler), Some(event)) => {
                let (id, tid) = (thread::current().id(), limits::thread_id());
                mail.running = Some(Running { id, thread: THREAD, tid, since: now });
                Some((handler, event))
            }
            (handler, event) => {
                mail.handler = handler;
                if let Some(event) = event {
                    mail.queue.push_front(event);
                }
                mail.scheduled = false;
                None
            }
        };
        drop(mail);
        if taken.is_none() {
            self.idle.notify_all();
        }
        taken
    }

    /// Puts a handler back; says whether more mail waits for it.
    fn put_back(&self, handler: Handler) -> bool {
        let mut mail = self.state.lock();
        mail.handler = Some(handler);
        mail.running = None;
        mail.scheduled = !mail.queue.is_empty();
        let more = mail.scheduled;
        drop(mail);
        if !more {
            self.idle.notify_all();
        }
        more
    }
}

impl fmt::Debug for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mailbox").finish_non_exhaustive()
    }
}

impl Shared {
    fn push(&self, due: Due) {
        let mut state = self.state.lock();
        if state.stopped {
            drop(state);
            drop(due);
            return;
        }
        state.due.push_back(due);
        if state.waits_since.is_none() {
            state.waits_since = Some(self.clock.now());
        }
        let inbox = state.worker.as_ref().map(|worker| worker.inbox.clone());
        drop(state);
        if let Some(inbox) = inbox {
            inbox.ring(Signals::POKE);
        }
    }

    /// Whether the caller is the dispatcher's thread.
    fn is_current(&self) -> bool {
        self.state.lock().worker.as_ref().is_some_and(|worker| worker.task.is_current())
    }

    fn ensure_worker(self: &Arc<Self>) -> crate::error::Result<()> {
        let mut state = self.state.lock();
        if state.worker.is_none() && !state.stopped {
            let worker = self.spawn(0)?;
            state.worker = Some(worker);
        }
        Ok(())
    }

    fn spawn(self: &Arc<Self>, id: u64) -> crate::error::Result<Worker> {
        let (inbox, seat) = self.clock.join("dispatcher");
        let (shared, bell) = (self.clone(), inbox.clone());
        let task = Task::spawn(&self.budget, THREAD.to_owned(), self.stack_size, move || {
            shared.run(id, &bell, seat);
        })?;
        Ok(Worker { id, inbox, task })
    }

    fn run(self: Arc<Self>, id: u64, inbox: &Arc<Inbox>, seat: Seat) {
        let owner = Arc::new(Retire { slot: Slot::new(), shared: Arc::downgrade(&self), id });
        let guard = self.watchdog.guard(owner);
        let mut calls = 0;
        loop {
            guard.wait_until(Tick::NEVER);
            if self.clock.wait(inbox, Tick::NEVER).has(Signals::CANCEL) {
                break;
            }
            while let Some(due) = self.next(id) {
                calls += 1;
                self.call(&guard, calls, due);
            }
            if !self.is_in_office(id) {
                break;
            }
        }
        drop(guard);
        drop(seat);
    }

    /// Whether thread number `id` has no successor.
    fn is_in_office(&self, id: u64) -> bool {
        self.state.lock().worker.as_ref().is_some_and(|worker| worker.id == id)
    }

    fn next(&self, id: u64) -> Option<Due> {
        let mut state = self.state.lock();
        let mine = state.worker.as_ref().is_some_and(|worker| worker.id == id);
        if !mine {
            return None;
        }
        let due = state.due.pop_front();
        state.calling = due.is_some();
        state.waits_since = (!state.due.is_empty()).then(|| self.clock.now());
        due
    }

    fn call(&self, guard: &Guard, n: u64, due: Due) {
        // All of it in the slot: a mailbox or a job whose owner is gone is
        // dropped here, and with it what the user gave us.
        guard.enter(n, self.clock.now() + CALL_TIMEOUT);
        self.contain(|| match due {
            Due::Job(job) => job(),
            Due::Mail(mailbox) => {
                let Some((mut handler, event)) = mailbox.take(self.clock.now()) else { return };
                self.contain(|| handler(&event));
                if mailbox.put_back(handler) {
                    self.push(Due::Mail(mailbox));
                }
            }
        });
        // A late return changes nothing here: the mailbox went back, and a
        // thread that has a successor ends.
        let _ = guard.leave(n);
    }

    fn contain(&self, call: impl FnOnce()) {
        let panicked = caught(call).is_err();
        self.panics.fetch_add(u64::from(panicked), Ordering::Relaxed);
    }
}

/// Retires the thread whose call hangs, and puts another in its place.
struct Retire {
    slot: Slot,
    shared: Weak<Shared>,
    id: u64,
}

impl Guarded for Retire {
    fn slot(&self) -> &Slot {
        &self.slot
    }

    fn overdue(&self, _generation: u64, now: Tick) -> Tick {
        let Some(shared) = self.shared.upgrade() else { return Tick::NEVER };
        let mut state = shared.state.lock();
        let mine = state.worker.as_ref().is_some_and(|worker| worker.id == self.id);
        if !mine || state.stopped {
            return Tick::NEVER;
        }
        // Where there is no room for a successor now, ask again later.
        let Ok(successor) = shared.spawn(self.id + 1) else { return now + CALL_TIMEOUT };
        shared.retired.fetch_add(1, Ordering::Relaxed);
        let inbox = successor.inbox.clone();
        let retired = state.worker.replace(successor);
        state.calling = false;
        drop(state);
        drop(retired);
        inbox.ring(Signals::POKE);
        Tick::NEVER
    }

    fn starved(&self, _now: Tick) -> Tick {
        Tick::NEVER
    }
}
