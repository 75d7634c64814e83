//! Many watched services, one thread each.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::config::WatcherConfig;
use super::watcher::Watcher;
use crate::component::{Component, Context, Hosted, Kept, Reporter};
use crate::env::Env;
use crate::error::{BoxError, Error, ErrorKind, Result};
use crate::event::Health;
use crate::looper::StopDeadlines;
use crate::map::Map;
use crate::name::Name;
use crate::primitive::Mutex;
use crate::status::{LoopStatus, StatusSource, aggregate, verdict};
use crate::stop::StopReport;
use crate::subscription::{DEFAULT_CAPACITY, Hub, Subscription};

/// How long a drop waits for threads that no stop has waited for.
const DROP_GRACE: Duration = Duration::from_secs(1);

/// Watches many services under unique names.
///
/// # Threads
///
/// One thread for each service, and two more in all: the watchdog's and, once
/// a callback is made, the dispatcher's. All methods may be called from any
/// thread.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use loopkeeper::{Context, Env, ErrorKind, Health, WatchManager, WatcherConfig};
///
/// let manager = WatchManager::new(&Env::new()?);
/// let db = manager.watch(WatcherConfig::new("db", |_: &Context| Ok(())))?;
/// let again = manager.watch(WatcherConfig::new("db", |_: &Context| Ok(())));
/// assert_eq!(again.unwrap_err().kind(), ErrorKind::Duplicate);
/// assert!(db.wait_ready(Duration::from_secs(5)));
/// assert_eq!(manager.health(), Health::Ready);
/// assert!(manager.stop(Duration::from_secs(1)).is_clean());
/// # Ok::<(), loopkeeper::Error>(())
/// ```
pub struct WatchManager {
    env: Env,
    hub: Arc<Hub>,
    shared: Arc<Shared>,
}

/// What the manager shares with what its watchers tell.
#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// Hears of the health of all together, when the manager is a component.
    /// Taken before `state`, so that of two who tell the later one tells the
    /// truth.
    reporter: Mutex<Option<Reporter>>,
}

#[derive(Default)]
struct State {
    watchers: Map<Name, Arc<Watcher>>,
    /// Those that are not watched any more and may not have ended: a stop of
    /// all waits for them, too.
    leaving: Vec<Leaving>,
    stopped: bool,
    /// A stop is over: subscriptions have ended.
    ended: bool,
}

/// A watcher that is not watched any more.
struct Leaving {
    watcher: Arc<Watcher>,
    /// It was told to end and waited for. Until then it may seem to be one that
    /// somebody has started again.
    is_told: bool,
}

impl State {
    fn all(&self) -> Vec<Arc<Watcher>> {
        let leaving = self.leaving.iter().map(|leaving| &leaving.watcher);
        self.watchers.values().chain(leaving).cloned().collect()
    }
}

impl WatchManager {
    /// Makes a manager without services.
    #[must_use]
    pub fn new(env: &Env) -> Self {
        Self { env: env.clone(), hub: Arc::new(Hub::default()), shared: Arc::default() }
    }

    /// Begins to watch a service.
    ///
    /// # Errors
    ///
    /// `Duplicate` when its name is taken, `InvalidState` after a stop,
    /// `InvalidArgument` when a setting cannot be used, `Spawn` or `Budget`
    /// when there is no thread to be had.
    pub fn watch(&self, config: WatcherConfig) -> Result<Arc<Watcher>> {
        self.sweep();
        if self.get(&config.name).is_some() {
            // Before anything of it exists: its metrics would be the other's.
            return Err(Self::duplicate(&config.name));
        }
        let watcher = Arc::new(Watcher::new_in(&self.env, config, Some(self.hub.clone()))?);
        self.begin(&watcher, None)?;
        Ok(watcher)
    }

    /// Starts a watcher and keeps it, unless its name is another's than
    /// `instead_of`'s.
    fn begin(&self, watcher: &Arc<Watcher>, instead_of: Option<&Arc<Watcher>>) -> Result<()> {
        let name = watcher.name();
        let shared = Arc::downgrade(&self.shared);
        watcher.report_to(Reporter::on_health(move |_| {
            if let Some(shared) = shared.upgrade() {
                shared.report();
            }
        }));
        let mut state = self.shared.state.lock();
        if state.stopped {
            let context = format!("{name}: watch after the manager was stopped");
            return Err(Error::new(ErrorKind::InvalidState).context(context));
        }
        let place = state.watchers.place(name);
        let holder = state.watchers.at(place);
        let is_free = match (holder, instead_of) {
            (None, _) => true,
            (Some(holder), Some(old)) => Arc::ptr_eq(holder, old),
            (Some(_), None) => false,
        };
        if !is_free {
            return Err(Self::duplicate(name.as_str()));
        }
        // Started under the lock: a stop finds it, or it is refused.
        watcher.start_quietly()?;
        let replaced = state.watchers.put(place, name.clone(), watcher.clone());
        state.leaving.extend(replaced.map(|watcher| Leaving { watcher, is_told: true }));
        drop(state);
        watcher.measure();
        self.shared.report();
        Ok(())
    }

    fn duplicate(name: &str) -> Error {
        Error::new(ErrorKind::Duplicate).context(format!("{name}: is watched already"))
    }

    /// Stops watching the service of this name and watches another in its
    /// place; one that is not watched yet is simply watched.
    ///
    /// The new settings are checked before the old watcher is touched, and
    /// the old one goes on when the new one has no thread. The report is the
    /// old watcher's: an old probe that is stuck past `grace` is named there
    /// and holds up nothing.
    ///
    /// # Errors
    ///
    /// As [`watch`](Self::watch), without `Duplicate`.
    pub fn replace(&self, config: WatcherConfig, grace: Duration) -> Result<(Arc<Watcher>, StopReport)> {
        let new = Arc::new(Watcher::new_in(&self.env, config, Some(self.hub.clone()))?);
        let deadlines = StopDeadlines::new(grace);
        let mut report = StopReport::default();
        loop {
            let old = self.get(new.name().as_str());
            if let Some(old) = &old {
                old.cancel();
                report.merge(old.join(deadlines));
            }
            match self.begin(&new, old.as_ref()) {
                Ok(()) => {
                    self.sweep();
                    return Ok((new, report));
                }
                // Another was put in its place meanwhile: that one, then.
                Err(error) if error.kind() == ErrorKind::Duplicate => {}
                Err(error) => {
                    if let Some(old) = old {
                        self.resume(&old);
                    }
                    return Err(error);
                }
            }
        }
    }

    /// Has a watcher go on that was stopped for another, if it is still ours.
    fn resume(&self, old: &Arc<Watcher>) {
        let state = self.shared.state.lock();
        let is_ours = state.watchers.get(old.name()).is_some_and(|holder| Arc::ptr_eq(holder, old));
        // Where it fails, the failure that matters is the new one's.
        if is_ours && !state.stopped && old.start_quietly().is_ok() {
            drop(state);
            old.measure();
        }
    }

    /// Stops watching a service.
    ///
    /// # Errors
    ///
    /// `NotFound` when no service has this name.
    pub fn unwatch(&self, name: &str, grace: Duration) -> Result<StopReport> {
        let watcher = {
            let mut state = self.shared.state.lock();
            let watcher = state.watchers.remove(name);
            state.leaving.extend(watcher.clone().map(|watcher| Leaving { watcher, is_told: false }));
            watcher
        };
        let Some(watcher) = watcher else {
            return Err(Error::new(ErrorKind::NotFound).context(format!("{name}: is not watched")));
        };
        self.shared.report();
        Ok(self.see_off(&watcher, grace))
    }

    /// Stops one that is leaving.
    fn see_off(&self, watcher: &Arc<Watcher>, grace: Duration) -> StopReport {
        let report = watcher.stop(grace);
        let mut state = self.shared.state.lock();
        let its = state.leaving.iter_mut().find(|leaving| Arc::ptr_eq(&leaving.watcher, watcher));
        its.into_iter().for_each(|leaving| leaving.is_told = true);
        drop(state);
        self.sweep();
        report
    }

    /// Lets go of those that have ended since they were told to, or that
    /// somebody has started again by themselves.
    fn sweep(&self) {
        let told: Vec<Arc<Watcher>> = {
            let state = self.shared.state.lock();
            let told = state.leaving.iter().filter(|leaving| leaving.is_told);
            told.map(|leaving| leaving.watcher.clone()).collect()
        };
        let has_left = |watcher: &Arc<Watcher>| watcher.has_ended() || watcher.is_running();
        let left: Vec<Arc<Watcher>> = told.into_iter().filter(has_left).collect();
        if left.is_empty() {
            return;
        }
        let is_left = |leaving: &Leaving| left.iter().any(|left| Arc::ptr_eq(left, &leaving.watcher));
        self.shared.state.lock().leaving.retain(|leaving| !is_left(leaving));
        // Dropped without the lock: what a watcher holds is the user's.
    }

    /// The same for one very watcher: another that took its place is not
    /// touched.
    ///
    /// # Errors
    ///
    /// `Stale` when it is no longer this manager's.
    pub fn unwatch_one(&self, watcher: &Arc<Watcher>, grace: Duration) -> Result<StopReport> {
        {
            let mut state = self.shared.state.lock();
            let is_ours = state.watchers.get(watcher.name()).is_some_and(|ours| Arc::ptr_eq(ours, watcher));
            if !is_ours {
                let context = format!("{}: is not watched any more", watcher.name());
                return Err(Error::new(ErrorKind::Stale).context(context));
            }
            let ours = state.watchers.remove(watcher.name());
            state.leaving.extend(ours.map(|watcher| Leaving { watcher, is_told: false }));
        }
        self.shared.report();
        Ok(self.see_off(watcher, grace))
    }

    /// The watcher of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Arc<Watcher>> {
        self.shared.state.lock().watchers.get(name).cloned()
    }

    /// A snapshot of each service, by name.
    #[must_use]
    pub fn status(&self) -> BTreeMap<Name, LoopStatus> {
        crate::order::map(self.watchers().iter().map(|watcher| (watcher.name().clone(), watcher.status())))
    }

    /// All services together: down while a critical one is down or unknown,
    /// degraded while another one is, else ready.
    #[must_use]
    pub fn health(&self) -> Health {
        aggregate(&self.statuses())
    }

    /// Probes a service now.
    ///
    /// # Errors
    ///
    /// `NotFound` when no service has this name.
    pub fn trigger(&self, name: &str) -> Result<()> {
        match self.get(name) {
            Some(watcher) => {
                watcher.trigger();
                Ok(())
            }
            None => Err(Error::new(ErrorKind::NotFound).context(format!("{name}: is not watched"))),
        }
    }

    /// Hears of every event of every service, from now on and also of those
    /// watched later, through a queue of 256 that loses the oldest. Ends when
    /// the manager is stopped.
    pub fn subscribe(&self) -> Subscription {
        let subscription = self.hub.subscribe(DEFAULT_CAPACITY);
        // Looked at afterwards: a stop either sees the newcomer, or is seen.
        if self.shared.state.lock().ended {
            self.hub.close();
        }
        subscription
    }

    /// Stops watching all services, together: each sees its cancel at once,
    /// and `grace` is for all of them, also for those that were unwatched or
    /// replaced and are stuck. Nothing can be watched afterwards.
    ///
    /// See [`Watcher::stop`] for what holds after this returns.
    pub fn stop(&self, grace: Duration) -> StopReport {
        let report = self.end(grace);
        self.shared.state.lock().ended = true;
        self.hub.close();
        report
    }

    /// This manager as a component, for those who keep it, too.
    pub fn component(self: &Arc<Self>) -> impl Component + use<> {
        Kept(self.clone())
    }

    fn end(&self, grace: Duration) -> StopReport {
        let deadlines = StopDeadlines::new(grace);
        self.sweep();
        let watchers = {
            let mut state = self.shared.state.lock();
            state.stopped = true;
            state.all()
        };
        for watcher in &watchers {
            watcher.cancel();
        }
        let mut report = StopReport::default();
        for watcher in &watchers {
            report.merge(watcher.join(deadlines));
        }
        self.sweep();
        report
    }

    fn watchers(&self) -> Vec<Arc<Watcher>> {
        self.shared.state.lock().watchers.values().cloned().collect()
    }
}

impl Shared {
    fn statuses(&self) -> Vec<LoopStatus> {
        let watchers: Vec<_> = self.state.lock().watchers.values().cloned().collect();
        // One look at the clock for all: two each would be a fifth of it.
        let Some(env) = watchers.first().map(|watcher| watcher.env()) else { return Vec::new() };
        let (now, wall) = (env.clock().now(), env.stamp());
        watchers.iter().map(|watcher| watcher.status_at(now, wall)).collect()
    }

    /// Tells the present health of all together.
    fn report(&self) {
        let reporter = self.reporter.lock();
        if let Some(reporter) = &*reporter {
            reporter.set_health(verdict(&self.statuses()));
        }
    }
}

#[cfg(feature = "capi")]
impl WatchManager {
    /// Whether the caller is in a call or callback of one of them.
    pub(crate) fn is_own_call(&self) -> bool {
        let all = self.shared.state.lock().all();
        all.iter().any(|one| one.is_own_call())
    }
}

impl Hosted for WatchManager {
    /// Begins as a component: watches all again that were watched before the
    /// stop.
    fn start_hosted(&self, cx: &Context) -> Result<()> {
        *self.shared.reporter.lock() = Some(cx.reporter().clone());
        let mut begun = Vec::new();
        let started = {
            let mut state = self.shared.state.lock();
            let idle = state.watchers.values().filter(|watcher| !watcher.is_running());
            let started: Result<()> = idle.cloned().try_for_each(|watcher| {
                watcher.start_quietly()?;
                begun.push(watcher);
                Ok(())
            });
            if started.is_ok() {
                (state.stopped, state.ended) = (false, false);
            }
            started
        };
        begun.iter().for_each(|watcher| watcher.measure());
        started?;
        self.shared.report();
        Ok(())
    }

    fn stop_hosted(&self, cx: &Context) -> std::result::Result<(), BoxError> {
        // Who listens goes on listening: it may be started again.
        self.end(cx.remaining()).into_result()
    }
}

/// Up after the first verdict about all; ready while they are, together.
impl Component for WatchManager {
    fn start(&mut self, cx: &Context) -> std::result::Result<(), BoxError> {
        Ok(self.start_hosted(cx)?)
    }

    fn stop(&mut self, cx: &Context) -> std::result::Result<(), BoxError> {
        self.stop_hosted(cx)
    }
}

impl StatusSource for WatchManager {
    fn statuses(&self) -> Vec<LoopStatus> {
        self.sweep();
        self.shared.statuses()
    }
}

impl Drop for WatchManager {
    fn drop(&mut self) {
        let was_waited_for = self.shared.state.lock().all().iter().all(|one| one.was_waited_for());
        let grace = if was_waited_for { Duration::ZERO } else { DROP_GRACE };
        let _ = Self::stop(self, grace);
    }
}

impl fmt::Debug for WatchManager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WatchManager")
            .field("watchers", &self.shared.state.lock().watchers.keys().collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}
