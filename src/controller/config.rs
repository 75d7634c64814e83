//! What controllers and their manager are made from.

use std::time::Duration;

use crate::backoff::{Backoff, Explanation};
use crate::cancel::CancelToken;
use crate::env::{Env, EnvConfig};
use crate::error::{Error, Result};
use crate::number::Real;
use crate::observe::Observer;

/// When a run that failed is tried again.
///
/// A retry never comes later than the next regular run would: that one is
/// made instead.
///
/// # Examples
///
/// ```
/// use loopkeeper::controller::BackoffConfig;
///
/// let backoff = BackoffConfig { jitter: 0.0, ..BackoffConfig::default() };
/// assert_eq!(backoff.explain(5)?.to_string(), "5 attempts, delays 2s 4s 8s 16s, in total 30s");
///
/// let wrong = BackoffConfig { multiplier: 0.5, ..backoff };
/// let error = wrong.explain(5).unwrap_err();
/// assert_eq!(error.to_string(), "backoff.multiplier: must be a number of at least 1, found 0.5");
/// # Ok::<(), loopkeeper::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BackoffConfig {
    /// The delay after the first failure. Defaults to 2 s.
    pub initial_delay: Duration,
    /// No delay is longer. Defaults to 60 s.
    pub max_delay: Duration,
    /// By how much each delay is longer than the one before, at least 1.
    /// Defaults to 2.
    pub multiplier: f64,
    /// By which share of it a delay may be shorter, at random, 0 to 1.
    /// Defaults to 0.1.
    pub jitter: f64,
}

impl Default for BackoffConfig {
    fn default() -> Self {
        Self {
            initial_delay: Duration::from_secs(2),
            max_delay: Duration::from_secs(60),
            multiplier: 2.0,
            jitter: 0.1,
        }
    }
}

impl BackoffConfig {
    /// The exact delays between `attempts` runs that all fail, and their sum.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` when a field cannot be used.
    pub fn explain(&self, attempts: u32) -> Result<Explanation> {
        let delays = self.delays();
        delays.check("backoff.")?;
        Ok(delays.explain(attempts))
    }

    pub(super) fn delays(&self) -> Backoff {
        Backoff {
            initial: self.initial_delay,
            max: self.max_delay,
            multiplier: self.multiplier,
            jitter: self.jitter,
        }
    }
}

/// What becomes of the regular runs whose time passes while a run is still
/// going, or while the machine is asleep. Whatever is left out is counted.
///
/// A run that fails makes up for nothing: its retry comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Overrun {
    /// All are left out; the next run is at its own time.
    #[default]
    Skip,
    /// One is made up for, right after; more are left out.
    QueueOne,
    /// They are made up for, one right after the other.
    CatchUp {
        /// More than these are left out; at least 1.
        at_most: u32,
    },
}

impl Overrun {
    /// How many runs may wait to be made up for.
    pub(super) fn allowance(self) -> u64 {
        match self {
            Self::Skip => 0,
            Self::QueueOne => 1,
            Self::CatchUp { at_most } => u64::from(at_most),
        }
    }
}

/// A controller's name, and when it runs.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use loopkeeper::controller::{Outcome, Overrun, Reconciler};
/// use loopkeeper::{Context, ControllerConfig};
///
/// let config = ControllerConfig::new("retention")
///     .interval(Duration::from_secs(24 * 3600))
///     .deadline(Duration::from_secs(300))
///     .overrun(Overrun::QueueOne)
///     .dry_run();
/// let retention = Reconciler::start(config, |_: &Context| Ok(Outcome::default()))?;
/// assert!(retention.wait_ready(Duration::from_secs(5)));
///
/// let never = ControllerConfig::new("retention").interval(Duration::ZERO);
/// let error = Reconciler::start(never, |_: &Context| Ok(Outcome::default())).unwrap_err();
/// assert_eq!(error.to_string(), "interval: must be more than zero");
/// # Ok::<(), loopkeeper::Error>(())
/// ```
#[derive(Debug, Clone)]
#[must_use = "settings do nothing until a controller is made from them"]
pub struct ControllerConfig {
    pub(super) name: String,
    pub(crate) interval: Duration,
    pub(super) deadline: Duration,
    pub(super) backoff: BackoffConfig,
    pub(super) overrun: Overrun,
    pub(super) jitter: f64,
    pub(super) in_phase: bool,
    pub(super) dry_run: bool,
    pub(super) paused: bool,
    pub(super) first_run_after: Duration,
    pub(super) failure_threshold: u32,
    pub(super) critical: bool,
    pub(super) drop_grace: Duration,
}

impl ControllerConfig {
    /// A controller under a name. The name is checked when it is registered
    /// or started.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            interval: Duration::from_secs(60),
            deadline: Duration::from_secs(60),
            backoff: BackoffConfig::default(),
            overrun: Overrun::default(),
            jitter: 0.1,
            in_phase: false,
            dry_run: false,
            paused: false,
            first_run_after: Duration::ZERO,
            failure_threshold: 1,
            critical: false,
            drop_grace: Duration::from_secs(1),
        }
    }

    /// The time between regular runs, from the beginning of one to that of
    /// the next. Defaults to 60 s.
    pub fn interval(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    /// How long one run may take, whatever the interval. Defaults to 60 s.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// When a run that failed is tried again. Defaults to
    /// [`BackoffConfig::default`].
    pub fn backoff(mut self, backoff: BackoffConfig) -> Self {
        self.backoff = backoff;
        self
    }

    /// What becomes of regular runs whose time passes during another.
    /// Defaults to [`Overrun::Skip`].
    pub fn overrun(mut self, overrun: Overrun) -> Self {
        self.overrun = overrun;
        self
    }

    /// By which share of the interval a regular run may be earlier, at random,
    /// 0 to 1, so that the same controller does not run everywhere at once.
    /// The rate stays what it is. Defaults to 0.1.
    pub fn jitter(mut self, share: f64) -> Self {
        self.jitter = share;
        self
    }

    /// Counts the regular times from the first run. Unless this is called
    /// they are spread over the interval by a hash of the name, from the
    /// second run on.
    pub fn in_phase(mut self) -> Self {
        self.in_phase = true;
        self
    }

    /// Has the controller say what it would do, and change nothing; see
    /// [`Context::is_dry_run`](crate::Context::is_dry_run).
    pub fn dry_run(mut self) -> Self {
        self.dry_run = true;
        self
    }

    /// Starts without runs, until it is resumed or triggered.
    pub fn start_paused(mut self) -> Self {
        self.paused = true;
        self
    }

    /// Whether its runs change nothing.
    #[must_use]
    pub fn is_dry_run(&self) -> bool {
        self.dry_run
    }

    /// Whether it starts paused.
    #[must_use]
    pub fn starts_paused(&self) -> bool {
        self.paused
    }

    /// When the first run is made after a start. Defaults to zero: at once.
    pub fn first_run_after(mut self, delay: Duration) -> Self {
        self.first_run_after = delay;
        self
    }

    /// How many runs in a row must fail before the controller is down. After
    /// an [`Error::terminal`](crate::Error::terminal) it is at once. Defaults
    /// to 1.
    pub fn failure_threshold(mut self, runs: u32) -> Self {
        self.failure_threshold = runs;
        self
    }

    /// Says that the whole is down, and not only degraded, while this
    /// controller is. Controllers are not critical unless this is called.
    pub fn critical(mut self) -> Self {
        self.critical = true;
        self
    }

    /// How long dropping a [`Reconciler`](super::Reconciler) waits for its
    /// thread, unless a stop has waited for it already. Defaults to 1 s.
    pub fn drop_grace(mut self, grace: Duration) -> Self {
        self.drop_grace = grace;
        self
    }

    pub(super) fn check(&self) -> Result<()> {
        for (key, value) in [("interval", self.interval), ("deadline", self.deadline)] {
            if value.is_zero() {
                return Err(Error::invalid(format!("{key}: must be more than zero")));
            }
        }
        self.backoff.delays().check("backoff.")?;
        if !self.jitter.is_finite() || !(0.0..=1.0).contains(&self.jitter) {
            let found = Real(self.jitter);
            return Err(Error::invalid(format!("jitter: must be a share between 0 and 1, found {found}")));
        }
        if self.failure_threshold == 0 {
            return Err(Error::invalid("failure_threshold: must be at least 1"));
        }
        if self.overrun == (Overrun::CatchUp { at_most: 0 }) {
            return Err(Error::invalid("overrun.at_most: must be at least 1"));
        }
        Ok(())
    }
}

/// Settings of a [`ControllerManager`](super::ControllerManager).
#[derive(Debug, Clone)]
#[must_use = "settings do nothing until a manager is made from them"]
pub struct ControllerManagerConfig {
    pub(super) env: Option<Env>,
    pub(super) observer: Observer,
    pub(super) cancel: CancelToken,
    pub(super) dry_run: bool,
    pub(super) drop_grace: Duration,
}

impl Default for ControllerManagerConfig {
    fn default() -> Self {
        Self {
            env: None,
            observer: Observer::default(),
            cancel: CancelToken::new(),
            dry_run: false,
            drop_grace: Duration::from_secs(1),
        }
    }
}

impl ControllerManagerConfig {
    /// The environment that the controllers share, also with others: a
    /// host's, as a rule. Defaults to one of the manager's own.
    pub fn env(mut self, env: &Env) -> Self {
        self.env = Some(env.clone());
        self
    }

    /// Who hears of events and metrics, when the environment is the manager's
    /// own. Defaults to an inert observer.
    pub fn observer(mut self, observer: Observer) -> Self {
        self.observer = observer;
        self
    }

    /// Ends all controllers when `token` is cancelled. Defaults to a token of
    /// the manager's own.
    pub fn cancelled_by(mut self, token: &CancelToken) -> Self {
        self.cancel = token.clone();
        self
    }

    /// Has all controllers say what they would do, and change nothing.
    pub fn dry_run(mut self) -> Self {
        self.dry_run = true;
        self
    }

    /// How long dropping the manager waits for its controllers, unless a stop
    /// has waited for them already. Defaults to 1 s.
    pub fn drop_grace(mut self, grace: Duration) -> Self {
        self.drop_grace = grace;
        self
    }

    pub(super) fn make_env(&self) -> Result<Env> {
        match &self.env {
            Some(env) => Ok(env.clone()),
            None => Env::with(EnvConfig::default().observer(self.observer.clone())),
        }
    }
}
