//! One watched service.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::config::{Callbacks, WatcherConfig};
use super::machine::{Settings, WatchMachine};
use crate::alert::AlertConfig;
use crate::alert::registry::Registry;
use crate::clock::{Tick, real_deadline};
use crate::component::{Component, Context, Hosted, Kept, Reporter};
use crate::dispatch::Handler;
use crate::env::Env;
use crate::error::{BoxError, Error, Result};
use crate::event::{Event, EventKind, Health, LoopKind};
use crate::looper::{Instruments, Loop, Spec, StopDeadlines, Work};
use crate::name::Name;
use crate::observe::{Attr, Observer};
use crate::probe::Probe;
use crate::stamp::Stamp;
use crate::status::LoopStatus;
#[cfg(feature = "capi")]
use crate::status::StatusView;
use crate::stop::StopReport;
use crate::subscription::{DEFAULT_CAPACITY, Hub, Subscription};

/// Watches one service on a thread of its own.
///
/// Probes at once, then with growing delays until the service is up, then at
/// the poll interval. Until the first verdict the service is unknown. See
/// [`WatcherConfig`] for the settings and the callbacks.
///
/// # Threads
///
/// One thread named `w/<name>`, which runs the probe. All methods may be
/// called from any thread, from callbacks and from the probe itself, where
/// [`stop`](Self::stop) only cancels. Dropping the last handle stops the
/// watcher within its drop grace.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use loopkeeper::{Context, Watcher, WatcherConfig};
///
/// let watcher = Watcher::start(
///     WatcherConfig::new("queue", |_: &Context| Err("not yet".into()))
///         .on_down(|error| eprintln!("queue is down: {error}")),
/// )?;
/// if !watcher.wait_ready(Duration::from_millis(20)) {
///     println!("{}", watcher.status());
/// }
/// let report = watcher.stop(Duration::from_secs(1));
/// assert!(report.is_clean());
/// # Ok::<(), loopkeeper::Error>(())
/// ```
#[must_use = "the watcher stops when it is dropped"]
pub struct Watcher {
    inner: Loop<WatchMachine, ProbeWork>,
    drop_grace: Duration,
    /// Told for as long as there is the watcher.
    _alert: Option<Arc<AlertConfig>>,
}

impl Watcher {
    /// Starts watching, in an environment of the watcher's own.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` when a setting cannot be used, `Spawn` or `Budget`
    /// when there is no thread to be had.
    pub fn start(config: WatcherConfig) -> Result<Self> {
        Self::start_in(&Env::new()?, config)
    }

    /// Starts watching, in a shared environment.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start).
    pub fn start_in(env: &Env, config: WatcherConfig) -> Result<Self> {
        let watcher = Self::new_in(env, config, None)?;
        watcher.inner.start()?;
        Ok(watcher)
    }

    /// Makes a watcher that is not started: for a host, which does that, or
    /// for [`restart`](Self::restart).
    ///
    /// # Errors
    ///
    /// `InvalidArgument` when a setting cannot be used.
    ///
    /// # Examples
    ///
    /// ```
    /// use loopkeeper::{Context, Host, HostConfig, Watcher, WatcherConfig};
    ///
    /// let host = Host::new(HostConfig::default())?;
    /// let queue = Watcher::new(host.env(), WatcherConfig::new("queue", |_: &Context| Ok(())))?;
    /// host.register("queue", queue)?;
    /// host.start()?;
    /// # Ok::<(), loopkeeper::Error>(())
    /// ```
    pub fn new(env: &Env, config: WatcherConfig) -> Result<Self> {
        Self::new_in(env, config, None)
    }

    pub(super) fn new_in(env: &Env, config: WatcherConfig, hub: Option<Arc<Hub>>) -> Result<Self> {
        config.check()?;
        let name = Name::new(&config.name)?;
        let WatcherConfig {
            probe,
            backoff,
            failure_threshold,
            success_threshold,
            critical,
            cancel,
            drop_grace,
            callbacks,
            alert,
            ..
        } = config;
        let settings = Settings {
            backoff,
            failure_threshold,
            success_threshold,
            critical,
            spread: env.spreads(),
            seed: env.seed(),
        };
        let machine = WatchMachine::new(name.clone(), settings);
        let handler = callbacks.into_handler(env.observer());
        let work = ProbeWork { probe };
        let instruments = instruments(env.observer(), &name);
        let spec = Spec { name, kind: LoopKind::Watcher, cancel, handler, hub, instruments };
        let inner = Loop::new(env, spec, machine, work)?;
        let alert = (!alert.is_empty()).then(|| Arc::new(alert));
        if let Some(alert) = &alert {
            Registry::of(env).add(LoopKind::Watcher, inner.name(), alert);
        }
        Ok(Self { inner, drop_grace, _alert: alert })
    }

    /// Starts again after a stop: from unknown, with the start-up's attempts.
    ///
    /// # Errors
    ///
    /// `InvalidState` while it runs or is being stopped, or while an earlier
    /// probe is stuck;
    /// `Spawn` or `Budget` when there is no thread to be had.
    pub fn restart(&self) -> Result<()> {
        self.inner.start()
    }

    /// The service's name.
    #[must_use]
    pub fn name(&self) -> &Name {
        self.inner.name()
    }

    /// What the watcher shares with others.
    #[must_use]
    pub fn env(&self) -> &Env {
        self.inner.env()
    }

    /// Whether the service is ready. Unknown is not ready.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.inner.read(|machine| crate::looper::Machine::record(machine).health) == Health::Ready
    }

    /// Why the last probe failed; `None` after a success or before the first.
    #[must_use]
    pub fn last_error(&self) -> Option<Error> {
        self.inner.read(|machine| machine.last_error().cloned())
    }

    /// Everything about the service, at one moment.
    #[must_use]
    pub fn status(&self) -> LoopStatus {
        self.inner.status()
    }

    #[cfg(feature = "capi")]
    pub(crate) fn view(&self, see: &mut dyn FnMut(&StatusView<'_>)) {
        self.inner.view(see);
    }

    pub(crate) fn status_at(&self, now: Tick, wall: Stamp) -> LoopStatus {
        self.inner.status_at(now, wall)
    }

    /// Probes now instead of at the next due. During a probe: once more right
    /// after it. The regular times stay as they are.
    pub fn trigger(&self) {
        self.inner.trigger();
    }

    /// Hears of every event from now on, through a queue of 256 that loses
    /// the oldest when nobody reads. Ends with the present run or, after a
    /// stop, with the next.
    pub fn subscribe(&self) -> Subscription {
        self.inner.subscribe(DEFAULT_CAPACITY)
    }

    /// Blocks until the service is ready, and says whether it is; false when
    /// `timeout` has passed or the watcher has ended. Real time.
    #[must_use]
    pub fn wait_ready(&self, timeout: Duration) -> bool {
        self.inner.wait_health(Health::Ready, real_deadline(timeout))
    }

    /// Blocks until the watcher has ended.
    pub fn wait(&self) {
        while !self.wait_timeout(Duration::from_secs(3600)) {}
    }

    /// Blocks until the watcher has ended or `timeout` has passed, and says
    /// whether it has ended. Real time.
    #[must_use]
    pub fn wait_timeout(&self, timeout: Duration) -> bool {
        self.inner.wait_until(real_deadline(timeout))
    }

    /// Stops watching.
    ///
    /// The probe in progress sees its cancel at once and is waited for at
    /// most a second, because its answer no longer matters; callbacks that
    /// wait are made within what is left of `grace`, the rest dropped and
    /// counted.
    ///
    /// After this returns:
    ///
    /// * no probe begins, and no event of this watcher is told;
    /// * the probe's thread has ended, unless the report names it;
    /// * no callback of this watcher begins, and none runs unless the report
    ///   names it;
    /// * the status says unknown and stopped; subscriptions have ended;
    /// * [`restart`](Self::restart) may be called.
    ///
    /// Stopping twice does nothing and reports what still holds.
    ///
    /// # Threads
    ///
    /// Blocks the caller. From a callback it does not wait for that callback;
    /// from the probe itself it only cancels, and the report has an
    /// `InvalidState`.
    pub fn stop(&self, grace: Duration) -> StopReport {
        self.inner.stop(grace)
    }

    /// For a manager, under its lock: [`measure`](Self::measure) follows.
    pub(super) fn start_quietly(&self) -> Result<()> {
        self.inner.start_quietly()
    }

    pub(super) fn measure(&self) {
        self.inner.measure();
    }

    pub(super) fn cancel(&self) {
        self.inner.cancel();
    }

    /// Has each change of health told to `reporter`.
    pub(super) fn report_to(&self, reporter: Reporter) {
        self.inner.report_to(reporter);
    }

    /// Whether no thread of it is left, nor a callback that is due.
    pub(super) fn has_ended(&self) -> bool {
        self.inner.has_ended() && self.inner.is_quiet()
    }

    pub(super) fn was_waited_for(&self) -> bool {
        self.inner.was_waited_for()
    }

    pub(super) fn is_running(&self) -> bool {
        self.inner.is_running()
    }

    /// This watcher as a component, for those who keep it, too.
    pub fn component(self: &Arc<Self>) -> impl Component + use<> {
        Kept(self.clone())
    }

    pub(super) fn join(&self, deadlines: StopDeadlines) -> StopReport {
        self.inner.join(deadlines)
    }
}

impl Hosted for Watcher {
    fn start_hosted(&self, cx: &Context) -> Result<()> {
        self.inner.report_to(cx.reporter().clone());
        if !self.is_running() {
            self.inner.start()?;
        }
        self.inner.report();
        Ok(())
    }

    fn stop_hosted(&self, cx: &Context) -> std::result::Result<(), BoxError> {
        self.stop(cx.remaining()).into_result()
    }
}

/// Up after the first verdict, whichever; ready while its service is.
impl Component for Watcher {
    fn start(&mut self, cx: &Context) -> std::result::Result<(), BoxError> {
        Ok(self.start_hosted(cx)?)
    }

    fn stop(&mut self, cx: &Context) -> std::result::Result<(), BoxError> {
        self.stop_hosted(cx)
    }
}

impl Watcher {
    /// Whether the caller is in one of its calls or callbacks.
    #[cfg(feature = "capi")]
    pub(crate) fn is_own_call(&self) -> bool {
        self.inner.is_own_call()
    }

    /// Stops it as a drop does.
    pub(crate) fn stop_for_drop(&self) {
        let grace = if self.inner.was_waited_for() { Duration::ZERO } else { self.drop_grace };
        let _ = self.inner.stop(grace);
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.stop_for_drop();
    }
}

impl fmt::Debug for Watcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watcher").field("name", self.name()).finish_non_exhaustive()
    }
}

struct ProbeWork {
    probe: Box<dyn Probe>,
}

impl Work<Option<Duration>> for ProbeWork {
    fn call(&mut self, cx: &Context) -> std::result::Result<Option<Duration>, BoxError> {
        self.ask(cx)?;
        Ok(cx.take_again())
    }
}

impl ProbeWork {
    fn ask(&mut self, cx: &Context) -> std::result::Result<(), BoxError> {
        let observer = cx.env().observer();
        if observer.span.is_none() {
            return self.probe.probe(cx);
        }
        let span = observer.start_span("probe", &[Attr::new("watcher", cx.name().as_str())]);
        cx.set_span(&span);
        let result = self.probe.probe(cx);
        cx.clear_span();
        // Told to end: that is no failure of the service.
        if let Some(error) = result.as_ref().err().filter(|_| !cx.is_cancelled()) {
            span.set_error(&Error::from_user(&**error).report());
        }
        result
    }
}

/// Resolves a watcher's instruments; every series exists from now on, at
/// zero.
fn instruments(observer: &Observer, name: &Name) -> Instruments {
    if observer.counter.is_none() && observer.gauge.is_none() && observer.histogram.is_none() {
        return Instruments::default();
    }
    let label = Attr::new("watcher", name);
    let own = std::slice::from_ref(&label);
    let to = |health: Health| {
        let labels = [label.clone(), Attr::new("to", health.as_str())];
        observer.counter("watcher_transitions_total", &labels)
    };
    // The gauge is not set: where this is to replace another of its name, that
    // one's word counts until it has ended.
    Instruments {
        ready: observer.gauge("watcher_ready", own),
        to_ready: to(Health::Ready),
        to_down: to(Health::Down),
        to_unknown: to(Health::Unknown),
        duration: observer.histogram("watcher_probe_duration_seconds", own),
        missed: observer.counter("loop_missed_ticks_total", &[Attr::new("loop", name)]),
        runs: None,
    }
}

impl Callbacks {
    fn into_handler(self, observer: &Observer) -> Option<Handler> {
        let on_event = observer.on_event.clone();
        let Self { mut on_ready, mut on_down, mut on_gave_up } = self;
        if on_event.is_none() && on_ready.is_none() && on_down.is_none() && on_gave_up.is_none() {
            return None;
        }
        Some(Box::new(move |event: &Event| {
            if let Some(on_event) = &on_event {
                crate::observe::contain(|| on_event(event));
            }
            match &event.what {
                EventKind::Ready { .. } => {
                    if let Some(call) = &mut on_ready {
                        call();
                    }
                }
                EventKind::Down { from: Health::Ready, error, .. } => {
                    if let Some(call) = &mut on_down {
                        call(error);
                    }
                }
                EventKind::GaveUp { error, .. } => {
                    if let Some(call) = &mut on_gave_up {
                        call(error);
                    }
                }
                _ => {}
            }
        }))
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use super::*;
    use crate::clock::ManualClock;
    use crate::status::aggregate;
    use crate::watch::BackoffConfig;

    #[test]
    fn a_watcher_that_is_not_heard_of_is_stale_and_not_ready() {
        let clock = ManualClock::default();
        let env = Env::manual(&clock).expect("a thread");
        let interval = Duration::from_secs(30);
        let backoff = BackoffConfig { poll_interval: interval, jitter: 0.0, ..BackoffConfig::default() };
        let config = WatcherConfig::new("a", |_: &Context| Ok(())).backoff(backoff);
        let watcher = Watcher::start_in(&env, config).expect("a thread");
        clock.settle();
        let (now, wall) = (clock.now(), env.stamp());
        for (late, is_stale) in [(0, false), (29, false), (31, true), (3600, true)] {
            // As one sees it whose loop has not had its turn by then.
            let age = interval + Duration::from_secs(late);
            let status = watcher.status_at(now + age, wall);
            assert_eq!((status.age, status.health), (Some(age), Health::Ready), "{late}");
            assert_eq!((status.stale, status.ready), (is_stale, !is_stale), "{late}");
            let all = if is_stale { Health::Down } else { Health::Ready };
            assert_eq!(aggregate([&status]), all, "{late}");
            assert_eq!(status.to_string().contains(", stale, overdue"), is_stale, "{status}");
        }
        assert!(watcher.stop(Duration::from_secs(1)).is_clean());
    }
}
