//! What loops share: clock, watchdog, dispatcher, observer, thread budget and
//! the event log. No globals: two environments in one process do not notice
//! each other.

#[cfg(feature = "prometheus")]
mod metrics;

use std::any::Any;
use std::collections::BTreeSet;
use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::{BuildHasher, Hasher};
use std::sync::{Arc, Weak};
use std::time::Duration;

use crate::clock::{Clock, ManualClock, Tick};
use crate::decode::meant;
use crate::dispatch::Dispatcher;
use crate::duration::Shown;
use crate::error::{Error, ErrorKind, Result};
use crate::event::LoopKind;
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
use crate::text::line;
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

/// Fewer heartbeats than this are kept, whoever waits for them.
const MANY_HEARTBEATS: usize = 64;
/// So many of those who wait are named to one who means another.
const NAMED_HEARTBEATS: usize = 8;

/// Sees whether a loop runs and how it is: under its lock, so calls nobody.
#[cfg(feature = "capi")]
pub(crate) type See<'a> = &'a mut dyn FnMut(bool, &StatusView<'_>);

/// A loop, as its environment lists it.
pub(crate) trait Listed: Send + Sync {
    /// Whether it was started and not told to end, and how it is at a moment.
    fn status_at(&self, now: Tick, wall: Stamp) -> (bool, LoopStatus);
    /// The same for one who copies what there is to see.
    #[cfg(feature = "capi")]
    fn view_at(&self, now: Tick, wall: Stamp, see: See<'_>) {
        let (is_running, status) = self.status_at(now, wall);
        see(is_running, &status.view());
    }
    #[cfg(feature = "capi")]
    fn kind(&self) -> LoopKind;
    /// How late it is, if it runs.
    #[cfg_attr(not(feature = "prometheus"), allow(dead_code, reason = "an exporter asks"))]
    fn overdue(&self, now: Tick) -> Option<Duration>;
    fn name(&self) -> &Name;
    /// Has the next run made now, if it runs; says whether it does.
    fn trigger(&self) -> bool;
    /// Acts on the recovery of a run; `None` from what recovers nothing.
    fn recovery(self: Arc<Self>, _act: RecoveryAct, _run: &str) -> Option<Result<()>> {
        None
    }
}

/// What may be done about the recovery of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RecoveryAct {
    Cancel,
    Retry,
}

/// Every loop that was made, and not dropped yet.
#[derive(Default)]
struct Register {
    loops: Vec<Weak<dyn Listed>>,
    /// How many there may be before those that are gone are taken out.
    limit: usize,
}

/// What is known of one who says again and again that it is alive.
#[derive(Debug, Default)]
struct Heartbeat {
    last: Option<Tick>,
    /// Why it says that it is down, until its next beat.
    down: Option<Arc<str>>,
    /// Its watcher found it silent and wants to hear of the next at once.
    is_awaited: bool,
    /// There while somebody asks about it.
    asker: Weak<()>,
}

/// What is known of heartbeats under one name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Pulse {
    /// The last was so long ago.
    Last(Duration),
    /// The last said that it is down.
    Down(Arc<str>),
    /// There was none.
    None,
}

/// Settings of an [`Env`].
#[derive(Debug, Clone)]
#[must_use = "settings do nothing until an environment is made from them"]
pub struct EnvConfig {
    clock: Clock,
    observer: Observer,
    stack_size: usize,
    spread: bool,
    seed: Option<u64>,
}

impl Default for EnvConfig {
    fn default() -> Self {
        Self {
            clock: Clock::system(),
            observer: Observer::default(),
            stack_size: STACK_SIZE,
            spread: true,
            seed: None,
        }
    }
}

impl EnvConfig {
    /// The clock. Defaults to the system's.
    pub fn clock(mut self, clock: impl Into<Clock>) -> Self {
        self.clock = clock.into();
        self
    }

    /// Who hears of events, spans and metrics. Defaults to an inert observer.
    pub fn observer(mut self, observer: Observer) -> Self {
        self.observer = observer;
        self
    }

    /// The stack of each loop's thread, in bytes. Only pages that are touched
    /// take memory. Raise it for probes that need more, such as TLS in debug
    /// builds. Defaults to 256 KiB.
    pub fn stack_size(mut self, bytes: usize) -> Self {
        self.stack_size = bytes;
        self
    }

    /// Whether regular runs are spread over their interval by a hash of the
    /// loop's name, from the second on, so that many loops do not all run at
    /// one moment. Defaults to true, and to false with a manual clock.
    pub fn spread(mut self, spread: bool) -> Self {
        self.spread = spread;
        self
    }

    /// The seed of all jitter. Defaults to one from the system's clock, and
    /// to zero with a manual clock.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }
}

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
        let watchdog = Arc::new(Watchdog::start(&clock, &budget)?);
        let dispatcher = Dispatcher::new(&clock, watchdog.clone(), budget.clone());
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

    /// Says that `name` is alive: what the [`heartbeat`](crate::probe::heartbeat)
    /// probe of the watcher or checker of this name waits for. Takes no longer
    /// than a lock; a watcher that found it silent probes at once.
    ///
    /// # Errors
    ///
    /// `NotFound` when no loop has the name, or the one that has it waits for
    /// no heartbeat; the text says which ones there are.
    pub fn heartbeat(&self, name: &str) -> Result<()> {
        self.beat(name, None)
    }

    /// Says that `name` is down, and why: its watcher probes and turns down at
    /// once, whatever its grace and thresholds, and stays down until the next
    /// [`heartbeat`](Self::heartbeat). The reason is shown as one line, cut at
    /// 900 bytes.
    ///
    /// # Errors
    ///
    /// As [`heartbeat`](Self::heartbeat).
    pub fn heartbeat_down(&self, name: &str, reason: &str) -> Result<()> {
        self.beat(name, Some(line(reason, 900).into()))
    }

    fn beat(&self, name: &str, down: Option<Arc<str>>) -> Result<()> {
        let now = self.0.clock.now();
        let known = self.0.heartbeats.lock().get_mut(name).and_then(|heartbeat| {
            // One that nobody asks any more is looked for among the loops.
            (heartbeat.asker.strong_count() > 0).then(|| heartbeat.beat(now, &down))
        });
        let is_awaited = match known {
            Some(is_awaited) => is_awaited,
            None => {
                let listed = self.listed();
                let named = || listed.iter().filter(|listed| listed.name().as_str() == name);
                // A watcher says what it waits for when it is first asked, at
                // the beginning of that call.
                let may_wait = |status: &LoopStatus| {
                    let is_new = status.last_check.is_none()
                        && status.running_for.is_none_or(|time| time < Duration::from_secs(1));
                    status.kind == LoopKind::Watcher && is_new
                };
                let wall = self.stamp();
                let known = named().find(|listed| may_wait(&listed.status_at(now, wall).1));
                let mut heartbeats = self.0.heartbeats.lock();
                let is_asked =
                    heartbeats.get(name).is_some_and(|heartbeat| heartbeat.asker.strong_count() > 0);
                let Some(known) = known.or_else(|| named().next().filter(|_| is_asked)) else {
                    if !is_asked {
                        // Who takes this name later begins afresh.
                        heartbeats.remove(name);
                    }
                    drop(heartbeats);
                    let found = named().next().map(|listed| listed.status_at(now, wall).1.kind);
                    return Err(found.map_or_else(|| self.unknown(name), |kind| self.unawaited(name, kind)));
                };
                // Of those who are gone nothing is kept.
                heartbeats.retain(|name, heartbeat| {
                    heartbeat.asker.strong_count() > 0 || listed.iter().any(|listed| listed.name() == name)
                });
                heartbeats.get_or_default(known.name().clone()).beat(now, &down)
            }
        };
        if is_awaited {
            let loops = self.listed();
            loops.iter().filter(|listed| listed.name().as_str() == name).for_each(|listed| {
                listed.trigger();
            });
        }
        Ok(())
    }

    /// What is known of the heartbeats under a name; notes that the next is
    /// awaited where the last is longer ago than `grace`, or says down. Kept
    /// while there is the `asker`.
    pub(crate) fn pulse(&self, name: &Name, grace: Duration, asker: &Arc<()>) -> Pulse {
        let now = self.0.clock.now();
        let mut heartbeats = self.0.heartbeats.lock();
        if heartbeats.len() >= MANY_HEARTBEATS && !heartbeats.contains_key(name) {
            // Of those who are gone nothing is kept for long.
            heartbeats.retain(|_, heartbeat| {
                let is_recent = |last: Tick| now.since(last) < Duration::from_secs(3600);
                heartbeat.asker.strong_count() > 0 || heartbeat.last.is_some_and(is_recent)
            });
        }
        let heartbeat = heartbeats.get_or_default(name.clone());
        if heartbeat.asker.as_ptr() != Arc::as_ptr(asker) {
            heartbeat.asker = Arc::downgrade(asker);
        }
        let pulse = match (&heartbeat.down, heartbeat.last) {
            (Some(reason), _) => Pulse::Down(reason.clone()),
            (None, Some(last)) => Pulse::Last(now.since(last)),
            (None, None) => Pulse::None,
        };
        heartbeat.is_awaited = !matches!(pulse, Pulse::Last(age) if age <= grace);
        pulse
    }

    /// Under which names somebody waits for heartbeats.
    pub(crate) fn awaited_heartbeats(&self) -> BTreeSet<Name> {
        let heartbeats = self.0.heartbeats.lock();
        let awaited = heartbeats.iter().filter(|(_, heartbeat)| heartbeat.asker.strong_count() > 0);
        crate::order::set(awaited.map(|(name, _)| name.clone()))
    }

    fn unawaited(&self, name: &str, kind: LoopKind) -> Error {
        let awaited = self.awaited_heartbeats();
        let names: Vec<&str> = awaited.iter().take(NAMED_HEARTBEATS).map(Name::as_str).collect();
        let others = match awaited.len() - names.len() {
            _ if names.is_empty() => "none does".to_owned(),
            0 => format!("these do: {}", names.join(", ")),
            n => format!("these do: {} and {n} more", names.join(", ")),
        };
        let text = format!("{name} ({kind}) waits for no heartbeat; {others}");
        Error::new(ErrorKind::NotFound).context(text)
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
        self.0.loops.lock().loops.iter().filter_map(Weak::upgrade).collect()
    }

    /// Lists a loop for as long as there is one.
    pub(crate) fn list(&self, listed: Weak<dyn Listed>) {
        let mut register = self.0.loops.lock();
        if register.loops.len() >= register.limit {
            register.loops.retain(|listed| listed.strong_count() > 0);
            register.limit = 2 * register.loops.len() + 16;
        }
        register.loops.push(listed);
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

impl Heartbeat {
    /// Notes one; says whether it is news to who asks.
    #[allow(clippy::ref_option, reason = "as it is kept")]
    fn beat(&mut self, now: Tick, down: &Option<Arc<str>>) -> bool {
        let is_turn = self.down != *down;
        self.down.clone_from(down);
        self.last = Some(now);
        std::mem::take(&mut self.is_awaited) && down.is_none() || is_turn
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.dispatcher.stop();
        self.watchdog.stop();
    }
}
