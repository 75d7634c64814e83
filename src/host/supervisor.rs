//! What a host decides: whom to start and stop, when, and what comes of it.
//!
//! Pure: time comes in, [`Action`]s go out; no threads, no clock, no user
//! code. After each input [`Supervisor::settle`] looks at every component and
//! begins what is due, so that no order of inputs can leave one behind.
//!
//! Each run of a component has a generation. A call that comes back, and a
//! word from a [`Reporter`](crate::component::Reporter), is taken only with
//! the generation it belongs to: a late one cannot touch a later run.

use std::time::Duration;

use super::config::{Require, Settings, Spec};
use super::graph::{self, Node};
use super::restart::{Exit, History, Verdict, WhenExhausted};
use crate::backoff::Random;
use crate::clock::Tick;
use crate::duration;
use crate::error::{Error, ErrorClass, ErrorKind, Result};
use crate::event::{EventKind, Health};
use crate::name::Name;

use view::View;

/// What a component has in a host, for ever its own.
pub(super) type Id = u64;
/// Somebody who waits for an answer.
pub(super) type Op = u64;

/// How many components may be in `start` at once while the host runs.
const CONCURRENT_STARTS: usize = 16;
/// What each component that still has to stop has kept for it of the host's
/// time, all together at most half of what is left.
const RESERVE: Duration = Duration::from_millis(100);
/// The least a `stop` is given, also when the host's time is over.
const LEAST: Duration = Duration::from_millis(10);

/// A call into a component.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Call {
    Start,
    Stop,
}

impl Call {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
        }
    }
}

/// What a component says of itself.
#[derive(Debug)]
pub(super) enum Report {
    Health(Health),
    Failed(Error),
    Done,
}

/// What happened.
#[derive(Debug)]
pub(super) enum Input {
    /// A call came back, in time or not.
    Returned { call: Call, result: Result<()>, took: Duration },
    /// A call has passed its deadline and is stuck.
    Overdue { call: Call, stuck_for: Duration },
    /// The component said something.
    Reported(Report),
}

/// What is to be done about it.
#[derive(Debug)]
pub(super) enum Action {
    /// Call into the component.
    Call { id: Id, generation: u64, call: Call, timeout: Duration },
    /// Cancel what the component was given at its start.
    Cancel { id: Id },
    /// Drop the component.
    Discard { id: Id },
    /// Tell everybody.
    Tell { source: Name, what: EventKind },
    /// Tell the one who waits.
    Answer { op: Op, result: Result<()> },
}

/// Where a component is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    Registered,
    Waiting {
        until: Tick,
    },
    /// In `start`; left behind at `cut`, if its own deadline does not come
    /// first.
    Starting {
        cut: Tick,
    },
    Started,
    /// In `stop`, as above.
    Stopping {
        cut: Tick,
    },
    BackingOff {
        until: Tick,
    },
    Stopped,
    Failed,
    Abandoned {
        call: Call,
    },
}

impl Stage {
    /// Whether it may be at work, as far as the others are concerned.
    fn is_alive(self) -> bool {
        matches!(self, Self::Starting { .. } | Self::Started | Self::Stopping { .. })
    }

    fn is_in_call(self) -> bool {
        matches!(self, Self::Starting { .. } | Self::Stopping { .. })
    }
}

/// Why a run has to end.
#[derive(Debug, Clone)]
enum Ending {
    Failed(Error),
    Done,
}

#[derive(Debug)]
enum Leaving {
    /// For good. `always`: also when its `stop` fails.
    Removed { answer: Option<(Op, Result<()>)>, always: bool },
    /// For another.
    Replaced(Box<Candidate>),
}

#[derive(Debug)]
struct Candidate {
    id: Id,
    spec: Spec,
    limit: Duration,
    op: Op,
}

/// A component that has to come up, or the one before it returns.
#[derive(Debug)]
struct Trial {
    before: Box<Member>,
    /// Counts from its start, or from when it had to wait for others.
    by: Tick,
    limit: Duration,
    op: Option<Op>,
}

#[derive(Debug)]
struct Edge {
    idx: Option<usize>,
    or_stop: bool,
    /// Since when the one that waits has found it not ready.
    missed: Option<Tick>,
}

/// One component.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) id: Id,
    pub(super) spec: Spec,
    pub(super) stage: Stage,
    pub(super) since: Tick,
    pub(super) generation: u64,
    pub(super) health: Health,
    pub(super) up: bool,
    pub(super) last_error: Option<Error>,
    pub(super) restarts: u64,
    /// When the present call was asked for.
    pub(super) called: Tick,
    /// Stuck in a call and out of its place.
    pub(super) stray: bool,
    wanted: bool,
    ending: Option<Ending>,
    /// It says itself how it is.
    speaks: bool,
    told_ready: bool,
    ran_since: Option<Tick>,
    /// Its last `stop` failed: it may still be at work.
    pub(super) unstopped: bool,
    /// It failed and is not started again by itself.
    pub(super) gave_up: bool,
    cancelled: bool,
    history: History,
    leaving: Option<Leaving>,
    /// How long it may take to leave.
    grace: Duration,
    trial: Option<Trial>,
    /// Who waits for its first start.
    op: Option<Op>,
    edges: Vec<Edge>,
}

impl Member {
    fn new(id: Id, spec: Spec, now: Tick) -> Self {
        Self {
            id,
            spec,
            stage: Stage::Registered,
            since: now,
            generation: 0,
            health: Health::Unknown,
            up: false,
            last_error: None,
            restarts: 0,
            called: now,
            stray: false,
            wanted: false,
            ending: None,
            speaks: false,
            told_ready: false,
            ran_since: None,
            unstopped: false,
            gave_up: false,
            cancelled: false,
            history: History::default(),
            leaving: None,
            grace: Duration::MAX,
            trial: None,
            op: None,
            edges: Vec::new(),
        }
    }

    pub(super) fn name(&self) -> &Name {
        &self.spec.name
    }

    /// How long its `stop` may take at most.
    fn stop_timeout(&self) -> Duration {
        self.spec.stop_timeout.min(self.grace).max(LEAST)
    }

    fn set(&mut self, stage: Stage, now: Tick) {
        self.stage = stage;
        self.since = now;
    }

    fn tell(&self, out: &mut Vec<Action>, what: EventKind) {
        out.push(Action::Tell { source: self.spec.name.clone(), what });
    }

    /// Whether it has to end for a reason of its own.
    pub(super) fn is_ending(&self) -> bool {
        !self.wanted || self.leaving.is_some() || self.ending.is_some()
    }

    /// Whether what requires it may run, as far as it alone decides.
    fn can_take_work(&self) -> bool {
        self.stage == Stage::Started
            && self.up
            && !self.is_ending()
            && matches!(self.health, Health::Ready | Health::Degraded)
    }

    /// When to look at it again though nothing happens, after a look at this
    /// moment.
    fn deadline(&self, looked: Tick) -> Tick {
        let stage = match self.stage {
            // Due, and waits for its turn: that comes with an input.
            Stage::BackingOff { until } if until <= looked => Tick::NEVER,
            Stage::Waiting { until } | Stage::BackingOff { until } => until,
            Stage::Starting { cut } | Stage::Stopping { cut } => cut,
            _ => Tick::NEVER,
        };
        stage.min(self.trial.as_ref().map_or(Tick::NEVER, |trial| trial.by))
    }

    fn fail(&mut self, error: Error, out: &mut Vec<Action>) {
        self.last_error = Some(error.clone());
        self.tell(out, EventKind::ComponentFailed { error: error.clone() });
        self.ending = Some(Ending::Failed(error));
    }
}

/// What the host as a whole is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HostPhase {
    Idle,
    Starting { op: Op },
    Running,
    Ending { by: Tick },
}

/// The decisions of one host.
#[derive(Debug)]
pub(super) struct Supervisor {
    settings: Settings,
    phase: HostPhase,
    members: Vec<Member>,
    /// Places in `members`, in the order of their starts.
    order: Vec<usize>,
    /// Why the start failed that is being undone, and who waits for it.
    unwinding: Option<(Op, Error)>,
    /// What a stop could not stop.
    stop_errors: Vec<Error>,
    /// Why the host stops by itself.
    fatal: Option<Error>,
    closed: bool,
    /// When it last looked for what is due.
    looked: Tick,
    view: View,
    random: Random,
}

/// The time one of several gets that share what is left: what it asks for,
/// less what is kept for the others.
fn share(asks: Duration, left: Duration, others: usize) -> Duration {
    let others = u32::try_from(others).unwrap_or(u32::MAX);
    let kept = RESERVE.saturating_mul(others).min(left / 2);
    asks.min(left - kept).max(LEAST)
}

/// An error of a component's call, with the names people know.
fn named(name: &Name, call: &str, error: &Error) -> Error {
    let context = format!("{name}: {call}: {}", error.report());
    Error::new(error.kind()).with_class(error.class()).context(context)
}

fn refused(text: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::InvalidState).context(text)
}

impl Supervisor {
    pub(super) fn new(settings: Settings, seed: u64) -> Self {
        Self {
            settings,
            phase: HostPhase::Idle,
            members: Vec::new(),
            order: Vec::new(),
            unwinding: None,
            stop_errors: Vec::new(),
            fatal: None,
            closed: false,
            looked: Tick::ZERO,
            view: View::default(),
            random: Random::new(seed),
        }
    }

    pub(super) fn phase(&self) -> HostPhase {
        self.phase
    }

    /// Every component in the order of starts, then those that are stuck and
    /// out of their places.
    pub(super) fn members(&self) -> impl Iterator<Item = &Member> {
        let strays = self.members.iter().filter(|member| member.stray);
        self.order.iter().map(|&idx| &self.members[idx]).chain(strays)
    }

    pub(super) fn get(&self, name: &str) -> Option<&Member> {
        self.place(name).map(|idx| &self.members[idx])
    }

    pub(super) fn get_by_id(&self, id: Id) -> Option<&Member> {
        self.view.place(id, &self.members).map(|idx| &self.members[idx])
    }

    pub(super) fn stop_errors(&self) -> &[Error] {
        &self.stop_errors
    }

    pub(super) fn fatal(&self) -> Option<&Error> {
        self.fatal.as_ref()
    }

    /// What a component waits for.
    pub(super) fn waits_for(&self, member: &Member) -> Vec<Name> {
        if !matches!(member.stage, Stage::Waiting { .. }) {
            return Vec::new();
        }
        let ready = self.ready();
        Self::blockers(member, &ready)
    }

    // Commands.

    /// Adds a component: before the start it is only registered, while the
    /// host runs it is started and `op` hears of it.
    pub(super) fn add(
        &mut self,
        now: Tick,
        id: Id,
        spec: Spec,
        op: Option<Op>,
        out: &mut Vec<Action>,
    ) -> Result<()> {
        self.check_open(&spec.name)?;
        if op.is_none() && self.phase != HostPhase::Idle {
            return Err(refused(format!("{}: register while the host runs; deploy it", spec.name)));
        }
        if self.place(spec.name.as_str()).is_some() {
            let context = format!("{}: a component of this name is there", spec.name);
            return Err(Error::new(ErrorKind::Duplicate).context(context));
        }
        self.check_requires(&spec)?;
        let mut member = Member::new(id, spec, now);
        let is_on = self.is_on();
        member.wanted = is_on;
        self.members.push(member);
        self.relink();
        if let Some(op) = op {
            if is_on {
                let idx = self.members.len() - 1;
                self.members[idx].op = Some(op);
                self.settle(now, out);
            } else {
                out.push(Action::Answer { op, result: Ok(()) });
            }
        }
        Ok(())
    }

    /// Stops a component and takes it out.
    pub(super) fn remove(
        &mut self,
        now: Tick,
        name: &str,
        grace: Duration,
        op: Op,
        out: &mut Vec<Action>,
    ) -> Result<()> {
        let idx = self.find(name)?;
        self.check_open(&self.members[idx].spec.name)?;
        self.view.touch(idx);
        let member = &mut self.members[idx];
        if member.leaving.is_some() {
            return Err(refused(format!("{name}: is on its way out")));
        }
        member.grace = grace;
        if let Some(trial) = member.trial.take() {
            out.push(Action::Discard { id: trial.before.id });
            answer(out, trial.op, Err(refused(format!("{name}: removed"))));
        }
        answer(out, member.op.take(), Err(refused(format!("{name}: removed"))));
        member.leaving = Some(Leaving::Removed { answer: Some((op, Ok(()))), always: false });
        match member.stage {
            Stage::Starting { .. } | Stage::Started | Stage::Stopping { .. } => {}
            // Tried once more.
            _ if member.unstopped => member.set(Stage::Started, now),
            Stage::Abandoned { .. } => self.put_aside(idx, out),
            _ => self.ended(idx, now, out),
        }
        self.settle(now, out);
        Ok(())
    }

    /// Stops a component and starts another in its place; if that does not
    /// come up within `limit`, the first returns.
    pub(super) fn replace(
        &mut self,
        now: Tick,
        id: Id,
        spec: Spec,
        limit: Duration,
        op: Op,
        out: &mut Vec<Action>,
    ) -> Result<()> {
        let Some(idx) = self.place(spec.name.as_str()) else { return self.add(now, id, spec, Some(op), out) };
        self.check_open(&spec.name)?;
        let name = &spec.name;
        let member = &self.members[idx];
        if member.leaving.is_some() || member.trial.is_some() {
            return Err(refused(format!("{name}: is being replaced or removed")));
        }
        if matches!(member.stage, Stage::Abandoned { .. }) {
            return Err(refused(format!("{name}: the one before has not stopped; undeploy it")));
        }
        self.check_requires(&spec)?;
        answer(out, self.members[idx].op.take(), Err(refused(format!("{name}: replaced"))));
        self.view.touch(idx);
        let member = &mut self.members[idx];
        member.leaving = Some(Leaving::Replaced(Box::new(Candidate { id, spec, limit, op })));
        if member.unstopped {
            // Tried once more.
            member.set(Stage::Started, now);
        } else if !member.stage.is_alive() {
            self.ended(idx, now, out);
        }
        self.settle(now, out);
        Ok(())
    }

    pub(super) fn start(&mut self, now: Tick, op: Op, out: &mut Vec<Action>) -> Result<()> {
        if self.closed || self.phase != HostPhase::Idle {
            return Err(refused("host: start while it runs or stops"));
        }
        for member in &self.members {
            // A late one may be on its way to its end, too.
            let has_stopped = !member.unstopped && !member.stage.is_alive();
            if !has_stopped || matches!(member.stage, Stage::Abandoned { .. }) {
                return Err(refused(format!("{}: has not stopped yet", member.name())));
            }
        }
        graph::check_present(&self.nodes())?;
        self.fatal = None;
        self.stop_errors.clear();
        for member in &mut self.members {
            member.wanted = true;
            member.gave_up = false;
            member.history = History::default();
            member.set(Stage::Registered, now);
        }
        self.phase = HostPhase::Starting { op };
        self.view.touch_all();
        self.settle(now, out);
        Ok(())
    }

    /// Begins to stop everything. Does nothing where nothing runs.
    pub(super) fn stop(&mut self, now: Tick, grace: Duration, out: &mut Vec<Action>) {
        let mut unstopped = false;
        for member in self.members.iter_mut().filter(|member| member.unstopped) {
            // Tried once more.
            unstopped = true;
            member.wanted = false;
            member.set(Stage::Started, now);
        }
        self.view.touch_all();
        if self.phase == HostPhase::Idle && !unstopped {
            self.stop_errors.clear();
            return;
        }
        self.end(now, grace, out);
        self.settle(now, out);
    }

    /// Takes everything out that has ended, for good.
    pub(super) fn close(&mut self, out: &mut Vec<Action>) {
        self.closed = true;
        self.view.touch_all();
        for mut member in std::mem::take(&mut self.members) {
            member.unstopped = false;
            member.leaving.get_or_insert(Leaving::Removed { answer: None, always: true });
            if matches!(member.stage, Stage::Abandoned { .. }) || member.stage.is_alive() {
                self.members.push(member);
            } else {
                Self::discard(member, out);
            }
        }
        self.relink();
    }

    /// Drops a component that was taken out, and the one before it.
    fn discard(member: Member, out: &mut Vec<Action>) {
        out.push(Action::Discard { id: member.id });
        if let Some(trial) = member.trial {
            out.push(Action::Discard { id: trial.before.id });
            answer(out, trial.op, Err(refused("the host is gone")));
        }
        match member.leaving {
            Some(Leaving::Removed { answer: Some((op, result)), .. }) => {
                out.push(Action::Answer { op, result });
            }
            Some(Leaving::Replaced(candidate)) => {
                out.push(Action::Discard { id: candidate.id });
                answer(out, Some(candidate.op), Err(refused("the host is gone")));
            }
            _ => {}
        }
    }

    /// Takes in what happened to run `generation` of a component.
    pub(super) fn step(&mut self, now: Tick, id: Id, generation: u64, input: Input, out: &mut Vec<Action>) {
        let Some(idx) = self.view.place(id, &self.members) else { return };
        if self.members[idx].generation != generation {
            return;
        }
        self.view.touch(idx);
        match input {
            Input::Returned { call, result, took } => self.returned(idx, now, call, result, took, out),
            Input::Overdue { call, stuck_for } => match (self.members[idx].stage, call) {
                (Stage::Starting { .. }, Call::Start) | (Stage::Stopping { .. }, Call::Stop) => {
                    self.abandon(idx, now, call, stuck_for, out);
                }
                _ => {}
            },
            Input::Reported(report) => self.reported(idx, now, report, out),
        }
        self.settle(now, out);
    }

    /// Takes in that time has passed.
    pub(super) fn tick(&mut self, now: Tick, out: &mut Vec<Action>) {
        self.view.touch_all();
        let mut idx = 0;
        while idx < self.members.len() {
            let due = |by: Tick| by <= now;
            let stuck_for = now.since(self.members[idx].called);
            match self.members[idx].stage {
                Stage::Starting { cut } if due(cut) => self.abandon(idx, now, Call::Start, stuck_for, out),
                Stage::Stopping { cut } if due(cut) => self.abandon(idx, now, Call::Stop, stuck_for, out),
                Stage::Waiting { until } if due(until) && self.waits_for_none(idx) => {
                    // Only for its turn, which nobody says how long may take.
                    self.members[idx].stage = Stage::Waiting { until: Tick::NEVER };
                }
                Stage::Waiting { until } if due(until) => {
                    let text = self.waited(idx, now);
                    self.members[idx].fail(Error::new(ErrorKind::Timeout).context(text), out);
                    self.ended(idx, now, out);
                }
                _ => {}
            }
            if let Some(member) = self.members.get_mut(idx) {
                if member.trial.as_ref().is_some_and(|trial| due(trial.by)) {
                    if member.stage.is_alive() {
                        self.too_slow(idx, out);
                    } else {
                        // It waits for others: that is no fault of its own.
                        self.commit(idx, out);
                    }
                }
            }
            idx += 1;
        }
        self.settle(now, out);
    }

    /// When to look again though nothing happens.
    pub(super) fn next_deadline(&self) -> Tick {
        self.members.iter().map(|member| member.deadline(self.looked)).min().unwrap_or(Tick::NEVER)
    }

    /// As [`next_deadline`](Self::next_deadline), for one who looks again then,
    /// unless [`has_deadline_before`](Self::has_deadline_before) comes true.
    pub(super) fn take_deadline(&mut self) -> Tick {
        self.view.forget_soonest();
        self.next_deadline()
    }

    /// Whether there may be an earlier one since it was taken.
    pub(super) fn has_deadline_before(&self, tick: Tick) -> bool {
        self.view.soonest() < tick
    }

    // What happened.

    fn returned(
        &mut self,
        idx: usize,
        now: Tick,
        call: Call,
        result: Result<()>,
        took: Duration,
        out: &mut Vec<Action>,
    ) {
        let member = &mut self.members[idx];
        match (member.stage, call) {
            (Stage::Starting { .. }, Call::Start) => {
                member.set(Stage::Started, now);
                member.ran_since = Some(now);
                if let Err(error) = result {
                    if member.ending.is_none() {
                        member.fail(error, out);
                    }
                }
                match &member.ending {
                    Some(Ending::Failed(error)) => {
                        let error = error.clone();
                        member.ran_since = None;
                        self.did_not_start(idx, now, &error, out);
                    }
                    _ => {
                        if !member.speaks {
                            member.health = Health::Ready;
                        }
                        answer(out, member.op.take(), Ok(()));
                        if member.health != Health::Unknown && !member.is_ending() {
                            self.came_up(idx, now, out);
                        }
                    }
                }
            }
            (Stage::Abandoned { call: Call::Start }, Call::Start) => {
                member.tell(out, EventKind::Late { took });
                // At once and on the same thread: nobody waits for its turn.
                self.begin_stop(idx, self.n_alive(), now, out);
            }
            (Stage::Stopping { .. } | Stage::Abandoned { call: Call::Stop }, Call::Stop) => {
                if matches!(member.stage, Stage::Abandoned { .. }) {
                    member.tell(out, EventKind::Late { took });
                }
                match result {
                    Ok(()) => {
                        member.tell(out, EventKind::ComponentStopped);
                        self.ended(idx, now, out);
                    }
                    Err(error) => self.did_not_stop(idx, now, &error, out),
                }
            }
            _ => {}
        }
    }

    fn reported(&mut self, idx: usize, now: Tick, report: Report, out: &mut Vec<Action>) {
        let member = &mut self.members[idx];
        if !matches!(member.stage, Stage::Starting { .. } | Stage::Started) {
            return;
        }
        match report {
            Report::Health(health) => {
                member.speaks = true;
                if member.health == health {
                    return;
                }
                member.health = health;
                if member.stage == Stage::Started {
                    member.since = now;
                    if !member.up && health != Health::Unknown && !member.is_ending() {
                        self.came_up(idx, now, out);
                    }
                }
            }
            Report::Failed(error) if member.ending.is_none() => member.fail(error, out),
            Report::Done if member.ending.is_none() => member.ending = Some(Ending::Done),
            Report::Failed(_) | Report::Done => {}
        }
    }

    fn came_up(&mut self, idx: usize, now: Tick, out: &mut Vec<Action>) {
        let member = &mut self.members[idx];
        member.up = true;
        member.since = now;
        member.tell(out, EventKind::ComponentUp { took: now.since(member.called) });
        self.commit(idx, out);
    }

    /// A component that was on trial stays.
    fn commit(&mut self, idx: usize, out: &mut Vec<Action>) {
        let member = &mut self.members[idx];
        if let Some(trial) = member.trial.take() {
            out.push(Action::Discard { id: trial.before.id });
            member.tell(out, EventKind::ComponentReplaced);
            answer(out, trial.op, Ok(()));
        }
    }

    /// A component on trial did not come up in time.
    fn too_slow(&mut self, idx: usize, out: &mut Vec<Action>) {
        let member = &mut self.members[idx];
        if let Some(trial) = &mut member.trial {
            trial.by = Tick::NEVER;
            if member.ending.is_none() {
                let text = format!("not up within {}", duration::format(trial.limit));
                member.fail(Error::new(ErrorKind::Timeout).context(text), out);
            }
        }
    }

    /// What a failed start means for the others.
    fn did_not_start(&mut self, idx: usize, now: Tick, error: &Error, out: &mut Vec<Action>) {
        let member = &mut self.members[idx];
        let error = named(&member.spec.name, Call::Start.as_str(), error);
        if let Some(op) = member.op.take() {
            member.leaving.get_or_insert(Leaving::Removed { answer: Some((op, Err(error))), always: true });
        } else if let (HostPhase::Starting { op }, None, None) = (self.phase, &member.trial, &member.leaving)
        {
            self.unwinding = Some((op, error));
            let grace = self.settings.shutdown_timeout;
            self.end(now, grace, out);
        }
    }

    fn did_not_stop(&mut self, idx: usize, now: Tick, error: &Error, out: &mut Vec<Action>) {
        let (is_on, is_ending) = (self.is_on(), matches!(self.phase, HostPhase::Ending { .. }));
        let member = &mut self.members[idx];
        let reported = named(&member.spec.name, Call::Stop.as_str(), error);
        member.last_error = Some(reported.clone());
        member.tell(out, EventKind::ComponentFailed { error: reported.clone() });
        member.unstopped = true;
        if is_ending {
            self.stop_errors.push(reported.clone());
        }
        match member.leaving.take() {
            Some(Leaving::Removed { mut answer, always: true }) => {
                if let Some((_, Err(first))) = &mut answer {
                    let context = format!("{}; {}", first.report(), reported.report());
                    *first = Error::new(first.kind()).with_class(first.class()).context(context);
                }
                member.leaving = Some(Leaving::Removed { answer, always: true });
                self.ended(idx, now, out);
            }
            Some(Leaving::Removed { answer: to, always: false }) => {
                answer(out, to.map(|(op, _)| op), Err(reported));
                member.grace = Duration::MAX;
                self.left_running(idx, now);
            }
            Some(Leaving::Replaced(candidate)) => {
                out.push(Action::Discard { id: candidate.id });
                answer(out, Some(candidate.op), Err(reported.clone()));
                member.ending = Some(Ending::Failed(reported));
                self.ended(idx, now, out);
            }
            None if !is_on && member.trial.is_none() => self.left_running(idx, now),
            None => self.ended(idx, now, out),
        }
    }

    /// Its `stop` failed and is not tried again by itself.
    fn left_running(&mut self, idx: usize, now: Tick) {
        let member = &mut self.members[idx];
        member.wanted = false;
        member.unstopped = true;
        member.up = false;
        member.health = Health::Unknown;
        member.ending = None;
        member.set(Stage::Failed, now);
    }

    /// A call is stuck: the others go on without it.
    fn abandon(&mut self, idx: usize, now: Tick, call: Call, stuck_for: Duration, out: &mut Vec<Action>) {
        let member = &mut self.members[idx];
        member.set(Stage::Abandoned { call }, now);
        member.up = false;
        member.health = Health::Unknown;
        let text = format!("still in {} after {}", call.as_str(), duration::format(stuck_for));
        let error = Error::new(ErrorKind::Timeout).context(text);
        member.last_error = Some(error.clone());
        out.push(Action::Cancel { id: member.id });
        member.tell(out, EventKind::ComponentAbandoned { call: call.as_str(), stuck_for });
        member.ending.get_or_insert_with(|| Ending::Failed(error.clone()));
        let reported = named(&member.spec.name, call.as_str(), &error);
        match member.leaving.take() {
            Some(leaving @ Leaving::Removed { .. }) => {
                member.leaving = Some(leaving);
                self.put_aside(idx, out);
                return;
            }
            Some(Leaving::Replaced(candidate)) => {
                out.push(Action::Discard { id: candidate.id });
                answer(out, Some(candidate.op), Err(reported));
            }
            None => {}
        }
        if let Some(trial) = member.trial.take() {
            self.roll_back(idx, trial, now, out);
        } else if call == Call::Start {
            self.did_not_start(idx, now, &error, out);
            if self.members[idx].leaving.is_some() {
                self.put_aside(idx, out);
            }
        }
    }

    /// Takes a stuck component out of its place; what it is stuck in is still
    /// looked after.
    fn put_aside(&mut self, idx: usize, out: &mut Vec<Action>) {
        let member = &mut self.members[idx];
        let to = match member.leaving.take() {
            Some(Leaving::Removed { answer, .. }) => answer.map(|(op, _)| op),
            _ => None,
        };
        let error = member.last_error.clone().unwrap_or_else(|| ErrorKind::Timeout.into());
        let call = match member.stage {
            Stage::Abandoned { call } => call.as_str(),
            _ => "stop",
        };
        answer(out, to, Err(named(&member.spec.name, call, &error)));
        member.leaving = Some(Leaving::Removed { answer: None, always: true });
        member.stray = true;
        self.relink();
    }

    /// A run is over and nothing of it is left.
    fn ended(&mut self, idx: usize, now: Tick, out: &mut Vec<Action>) {
        let is_on = self.is_on();
        let member = &mut self.members[idx];
        member.up = false;
        member.health = Health::Unknown;
        member.told_ready = false;
        let ending = member.ending.take();
        let ran = member.ran_since.take().map(|since| now.since(since)).unwrap_or_default();
        match member.leaving.take() {
            Some(Leaving::Removed { answer: to, .. }) => {
                if !self.closed {
                    member.tell(out, EventKind::ComponentRemoved);
                }
                out.push(Action::Discard { id: member.id });
                if let Some(trial) = member.trial.take() {
                    out.push(Action::Discard { id: trial.before.id });
                }
                if let Some((op, result)) = to {
                    out.push(Action::Answer { op, result });
                }
                self.members.remove(idx);
                self.relink();
                return;
            }
            Some(Leaving::Replaced(candidate)) => {
                member.set(Stage::Stopped, now);
                self.put_in_place(idx, *candidate, now, out);
                return;
            }
            None => {}
        }
        match &ending {
            // So soon: it was up, if only for a moment.
            Some(Ending::Done) => self.commit(idx, out),
            // It has to wait, which is no fault of its own.
            None if member.wanted => {}
            _ => {
                if let Some(trial) = member.trial.take() {
                    member.ending = ending;
                    member.set(Stage::Stopped, now);
                    self.roll_back(idx, trial, now, out);
                    return;
                }
            }
        }
        let member = &mut self.members[idx];
        let failed = matches!(ending, Some(Ending::Failed(_)));
        let rest = if failed || member.unstopped { Stage::Failed } else { Stage::Stopped };
        if !member.wanted {
            member.set(rest, now);
            return;
        }
        let exit = match &ending {
            // What it requires went away: it waits.
            None => {
                member.set(Stage::Stopped, now);
                return;
            }
            Some(Ending::Done) => Exit::Done,
            Some(Ending::Failed(error)) if error.class() == ErrorClass::Terminal => Exit::Hopeless,
            Some(Ending::Failed(_)) => Exit::Failed,
        };
        let restart = member.spec.restart;
        match member.history.ended(now, exit, ran, &restart, &mut self.random) {
            Verdict::Restart(delay) => {
                member.set(Stage::BackingOff { until: now + delay }, now);
                member.tell(out, EventKind::ComponentRestarting { delay, restarts: member.restarts });
            }
            Verdict::Leave => {
                member.wanted = false;
                member.gave_up = failed;
                member.set(rest, now);
            }
            Verdict::Exhausted => {
                member.wanted = false;
                member.gave_up = true;
                member.set(Stage::Failed, now);
                let last = member.last_error.clone().unwrap_or_else(|| ErrorKind::Component.into());
                let what = EventKind::ComponentGaveUp { error: last.clone(), restarts: member.restarts };
                member.tell(out, what);
                if restart.when_exhausted == WhenExhausted::StopHost && is_on {
                    let text = match exit {
                        Exit::Hopeless => format!("{}: gave up", member.spec.name),
                        _ => format!("{}: gave up after {}", member.spec.name, History::spent(&restart)),
                    };
                    let context = format!("{text}: {}", last.report());
                    self.fatal = Some(Error::new(last.kind()).with_class(last.class()).context(context));
                    let grace = self.settings.shutdown_timeout;
                    self.end(now, grace, out);
                }
            }
        }
    }

    fn put_in_place(&mut self, idx: usize, candidate: Candidate, now: Tick, out: &mut Vec<Action>) {
        let Candidate { id, spec, limit, op } = candidate;
        let mut member = Member::new(id, spec, now);
        let is_on = self.is_on();
        member.wanted = is_on;
        let before = Box::new(std::mem::replace(&mut self.members[idx], member));
        let by = Tick::NEVER;
        self.members[idx].trial = Some(Trial { before, by, limit, op: Some(op) });
        self.relink();
        if !is_on {
            self.commit(idx, out);
        }
    }

    /// The one before returns to its place.
    fn roll_back(&mut self, idx: usize, trial: Trial, now: Tick, out: &mut Vec<Action>) {
        let is_on = self.is_on();
        let mut before = *trial.before;
        before.wanted = is_on;
        before.history = History::default();
        before.set(Stage::Stopped, now);
        let mut new = std::mem::replace(&mut self.members[idx], before);
        let error = match (new.ending.take(), &new.last_error) {
            (Some(Ending::Failed(error)), _) => error,
            (_, Some(error)) if is_on => error.clone(),
            _ if is_on => Error::new(ErrorKind::Component).context("it ended before it was up"),
            _ => Error::new(ErrorKind::Cancelled).context("the host stops"),
        };
        let error = named(&new.spec.name, "replace", &error);
        self.members[idx].tell(out, EventKind::ComponentRolledBack { error: error.clone() });
        answer(out, trial.op, Err(error));
        if matches!(new.stage, Stage::Abandoned { .. }) {
            new.stray = true;
            new.wanted = false;
            new.leaving = Some(Leaving::Removed { answer: None, always: true });
            self.members.push(new);
        } else {
            out.push(Action::Discard { id: new.id });
        }
        self.relink();
    }

    /// Turns everything towards its end, within `grace`.
    fn end(&mut self, now: Tick, grace: Duration, out: &mut Vec<Action>) {
        let by = now + grace;
        if matches!(self.phase, HostPhase::Ending { .. }) {
            self.phase = HostPhase::Ending { by };
            return;
        }
        if let HostPhase::Starting { op } = self.phase {
            if self.unwinding.is_none() {
                let error = Error::new(ErrorKind::Cancelled).context("host: stopped while it started");
                self.unwinding = Some((op, error));
            }
        }
        self.phase = HostPhase::Ending { by };
        self.stop_errors.clear();
        self.view.touch_all();
        let alive = self.n_alive();
        let stops = |name: &Name| Err(refused(format!("{name}: the host stops")));
        for member in &mut self.members {
            member.wanted = false;
            let name = member.spec.name.clone();
            let cut = now + share(member.stop_timeout(), grace, alive.saturating_sub(1));
            match &mut member.stage {
                Stage::Waiting { .. } | Stage::BackingOff { .. } => member.set(Stage::Stopped, now),
                Stage::Stopping { cut: theirs } => *theirs = cut,
                _ => {}
            }
            // Whoever waits would keep what is to be stopped from stopping.
            if let Some(op) = member.op.take() {
                answer(out, Some(op), stops(&name));
                member.leaving = Some(Leaving::Removed { answer: None, always: true });
            }
            if let Some(trial) = &mut member.trial {
                answer(out, trial.op.take(), stops(&name));
            }
            match &mut member.leaving {
                Some(Leaving::Removed { answer: to @ Some((_, Ok(()))), .. }) => {
                    answer(out, to.take().map(|(op, _)| op), stops(&name));
                }
                Some(Leaving::Replaced(candidate)) => {
                    out.push(Action::Discard { id: candidate.id });
                    answer(out, Some(candidate.op), stops(&name));
                    member.leaving = None;
                }
                _ => {}
            }
        }
        let leaving = |member: &Member| {
            matches!(member.leaving, Some(Leaving::Removed { .. }))
                && !member.stage.is_alive()
                && !matches!(member.stage, Stage::Abandoned { .. })
        };
        while let Some(idx) = self.members.iter().position(leaving) {
            self.ended(idx, now, out);
        }
    }

    // What is due.

    /// Begins all that can begin now.
    fn settle(&mut self, now: Tick, out: &mut Vec<Action>) {
        self.looked = now;
        loop {
            self.view.refresh(&self.members, &self.order, now);
            self.tell_ready(out);
            if self.end_some(now, out) || self.begin_some(now, out) {
                continue;
            }
            self.view.refresh(&self.members, &self.order, now);
            if !self.turn(out) {
                break;
            }
        }
        debug_assert!(self.view.holds(&self.members, &self.order), "a change that was not said");
    }

    /// For each place whether what requires it may run.
    fn ready(&self) -> Vec<bool> {
        let mut ready = vec![false; self.members.len()];
        for &idx in &self.order {
            let member = &self.members[idx];
            ready[idx] = member.can_take_work() && !Self::is_bereft(member, &ready);
        }
        ready
    }

    /// Whether it lost something that it does not run without.
    fn is_bereft(member: &Member, ready: &[bool]) -> bool {
        member.edges.iter().any(|edge| edge.or_stop && !edge.idx.is_some_and(|idx| ready[idx]))
    }

    fn blockers(member: &Member, ready: &[bool]) -> Vec<Name> {
        let edges = member.edges.iter().zip(&member.spec.requires);
        let blocked = edges.filter(|(edge, _)| !edge.idx.is_some_and(|idx| ready[idx]));
        blocked.map(|(_, Require { name, .. })| name.clone()).collect()
    }

    fn tell_ready(&mut self, out: &mut Vec<Action>) {
        if !self.view.any(view::UNTOLD) {
            return;
        }
        for &idx in &self.order {
            if !self.view.is(idx, view::UNTOLD) {
                continue;
            }
            let member = &mut self.members[idx];
            let is_ready = self.view.ready()[idx];
            self.view.touch(idx);
            member.told_ready = is_ready;
            if is_ready {
                member.tell(out, EventKind::ComponentReady);
            } else if member.stage == Stage::Started && !member.is_ending() {
                member.tell(out, EventKind::ComponentNotReady { health: member.health });
            }
        }
    }

    fn end_some(&mut self, now: Tick, out: &mut Vec<Action>) -> bool {
        if !self.view.any(view::TO_END) {
            return false;
        }
        let by = match self.phase {
            HostPhase::Ending { by } => Some(by),
            _ => None,
        };
        let mut moved = false;
        let alive = self.view.count(view::ALIVE);
        let mut in_call = self.view.count(view::IN_CALL);
        for place in (0..self.order.len()).rev() {
            let idx = self.order[place];
            if !self.view.is(idx, view::ALIVE) {
                continue;
            }
            let is_to_end = self.view.is(idx, view::TO_END);
            let member = &mut self.members[idx];
            match member.stage {
                Stage::Starting { .. } if is_to_end => {
                    self.view.touch(idx);
                    let asks = member.stop_timeout();
                    let left = by.map_or(Duration::MAX, |by| by.since(now));
                    member.cancelled = true;
                    member.stage = Stage::Starting { cut: now + share(asks, left, alive.saturating_sub(1)) };
                    out.push(Action::Cancel { id: member.id });
                }
                Stage::Started if is_to_end => {
                    let free = match by {
                        Some(_) => {
                            in_call < self.settings.parallel
                                && (self.settings.parallel == 1 || !self.is_needed(idx, false))
                        }
                        None => !self.is_needed(idx, true),
                    };
                    if free {
                        in_call += 1;
                        self.begin_stop(idx, alive, now, out);
                        moved = true;
                    }
                }
                _ => {}
            }
            // One after the other, strictly from the end.
            if by.is_some() && self.settings.parallel == 1 && self.members[idx].stage.is_alive() {
                break;
            }
        }
        moved
    }

    /// How many may be at work.
    fn n_alive(&self) -> usize {
        self.members.iter().filter(|member| !member.stray && member.stage.is_alive()).count()
    }

    /// Whether something at work requires it and must go first.
    fn is_needed(&self, idx: usize, or_stop: bool) -> bool {
        self.view.is_required(idx)
            && self.members.iter().any(|member| {
                !member.stray
                    && member.stage.is_alive()
                    && member
                        .edges
                        .iter()
                        .any(|edge| edge.idx == Some(idx) && (edge.or_stop || !or_stop || member.is_ending()))
            })
    }

    fn begin_stop(&mut self, idx: usize, alive: usize, now: Tick, out: &mut Vec<Action>) {
        self.view.touch(idx);
        let member = &mut self.members[idx];
        let asks = member.stop_timeout();
        let timeout = match self.phase {
            HostPhase::Ending { by } => share(asks, by.since(now), alive.saturating_sub(1)),
            _ => asks,
        };
        member.told_ready = false;
        member.unstopped = false;
        member.called = now;
        member.set(Stage::Stopping { cut: Tick::NEVER }, now);
        let (id, generation) = (member.id, member.generation);
        out.push(Action::Cancel { id });
        member.tell(out, EventKind::ComponentStopping);
        out.push(Action::Call { id, generation, call: Call::Stop, timeout });
    }

    fn begin_some(&mut self, now: Tick, out: &mut Vec<Action>) -> bool {
        let limit = match self.phase {
            HostPhase::Starting { .. } => self.settings.parallel,
            HostPhase::Running => self.settings.parallel.max(CONCURRENT_STARTS),
            HostPhase::Idle | HostPhase::Ending { .. } => return false,
        };
        let mut n_starting = self.view.count(view::STARTING);
        let is_full = |n_starting: usize| n_starting >= limit;
        if !self.view.any(view::DUE) || is_full(n_starting) && !self.view.any(view::ASKED_FOR) {
            return false;
        }
        let are_asked_for = self.view.any(view::ASKED_FOR);
        let mut moved = false;
        for &idx in &self.order {
            if is_full(n_starting) && !are_asked_for {
                break;
            }
            if !self.view.is(idx, view::DUE) {
                continue;
            }
            let member = &mut self.members[idx];
            if matches!(member.stage, Stage::BackingOff { until } if until > now) {
                continue;
            }
            // Whoever deploys from within a start must not wait for it.
            if member.op.is_none() && is_full(n_starting) {
                continue;
            }
            let requires = Self::blockers(member, self.view.ready());
            if requires.is_empty() {
                n_starting += usize::from(member.op.is_none());
                moved = true;
                self.view.touch(idx);
                Self::begin_start(member, now, out);
            } else if let Stage::Waiting { until } = member.stage {
                let ready = self.view.ready();
                let patience = Self::patience(&mut member.edges, &member.spec, member.since, ready, now);
                if patience != until {
                    member.stage = Stage::Waiting { until: patience };
                    self.view.touch(idx);
                }
            } else {
                self.view.touch(idx);
                let ready = self.view.ready();
                member.restarts += u64::from(matches!(member.stage, Stage::BackingOff { .. }));
                member.edges.iter_mut().for_each(|edge| edge.missed = None);
                let until = Self::patience(&mut member.edges, &member.spec, now, ready, now);
                member.set(Stage::Waiting { until }, now);
                if let Some(trial) = &mut member.trial {
                    trial.by = trial.by.min(now + trial.limit);
                }
                member.tell(out, EventKind::ComponentWaiting { requires });
                answer(out, member.op.take(), Ok(()));
            }
        }
        moved
    }

    /// Until when one that began to wait at `since` does so.
    fn patience(edges: &mut [Edge], spec: &Spec, since: Tick, ready: &[bool], now: Tick) -> Tick {
        let mut until = spec.wait_timeout.map_or(Tick::NEVER, |timeout| since + timeout);
        for (edge, require) in edges.iter_mut().zip(&spec.requires) {
            if edge.idx.is_some_and(|idx| ready[idx]) {
                edge.missed = None;
            } else {
                let missed = *edge.missed.get_or_insert(now);
                until = until.min(require.timeout.map_or(Tick::NEVER, |timeout| missed + timeout));
            }
        }
        until
    }

    fn waits_for_none(&self, idx: usize) -> bool {
        Self::blockers(&self.members[idx], &self.ready()).is_empty()
    }

    /// For what it waited too long.
    fn waited(&self, idx: usize, now: Tick) -> String {
        let (member, ready) = (&self.members[idx], self.ready());
        let edges = member.edges.iter().zip(&member.spec.requires);
        let is_overdue = |(edge, require): &(&Edge, &Require)| {
            let missed = edge.missed.unwrap_or(now);
            require.timeout.is_some_and(|timeout| missed + timeout <= now)
        };
        let mut overdue: Vec<Name> =
            edges.filter(is_overdue).map(|(_, Require { name, .. })| name.clone()).collect();
        if overdue.is_empty() {
            overdue = Self::blockers(member, &ready);
        }
        let waited = duration::format(now.since(member.since));
        format!("waited {waited} for {}", crate::name::join(&overdue))
    }

    fn begin_start(member: &mut Member, now: Tick, out: &mut Vec<Action>) {
        member.restarts += u64::from(matches!(member.stage, Stage::BackingOff { .. }));
        member.generation += 1;
        member.called = now;
        member.speaks = false;
        member.unstopped = false;
        member.cancelled = false;
        member.health = Health::Unknown;
        if let Some(trial) = &mut member.trial {
            trial.by = now + trial.limit;
        }
        member.set(Stage::Starting { cut: Tick::NEVER }, now);
        member.tell(out, EventKind::ComponentStarting);
        let (id, generation, timeout) = (member.id, member.generation, member.spec.start_timeout);
        out.push(Action::Call { id, generation, call: Call::Start, timeout });
    }

    /// Looks whether the host as a whole has got where it goes.
    fn turn(&mut self, out: &mut Vec<Action>) -> bool {
        match self.phase {
            HostPhase::Starting { op } => {
                if self.view.any(view::PENDING) {
                    return false;
                }
                self.phase = HostPhase::Running;
                out.push(Action::Answer { op, result: Ok(()) });
                true
            }
            HostPhase::Ending { .. } => {
                if self.view.any(view::ALIVE) {
                    return false;
                }
                self.phase = HostPhase::Idle;
                if let Some((op, error)) = self.unwinding.take() {
                    let mut text = error.report().to_string();
                    for error in &self.stop_errors {
                        text.push_str(&format!("; {}", error.report()));
                    }
                    for member in &self.members {
                        if matches!(member.stage, Stage::Abandoned { call: Call::Stop }) {
                            text.push_str(&format!("; {}: did not stop", member.name()));
                        }
                    }
                    let error = Error::new(error.kind()).with_class(error.class()).context(text);
                    out.push(Action::Answer { op, result: Err(error) });
                }
                true
            }
            HostPhase::Idle | HostPhase::Running => false,
        }
    }

    // Places.

    fn is_on(&self) -> bool {
        matches!(self.phase, HostPhase::Starting { .. } | HostPhase::Running)
    }

    fn check_open(&self, name: &Name) -> Result<()> {
        if self.closed {
            return Err(refused(format!("{name}: the host is gone")));
        }
        if matches!(self.phase, HostPhase::Ending { .. }) {
            return Err(refused(format!("{name}: the host stops")));
        }
        Ok(())
    }

    fn place(&self, name: &str) -> Option<usize> {
        self.members.iter().position(|member| !member.stray && member.name().as_str() == name)
    }

    fn find(&self, name: &str) -> Result<usize> {
        self.place(name).ok_or_else(|| {
            Error::new(ErrorKind::NotFound).context(format!("{name}: no component has this name"))
        })
    }

    fn nodes(&self) -> Vec<Node<'_>> {
        let members = self.members.iter().filter(|member| !member.stray);
        members.map(|member| Node::of(&member.spec)).collect()
    }

    /// Whether a component may require what it does.
    ///
    /// With those that are being replaced all may come true: what is there,
    /// what is to come, and the way back. None of it may be a circle.
    fn check_requires(&self, spec: &Spec) -> Result<()> {
        if spec.requires.is_empty() {
            // It lacks nothing and closes no circle.
            return Ok(());
        }
        let mut nodes = self.nodes();
        let places = self.members.iter().filter(|member| !member.stray);
        for (node, member) in nodes.iter_mut().zip(places) {
            let before = member.trial.as_ref().map(|trial| &trial.before.spec);
            let next = match &member.leaving {
                Some(Leaving::Replaced(candidate)) => Some(&candidate.spec),
                _ => None,
            };
            let new = (member.spec.name == spec.name).then_some(spec);
            for spec in [before, next, new].into_iter().flatten() {
                node.requires.extend(Node::of(spec).requires);
            }
        }
        if self.place(spec.name.as_str()).is_none() {
            nodes.push(Node::of(spec));
        }
        graph::order(&nodes)?;
        if !self.is_on() {
            // Looked at when all are there.
            return Ok(());
        }
        let is_missing = |name: &Name| *name != spec.name && self.place(name.as_str()).is_none();
        let missing = spec.requires.iter().map(|require| &require.name).filter(|name| is_missing(name));
        let missing: Vec<Name> = missing.cloned().collect();
        if missing.is_empty() {
            return Ok(());
        }
        let text = format!("{} requires {}, which is not registered", spec.name, crate::name::join(&missing));
        Err(Error::new(ErrorKind::NotFound).context(text))
    }

    /// Works the order and the edges out afresh.
    fn relink(&mut self) {
        self.view.touch_all();
        let places: Vec<usize> = (0..self.members.len()).filter(|&idx| !self.members[idx].stray).collect();
        // There always is one: `check_requires` lets no circle in, and taking
        // one out makes none.
        let Ok(order) = graph::order(&self.nodes()) else { return };
        self.order = order.into_iter().map(|at| places[at]).collect();
        let by_name: std::collections::HashMap<Name, usize> =
            places.iter().map(|&idx| (self.members[idx].name().clone(), idx)).collect();
        for member in &mut self.members {
            let before = std::mem::take(&mut member.edges);
            if member.stray {
                continue;
            }
            let requires = member.spec.requires.iter().enumerate();
            let edge = |(at, require): (usize, &Require)| Edge {
                idx: by_name.get(&require.name).copied(),
                or_stop: require.or_stop,
                missed: before.get(at).and_then(|edge| edge.missed),
            };
            member.edges = requires.map(edge).collect();
        }
    }
}

/// Answers whoever waits, if somebody does.
fn answer(out: &mut Vec<Action>, op: Option<Op>, result: Result<()>) {
    if let Some(op) = op {
        out.push(Action::Answer { op, result });
    }
}

mod view;

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
