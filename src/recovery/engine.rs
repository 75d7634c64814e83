//! What a recovery monitor and an executor know, behind one lock: runs that
//! are watched, incidents, and what is to be done next.
//!
//! Nothing here calls a user's code: threads of the [`crew`](super::crew) take
//! jobs from here and come back with what came of them. A job has a ticket. It
//! counts as long as whom it is for still has that ticket; what comes back
//! with another is late.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::crew::{Role, Worker};
use super::incident::{Incident, IncidentPhase, Input, Next, Told};
use super::metadata::Metadata;
use super::policy::RecoveryPolicy;
use super::tell::{Afterwards, Callback, Callbacks, Instruments, Trash};
use super::{Checkpoint, Handle, Recovered, Remedy, Restored, RunSource, TrainingRun};
use crate::backoff::Random;
use crate::cancel::CancelToken;
use crate::clock::Tick;
use crate::component::Reporter;
use crate::dispatch::Mailbox;
use crate::env::Env;
use crate::error::{Error, ErrorKind, Result};
use crate::event::{Event, EventKind, Health, LoopKind, RecoveryEvent, RecoveryStep};
use crate::name::Name;
use crate::primitive::{Condvar, Mutex, MutexGuard};
use crate::subscription::Hub;

/// How much is done at once, and how much may wait.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) polls: usize,
    pub(super) attempts: usize,
    pub(super) queue: usize,
}

pub(super) struct Engine {
    pub(super) env: Env,
    pub(super) name: Name,
    pub(super) source: Box<dyn RunSource>,
    pub(super) remedy: Box<dyn Remedy>,
    pub(super) limits: Limits,
    pub(super) critical: bool,
    /// Ends it when cancelled.
    pub(super) parent: CancelToken,
    pub(super) hub: Hub,
    pub(super) mailbox: Option<Arc<Mailbox>>,
    pub(super) callbacks: Arc<Callbacks>,
    pub(super) instruments: Instruments,
    /// A word that no other engine has, of this or of any process.
    pub(super) word: String,
    state: Mutex<State>,
    pub(super) changed: Condvar,
    /// Hears of the health. Taken before `state`, so that of two who tell the
    /// later one tells the truth.
    pub(super) reporter: Mutex<Option<Reporter>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    Idle,
    Running,
    Stopping,
}

pub(super) struct State {
    pub(super) stage: Stage,
    /// Takes nothing new: what is there is brought to its end.
    pub(super) draining: bool,
    /// How many stops are on their way.
    pub(super) stops: u32,
    pub(super) waited: bool,
    pub(super) token: CancelToken,
    /// The number of the last event.
    n: u64,
    next: u64,
    random: Random,
    pub(super) watches: BTreeMap<Arc<str>, Watch>,
    /// When the runs are polled that are in no poll.
    polls: BTreeSet<(Tick, u64, Arc<str>)>,
    pub(super) cases: BTreeMap<Arc<str>, Box<Case>>,
    fresh: VecDeque<Arc<str>>,
    retries: BTreeSet<(Tick, u64, Arc<str>)>,
    chores: VecDeque<(Chore, Duration)>,
    pub(super) workers: Vec<Worker>,
    /// What the watchdog found nobody to need any more; it runs no user code.
    pub(super) trash: Vec<Trash>,
    tally: [usize; 5],
    pub(super) books: Books,
}

/// What a status says of the whole.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Books {
    pub(super) health: Health,
    pub(super) since: Tick,
    pub(super) transitions: u64,
    pub(super) last_poll: Option<Tick>,
    pub(super) last_success: Option<Tick>,
    pub(super) failures_in_a_row: u32,
    pub(super) runs: u64,
    pub(super) failures: u64,
    pub(super) panics: u64,
    pub(super) timeouts: u64,
    pub(super) late: u64,
    pub(super) latency: Option<Duration>,
}

/// A run that is watched.
pub(super) struct Watch {
    pub(super) first_run: Arc<str>,
    pub(super) policy: Arc<RecoveryPolicy>,
    pub(super) metadata: Metadata,
    poll: Poll,
    /// Polls once more after the present one.
    again: bool,
    pub(super) last_poll: Option<Tick>,
    pub(super) error: Option<Error>,
    class: Class,
}

enum Poll {
    Due(Tick, u64),
    Begun {
        ticket: u64,
        at: Tick,
        /// When it is told next that it is stuck.
        told_at: Tick,
    },
}

impl Poll {
    /// One whose answer is taken from nobody.
    const fn none(at: Tick) -> Self {
        Self::Begun { ticket: 0, at, told_at: Tick::NEVER }
    }
}

/// What a watched run adds to the health of the whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// Not polled yet.
    Unpolled,
    /// It cannot be polled.
    Failing,
    Fine,
    /// It is being recovered, or is not proven well.
    Open,
    /// It is corrupted, and nothing is tried.
    Lost,
}

/// An incident, and what is done about it.
pub(super) struct Case {
    pub(super) incident: Incident,
    pub(super) policy: Arc<RecoveryPolicy>,
    pub(super) metadata: Metadata,
    /// The checkpoint last heard of.
    given: Option<Checkpoint>,
    pub(super) place: Place,
    /// Until when a relapse is the same incident.
    guard_until: Tick,
}

pub(super) enum Place {
    Fresh,
    Retry(Tick, u64),
    Attempt { ticket: u64, cancel: CancelToken },
    Rest,
}

/// What is to be let go of.
pub(super) enum Chore {
    Retire { run: String, metadata: Metadata },
}

/// What a thread of the crew does.
pub(super) enum Job {
    Poll { run: Arc<str>, ticket: u64 },
    Attempt(Box<Attempt>),
    Chore(Chore),
    Sweep(Vec<Trash>),
}

pub(super) struct Attempt {
    pub(super) run: Arc<str>,
    pub(super) ticket: u64,
    pub(super) incident: Incident,
    pub(super) policy: Arc<RecoveryPolicy>,
    pub(super) given: Option<Checkpoint>,
    pub(super) cancel: CancelToken,
}

impl State {
    fn new(seed: u64) -> Self {
        Self {
            stage: Stage::Idle,
            draining: false,
            stops: 0,
            waited: false,
            token: CancelToken::new(),
            n: 0,
            next: 0,
            random: Random::new(seed),
            watches: BTreeMap::new(),
            polls: BTreeSet::new(),
            cases: BTreeMap::new(),
            fresh: VecDeque::new(),
            retries: BTreeSet::new(),
            chores: VecDeque::new(),
            workers: Vec::new(),
            trash: Vec::new(),
            tally: [0; 5],
            books: Books::default(),
        }
    }

    pub(super) fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// The key of a watched run, by its present name or by its first.
    pub(super) fn resolve(&self, run: &str) -> Option<Arc<str>> {
        if let Some((key, _)) = self.watches.get_key_value(run) {
            return Some(key.clone());
        }
        if let Some((key, _)) = self.cases.get_key_value(run) {
            return Some(key.clone());
        }
        let watched = self.watches.iter().find(|(_, watch)| &*watch.first_run == run);
        watched.map(|(key, _)| key.clone())
    }

    /// How many jobs of a role could be begun now, and when the next one can.
    pub(super) fn ahead(&self, role: Role, now: Tick, limit: usize) -> (usize, Tick) {
        let (timed, n) = match role {
            Role::Poll => (&self.polls, 0),
            Role::Attempt => (&self.retries, self.fresh.len() + self.chores.len()),
        };
        let mut ready = n.min(limit);
        for (due, _, _) in timed {
            if *due > now {
                return (ready, *due);
            }
            if ready == limit {
                return (ready, now);
            }
            ready += 1;
        }
        (ready, Tick::NEVER)
    }

    pub(super) fn counts(&self, class: Class) -> usize {
        self.tally[class as usize]
    }

    pub(super) fn next_poll(&self) -> Option<Tick> {
        self.polls.first().map(|(due, _, _)| *due)
    }

    /// Notes what a watched run adds to the whole, after a change of it.
    fn sort_in(&mut self, run: &str) {
        let case = self.cases.get(run).map(|case| case.incident.phase);
        let Some(watch) = self.watches.get_mut(run) else { return };
        let class = match case {
            Some(phase) if phase.is_pending() || phase == IncidentPhase::Completed => Class::Open,
            Some(IncidentPhase::Exhausted | IncidentPhase::Cancelled | IncidentPhase::Skipped) => Class::Lost,
            _ if watch.error.is_some() => Class::Failing,
            _ if watch.last_poll.is_none() => Class::Unpolled,
            _ => Class::Fine,
        };
        self.tally[watch.class as usize] -= 1;
        self.tally[class as usize] += 1;
        watch.class = class;
    }

    fn put_poll(&mut self, run: &Arc<str>, due: Tick) {
        let n = self.number();
        let Some(watch) = self.watches.get_mut(run) else { return };
        if let Poll::Due(due, n) = watch.poll {
            self.polls.remove(&(due, n, run.clone()));
        }
        watch.poll = Poll::Due(due, n);
        self.polls.insert((due, n, run.clone()));
    }

    fn add_watch(&mut self, run: &Arc<str>, watch: Watch, due: Tick) {
        self.tally[watch.class as usize] += 1;
        self.watches.insert(run.clone(), watch);
        self.put_poll(run, due);
        self.sort_in(run);
    }

    fn take_watch(&mut self, run: &Arc<str>) -> Option<Watch> {
        let watch = self.watches.remove(run)?;
        self.tally[watch.class as usize] -= 1;
        if let Poll::Due(due, n) = watch.poll {
            self.polls.remove(&(due, n, run.clone()));
        }
        Some(watch)
    }

    /// Takes an incident out of the lines it stands in.
    fn step_out(&mut self, run: &Arc<str>) {
        let Some(case) = self.cases.get_mut(run) else { return };
        match std::mem::replace(&mut case.place, Place::Rest) {
            Place::Fresh => self.fresh.retain(|one| one != run),
            Place::Retry(due, n) => _ = self.retries.remove(&(due, n, run.clone())),
            Place::Attempt { .. } | Place::Rest => {}
        }
    }

    fn queue_retry(&mut self, run: &Arc<str>, due: Tick) {
        self.step_out(run);
        let n = self.number();
        if let Some(case) = self.cases.get_mut(run) {
            case.place = Place::Retry(due, n);
            self.retries.insert((due, n, run.clone()));
        }
    }

    fn queue_fresh(&mut self, run: &Arc<str>) {
        self.step_out(run);
        if let Some(case) = self.cases.get_mut(run) {
            case.place = Place::Fresh;
            self.fresh.push_back(run.clone());
        }
    }

    /// The incident whose attempt has this ticket.
    fn in_attempt(&mut self, run: &str, ticket: u64) -> Option<(&mut Case, &mut Random)> {
        let case = self.cases.get_mut(run)?;
        let is_it = matches!(&case.place, Place::Attempt { ticket: own, .. } if *own == ticket);
        is_it.then_some((&mut **case, &mut self.random))
    }

    pub(super) fn is_idle(&self) -> bool {
        self.chores.is_empty()
            && self.cases.values().all(|case| !case.incident.phase.is_pending())
            && self.workers.iter().all(|worker| worker.is_free(Role::Attempt))
    }

    fn health(&self) -> Health {
        let total = self.watches.len();
        if self.stage != Stage::Running {
            Health::Unknown
        } else if self.counts(Class::Lost) > 0 {
            Health::Down
        } else if self.counts(Class::Failing) + self.counts(Class::Open) > 0 {
            Health::Degraded
        } else if total > 0 && self.counts(Class::Unpolled) == total {
            Health::Unknown
        } else {
            Health::Ready
        }
    }
}

/// What an engine is made from.
pub(super) struct Parts {
    pub(super) name: Name,
    pub(super) source: Box<dyn RunSource>,
    pub(super) remedy: Box<dyn Remedy>,
    pub(super) limits: Limits,
    pub(super) critical: bool,
    pub(super) parent: CancelToken,
    /// Whether there may be callbacks.
    pub(super) calls: bool,
}

impl Engine {
    pub(super) fn new(env: &Env, parts: Parts) -> Result<Arc<Self>> {
        let Parts { name, source, remedy, limits, critical, parent, calls } = parts;
        let callbacks = Arc::new(Callbacks::default());
        let observer = env.observer();
        let mailbox = if calls || observer.on_event.is_some() {
            Some(env.dispatcher().mailbox(callbacks.handler(observer))?)
        } else {
            None
        };
        let seed = env.seed() ^ crate::backoff::hash(name.as_str());
        let engine = Arc::new(Self {
            env: env.clone(),
            source,
            remedy,
            limits,
            critical,
            parent,
            hub: Hub::default(),
            mailbox,
            callbacks,
            instruments: Instruments::new(observer, &name),
            word: Env::word(),
            state: Mutex::new(State::new(seed)),
            changed: Condvar::default(),
            reporter: Mutex::new(None),
            name,
        });
        let listed: std::sync::Weak<Self> = Arc::downgrade(&engine);
        env.list(listed);
        Ok(engine)
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    pub(super) fn now(&self) -> Tick {
        self.env.clock().now()
    }

    /// Has something decided under the lock, sees to it that there are
    /// threads for what is to be done, and does what may only be done
    /// without the lock.
    pub(super) fn act<T>(self: &Arc<Self>, decide: impl FnOnce(&mut State, Tick, &mut Afterwards) -> T) -> T {
        let mut after = Afterwards::default();
        let mut state = self.lock();
        let now = self.now();
        let decided = decide(&mut state, now, &mut after);
        self.settle(&mut state, now, &mut after);
        drop(state);
        self.afterwards(after);
        decided
    }

    /// The last thing under the lock.
    pub(super) fn settle(self: &Arc<Self>, state: &mut State, now: Tick, after: &mut Afterwards) {
        for role in [Role::Poll, Role::Attempt] {
            self.staff(state, role, now, after);
        }
        let health = state.health();
        if health != state.books.health {
            state.books.health = health;
            state.books.since = now;
            state.books.transitions += 1;
            after.health_turned = true;
        }
        after.wake = true;
    }

    pub(super) fn afterwards(&self, after: Afterwards) {
        let trash = self.tell_rest(after);
        drop(trash);
    }

    /// The same on a thread that runs no user code.
    #[must_use = "dropped where user code may run"]
    pub(super) fn tell_rest(&self, after: Afterwards) -> Vec<Trash> {
        if after.wake {
            self.changed.notify_all();
        }
        let turned = after.health_turned;
        let trash = after.run(&self.instruments);
        if turned {
            self.report();
        }
        trash
    }

    pub(super) fn report(&self) {
        let reporter = self.reporter.lock();
        if let Some(reporter) = &*reporter {
            let health = self.state.lock().books.health;
            reporter.set_health(health);
        }
    }

    // What is told.

    pub(super) fn tell_loop(&self, state: &mut State, what: EventKind) -> u64 {
        state.n += 1;
        let n = state.n;
        let (at, source) = (self.env.stamp(), self.name.clone());
        let event = |seq| Event { seq, n, at, source, kind: LoopKind::Recovery, what };
        let event = self.env.events().append(event);
        self.hub.send(&event);
        if let Some(mailbox) = &self.mailbox {
            mailbox.send(event);
        }
        n
    }

    fn tell(&self, state: &mut State, after: &mut Afterwards, event: RecoveryEvent, call: Option<Callback>) {
        after.steps.push(event.step);
        if let Some(call) = call {
            // Before its event, which the dispatcher may have at once.
            match &self.mailbox {
                Some(_) => self.callbacks.put(state.n + 1, call),
                None => after.trash.push(Trash::Callback(call)),
            }
        }
        self.tell_loop(state, EventKind::Recovery(Arc::new(event)));
    }

    fn tell_poll_error(&self, state: &mut State, after: &mut Afterwards, run: &Arc<str>, error: Error) {
        let metadata = state.watches.get(run).map(|watch| watch.metadata.texts.clone()).unwrap_or_default();
        let event = RecoveryEvent {
            error: Some(error),
            metadata,
            ..RecoveryEvent::new(RecoveryStep::PollError, run.clone())
        };
        self.tell(state, after, event, None);
    }

    pub(super) fn tell_left_behind(
        &self,
        state: &mut State,
        after: &mut Afterwards,
        run: &str,
        metadata: &Metadata,
        error: Error,
    ) {
        let event = RecoveryEvent {
            error: Some(error),
            metadata: metadata.texts.clone(),
            ..RecoveryEvent::new(RecoveryStep::LeftBehind, run.into())
        };
        self.tell(state, after, event, None);
    }

    // Incidents.

    /// Steps the incident of `run`, tells what is to be told and puts it where
    /// it belongs. The run may have another name after this: that is returned.
    fn step(&self, state: &mut State, after: &mut Afterwards, run: &Arc<str>, input: Input) -> Option<Next> {
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

    fn tell_step(
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
    fn place(&self, state: &mut State, now: Tick, after: &mut Afterwards, run: &Arc<str>, next: Next) {
        let is_watched = state.watches.contains_key(run);
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

    fn forget(&self, state: &mut State, after: &mut Afterwards, run: &Arc<str>) {
        state.step_out(run);
        after.trash.extend(state.cases.remove(run).map(Trash::Case));
        state.sort_in(run);
    }

    /// Begins an incident. It waits for its turn from now on.
    pub(super) fn open(
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

    pub(super) fn has_room(&self, state: &State) -> bool {
        state.fresh.len() < self.limits.queue
    }

    pub(super) fn cancel_case(
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
    pub(super) fn retry(&self, state: &mut State, now: Tick, after: &mut Afterwards, run: &Arc<str>) -> bool {
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

    // Watched runs.

    pub(super) fn watch(
        &self,
        state: &mut State,
        now: Tick,
        after: &mut Afterwards,
        run: &Arc<str>,
        policy: &Arc<RecoveryPolicy>,
        metadata: Metadata,
    ) {
        let known = state.watches.get_mut(run);
        if let Some(watch) = known {
            let before = std::mem::replace(&mut watch.metadata, metadata);
            after.trash.extend(before.handle.map(Trash::Handle));
            return;
        }
        let watch = Watch {
            first_run: run.clone(),
            policy: policy.clone(),
            metadata,
            poll: Poll::none(now),
            again: false,
            last_poll: None,
            error: None,
            class: Class::Unpolled,
        };
        state.add_watch(run, watch, now);
    }

    pub(super) fn unwatch(&self, state: &mut State, now: Tick, after: &mut Afterwards, run: &Arc<str>) {
        self.cancel_case(state, now, after, run, "the run is not watched any more");
        if let Some(watch) = state.take_watch(run) {
            after.trash.extend(watch.metadata.handle.map(Trash::Handle));
        }
        self.forget(state, after, run);
    }

    /// Polls all now, also those that are in a poll, once more.
    pub(super) fn poll_all(state: &mut State, now: Tick) {
        let runs: Vec<_> = state.watches.keys().cloned().collect();
        for run in &runs {
            match state.watches.get_mut(run) {
                Some(watch) if matches!(watch.poll, Poll::Begun { .. }) => watch.again = true,
                _ => state.put_poll(run, now),
            }
        }
    }

    /// After a restart: what a stop left in a poll is polled like the others.
    pub(super) fn poll_afresh(state: &mut State, now: Tick) {
        let runs: Vec<_> = state.watches.keys().cloned().collect();
        for run in &runs {
            state.put_poll(run, now);
        }
    }

    // Jobs.

    /// The next job of a role, and how long it may take.
    pub(super) fn take_job(
        &self,
        state: &mut State,
        role: Role,
        now: Tick,
        after: &mut Afterwards,
    ) -> Option<(Job, Duration)> {
        if !state.trash.is_empty() {
            return Some((Job::Sweep(std::mem::take(&mut state.trash)), Duration::from_secs(10)));
        }
        match role {
            Role::Poll => Self::take_poll(state, now),
            Role::Attempt => self.take_attempt(state, now, after),
        }
    }

    fn take_poll(state: &mut State, now: Tick) -> Option<(Job, Duration)> {
        let first = state.polls.first().filter(|(due, _, _)| *due <= now)?.clone();
        state.polls.remove(&first);
        let (_, _, run) = first;
        let ticket = state.number();
        let watch = state.watches.get_mut(&run)?;
        watch.poll = Poll::Begun { ticket, at: now, told_at: Tick::NEVER };
        state.books.runs += 1;
        Some((Job::Poll { run, ticket }, watch.policy.poll_timeout))
    }

    fn take_attempt(&self, state: &mut State, now: Tick, after: &mut Afterwards) -> Option<(Job, Duration)> {
        let retry = state.retries.first().filter(|(due, _, _)| *due <= now).cloned();
        let run = match retry {
            Some((_, _, run)) => run,
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

    /// Whether a poll came back in time, and how long it took.
    fn end_poll(&self, state: &mut State, now: Tick, run: &Arc<str>, ticket: u64) -> bool {
        let Some(watch) = state.watches.get_mut(run) else { return false };
        let Poll::Begun { ticket: own, at, told_at } = watch.poll else { return false };
        if own != ticket {
            return false;
        }
        let timed_out = told_at != Tick::NEVER;
        let again = std::mem::take(&mut watch.again);
        // Of a run that was stuck nothing is known for long enough.
        let delay = if again || timed_out { Duration::ZERO } else { watch.policy.poll_interval };
        if timed_out {
            state.books.late += 1;
        } else {
            state.books.latency = Some(now.since(at));
            watch.last_poll = Some(now);
            state.books.last_poll = Some(now);
        }
        state.put_poll(run, now + delay);
        !timed_out
    }

    /// A poll is over.
    pub(super) fn polled(
        &self,
        state: &mut State,
        now: Tick,
        after: &mut Afterwards,
        run: &Arc<str>,
        ticket: u64,
        result: Result<TrainingRun>,
    ) {
        if state.stage != Stage::Running || !self.end_poll(state, now, run, ticket) {
            return;
        }
        match result {
            Err(error) => self.poll_failed(state, after, run, error),
            Ok(found) => {
                state.books.last_success = Some(now);
                state.books.failures_in_a_row = 0;
                if let Some(watch) = state.watches.get_mut(run) {
                    watch.error = None;
                }
                self.found(state, now, after, run, found);
            }
        }
        state.sort_in(run);
    }

    fn poll_failed(&self, state: &mut State, after: &mut Afterwards, run: &Arc<str>, error: Error) {
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
        run: &Arc<str>,
        ticket: u64,
    ) -> Tick {
        let Some(watch) = state.watches.get_mut(run) else { return Tick::NEVER };
        let Poll::Begun { ticket: own, at, told_at } = &mut watch.poll else { return Tick::NEVER };
        if *own != ticket {
            return Tick::NEVER;
        }
        if now < *told_at && *told_at != Tick::NEVER {
            return *told_at;
        }
        let stuck_for = now.since(*at);
        let again = now + watch.policy.poll_interval;
        *told_at = again;
        watch.last_poll = Some(now);
        let error = Error::new(ErrorKind::Timeout).context(format!("the poll is stuck for {stuck_for:.1?}"));
        self.poll_failed(state, after, run, error);
        again
    }

    /// A poll tells how a run is.
    fn found(
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

    fn detect(
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

    /// An attempt has chosen its checkpoint; says whether it still counts.
    pub(super) fn selected(
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
        self.move_to(state, now, after, run, &new, restored.handle.clone());
        self.place(state, now, after, &new, next);
        // The lock is held: its last hold must not be this one.
        after.trash.extend(restored.handle.map(Trash::Handle));
        None
    }

    /// The run goes on under another name, with another object of the
    /// program's, and is polled at once.
    fn move_to(
        &self,
        state: &mut State,
        now: Tick,
        after: &mut Afterwards,
        old: &Arc<str>,
        new: &Arc<str>,
        handle: Option<Handle>,
    ) {
        let watch = state.take_watch(old);
        let case = state.cases.remove(old);
        let mut was_watched = false;
        if let Some(mut watch) = watch {
            was_watched = true;
            after.trash.extend(watch.metadata.handle.take().map(Trash::Handle));
            watch.metadata.handle.clone_from(&handle);
            // What is being polled was asked for before.
            watch.poll = Poll::none(now);
            (watch.last_poll, watch.error) = (None, None);
            if state.watches.contains_key(new) {
                // Somebody watches it already: theirs counts.
                after.trash.extend(watch.metadata.handle.map(Trash::Handle));
            } else {
                state.add_watch(new, watch, now);
            }
        }
        if let Some(mut case) = case {
            after.trash.extend(case.metadata.handle.take().map(Trash::Handle));
            case.metadata.handle = handle;
            let is_free = !state.cases.contains_key(new);
            if is_free && (was_watched || !state.watches.contains_key(new)) {
                state.cases.insert(new.clone(), case);
            } else {
                after.trash.push(Trash::Case(case));
            }
        }
        state.sort_in(new);
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

    // Beginning and end.

    pub(super) fn end(&self, state: &mut State, now: Tick, after: &mut Afterwards, why: &'static str) {
        if state.stage != Stage::Running {
            return;
        }
        state.stage = Stage::Stopping;
        let pending: Vec<_> = state
            .cases
            .iter()
            .filter(|(_, case)| case.incident.phase.is_pending())
            .map(|(run, _)| run.clone())
            .collect();
        for run in pending {
            self.cancel_case(state, now, after, &run, why);
            // What comes after a restart is another incident.
            self.forget(state, after, &run);
        }
        state.chores.clear();
        self.tell_loop(state, EventKind::Stopped);
        // Once for each run: who subscribes from now on hears of the next.
        self.hub.close();
        after.cancels.push(state.token.clone());
        after.rings.extend(state.workers.iter().map(|worker| worker.inbox.clone()));
        let health = state.health();
        if health != state.books.health {
            state.books.health = health;
            state.books.since = now;
            state.books.transitions += 1;
            after.health_turned = true;
        }
        after.wake = true;
    }
}
