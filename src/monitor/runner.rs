//! The threads of a monitor: the one that is in office and makes the passes,
//! and those that are stuck in a look.
//!
//! A look takes its checker out of its place and puts it back when it returns.
//! When one passes its deadline, the watchdog puts another thread in office,
//! which goes on with the next checker; the one that is stuck is absent, and
//! left out, until it comes back. So there is at most one stuck thread for
//! each checker, and nothing is locked while a checker looks.

mod status;
mod stop;

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use super::instruments::Instruments;
use super::machine::{Checked, Ending, MonitorMachine, Turn};
use super::report::{Found, Report};
use super::{Checker, Verdict};
use crate::cancel::{CancelToken, LinkGuard};
use crate::clock::{Inbox, Seat, Signals, Tick};
use crate::component::{Context, Reporter};
use crate::env::Env;
use crate::error::{Error, ErrorKind, Result};
use crate::event::{EventKind, Health, LoopKind};
use crate::looper::{deadline_lead, show_health};
use crate::name::Name;
use crate::observe::Attr;
use crate::primitive::{Condvar, Mutex, MutexGuard};
use crate::slot::Slot;
use crate::status::Phase;
use crate::step::Steps;
use crate::thread::{Task, caught};
use crate::voice::Voice;
use crate::watchdog::{Guard, Guarded};

/// After how long a thread is asked for again that was refused.
const TRY_AGAIN: Duration = Duration::from_secs(1);

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

/// What a thread has prepared for the looks of one checker.
struct Desk {
    cx: Context,
    report: Report,
    deadline: Duration,
    soft_deadline: Duration,
    stale_after: Duration,
    _ring: LinkGuard,
}

/// A look that has returned.
struct Done {
    idx: usize,
    checker: Box<dyn Checker>,
    result: Result<Verdict>,
    in_time: bool,
}

enum Next {
    /// A checker, taken out of its place, is to look.
    Look {
        idx: usize,
        checker: Box<dyn Checker>,
        generation: u64,
    },
    Wait {
        due: Tick,
        stale_at: Tick,
    },
    Over,
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

    /// The body of each thread.
    fn work(self: Arc<Self>, id: u64, inbox: &Arc<Inbox>, seat: Seat) {
        let clock = self.env.clock();
        let watch = |kind| {
            let owner = Watched { slot: Slot::new(), shared: Arc::downgrade(&self), id, kind };
            self.env.watchdog().guard(Arc::new(owner))
        };
        let (looks, ages) = (watch(Kind::Looks), watch(Kind::Ages));
        let mut desks: Vec<Option<Desk>> = Vec::new();
        let mut armed = Tick::NEVER;
        let mut done = None;
        let mut now = clock.now();
        loop {
            match self.next(id, now, done.take()) {
                Next::Look { idx, checker, generation } => {
                    if desks.len() <= idx {
                        desks.resize_with(idx + 1, || None);
                    }
                    let desk = desks[idx].get_or_insert_with(|| self.desk(idx, inbox));
                    let look = self.look(&looks, desk, idx, checker, generation, now);
                    now = clock.now();
                    // Known by when nobody has looked again; later looks are
                    // minded from the next wait on.
                    let stale_at = now + desk.stale_after;
                    if stale_at < armed {
                        ages.wait_until(stale_at);
                        armed = stale_at;
                    }
                    if !look.in_time {
                        // Its token and its report are those of a look that
                        // was given up.
                        desks[idx] = None;
                    }
                    done = Some(look);
                }
                Next::Wait { due, stale_at } => {
                    looks.wait_until(due + self.least_deadline);
                    if stale_at != armed {
                        ages.wait_until(stale_at);
                        armed = stale_at;
                    }
                    let signals = clock.wait(inbox, due);
                    if signals.has(Signals::CANCEL) {
                        break;
                    }
                    now = clock.now();
                }
                Next::Over => break,
            }
        }
        if self.state.lock().is_in_office(id) {
            self.end();
        }
        looks.wait_until(Tick::NEVER);
        // What a look left behind is dropped before the thread says that it
        // has ended, and the guards before the last hold on what they guard.
        drop(desks);
        drop((looks, ages));
        drop(seat);
    }

    /// What the looks of a checker need, on this thread.
    fn desk(&self, idx: usize, inbox: &Arc<Inbox>) -> Desk {
        let state = self.state.lock();
        let Place { token, report, steps, .. } = &state.places[idx];
        let (token, report, steps) = (token.clone(), report.clone(), steps.clone());
        let Checked { name, deadline, stale_after, .. } = state.machine.about(idx).clone();
        drop(state);
        let ring = token.ring(inbox);
        let cx = Context::new(self.env.clone(), name, token, inbox.clone(), steps);
        let soft_deadline = deadline.saturating_sub(deadline_lead(deadline));
        Desk { cx, report, deadline, soft_deadline, stale_after, _ring: ring }
    }

    fn look(
        &self,
        guard: &Guard,
        desk: &mut Desk,
        idx: usize,
        mut checker: Box<dyn Checker>,
        generation: u64,
        now: Tick,
    ) -> Done {
        desk.cx.set_deadline(now + desk.soft_deadline);
        desk.cx.begin_steps();
        guard.enter(generation, now + desk.deadline);
        // A panic is a result, and what a user's error holds is dropped here,
        // in the slot.
        let call = || checker.check(&desk.cx, &desk.report).map_err(|error| Error::from_user(&*error));
        let observer = self.env.observer();
        let result = if observer.span.is_none() {
            caught(call)
        } else {
            let attrs = [Attr::new("monitor", &self.name), Attr::new("checker", desk.cx.name())];
            let span = observer.start_span("check", &attrs);
            desk.cx.set_span(&span);
            let result = caught(call);
            desk.cx.clear_span();
            // Told to end: that is no failure.
            if let Ok(Err(error)) | Err(error) = &result {
                if !desk.cx.is_cancelled() {
                    span.set_error(&error.report());
                }
            }
            result
        };
        let in_time = guard.leave(generation);
        if in_time && desk.report.holders() > 2 {
            self.renew_report(idx, desk);
        }
        Done { idx, checker, result: result.and_then(|result| result), in_time }
    }

    /// Somebody kept the report of a look: what it says from now on is of
    /// none.
    fn renew_report(&self, idx: usize, desk: &mut Desk) {
        let mut state = self.state.lock();
        let place = &mut state.places[idx];
        // After a stop nobody asks for it any more.
        if !place.report.is(&desk.report) {
            return;
        }
        let fresh = Report::with(desk.report.close());
        place.report = fresh.clone();
        let before = std::mem::replace(&mut desk.report, fresh);
        drop(state);
        drop(before);
    }

    /// Takes in a look that has returned, and says what is next. One lock for
    /// both: it is taken once for each look.
    fn next(&self, id: u64, now: Tick, done: Option<Done>) -> Next {
        let mut state = self.state.lock();
        let before = Numbers::of(&state.machine);
        let (mut measured, mut left_over) = (None, None);
        if let Some(Done { idx, checker, result, in_time }) = done {
            if state.closed {
                left_over = Some(checker);
            } else {
                state.places[idx].checker = Some(checker);
            }
            measured = self.take_in(&mut state, id, now, idx, result, in_time);
        }
        let is_over = !state.is_in_office(id) || self.is_ending(&state);
        let next = if is_over { Next::Over } else { self.begin(&mut state, now) };
        self.note(state, before);
        // One that nobody has a place for any more.
        let _ = caught(|| drop(left_over));
        if let Some((idx, ending, took)) = measured {
            if let Some(instruments) = self.instruments.checkers.get(idx) {
                instruments.note(ending, took, &self.env);
            }
        }
        next
    }

    /// Marks the beginning of a look under the lock that a stop takes, so that
    /// nothing begins after a stop.
    fn begin(&self, state: &mut State, now: Tick) -> Next {
        let mut events = Vec::new();
        let turn = state.machine.turn(now, &mut events);
        self.tell_all(state, events);
        match turn {
            Turn::Wait(due) => Next::Wait { due, stale_at: state.machine.stale_at() },
            Turn::Call(idx) => {
                state.looks += 1;
                let generation = state.looks;
                let taken = state.places[idx].checker.take();
                match (taken, &mut state.office) {
                    (Some(checker), Some(office)) => {
                        office.look = Some(Look { idx, generation, begun: now, timed_out: false });
                        Next::Look { idx, checker, generation }
                    }
                    _ => Next::Over,
                }
            }
        }
    }

    /// Has the machine judge what a look found, unless nobody waits for that
    /// any more. Gives what is to be measured.
    fn take_in(
        &self,
        state: &mut State,
        id: u64,
        now: Tick,
        idx: usize,
        result: Result<Verdict>,
        in_time: bool,
    ) -> Option<(usize, Ending, Option<Duration>)> {
        let is_in_office = state.is_in_office(id);
        let is_ending = self.is_ending(state);
        let look = state.office_of(id).and_then(|office| office.look.take())?;
        let took = now.since(look.begun);
        let is_late = !in_time || look.timed_out;
        let mut events = Vec::new();
        let mut measured = None;
        if !is_late && is_in_office {
            if is_ending {
                // An answer to nobody's question any more; a cancel is no failure.
                return None;
            }
            let found = state.places[idx].report.take();
            let ending = state.machine.returned(now, idx, result, found, took, &mut events);
            self.tell_all(state, events);
            return Some((idx, ending, Some(took)));
        }
        if is_late && is_in_office && !look.timed_out && !is_ending {
            // The watchdog took the look away, and this thread was faster to
            // the lock.
            let found = state.places[idx].give_up();
            state.machine.timed_out(now, idx, look.begun, found, &mut events);
            measured = Some((idx, Ending::Timeout, None));
        }
        let run = state.run.clone();
        state.places[idx].token = run.child();
        let late = state.machine.late(now, idx);
        state.late += u64::from(is_late);
        if is_late && !is_ending {
            events.push(late);
        }
        self.tell_all(state, events);
        measured
    }

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

/// What the watchdog minds for one thread.
#[derive(Debug, Clone, Copy)]
enum Kind {
    /// That its looks end.
    Looks,
    /// That what was found does not count for too long. Nothing is ever called
    /// in this slot: it is the moment that matters.
    Ages,
}

struct Watched {
    slot: Slot,
    shared: Weak<Shared>,
    id: u64,
    kind: Kind,
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
