//! A loop that notices edits of the configuration's files.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::listeners::{Change, ChangeGuard, Listeners};
use super::live::Poke;
use super::machine::{ConfigMachine, Look, Retry, Settings};
use super::{Config, Snapshot};
use crate::cancel::CancelToken;
use crate::component::{Component, Context};
use crate::env::Env;
use crate::error::{BoxError, Error, Result};
use crate::event::{Event, LoopKind};
use crate::looper::{Instruments, Loop, Spec, Work};
use crate::name::Name;
use crate::observe::{Attr, Gauge};
use crate::primitive::Mutex;
use crate::status::{LoopStatus, StatusSource};
use crate::stop::StopReport;
use crate::subscription::{DEFAULT_CAPACITY, Subscription};

type Call = Box<dyn FnMut(&Change<'_>) + Send>;

/// A configuration to watch, how often, and whom to call.
///
/// # Callbacks
///
/// They run on the dispatcher's thread, one at a time and in order, after the
/// configuration is in force; a panic is caught and counted. One that runs
/// longer than ten seconds loses its thread and holds up only this watcher's
/// later callbacks.
#[must_use = "nothing is watched until a watcher is started"]
pub struct ConfigWatcherConfig {
    config: Config,
    name: String,
    interval: Duration,
    timeout: Duration,
    cancel: Option<CancelToken>,
    drop_grace: Duration,
    calls: Vec<(String, Call)>,
    fixed: Vec<String>,
}

impl ConfigWatcherConfig {
    /// Watches the files of a configuration.
    pub fn new(config: &Config) -> Self {
        Self {
            config: config.clone(),
            name: "config".to_owned(),
            interval: Duration::from_secs(2),
            timeout: Duration::from_secs(10),
            cancel: None,
            drop_grace: Duration::from_secs(1),
            calls: Vec::new(),
            fixed: Vec::new(),
        }
    }

    /// The watcher's name, checked when it starts. Defaults to `config`.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// The time between looks. Defaults to 2 s.
    pub fn interval(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    /// How long one look may take, checks included. Raise it where a check
    /// asks about the world. Defaults to 10 s.
    pub fn look_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Ends the watcher when `token` is cancelled. Defaults to a token of the
    /// watcher's own.
    pub fn cancelled_by(mut self, token: &CancelToken) -> Self {
        self.cancel = Some(token.clone());
        self
    }

    /// How long dropping the watcher waits for its thread and its callbacks.
    /// Defaults to 1 s.
    pub fn drop_grace(mut self, grace: Duration) -> Self {
        self.drop_grace = grace;
        self
    }

    /// Called when the value at a path is another, is new or is gone. For an
    /// object: when anything in it is.
    pub fn on_change(
        mut self,
        key: impl Into<String>,
        call: impl FnMut(&Change<'_>) + Send + 'static,
    ) -> Self {
        self.calls.push((key.into(), Box::new(call)));
        self
    }

    /// Names keys that the program reads only when it starts. A change of one
    /// is told as such by the event and the status, until the program starts
    /// again or the value is as it was.
    pub fn read_at_start<K: Into<String>>(mut self, keys: impl IntoIterator<Item = K>) -> Self {
        self.fixed.extend(keys.into_iter().map(Into::into));
        self
    }

    /// Called when anything is different.
    pub fn on_reload(self, call: impl FnMut(&Change<'_>) + Send + 'static) -> Self {
        self.on_change("", call)
    }
}

impl fmt::Debug for ConfigWatcherConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConfigWatcherConfig")
            .field("name", &self.name)
            .field("interval", &self.interval)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// Watches the files of a [`Config`] and reloads it, on a thread of its own.
///
/// Looks at once, so that an edit between the load and the start is seen, and
/// then regularly. It compares contents, not times: a rename over the file, a
/// symlink that turns elsewhere and a file mounted in its place are seen, a
/// touch is not. What cannot be used leaves the last good configuration in
/// force, is told once by an event, and is tried again: other content at the
/// next look, the same content with growing delays up to a minute. A file that
/// vanished is told, too. Meanwhile the watcher is degraded. Without any file
/// it looks only when it is [triggered](Self::trigger).
///
/// # Threads
///
/// One thread named `cfg/<name>`, which runs the checks of the [`Layers`].
/// All methods may be called from any thread and from callbacks. Dropping the
/// watcher stops it within its drop grace.
///
/// [`Layers`]: super::Layers
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use loopkeeper::config::{Config, ConfigWatcher, ConfigWatcherConfig, Layers};
///
/// let config = Config::load(Layers::default().text("app.json", r#"{"http": {"listen": "none"}}"#))?;
/// let watcher = ConfigWatcher::start(
///     ConfigWatcherConfig::new(&config)
///         .interval(Duration::from_secs(5))
///         .on_change("http.listen", |change| {
///             println!("listen on {}", change.after().string("http.listen", "none"));
///         }),
/// )?;
/// println!("{}", watcher.status());
/// assert!(watcher.stop(Duration::from_secs(1)).is_clean());
///
/// let never = ConfigWatcherConfig::new(&config).interval(Duration::ZERO);
/// assert_eq!(ConfigWatcher::start(never).unwrap_err().to_string(), "interval: must be more than zero");
/// # Ok::<(), loopkeeper::Error>(())
/// ```
#[must_use = "the watcher stops when it is dropped"]
pub struct ConfigWatcher {
    inner: Arc<Loop<ConfigMachine, LookWork>>,
    config: Config,
    listeners: Arc<Listeners>,
    interval: Arc<Mutex<Duration>>,
    drop_grace: Duration,
}

impl ConfigWatcher {
    /// Starts watching, in an environment of the watcher's own.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` when a setting cannot be used, `Spawn` or `Budget`
    /// when there is no thread to be had.
    pub fn start(config: ConfigWatcherConfig) -> Result<Self> {
        Self::start_in(&Env::new()?, config)
    }

    /// Starts watching, in a shared environment.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start).
    pub fn start_in(env: &Env, config: ConfigWatcherConfig) -> Result<Self> {
        let watcher = Self::new_in(env, config)?;
        watcher.restart()?;
        Ok(watcher)
    }

    /// Makes a watcher that is not started, for a host.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start).
    pub fn new_in(env: &Env, config: ConfigWatcherConfig) -> Result<Self> {
        let ConfigWatcherConfig { config, name, interval, timeout, cancel, drop_grace, calls, fixed } =
            config;
        expect_some("interval", interval)?;
        expect_some("look_timeout", timeout)?;
        let name = Name::new(&name)?;
        let told = config.snapshot();
        let listeners = Arc::new(Listeners::new(&config, told.clone()));
        for (key, call) in calls {
            listeners.keep(key, call);
        }
        let settings = Settings { interval, timeout, spread: env.spreads(), fixed };
        let machine = ConfigMachine::new(name.clone(), settings, config.clone(), told);
        let observer = env.observer();
        let good = observer.gauge("config_last_reload_successful", &[]);
        good.set(1.0);
        let missed = observer.counter("loop_missed_ticks_total", &[Attr::new("loop", name.as_str())]);
        let instruments = Instruments { missed, ..Instruments::default() };
        let handler = {
            let (listeners, observer) = (listeners.clone(), observer.clone());
            Box::new(move |event: &Event| listeners.handle(&observer, event))
        };
        let kind = LoopKind::ConfigWatcher;
        let spec = Spec { name, kind, cancel, handler: Some(handler), hub: None, instruments };
        let retry = Retry::new(interval);
        let interval = Arc::new(Mutex::new(interval));
        let work =
            LookWork { config: config.clone(), retry, good, was_good: true, interval: interval.clone() };
        let inner = Arc::new(Loop::new(env, spec, machine, work)?);
        let poked: Arc<dyn Poke> = inner.clone();
        config.add_watcher(Arc::downgrade(&poked));
        Ok(Self { inner, config, listeners, interval, drop_grace })
    }

    /// Starts, for the first time or again after a stop. What changed
    /// meanwhile is told.
    ///
    /// # Errors
    ///
    /// `InvalidState` while it runs or while an earlier look is stuck; `Spawn`
    /// or `Budget` when there is no thread to be had.
    pub fn restart(&self) -> Result<()> {
        self.inner.start()
    }

    /// The watcher's name.
    #[must_use]
    pub fn name(&self) -> &Name {
        self.inner.name()
    }

    /// What the watcher shares with others.
    #[must_use]
    pub fn env(&self) -> &Env {
        self.inner.env()
    }

    /// The configuration it watches.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Everything about the watcher at one moment, with the configuration in
    /// force and the newest on disk.
    #[must_use]
    pub fn status(&self) -> LoopStatus {
        self.inner.status()
    }

    /// Why what is on disk is not in force, without the values; `None` when
    /// it is.
    #[must_use]
    pub fn last_error(&self) -> Option<Error> {
        self.inner.read(|machine| machine.last_error().cloned())
    }

    /// Calls back about a path from now on, until the guard is dropped; see
    /// [`ConfigWatcherConfig::on_change`].
    pub fn on_change(
        &self,
        key: impl Into<String>,
        call: impl FnMut(&Change<'_>) + Send + 'static,
    ) -> ChangeGuard {
        self.listeners.add(key.into(), Box::new(call))
    }

    /// Looks this often from now on.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` when it is zero.
    pub fn set_interval(&self, interval: Duration) -> Result<()> {
        expect_some("interval", interval)?;
        *self.interval.lock() = interval;
        self.inner.trigger();
        Ok(())
    }

    /// Looks now instead of at the next due.
    pub fn trigger(&self) {
        self.inner.trigger();
    }

    /// Whether the caller is in one of its calls or callbacks.
    #[cfg(feature = "capi")]
    pub(crate) fn is_own_call(&self) -> bool {
        self.inner.is_own_call()
    }

    /// Hears of every event from now on, through a queue of 256 that loses
    /// the oldest when nobody reads.
    pub fn subscribe(&self) -> Subscription {
        self.inner.subscribe(DEFAULT_CAPACITY)
    }

    /// Stops watching.
    ///
    /// The look in progress puts nothing in force any more and is waited for
    /// at most a second; callbacks that wait are made within what is left of
    /// `grace`, the rest dropped and counted.
    ///
    /// After this returns:
    ///
    /// * no look and no callback of this watcher begins;
    /// * its thread has ended, unless the report names it;
    /// * [`Config::reload`] works as before;
    /// * [`restart`](Self::restart) may be called.
    ///
    /// Stopping twice does nothing and reports what still holds.
    ///
    /// # Threads
    ///
    /// Blocks the caller. From a callback it does not wait for that callback;
    /// from a check it only cancels, and the report has an `InvalidState`.
    pub fn stop(&self, grace: Duration) -> StopReport {
        self.inner.stop(grace)
    }
}

impl Component for ConfigWatcher {
    fn start(&mut self, _: &Context) -> std::result::Result<(), BoxError> {
        Ok(self.restart()?)
    }

    fn stop(&mut self, cx: &Context) -> std::result::Result<(), BoxError> {
        let report = Self::stop(self, cx.remaining());
        if report.is_clean() { Ok(()) } else { Err(report.to_string().into()) }
    }
}

impl StatusSource for ConfigWatcher {
    fn statuses(&self) -> Vec<LoopStatus> {
        vec![self.status()]
    }
}

impl Drop for ConfigWatcher {
    fn drop(&mut self) {
        let _ = self.inner.stop(self.drop_grace);
    }
}

impl fmt::Debug for ConfigWatcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConfigWatcher").field("name", self.name()).finish_non_exhaustive()
    }
}

impl Poke for Loop<ConfigMachine, LookWork> {
    fn poke(&self) {
        self.trigger();
    }
}

/// One look: compare, and reload when there is something else.
struct LookWork {
    config: Config,
    retry: Retry,
    /// 1 while what is on disk is in force, else 0.
    good: Gauge,
    /// What the gauge was last set to.
    was_good: bool,
    interval: Arc<Mutex<Duration>>,
}

fn expect_some(key: &str, duration: Duration) -> Result<()> {
    if duration.is_zero() { Err(Error::invalid(format!("{key}: must be more than zero"))) } else { Ok(()) }
}

impl LookWork {
    fn look(&mut self, current: &Snapshot, cx: &Context) -> (Option<super::Fingerprint>, Option<Error>) {
        let on_disk = match self.config.look() {
            Ok(on_disk) => on_disk,
            Err(faults) => return (None, Some(faults.into())),
        };
        if on_disk == current.fingerprint() {
            self.retry.clear();
            return (Some(on_disk), None);
        }
        let now = cx.env().clock().now();
        if let Some(error) = self.retry.holds_back(on_disk, now) {
            return (Some(on_disk), Some(error.clone()));
        }
        // A look that comes back late, or after a stop, changes nothing.
        let error = self.config.attempt(|| cx.check()).err();
        let Some(error) = error else {
            self.retry.clear();
            return (Some(self.config.snapshot().fingerprint()), None);
        };
        self.retry.refuse(on_disk, cx.env().clock().now(), &error);
        (Some(on_disk), Some(error))
    }
}

impl Work<Look> for LookWork {
    fn call(&mut self, cx: &Context) -> std::result::Result<Look, BoxError> {
        let current = self.config.snapshot();
        let (on_disk, error) = self.look(&current, cx);
        let is_good = error.is_none();
        if is_good != self.was_good {
            self.was_good = is_good;
            // Once, not at each look: who logs what is set would log nothing else.
            self.good.set(if is_good { 1.0 } else { 0.0 });
        }
        let interval = Some(*self.interval.lock()).filter(|_| self.config.is_on_disk());
        let (at, snapshot) = (cx.env().stamp(), self.config.snapshot());
        Ok(Look { at, on_disk, snapshot, error, interval })
    }
}
