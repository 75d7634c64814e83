//! What drives a recovery monitor and an executor: what is known stands behind
//! one lock, in its [`state`]; threads of the [`crew`] take jobs from there and
//! come back with what came of them.
//!
//! Nothing under the lock calls a user's code; what may only be done without it
//! is kept for [`afterwards`]. A job has a ticket. It counts as long as whom it
//! is for still has that ticket; what comes back with another is late.

mod afterwards;
mod attempts;
mod case;
mod crew;
mod job;
mod life;
mod names;
mod state;
mod table;
mod watch;
mod watches;
mod work;
mod worker;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use self::afterwards::{Afterwards, Trash};
pub(super) use self::case::{Case, Place};
pub(super) use self::job::Role;
use self::job::{Chore, Job};
pub(super) use self::state::{Stage, State};
pub(super) use self::watch::{Class, Watch};
use super::metadata::Metadata;
use super::tell::{Callback, Callbacks, Instruments};
use super::{Remedy, RunSource};
use crate::cancel::CancelToken;
use crate::clock::Tick;
use crate::component::Reporter;
use crate::dispatch::Mailbox;
use crate::env::Env;
use crate::error::{Error, ErrorKind, Result};
use crate::event::{Event, EventKind, LoopKind, RecoveryEvent, RecoveryStep};
use crate::name::Name;
use crate::primitive::{Condvar, Mutex, MutexGuard};
use crate::state_file::StateFile;
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
    /// Where it is kept under which name a run goes on.
    file: Option<StateFile>,
    /// Held while it is written, so that of two the later one stays.
    saving: Mutex<()>,
    /// Held by a start, from the hold of the file on, and by a stop that lets
    /// go of it. Nothing of the user's is called or dropped under it.
    holding: Mutex<()>,
    state: Mutex<State>,
    pub(super) changed: Condvar,
    /// Hears of the health. Taken before `state`, so that of two who tell the
    /// later one tells the truth.
    pub(super) reporter: Mutex<Option<Reporter>>,
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
    /// Where it is kept under which name a run goes on.
    pub(super) state_file: Option<PathBuf>,
}

impl Engine {
    pub(super) fn new(env: &Env, parts: Parts) -> Result<Arc<Self>> {
        let Parts { name, source, remedy, limits, critical, parent, calls, state_file } = parts;
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
            file: state_file.map(|path| StateFile::new("the state_file of a recovery", path, names::MAX_LEN)),
            saving: Mutex::new(()),
            holding: Mutex::new(()),
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
        self.conclude(state, now, after);
        decided
    }

    /// What every decision ends with.
    fn conclude(self: &Arc<Self>, mut state: MutexGuard<'_, State>, now: Tick, mut after: Afterwards) {
        self.settle(&mut state, now, &mut after);
        drop(state);
        self.afterwards(after);
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

    pub(super) fn afterwards(&self, mut after: Afterwards) {
        // Who is to end does not wait for a disk.
        after.cancel();
        if after.moved {
            self.keep_names();
        }
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
        let event = Event { seq: 0, n, at, source, kind: LoopKind::Recovery, what };
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
