//! What loops share: clock, watchdog, dispatcher, observer, thread budget and
//! the event log. No globals: two environments in one process do not notice
//! each other.

mod config;
mod heartbeats;
mod listed;
#[cfg(feature = "prometheus")]
mod metrics;
mod pulse;

use std::any::Any;
use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::{BuildHasher, Hasher};
use std::sync::{Arc, Weak};
use std::time::Duration;

pub use self::config::EnvConfig;
use self::listed::Register;
#[cfg(feature = "capi")]
pub(crate) use self::listed::See;
pub(crate) use self::listed::{Listed, RecoveryAct};
use self::pulse::Heartbeat;
pub(crate) use self::pulse::Pulse;
use crate::clock::{Clock, ManualClock};
use crate::decode::meant;
use crate::dispatch::Dispatcher;
use crate::duration::Shown;
use crate::error::{Error, ErrorKind, Result};
use crate::event_log::{EventLog, EventPage};
use crate::map::Map;
use crate::name::Name;
use crate::observe::Observer;
use crate::primitive::Mutex;
use crate::stamp::Stamp;
#[cfg(feature = "capi")]
use crate::status::StatusView;
use crate::status::{LoopStatus, StatusSource, sort};
use crate::subscription::Subscription;
use crate::thread::{Budget, STACK_SIZE};
use crate::watchdog::Watchdog;

/// What loops share. Cloning is cheap and shares it.
///
/// The watchdog's thread starts with the environment, the dispatcher's with
/// the first callback. Both end when the last clone is dropped, so keep one
/// or let the loops keep theirs.
#[derive(Clone)]
pub struct Env(Arc<Inner>);

struct Inner {
    clock: Clock,
    watchdog: Arc<Watchdog>,
    dispatcher: Dispatcher,
    observer: Observer,
    budget: Arc<Budget>,
    events: EventLog,
    loops: Mutex<Register>,
    heartbeats: Mutex<Map<Name, Box<Heartbeat>>>,
    /// What parts keep once for all of it, one of each type.
    shared: Mutex<Vec<Arc<dyn Any + Send + Sync>>>,
    stack_size: usize,
    spread: bool,
    seed: u64,
    boot: String,
    #[cfg(feature = "http-client")]
    agents: [std::sync::OnceLock<ureq::Agent>; AGENTS],
}

/// How many HTTP agents all loops share.
#[cfg(feature = "http-client")]
pub(crate) const AGENTS: usize = 8;

impl Env {
    /// Makes an environment with default settings.
    ///
    /// # Errors
    ///
    /// `Spawn` or `Budget` when the watchdog's thread cannot be made.
    pub fn new() -> Result<Self> {
        Self::with(EnvConfig::default())
    }

    /// Makes an environment for tests: time is the manual clock's, regular
    /// runs are not spread, jitter has a fixed seed.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub fn manual(clock: &ManualClock) -> Result<Self> {
        Self::with(EnvConfig::default().clock(clock).spread(false).seed(0))
    }

    /// Makes an environment.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub fn with(config: EnvConfig) -> Result<Self> {
        let EnvConfig { clock, observer, stack_size, spread, seed } = config;
        let budget = Arc::new(Budget::default());
        let shared = stack_size.max(STACK_SIZE);
        let watchdog = Arc::new(Watchdog::start(&clock, &budget, shared)?);
        let dispatcher = Dispatcher::new(&clock, watchdog.clone(), budget.clone(), shared);
        let seed = seed.unwrap_or_else(|| Stamp::from(clock.wall()).as_micros());
        Ok(Self(Arc::new(Inner {
            clock,
            watchdog,
            dispatcher,
            observer,
            budget,
            events: EventLog::default(),
            loops: Mutex::default(),
            heartbeats: Mutex::default(),
            shared: Mutex::default(),
            stack_size,
            spread,
            seed,
            boot: Self::word(),
            #[cfg(feature = "http-client")]
            agents: [const { std::sync::OnceLock::new() }; AGENTS],
        })))
    }

    /// The clock.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.0.clock
    }

    /// The observer.
    #[must_use]
    pub fn observer(&self) -> &Observer {
        &self.0.observer
    }

    /// Up to `max` of the events with numbers above `seq`, oldest first. The
    /// last 4,096 events are kept.
    #[must_use]
    pub fn events_after(&self, seq: u64, max: usize) -> EventPage {
        self.0.events.after(seq, max)
    }

    /// Hears of every event of every source from now on, in the order of
    /// their numbers, through a queue of 256 that loses the oldest when nobody
    /// reads. Ends with the environment.
    pub fn subscribe(&self) -> Subscription {
        self.0.events.subscribe()
    }

    /// Every loop that runs at this moment, by kind and name.
    #[must_use]
    pub fn statuses(&self) -> Vec<LoopStatus> {
        let (mut running, _) = self.loops();
        sort(&mut running);
        running
    }

    /// Has the loops of this name make their next run now; during a call,
    /// right after it.
    ///
    /// # Errors
    ///
    /// `NotFound` when no loop that runs has the name; the text says which
    /// ones there are.
    pub fn trigger(&self, name: &str) -> Result<()> {
        let loops = self.listed();
        let named = loops.iter().filter(|listed| listed.name().as_str() == name);
        if named.filter(|listed| listed.trigger()).count() > 0 {
            return Ok(());
        }
        Err(self.unknown(name))
    }

    fn unknown(&self, name: &str) -> Error {
        let running = self.statuses();
        let mut names: Vec<&str> = running.iter().map(|status| status.name.as_str()).collect();
        // Loops of different kinds may share one.
        crate::order::sort(&mut names);
        names.dedup();
        let known = if names.is_empty() { "none runs".to_owned() } else { meant(name, &names) };
        let text = format!("no loop that runs is called {}, {known}", Shown(name));
        Error::new(ErrorKind::NotFound).context(text)
    }

    /// Ends the recovery of a run, in whatever monitor or executor it is. A
    /// run is known by its present name and by its first.
    ///
    /// # Errors
    ///
    /// `NotFound` when it is being recovered by none that runs; the text says
    /// which runs are.
    pub fn cancel_recovery(&self, run: &str) -> Result<()> {
        self.recovery(RecoveryAct::Cancel, run)
    }

    /// Has a run tried again now, in whatever monitor or executor it is: one
    /// that waits for its next attempt, or one that was given up.
    ///
    /// # Errors
    ///
    /// `NotFound` when it is being recovered by none that runs; `InvalidState`
    /// when there is nothing to try again.
    pub fn retry_recovery(&self, run: &str) -> Result<()> {
        self.recovery(RecoveryAct::Retry, run)
    }

    fn recovery(&self, act: RecoveryAct, run: &str) -> Result<()> {
        let mut refused = None;
        let mut is_done = false;
        let (now, wall) = (self.0.clock.now(), self.stamp());
        for listed in self.listed().into_iter().filter(|listed| listed.status_at(now, wall).0) {
            match listed.recovery(act, run) {
                None => {}
                Some(Ok(())) => is_done = true,
                Some(Err(error)) if error.kind() == ErrorKind::NotFound => {}
                Some(Err(error)) => refused = Some(error),
            }
        }
        if is_done {
            return Ok(());
        }
        if let Some(error) = refused {
            return Err(error);
        }
        let statuses = self.statuses();
        let incidents = statuses.iter().filter_map(|status| status.recovery.as_ref());
        let mut runs: Vec<&str> = incidents
            .flat_map(|recovery| &recovery.incidents)
            .map(|incident| incident.run.as_str())
            .collect();
        crate::order::sort(&mut runs);
        runs.dedup();
        let known = if runs.is_empty() { "none is".to_owned() } else { meant(run, &runs) };
        let text = format!("no run that is being recovered is called {}, {known}", Shown(run));
        Err(Error::new(ErrorKind::NotFound).context(text))
    }

    /// A word that no other environment has, of this or of any process. Event
    /// numbers can be compared under one word only.
    #[must_use]
    pub fn boot(&self) -> &str {
        &self.0.boot
    }

    /// How many panics of callbacks were caught.
    #[must_use]
    pub fn callback_panics(&self) -> u64 {
        self.0.dispatcher.panics()
    }

    /// How many dispatcher threads were retired because a callback ran longer
    /// than ten seconds.
    #[must_use]
    pub fn retired_dispatchers(&self) -> u64 {
        self.0.dispatcher.retired()
    }

    /// Which of the environment's own threads does not do its work, if one
    /// does not, and for how long: `watchdog` or `dispatcher`. What runs too
    /// long inside of a call is not meant; the watchdog tells that.
    #[must_use]
    pub fn stalled(&self) -> Option<(&'static str, Duration)> {
        // A callback may take ten seconds before its thread is replaced.
        const LIMITS: [Duration; 2] = [Duration::from_secs(5), Duration::from_secs(25)];
        let now = self.0.clock.now();
        let late =
            [("watchdog", self.0.watchdog.late_by(now)), ("dispatcher", self.0.dispatcher.late_by(now))];
        late.into_iter().zip(LIMITS).find(|((_, late_by), limit)| late_by > limit).map(|(late, _)| late)
    }

    /// The loops that run and those that do not, in the order in which they
    /// were made.
    pub(crate) fn loops(&self) -> (Vec<LoopStatus>, Vec<LoopStatus>) {
        let loops = self.listed();
        let (now, wall) = (self.0.clock.now(), self.stamp());
        let (mut running, mut at_rest) = (Vec::with_capacity(loops.len()), Vec::new());
        for listed in loops {
            let (is_running, status) = listed.status_at(now, wall);
            let group = if is_running { &mut running } else { &mut at_rest };
            group.push(status);
        }
        (running, at_rest)
    }

    /// Has somebody see every loop that runs at this moment, by kind and name.
    #[cfg(feature = "capi")]
    pub(crate) fn view(&self, see: &mut dyn FnMut(&StatusView<'_>)) {
        let mut loops = self.listed();
        crate::order::sort_by(&mut loops, |a, b| {
            (a.kind().as_str(), a.name()).cmp(&(b.kind().as_str(), b.name()))
        });
        let (now, wall) = (self.0.clock.now(), self.stamp());
        for listed in loops {
            listed.view_at(now, wall, &mut |is_running, view| {
                if is_running {
                    see(view);
                }
            });
        }
    }

    /// How late each loop is that runs.
    #[cfg_attr(not(feature = "prometheus"), allow(dead_code, reason = "an exporter asks"))]
    pub(crate) fn overdue(&self, mut each: impl FnMut(&Name, Duration)) {
        let now = self.0.clock.now();
        for listed in self.listed() {
            if let Some(overdue) = listed.overdue(now) {
                each(listed.name(), overdue);
            }
        }
    }

    fn listed(&self) -> Vec<Arc<dyn Listed>> {
        self.0.loops.lock().all()
    }

    /// Lists a loop for as long as there is one.
    pub(crate) fn list(&self, listed: Weak<dyn Listed>) {
        self.0.loops.lock().add(listed);
    }

    pub(crate) fn watchdog(&self) -> &Watchdog {
        &self.0.watchdog
    }

    pub(crate) fn dispatcher(&self) -> &Dispatcher {
        &self.0.dispatcher
    }

    pub(crate) fn budget(&self) -> &Budget {
        &self.0.budget
    }

    pub(crate) fn events(&self) -> &EventLog {
        &self.0.events
    }

    /// The only `T` of this environment, made when it is first asked for: what
    /// those who build on it keep for all of their own.
    pub(crate) fn shared<T: Default + Send + Sync + 'static>(&self) -> Arc<T> {
        let mut shared = self.0.shared.lock();
        let known = shared.iter().find_map(|any| any.clone().downcast().ok());
        known.unwrap_or_else(|| {
            let new = Arc::new(T::default());
            shared.push(new.clone());
            new
        })
    }

    pub(crate) fn stack_size(&self) -> usize {
        self.0.stack_size
    }

    /// The stack of a thread that is there once for all: callbacks run on it,
    /// or an observer's, beside code of ours, whose room is never less.
    pub(crate) fn shared_stack_size(&self) -> usize {
        self.0.stack_size.max(STACK_SIZE)
    }

    pub(crate) fn spreads(&self) -> bool {
        self.0.spread
    }

    pub(crate) fn seed(&self) -> u64 {
        self.0.seed
    }

    /// A word that nobody else has, of this or of any process.
    pub(crate) fn word() -> String {
        format!("{:016x}", RandomState::new().build_hasher().finish())
    }

    /// After which number an owner begins to number what it has, so that no
    /// other of the process has the same numbers.
    pub(crate) fn first_number() -> u64 {
        static OWNERS: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
        // A trillion for each.
        OWNERS.fetch_add(1, std::sync::atomic::Ordering::Relaxed) << 40
    }

    pub(crate) fn stamp(&self) -> Stamp {
        Stamp::from(self.0.clock.wall())
    }

    /// The HTTP agent of this thread, of the few that all loops share: one for
    /// each would cost 26 KiB, and of a single one threads that ask at once
    /// would take each other's connections, whose other ends are warm on
    /// another core.
    #[cfg(feature = "http-client")]
    pub(crate) fn agent(&self, make: impl FnOnce() -> ureq::Agent) -> &ureq::Agent {
        self.0.agents[crate::thread::number() % AGENTS].get_or_init(make)
    }
}

impl StatusSource for Env {
    fn statuses(&self) -> Vec<LoopStatus> {
        Self::statuses(self)
    }
}

impl fmt::Debug for Env {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Env")
            .field("clock", &self.0.clock)
            .field("observer", &self.0.observer)
            .finish_non_exhaustive()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.dispatcher.stop();
        self.watchdog.stop();
    }
}
