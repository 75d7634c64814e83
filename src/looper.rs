//! The one loop skeleton: wait, call, step, tell; cancel is looked at first.
//!
//! What a loop decides is in its [`Machine`], which is pure: no threads, no
//! clock. What it calls is its [`Work`], on the loop's own thread, in a slot
//! the watchdog guards. The machine, the counters and the number of the last
//! event live under one short lock in the [`Source`], stepped by the loop or,
//! for a call that hangs, by the watchdog.

mod instruments;
mod status;

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::cancel::{CancelToken, LinkGuard};
use crate::clock::{Inbox, Signals, Tick, real_deadline};
use crate::component::{Context, Reporter};
use crate::dispatch::Handler;
use crate::env::Env;
use crate::error::{BoxError, Error, ErrorKind, Result};
use crate::event::{EventKind, Health, LoopKind};
use crate::name::Name;
use crate::primitive::{Condvar, Mutex};
use crate::record::Record;
use crate::slot::Slot;
use crate::stamp::Stamp;
use crate::status::LoopStatus;
#[cfg(feature = "capi")]
use crate::status::StatusView;
use crate::step::Steps;
use crate::stop::StopReport;
use crate::subscription::{Hub, Subscription};
use crate::thread::{Exit, FIRST_LOOK, Looks, Task, caught};
use crate::voice::Voice;
use crate::watchdog::{Guard, Guarded};

use instruments::{Change, Numbers};
pub(crate) use instruments::{Instruments, RunInstruments, show_health};

/// What happened to a loop's call.
pub(crate) enum Input<T> {
    /// It returned in time, or failed, or panicked.
    Returned { result: Result<T>, took: Duration },
    /// It passed its deadline, for the first time or again, and is stuck.
    TimedOut { stuck_for: Duration },
    /// It came back after its deadline; its answer is dropped.
    Late,
    /// Somebody asked for a run now.
    Poked,
}

/// The decisions of a loop. Pure: time comes in, events go out.
pub(crate) trait Machine: Send + 'static {
    /// What a call yields.
    type Output: Send + 'static;

    /// Begins, for the first time or after a stop: the first call is due now.
    fn start(&mut self, now: Tick);
    /// Takes in what happened and decides when the next call is due.
    fn step(&mut self, now: Tick, input: Input<Self::Output>, events: &mut Vec<EventKind>);
    /// How long a call may take.
    fn timeout(&self) -> Duration;
    /// Whether a further timeout of a call that is already overdue would
    /// still change anything.
    fn counts_timeouts(&self) -> bool;
    /// Whether the whole is down when this is.
    fn is_critical(&self) -> bool;
    /// What it knows of its calls, and when the next is due.
    fn record(&self) -> &Record;
    /// The same, for those who keep it.
    fn record_mut(&mut self) -> &mut Record;
    /// Adds what only its kind has to say, at the moment `at`.
    fn detail(&self, _at: Stamp, _status: &mut LoopStatus) {}

    /// The loop was told to end: nothing is known any more.
    fn stop(&mut self, now: Tick) {
        self.record_mut().stop(now);
    }
}

/// What of a [`Machine`] has nothing to do with what its calls yield: the
/// skeleton knows no more, so that it is there once and not for each kind of
/// loop.
pub(crate) trait Decide: Send {
    fn start(&mut self, now: Tick);
    fn hear(&mut self, now: Tick, heard: Heard, events: &mut Vec<EventKind>);
    fn timeout(&self) -> Duration;
    fn counts_timeouts(&self) -> bool;
    fn is_critical(&self) -> bool;
    fn record(&self) -> &Record;
    fn detail(&self, at: Stamp, status: &mut LoopStatus);
    fn stop(&mut self, now: Tick);
}

/// An [`Input`] that is no answer of a call.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Heard {
    TimedOut { stuck_for: Duration },
    Late,
    Poked,
}

impl<M: Machine> Decide for M {
    fn start(&mut self, now: Tick) {
        Machine::start(self, now);
    }

    fn hear(&mut self, now: Tick, heard: Heard, events: &mut Vec<EventKind>) {
        let input = match heard {
            Heard::TimedOut { stuck_for } => Input::TimedOut { stuck_for },
            Heard::Late => Input::Late,
            Heard::Poked => Input::Poked,
        };
        self.step(now, input, events);
    }

    fn timeout(&self) -> Duration {
        Machine::timeout(self)
    }

    fn counts_timeouts(&self) -> bool {
        Machine::counts_timeouts(self)
    }

    fn is_critical(&self) -> bool {
        Machine::is_critical(self)
    }

    fn record(&self) -> &Record {
        Machine::record(self)
    }

    fn detail(&self, at: Stamp, status: &mut LoopStatus) {
        Machine::detail(self, at, status);
    }

    fn stop(&mut self, now: Tick) {
        Machine::stop(self, now);
    }
}

/// What a loop calls. One at a time, on the loop's thread.
pub(crate) trait Work<T>: Send + 'static {
    fn call(&mut self, cx: &Context) -> std::result::Result<T, BoxError>;

    /// Whether its calls are to change nothing.
    fn is_dry_run(&self) -> bool {
        false
    }
}

/// What a loop is made from.
pub(crate) struct Spec {
    pub(crate) name: Name,
    pub(crate) kind: LoopKind,
    /// Ends the loop when cancelled.
    pub(crate) cancel: CancelToken,
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

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Idle,
    Running,
    Stopping,
}

/// How a call ended that somebody waits for.
enum Took {
    InTime(Duration),
    /// What that changed, unless the watchdog has told it.
    TooLong(Option<Change>),
}

/// What a loop does about a due that has come.
enum Begin {
    Call { generation: u64, deadline: Tick },
    NotDue,
    Over,
}

struct Call {
    generation: u64,
    begun: Tick,
    deadline: Tick,
    timed_out: bool,
}

struct State<M: ?Sized> {
    stage: Stage,
    generation: u64,
    call: Option<Call>,
    /// The number of the last event.
    n: u64,
    runs: u64,
    panics: u64,
    timeouts: u64,
    late: u64,
    /// Last, as in [`Source`], so that one of any kind is one of no kind, too.
    machine: M,
}

/// The shared cell of one loop.
pub(crate) struct Source<M: ?Sized = dyn Decide> {
    slot: Slot,
    env: Env,
    name: Name,
    kind: LoopKind,
    inbox: Arc<Inbox>,
    /// What the present call says it is doing.
    steps: Arc<Steps>,
    /// What was seen of the thread of a stuck call, and of which.
    looks: Mutex<(u64, Looks)>,
    voice: Voice,
    instruments: Instruments,
    changed: Condvar,
    /// The loop's thread, for those who look.
    task: Mutex<Option<Task>>,
    /// Hears of each health, when the loop is a component. Taken before
    /// `state`, so that of two who tell the later one tells the truth.
    reporter: Mutex<Option<Reporter>>,
    state: Mutex<State<M>>,
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
    cancel: CancelToken,
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
        // Takes its place in a manual clock only while its thread runs.
        let (inbox, seat) = env.clock().join(name.as_str());
        drop(seat);
        let state = State {
            stage: Stage::Idle,
            generation: 0,
            call: None,
            n: 0,
            runs: 0,
            panics: 0,
            timeouts: 0,
            late: 0,
            machine,
        };
        let source = Arc::new(Source {
            slot: Slot::new(),
            env: env.clone(),
            name,
            kind,
            inbox,
            steps: Arc::default(),
            looks: Mutex::default(),
            voice,
            instruments,
            changed: Condvar::default(),
            task: Mutex::new(None),
            reporter: Mutex::new(None),
            state: Mutex::new(state),
        });
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
        let token = self.cancel.child();
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

impl<M: Machine> Source<M> {
    /// The same, of no kind.
    fn any(&self) -> &Source {
        self
    }

    fn run<W: Work<M::Output>>(self: &Arc<Self>, mut work: W, mut cx: Context) -> W {
        let guard = self.env.watchdog().guard(self.clone());
        cx.set_dry_run(work.is_dry_run());
        // Room for one, kept: what a thread gives back to the allocator stays
        // with that thread, and a list that grows by itself begins with four.
        let mut events = Vec::with_capacity(1);
        let mut call = |generation, deadline, cx: &Context| {
            let (result, in_time) = guarded_call(&guard, generation, deadline, &mut work, cx);
            self.finish(result, in_time, &mut events);
        };
        self.any().go_on(&guard, &mut cx, &mut call);
        drop(guard);
        self.any().set_running(0.0);
        work
    }

    fn finish(&self, result: Result<M::Output>, in_time: bool, events: &mut Vec<EventKind>) {
        let (any, now) = (self.any(), self.env.clock().now());
        let failed_as = result.as_ref().err().map(Error::kind);
        let mut state = self.state.lock();
        let Some(took) = any.returned(&mut *state, now, failed_as, in_time) else { return };
        let change = match took {
            Took::InTime(took) => {
                let input = Input::Returned { result, took };
                let step = |machine: &mut M, events: &mut _| machine.step(now, input, events);
                let change = self.step(&mut state, events, step);
                drop(state);
                self.instruments.duration.observe(took.as_secs_f64());
                Some(change)
            }
            Took::TooLong(change) => {
                drop(state);
                change
            }
        };
        any.note(change);
    }

    /// Makes a step, and tells what it has to tell; `events` is empty before
    /// and after.
    fn step(
        &self,
        state: &mut State<M>,
        events: &mut Vec<EventKind>,
        step: impl FnOnce(&mut M, &mut Vec<EventKind>),
    ) -> Change {
        let before = Numbers::of(state.machine.record());
        step(&mut state.machine, events);
        self.any().tell_all(state, before, events)
    }
}

impl Source {
    /// What its calls are handed.
    fn context(&self, cancel: CancelToken) -> Context {
        let (env, name) = (self.env.clone(), self.name.clone());
        Context::new(env, name, cancel, self.inbox.clone(), self.steps.clone())
    }

    /// Makes a `call` whenever one is due, until the loop is to end.
    fn go_on(&self, guard: &Guard, cx: &mut Context, call: &mut dyn FnMut(u64, Tick, &Context)) {
        let clock = self.env.clock();
        self.set_running(1.0);
        loop {
            let (due, timeout) = self.next();
            guard.wait_until(due + timeout);
            let signals = clock.wait(&self.inbox, due);
            if signals.has(Signals::CANCEL) {
                break;
            }
            if signals.has(Signals::POKE) {
                self.poke(clock.now());
                continue;
            }
            let now = clock.now();
            if now < due || signals.has(Signals::LOOK) {
                continue;
            }
            cx.begin_own_steps();
            let (generation, deadline) = match self.begin(now, timeout) {
                Begin::Call { generation, deadline } => (generation, deadline),
                Begin::NotDue => continue,
                Begin::Over => break,
            };
            let lead = deadline_lead(timeout);
            cx.set_deadline(now + timeout.saturating_sub(lead));
            call(generation, deadline, cx);
        }
        self.note(self.end());
        guard.wait_until(Tick::NEVER);
    }

    /// Set by the loop's own thread at its beginning and end, so that it is
    /// true also of one that a stop has left behind.
    fn set_running(&self, value: f64) {
        if let Some(runs) = &self.instruments.runs {
            runs.running.set(value);
        }
    }

    /// When the next call is due and how long it may take.
    fn next(&self) -> (Tick, Duration) {
        let state = self.state.lock();
        (state.machine.record().due, state.machine.timeout())
    }

    fn poke(&self, now: Tick) {
        let mut state = self.state.lock();
        // A poke only moves the due.
        let _ = self.hear(&mut state, now, Heard::Poked);
    }

    /// Marks the beginning of a call under the lock that a stop takes, so
    /// that nothing begins after a stop.
    fn begin(&self, now: Tick, timeout: Duration) -> Begin {
        let mut state = self.state.lock();
        if state.stage != Stage::Running || self.inbox.is_cancelled() {
            return Begin::Over;
        }
        if now < state.machine.record().due {
            // Decided otherwise since the loop looked.
            return Begin::NotDue;
        }
        state.generation += 1;
        state.runs += 1;
        let deadline = now + timeout;
        let generation = state.generation;
        state.call = Some(Call { generation, begun: now, deadline, timed_out: false });
        Begin::Call { generation, deadline }
    }

    /// Takes in that the call is over, all but its answer; `None`: nobody waits
    /// for it any more.
    fn returned(
        &self,
        state: &mut State<dyn Decide>,
        now: Tick,
        failed_as: Option<ErrorKind>,
        in_time: bool,
    ) -> Option<Took> {
        let call = state.call.take()?;
        state.panics += u64::from(failed_as == Some(ErrorKind::Panicked));
        let took = now.since(call.begun);
        let late = !in_time || call.timed_out;
        state.late += u64::from(late);
        if self.is_ending(state) {
            // An answer to nobody's question any more; a cancel is no failure.
            return None;
        }
        if !late {
            state.timeouts += u64::from(failed_as == Some(ErrorKind::Timeout));
            return Some(Took::InTime(took));
        }
        let change = if call.timed_out {
            None
        } else {
            // The watchdog took the call away, and the loop was faster to
            // the lock.
            Some(self.time_out(state, now, took))
        };
        let _ = self.hear(state, now, Heard::Late);
        self.tell(state, EventKind::Late { took });
        Some(Took::TooLong(change))
    }

    fn time_out(&self, state: &mut State<dyn Decide>, now: Tick, stuck_for: Duration) -> Change {
        state.timeouts += 1;
        self.tell(state, EventKind::TimedOut { stuck_for });
        self.hear(state, now, Heard::TimedOut { stuck_for })
    }

    /// Whether the loop was told to end.
    fn is_ending(&self, state: &State<dyn Decide>) -> bool {
        state.stage != Stage::Running || self.inbox.is_cancelled()
    }

    fn hear(&self, state: &mut State<dyn Decide>, now: Tick, heard: Heard) -> Change {
        let mut events = Vec::new();
        let before = Numbers::of(state.machine.record());
        state.machine.hear(now, heard, &mut events);
        self.tell_all(state, before, &mut events)
    }

    /// Tells what a step had to tell, and what it changed.
    fn tell_all(
        &self,
        state: &mut State<dyn Decide>,
        before: Numbers,
        events: &mut Vec<EventKind>,
    ) -> Change {
        let after = Numbers::of(state.machine.record());
        for what in events.drain(..) {
            self.tell(state, what);
        }
        Change { before, after }
    }

    /// Numbers an event and gives it to all who hear of it. Under the lock,
    /// so that all hear in one order; none of it waits.
    fn tell(&self, state: &mut State<dyn Decide>, what: EventKind) {
        self.voice.tell(&mut state.n, what);
        self.changed.notify_all();
    }

    fn open(&self, state: &mut State<dyn Decide>) {
        self.voice.open();
        state.stage = Stage::Running;
        state.machine.start(self.env.clock().now());
        self.tell(state, EventKind::Started);
    }

    /// Marks the end: nothing begins, and nothing is told, after this.
    fn end(&self) -> Option<Change> {
        let mut state = self.state.lock();
        if state.stage != Stage::Running {
            return None;
        }
        state.stage = Stage::Stopping;
        let now = self.env.clock().now();
        let before = Numbers::of(state.machine.record());
        state.machine.stop(now);
        let change = self.tell_all(&mut state, before, &mut vec![EventKind::Stopped]);
        // Once for each run.
        self.voice.hang_up();
        Some(change)
    }

    /// Measures and reports what a step changed. With no lock held.
    fn note(&self, change: Option<Change>) {
        if let Some(change) = change {
            self.instruments.note(&change, &self.env);
            if change.before.health != change.after.health {
                self.measure_health();
                self.report();
            }
        }
    }

    fn measure_health(&self) {
        show_health(&self.instruments.ready, || self.state.lock().machine.record().health);
    }

    fn report(&self) {
        let reporter = self.reporter.lock();
        if let Some(reporter) = &*reporter {
            let health = self.state.lock().machine.record().health;
            reporter.set_health(health);
        }
    }

    /// The present call has passed its deadline, or the one said last.
    fn time_is_up(&self, generation: u64, now: Tick) -> Tick {
        if self.looks.lock().0 != generation {
            // The first of two looks, between which its time is counted.
            let tid = self.task.lock().as_ref().map(Task::tid);
            tid.and_then(|tid| self.look(tid));
        }
        let mut state = self.state.lock();
        if self.is_ending(&state) {
            drop(state);
            // A token was cancelled, and the loop cannot say so itself.
            self.note(self.end());
            return Tick::NEVER;
        }
        let timeout = state.machine.timeout();
        let Some(call) = state.call.as_mut().filter(|call| call.generation == generation) else {
            return Tick::NEVER;
        };
        call.timed_out = true;
        call.deadline = now + timeout;
        let (deadline, stuck_for) = (call.deadline, now.since(call.begun));
        let change = self.time_out(&mut state, now, stuck_for);
        let again = if state.machine.counts_timeouts() { deadline } else { Tick::NEVER };
        drop(state);
        self.note(Some(change));
        again
    }
}

impl<M: Machine> Guarded for Source<M> {
    fn slot(&self) -> &Slot {
        &self.slot
    }

    fn overdue(&self, generation: u64, now: Tick) -> Tick {
        self.any().time_is_up(generation, now)
    }

    fn starved(&self, now: Tick) -> Tick {
        now + self.state.lock().machine.timeout()
    }
}

/// Makes one call in its slot. True: it was in time.
pub(crate) fn guarded_call<T>(
    guard: &Guard,
    generation: u64,
    deadline: Tick,
    work: &mut impl Work<T>,
    cx: &Context,
) -> (Result<T>, bool) {
    guard.enter(generation, deadline);
    let result = call(work, cx);
    (result, guard.leave(generation))
}

/// By how much the deadline that a call sees lies before the watchdog's, so
/// that a call which ends at its deadline tells what it waited for instead of
/// being taken for stuck.
pub(crate) fn deadline_lead(timeout: Duration) -> Duration {
    (timeout / 20).min(Duration::from_millis(50))
}

/// Calls user code; a panic is a result, and what a user's error holds is
/// dropped here, on the loop's thread and in its slot.
fn call<T>(work: &mut impl Work<T>, cx: &Context) -> Result<T> {
    caught(|| match work.call(cx) {
        Ok(output) => Ok(output),
        Err(error) => Err(Error::from_user(&*error)),
    })
    .and_then(|result| result)
}
