//! Runs that are watched: their polls, and what these find.

use std::sync::Arc;
use std::time::Duration;

use super::Engine;
use super::afterwards::{Afterwards, Trash};
use super::job::{Asked, Job};
use super::state::{Stage, State};
use super::watch::{Class, Poll, Watch};
use crate::clock::Tick;
use crate::error::{Error, ErrorKind, Result};
use crate::event::{RecoveryEvent, RecoveryStep};
use crate::recovery::incident::IncidentPhase;
use crate::recovery::incident::step::Input;
use crate::recovery::metadata::Metadata;
use crate::recovery::policy::RecoveryPolicy;
use crate::recovery::{Checkpoint, TrainingRun};

impl Engine {
    pub(in crate::recovery) fn watch(
        &self,
        state: &mut State,
        now: Tick,
        after: &mut Afterwards,
        run: &Arc<str>,
        policy: &Arc<RecoveryPolicy>,
        metadata: Metadata,
    ) {
        // Under the name that it goes on under, if it was restored.
        let kept = || state.names.get(&**run).map(|present| present.as_str().into());
        let first_run = run;
        let run = &state.resolve(run).or_else(kept).unwrap_or_else(|| run.clone());
        let known = state.watches.get_mut(run);
        if let Some(watch) = known {
            let before = std::mem::replace(&mut watch.metadata, metadata.clone());
            after.trash.extend(before.handle.map(Trash::Handle));
            // Also for a recovery that is under way.
            if let Some(case) = state.cases.get_mut(run) {
                let before = std::mem::replace(&mut case.metadata, metadata);
                after.trash.extend(before.handle.map(Trash::Handle));
            }
            return;
        }
        let watch = Watch {
            run: run.clone(),
            first_run: first_run.clone(),
            policy: policy.clone(),
            metadata,
            poll: Poll::none(now),
            again: false,
            last_poll: None,
            error: None,
            class: Class::Unpolled,
        };
        state.add_watch(watch, now);
    }

    pub(in crate::recovery) fn unwatch(
        &self,
        state: &mut State,
        now: Tick,
        after: &mut Afterwards,
        run: &Arc<str>,
    ) {
        self.cancel_case(state, now, after, run, "the run is not watched any more");
        if let Some(watch) = state.take_watch(run) {
            self.forget_names(state, after, &watch.first_run, run);
            after.trash.extend(watch.metadata.handle.map(Trash::Handle));
        }
        self.forget(state, after, run);
    }

    /// Polls all now, also those that are in a poll, once more.
    pub(in crate::recovery) fn poll_all(state: &mut State, now: Tick) {
        state.put_polls(now, |watch| {
            let is_in_poll = matches!(watch.poll, Poll::Begun { .. });
            watch.again |= is_in_poll;
            !is_in_poll
        });
    }

    /// After a restart: what a stop left in a poll is polled like the others.
    pub(super) fn poll_afresh(state: &mut State, now: Tick) {
        state.put_polls(now, |_| true);
    }

    pub(super) fn take_poll(state: &mut State, now: Tick) -> Option<(Job, Duration)> {
        state.polls.first().filter(|(due, _, _)| *due <= now)?;
        let (_, _, place) = state.polls.pop_first()?;
        let ticket = state.number();
        let watch = state.watches.at(place)?;
        watch.poll = Poll::Begun { ticket, at: now, told_at: Tick::NEVER };
        state.books.runs += 1;
        let poll = Asked { run: watch.run.clone(), place, ticket };
        Some((Job::Poll(poll), watch.policy.poll_timeout))
    }

    /// What the run added to the health of the whole before a poll that came
    /// back in time; how long it took is noted.
    pub(super) fn end_poll(&self, state: &mut State, now: Tick, poll: &Asked, is_ok: bool) -> Option<Class> {
        let n = state.number();
        let State { watches, polls, books, .. } = state;
        let watch = watches.at(poll.place)?;
        let Poll::Begun { ticket, at, told_at } = watch.poll else { return None };
        if ticket != poll.ticket {
            return None;
        }
        let timed_out = told_at != Tick::NEVER;
        let again = std::mem::take(&mut watch.again);
        // Of a run that was stuck nothing is known for long enough.
        let delay = if again || timed_out { Duration::ZERO } else { watch.policy.poll_interval };
        if timed_out {
            books.late += 1;
        } else {
            books.latency = Some(now.since(at));
            watch.last_poll = Some(now);
            books.last_poll = Some(now);
        }
        if is_ok && !timed_out {
            books.last_success = Some(now);
            books.failures_in_a_row = 0;
            watch.error = None;
        }
        watch.put_poll(polls, poll.place, now + delay, n);
        (!timed_out).then_some(watch.class)
    }

    /// A poll is over.
    pub(in crate::recovery) fn polled(
        &self,
        state: &mut State,
        now: Tick,
        after: &mut Afterwards,
        poll: &Asked,
        result: Result<TrainingRun>,
    ) {
        if state.stage != Stage::Running {
            return;
        }
        let is_ok = result.is_ok();
        let Some(before) = self.end_poll(state, now, poll, is_ok) else { return };
        let run = &poll.run;
        match result {
            Err(error) => self.poll_failed(state, after, run, error),
            Ok(found) => self.found(state, now, after, run, found),
        }
        let is_as_before = is_ok && before == Class::Fine && state.cases.is_empty();
        if !is_as_before {
            state.sort_in(run);
        }
    }

    pub(super) fn poll_failed(
        &self,
        state: &mut State,
        after: &mut Afterwards,
        run: &Arc<str>,
        error: Error,
    ) {
        let books = &mut state.books;
        books.failures += 1;
        books.failures_in_a_row = books.failures_in_a_row.saturating_add(1);
        books.panics += u64::from(error.kind() == ErrorKind::Panicked);
        books.timeouts += u64::from(error.kind() == ErrorKind::Timeout);
        if let Some(watch) = state.watches.get_mut(run) {
            watch.error = Some(error.clone());
        }
        self.tell_poll_error(state, after, run, error);
        state.sort_in(run);
    }

    /// A poll passed its deadline, for the first time or again.
    pub(super) fn poll_overdue(
        &self,
        state: &mut State,
        now: Tick,
        after: &mut Afterwards,
        poll: &Asked,
    ) -> Tick {
        let Some(watch) = state.watches.at(poll.place) else { return Tick::NEVER };
        let Poll::Begun { ticket: own, at, told_at } = &mut watch.poll else { return Tick::NEVER };
        if *own != poll.ticket {
            return Tick::NEVER;
        }
        if now < *told_at && *told_at != Tick::NEVER {
            return *told_at;
        }
        let stuck_for = now.since(*at);
        let again = now + watch.policy.poll_interval;
        *told_at = again;
        watch.last_poll = Some(now);
        state.books.last_poll = Some(now);
        let error = Error::new(ErrorKind::Timeout).context(format!("the poll is stuck for {stuck_for:.1?}"));
        self.poll_failed(state, after, &poll.run, error);
        again
    }

    /// A poll tells how a run is.
    pub(super) fn found(
        &self,
        state: &mut State,
        now: Tick,
        after: &mut Afterwards,
        run: &Arc<str>,
        found: TrainingRun,
    ) {
        let is_over = state
            .cases
            .get(run)
            .is_some_and(|case| case.incident.phase == IncidentPhase::Verified && now >= case.guard_until);
        if is_over {
            if let Some(next) = self.step(state, after, run, Input::WindowOver) {
                self.place(state, now, after, run, next);
            }
        }
        if let Some(case) = state.cases.get_mut(run) {
            case.given = found.last_checkpoint.clone().or_else(|| case.given.take());
            let is_skipped = case.incident.phase == IncidentPhase::Skipped;
            let input = match (found.corrupted, is_skipped) {
                (false, _) => Input::Healthy,
                (true, true) if self.has_room(state) => Input::Retry,
                (true, true) => return,
                (true, false) => Input::Corrupted,
            };
            if let Some(next) = self.step(state, after, run, input) {
                self.place(state, now, after, run, next);
            }
        } else if found.corrupted {
            self.detect(state, now, after, run, found.last_checkpoint);
        }
    }

    pub(super) fn detect(
        &self,
        state: &mut State,
        now: Tick,
        after: &mut Afterwards,
        run: &Arc<str>,
        given: Option<Checkpoint>,
    ) {
        let Some(watch) = state.watches.get(run) else { return };
        let (policy, metadata) = (watch.policy.clone(), watch.metadata.clone());
        let event = RecoveryEvent {
            checkpoint: given.as_ref().map(|checkpoint| Arc::from(&*checkpoint.path)),
            metadata: metadata.texts.clone(),
            ..RecoveryEvent::new(RecoveryStep::Detected, run.clone())
        };
        self.tell(state, after, event, None);
        let has_room = self.has_room(state);
        self.open(state, run, policy, metadata, given);
        if !has_room {
            if let Some(next) = self.step(state, after, run, Input::Skip("the queue is full")) {
                self.place(state, now, after, run, next);
            }
        }
    }
}
