//! Incidents: where they stand, their attempts, and what comes of these.

use std::sync::Arc;
use std::time::Duration;

use super::Engine;
use super::afterwards::{Afterwards, Trash};
use super::case::{Case, Place};
use super::job::{Attempt, Chore, Job};
use super::state::State;
use super::watch::Poll;
use crate::clock::Tick;
use crate::error::{Error, ErrorKind, Result};
use crate::event::{RecoveryEvent, RecoveryStep};
use crate::recovery::incident::step::{Input, Next, Told};
use crate::recovery::incident::{Incident, IncidentPhase};
use crate::recovery::metadata::Metadata;
use crate::recovery::policy::RecoveryPolicy;
use crate::recovery::tell::Callback;
use crate::recovery::{Checkpoint, Handle, Recovered, Restored};

impl Engine {
    /// Steps the incident of `run`, tells what is to be told and puts it where
    /// it belongs. The run may have another name after this: that is returned.
    pub(super) fn step(
        &self,
        state: &mut State,
        after: &mut Afterwards,
        run: &Arc<str>,
        input: Input,
    ) -> Option<Next> {
        let at = self.env.stamp();
        let mut told = Vec::new();
        let case = state.cases.get_mut(run)?;
        let policy = case.policy.clone();
        let next = case.incident.step(&policy, at, input, &mut state.random, &mut told);
        for told in told {
            self.tell_step(state, after, run, told, None);
        }
        Some(next)
    }

    pub(super) fn tell_step(
        &self,
        state: &mut State,
        after: &mut Afterwards,
        run: &Arc<str>,
        told: Told,
        recovered: Option<Box<Recovered>>,
    ) {
        let Some(case) = state.cases.get(run) else { return };
        let incident = &case.incident;
        let Told { step, error, retry_in, why } = told;
        let has_restored = matches!(step, RecoveryStep::ClientCreated | RecoveryStep::Completed);
        let of_attempt = incident.attempt > 0;
        let path = incident.checkpoint.as_ref().map(|checkpoint| Arc::from(&*checkpoint.path));
        let callback = match (step, &error, recovered) {
            (RecoveryStep::Completed, _, Some(recovered)) => {
                Some(Callback::Recovered { policy: case.policy.clone(), recovered })
            }
            (RecoveryStep::Exhausted, Some(error), _) => {
                Some(Callback::Failed { policy: case.policy.clone(), run: run.clone(), error: error.clone() })
            }
            _ => None,
        };
        let event = RecoveryEvent {
            attempt: of_attempt.then_some(incident.attempt),
            strategy: of_attempt.then(|| case.policy.checkpoint_strategy.as_str().into()),
            checkpoint: path,
            restored: has_restored.then(|| Arc::from(&*incident.run)),
            error,
            retry_in,
            why: why.map(Arc::from),
            metadata: case.metadata.texts.clone(),
            ..RecoveryEvent::new(step, run.clone())
        };
        self.tell(state, after, event, callback);
    }

    /// Puts an incident where it belongs after a step.
    pub(super) fn place(
        &self,
        state: &mut State,
        now: Tick,
        after: &mut Afterwards,
        run: &Arc<str>,
        next: Next,
    ) {
        let is_watched = state.watches.contains(run);
        let attempts = state.cases.get(run).map_or(0, |case| case.incident.attempt);
        match next {
            Next::Stay => {}
            Next::Attempt if attempts == 0 => state.queue_fresh(run),
            Next::Attempt => state.queue_retry(run, now),
            Next::AttemptAfter(delay) => state.queue_retry(run, now + delay),
            Next::Guard(window) if is_watched => {
                if let Some(case) = state.cases.get_mut(run) {
                    case.guard_until = now + window;
                }
            }
            Next::Prove | Next::Rest if is_watched => state.step_out(run),
            Next::Prove | Next::Rest | Next::Guard(_) | Next::Close => self.forget(state, after, run),
        }
        state.sort_in(run);
    }

    pub(super) fn forget(&self, state: &mut State, after: &mut Afterwards, run: &Arc<str>) {
        state.step_out(run);
        after.trash.extend(state.cases.remove(run).map(Trash::Case));
        state.sort_in(run);
    }

    /// Begins an incident. It waits for its turn from now on.
    pub(in crate::recovery) fn open(
        &self,
        state: &mut State,
        run: &Arc<str>,
        policy: Arc<RecoveryPolicy>,
        metadata: Metadata,
        given: Option<Checkpoint>,
    ) {
        let n = state.number();
        let id = format!("{}-{}-{n}", self.name, self.word);
        let incident = Incident::new(id, run, self.env.stamp());
        let place = Place::Rest;
        let case = Case { incident, policy, metadata, given, place, guard_until: Tick::NEVER };
        state.cases.insert(run.clone(), Box::new(case));
        state.queue_fresh(run);
        state.sort_in(run);
    }

    pub(in crate::recovery) fn has_room(&self, state: &State) -> bool {
        state.fresh.len() < self.limits.queue
    }

    pub(in crate::recovery) fn cancel_case(
        &self,
        state: &mut State,
        now: Tick,
        after: &mut Afterwards,
        run: &Arc<str>,
        why: &'static str,
    ) -> bool {
        let Some(case) = state.cases.get(run) else { return false };
        if !case.incident.phase.is_pending() {
            return false;
        }
        if let Place::Attempt { cancel, .. } = &case.place {
            after.cancels.push(cancel.clone());
        }
        let next = self.step(state, after, run, Input::Cancel(why));
        state.step_out(run);
        self.place(state, now, after, run, next.unwrap_or(Next::Rest));
        true
    }

    /// Has the next attempt made now.
    pub(in crate::recovery) fn retry(
        &self,
        state: &mut State,
        now: Tick,
        after: &mut Afterwards,
        run: &Arc<str>,
    ) -> bool {
        let phase = state.cases.get(run).map(|case| case.incident.phase);
        let Some(
            IncidentPhase::Waiting
            | IncidentPhase::Exhausted
            | IncidentPhase::Cancelled
            | IncidentPhase::Skipped,
        ) = phase
        else {
            return false;
        };
        if let Some(next) = self.step(state, after, run, Input::Retry) {
            self.place(state, now, after, run, next);
        }
        true
    }

    pub(super) fn take_attempt(
        &self,
        state: &mut State,
        now: Tick,
        after: &mut Afterwards,
    ) -> Option<(Job, Duration)> {
        let retry = state.retries.first().filter(|((due, _), _)| *due <= now);
        let run = match retry {
            Some((_, run)) => run.clone(),
            None => match state.fresh.front() {
                Some(run) => run.clone(),
                None => return state.chores.pop_front().map(|(chore, timeout)| (Job::Chore(chore), timeout)),
            },
        };
        state.step_out(&run);
        self.step(state, after, &run, Input::Begin)?;
        let (ticket, cancel) = (state.number(), state.token.child());
        let case = state.cases.get_mut(&run)?;
        case.place = Place::Attempt { ticket, cancel: cancel.clone() };
        let (incident, policy, given) = (case.incident.clone(), case.policy.clone(), case.given.clone());
        let timeout = policy.attempt_timeout;
        let attempt = Attempt { run, ticket, incident, policy, given, cancel };
        Some((Job::Attempt(Box::new(attempt)), timeout))
    }

    /// An attempt has chosen its checkpoint; says whether it still counts.
    pub(in crate::recovery) fn selected(
        &self,
        state: &mut State,
        after: &mut Afterwards,
        run: &Arc<str>,
        ticket: u64,
        checkpoint: &Checkpoint,
    ) -> bool {
        if state.in_attempt(run, ticket).is_none() {
            return false;
        }
        self.step(state, after, run, Input::Selected(checkpoint.clone()));
        true
    }

    /// An attempt is over. What is not wanted any more is handed back.
    pub(super) fn attempted(
        &self,
        state: &mut State,
        now: Tick,
        after: &mut Afterwards,
        run: &Arc<str>,
        ticket: u64,
        result: Result<Restored>,
    ) -> Option<Restored> {
        let Some((case, random)) = state.in_attempt(run, ticket) else {
            state.books.late += u64::from(result.is_ok());
            return result.ok();
        };
        let restored = match result {
            Ok(restored) => restored,
            Err(error) => {
                case.place = Place::Rest;
                if let Some(next) = self.step(state, after, run, Input::Failed(error)) {
                    self.place(state, now, after, run, next);
                }
                return None;
            }
        };
        case.place = Place::Rest;
        let timeout = case.policy.attempt_timeout;
        let recovered = Recovered {
            run: run.to_string(),
            old: case.metadata.handle.clone(),
            restored: restored.clone(),
            checkpoint: case.incident.checkpoint.clone().unwrap_or_default(),
            attempt: case.incident.attempt,
        };
        let new: Arc<str> = restored.training_run_id.as_str().into();
        let mut told = Vec::new();
        let (policy, at) = (case.policy.clone(), self.env.stamp());
        let mut next = Next::Prove;
        for input in [Input::Created { run: new.to_string() }, Input::Succeeded] {
            next = case.incident.step(&policy, at, input, random, &mut told);
        }
        let mut recovered = Some(Box::new(recovered));
        for told in told {
            let recovered = if told.step == RecoveryStep::Completed { recovered.take() } else { None };
            self.tell_step(state, after, run, told, recovered);
        }
        if new != *run {
            let metadata = state.cases.get(run).map(|case| case.metadata.clone()).unwrap_or_default();
            let metadata = Metadata { handle: None, ..metadata };
            state.chores.push_back((Chore::Retire { run: run.to_string(), metadata }, timeout));
        }
        if self.move_to(state, now, after, run, &new, restored.handle.clone()) {
            self.place(state, now, after, &new, next);
        }
        // The lock is held: its last hold must not be this one.
        after.trash.extend(restored.handle.map(Trash::Handle));
        None
    }

    /// The run goes on under another name, with another object of the
    /// program's, and is polled an interval from now: a service that answers
    /// before it is done has so long. Says whether its incident went along:
    /// not where another run of that name is being recovered, which goes on.
    pub(super) fn move_to(
        &self,
        state: &mut State,
        now: Tick,
        after: &mut Afterwards,
        old: &Arc<str>,
        new: &Arc<str>,
        handle: Option<Handle>,
    ) -> bool {
        let watch = state.take_watch(old);
        let case = state.cases.remove(old);
        let (mut was_watched, mut went_along) = (false, false);
        if let Some(mut watch) = watch {
            was_watched = true;
            after.trash.extend(watch.metadata.handle.take().map(Trash::Handle));
            watch.metadata.handle.clone_from(&handle);
            // What is being polled was asked for before.
            watch.poll = Poll::none(now);
            (watch.last_poll, watch.error) = (None, None);
            Self::note_name(state, after, &watch.first_run, new);
            if state.watches.contains(new) {
                // Somebody watches it already: theirs counts.
                after.trash.extend(watch.metadata.handle.map(Trash::Handle));
            } else {
                watch.run = new.clone();
                let due = now + watch.policy.poll_interval;
                state.add_watch(watch, due);
            }
        }
        if let Some(mut case) = case {
            after.trash.extend(case.metadata.handle.take().map(Trash::Handle));
            case.metadata.handle = handle;
            let is_free = !state.cases.contains_key(new);
            if is_free && (was_watched || !state.watches.contains(new)) {
                state.cases.insert(new.clone(), case);
                went_along = true;
            } else {
                after.trash.push(Trash::Case(case));
            }
        }
        state.sort_in(new);
        went_along
    }

    /// An attempt passed its deadline: it counts as failed although its call
    /// is still stuck.
    pub(super) fn attempt_overdue(
        &self,
        state: &mut State,
        now: Tick,
        after: &mut Afterwards,
        run: &Arc<str>,
        ticket: u64,
    ) {
        let Some((case, _)) = state.in_attempt(run, ticket) else { return };
        let timeout = case.policy.attempt_timeout;
        let phase = case.incident.phase;
        if let Place::Attempt { cancel, .. } = std::mem::replace(&mut case.place, Place::Rest) {
            after.cancels.push(cancel);
        }
        state.books.timeouts += 1;
        let text = match phase {
            IncidentPhase::Started => "choosing the checkpoint",
            _ => "restoring the run",
        };
        let timeout = crate::duration::format(timeout);
        let error = Error::new(ErrorKind::Timeout).context(format!("still {text} after {timeout}"));
        if let Some(next) = self.step(state, after, run, Input::Failed(error)) {
            self.place(state, now, after, run, next);
        }
    }
}
