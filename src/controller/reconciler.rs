//! One controller on a thread of its own.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::config::ControllerConfig;
use super::machine::{ControllerMachine, Pass, Settings};
use super::steps::Partial;
use super::{Controller, Outcome};
use crate::cancel::CancelToken;
use crate::clock::real_deadline;
use crate::component::{Component, Context, Hosted, Kept, Reporter};
use crate::dispatch::Handler;
use crate::env::Env;
use crate::error::{BoxError, Error, Result};
use crate::event::{Event, Health, LoopKind};
use crate::looper::{Instruments, Loop, Machine, RunInstruments, Spec, StopDeadlines, Work};
use crate::name::Name;
use crate::observe::{Attr, Counter, Observer};
use crate::status::{LoopStatus, RunResult, StatusSource};
use crate::stop::StopReport;
use crate::subscription::{DEFAULT_CAPACITY, Hub, Subscription};

/// Runs one controller, without a manager: alone, or as a component of a
/// host.
///
/// Runs at once, then at regular times. A run that fails is tried again with
/// growing delays, but never later than at the next regular time; one that
/// fails with [`Error::terminal`] waits for that. A panic is a failure, and
/// so is a deadline that passes, which is told while the run is still stuck.
///
/// # Threads
///
/// One thread named `ctl/<name>`, which runs the controller. All methods may
/// be called from any thread and from the controller itself, where
/// [`stop`](Self::stop) only cancels. Dropping it stops it within its drop
/// grace.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use loopkeeper::controller::{Outcome, Reconciler};
/// use loopkeeper::{Context, ControllerConfig};
///
/// let mut expired = vec!["a", "b"];
/// let leases = Reconciler::start(
///     ControllerConfig::new("leases").interval(Duration::from_secs(30)),
///     move |_: &Context| Ok(Outcome::processed(expired.drain(..).count())),
/// )?;
/// assert!(leases.wait_ready(Duration::from_secs(5)));
/// assert_eq!(leases.status().controller.unwrap().items, 2);
/// leases.trigger();
/// let report = leases.stop(Duration::from_secs(1));
/// assert!(report.is_clean(), "{report}");
/// # Ok::<(), loopkeeper::Error>(())
/// ```
#[must_use = "the controller stops when it is dropped"]
pub struct Reconciler {
    inner: Loop<ControllerMachine, ReconcileWork>,
    drop_grace: Duration,
}

/// What a manager has to say about its controllers.
pub(super) struct Managed {
    pub(super) cancel: CancelToken,
    pub(super) hub: Arc<Hub>,
}

impl Reconciler {
    /// Starts a controller, in an environment of its own.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` when a setting cannot be used, `Spawn` or `Budget`
    /// when there is no thread to be had.
    pub fn start(config: ControllerConfig, controller: impl Controller + 'static) -> Result<Self> {
        Self::start_in(&Env::new()?, config, controller)
    }

    /// Starts a controller, in a shared environment.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start).
    pub fn start_in(
        env: &Env,
        config: ControllerConfig,
        controller: impl Controller + 'static,
    ) -> Result<Self> {
        let reconciler = Self::new(env, config, controller)?;
        reconciler.inner.start()?;
        Ok(reconciler)
    }

    /// Makes one that is not started: for a host, which does that, or for
    /// [`restart`](Self::restart).
    ///
    /// # Errors
    ///
    /// `InvalidArgument` when a setting cannot be used.
    ///
    /// # Examples
    ///
    /// ```
    /// use loopkeeper::controller::{Outcome, Reconciler};
    /// use loopkeeper::{Context, ControllerConfig, Host, HostConfig};
    ///
    /// let host = Host::new(HostConfig::default())?;
    /// let nothing = |_: &Context| Ok(Outcome::default());
    /// host.register("tokens", Reconciler::new(host.env(), ControllerConfig::new("tokens"), nothing)?)?;
    /// host.start()?;
    /// # Ok::<(), loopkeeper::Error>(())
    /// ```
    pub fn new(env: &Env, config: ControllerConfig, controller: impl Controller + 'static) -> Result<Self> {
        Self::new_in(env, config, Box::new(controller), None)
    }

    pub(super) fn new_in(
        env: &Env,
        config: ControllerConfig,
        controller: Box<dyn Controller>,
        managed: Option<Managed>,
    ) -> Result<Self> {
        config.check()?;
        let name = Name::new(&config.name)?;
        let settings = Settings {
            interval: config.interval,
            deadline: config.deadline,
            backoff: config.backoff,
            overrun: config.overrun,
            jitter: config.jitter,
            spread: env.spreads() && !config.in_phase,
            dry_run: config.dry_run,
            first_run_after: config.first_run_after,
            failure_threshold: config.failure_threshold,
            critical: config.critical,
            seed: env.seed(),
        };
        let machine = ControllerMachine::new(name.clone(), settings, config.paused);
        let instruments = instruments(env.observer(), &name, config.dry_run);
        let (cancel, hub) = match managed {
            Some(Managed { cancel, hub }) => (Some(cancel), Some(hub)),
            None => (None, None),
        };
        let handler = handler(env.observer());
        let spec = Spec { name, kind: LoopKind::Controller, cancel, handler, hub, instruments };
        let work = ReconcileWork { controller, dry_run: config.dry_run };
        Ok(Self { inner: Loop::new(env, spec, machine, work)?, drop_grace: config.drop_grace })
    }

    /// Starts it, for the first time or again after a stop: with a run at
    /// once, unless it is paused.
    ///
    /// # Errors
    ///
    /// `InvalidState` while it runs or is being stopped, or while an earlier
    /// run is stuck; `Spawn` or `Budget` when there is no thread to be had.
    pub fn restart(&self) -> Result<()> {
        self.inner.start()
    }

    /// The controller's name.
    #[must_use]
    pub fn name(&self) -> &Name {
        self.inner.name()
    }

    /// What the controller shares with others.
    #[must_use]
    pub fn env(&self) -> &Env {
        self.inner.env()
    }

    /// Whether its thread runs and was not told to end.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.inner.is_running()
    }

    /// Why the last run failed; `None` after a success or before the first.
    #[must_use]
    pub fn last_error(&self) -> Option<Error> {
        self.inner.read(|machine| machine.record().last_error.clone())
    }

    /// Everything about the controller, at one moment.
    #[must_use]
    pub fn status(&self) -> LoopStatus {
        self.inner.status()
    }

    /// Runs now instead of at the next due, also when it is paused. During a
    /// run: once more right after it, however often. The regular times stay
    /// as they are.
    pub fn trigger(&self) {
        self.inner.trigger();
    }

    /// Has no run made any more that is not triggered. The present one goes
    /// on. Stays so until [`resume`](Self::resume), also over a restart.
    pub fn pause(&self) {
        self.inner.decide(|machine, _, events| machine.pause(events));
    }

    /// Has runs made again: one now, more at the regular times. Does nothing
    /// when it is not paused.
    pub fn resume(&self) {
        self.inner.decide(|machine, now, events| machine.resume(now, events));
    }

    /// Hears of every event from now on, through a queue of 256 that loses
    /// the oldest when nobody reads. Ends with the present run of the loop
    /// or, after a stop, with the next.
    pub fn subscribe(&self) -> Subscription {
        self.inner.subscribe(DEFAULT_CAPACITY)
    }

    /// Blocks until the last run has succeeded, and says whether it has;
    /// false when `timeout` has passed or the controller has ended. Real time.
    #[must_use]
    pub fn wait_ready(&self, timeout: Duration) -> bool {
        self.inner.wait_health(Health::Ready, real_deadline(timeout))
    }

    /// Blocks until the controller has ended or `timeout` has passed, and says
    /// whether it has ended. Real time.
    #[must_use]
    pub fn wait_timeout(&self, timeout: Duration) -> bool {
        self.inner.wait_until(real_deadline(timeout))
    }

    /// Stops the controller.
    ///
    /// The run in progress sees its cancel at once, and is waited for as long
    /// as `grace` allows, because what it does matters.
    ///
    /// After this returns:
    ///
    /// * no run begins, and no event of this controller is told;
    /// * its thread has ended, unless the report names it;
    /// * the status says unknown and stopped; subscriptions have ended;
    /// * [`restart`](Self::restart) may be called.
    ///
    /// Stopping twice does nothing and reports what still holds.
    ///
    /// # Threads
    ///
    /// Blocks the caller. From the controller itself it only cancels, and the
    /// report has an `InvalidState`.
    pub fn stop(&self, grace: Duration) -> StopReport {
        self.inner.stop_by(StopDeadlines::patient(grace))
    }

    /// This controller as a component, for those who keep it, too.
    pub fn component(self: &Arc<Self>) -> impl Component + use<> {
        Kept(self.clone())
    }

    /// Has each change of health told to `reporter`.
    pub(super) fn report_to(&self, reporter: Reporter) {
        self.inner.report_to(reporter);
    }

    pub(super) fn cancel(&self) {
        self.inner.cancel();
    }

    pub(super) fn join(&self, deadlines: StopDeadlines) -> StopReport {
        self.inner.join(deadlines)
    }

    /// Whether the caller is in one of its calls or callbacks.
    #[cfg(feature = "capi")]
    pub(crate) fn is_own_call(&self) -> bool {
        self.inner.is_own_call()
    }

    /// Stops it as a drop does.
    pub(crate) fn stop_for_drop(&self) {
        let grace = if self.inner.was_waited_for() { Duration::ZERO } else { self.drop_grace };
        let _ = Self::stop(self, grace);
    }

    /// For a manager, under its lock: [`measure`](Self::measure) follows.
    pub(super) fn start_quietly(&self) -> Result<()> {
        self.inner.start_quietly()
    }

    pub(super) fn measure(&self) {
        self.inner.measure();
    }

    pub(super) fn was_waited_for(&self) -> bool {
        self.inner.was_waited_for()
    }

    /// Whether no thread of it is left.
    pub(super) fn has_ended(&self) -> bool {
        self.inner.has_ended()
    }
}

impl Hosted for Reconciler {
    fn start_hosted(&self, cx: &Context) -> Result<()> {
        self.inner.report_to(cx.reporter().clone());
        if !self.is_running() {
            self.inner.start()?;
        }
        // One that does not run by itself has nothing to wait for.
        if !self.inner.read(ControllerMachine::is_paused) {
            self.inner.report();
        }
        Ok(())
    }

    fn stop_hosted(&self, cx: &Context) -> std::result::Result<(), BoxError> {
        self.stop(cx.remaining()).into_result()
    }
}

/// Up after the first run, however it ended, or at once when it is paused;
/// ready while the last run succeeded.
impl Component for Reconciler {
    fn start(&mut self, cx: &Context) -> std::result::Result<(), BoxError> {
        Ok(self.start_hosted(cx)?)
    }

    fn stop(&mut self, cx: &Context) -> std::result::Result<(), BoxError> {
        self.stop_hosted(cx)
    }
}

impl StatusSource for Reconciler {
    fn statuses(&self) -> Vec<LoopStatus> {
        vec![self.status()]
    }
}

impl Drop for Reconciler {
    fn drop(&mut self) {
        self.stop_for_drop();
    }
}

impl fmt::Debug for Reconciler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reconciler").field("name", self.name()).finish_non_exhaustive()
    }
}

struct ReconcileWork {
    controller: Box<dyn Controller>,
    dry_run: bool,
}

impl ReconcileWork {
    fn pass(&mut self, cx: &Context) -> std::result::Result<Pass, BoxError> {
        match self.controller.reconcile(cx) {
            Ok(Outcome { items, requeue_after, summary }) => {
                Ok(Pass { items, requeue_after, summary, error: None })
            }
            Err(error) => match error.downcast_ref::<Partial>() {
                Some(partial) => {
                    let error = Some(Error::from_user(partial));
                    Ok(Pass { items: partial.items, requeue_after: None, summary: None, error })
                }
                None => Err(error),
            },
        }
    }
}

impl Work<Pass> for ReconcileWork {
    fn call(&mut self, cx: &Context) -> std::result::Result<Pass, BoxError> {
        let observer = cx.env().observer();
        if observer.span.is_none() {
            return self.pass(cx);
        }
        let span = observer.start_span("reconcile", &[Attr::new("controller", cx.name().as_str())]);
        cx.set_span(&span);
        let result = self.pass(cx);
        cx.clear_span();
        let (items, error) = match &result {
            Ok(pass) => (pass.items, pass.error.clone()),
            Err(error) => (0, Some(Error::from_user(&**error))),
        };
        span.set_attr(Attr::new("items", i64::try_from(items).unwrap_or(i64::MAX)));
        // Told to end: that is no failure.
        if let Some(error) = error.filter(|_| !cx.is_cancelled()) {
            span.set_error(&error.report());
        }
        result
    }

    fn is_dry_run(&self) -> bool {
        self.dry_run
    }
}

fn handler(observer: &Observer) -> Option<Handler> {
    let on_event = observer.on_event.clone()?;
    Some(Box::new(move |event: &Event| {
        crate::observe::contain(|| on_event(event));
    }))
}

/// Resolves a controller's instruments; every series exists from now on, at
/// zero.
fn instruments(observer: &Observer, name: &Name, dry_run: bool) -> Instruments {
    if observer.counter.is_none() && observer.gauge.is_none() && observer.histogram.is_none() {
        return Instruments::default();
    }
    let label = Attr::new("controller", name.as_str());
    let own = std::slice::from_ref(&label);
    let result = |word: &str| {
        let labels = [label.clone(), Attr::new("result", word)];
        observer.counter("controller_reconcile_total", &labels)
    };
    // None is set: where this is to replace another of its name, that one's
    // word counts until it has ended.
    let gauge = |name| observer.gauge(name, own);
    let items = observer.counter("controller_items_processed_total", own);
    let runs = RunInstruments {
        running: gauge("controller_running"),
        successes: result(if dry_run { "dry_run" } else { RunResult::Success.as_str() }),
        errors: result(RunResult::Error.as_str()),
        timeouts: result(RunResult::Timeout.as_str()),
        panics: result(RunResult::Panic.as_str()),
        failures: observer.counter("controller_reconcile_errors_total", own),
        // What would have been done was not.
        items: if dry_run { Counter::default() } else { items },
        last_run: gauge("controller_last_reconcile_timestamp_seconds"),
        last_success: gauge("controller_last_success_timestamp_seconds"),
    };
    Instruments {
        duration: observer.histogram("controller_reconcile_duration_seconds", own),
        missed: observer.counter("loop_missed_ticks_total", &[Attr::new("loop", name.as_str())]),
        runs: Some(Box::new(runs)),
        ..Instruments::default()
    }
}
