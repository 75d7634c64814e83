//! The handle of a loop: how it is made, started and stopped, and what is asked
//! of it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::instruments::Instruments;
use super::machine::Machine;
use super::source::{Source, Stage};
use super::work::Work;
use crate::cancel::{CancelToken, LinkGuard};
use crate::clock::{Signals, Tick, real_deadline};
use crate::component::{Context, Reporter};
use crate::dispatch::Handler;
use crate::env::Env;
use crate::error::{Error, ErrorKind, Result};
use crate::event::{EventKind, Health, LoopKind};
use crate::name::Name;
use crate::primitive::Mutex;
use crate::stamp::Stamp;
use crate::status::LoopStatus;
#[cfg(feature = "capi")]
use crate::status::StatusView;
use crate::stop::StopReport;
use crate::subscription::{Hub, Subscription};
use crate::thread::{Exit, FIRST_LOOK, Task};
use crate::voice::Voice;

/// What a loop is made from.
pub(crate) struct Spec {
    pub(crate) name: Name,
    pub(crate) kind: LoopKind,
    /// Ends the loop when cancelled.
    pub(crate) cancel: Option<CancelToken>,
    /// Called about events, on the dispatcher's thread.
    pub(crate) handler: Option<Handler>,
    /// Hears of events, too.
    pub(crate) hub: Option<Arc<Hub>>,
    pub(crate) instruments: Instruments,
}

/// Until when a stop waits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StopDeadlines {
    /// For callbacks, and for everything.
    pub(crate) all: Instant,
    /// For calls in progress.
    pub(crate) calls: Instant,
}

impl StopDeadlines {
    /// At most this long is a call waited for whose answer no longer matters.
    const CALLS: Duration = Duration::from_secs(1);

    pub(crate) fn new(grace: Duration) -> Self {
        Self { all: real_deadline(grace), calls: real_deadline(grace.min(Self::CALLS)) }
    }

    /// For calls that do work: what they do matters also at the end.
    pub(crate) fn patient(grace: Duration) -> Self {
        let all = real_deadline(grace);
        Self { all, calls: all }
    }
}

/// The handle of one loop: its thread is stopped when this is dropped.
pub(crate) struct Loop<M: Machine, W> {
    source: Arc<Source<M>>,
    handle: Handle,
    /// Where the loop's thread leaves what it calls, for a restart.
    work: Arc<Mutex<Option<W>>>,
}

/// What of a loop's handle is the same for each kind.
pub(crate) struct Handle {
    source: Arc<Source>,
    cancel: Option<CancelToken>,
    thread: Mutex<Thread>,
}

impl<M: Machine, W> std::ops::Deref for Loop<M, W> {
    type Target = Handle;

    fn deref(&self) -> &Handle {
        &self.handle
    }
}

#[derive(Default)]
struct Thread {
    task: Option<Task>,
    token: Option<CancelToken>,
    _ring: Option<LinkGuard>,
    /// How many stops are on their way.
    stops: u32,
    /// A stop has waited for this thread, as long as it was allowed to.
    waited: bool,
}

impl<M: Machine, W: Work<M::Output>> Loop<M, W> {
    /// Makes a loop that is not started.
    pub(crate) fn new(env: &Env, spec: Spec, machine: M, work: W) -> Result<Self> {
        let Spec { name, kind, cancel, handler, hub, instruments } = spec;
        let voice = Voice::new(env, name.clone(), kind, handler, hub)?;
        let source = Arc::new(Source::new(env, name, kind, voice, instruments, machine));
        let listed: std::sync::Weak<Source<M>> = Arc::downgrade(&source);
        env.list(listed);
        let handle = Handle { source: source.clone(), cancel, thread: Mutex::new(Thread::default()) };
        Ok(Self { source, handle, work: Arc::new(Mutex::new(Some(work))) })
    }

    /// Starts the loop's thread, for the first time or after a stop.
    ///
    /// # Errors
    ///
    /// `InvalidState` while it runs or is being stopped, or while an old call
    /// is stuck; `Spawn` and `Budget` when there is no thread to be had.
    pub(crate) fn start(&self) -> Result<()> {
        self.start_quietly()?;
        self.measure();
        Ok(())
    }

    /// The same without the call of the program's observer, for those who hold
    /// a lock: a `measure` without it must follow.
    pub(crate) fn start_quietly(&self) -> Result<()> {
        let (source, home) = (self.source.clone(), self.work.clone());
        let body = move |cx| {
            let work = home.lock().take();
            if let Some(work) = work {
                let work = source.run(work, cx);
                // Before the thread says that it has ended.
                *home.lock() = Some(work);
            }
        };
        self.handle.start(&|| self.work.lock().is_some(), Box::new(body))
    }

    /// Has the machine decide anew; the loop goes by what it says from now on.
    pub(crate) fn decide(&self, decide: impl FnOnce(&mut M, Tick, &mut Vec<EventKind>)) {
        let source = &self.source;
        let mut state = source.state.lock();
        let now = source.env.clock().now();
        let change = source.step(&mut state, &mut Vec::new(), |machine, events| decide(machine, now, events));
        drop(state);
        source.inbox.ring(Signals::LOOK);
        source.any().note(Some(change));
    }

    /// Reads something from the machine under its lock.
    pub(crate) fn read<T>(&self, read: impl FnOnce(&M) -> T) -> T {
        read(&self.source.state.lock().machine)
    }
}

impl Handle {
    /// Starts the thread with `body`, if what it calls `is_idle`.
    fn start(&self, is_idle: &dyn Fn() -> bool, body: Box<dyn FnOnce(Context) + Send>) -> Result<()> {
        let mut thread = self.thread.lock();
        if thread.stops > 0 {
            let context = format!("{}: start while it is being stopped", self.source.name);
            return Err(Error::new(ErrorKind::InvalidState).context(context));
        }
        if thread.task.as_ref().is_some_and(|task| !task.has_ended()) {
            let context = format!("{}: start while its thread runs", self.source.name);
            return Err(Error::new(ErrorKind::InvalidState).context(context));
        }
        if !is_idle() {
            let context = format!("{}: start while an earlier call is stuck", self.source.name);
            return Err(Error::new(ErrorKind::InvalidState).context(context));
        }
        let source = &self.source;
        source.inbox.reset();
        let token = self.cancel.as_ref().map_or_else(CancelToken::new, CancelToken::child);
        let ring = token.ring(&source.inbox);
        // What the last call of an earlier run has said.
        source.steps.begin();
        let seat = source.env.clock().rejoin(&source.inbox, source.name.as_str());
        // Held until the loop is marked as running, so that its first event
        // comes after `Started`, and a refused thread leaves no trace.
        let mut state = self.source.state.lock();
        let (theirs, cancel) = (source.clone(), token.clone());
        let body = move || {
            // Made here: what the thread is begun with stays in memory beside it.
            let cx = theirs.context(cancel);
            drop(theirs);
            body(cx);
            drop(seat);
        };
        let name = format!("{}/{}", self.source.kind.thread_prefix(), self.source.name);
        let spawned = Task::spawn(self.source.env.budget(), name, self.source.env.stack_size(), body);
        let task = spawned.map_err(|error| {
            let context = format!("{}: {error}", self.source.name);
            error.context(context)
        })?;
        let before = self.source.task.lock().replace(task.clone());
        self.source.open(&mut state);
        drop(state);
        drop(before);
        *thread = Thread { task: Some(task), token: Some(token), _ring: Some(ring), ..Thread::default() };
        Ok(())
    }

    /// Shows the present health to the program's observer.
    pub(crate) fn measure(&self) {
        self.source.measure_health();
    }

    /// Has each change of health told to `reporter`, from the next on.
    pub(crate) fn report_to(&self, reporter: Reporter) {
        *self.source.reporter.lock() = Some(reporter);
    }

    /// Tells the present health to whom changes are told.
    pub(crate) fn report(&self) {
        self.source.report();
    }

    /// Whether it was started and not told to end.
    pub(crate) fn is_running(&self) -> bool {
        let running = self.source.state.lock().stage == Stage::Running;
        running && self.thread.lock().task.as_ref().is_some_and(|task| !task.has_ended())
    }

    /// Has the next run made now; during a call, right after it.
    pub(crate) fn trigger(&self) {
        self.source.inbox.ring(Signals::POKE);
    }

    /// Asks the loop to end; nothing begins after this. The first half of a
    /// stop: a [`join`](Self::join) must follow.
    pub(crate) fn cancel(&self) {
        let mut thread = self.thread.lock();
        // Under the lock that a start takes, so that no start comes between
        // and no run is stopped by half.
        thread.stops += 1;
        let change = self.source.end();
        self.source.inbox.ring(Signals::CANCEL);
        let token = thread.token.clone();
        drop(thread);
        if let Some(token) = token {
            token.cancel();
        }
        self.source.note(change);
    }

    /// Asks the loop to end, waits for its thread and its callbacks within
    /// `grace`, and reports what is left.
    pub(crate) fn stop(&self, grace: Duration) -> StopReport {
        self.stop_by(StopDeadlines::new(grace))
    }

    /// The same, with deadlines of the caller's.
    pub(crate) fn stop_by(&self, deadlines: StopDeadlines) -> StopReport {
        self.cancel();
        self.join(deadlines)
    }

    /// The second half of a stop: waits for what was told to end.
    pub(crate) fn join(&self, deadlines: StopDeadlines) -> StopReport {
        let mut report = StopReport::default();
        let task = self.thread.lock().task.clone();
        let own_call = task.as_ref().is_some_and(|task| task.is_current());
        if own_call {
            let context = format!("{}: stop from its own call only cancels", self.source.name);
            report.add_error(Error::new(ErrorKind::InvalidState).context(context));
        } else {
            self.wait_for(task, deadlines, &mut report);
        }
        let mut thread = self.thread.lock();
        thread.stops -= 1;
        thread.waited |= !own_call;
        report
    }

    fn wait_for(&self, task: Option<Task>, deadlines: StopDeadlines, report: &mut StopReport) {
        if let Some(task) = task {
            let mut exit = task.join_until(deadlines.calls.min(real_deadline(FIRST_LOOK)));
            if exit.is_none() {
                // The first of two looks, between which its time is counted.
                self.source.look(task.tid());
                exit = task.join_until(deadlines.calls);
            }
            if exit.is_none() && self.source.state.lock().call.is_none() {
                // In no call, and none begins: it only has to be scheduled,
                // one of thousands perhaps.
                exit = task.join_until(deadlines.all);
            }
            match exit {
                Some(Exit::Returned) => {}
                Some(Exit::Panicked(error)) => report.add_error(error),
                None => {
                    if let Some(straggler) = self.source.straggler(&task) {
                        report.add_straggler(straggler);
                    }
                }
            }
        }
        self.source.voice.close(deadlines.all, report);
    }

    /// Whether a stop has waited for the loop's end already: what has not
    /// ended then is not worth another wait.
    pub(crate) fn was_waited_for(&self) -> bool {
        self.thread.lock().waited
    }

    /// Whether no thread of it is left.
    pub(crate) fn has_ended(&self) -> bool {
        self.thread.lock().task.as_ref().is_none_or(Task::has_ended)
    }

    /// Whether the caller is in one of its calls or callbacks.
    #[cfg(feature = "capi")]
    pub(crate) fn is_own_call(&self) -> bool {
        let is_loop = self.thread.lock().task.as_ref().is_some_and(Task::is_current);
        is_loop || self.source.voice.is_own_call()
    }

    /// Whether none of its callbacks runs or is due.
    pub(crate) fn is_quiet(&self) -> bool {
        self.source.voice.is_idle()
    }

    /// Blocks until the loop has ended, or until `deadline`; says whether it
    /// has.
    pub(crate) fn wait_until(&self, deadline: Instant) -> bool {
        let task = self.thread.lock().task.clone();
        task.is_none_or(|task| task.is_current() || task.join_until(deadline).is_some())
    }

    /// Blocks until the machine's health is `health`, the loop ends or
    /// `deadline` passes; says whether it is.
    pub(crate) fn wait_health(&self, health: Health, deadline: Instant) -> bool {
        let mut state = self.source.state.lock();
        loop {
            if state.machine.record().health == health {
                return true;
            }
            if state.stage == Stage::Stopping {
                return false;
            }
            let (guard, timed_out) = self.source.changed.wait_until(state, deadline);
            state = guard;
            if timed_out {
                return state.machine.record().health == health;
            }
        }
    }

    pub(crate) fn subscribe(&self, capacity: usize) -> Subscription {
        self.source.voice.subscribe(capacity)
    }

    pub(crate) fn name(&self) -> &Name {
        &self.source.name
    }

    pub(crate) fn env(&self) -> &Env {
        &self.source.env
    }

    pub(crate) fn status(&self) -> LoopStatus {
        self.source.status().1
    }

    /// The same for one who asks many loops at one moment.
    pub(crate) fn status_at(&self, now: Tick, wall: Stamp) -> LoopStatus {
        self.source.status_at(now, wall).1
    }

    /// The same for one who copies what there is to see.
    #[cfg(feature = "capi")]
    pub(crate) fn view(&self, see: &mut dyn FnMut(&StatusView<'_>)) {
        let (now, wall) = (self.source.env.clock().now(), self.source.env.stamp());
        self.source.view_at(now, wall, &mut |_, view| see(view));
    }
}
