//! What a recovery monitor and an executor know, behind one lock: runs that
//! are watched, incidents, and what is to be done next.
//!
//! Nothing here calls a user's code: threads of the [`crew`](super::crew) take
//! jobs from here and come back with what came of them. A job has a ticket. It
//! counts as long as whom it is for still has that ticket; what comes back
//! with another is late.

mod attempts;
mod table;
mod watches;

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use self::table::Watches;
use super::crew::{Role, Worker};
use super::incident::{Incident, IncidentPhase};
use super::metadata::Metadata;
use super::policy::RecoveryPolicy;
use super::tell::{Afterwards, Callback, Callbacks, Instruments, Trash};
use super::{Checkpoint, Remedy, RunSource};
use crate::backoff::Random;
use crate::cancel::CancelToken;
use crate::clock::Tick;
use crate::component::Reporter;
use crate::dispatch::Mailbox;
use crate::env::Env;
use crate::error::{Error, ErrorKind, Result};
use crate::event::{Event, EventKind, Health, LoopKind, RecoveryEvent, RecoveryStep};
use crate::map::Map;
use crate::name::Name;
use crate::primitive::{Condvar, Mutex, MutexGuard};
use crate::subscription::Hub;
use crate::thread::caught;

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
    /// Whether the observer hears of every event. Else only those come to the
    /// mailbox that somebody is called about: its room is theirs.
    hears_all: bool,
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
    pub(super) watches: Watches,
    /// When the runs are polled that are in no poll.
    polls: Polls,
    pub(super) cases: Map<Arc<str>, Box<Case>>,
    fresh: VecDeque<Arc<str>>,
    retries: BTreeSet<(Tick, u64, Arc<str>)>,
    chores: VecDeque<(Chore, Duration)>,
    pub(super) workers: Vec<Worker>,
    /// A thread was refused: whoever waits asks again in a while.
    pub(super) is_short: bool,
    /// What the watchdog found nobody to need any more; it runs no user code.
    pub(super) trash: Vec<Trash>,
    tally: [usize; 5],
    pub(super) books: Books,
}

/// By place.
type Polls = BTreeSet<(Tick, u64, usize)>;

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
    pub(super) run: Arc<str>,
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

impl Watch {
    fn put_poll(&mut self, polls: &mut Polls, place: usize, due: Tick, n: u64) {
        if let Poll::Due(due, n) = self.poll {
            polls.remove(&(due, n, place));
        }
        self.poll = Poll::Due(due, n);
        polls.insert((due, n, place));
    }
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
    Poll(Asked),
    Attempt(Box<Attempt>),
    Chore(Chore),
    Sweep(Vec<Trash>),
}

/// One poll of one run.
#[derive(Clone)]
pub(super) struct Asked {
    pub(super) run: Arc<str>,
    /// Where the run is among those that are watched, if it still is.
    place: usize,
    pub(super) ticket: u64,
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
            watches: Watches::default(),
            polls: BTreeSet::new(),
            cases: Map::new(),
            fresh: VecDeque::new(),
            retries: BTreeSet::new(),
            chores: VecDeque::new(),
            workers: Vec::new(),
            is_short: false,
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
        if let Some(key) = self.watches.key(run) {
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
        let waiting = self.fresh.len() + self.chores.len();
        match role {
            Role::Poll => ahead(self.polls.iter().map(|(due, ..)| *due), 0, now, limit),
            Role::Attempt => ahead(self.retries.iter().map(|(due, ..)| *due), waiting, now, limit),
        }
    }

    pub(super) fn counts(&self, class: Class) -> usize {
        self.tally[class as usize]
    }

    pub(super) fn next_poll(&self) -> Option<Tick> {
        self.polls.first().map(|(due, _, _)| *due)
    }

    /// For how long what is due first of a role is past its due, and how far
    /// such calls are apart.
    pub(super) fn late(&self, role: Role, now: Tick) -> Option<(Duration, Duration)> {
        let (due, apart) = match role {
            Role::Poll => {
                let (due, _, place) = self.polls.first()?;
                let last = self.watches.peek(*place).and_then(|watch| watch.last_poll);
                (*due, last.map_or(Duration::ZERO, |last| due.since(last)))
            }
            Role::Attempt => (self.retries.first()?.0, Duration::ZERO),
        };
        (now > due).then(|| (now.since(due), apart))
    }

    /// Notes what a watched run adds to the whole, after a change of it.
    fn sort_in(&mut self, run: &str) {
        let case = self.cases.get(run).map(|case| case.incident.phase);
        let Some(watch) = self.watches.get_mut(run) else { return };
        let class = match case {
            Some(phase) if phase.is_pending() || phase == IncidentPhase::Completed => Class::Open,
            Some(IncidentPhase::Skipped) => Class::Open,
            Some(IncidentPhase::Exhausted | IncidentPhase::Cancelled) => Class::Lost,
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
        let Some(place) = self.watches.place(run) else { return };
        if let Some(watch) = self.watches.at(place) {
            watch.put_poll(&mut self.polls, place, due, n);
        }
    }

    /// Has all those polled that are to be, in the order of their names. One
    /// by one the set would be searched twice for each.
    fn put_polls(&mut self, due: Tick, is_to_be: impl Fn(&mut Watch) -> bool) {
        let Self { watches, polls, next, .. } = self;
        let mut put = Vec::with_capacity(watches.len());
        watches.for_each(|place, watch| {
            if is_to_be(watch) {
                *next += 1;
                watch.poll = Poll::Due(due, *next);
            }
            if let Poll::Due(due, n) = watch.poll {
                put.push((due, n, place));
            }
        });
        *polls = crate::order::set(put);
    }

    fn add_watch(&mut self, watch: Watch, due: Tick) {
        let run = watch.run.clone();
        self.tally[watch.class as usize] += 1;
        self.watches.insert(watch);
        self.put_poll(&run, due);
        self.sort_in(&run);
    }

    fn take_watch(&mut self, run: &Arc<str>) -> Option<Watch> {
        let (place, watch) = self.watches.remove(run)?;
        self.tally[watch.class as usize] -= 1;
        if let Poll::Due(due, n) = watch.poll {
            self.polls.remove(&(due, n, place));
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

    /// Whether the caller is one of its threads.
    pub(super) fn is_own_call(&self) -> bool {
        self.workers.iter().any(|worker| worker.task.is_current())
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

/// How many could be begun now of those that wait and those that have a due,
/// and when the next one can.
fn ahead(dues: impl Iterator<Item = Tick>, waiting: usize, now: Tick, limit: usize) -> (usize, Tick) {
    let mut ready = waiting.min(limit);
    for due in dues {
        if due > now {
            return (ready, due);
        }
        if ready == limit {
            return (ready, now);
        }
        ready += 1;
    }
    (ready, Tick::NEVER)
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
            hears_all: observer.on_event.is_some(),
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
        if state.stage == Stage::Running {
            Self::dismiss(state);
        }
        let [polls, attempts] = [Role::Poll, Role::Attempt].map(|role| self.staff(state, role, now, after));
        state.is_short = !(polls && attempts);
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
        // Objects of the user's: a panic of one must end neither a stop nor
        // a thread of ours.
        let _ = caught(|| drop(trash));
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

    pub(super) fn tell_loop(&self, state: &mut State, what: EventKind) {
        self.send(state, what, false);
    }

    fn send(&self, state: &mut State, what: EventKind, has_call: bool) {
        state.n += 1;
        let n = state.n;
        let (at, source) = (self.env.stamp(), self.name.clone());
        let event = |seq| Event { seq, n, at, source, kind: LoopKind::Recovery, what };
        let event = self.env.events().append(event);
        self.hub.send(&event);
        if let Some(mailbox) = self.mailbox.as_ref().filter(|_| has_call || self.hears_all) {
            mailbox.send(event);
        }
    }

    fn tell(&self, state: &mut State, after: &mut Afterwards, event: RecoveryEvent, call: Option<Callback>) {
        after.steps.push(event.step);
        let has_call = call.is_some();
        if let Some(call) = call {
            // Before its event, which the dispatcher may have at once.
            match &self.mailbox {
                Some(_) => self.callbacks.put(state.n + 1, call),
                None => after.trash.push(Trash::Callback(call)),
            }
        }
        self.send(state, EventKind::Recovery(Arc::new(event)), has_call);
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
        for (Chore::Retire { run, metadata }, _) in std::mem::take(&mut state.chores) {
            let error = Error::new(ErrorKind::Cancelled).context(why);
            self.tell_left_behind(state, after, &run, &metadata, error);
        }
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
