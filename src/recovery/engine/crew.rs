//! The threads of an engine: as many as there are calls at this moment, up to
//! a bound, and one more that waits for what is due next.
//!
//! Each thread takes what is due first and carries it out in its own slot. One
//! whose call passes its deadline is left to it and has a successor, so a call
//! that hangs takes nobody's place.

use std::sync::{Arc, Weak};
use std::time::Duration;

use super::Engine;
use super::afterwards::Afterwards;
use super::job::{Asked, Job, Role};
use super::state::{Stage, State};
use super::worker::{Doing, Worker};
use crate::cancel::CancelToken;
use crate::clock::{Inbox, Seat, Signals, Tick};
use crate::component::Context;
use crate::error::{Error, ErrorKind, Result};
use crate::looper::deadline_lead;
use crate::recovery::TrainingRun;
use crate::recovery::metadata::Metadata;
use crate::slot::Slot;
use crate::thread::{Task, caught};
use crate::watchdog::Guarded;

/// For each place there may be this many threads in calls that hang. Then no
/// more are made until one comes back.
const STUCK_A_PLACE: usize = 4;
/// After how long a thread is asked for again that was refused.
const TRY_AGAIN: Duration = Duration::from_secs(1);

enum Take {
    Job { job: Job, timeout: Duration, token: CancelToken },
    Wait(Tick),
    Over,
}

/// The context of a thread's polls, kept from one to the next.
#[derive(Default)]
pub(super) struct PollContext(Option<Context>);

impl PollContext {
    /// For a poll under `token`.
    pub(in crate::recovery) fn begin(&mut self, engine: &Engine, token: CancelToken, seen: Tick) -> &Context {
        let kept = self.0.take().filter(|kept| kept.cancel_token().is_same(&token));
        let cx = self.0.insert(kept.unwrap_or_else(|| engine.context(token, seen)));
        cx.set_deadline(seen);
        cx
    }
}

impl Engine {
    fn places(&self, role: Role) -> usize {
        match role {
            Role::Poll => self.limits.polls,
            Role::Attempt => self.limits.attempts,
        }
    }

    /// Forgets threads that have ended; one with a job it has not put down
    /// has not.
    pub(super) fn dismiss(state: &mut State) {
        // Tasks and doorbells are ours: nothing of a user's is dropped here.
        state.workers.retain(|worker| worker.is_at_work() || !worker.task.has_ended());
    }

    /// Sees to it that there is somebody for what can be done now, and for
    /// what is due next. False: a thread was refused.
    pub(super) fn staff(
        self: &Arc<Self>,
        state: &mut State,
        role: Role,
        now: Tick,
        after: &mut Afterwards,
    ) -> bool {
        if state.stage != Stage::Running {
            return true;
        }
        let places = self.places(role);
        let at_work = |worker: &&Worker| worker.role == role && worker.is_at_work();
        if state.workers.iter().filter(at_work).count() >= places {
            // There is nobody to be woken, and no place for one more.
            return true;
        }
        let (ready, next) = state.ahead(role, now, places);
        let mut wanted = ready;
        let mut has_lookout = next == Tick::NEVER;
        if wanted == 0 && has_lookout {
            return true;
        }
        let (mut at_work, mut stuck) = (0, 0);
        for worker in state.workers.iter_mut().filter(|worker| worker.role == role) {
            if worker.retired {
                stuck += usize::from(worker.doing.is_some());
                continue;
            }
            at_work += 1;
            if worker.doing.is_some() {
                continue;
            }
            let is_awake = worker.asleep_until == Tick::ZERO;
            let is_needed = wanted > 0 || (!has_lookout && worker.asleep_until > next);
            if is_needed && !is_awake {
                worker.asleep_until = Tick::ZERO;
                after.rings.push(worker.inbox.clone());
            }
            wanted = wanted.saturating_sub(1);
            has_lookout |= is_awake || is_needed || worker.asleep_until <= next;
        }
        let room = places.min(STUCK_A_PLACE.saturating_mul(places).saturating_sub(stuck));
        while (wanted > 0 || !has_lookout) && at_work < room {
            let Ok(worker) = self.spawn(state, role) else { return false };
            state.workers.push(worker);
            at_work += 1;
            wanted = wanted.saturating_sub(1);
            has_lookout = true;
        }
        true
    }

    /// Makes the first thread of a role, or says why there is none.
    pub(super) fn hire(self: &Arc<Self>, state: &mut State, role: Role) -> Result<()> {
        let worker = self.spawn(state, role)?;
        state.workers.push(worker);
        Ok(())
    }

    fn spawn(self: &Arc<Self>, state: &mut State, role: Role) -> Result<Worker> {
        let id = state.number();
        let (inbox, seat) = self.env.clock().join(self.name.as_str());
        let ring = state.token.ring(&inbox);
        let (engine, bell) = (self.clone(), inbox.clone());
        let name = format!("rec/{}", self.name);
        let task = Task::spawn(self.env.budget(), name, self.env.stack_size(), move || {
            engine.tend(id, seat, |engine| engine.run(id, role, &bell));
        })?;
        Ok(Worker::new(id, role, inbox, task, ring))
    }

    /// The body of a thread. A panic that comes here is our own, since those of
    /// users are results: it must cost nobody the place or the run.
    fn tend(self: Arc<Self>, id: u64, seat: Seat, work: impl FnOnce(&Arc<Self>)) {
        if let Err(error) = caught(|| work(&self)) {
            // Once more where taking in what it had is what panics; then at
            // least its place is free.
            let _ = caught(|| self.bury(id, error)).or_else(|_| caught(|| self.act(|_, _, _| {})));
        }
        // Before its seat, so that a test which waits for rest finds all done.
        drop(self);
        drop(seat);
    }

    fn run(self: &Arc<Self>, id: u64, role: Role, inbox: &Arc<Inbox>) {
        let desk = Arc::new(Desk { slot: Slot::new(), engine: Arc::downgrade(self), id });
        let guard = self.env.watchdog().guard(desk);
        let mut cx = PollContext::default();
        let mut calls = 0;
        let mut next = self.take(id, role);
        loop {
            next = match next {
                Take::Over => break,
                Take::Wait(until) => {
                    guard.wait_until(Tick::NEVER);
                    if self.env.clock().wait(inbox, until).has(Signals::CANCEL) {
                        self.end_by_token(id);
                        break;
                    }
                    self.take(id, role)
                }
                Take::Job { job, timeout, token } => {
                    calls += 1;
                    let deadline = self.now() + timeout;
                    guard.enter(calls, deadline);
                    let seen = seen_deadline(deadline, timeout);
                    let done = caught(|| match job {
                        Job::Poll(poll) => {
                            let result = self.fetch(cx.begin(self, token, seen), &poll.run);
                            self.end_and_take(id, role, || guard.leave(calls), &poll, result)
                        }
                        job => {
                            self.carry_out(job, token, seen, timeout);
                            None
                        }
                    });
                    match done {
                        Ok(Some(next)) => next,
                        done => {
                            // What was late is known by its ticket.
                            let _ = guard.leave(calls);
                            self.put_down(id, done.err());
                            self.take(id, role)
                        }
                    }
                }
            }
        }
    }

    /// Takes the next job, or says until when there is none.
    fn take(self: &Arc<Self>, id: u64, role: Role) -> Take {
        self.act(|state, now, after| self.take_next(state, now, after, id, role))
    }

    /// A poll is over. Where nothing is left to be done for it that may call
    /// or drop what is the user's, its thread goes on at once.
    fn end_and_take(
        self: &Arc<Self>,
        id: u64,
        role: Role,
        leave: impl FnOnce() -> bool,
        poll: &Asked,
        result: Result<TrainingRun>,
    ) -> Option<Take> {
        self.act(|state, now, after| {
            self.polled(state, now, after, poll, result);
            // A call that was taken away is told of as soon as this lock is
            // free, and must not be taken for the next one.
            if !after.is_ours() || !leave() {
                return None;
            }
            state.workers.iter_mut().find(|worker| worker.id == id)?.doing = None;
            Some(self.take_next(state, now, after, id, role))
        })
    }

    fn take_next(&self, state: &mut State, now: Tick, after: &mut Afterwards, id: u64, role: Role) -> Take {
        let is_on = state.stage == Stage::Running && !self.parent.is_cancelled();
        let Some(at) = state.workers.iter().position(|worker| worker.id == id) else { return Take::Over };
        if state.workers[at].retired {
            return Take::Over;
        }
        if !is_on {
            self.end(state, now, after, "its token was cancelled");
            return Take::Over;
        }
        let Some((job, timeout)) = self.take_job(state, role, now, after) else {
            let (_, until) = state.ahead(role, now, self.places(role));
            let until = if state.is_short { until.min(now + TRY_AGAIN) } else { until };
            state.workers[at].asleep_until = until;
            return Take::Wait(until);
        };
        let token = state.token.clone();
        let worker = &mut state.workers[at];
        worker.doing = Some(Doing::of(&job, now));
        worker.deadline = now + timeout;
        worker.asleep_until = Tick::ZERO;
        Take::Job { job, timeout, token }
    }

    /// A thread is back from its job.
    fn put_down(self: &Arc<Self>, id: u64, panicked: Option<Error>) {
        self.act(|state, now, after| {
            let worker = state.workers.iter_mut().find(|worker| worker.id == id);
            let doing = worker.and_then(|worker| worker.doing.take());
            // All of a user's panics are results by now: this one is ours,
            // and must not keep a run from being polled or restored.
            if let (Some(error), Some(doing)) = (panicked, doing) {
                self.fail(state, now, after, doing, error);
            }
        });
    }

    /// A thread is gone that had not put its job down.
    fn bury(self: &Arc<Self>, id: u64, error: Error) {
        // By itself, so that the place is free whatever comes of the rest.
        let worker = {
            let mut state = self.lock();
            let at = state.workers.iter().position(|worker| worker.id == id);
            at.map(|at| state.workers.remove(at))
        };
        self.act(|state, now, after| {
            if let Some(doing) = worker.and_then(|worker| worker.doing) {
                self.fail(state, now, after, doing, error);
            }
        });
    }

    /// What was being done has failed, unless somebody said so before.
    fn fail(&self, state: &mut State, now: Tick, after: &mut Afterwards, doing: Doing, error: Error) {
        match doing {
            Doing::Poll { poll, .. } => self.polled(state, now, after, &poll, Err(error)),
            Doing::Attempt { run, ticket, .. } => {
                let _ = self.attempted(state, now, after, &run, ticket, Err(error));
            }
            Doing::Chore { .. } | Doing::Sweep { .. } => {}
        }
    }

    /// The token that ends the engine was cancelled, or a stop has begun.
    fn end_by_token(self: &Arc<Self>, id: u64) {
        self.act(|state, now, after| {
            let is_mine = state.workers.iter().any(|worker| worker.id == id && !worker.retired);
            if is_mine {
                self.end(state, now, after, "its token was cancelled");
            }
        });
    }

    /// The call of a thread has passed its deadline.
    fn overdue(self: &Arc<Self>, id: u64, now: Tick) -> Tick {
        let mut after = Afterwards::default();
        let mut state = self.lock();
        if self.parent.is_cancelled() {
            // The threads may all be stuck, and cannot say so themselves.
            self.end(&mut state, now, &mut after, "its token was cancelled");
        }
        if state.stage != Stage::Running {
            drop(state);
            let trash = self.tell_rest(after);
            self.lock().trash.extend(trash);
            return Tick::NEVER;
        }
        let Some(worker) = state.workers.iter_mut().find(|worker| worker.id == id) else {
            return Tick::NEVER;
        };
        let is_first = !worker.retired;
        let task = worker.task.clone();
        let role = worker.role;
        worker.retire();
        let again = match worker.doing.clone() {
            Some(Doing::Poll { poll, .. }) => self.poll_overdue(&mut state, now, &mut after, &poll),
            Some(Doing::Attempt { run, ticket, .. }) if is_first => {
                self.attempt_overdue(&mut state, now, &mut after, &run, ticket);
                Tick::NEVER
            }
            Some(Doing::Chore { run, since }) if is_first => {
                let text = format!("still at it after {:.1?}", now.since(since));
                let error = Error::new(ErrorKind::Timeout).context(text);
                let nothing = Metadata::default();
                self.tell_left_behind(&mut state, &mut after, &run, &nothing, error);
                Tick::NEVER
            }
            _ => Tick::NEVER,
        };
        Self::dismiss(&mut state);
        let is_manned = self.staff(&mut state, role, now, &mut after);
        self.settle(&mut state, now, &mut after);
        drop(state);
        if is_first {
            // The first of two looks, between which its time is counted.
            let _ = task.look();
        }
        let trash = self.tell_rest(after);
        // The watchdog runs no user code: a thread of the crew drops it.
        self.lock().trash.extend(trash);
        if is_manned { again } else { again.min(now + TRY_AGAIN) }
    }
}

/// The deadline that a call sees: a little before the one it is held to.
pub(super) fn seen_deadline(deadline: Tick, timeout: Duration) -> Tick {
    let lead = u64::try_from(deadline_lead(timeout).as_nanos()).unwrap_or(u64::MAX);
    if deadline == Tick::NEVER { deadline } else { Tick::from_nanos(deadline.nanos().saturating_sub(lead)) }
}

/// Where the watchdog looks at one thread of the crew.
struct Desk {
    slot: Slot,
    engine: Weak<Engine>,
    id: u64,
}

impl Guarded for Desk {
    fn slot(&self) -> &Slot {
        &self.slot
    }

    fn overdue(&self, _generation: u64, now: Tick) -> Tick {
        // Never the last hold: the thread has one until its guard is gone.
        self.engine.upgrade().map_or(Tick::NEVER, |engine| engine.overdue(self.id, now))
    }

    fn starved(&self, _now: Tick) -> Tick {
        Tick::NEVER
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use super::*;
    use crate::env::Env;
    use crate::recovery::engine::{Limits, Parts};
    use crate::recovery::{RecoveryPolicy, Remedy, Restore, Restored};
    use crate::{BoxError, ManualClock};
    use crossbeam_channel::{Sender, bounded};

    const RUN: &str = "run-1";
    const ID: u64 = 1_000;

    struct Nothing;

    impl Remedy for Nothing {
        fn restore(&self, _: &Context, _: &Restore) -> std::result::Result<Restored, BoxError> {
            Err("nothing is restored".into())
        }
    }

    /// An engine that runs and watches a run, with one place and in it one
    /// thread that does nothing until the end.
    fn engine(clock: &ManualClock) -> (Arc<Engine>, Sender<()>) {
        let env = Env::manual(clock).expect("an environment");
        let parts = Parts {
            name: "m".parse().expect("a name"),
            source: Box::new(|_: &Context, run: &str| Ok(TrainingRun::new(run))),
            remedy: Box::new(Nothing),
            limits: Limits { polls: 1, attempts: 1, queue: 1 },
            critical: false,
            parent: CancelToken::new(),
            calls: false,
            state_file: None,
        };
        let engine = Engine::new(&env, parts).expect("an engine");
        let (end, waits) = bounded::<()>(0);
        let body = move || _ = waits.recv();
        let task = Task::spawn(env.budget(), "t/idle".to_owned(), env.stack_size(), body).expect("a thread");
        let mut state = engine.lock();
        state.stage = Stage::Running;
        let (inbox, seat) = env.clock().join("idle");
        drop(seat);
        let ring = state.token.ring(&inbox);
        state.workers.push(Worker::new(ID, Role::Poll, inbox, task, ring));
        drop(state);
        let policy = Arc::new(RecoveryPolicy::default().enabled(true));
        engine.act(|state, now, after| {
            engine.watch(state, now, after, &RUN.into(), &policy, Metadata::default());
        });
        (engine, end)
    }

    /// The poll that the thread takes.
    fn poll(engine: &Arc<Engine>) -> Asked {
        match engine.take(ID, Role::Poll) {
            Take::Job { job: Job::Poll(poll), .. } => poll,
            _ => panic!("no poll"),
        }
    }

    fn end(engine: &Arc<Engine>, poll: &Asked, is_left: bool) -> Option<Take> {
        let result = Ok(TrainingRun::new(RUN));
        engine.end_and_take(ID, Role::Poll, || is_left, poll, result)
    }

    #[test]
    fn a_poll_that_ends_while_the_watchdog_takes_its_thread_counts_and_the_thread_goes() {
        let clock = ManualClock::default();
        let (engine, idle) = engine(&clock);
        let asked = poll(&engine);
        // Told of in time, and then the watchdog is faster to the slot.
        assert!(end(&engine, &asked, false).is_none(), "it is not for this thread to go on");
        let state = engine.lock();
        assert!(state.workers[0].is_at_work(), "the watchdog, which comes now, must find the call");
        assert_eq!((state.books.timeouts, state.books.last_success.is_some()), (0, true));
        drop(state);
        assert_eq!(engine.overdue(ID, engine.now()), Tick::NEVER);
        assert_eq!(engine.lock().books.timeouts, 0, "what came back in time has not timed out");
        engine.put_down(ID, None);
        assert!(matches!(engine.take(ID, Role::Poll), Take::Over));
        drop(idle);
        assert!(engine.stop(Duration::from_secs(5)).is_clean());
    }

    #[test]
    fn a_thread_that_keeps_its_call_goes_on_at_once() {
        let clock = ManualClock::default();
        let (engine, _end) = engine(&clock);
        let asked = poll(&engine);
        assert!(matches!(end(&engine, &asked, true), Some(Take::Wait(_))));
        assert!(!engine.lock().workers[0].is_at_work());
    }

    #[test]
    fn a_panic_of_our_own_costs_neither_the_place_nor_the_run() {
        let clock = ManualClock::default();
        let (engine, end) = engine(&clock);
        let asked = poll(&engine);
        let (_, seat) = engine.env.clock().join("t");
        // The thread is gone with its job, as when putting that down panics.
        engine.clone().tend(ID, seat, |_| panic!("ours"));
        drop(end);
        let state = engine.lock();
        assert!(state.workers.iter().all(|worker| worker.id != ID), "the place is free");
        let error = state.watches.get(RUN).unwrap().error.as_ref().unwrap();
        assert_eq!(error.to_string(), "panicked: ours");
        assert_eq!((state.books.panics, state.next_poll().is_some()), (1, true));
        drop(state);
        // The one that took its place polls the run when it is due again.
        clock.run_for(Duration::from_secs(60));
        let state = engine.lock();
        assert!(state.watches.get(RUN).unwrap().error.is_none() && state.books.last_success.is_some());
        assert_eq!(state.books.panics, 1);
        drop(state);
        // Twice changes nothing: the ticket is used up.
        engine.act(|state, now, after| {
            let doing = Doing::Poll { poll: asked.clone(), since: now };
            engine.fail(state, now, after, doing, Error::new(ErrorKind::Panicked));
        });
        assert_eq!(engine.lock().books.panics, 1);
        assert!(engine.stop(Duration::from_secs(5)).is_clean());
    }
}
