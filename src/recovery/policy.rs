//! When and how corrupted runs are restored.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Recovered;
use crate::backoff::{Backoff, Explanation};
use crate::error::{Error, ErrorKind, Result};
use crate::number::Real;

/// Which checkpoint a run is restored from.
///
/// Whichever it is, a checkpoint that is gone, or whose restored run was found
/// corrupted before it was proven well, is not taken again; one that failed
/// [`fallback_after`](RecoveryPolicy::fallback_after) times only after the
/// others. One that has expired is never taken.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum CheckpointStrategy {
    /// The one that was written last, then older ones.
    #[default]
    Latest,
    /// The one whose metric is best, then the next best. Those without the
    /// metric are never taken.
    Best {
        /// The name of the metric.
        metric: String,
        /// Which value is the better one.
        prefer: Prefer,
    },
    /// The one at this path, and no other.
    Specific(String),
}

/// Which of two values of a metric is the better one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Prefer {
    /// The higher one, as of an accuracy.
    Higher,
    /// The lower one, as of a loss.
    #[default]
    Lower,
}

impl CheckpointStrategy {
    /// The best by the lowest `loss`.
    #[must_use]
    pub fn best() -> Self {
        Self::Best { metric: "loss".to_owned(), prefer: Prefer::Lower }
    }

    /// The word for it in events.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Latest => "latest",
            Self::Best { .. } => "best",
            Self::Specific(_) => "specific",
        }
    }
}

impl fmt::Display for CheckpointStrategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Called once a run was restored.
pub(super) type OnRecovery = Arc<dyn Fn(&Recovered) + Send + Sync>;
/// Called with the run and why, once nothing more is tried.
pub(super) type OnFailure = Arc<dyn Fn(&str, &Error) + Send + Sync>;

/// When and how corrupted runs are restored. Off unless it is switched on.
///
/// Checked by whoever takes it: [`RecoveryMonitor`](super::RecoveryMonitor),
/// [`Executor::recover`](super::Executor::recover), and [`check`](Self::check).
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use loopkeeper::recovery::{CheckpointStrategy, RecoveryPolicy};
///
/// let policy = RecoveryPolicy::default()
///     .enabled(true)
///     .max_attempts(5)
///     .checkpoint_strategy(CheckpointStrategy::best())
///     .on_recovery(|recovered| println!("{} runs as {}", recovered.run, recovered.restored.training_run_id))
///     .on_failure(|run, error| println!("{run} is lost: {error}"));
/// assert_eq!(
///     policy.explain()?.to_string(),
///     "5 attempts, delays 5s 10s 20s 40s, in total 1m15s, each up to 10 % shorter",
/// );
///
/// let wrong = policy.backoff(Duration::ZERO);
/// assert_eq!(wrong.explain().unwrap_err().to_string(), "backoff: must be more than zero");
/// # Ok::<(), loopkeeper::Error>(())
/// ```
#[derive(Clone)]
#[must_use = "settings do nothing until something is recovered by them"]
pub struct RecoveryPolicy {
    pub(super) enabled: bool,
    pub(super) max_attempts: u32,
    pub(super) backoff: Duration,
    pub(super) max_backoff: Duration,
    pub(super) jitter: f64,
    pub(super) poll_interval: Duration,
    pub(super) poll_timeout: Duration,
    pub(super) attempt_timeout: Duration,
    pub(super) checkpoint_strategy: CheckpointStrategy,
    pub(super) fallback_after: u32,
    pub(super) restore_optimizer: bool,
    pub(super) verify_polls: u32,
    pub(super) relapse_window: Duration,
    pub(super) on_recovery: Option<OnRecovery>,
    pub(super) on_failure: Option<OnFailure>,
}

impl Default for RecoveryPolicy {
    fn default() -> Self {
        Self {
            enabled: false,
            max_attempts: 3,
            backoff: Duration::from_secs(5),
            max_backoff: Duration::from_secs(60),
            jitter: 0.1,
            poll_interval: Duration::from_secs(30),
            poll_timeout: Duration::from_secs(30),
            attempt_timeout: Duration::from_secs(300),
            checkpoint_strategy: CheckpointStrategy::Latest,
            fallback_after: 2,
            restore_optimizer: true,
            verify_polls: 3,
            relapse_window: Duration::from_secs(600),
            on_recovery: None,
            on_failure: None,
        }
    }
}

impl RecoveryPolicy {
    /// Switches recovery on. Defaults to off.
    pub fn enabled(mut self, enabled: bool) -> Self {
        self.enabled = enabled;
        self
    }

    /// How many attempts an incident has, at least 1. Defaults to 3.
    pub fn max_attempts(mut self, attempts: u32) -> Self {
        self.max_attempts = attempts;
        self
    }

    /// The delay after the first failed attempt; each further one is twice
    /// the one before. Defaults to 5 s.
    pub fn backoff(mut self, delay: Duration) -> Self {
        self.backoff = delay;
        self
    }

    /// No delay is longer, unless an error asks for it
    /// ([`Error::retry_after`]): that is kept up to 5 min. Defaults to 60 s.
    pub fn max_backoff(mut self, delay: Duration) -> Self {
        self.max_backoff = delay;
        self
    }

    /// By which share of it a delay may be shorter, at random, 0 to 1.
    /// Defaults to 0.1.
    pub fn jitter(mut self, share: f64) -> Self {
        self.jitter = share;
        self
    }

    /// The time from the end of one poll of a run to the next. Defaults to
    /// 30 s.
    pub fn poll_interval(mut self, interval: Duration) -> Self {
        self.poll_interval = interval;
        self
    }

    /// How long one poll may take. Defaults to 30 s.
    pub fn poll_timeout(mut self, timeout: Duration) -> Self {
        self.poll_timeout = timeout;
        self
    }

    /// How long one attempt may take, the choice of its checkpoint included.
    /// Defaults to 5 min.
    pub fn attempt_timeout(mut self, timeout: Duration) -> Self {
        self.attempt_timeout = timeout;
        self
    }

    /// Which checkpoint a run is restored from. Defaults to the latest.
    pub fn checkpoint_strategy(mut self, strategy: CheckpointStrategy) -> Self {
        self.checkpoint_strategy = strategy;
        self
    }

    /// After how many failed attempts with one checkpoint another one is
    /// tried, if there is one, at least 1. A checkpoint that is gone is not
    /// tried again. Defaults to 2, so that a service which is down for a
    /// moment does not cost the newest state.
    pub fn fallback_after(mut self, attempts: u32) -> Self {
        self.fallback_after = attempts;
        self
    }

    /// Whether the state of the optimizer is restored, too. Defaults to true.
    pub fn restore_optimizer(mut self, restore: bool) -> Self {
        self.restore_optimizer = restore;
        self
    }

    /// How many polls must find the restored run well before the
    /// recovery is proven, at least 1. Defaults to 3.
    pub fn verify_polls(mut self, polls: u32) -> Self {
        self.verify_polls = polls;
        self
    }

    /// For how long after its proof a recovered run that is corrupted again
    /// counts as the same incident, with the attempts it had. Defaults to
    /// 10 min; zero: not at all.
    pub fn relapse_window(mut self, window: Duration) -> Self {
        self.relapse_window = window;
        self
    }

    /// Called once a run was restored, with the old and the new one.
    ///
    /// # Threads
    ///
    /// The dispatcher's: one call at a time, in the order of the events. One
    /// that hangs holds up no recovery.
    pub fn on_recovery(mut self, call: impl Fn(&Recovered) + Send + Sync + 'static) -> Self {
        self.on_recovery = Some(Arc::new(call));
        self
    }

    /// Called once nothing more is tried, with the run and why. Not called
    /// about what was cancelled or skipped.
    ///
    /// # Threads
    ///
    /// The dispatcher's, as [`on_recovery`](Self::on_recovery).
    pub fn on_failure(mut self, call: impl Fn(&str, &Error) + Send + Sync + 'static) -> Self {
        self.on_failure = Some(Arc::new(call));
        self
    }

    /// The exact delays between the attempts of an incident that all fail, and
    /// their sum, where no error asks for a longer one.
    ///
    /// # Errors
    ///
    /// As [`check`](Self::check).
    pub fn explain(&self) -> Result<Explanation> {
        self.check()?;
        Ok(self.delays().explain(self.max_attempts))
    }

    /// Whether all settings can be used.
    ///
    /// # Errors
    ///
    /// `InvalidArgument`, which names the setting that cannot.
    pub fn check(&self) -> Result<()> {
        let fail = |key: &str, text: String| Err(Error::invalid(format!("{key}: {text}")));
        for (key, n) in [
            ("max_attempts", self.max_attempts),
            ("fallback_after", self.fallback_after),
            ("verify_polls", self.verify_polls),
        ] {
            if n == 0 {
                return fail(key, "must be at least 1, found 0".to_owned());
            }
        }
        for (key, duration) in [
            ("backoff", self.backoff),
            ("poll_interval", self.poll_interval),
            ("poll_timeout", self.poll_timeout),
            ("attempt_timeout", self.attempt_timeout),
        ] {
            if duration.is_zero() {
                return fail(key, "must be more than zero".to_owned());
            }
        }
        if self.max_backoff < self.backoff {
            let [max, min] = [self.max_backoff, self.backoff].map(crate::duration::format);
            return fail("max_backoff", format!("must be at least backoff ({min}), found {max}"));
        }
        if !self.jitter.is_finite() || !(0.0..=1.0).contains(&self.jitter) {
            return fail("jitter", format!("must be a share between 0 and 1, found {}", Real(self.jitter)));
        }
        match &self.checkpoint_strategy {
            CheckpointStrategy::Specific(path) if path.is_empty() => {
                fail("checkpoint_strategy.specific", "must not be empty".to_owned())
            }
            CheckpointStrategy::Best { metric, .. } if metric.is_empty() => {
                fail("checkpoint_strategy.best.metric", "must not be empty".to_owned())
            }
            _ => Ok(()),
        }
    }

    /// The same, and whether it is switched on.
    pub(super) fn check_enabled(&self) -> Result<()> {
        self.check()?;
        if self.enabled {
            return Ok(());
        }
        Err(Error::new(ErrorKind::InvalidState).context("enabled: recovery is switched off"))
    }

    pub(super) fn delays(&self) -> Backoff {
        Backoff { initial: self.backoff, max: self.max_backoff, multiplier: 2.0, jitter: self.jitter }
    }
}

impl fmt::Debug for RecoveryPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecoveryPolicy")
            .field("enabled", &self.enabled)
            .field("max_attempts", &self.max_attempts)
            .field("backoff", &self.backoff)
            .field("max_backoff", &self.max_backoff)
            .field("jitter", &self.jitter)
            .field("poll_interval", &self.poll_interval)
            .field("poll_timeout", &self.poll_timeout)
            .field("attempt_timeout", &self.attempt_timeout)
            .field("checkpoint_strategy", &self.checkpoint_strategy)
            .field("fallback_after", &self.fallback_after)
            .field("restore_optimizer", &self.restore_optimizer)
            .field("verify_polls", &self.verify_polls)
            .field("relapse_window", &self.relapse_window)
            .field("on_recovery", &self.on_recovery.is_some())
            .field("on_failure", &self.on_failure.is_some())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn secs(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn wrc_10_what_cannot_be_meant_is_refused_by_name() {
        let policy = RecoveryPolicy::default;
        policy().check().unwrap();
        for (policy, expected) in [
            (policy().max_attempts(0), "max_attempts: must be at least 1, found 0"),
            (policy().fallback_after(0), "fallback_after: must be at least 1, found 0"),
            (policy().verify_polls(0), "verify_polls: must be at least 1, found 0"),
            (policy().backoff(Duration::ZERO), "backoff: must be more than zero"),
            (policy().poll_interval(Duration::ZERO), "poll_interval: must be more than zero"),
            (policy().poll_timeout(Duration::ZERO), "poll_timeout: must be more than zero"),
            (policy().attempt_timeout(Duration::ZERO), "attempt_timeout: must be more than zero"),
            (policy().max_backoff(secs(1)), "max_backoff: must be at least backoff (5s), found 1s"),
            (policy().jitter(f64::NAN), "jitter: must be a share between 0 and 1, found NaN"),
            (policy().jitter(-0.5), "jitter: must be a share between 0 and 1, found -0.5"),
            (
                policy().checkpoint_strategy(CheckpointStrategy::Specific(String::new())),
                "checkpoint_strategy.specific: must not be empty",
            ),
            (
                policy().checkpoint_strategy(CheckpointStrategy::Best {
                    metric: String::new(),
                    prefer: Prefer::Higher,
                }),
                "checkpoint_strategy.best.metric: must not be empty",
            ),
        ] {
            let error = policy.check().unwrap_err();
            assert_eq!((error.kind(), &*error.to_string()), (ErrorKind::InvalidArgument, expected));
            assert_eq!(policy.enabled(true).check_enabled().unwrap_err().to_string(), expected);
        }
    }

    #[test]
    fn the_origins_delays() {
        let policy = RecoveryPolicy::default().jitter(0.0).max_attempts(7);
        let explained = policy.explain().unwrap();
        assert_eq!(explained.delays, [5, 10, 20, 40, 60, 60].map(secs));
        assert_eq!(explained.to_string(), "7 attempts, delays 5s 10s 20s 40s 1m0s 1m0s, in total 3m15s");
    }
}
