//! One monitor, to those who have it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::Role;
use super::config::MonitorConfig;
use super::instruments::Instruments;
use super::machine::{Checked, MonitorMachine, Settings};
use super::runner::Shared;
use crate::alert::AlertConfig;
use crate::alert::registry::Registry;
use crate::cancel::CancelToken;
use crate::clock::real_deadline;
use crate::component::{Component, Context, Hosted, Kept};
use crate::env::Env;
use crate::error::{BoxError, Error, ErrorKind, Result};
use crate::event::{Health, LoopKind};
use crate::looper::StopDeadlines;
use crate::name::Name;
use crate::status::{LoopStatus, StatusSource};
use crate::stop::StopReport;
use crate::subscription::{DEFAULT_CAPACITY, Subscription};
use crate::voice::Voice;

/// Has checkers look at regular times whether things are as they should be.
///
/// A pass is made at once, then one in each period: the checkers look in
/// order, one after the other, each with a deadline of its own. One that
/// fails, panics or hangs is told and holds up none of the others; one that
/// hangs is left out until its look returns. What was found too long ago is
/// unknown. A monitor without checkers idles, and is unknown.
///
/// The monitor's own state is that of its checkers, [rolled
/// up](super::roll_up): worse at once, better at the end of a pass.
///
/// # Threads
///
/// One thread named `mon/<name>`, which runs the checkers, and one more for
/// each look that is stuck. All methods may be called from any thread, from
/// callbacks and from the checkers themselves, where [`stop`](Self::stop) only
/// cancels. Dropping it stops it within its drop grace.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use loopkeeper::monitor::{MonitorConfig, Report, Verdict};
/// use loopkeeper::{Context, Health, Monitor};
///
/// let cluster = Monitor::start(
///     MonitorConfig::new("cluster").check("servers", |_: &Context, report: &Report| {
///         report.item("a", Ok::<(), String>(()));
///         report.item("b", Err("no answer"));
///         Ok(Verdict::Items)
///     }),
/// )?;
/// while cluster.status().last_check.is_none() {
///     std::thread::yield_now();
/// }
/// let status = cluster.status();
/// assert_eq!(status.health, Health::Degraded);
/// assert!(status.to_string().ends_with(": servers is degraded: b is down: no answer"), "{status}");
///
/// let report = cluster.stop(Duration::from_secs(1));
/// assert!(report.is_clean(), "{report}");
/// # Ok::<(), loopkeeper::Error>(())
/// ```
#[must_use = "the monitor stops when it is dropped"]
pub struct Monitor {
    pub(super) shared: Arc<Shared>,
    /// Whether what a look does matters, and not only what it finds.
    is_patient: bool,
    drop_grace: Duration,
    /// Told for as long as there is the monitor.
    _alert: Option<Arc<AlertConfig>>,
}

impl Monitor {
    /// Starts a monitor, in an environment of its own.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` when a setting cannot be used, `Duplicate` when two
    /// checkers have one name, `Spawn` or `Budget` when there is no thread to
    /// be had.
    pub fn start(config: MonitorConfig) -> Result<Self> {
        Self::start_in(&Env::new()?, config)
    }

    /// Starts a monitor, in a shared environment.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start).
    pub fn start_in(env: &Env, config: MonitorConfig) -> Result<Self> {
        let monitor = Self::new(env, config)?;
        monitor.shared.start()?;
        Ok(monitor)
    }

    /// Makes a monitor that is not started: for a host, which does that, for
    /// [`run`](Self::run), or for [`restart`](Self::restart).
    ///
    /// # Errors
    ///
    /// `InvalidArgument` when a setting cannot be used, `Duplicate` when two
    /// checkers have one name.
    ///
    /// # Examples
    ///
    /// ```
    /// use loopkeeper::monitor::{MonitorConfig, Report, Verdict};
    /// use loopkeeper::{Context, Host, HostConfig, Monitor};
    ///
    /// let host = Host::new(HostConfig::default())?;
    /// let fine = |_: &Context, _: &Report| Ok(Verdict::Ready);
    /// let config = MonitorConfig::new("cluster").check("servers", fine);
    /// host.register("cluster", Monitor::new(host.env(), config)?)?;
    /// host.start()?;
    /// # Ok::<(), loopkeeper::Error>(())
    /// ```
    pub fn new(env: &Env, mut config: MonitorConfig) -> Result<Self> {
        config.alert.check()?;
        let checkers = config.take_checkers()?;
        let name = Name::new(&config.name)?;
        let settings = Settings {
            poll_period: config.poll_period,
            critical: config.critical,
            spread: env.spreads() && !config.in_phase,
            principal: config.principal.map(|principal| principal.name().into()),
        };
        let is_patient = checkers.iter().any(|(about, _)| about.role == Role::CompensatingControl);
        let about: Vec<Checked> = checkers.iter().map(|(about, _)| about.clone()).collect();
        let instruments = Instruments::resolve(env.observer(), &name, &about);
        let machine = MonitorMachine::new(name.clone(), settings, about);
        let handler = config.callbacks.into_handler(env.observer());
        let voice = Voice::new(env, name.clone(), LoopKind::Monitor, handler, None)?;
        let shared = Shared::new(env, name, voice, config.cancel, instruments, machine, checkers);
        let alert = (!config.alert.is_empty()).then(|| Arc::new(config.alert));
        if let Some(alert) = &alert {
            Registry::of(env).add(LoopKind::Monitor, shared.name(), alert);
        }
        Ok(Self { shared, is_patient, drop_grace: config.drop_grace, _alert: alert })
    }

    /// Runs the monitor until `cancel` is cancelled or the monitor has ended,
    /// and stops it, within its drop grace. One that runs already is taken as
    /// it is; with a token that is cancelled already nothing is begun.
    ///
    /// # Errors
    ///
    /// `InvalidState`, `Spawn` or `Budget` when it cannot be started;
    /// `Timeout` that names what did not stop in time.
    ///
    /// # Examples
    ///
    /// ```
    /// use loopkeeper::monitor::{MonitorConfig, Report, Verdict};
    /// use loopkeeper::{CancelToken, Context, Env, Monitor};
    ///
    /// let cancel = CancelToken::new();
    /// let enough = cancel.clone();
    /// let checker = move |_: &Context, _: &Report| {
    ///     enough.cancel();
    ///     Ok(Verdict::Ready)
    /// };
    /// let config = MonitorConfig::new("cluster").check("servers", checker);
    /// Monitor::new(&Env::new()?, config)?.run(&cancel)?;
    /// # Ok::<(), loopkeeper::Error>(())
    /// ```
    pub fn run(&self, cancel: &CancelToken) -> Result<()> {
        if !cancel.is_cancelled() {
            if !self.is_running() {
                self.shared.start()?;
            }
            if let Some(run) = self.shared.run_token() {
                cancel.wait_either(&run);
            }
        }
        let report = self.stop(self.drop_grace);
        if report.is_clean() {
            return Ok(());
        }
        let kind = if report.stragglers().is_empty() { ErrorKind::Component } else { ErrorKind::Timeout };
        Err(Error::new(kind).context(format!("{}: {report}", self.name())))
    }

    /// Starts it, for the first time or again after a stop: from unknown, with
    /// a pass at once. A checker that is stuck is left out until it returns.
    ///
    /// # Errors
    ///
    /// `InvalidState` while it runs or is being stopped; `Spawn` or `Budget`
    /// when there is no thread to be had.
    pub fn restart(&self) -> Result<()> {
        self.shared.start()
    }

    /// The monitor's name.
    #[must_use]
    pub fn name(&self) -> &Name {
        self.shared.name()
    }

    /// What the monitor shares with others.
    #[must_use]
    pub fn env(&self) -> &Env {
        self.shared.env()
    }

    /// Whether it was started and not told to end.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.shared.is_running()
    }

    /// All checkers together.
    #[must_use]
    pub fn health(&self) -> Health {
        self.shared.health()
    }

    /// Everything about the monitor, at one moment.
    #[must_use]
    pub fn status(&self) -> LoopStatus {
        self.shared.status().1
    }

    /// Makes a pass now instead of at the next due. During a pass: once more
    /// right after it, however often. The regular times stay as they are.
    pub fn trigger(&self) {
        self.shared.poke();
    }

    /// Hears of every event from now on, through a queue of 256 that loses
    /// the oldest when nobody reads. Ends with the present run or, after a
    /// stop, with the next.
    pub fn subscribe(&self) -> Subscription {
        self.shared.voice().subscribe(DEFAULT_CAPACITY)
    }

    /// Blocks until all checkers together are ready, and says whether they
    /// are; false when `timeout` has passed or the monitor has ended. Real
    /// time.
    #[must_use]
    pub fn wait_ready(&self, timeout: Duration) -> bool {
        self.shared.wait_health(Health::Ready, real_deadline(timeout))
    }

    /// Blocks until the monitor has ended or `timeout` has passed, and says
    /// whether it has ended. Real time.
    #[must_use]
    pub fn wait_timeout(&self, timeout: Duration) -> bool {
        self.shared.wait_until(real_deadline(timeout))
    }

    /// Stops the monitor.
    ///
    /// The look in progress sees its cancel at once and is waited for at most
    /// a second, because what it finds no longer matters; with a checker that
    /// is a [compensating control](Role::CompensatingControl) as long as
    /// `grace` allows, because what that does matters. Callbacks that wait are
    /// made within what is left of `grace`, the rest dropped and counted.
    ///
    /// After this returns:
    ///
    /// * no look begins, and no event of this monitor is told;
    /// * its threads have ended, unless the report names them, with the
    ///   checkers that they are in;
    /// * no callback of this monitor begins, and none runs unless the report
    ///   names it;
    /// * the status says unknown and stopped; subscriptions have ended;
    /// * [`restart`](Self::restart) may be called.
    ///
    /// Stopping twice does nothing and reports what still holds.
    ///
    /// # Threads
    ///
    /// Blocks the caller. From a callback it does not wait for that callback;
    /// from a checker it only cancels, and the report has an `InvalidState`.
    pub fn stop(&self, grace: Duration) -> StopReport {
        self.shared.cancel();
        let deadlines =
            if self.is_patient { StopDeadlines::patient(grace) } else { StopDeadlines::new(grace) };
        self.shared.join(deadlines)
    }

    /// This monitor as a component, for those who keep it, too.
    pub fn component(self: &Arc<Self>) -> impl Component + use<> {
        Kept(self.clone())
    }
}

impl Hosted for Monitor {
    fn start_hosted(&self, cx: &Context) -> Result<()> {
        self.shared.report_to(cx.reporter().clone());
        if !self.is_running() {
            self.shared.start()?;
        }
        // One without checkers has nothing to wait for.
        if !self.shared.is_empty() {
            self.shared.report();
        }
        Ok(())
    }

    fn stop_hosted(&self, cx: &Context) -> std::result::Result<(), BoxError> {
        self.stop(cx.remaining()).into_result()
    }
}

/// Up after the first pass, whatever was found; ready while what was found is
/// ready or degraded. Without checkers it is both at once.
impl Component for Monitor {
    fn start(&mut self, cx: &Context) -> std::result::Result<(), BoxError> {
        Ok(self.start_hosted(cx)?)
    }

    fn stop(&mut self, cx: &Context) -> std::result::Result<(), BoxError> {
        self.stop_hosted(cx)
    }
}

impl StatusSource for Monitor {
    fn statuses(&self) -> Vec<LoopStatus> {
        vec![self.status()]
    }
}

impl Monitor {
    /// Whether the caller is in one of its calls or callbacks.
    #[cfg(feature = "capi")]
    pub(crate) fn is_own_call(&self) -> bool {
        self.shared.is_own_call()
    }

    /// Stops it as a drop does.
    pub(crate) fn stop_for_drop(&self) {
        let grace = if self.shared.was_waited_for() { Duration::ZERO } else { self.drop_grace };
        let _ = Self::stop(self, grace);
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        self.stop_for_drop();
        self.shared.close();
    }
}

impl fmt::Debug for Monitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Monitor").field("name", self.name()).finish_non_exhaustive()
    }
}
