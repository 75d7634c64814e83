//! The threads of a monitor: the one that is in office and makes the passes,
//! and those that are stuck in a look.
//!
//! A look takes its checker out of its place and puts it back when it returns.
//! When one passes its deadline, the watchdog puts another thread in office,
//! which goes on with the next checker; the one that is stuck is absent, and
//! left out, until it comes back. So there is at most one stuck thread for
//! each checker, and nothing is locked while a checker looks.

mod overdue;
mod status;
mod stop;
mod work;

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use super::Checker;
use super::instruments::Instruments;
use super::machine::{Checked, MonitorMachine};
use super::report::{Found, Report};
use crate::cancel::{CancelToken, LinkGuard};
use crate::clock::{Inbox, Signals, Tick};
use crate::component::Reporter;
use crate::env::Env;
use crate::error::{Error, ErrorKind, Result};
use crate::event::{EventKind, Health, LoopKind};
use crate::looper::show_health;
use crate::name::Name;
use crate::primitive::{Condvar, Mutex, MutexGuard};
use crate::status::Phase;
use crate::step::Steps;
use crate::thread::Task;
use crate::voice::Voice;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Idle,
    Running,
    Stopping,
}

/// What a monitor and its threads share.
pub(super) struct Shared {
    env: Env,
    name: Name,
    voice: Voice,
    /// Ends every run when cancelled.
    cancel: CancelToken,
    instruments: Instruments,
    /// The shortest time that a look may take.
    least_deadline: Duration,
    state: Mutex<State>,
    changed: Condvar,
    /// Hears of each health, when the monitor is a component. Taken before
    /// `state`, so that of two who tell the later one tells the truth.
    reporter: Mutex<Option<Reporter>>,
}

struct State {
    machine: MonitorMachine,
    stage: Stage,
    /// Where the checkers are between looks, in their order.
    places: Vec<Place>,
    /// The thread that makes the passes.
    office: Option<Office>,
    /// Those that make none any more and may not have ended.
    retired: Vec<Office>,
    /// The token of the present run, or of the last.
    run: CancelToken,
    /// The number of the last thread.
    threads: u64,
    /// The number of the last event.
    n: u64,
    looks: u64,
    late: u64,
    /// How many stops are on their way.
    stops: u32,
    /// A stop has waited for the threads, as long as it was allowed to.
    waited: bool,
    /// The monitor is gone: checkers that come back have no place any more.
    closed: bool,
}

struct Place {
    /// Absent during a look.
    checker: Option<Box<dyn Checker>>,
    /// For its looks; another one after each that was given up.
    token: CancelToken,
    report: Report,
    /// What its present look says it is doing.
    steps: Arc<Steps>,
}

struct Office {
    id: u64,
    inbox: Arc<Inbox>,
    task: Task,
    look: Option<Look>,
    _ring: LinkGuard,
}

/// A look in progress.
#[derive(Debug, Clone, Copy)]
struct Look {
    idx: usize,
    /// The number in the thread's slot.
    generation: u64,
    begun: Tick,
    timed_out: bool,
}

/// What is measured and told once the lock is released.
#[derive(Clone, Copy)]
struct Numbers {
    health: Health,
    missed: u64,
    is_sure: bool,
}

impl Numbers {
    fn of(machine: &MonitorMachine) -> Self {
        let record = machine.record();
        // Said once all have been asked, also when nothing was learnt.
        let is_sure = record.last_check.is_some() && record.phase != Phase::Stopped;
        Self { health: record.health, missed: record.missed, is_sure }
    }
}

impl Shared {
    pub(super) fn new(
        env: &Env,
        name: Name,
        voice: Voice,
        cancel: CancelToken,
        instruments: Instruments,
        machine: MonitorMachine,
        checkers: Vec<(Checked, Box<dyn Checker>)>,
    ) -> Arc<Self> {
        let least = checkers.iter().map(|(about, _)| about.deadline).min();
        let place = |(_, checker)| Place {
            checker: Some(checker),
            token: CancelToken::new(),
            report: Report::new(),
            steps: Arc::default(),
        };
        let state = State {
            machine,
            stage: Stage::Idle,
            places: checkers.into_iter().map(place).collect(),
            office: None,
            retired: Vec::new(),
            run: CancelToken::new(),
            threads: 0,
            n: 0,
            looks: 0,
            late: 0,
            stops: 0,
            waited: false,
            closed: false,
        };
        let shared = Arc::new(Self {
            env: env.clone(),
            name,
            voice,
            cancel,
            instruments,
            least_deadline: least.unwrap_or(Duration::MAX),
            state: Mutex::new(state),
            changed: Condvar::default(),
            reporter: Mutex::new(None),
        });
        let listed: Weak<Self> = Arc::downgrade(&shared);
        env.list(listed);
        shared
    }

    pub(super) fn env(&self) -> &Env {
        &self.env
    }

    pub(super) fn name(&self) -> &Name {
        &self.name
    }

    pub(super) fn voice(&self) -> &Voice {
        &self.voice
    }

    /// Starts, for the first time or after a stop.
    ///
    /// # Errors
    ///
    /// `InvalidState` while it runs or is being stopped; `Spawn` and `Budget`
    /// when there is no thread to be had.
    pub(super) fn start(self: &Arc<Self>) -> Result<()> {
        let refuse = |text: &str| {
            let context = format!("{}: start while {text}", self.name);
            Err(Error::new(ErrorKind::InvalidState).context(context))
        };
        // Held until it is marked as running, so that its first event comes
        // after `Started`, and a refused thread leaves no trace.
        let mut state = self.state.lock();
        if state.stops > 0 {
            return refuse("it is being stopped");
        }
        if state.stage == Stage::Running {
            return refuse("it runs");
        }
        let run = self.cancel.child();
        state.places.iter_mut().for_each(|place| place.token = run.child());
        let before = Numbers::of(&state.machine);
        let office = self.spawn(&mut state, &run)?;
        state.retired.retain(|office| !office.task.has_ended());
        state.office = Some(office);
        state.run = run;
        state.waited = false;
        state.stage = Stage::Running;
        let now = self.env.clock().now();
        state.machine.start(now);
        self.voice.open();
        self.tell(&mut state, EventKind::Started);
        self.note(state, before);
        self.measure_health();
        Ok(())
    }

    fn spawn(self: &Arc<Self>, state: &mut State, run: &CancelToken) -> Result<Office> {
        let (inbox, seat) = self.env.clock().join(self.name.as_str());
        let ring = run.ring(&inbox);
        let id = state.threads + 1;
        let (shared, bell) = (self.clone(), inbox.clone());
        let body = move || shared.work(id, &bell, seat);
        let name = format!("{}/{}", LoopKind::Monitor.thread_prefix(), self.name);
        let spawned = Task::spawn(self.env.budget(), name, self.env.stack_size(), body);
        let task = spawned.map_err(|error| {
            let context = format!("{}: {error}", self.name);
            error.context(context)
        })?;
        state.threads = id;
        Ok(Office { id, inbox, task, look: None, _ring: ring })
    }

    fn is_ending(&self, state: &State) -> bool {
        state.stage != Stage::Running || state.run.is_cancelled()
    }

    fn tell(&self, state: &mut State, what: EventKind) {
        self.voice.tell(&mut state.n, what);
        self.changed.notify_all();
    }

    /// Most looks change nothing.
    #[inline]
    fn tell_all(&self, state: &mut State, events: Vec<EventKind>) {
        if !events.is_empty() {
            self.tell_each(state, events);
        }
    }

    fn tell_each(&self, state: &mut State, events: Vec<EventKind>) {
        for what in events {
            self.tell(state, what);
        }
    }

    /// Lets go of the lock, and measures and reports what has changed.
    #[inline]
    fn note(&self, state: MutexGuard<'_, State>, before: Numbers) {
        let after = Numbers::of(&state.machine);
        drop(state);
        if after.missed > before.missed {
            self.instruments.missed.add(after.missed - before.missed);
        }
        if after.health != before.health {
            self.measure_health();
        }
        if after.health != before.health || after.is_sure != before.is_sure {
            self.report();
        }
    }

    fn measure_health(&self) {
        show_health(&self.instruments.ready, || self.health());
    }

    /// Has each change told to `reporter`, from the next on.
    pub(super) fn report_to(&self, reporter: Reporter) {
        *self.reporter.lock() = Some(reporter);
    }

    /// Tells the present health to whom changes are told.
    pub(super) fn report(&self) {
        let reporter = self.reporter.lock();
        if let Some(reporter) = &*reporter {
            let numbers = Numbers::of(&self.state.lock().machine);
            reporter.set_health(match numbers.health {
                // All were asked, and nothing came of it: it runs, and what
                // requires it is not ready.
                Health::Unknown if numbers.is_sure => Health::Down,
                health => health,
            });
        }
    }

    pub(super) fn is_running(&self) -> bool {
        self.state.lock().stage == Stage::Running
    }

    pub(super) fn is_empty(&self) -> bool {
        self.state.lock().machine.is_empty()
    }

    pub(super) fn health(&self) -> Health {
        self.state.lock().machine.record().health
    }

    /// The token of the present run, if it runs.
    pub(super) fn run_token(&self) -> Option<CancelToken> {
        let state = self.state.lock();
        (state.stage == Stage::Running).then(|| state.run.clone())
    }

    /// Has a pass made now; during one: right after it.
    pub(super) fn poke(&self) {
        let mut state = self.state.lock();
        if state.stage != Stage::Running {
            return;
        }
        state.machine.poke(self.env.clock().now());
        let inbox = state.office.as_ref().map(|office| office.inbox.clone());
        drop(state);
        if let Some(inbox) = inbox {
            inbox.ring(Signals::LOOK);
        }
    }

    /// Whether the caller is in one of its calls or callbacks.
    #[cfg(feature = "capi")]
    pub(super) fn is_own_call(&self) -> bool {
        let is_look = self.state.lock().is_inside();
        is_look || self.voice.is_own_call()
    }

    /// Blocks until the health is `health`, it ends or `deadline` passes; says
    /// whether it is.
    pub(super) fn wait_health(&self, health: Health, deadline: Instant) -> bool {
        let mut state = self.state.lock();
        loop {
            if state.machine.record().health == health {
                return true;
            }
            if state.stage == Stage::Stopping {
                return false;
            }
            let (guard, timed_out) = self.changed.wait_until(state, deadline);
            state = guard;
            if timed_out {
                return state.machine.record().health == health;
            }
        }
    }
}

impl State {
    /// Whether the caller is in one of the looks.
    fn is_inside(&self) -> bool {
        self.office.iter().chain(&self.retired).any(|office| office.task.is_current())
    }

    fn is_in_office(&self, id: u64) -> bool {
        self.office.as_ref().is_some_and(|office| office.id == id)
    }

    fn office_of(&mut self, id: u64) -> Option<&mut Office> {
        let all = self.office.iter_mut().chain(&mut self.retired);
        all.into_iter().find(|office| office.id == id)
    }
}

impl Place {
    /// What the look found so far; what it reports from now on is dropped.
    fn give_up(&mut self) -> Found {
        let given_up = std::mem::take(&mut self.report);
        given_up.close()
    }
}
