//! Many controllers, one thread each.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::Controller;
use super::config::{ControllerConfig, ControllerManagerConfig};
use super::reconciler::{Managed, Reconciler};
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
use crate::thread::caught;

/// Runs many controllers under unique names, apart from each other: one that
/// fails, panics or hangs disturbs no other.
///
/// Controllers may be registered and removed at any time, also while the
/// others run. What was stopped may be started again.
///
/// # Threads
///
/// One thread for each controller, `ctl/<name>`, and two more in all: the
/// watchdog's and, where an observer hears of events, the dispatcher's. All
/// methods may be called from any thread and from controllers; one that stops
/// or removes itself is only cancelled, and the report has an `InvalidState`.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use loopkeeper::controller::Outcome;
/// use loopkeeper::{
///     Context, ControllerConfig, ControllerManager, ControllerManagerConfig, ErrorKind, EventKind,
/// };
///
/// let manager = ControllerManager::new(ControllerManagerConfig::default())?;
/// let leases = |_: &Context| Ok(Outcome::processed(3));
/// manager.register(ControllerConfig::new("leases").interval(Duration::from_secs(30)), leases)?;
/// let again = manager.register(ControllerConfig::new("leases"), leases);
/// assert_eq!(again.unwrap_err().kind(), ErrorKind::Duplicate);
///
/// let events = manager.subscribe();
/// manager.start()?;
/// let done = |kind: &EventKind| matches!(kind, EventKind::Reconciled { items: 3, .. });
/// assert!(events.iter().any(|delivery| done(&delivery.event.what)));
/// manager.trigger("leases")?;
/// manager.pause("leases")?;
/// println!("{}", manager.status()["leases"]);
///
/// let report = manager.stop(Duration::from_secs(10));
/// assert!(report.is_clean(), "{report}");
/// # Ok::<(), loopkeeper::Error>(())
/// ```
pub struct ControllerManager {
    env: Env,
    hub: Arc<Hub>,
    shared: Arc<Shared>,
    config: ControllerManagerConfig,
}

/// What the manager shares with what its controllers tell.
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
    controllers: Map<Name, Arc<Reconciler>>,
    /// Those that were removed and have not ended: their names are not free,
    /// or two of one name could be at work.
    leaving: Vec<Arc<Reconciler>>,
    started: bool,
    /// How many stops are on their way.
    stops: u32,
}

impl State {
    fn all(&self) -> Vec<Arc<Reconciler>> {
        self.controllers.values().chain(&self.leaving).cloned().collect()
    }

    /// Forgets who has left. Dropped by the caller, with the lock released:
    /// a controller is the user's.
    #[must_use = "dropped with the lock released"]
    fn take_ended(&mut self) -> Vec<Arc<Reconciler>> {
        let (ended, leaving) = self.leaving.drain(..).partition(|reconciler| reconciler.has_ended());
        self.leaving = leaving;
        ended
    }
}

impl ControllerManager {
    /// Makes a manager without controllers.
    ///
    /// # Errors
    ///
    /// `Spawn` or `Budget` when it needs an environment of its own and there
    /// is no thread to be had.
    pub fn new(config: ControllerManagerConfig) -> Result<Self> {
        let env = config.make_env()?;
        Ok(Self { env, hub: Arc::new(Hub::default()), shared: Arc::default(), config })
    }

    /// Adds a controller. It is started with the others; at once, if they run
    /// already.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` when a setting cannot be used, `Duplicate` when the
    /// name is taken, `InvalidState` while the manager is being stopped or
    /// while a removed controller of this name is still at work, `Spawn` or
    /// `Budget` when there is no thread to be had.
    pub fn register(&self, config: ControllerConfig, controller: impl Controller + 'static) -> Result<()> {
        // Before anything of it exists: its metrics would be the other's.
        self.check_free(&self.shared.state.lock(), &config.name)?;
        let config = if self.config.dry_run { config.dry_run() } else { config };
        let managed = Managed { cancel: self.config.cancel.clone(), hub: self.hub.clone() };
        let reconciler =
            Arc::new(Reconciler::new_in(&self.env, config, Box::new(controller), Some(managed))?);
        let shared = Arc::downgrade(&self.shared);
        reconciler.report_to(Reporter::on_health(move |_| {
            if let Some(shared) = shared.upgrade() {
                shared.report();
            }
        }));
        let ended = self.shared.state.lock().take_ended();
        // Whatever comes of it is no matter of this one's.
        let_go(ended, &mut StopReport::default());
        let mut state = self.shared.state.lock();
        self.check_free(&state, reconciler.name().as_str())?;
        if state.started {
            // Under the lock: a stop finds it, or it is refused.
            reconciler.start_quietly()?;
        }
        let is_on = state.started;
        state.controllers.insert(reconciler.name().clone(), reconciler.clone());
        drop(state);
        if is_on {
            reconciler.measure();
        }
        self.shared.report();
        Ok(())
    }

    fn check_free(&self, state: &State, name: &str) -> Result<()> {
        if state.stops > 0 {
            return Err(invalid(format!("{name}: register while the manager is being stopped")));
        }
        if state.controllers.contains_key(name) {
            return Err(Error::new(ErrorKind::Duplicate).context(format!("{name}: is registered already")));
        }
        let is_leaving =
            |reconciler: &Arc<Reconciler>| reconciler.name().as_str() == name && !reconciler.has_ended();
        if state.leaving.iter().any(is_leaving) {
            return Err(invalid(format!("{name}: register while the removed one is still at work")));
        }
        Ok(())
    }

    /// Stops a controller and takes it out. Its name is free when it has
    /// ended: at once, if the report is clean. It is dropped here, for as long
    /// as that takes; a panic of that is in the report.
    ///
    /// # Errors
    ///
    /// `NotFound` when no controller has this name.
    pub fn remove(&self, name: &str, grace: Duration) -> Result<StopReport> {
        let mut state = self.shared.state.lock();
        let reconciler = state.controllers.remove(name).ok_or_else(|| not_found(name))?;
        state.leaving.push(reconciler.clone());
        drop(state);
        self.shared.report();
        let mut report = reconciler.stop(grace);
        drop(reconciler);
        let ended = self.shared.state.lock().take_ended();
        let_go(ended, &mut report);
        Ok(report)
    }

    /// Starts all controllers, each with a run at once.
    ///
    /// # Errors
    ///
    /// `InvalidState` when it runs already, is being stopped, or when a run
    /// of before a stop is still stuck; `Cancelled` when the token that ends
    /// it is cancelled; `Spawn` or `Budget` when there is no thread to be had.
    /// Then none is started.
    pub fn start(&self) -> Result<()> {
        let mut state = self.shared.state.lock();
        if state.stops > 0 {
            return Err(invalid("start while the manager is being stopped".to_owned()));
        }
        if self.config.cancel.is_cancelled() {
            let context = "start after the manager's token was cancelled";
            return Err(Error::new(ErrorKind::Cancelled).context(context));
        }
        if state.started {
            return Err(invalid("start while the manager runs".to_owned()));
        }
        let begun: Vec<_> = state.controllers.values().cloned().collect();
        for (n, reconciler) in begun.iter().enumerate() {
            if let Err(error) = reconciler.start_quietly() {
                state.stops += 1;
                drop(state);
                let _ = self.wind_down(&begun[..n], self.config.drop_grace);
                return Err(error);
            }
        }
        state.started = true;
        drop(state);
        begun.iter().for_each(|reconciler| reconciler.measure());
        self.shared.report();
        Ok(())
    }

    /// Stops all controllers, together: each sees its cancel at once, and
    /// `grace` is for all of them. Fine when it never was started. Who
    /// subscribed hears nothing more.
    ///
    /// After this returns, for each controller holds what
    /// [`Reconciler::stop`] says, and [`start`](Self::start) may be called.
    pub fn stop(&self, grace: Duration) -> StopReport {
        let report = self.end(grace);
        self.hub.close();
        report
    }

    /// Stops all controllers and starts them again. Who subscribed goes on
    /// hearing.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start): `InvalidState` when one did not end within
    /// `grace`, and then none runs.
    pub fn restart(&self, grace: Duration) -> Result<StopReport> {
        let report = self.end(grace);
        self.start()?;
        Ok(report)
    }

    /// Whether controllers are at work: from the start until all have ended,
    /// because of a stop or of the token.
    #[must_use]
    pub fn is_running(&self) -> bool {
        let state = self.shared.state.lock();
        let wants_to_run = state.started && !self.config.cancel.is_cancelled();
        wants_to_run || state.all().iter().any(|reconciler| !reconciler.has_ended())
    }

    /// How many controllers there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.shared.state.lock().controllers.len()
    }

    /// The names of all controllers, in order.
    #[must_use]
    pub fn names(&self) -> Vec<Name> {
        self.shared.state.lock().controllers.keys().cloned().collect()
    }

    /// What the controllers share with others.
    #[must_use]
    pub fn env(&self) -> &Env {
        &self.env
    }

    /// Runs a controller now; see [`Reconciler::trigger`].
    ///
    /// # Errors
    ///
    /// `NotFound` when no controller has this name, `InvalidState` when it is
    /// not running.
    pub fn trigger(&self, name: &str) -> Result<()> {
        let reconciler = self.get(name)?;
        if !reconciler.is_running() {
            return Err(invalid(format!("{name}: trigger while it is not running")));
        }
        reconciler.trigger();
        Ok(())
    }

    /// Has no run of a controller made any more that is not triggered; see
    /// [`Reconciler::pause`].
    ///
    /// # Errors
    ///
    /// `NotFound` when no controller has this name.
    pub fn pause(&self, name: &str) -> Result<()> {
        self.get(name)?.pause();
        self.shared.report();
        Ok(())
    }

    /// Has runs of a controller made again; see [`Reconciler::resume`].
    ///
    /// # Errors
    ///
    /// `NotFound` when no controller has this name.
    pub fn resume(&self, name: &str) -> Result<()> {
        self.get(name)?.resume();
        Ok(())
    }

    /// A snapshot of each controller, by name.
    #[must_use]
    pub fn status(&self) -> BTreeMap<Name, LoopStatus> {
        crate::order::map(self.shared.statuses().into_iter().map(|status| (status.name.clone(), status)))
    }

    /// Everything about one of them.
    #[cfg(feature = "capi")]
    pub(crate) fn status_of(&self, name: &str) -> Option<LoopStatus> {
        let reconciler = self.shared.state.lock().controllers.get(name).cloned()?;
        Some(reconciler.status())
    }

    /// All controllers together: down while a critical one is down or
    /// unknown, degraded while another one is, else ready.
    #[must_use]
    pub fn health(&self) -> Health {
        aggregate(&self.shared.statuses())
    }

    /// Hears of every event of every controller, from now on and also of
    /// those registered later, through a queue of 256 that loses the oldest.
    /// Ends when the manager is stopped.
    pub fn subscribe(&self) -> Subscription {
        self.hub.subscribe(DEFAULT_CAPACITY)
    }

    /// This manager as a component, for those who keep it, too.
    pub fn component(self: &Arc<Self>) -> impl Component + use<> {
        Kept(self.clone())
    }

    fn get(&self, name: &str) -> Result<Arc<Reconciler>> {
        self.shared.state.lock().controllers.get(name).cloned().ok_or_else(|| not_found(name))
    }

    fn end(&self, grace: Duration) -> StopReport {
        let reconcilers = {
            let mut state = self.shared.state.lock();
            state.stops += 1;
            state.all()
        };
        let mut report = self.wind_down(&reconcilers, grace);
        let_go(reconcilers, &mut report);
        report
    }

    /// Stops these, as one of the stops that are on their way.
    fn wind_down(&self, reconcilers: &[Arc<Reconciler>], grace: Duration) -> StopReport {
        let deadlines = StopDeadlines::patient(grace);
        for reconciler in reconcilers {
            reconciler.cancel();
        }
        let mut report = StopReport::default();
        for reconciler in reconcilers {
            report.merge(reconciler.join(deadlines));
        }
        let mut state = self.shared.state.lock();
        state.started = false;
        state.stops -= 1;
        let ended = state.take_ended();
        drop(state);
        let_go(ended, &mut report);
        report
    }
}

impl Shared {
    fn statuses(&self) -> Vec<LoopStatus> {
        let reconcilers: Vec<_> = self.state.lock().controllers.values().cloned().collect();
        reconcilers.iter().map(|reconciler| reconciler.status()).collect()
    }

    /// Tells the present health of all together.
    fn report(&self) {
        let reporter = self.reporter.lock();
        if let Some(reporter) = &*reporter {
            let mut loops = self.statuses();
            // Of one that does not run by itself nothing is to come.
            loops.retain(|status| status.health != Health::Unknown || !is_paused(status));
            reporter.set_health(verdict(&loops));
        }
    }
}

/// Drops controllers, which are the users', one by one: two that panic at once
/// would end the process.
fn let_go(reconcilers: impl IntoIterator<Item = Arc<Reconciler>>, report: &mut StopReport) {
    for reconciler in reconcilers {
        if let Err(error) = caught(|| drop(reconciler)) {
            report.add_error(error);
        }
    }
}

fn is_paused(status: &LoopStatus) -> bool {
    status.controller.as_ref().is_some_and(|controller| controller.paused)
}

fn not_found(name: &str) -> Error {
    Error::new(ErrorKind::NotFound).context(format!("{name}: no such controller"))
}

fn invalid(context: String) -> Error {
    Error::new(ErrorKind::InvalidState).context(context)
}

#[cfg(feature = "capi")]
impl ControllerManager {
    /// Whether the caller is in a call or callback of one of them.
    pub(crate) fn is_own_call(&self) -> bool {
        let all = self.shared.state.lock().all();
        all.iter().any(|one| one.is_own_call())
    }
}

impl Hosted for ControllerManager {
    fn start_hosted(&self, cx: &Context) -> Result<()> {
        *self.shared.reporter.lock() = Some(cx.reporter().clone());
        if !self.shared.state.lock().started {
            self.start()?;
        }
        self.shared.report();
        Ok(())
    }

    fn stop_hosted(&self, cx: &Context) -> std::result::Result<(), BoxError> {
        // Who listens goes on listening: it may be started again.
        self.end(cx.remaining()).into_result()
    }
}

/// Up at once, or after the first run of each critical controller; ready
/// while they are, together.
impl Component for ControllerManager {
    fn start(&mut self, cx: &Context) -> std::result::Result<(), BoxError> {
        Ok(self.start_hosted(cx)?)
    }

    fn stop(&mut self, cx: &Context) -> std::result::Result<(), BoxError> {
        self.stop_hosted(cx)
    }
}

impl StatusSource for ControllerManager {
    fn statuses(&self) -> Vec<LoopStatus> {
        self.shared.statuses()
    }
}

impl Drop for ControllerManager {
    fn drop(&mut self) {
        let was_waited_for = self.shared.state.lock().all().iter().all(|one| one.was_waited_for());
        let grace = if was_waited_for { Duration::ZERO } else { self.config.drop_grace };
        let _ = Self::stop(self, grace);
        let controllers = std::mem::take(&mut self.shared.state.lock().controllers);
        let_go(controllers.into_iter().map(|(_, one)| one), &mut StopReport::default());
    }
}

impl fmt::Debug for ControllerManager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ControllerManager").field("controllers", &self.names()).finish_non_exhaustive()
    }
}
