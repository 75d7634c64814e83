//! What came of a call, or of what a component says, and what follows.

use std::time::Duration;

use super::member::{Action, Call, Candidate, Ending, Leaving, Member, Report, Stage, Trial};
use super::{HostPhase, Op, Supervisor, answer, named};
use crate::clock::Tick;
use crate::duration;
use crate::error::{Error, ErrorClass, ErrorKind, Result};
use crate::event::{EventKind, Health};
use crate::host::restart::{Exit, History, Restart, Verdict, WhenExhausted};

impl Supervisor {
    pub(super) fn returned(
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
                match result {
                    // As it was told to, and on its way to its end.
                    Err(error)
                        if member.cancelled
                            && member.ending.is_none()
                            && error.class() == ErrorClass::Cancelled =>
                    {
                        return;
                    }
                    Err(error) if member.ending.is_none() => member.fail(error, out),
                    _ => {}
                }
                match &member.ending {
                    Some(Ending::Failed(error)) => {
                        let error = error.clone();
                        self.did_not_start(idx, now, &error, out);
                    }
                    _ => {
                        member.ran_since = Some(now);
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

    pub(super) fn reported(&mut self, idx: usize, now: Tick, report: Report, out: &mut Vec<Action>) {
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

    pub(super) fn came_up(&mut self, idx: usize, now: Tick, out: &mut Vec<Action>) {
        let member = &mut self.members[idx];
        member.up = true;
        member.since = now;
        member.tell(out, EventKind::ComponentUp { took: now.since(member.called) });
        self.commit(idx, out);
    }

    /// A component that was on trial stays.
    pub(super) fn commit(&mut self, idx: usize, out: &mut Vec<Action>) {
        let member = &mut self.members[idx];
        if let Some(trial) = member.trial.take() {
            out.push(Action::Discard { id: trial.before.id });
            member.tell(out, EventKind::ComponentReplaced);
            answer(out, trial.op, Ok(()));
        }
    }

    /// The time of a component on trial is over, and it is not up.
    pub(super) fn trial_is_over(&mut self, idx: usize, out: &mut Vec<Action>) {
        let is_on = self.is_on();
        let member = &mut self.members[idx];
        let Some(trial) = &mut member.trial else { return };
        trial.by = Tick::NEVER;
        if member.ending.is_some() || !is_on && member.stage.is_alive() {
            // It is on its way to its end, and the one before returns then.
            return;
        }
        if matches!(member.stage, Stage::Starting { .. }) {
            let text = format!("not up within {}", duration::format(trial.limit));
            member.fail(Error::new(ErrorKind::Timeout).context(text), out);
        } else {
            // It does not know how it is as yet, or waits for others: nothing
            // of it has failed.
            self.commit(idx, out);
        }
    }

    /// What a failed start means for the others.
    pub(super) fn did_not_start(&mut self, idx: usize, now: Tick, error: &Error, out: &mut Vec<Action>) {
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

    pub(super) fn did_not_stop(&mut self, idx: usize, now: Tick, error: &Error, out: &mut Vec<Action>) {
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
    pub(super) fn left_running(&mut self, idx: usize, now: Tick) {
        let member = &mut self.members[idx];
        member.wanted = false;
        member.unstopped = true;
        member.up = false;
        member.health = Health::Unknown;
        member.ending = None;
        member.set(Stage::Failed, now);
    }

    /// A call is stuck: the others go on without it.
    pub(super) fn abandon(
        &mut self,
        idx: usize,
        now: Tick,
        call: Call,
        stuck_for: Duration,
        out: &mut Vec<Action>,
    ) {
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
    pub(super) fn put_aside(&mut self, idx: usize, out: &mut Vec<Action>) {
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
    pub(super) fn ended(&mut self, idx: usize, now: Tick, out: &mut Vec<Action>) {
        let member = &mut self.members[idx];
        member.up = false;
        member.health = Health::Unknown;
        member.told_ready = false;
        let ending = member.ending.take();
        let ran = member.ran_since.take().map(|since| now.since(since)).unwrap_or_default();
        match member.leaving.take() {
            Some(Leaving::Removed { answer: to, .. }) => return self.remove_ended(idx, to, out),
            Some(Leaving::Replaced(candidate)) => {
                member.set(Stage::Stopped, now);
                return self.put_in_place(idx, *candidate, now, out);
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
                    return self.roll_back(idx, trial, now, out);
                }
            }
        }
        self.rest_or_restart(idx, ending.as_ref(), ran, now, out);
    }

    /// Nothing of a member is left that was told to go for good.
    fn remove_ended(&mut self, idx: usize, answer: Option<(Op, Result<()>)>, out: &mut Vec<Action>) {
        let mut member = self.members.remove(idx);
        if !self.closed {
            member.tell(out, EventKind::ComponentRemoved);
        }
        out.push(Action::Discard { id: member.id });
        if let Some(trial) = member.trial.take() {
            out.push(Action::Discard { id: trial.before.id });
        }
        if let Some((op, result)) = answer {
            out.push(Action::Answer { op, result });
        }
        self.relink();
    }

    /// Decides whether a member whose run is over is started again.
    fn rest_or_restart(
        &mut self,
        idx: usize,
        ending: Option<&Ending>,
        ran: Duration,
        now: Tick,
        out: &mut Vec<Action>,
    ) {
        let member = &mut self.members[idx];
        let failed = matches!(ending, Some(Ending::Failed(_)));
        let rest = if failed || member.unstopped { Stage::Failed } else { Stage::Stopped };
        if !member.wanted {
            member.set(rest, now);
            return;
        }
        let exit = match ending {
            // What it requires went away: it waits.
            None => return member.set(Stage::Stopped, now),
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
            Verdict::Exhausted => self.give_up(idx, exit, &restart, now, out),
        }
    }

    /// A member has failed more often than it may: it is left alone, and the
    /// host ends where that is asked for.
    fn give_up(&mut self, idx: usize, exit: Exit, restart: &Restart, now: Tick, out: &mut Vec<Action>) {
        let is_on = self.is_on();
        let member = &mut self.members[idx];
        member.wanted = false;
        member.gave_up = true;
        member.set(Stage::Failed, now);
        let last = member.last_error.clone().unwrap_or_else(|| ErrorKind::Component.into());
        member.tell(out, EventKind::ComponentGaveUp { error: last.clone(), restarts: member.restarts });
        if restart.when_exhausted != WhenExhausted::StopHost || !is_on {
            return;
        }
        let text = match exit {
            Exit::Hopeless => format!("{}: gave up", member.spec.name),
            _ => format!("{}: gave up after {}", member.spec.name, History::spent(restart)),
        };
        let context = format!("{text}: {}", last.report());
        self.fatal = Some(Error::new(last.kind()).with_class(last.class()).context(context));
        let grace = self.settings.shutdown_timeout;
        self.end(now, grace, out);
    }

    pub(super) fn put_in_place(
        &mut self,
        idx: usize,
        candidate: Candidate,
        now: Tick,
        out: &mut Vec<Action>,
    ) {
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
    pub(super) fn roll_back(&mut self, idx: usize, trial: Trial, now: Tick, out: &mut Vec<Action>) {
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
}
