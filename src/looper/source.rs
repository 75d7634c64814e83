//! The shared cell of a loop, and what its thread and the watchdog do with it:
//! wait, call, step, tell.

use std::sync::Arc;
use std::time::Duration;

use super::instruments::{Change, Instruments, Numbers, show_health};
use super::machine::{Decide, Heard, Input, Machine};
use super::work::{Work, deadline_lead, guarded_call};
use crate::cancel::CancelToken;
use crate::clock::{Inbox, Signals, Tick};
use crate::component::{Context, Reporter};
use crate::env::Env;
use crate::error::{Error, ErrorKind, Result};
use crate::event::{EventKind, LoopKind};
use crate::name::Name;
use crate::primitive::{Condvar, Mutex};
use crate::slot::Slot;
use crate::step::Steps;
use crate::thread::{Looks, Task};
use crate::voice::Voice;
use crate::watchdog::{Guard, Guarded};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
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

pub(super) struct Call {
    pub(super) generation: u64,
    pub(super) begun: Tick,
    pub(super) deadline: Tick,
    pub(super) timed_out: bool,
}

pub(super) struct State<M: ?Sized> {
    pub(super) stage: Stage,
    generation: u64,
    pub(super) call: Option<Call>,
    /// The number of the last event.
    n: u64,
    pub(super) runs: u64,
    pub(super) panics: u64,
    pub(super) timeouts: u64,
    pub(super) late: u64,
    /// Last, as in [`Source`], so that one of any kind is one of no kind, too.
    pub(super) machine: M,
}

/// The shared cell of one loop.
pub(crate) struct Source<M: ?Sized = dyn Decide> {
    pub(super) slot: Slot,
    pub(super) env: Env,
    pub(super) name: Name,
    pub(super) kind: LoopKind,
    pub(super) inbox: Arc<Inbox>,
    /// What the present call says it is doing.
    pub(super) steps: Arc<Steps>,
    /// What was seen of the thread of a stuck call, and of which.
    pub(super) looks: Mutex<(u64, Looks)>,
    pub(super) voice: Voice,
    pub(super) instruments: Instruments,
    pub(super) changed: Condvar,
    /// The loop's thread, for those who look.
    pub(super) task: Mutex<Option<Task>>,
    /// Hears of each health, when the loop is a component. Taken before
    /// `state`, so that of two who tell the later one tells the truth.
    pub(super) reporter: Mutex<Option<Reporter>>,
    pub(super) state: Mutex<State<M>>,
}

impl<M: Machine> Source<M> {
    /// One that does not run.
    pub(super) fn new(
        env: &Env,
        name: Name,
        kind: LoopKind,
        voice: Voice,
        instruments: Instruments,
        machine: M,
    ) -> Self {
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
        Self {
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
        }
    }

    /// The same, of no kind.
    pub(super) fn any(&self) -> &Source {
        self
    }

    pub(super) fn run<W: Work<M::Output>>(self: &Arc<Self>, mut work: W, mut cx: Context) -> W {
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
    pub(super) fn step(
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
    pub(super) fn context(&self, cancel: CancelToken) -> Context {
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

    pub(super) fn open(&self, state: &mut State<dyn Decide>) {
        self.voice.open();
        state.stage = Stage::Running;
        state.machine.start(self.env.clock().now());
        self.tell(state, EventKind::Started);
    }

    /// Marks the end: nothing begins, and nothing is told, after this.
    pub(super) fn end(&self) -> Option<Change> {
        let mut state = self.state.lock();
        if state.stage != Stage::Running {
            if state.stage == Stage::Idle {
                // There is nothing to tell, but who waits for it to begin.
                state.stage = Stage::Stopping;
                self.changed.notify_all();
                self.voice.hang_up();
            }
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
    pub(super) fn note(&self, change: Option<Change>) {
        if let Some(change) = change {
            self.instruments.note(&change, &self.env);
            if change.before.health != change.after.health {
                self.measure_health();
                self.report();
            }
        }
    }

    pub(super) fn measure_health(&self) {
        show_health(&self.instruments.ready, || self.state.lock().machine.record().health);
    }

    pub(super) fn report(&self) {
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
