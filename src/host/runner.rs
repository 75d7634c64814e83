//! The threads of a host: one that minds the time, and as many as there are
//! calls into components at this moment.
//!
//! A call takes its component out of its place and puts it back when it
//! returns, so nothing is locked meanwhile and one that is stuck is simply
//! absent. Calls never queue behind a stuck one: a thread that is in a call is
//! not free, and for what waits another is made.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use super::deploy::Outcome;
use super::supervisor::{Action, Call, HostPhase, Id, Input, Member, Op, Report, Stage, Supervisor};
use crate::cancel::CancelToken;
use crate::clock::{Inbox, Seat, Signals, Tick};
use crate::component::{Component, Context, Hears, Reporter};
use crate::dispatch::Mailbox;
use crate::env::Env;
use crate::error::{Error, ErrorClass, ErrorKind, Result};
use crate::event::{Event, EventKind, Health, LoopKind};
use crate::looper::deadline_lead;
use crate::map::Map;
use crate::name::Name;
use crate::primitive::{Condvar, Mutex, MutexGuard};
use crate::slot::Slot;
use crate::subscription::Hub;
use crate::thread::{Straggler, Task, caught};
use crate::watchdog::{Guard, Guarded};

/// How long dropping a component may take before its thread counts as stuck.
const DISCARD_TIMEOUT: Duration = Duration::from_secs(10);
/// How many components are dropped at once: each is done in no time, and a
/// few that hang must not hold up the others.
const DISCARDERS: usize = 4;
/// After how long a thread is asked for again that was refused.
const TRY_AGAIN: Duration = Duration::from_secs(1);

/// What a host and its threads share.
pub(super) struct Shared {
    pub(super) env: Env,
    pub(super) hub: Hub,
    pub(super) mailbox: Option<Arc<Mailbox>>,
    /// Wakes the thread that minds the time.
    pub(super) minder: Arc<Inbox>,
    state: Mutex<State>,
    changed: Condvar,
}

pub(super) struct State {
    pub(super) machine: Supervisor,
    homes: HashMap<Id, Home>,
    queue: VecDeque<Job>,
    runners: Vec<Runner>,
    /// When the one who minds the time looks again.
    asleep_until: Tick,
    /// Who waits for an answer, and the answers that are there.
    awaited: Map<Op, Option<Result<()>>>,
    /// Whether there is an answer more than those who wait were told of.
    has_answered: bool,
    /// The phase that they were told of.
    phase: HostPhase,
    /// Who is told instead of asking.
    listeners: Map<Op, Listener>,
    /// Answers whose listeners are to be told, some once the one before is
    /// back.
    answered: Vec<(Listener, Result<()>)>,
    next: u64,
    /// The number of the last event of each name of which something is left.
    numbers: Map<Name, u64>,
    closing: bool,
}

/// Where a component lives between calls.
struct Home {
    component: Option<Box<dyn Component>>,
    /// What its present run was given.
    run: CancelToken,
    /// What its present call of `stop` was given.
    stop: CancelToken,
}

struct Runner {
    id: u64,
    inbox: Arc<Inbox>,
    task: Arc<Task>,
    work: Option<Working>,
}

#[derive(Clone, Copy)]
struct Working {
    member: Id,
    generation: u64,
    /// `None`: it is dropped.
    call: Option<Call>,
    begun: Tick,
    deadline: Tick,
    /// The number of the call in the thread's slot.
    slot: u64,
}

enum Job {
    Call { id: Id, generation: u64, call: Call, timeout: Duration },
    Discard { id: Id },
}

impl Job {
    fn id(&self) -> Id {
        match self {
            Self::Call { id, .. } | Self::Discard { id } => *id,
        }
    }
}

/// A job and what it takes, out of their places.
struct Taken {
    working: Working,
    timeout: Duration,
    name: Option<Name>,
    component: Box<dyn Component>,
    run: CancelToken,
    stop: CancelToken,
}

/// Who is told how an operation ended, once, without the lock.
pub(super) struct Listener {
    pub(super) name: Name,
    pub(super) asked: Asked,
    /// It was told by the host itself, and at once, that it cannot be.
    pub(super) refused: bool,
    pub(super) tell: Tell,
}

pub(super) type Tell = Box<dyn FnOnce(Outcome) + Send>;

/// What an operation was to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    Start,
    Replace,
    Stop,
}

/// What is done once the lock is released.
#[must_use = "done once the lock is released"]
#[derive(Default)]
struct Afterwards {
    cancels: Vec<CancelToken>,
    rings: Vec<Arc<Inbox>>,
    tells: Vec<(Tell, Outcome)>,
}

impl Afterwards {
    fn run(self) {
        for token in self.cancels {
            token.cancel();
        }
        for inbox in self.rings {
            inbox.ring(Signals::POKE);
        }
        for (tell, outcome) in self.tells {
            tell(outcome);
        }
    }
}

impl State {
    pub(super) fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// A number under which somebody waits for an answer.
    pub(super) fn op(&mut self) -> Op {
        let op = self.number();
        self.awaited.insert(op, None);
        op
    }

    pub(super) fn forget(&mut self, op: Op) {
        self.awaited.remove(&op);
    }

    pub(super) fn answer(&mut self, op: Op) -> Option<Result<()>> {
        let answer = self.awaited.get_mut(&op)?.take()?;
        self.awaited.remove(&op);
        Some(answer)
    }

    /// An answer, which is kept.
    pub(super) fn look(&self, op: Op) -> Option<Result<()>> {
        self.awaited.get(&op)?.clone()
    }

    /// Has an answer told, also one that is there already.
    pub(super) fn listen(&mut self, op: Op, listener: Listener) {
        match self.answer(op) {
            Some(result) => self.answered.push((listener, result)),
            None => _ = self.listeners.insert(op, listener),
        }
    }

    /// Has it told that an operation did not even begin.
    pub(super) fn refuse(&mut self, listener: Listener, error: Error) {
        self.answered.push((Listener { refused: true, ..listener }, Err(error)));
    }

    /// How an operation ended; `None` while the one before is on its way back.
    fn outcome(&self, listener: &Listener, result: &Result<()>) -> Option<Outcome> {
        let error = match result {
            Err(error) => error.clone(),
            Ok(()) => return Some(Outcome::Done),
        };
        let is_on = matches!(self.machine.phase(), HostPhase::Starting { .. } | HostPhase::Running);
        let is_refusal = matches!(error.kind(), ErrorKind::InvalidState | ErrorKind::Cancelled);
        match listener.asked {
            _ if !is_on && is_refusal => return Some(cancelled(&error)),
            _ if !listener.refused => {}
            Asked::Stop if error.kind() == ErrorKind::NotFound => return Some(Outcome::Done),
            Asked::Start | Asked::Stop | Asked::Replace => return Some(Outcome::Failed(error)),
        }
        let error = of_component(error);
        if listener.asked != Asked::Replace {
            return Some(Outcome::Failed(error));
        }
        let Some(before) = self.machine.get(listener.name.as_str()) else {
            return Some(Outcome::Failed(error));
        };
        match before.stage {
            _ if !is_on => Some(cancelled(&error)),
            Stage::Started if !before.is_ending() => Some(Outcome::RolledBack(error)),
            Stage::Registered | Stage::Stopped | Stage::Starting { .. } if !before.is_ending() => None,
            _ => Some(Outcome::RollingBack(error)),
        }
    }

    /// Those who can be told now.
    fn tells(&mut self) -> Vec<(Tell, Outcome)> {
        let mut tells = Vec::new();
        for (listener, result) in std::mem::take(&mut self.answered) {
            match self.outcome(&listener, &result) {
                Some(outcome) => tells.push((listener.tell, outcome)),
                None => self.answered.push((listener, result)),
            }
        }
        tells
    }

    pub(super) fn settle_in(&mut self, id: Id, component: Box<dyn Component>) {
        let home = Home { component: Some(component), run: CancelToken::new(), stop: CancelToken::new() };
        self.homes.insert(id, home);
    }

    /// Gives back what was not taken.
    pub(super) fn move_out(&mut self, id: Id) -> Option<Box<dyn Component>> {
        self.homes.remove(&id).and_then(|home| home.component)
    }

    /// Whose call the present thread is in.
    pub(super) fn caller(&self) -> Option<Id> {
        let runner = self.runners.iter().find(|runner| runner.task.is_current())?;
        runner.work.map(|work| work.member)
    }

    /// The thread that is in a call into a component, and for how long.
    pub(super) fn thread_of(&self, id: Id, now: Tick) -> Option<(&Arc<Task>, Duration)> {
        let runner = self.runners.iter().find(|runner| runner.work.is_some_and(|work| work.member == id))?;
        let begun = runner.work.map_or(now, |work| work.begun);
        Some((&runner.task, now.since(begun)))
    }

    /// When the call into a component has to be over.
    pub(super) fn deadline_of(&self, member: &Member) -> Tick {
        self.working_on(member.id).map_or(Tick::NEVER, |work| work.deadline.min(member.cut()))
    }

    /// What a component is in.
    pub(super) fn phase(&self, member: &Member) -> &'static str {
        match self.working_on(member.id).and_then(|work| work.call) {
            Some(Call::Start) => "its start",
            Some(Call::Stop) => "its stop",
            None => "its end",
        }
    }

    /// How a component that does not end is named.
    pub(super) fn straggler(&self, member: &Member, now: Tick) -> Straggler {
        let (name, phase) = (member.name().as_str(), self.phase(member));
        match self.thread_of(member.id, now) {
            Some((task, stuck_for)) => Straggler::new(name, task, phase, stuck_for),
            None => Straggler::of(name, "", 0, phase, now.since(member.called)),
        }
    }

    fn working_on(&self, id: Id) -> Option<Working> {
        self.runners.iter().filter_map(|runner| runner.work).find(|work| work.member == id)
    }

    fn n_free(&self) -> usize {
        self.runners.iter().filter(|runner| runner.work.is_none()).count()
    }

    /// How many threads there should be for what waits: one for each call, and
    /// a few for all that is to be dropped.
    fn n_wanted(&self) -> usize {
        let n_calls = self.queue.iter().filter(|job| matches!(job, Job::Call { .. })).count();
        n_calls + (self.queue.len() - n_calls).min(DISCARDERS)
    }

    fn is_quiet(&self) -> bool {
        self.queue.is_empty() && self.runners.iter().all(|runner| runner.work.is_none())
    }

    /// Whether no component is being dropped, or about to be.
    fn has_dropped(&self) -> bool {
        let is_drop = |working: &Working| working.call.is_none();
        self.queue.is_empty() && !self.runners.iter().any(|runner| runner.work.as_ref().is_some_and(is_drop))
    }

    /// The next job for a thread: before all others one for the component it
    /// was just in.
    fn take(&mut self, me: u64, last: Option<Id>, slot: u64, now: Tick) -> Option<Taken> {
        let own = last.and_then(|id| self.queue.iter().position(|job| job.id() == id));
        let job = self.queue.remove(own.unwrap_or(0))?;
        let id = job.id();
        let home = self.homes.get_mut(&id)?;
        let component = home.component.take()?;
        let (run, stop) = (home.run.clone(), home.stop.clone());
        let (generation, call, timeout) = match job {
            Job::Call { generation, call, timeout, .. } => (generation, Some(call), timeout),
            Job::Discard { .. } => {
                self.homes.remove(&id);
                (0, None, DISCARD_TIMEOUT)
            }
        };
        let working = Working { member: id, generation, call, begun: now, deadline: now + timeout, slot };
        if let Some(runner) = self.runners.iter_mut().find(|runner| runner.id == me) {
            runner.work = Some(working);
            runner.task.mark();
        }
        let member = self.machine.get_by_id(id);
        let name = member.map(|member| member.name().clone());
        Some(Taken { working, timeout, name, component, run, stop })
    }
}

impl Shared {
    pub(super) fn new(
        env: &Env,
        machine: Supervisor,
        mailbox: Option<Arc<Mailbox>>,
        minder: Arc<Inbox>,
    ) -> Self {
        Self {
            env: env.clone(),
            hub: Hub::default(),
            mailbox,
            minder,
            state: Mutex::new(State {
                machine,
                homes: HashMap::new(),
                queue: VecDeque::new(),
                runners: Vec::new(),
                asleep_until: Tick::ZERO,
                awaited: Map::new(),
                has_answered: false,
                phase: HostPhase::Idle,
                listeners: Map::new(),
                answered: Vec::new(),
                next: Env::first_number(),
                numbers: Map::new(),
                closing: false,
            }),
            changed: Condvar::default(),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    pub(super) fn now(&self) -> Tick {
        self.env.clock().now()
    }

    /// Has the machine decide something and begins to do it.
    pub(super) fn act<T>(&self, decide: impl FnOnce(&mut State, Tick, &mut Vec<Action>) -> T) -> T {
        let mut state = self.lock();
        let now = self.now();
        let mut out = Vec::new();
        let decided = decide(&mut state, now, &mut out);
        let afterwards = self.apply(&mut state, out, None);
        self.release(state);
        afterwards.run();
        decided
    }

    /// Lets go of the lock and wakes those who wait, if there is something for
    /// one of them: an answer, another phase, nothing left to do.
    fn release(&self, mut state: MutexGuard<'_, State>) {
        let phase = state.machine.phase();
        let has_turned = std::mem::replace(&mut state.phase, phase) != phase;
        let has_news = std::mem::take(&mut state.has_answered) || has_turned || state.is_quiet();
        drop(state);
        if has_news {
            self.changed.notify_all();
        }
    }

    /// Blocks until `done` finds what it looks for, or until `deadline`.
    pub(super) fn wait<T>(
        &self,
        deadline: Option<Instant>,
        mut done: impl FnMut(&mut State) -> Option<T>,
    ) -> Option<T> {
        let mut state = self.lock();
        loop {
            if let Some(found) = done(&mut state) {
                return Some(found);
            }
            match deadline {
                None => state = self.changed.wait(state),
                Some(deadline) => {
                    let (guard, timed_out) = self.changed.wait_until(state, deadline);
                    state = guard;
                    if timed_out {
                        return done(&mut state);
                    }
                }
            }
        }
    }

    fn apply(&self, state: &mut State, out: Vec<Action>, me: Option<u64>) -> Afterwards {
        let mut afterwards = Afterwards::default();
        let mut gone = Vec::new();
        for action in out {
            match action {
                Action::Call { id, generation, call, timeout } => {
                    if let Some(home) = state.homes.get_mut(&id) {
                        match call {
                            Call::Start => home.run = CancelToken::new(),
                            Call::Stop => home.stop = CancelToken::new(),
                        }
                    }
                    state.queue.push_back(Job::Call { id, generation, call, timeout });
                }
                Action::Discard { id } => state.queue.push_back(Job::Discard { id }),
                Action::Cancel { id } => {
                    if let Some(home) = state.homes.get(&id) {
                        afterwards.cancels.extend([home.run.clone(), home.stop.clone()]);
                    }
                }
                Action::Tell { source, what } => {
                    if matches!(what, EventKind::ComponentRemoved) {
                        gone.push(source.clone());
                    }
                    self.tell(state, source, what);
                }
                Action::Answer { op, result } => match state.listeners.remove(&op) {
                    Some(listener) => state.answered.push((listener, result)),
                    None => {
                        if let Some(awaited) = state.awaited.get_mut(&op) {
                            *awaited = Some(result);
                            state.has_answered = true;
                        }
                    }
                },
            }
        }
        for name in gone {
            if !state.machine.knows(&name) {
                state.numbers.remove(&name);
            }
        }
        afterwards.tells = state.tells();
        let free = state.runners.iter().filter(|runner| runner.work.is_none());
        let others = free.filter(|runner| Some(runner.id) != me);
        let n_needed = state.queue.len().saturating_sub(usize::from(me.is_some()));
        afterwards.rings.extend(others.take(n_needed).map(|runner| runner.inbox.clone()));
        if state.n_wanted() > state.n_free() || state.machine.has_deadline_before(state.asleep_until) {
            afterwards.rings.push(self.minder.clone());
        }
        afterwards
    }

    /// Numbers an event and gives it to all who hear of it. Under the lock,
    /// so that all hear in one order; none of it waits.
    fn tell(&self, state: &mut State, source: Name, what: EventKind) {
        let n = state.numbers.get_or_default(source.clone());
        *n += 1;
        let n = *n;
        let at = self.env.stamp();
        let kind = LoopKind::Component;
        let event = self.env.events().append(Event { seq: 0, n, at, source, kind, what });
        self.hub.send(&event);
        if let Some(mailbox) = &self.mailbox {
            mailbox.send(event);
        }
    }

    /// The thread that minds the time, and makes the others.
    pub(super) fn mind(self: &Arc<Self>) {
        loop {
            let has_looked = self.act(|state, now, out| {
                // Rung for threads alone it has no need to look at all of them.
                let is_due = state.asleep_until <= now || state.machine.is_due(now);
                if is_due {
                    state.machine.tick(now, out);
                }
                is_due
            });
            let until = self.spawn_wanted(has_looked);
            if self.env.clock().wait(&self.minder, until).has(Signals::CANCEL) {
                return;
            }
        }
    }

    /// Makes the threads that are missing; says when to look again, after a look
    /// or without one. The lock is let go after each, so that it can begin before
    /// the next is made.
    fn spawn_wanted(self: &Arc<Self>, has_looked: bool) -> Tick {
        loop {
            let mut state = self.lock();
            let is_enough = state.n_wanted() <= state.n_free();
            let is_refused = !is_enough && self.spawn(&mut state).is_err();
            if is_enough || is_refused {
                let until = if has_looked {
                    state.machine.take_deadline()
                } else {
                    state.asleep_until.min(state.machine.soonest())
                };
                let again = if is_refused { self.now() + TRY_AGAIN } else { Tick::NEVER };
                state.asleep_until = until.min(again);
                return state.asleep_until;
            }
        }
    }

    /// Makes one more thread for calls.
    pub(super) fn spawn(self: &Arc<Self>, state: &mut State) -> Result<()> {
        let id = state.number();
        let (inbox, seat) = self.env.clock().join("a component's call");
        let (shared, bell) = (self.clone(), inbox.clone());
        let body = move || shared.run(id, &bell, seat);
        let task = Task::spawn(self.env.budget(), "lk/call".to_owned(), self.env.stack_size(), body)?;
        state.runners.push(Runner { id, inbox, task: Arc::new(task), work: None });
        Ok(())
    }

    fn run(self: &Arc<Self>, me: u64, inbox: &Arc<Inbox>, seat: Seat) {
        let owner = Overdue { slot: Slot::new(), shared: Arc::downgrade(self), runner: me };
        let guard = self.env.watchdog().guard(Arc::new(owner));
        guard.wait_until(Tick::NEVER);
        let mut n_calls = 0;
        loop {
            let mut last = None;
            while let Some(taken) = self.next(me, last, n_calls + 1) {
                n_calls += 1;
                last = Some(taken.working.member);
                self.call(&guard, n_calls, me, taken);
            }
            if self.leaves(me) || self.env.clock().wait(inbox, Tick::NEVER).has(Signals::CANCEL) {
                break;
            }
        }
        self.lock().runners.retain(|runner| runner.id != me);
        self.changed.notify_all();
        drop(guard);
        drop(seat);
    }

    fn next(&self, me: u64, last: Option<Id>, slot: u64) -> Option<Taken> {
        let mut state = self.lock();
        let now = self.now();
        loop {
            if state.queue.is_empty() {
                return None;
            }
            if let Some(taken) = state.take(me, last, slot, now) {
                return Some(taken);
            }
        }
    }

    /// Whether a thread without work ends: one that is free is enough.
    fn leaves(&self, me: u64) -> bool {
        let mut state = self.lock();
        if !state.queue.is_empty() {
            return false;
        }
        let others = state.runners.iter().any(|runner| runner.id != me && runner.work.is_none());
        let leaves = others || state.closing;
        if leaves {
            // Under the same lock, so that of two one stays.
            state.runners.retain(|runner| runner.id != me);
        }
        leaves
    }

    fn call(self: &Arc<Self>, guard: &Guard, n: u64, me: u64, taken: Taken) {
        let Taken { working, timeout, name, component, run, stop } = taken;
        let deadline = working.deadline;
        let (Some(call), Some(name)) = (working.call, name) else {
            guard.enter(n, deadline);
            let _ = caught(|| drop(component));
            let _ = guard.leave(n);
            self.rest(me);
            return;
        };
        let token = match call {
            Call::Start => run,
            Call::Stop => {
                run.cancel();
                stop
            }
        };
        let ears =
            Ears { shared: Arc::downgrade(self), member: working.member, generation: working.generation };
        let soft = working.begun + timeout.saturating_sub(deadline_lead(timeout));
        let cx = Context::for_call(&self.env, name, token, soft, Reporter::new(Arc::new(ears)));
        let mut component = component;
        guard.enter(n, deadline);
        let result = guarded(|| match call {
            Call::Start => component.start(&cx),
            Call::Stop => component.stop(&cx),
        });
        let in_time = guard.leave(n);
        drop(cx);
        self.finish(me, working, call, component, result, in_time);
    }

    fn rest(&self, me: u64) {
        let mut state = self.lock();
        if let Some(runner) = state.runners.iter_mut().find(|runner| runner.id == me) {
            runner.work = None;
        }
        drop(state);
        self.changed.notify_all();
    }

    fn finish(
        &self,
        me: u64,
        working: Working,
        call: Call,
        component: Box<dyn Component>,
        result: Result<()>,
        in_time: bool,
    ) {
        let Working { member, generation, begun, .. } = working;
        let mut state = self.lock();
        let now = self.now();
        let took = now.since(begun);
        if let Some(home) = state.homes.get_mut(&member) {
            home.component = Some(component);
        }
        if let Some(runner) = state.runners.iter_mut().find(|runner| runner.id == me) {
            runner.work = None;
        }
        let mut out = Vec::new();
        if !in_time {
            // The watchdog took the call away, and this thread may be faster
            // to the lock.
            let input = Input::Overdue { call, stuck_for: took };
            state.machine.step(now, member, generation, input, &mut out);
        }
        let input = Input::Returned { call, result, took };
        state.machine.step(now, member, generation, input, &mut out);
        let afterwards = self.apply(&mut state, out, Some(me));
        self.release(state);
        afterwards.run();
    }

    /// Ends all threads that are in no call; says whether none is left. Waits
    /// for calls until `calls`, and for drops until `deadline`. From inside a
    /// call nothing is waited for: the rest comes after that call.
    pub(super) fn close(&self, calls: Instant, deadline: Instant) -> bool {
        let is_inside = self.lock().caller().is_some();
        let quiet = !is_inside && self.wait(Some(calls), |state| state.is_quiet().then_some(())).is_some();
        if !is_inside && !quiet {
            let _ = self.wait(Some(deadline), |state| state.has_dropped().then_some(()));
        }
        let mut state = self.lock();
        state.closing = true;
        let runners: Vec<_> = state
            .runners
            .iter()
            .map(|runner| (runner.inbox.clone(), runner.task.clone(), runner.work.is_some()))
            .collect();
        drop(state);
        let mut all = quiet;
        for (inbox, ..) in &runners {
            // One in a call comes back for what is left to do for it.
            inbox.ring(Signals::POKE);
        }
        for (_, task, is_stuck) in runners {
            all &= is_stuck || task.is_current() || task.join_until(deadline).is_some();
        }
        all
    }
}

/// How an operation ends that a host had no time for any more.
fn cancelled(error: &Error) -> Outcome {
    Outcome::Failed(Error::new(ErrorKind::Cancelled).context(error.report().to_string()))
}

/// What a component says of its own failure must not be taken for a word of
/// the host about it.
fn of_component(error: Error) -> Error {
    let class = match error.class() {
        ErrorClass::Cancelled => ErrorClass::Retryable,
        class => class,
    };
    match error.kind() {
        ErrorKind::NotFound | ErrorKind::InvalidState | ErrorKind::Duplicate | ErrorKind::Cancelled => {
            Error::new(ErrorKind::Component).with_class(class).context(error.report().to_string())
        }
        _ => error.with_class(class),
    }
}

/// Calls user code; a panic is a result, and what a user's error holds is
/// dropped here, in the slot.
fn guarded(call: impl FnOnce() -> std::result::Result<(), crate::error::BoxError>) -> Result<()> {
    caught(|| call().map_err(|error| Error::from_user(&*error))).and_then(|result| result)
}

/// Hears that a thread's call is overdue.
struct Overdue {
    slot: Slot,
    shared: Weak<Shared>,
    runner: u64,
}

impl Guarded for Overdue {
    fn slot(&self) -> &Slot {
        &self.slot
    }

    fn overdue(&self, slot: u64, now: Tick) -> Tick {
        let Some(shared) = self.shared.upgrade() else { return Tick::NEVER };
        shared.act(|state, _, out| {
            let runner = state.runners.iter().find(|runner| runner.id == self.runner);
            let work = runner.and_then(|runner| runner.work).filter(|work| work.slot == slot);
            let Some(Working { member, generation, call: Some(call), begun, .. }) = work else {
                return;
            };
            let input = Input::Overdue { call, stuck_for: now.since(begun) };
            state.machine.step(now, member, generation, input, out);
        });
        Tick::NEVER
    }

    fn starved(&self, _now: Tick) -> Tick {
        Tick::NEVER
    }
}

/// Hears what one run of a component says.
struct Ears {
    shared: Weak<Shared>,
    member: Id,
    generation: u64,
}

impl Ears {
    fn hear(&self, report: Report) {
        let Some(shared) = self.shared.upgrade() else { return };
        shared.act(|state, now, out| {
            state.machine.step(now, self.member, self.generation, Input::Reported(report), out);
        });
    }
}

impl Hears for Ears {
    fn health(&self, health: Health) {
        self.hear(Report::Health(health));
    }

    fn failed(&self, error: Error) {
        self.hear(Report::Failed(error));
    }

    fn done(&self) {
        self.hear(Report::Done);
    }
}
