//! What is due: after each input every component is looked at, and what can
//! begin does.

use std::collections::HashSet;
use std::time::Duration;

use super::member::{Action, Call, Edge, Member, Stage};
use super::view;
use super::{CONCURRENT_STARTS, HostPhase, Id, Supervisor, answer, share};
use crate::clock::Tick;
use crate::duration;
use crate::error::Error;
use crate::event::{EventKind, Health};
use crate::host::config::{Require, Spec};
use crate::name::Name;

impl Supervisor {
    /// Begins all that can begin now.
    pub(super) fn settle(&mut self, now: Tick, out: &mut Vec<Action>) {
        self.looked = now;
        self.link();
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
    pub(super) fn ready(&self) -> Vec<bool> {
        let mut ready = vec![false; self.members.len()];
        for &idx in &self.order {
            let member = &self.members[idx];
            ready[idx] = member.can_take_work() && !Self::is_bereft(member, &ready);
        }
        ready
    }

    /// Whether it lost something that it does not run without.
    pub(super) fn is_bereft(member: &Member, ready: &[bool]) -> bool {
        member.edges.iter().any(|edge| edge.or_stop && !edge.idx.is_some_and(|idx| ready[idx]))
    }

    pub(super) fn blockers(member: &Member, ready: &[bool]) -> Vec<Name> {
        let edges = member.edges.iter().zip(&member.spec.requires);
        let blocked = edges.filter(|(edge, _)| !edge.idx.is_some_and(|idx| ready[idx]));
        blocked.map(|(_, Require { name, .. })| name.clone()).collect()
    }

    pub(super) fn tell_ready(&mut self, out: &mut Vec<Action>) {
        if !self.view.any(view::UNTOLD) {
            return;
        }
        let few = self.view.few(view::UNTOLD, &self.ranks);
        for &idx in few.as_ref().unwrap_or(&self.order) {
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

    pub(super) fn end_some(&mut self, now: Tick, out: &mut Vec<Action>) -> bool {
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
            match self.members[idx].stage {
                Stage::Starting { .. } if is_to_end => {
                    self.view.touch(idx);
                    let member = &mut self.members[idx];
                    let asks = member.stop_timeout();
                    let left = by.map_or(Duration::MAX, |by| by.since(now));
                    member.cancelled = true;
                    member.stage = Stage::Starting { cut: now + share(asks, left, alive.saturating_sub(1)) };
                    out.push(Action::Cancel { id: member.id });
                }
                Stage::Started if is_to_end && self.may_stop(idx, by.is_some(), in_call) => {
                    in_call += 1;
                    self.begin_stop(idx, alive, now, out);
                    moved = true;
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

    /// Whether nothing at work needs it any more and, where all end, there is
    /// a place for one more stop beside those `in_call`.
    fn may_stop(&self, idx: usize, all_end: bool, in_call: usize) -> bool {
        if !all_end {
            return !self.is_needed(idx, true);
        }
        let parallel = self.settings.parallel;
        // One after the other they end in an order that nothing is needed in.
        in_call < parallel && (parallel == 1 || !self.is_needed(idx, false))
    }

    /// How many may be at work.
    pub(super) fn n_alive(&self) -> usize {
        self.members.iter().filter(|member| !member.stray && member.stage.is_alive()).count()
    }

    /// Whether something at work requires it and must go first.
    pub(super) fn is_needed(&self, idx: usize, or_stop: bool) -> bool {
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

    /// Whether a component could not be stopped before this one is out of its
    /// call, which has to go first, itself or by way of others.
    pub(in crate::host) fn is_held_by(&self, name: &str, caller: Id) -> bool {
        let runs = |idx: &usize| self.members[*idx].stage.is_alive() || self.members[*idx].unstopped;
        let Some(idx) = self.place(name).filter(runs) else { return false };
        let (mut open, mut met) = (vec![idx], HashSet::from([idx]));
        while let Some(idx) = open.pop() {
            for (other, member) in self.members.iter().enumerate() {
                let goes_first = |edge: &Edge| edge.idx == Some(idx) && (edge.or_stop || member.is_ending());
                if member.stray || !member.stage.is_alive() || !member.edges.iter().any(goes_first) {
                    continue;
                }
                if member.id == caller {
                    return true;
                }
                if met.insert(other) {
                    open.push(other);
                }
            }
        }
        false
    }

    /// Whether one put in its place could not be started before this one is out
    /// of its call, which it requires, itself or by way of others that wait.
    pub(in crate::host) fn would_wait_for(&self, spec: &Spec, caller: Id) -> bool {
        if self.place(spec.name.as_str()).is_none() {
            return false;
        }
        let ready = self.ready();
        let places = |spec: &Spec| {
            let required = spec.requires.iter().filter_map(|require| self.place(require.name.as_str()));
            required.filter(|idx| !ready[*idx]).collect::<Vec<usize>>()
        };
        let (mut open, mut met) = (places(spec), HashSet::new());
        while let Some(idx) = open.pop() {
            let member = &self.members[idx];
            if member.id == caller {
                return true;
            }
            if met.insert(idx) && !member.stage.is_alive() {
                open.extend(places(&member.spec));
            }
        }
        false
    }

    pub(super) fn begin_stop(&mut self, idx: usize, alive: usize, now: Tick, out: &mut Vec<Action>) {
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

    pub(super) fn begin_some(&mut self, now: Tick, out: &mut Vec<Action>) -> bool {
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
        let few = self.view.few(view::DUE, &self.ranks);
        for &idx in few.as_ref().unwrap_or(&self.order) {
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
            // Whoever deploys or replaces from within a start must not wait for it.
            if !member.is_asked_for() && is_full(n_starting) {
                continue;
            }
            let requires = Self::blockers(member, self.view.ready());
            if requires.is_empty() {
                n_starting += usize::from(!member.is_asked_for());
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
    pub(super) fn patience(edges: &mut [Edge], spec: &Spec, since: Tick, ready: &[bool], now: Tick) -> Tick {
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

    pub(super) fn waits_for_none(&self, idx: usize) -> bool {
        Self::blockers(&self.members[idx], &self.ready()).is_empty()
    }

    /// For what it waited too long.
    pub(super) fn waited(&self, idx: usize, now: Tick) -> String {
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

    pub(super) fn begin_start(member: &mut Member, now: Tick, out: &mut Vec<Action>) {
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
    pub(super) fn turn(&mut self, out: &mut Vec<Action>) -> bool {
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
}
