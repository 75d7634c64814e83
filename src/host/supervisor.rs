//! What a host decides: whom to start and stop, when, and what comes of it.
//!
//! Pure: time comes in, [`Action`]s go out; no threads, no clock, no user
//! code. After each input [`Supervisor::settle`] looks at every component and
//! begins what is due, so that no order of inputs can leave one behind.
//!
//! Each run of a component has a generation. A call that comes back, and a
//! word from a [`Reporter`](crate::component::Reporter), is taken only with
//! the generation it belongs to: a late one cannot touch a later run.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use super::config::{Require, Settings, Spec};
use super::graph::{self, Node};
use super::restart::History;
use crate::backoff::Random;
use crate::clock::Tick;
use crate::error::{Error, ErrorKind, Result};
use crate::name::Name;

use member::{Candidate, Edge, Leaving};
use view::View;

pub(super) use member::{Action, Call, Input, Member, Report, Stage};

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
    /// The place in `order` of each that has one, by its place in `members`.
    ranks: Vec<usize>,
    /// Whether `order` and the edges are those of all members. Those that are
    /// required before they are registered are linked together, by the next
    /// tick or command: one by one they would cost their square. A look before
    /// that sorts for itself.
    is_linked: bool,
    /// The places of those that are no strays.
    places: HashMap<Name, usize>,
    /// Every name that a member requires, required or will require.
    required: HashSet<Name>,
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
            ranks: Vec::new(),
            is_linked: true,
            places: HashMap::new(),
            required: HashSet::new(),
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
        let sorted = if self.is_linked { None } else { self.sorted() };
        let n = sorted.as_ref().unwrap_or(&self.order).len();
        let place = move |at: usize| sorted.as_ref().unwrap_or(&self.order)[at];
        (0..n).map(move |at| &self.members[place(at)]).chain(strays)
    }

    pub(super) fn get(&self, name: &str) -> Option<&Member> {
        self.place(name).map(|idx| &self.members[idx])
    }

    /// Whether anything of this name is left, one that is stuck included.
    pub(super) fn knows(&self, name: &Name) -> bool {
        self.members.iter().any(|member| member.spec.name == *name)
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
        // As of the last settling: who waits is of a host that is on, and there
        // each change ends in one.
        Self::blockers(member, self.view.ready())
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
        member.op = op.filter(|_| is_on);
        self.append(member);
        if let Some(op) = op {
            if is_on {
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

    /// Stops a component and starts another in its place; if that fails or is
    /// still in its start after `limit`, the first returns.
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
        self.required.extend(spec.requires.iter().map(|require| require.name.clone()));
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
                // Nobody waits for its calls any more, and a clock that stands
                // still would never end them.
                out.push(Action::Cancel { id: member.id });
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
        self.link();
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
                    self.trial_is_over(idx, out);
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

    /// The earliest that came since it was taken, or an earlier one.
    pub(super) fn soonest(&self) -> Tick {
        self.view.soonest()
    }

    /// Whether there may be an earlier one since it was taken.
    pub(super) fn has_deadline_before(&self, tick: Tick) -> bool {
        self.soonest() < tick
    }

    /// Whether one that came since it was taken may be here.
    pub(super) fn is_due(&self, now: Tick) -> bool {
        self.soonest() <= now
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
                // Told to end before: the others need not wait longer for it.
                Stage::Starting { cut: theirs } if member.cancelled => *theirs = cut.min(*theirs),
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
        self.places.get(name).copied()
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
        if self.place(spec.name.as_str()).is_some() || self.is_led_back(spec) {
            self.check_circles(spec)?;
        }
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

    /// Whether what a new component requires leads to the component itself:
    /// the only circle that it can close, and mostly nothing requires it yet.
    fn is_led_back(&self, spec: &Spec) -> bool {
        let required = |spec: &Spec| spec.requires.iter().any(|require| require.name == spec.name);
        if !self.required.contains(&spec.name) {
            return required(spec);
        }
        let mut open: Vec<&Name> = spec.requires.iter().map(|require| &require.name).collect();
        let mut seen = vec![false; self.members.len()];
        while let Some(name) = open.pop() {
            if *name == spec.name {
                return true;
            }
            let Some(&idx) = self.places.get(name) else { continue };
            if !std::mem::replace(&mut seen[idx], true) {
                open.extend(self.members[idx].all_required());
            }
        }
        false
    }

    /// Refuses a component with which there would be a circle.
    fn check_circles(&self, spec: &Spec) -> Result<()> {
        let mut nodes = self.nodes();
        let places = self.members.iter().filter(|member| !member.stray);
        for (node, member) in nodes.iter_mut().zip(places) {
            node.requires = member.all_required().map(Name::as_str).collect();
            if member.spec.name == spec.name {
                node.requires.extend(Node::of(spec).requires);
            }
        }
        if self.place(spec.name.as_str()).is_none() {
            nodes.push(Node::of(spec));
        }
        graph::order(&nodes).map(drop)
    }

    /// The places in the order of starts. There always is one:
    /// `check_requires` lets no circle in, and taking one out makes none.
    fn sorted(&self) -> Option<Vec<usize>> {
        let places: Vec<usize> = (0..self.members.len()).filter(|&idx| !self.members[idx].stray).collect();
        let order = graph::order(&self.nodes()).ok()?;
        Some(order.into_iter().map(|at| places[at]).collect())
    }

    /// Puts a new member behind all others. What nobody required comes last in
    /// the order, too, and changes nothing of what the others are.
    fn append(&mut self, mut member: Member) {
        let idx = self.members.len();
        self.is_linked &= !self.required.contains(member.name());
        self.places.insert(member.name().clone(), idx);
        self.required.extend(member.all_required().cloned());
        if self.is_linked {
            member.edges = edges(&member.spec, &self.places, &[]);
            self.ranks.push(self.order.len());
            self.order.push(idx);
            self.view.append(&member);
        } else {
            self.view.touch_all();
        }
        self.members.push(member);
    }

    /// Links those that were only registered.
    fn link(&mut self) {
        if !self.is_linked {
            self.relink();
        }
    }

    /// Works the order and the edges out afresh.
    fn relink(&mut self) {
        self.view.touch_all();
        self.is_linked = true;
        let present = self.members.iter().enumerate().filter(|(_, member)| !member.stray);
        self.places = present.map(|(idx, member)| (member.name().clone(), idx)).collect();
        self.required = self.members.iter().flat_map(Member::all_required).cloned().collect();
        let Some(order) = self.sorted() else { return };
        self.order = order;
        self.ranks.clear();
        self.ranks.resize(self.members.len(), usize::MAX);
        for (rank, &idx) in self.order.iter().enumerate() {
            self.ranks[idx] = rank;
        }
        for member in &mut self.members {
            let before = std::mem::take(&mut member.edges);
            if !member.stray {
                member.edges = edges(&member.spec, &self.places, &before);
            }
        }
    }
}

/// What a component requires, by places; of `before` is known since when it
/// missed that.
fn edges(spec: &Spec, places: &HashMap<Name, usize>, before: &[Edge]) -> Vec<Edge> {
    let edge = |(at, require): (usize, &Require)| Edge {
        idx: places.get(&require.name).copied(),
        or_stop: require.or_stop,
        missed: before.get(at).and_then(|edge| edge.missed),
    };
    spec.requires.iter().enumerate().map(edge).collect()
}

/// Answers whoever waits, if somebody does.
fn answer(out: &mut Vec<Action>, op: Option<Op>, result: Result<()>) {
    if let Some(op) = op {
        out.push(Action::Answer { op, result });
    }
}

mod member;
mod outcomes;
mod turns;
mod view;

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
