//! What a watcher is made from.

use std::fmt;
use std::time::Duration;

use crate::alert::AlertConfig;
use crate::backoff::{Backoff, Explanation};
use crate::cancel::CancelToken;
use crate::error::{Error, Result};
use crate::event::Health;
use crate::name::Name;
use crate::probe::Probe;
use crate::trial::{Found, Trial};

/// More start-up probes than this are no start-up; their delays are listed.
pub(super) const MAX_RETRIES: u32 = 1_000_000;

/// When a watcher probes, and how long it waits for an answer.
///
/// Every field has a default; zero, negative or endless values are refused
/// when the watcher starts.
///
/// # Examples
///
/// ```
/// use loopkeeper::watch::BackoffConfig;
/// use std::time::Duration;
///
/// let backoff = BackoffConfig { max_retries: 4, jitter: 0.0, ..BackoffConfig::default() };
/// assert_eq!(backoff.explain()?.to_string(), "4 attempts, delays 2s 4s 8s, in total 14s");
///
/// let wrong = BackoffConfig { poll_interval: Duration::ZERO, ..backoff };
/// assert_eq!(wrong.explain().unwrap_err().to_string(), "backoff.poll_interval: must be more than zero");
/// # Ok::<(), loopkeeper::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct BackoffConfig {
    /// The delay after the first failed probe. Defaults to 2 s.
    pub initial_delay: Duration,
    /// No delay is longer. Defaults to 60 s.
    pub max_delay: Duration,
    /// By how much each delay is longer than the one before, at least 1.
    /// Defaults to 2.
    pub multiplier: f64,
    /// How many probes are made at start-up before the watcher gives up
    /// waiting and goes on at the poll interval; 1 to 1,000,000. Defaults to
    /// 10.
    pub max_retries: u32,
    /// The time between regular probes. Defaults to 60 s.
    pub poll_interval: Duration,
    /// How long one probe may take. Defaults to 10 s.
    pub probe_timeout: Duration,
    /// By which share of it a delay may be shorter, at random, 0 to 1; so
    /// that watchers do not knock together. Defaults to 0.1.
    pub jitter: f64,
}

impl Default for BackoffConfig {
    fn default() -> Self {
        Self {
            initial_delay: Duration::from_secs(2),
            max_delay: Duration::from_secs(60),
            multiplier: 2.0,
            max_retries: 10,
            poll_interval: Duration::from_secs(60),
            probe_timeout: Duration::from_secs(10),
            jitter: 0.1,
        }
    }
}

impl BackoffConfig {
    /// The exact delays between the start-up's probes, and their sum.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` when a field cannot be used.
    pub fn explain(&self) -> Result<Explanation> {
        self.check()?;
        Ok(self.delays().explain(self.max_retries))
    }

    pub(super) fn delays(&self) -> Backoff {
        Backoff {
            initial: self.initial_delay,
            max: self.max_delay,
            multiplier: self.multiplier,
            jitter: self.jitter,
        }
    }

    /// Refuses what cannot be meant.
    ///
    /// # Errors
    ///
    /// `InvalidArgument`; the text names the field.
    pub fn check(&self) -> Result<()> {
        self.delays().check("backoff.")?;
        if !(1..=MAX_RETRIES).contains(&self.max_retries) {
            let found = self.max_retries;
            let text = format!("backoff.max_retries: must be from 1 to {MAX_RETRIES}, found {found}");
            return Err(Error::invalid(text));
        }
        for (key, value) in [("poll_interval", self.poll_interval), ("probe_timeout", self.probe_timeout)] {
            if value.is_zero() {
                return Err(Error::invalid(format!("backoff.{key}: must be more than zero")));
            }
        }
        Ok(())
    }
}

type OnReady = Box<dyn FnMut() + Send>;
type OnError = Box<dyn FnMut(&Error) + Send>;

/// A service to watch: its name, its probe, and what to do about it.
///
/// # Callbacks
///
/// `on_ready` is called when the service turns ready, the first time and
/// each time after; `on_down` when it was ready and turns down; `on_gave_up`
/// once when it did not come up in the start-up's attempts. They run on the
/// dispatcher's thread, one at a time and in order, never on the watcher's;
/// a panic is caught and counted. One that runs longer than ten seconds
/// loses its thread and holds up only this watcher's later callbacks.
#[must_use = "a service is watched when a watcher is started"]
pub struct WatcherConfig {
    pub(super) name: String,
    pub(super) probe: Box<dyn Probe>,
    pub(super) backoff: BackoffConfig,
    pub(super) failure_threshold: u32,
    pub(super) success_threshold: u32,
    pub(super) critical: bool,
    pub(super) cancel: Option<CancelToken>,
    pub(super) drop_grace: Duration,
    pub(super) callbacks: Callbacks,
    pub(super) alert: AlertConfig,
}

#[derive(Default)]
pub(super) struct Callbacks {
    pub(super) on_ready: Option<OnReady>,
    pub(super) on_down: Option<OnError>,
    pub(super) on_gave_up: Option<OnError>,
}

impl WatcherConfig {
    /// A service under a name. The name is checked when the watcher starts.
    pub fn new(name: impl Into<String>, probe: impl Probe + 'static) -> Self {
        Self {
            name: name.into(),
            probe: Box::new(probe),
            backoff: BackoffConfig::default(),
            failure_threshold: 1,
            success_threshold: 1,
            critical: true,
            cancel: None,
            drop_grace: Duration::from_secs(1),
            callbacks: Callbacks::default(),
            alert: AlertConfig::default(),
        }
    }

    /// When to probe. Defaults to [`BackoffConfig::default`].
    pub fn backoff(mut self, backoff: BackoffConfig) -> Self {
        self.backoff = backoff;
        self
    }

    /// How many probes in a row must fail before the service is down. While
    /// it is ready and under suspicion, it is probed with the backoff's
    /// delays. Defaults to 1.
    pub fn failure_threshold(mut self, probes: u32) -> Self {
        self.failure_threshold = probes;
        self
    }

    /// How many probes in a row must succeed before the service is ready.
    /// Defaults to 1.
    pub fn success_threshold(mut self, probes: u32) -> Self {
        self.success_threshold = probes;
        self
    }

    /// Says that the whole is degraded, not down, while this service is.
    /// Services are critical unless this is called.
    pub fn optional(mut self) -> Self {
        self.critical = false;
        self
    }

    /// Ends the watcher when `token` is cancelled. Defaults to a token of the
    /// watcher's own.
    pub fn cancelled_by(mut self, token: &CancelToken) -> Self {
        self.cancel = Some(token.clone());
        self
    }

    /// How long dropping the watcher waits for its thread and its callbacks,
    /// unless a stop has waited for them already. Defaults to 1 s.
    pub fn drop_grace(mut self, grace: Duration) -> Self {
        self.drop_grace = grace;
        self
    }

    /// Called when the service turns ready.
    pub fn on_ready(mut self, call: impl FnMut() + Send + 'static) -> Self {
        self.callbacks.on_ready = Some(Box::new(call));
        self
    }

    /// Called when the service was ready and turns down, with why.
    pub fn on_down(mut self, call: impl FnMut(&Error) + Send + 'static) -> Self {
        self.callbacks.on_down = Some(Box::new(call));
        self
    }

    /// Called once when the service did not come up in the start-up's
    /// attempts, with what the last probe said. Probing goes on.
    pub fn on_gave_up(mut self, call: impl FnMut(&Error) + Send + 'static) -> Self {
        self.callbacks.on_gave_up = Some(Box::new(call));
        self
    }

    /// What people are told, by a command or a webhook, where the environment
    /// has [`Alerts`](crate::alert::Alerts). Defaults to nothing.
    pub fn alert(mut self, alert: AlertConfig) -> Self {
        self.alert = alert;
        self
    }

    /// Asks once what the watcher would ask, to be told step by step how that
    /// goes. Nothing is counted, retried or called.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` when a setting cannot be used.
    pub fn into_trial(mut self) -> Result<Trial> {
        self.check()?;
        let name = Name::new(&self.name)?;
        Ok(Trial::new(name, self.backoff.probe_timeout, move |cx| {
            self.probe.probe(cx)?;
            Ok(Found { health: Health::Ready, reason: None, items: Vec::new() })
        }))
    }

    pub(super) fn check(&self) -> Result<()> {
        self.probe.check()?;
        self.backoff.check()?;
        self.alert.check()?;
        let thresholds =
            [("failure_threshold", self.failure_threshold), ("success_threshold", self.success_threshold)];
        for (key, value) in thresholds {
            if value == 0 {
                return Err(Error::invalid(format!("{key}: must be at least 1")));
            }
        }
        Ok(())
    }
}

impl fmt::Debug for WatcherConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WatcherConfig")
            .field("name", &self.name)
            .field("backoff", &self.backoff)
            .field("failure_threshold", &self.failure_threshold)
            .field("success_threshold", &self.success_threshold)
            .field("critical", &self.critical)
            .finish_non_exhaustive()
    }
}
