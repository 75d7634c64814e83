//! Whether, and after which delay, a component that ended is started again.
//! Pure: time comes in.

use std::collections::VecDeque;
use std::time::Duration;

use crate::backoff::{Backoff, Random};
use crate::clock::Tick;
use crate::duration;
use crate::error::{Error, Result};

/// Whether a component that ended by itself is started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum RestartPolicy {
    /// Always: after a failure and when it says that it is done.
    #[default]
    Permanent,
    /// After a failure only.
    Transient,
    /// Never.
    Temporary,
}

/// How often a component may be started again: at most `max_restarts` times
/// within any `window`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RestartBudget {
    /// How many restarts are allowed. Defaults to 5.
    pub max_restarts: u32,
    /// In which time. Defaults to 60 s.
    pub window: Duration,
}

impl Default for RestartBudget {
    fn default() -> Self {
        Self { max_restarts: 5, window: Duration::from_secs(60) }
    }
}

/// What happens when a component used up its [`RestartBudget`], or failed with
/// an error of the class terminal ([`Error::terminal`]): trying again cannot
/// help then, and it is not tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum WhenExhausted {
    /// It is left as failed; the others go on.
    #[default]
    GiveUp,
    /// It is left as failed and the host stops, so that whoever runs the
    /// program can start it afresh.
    StopHost,
}

/// How and how often a component that ended is started again.
///
/// # Examples
///
/// ```
/// use loopkeeper::host::{Restart, RestartBudget, RestartPolicy};
/// use std::time::Duration;
///
/// let restart = Restart {
///     policy: RestartPolicy::Transient,
///     budget: RestartBudget { max_restarts: 3, window: Duration::from_secs(600) },
///     ..Restart::default()
/// };
/// assert_eq!(restart.initial_delay, Duration::from_secs(1));
/// assert_eq!(Restart::from(RestartPolicy::Temporary).policy, RestartPolicy::Temporary);
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Restart {
    /// Whether at all. Defaults to [`RestartPolicy::Permanent`].
    pub policy: RestartPolicy,
    /// The delay before the first restart. Defaults to 1 s.
    pub initial_delay: Duration,
    /// No delay is longer. Defaults to 60 s.
    pub max_delay: Duration,
    /// By how much each delay is longer than the one before, at least 1.
    /// Defaults to 2.
    pub multiplier: f64,
    /// By which share of it a delay may be shorter, at random, 0 to 1.
    /// Defaults to 0.1.
    pub jitter: f64,
    /// A run this long makes the delays start from the first again. `None`:
    /// twice the delay before that run. Defaults to `None`.
    pub stable_after: Option<Duration>,
    /// How often. Defaults to 5 times in 60 s.
    pub budget: RestartBudget,
    /// What happens when that is used up. Defaults to
    /// [`WhenExhausted::GiveUp`].
    pub when_exhausted: WhenExhausted,
}

impl Default for Restart {
    fn default() -> Self {
        Self {
            policy: RestartPolicy::default(),
            initial_delay: Duration::from_secs(1),
            max_delay: Duration::from_secs(60),
            multiplier: 2.0,
            jitter: 0.1,
            stable_after: None,
            budget: RestartBudget::default(),
            when_exhausted: WhenExhausted::default(),
        }
    }
}

impl From<RestartPolicy> for Restart {
    fn from(policy: RestartPolicy) -> Self {
        Self { policy, ..Self::default() }
    }
}

impl Restart {
    fn delays(&self) -> Backoff {
        let Self { initial_delay: initial, max_delay: max, multiplier, jitter, .. } = *self;
        Backoff { initial, max, multiplier, jitter }
    }

    /// Refuses what cannot be meant.
    ///
    /// # Errors
    ///
    /// `InvalidArgument`; the text names the field.
    pub fn check(&self) -> Result<()> {
        self.delays().check("restart.")?;
        for (key, value) in [("stable_after", self.stable_after), ("budget.window", Some(self.budget.window))]
        {
            if value.is_some_and(|value| value.is_zero()) {
                return Err(Error::invalid(format!("restart.{key}: must be more than zero")));
            }
        }
        Ok(())
    }
}

/// How a component's run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exit {
    /// It said that it is done.
    Done,
    /// It failed, or did not start.
    Failed,
    /// It failed, and says that trying again cannot help.
    Hopeless,
}

/// What is done about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is started again after this delay.
    Restart(Duration),
    /// Its policy leaves it as it is.
    Leave,
    /// It has used up its budget, or would only fail again.
    Exhausted,
}

/// What is remembered of a component's earlier runs.
#[derive(Debug, Clone, Default)]
pub(super) struct History {
    /// Restarts within the window, the oldest first.
    recent: VecDeque<Tick>,
    /// Failures since the last stable run.
    failures: u32,
    /// The delay before the present run.
    delay: Duration,
}

impl History {
    /// Takes in that a run ended which had lasted for `ran`.
    pub(super) fn ended(
        &mut self,
        now: Tick,
        exit: Exit,
        ran: Duration,
        restart: &Restart,
        random: &mut Random,
    ) -> Verdict {
        match (restart.policy, exit) {
            (RestartPolicy::Temporary, _) | (RestartPolicy::Transient, Exit::Done) => return Verdict::Leave,
            (_, Exit::Hopeless) => return Verdict::Exhausted,
            (RestartPolicy::Permanent, _) | (RestartPolicy::Transient, Exit::Failed) => {}
        }
        let stable = restart.stable_after.unwrap_or(self.delay.saturating_mul(2));
        if !ran.is_zero() && ran >= stable {
            self.failures = 0;
        }
        let RestartBudget { max_restarts, window } = restart.budget;
        while self.recent.front().is_some_and(|then| now.since(*then) >= window) {
            self.recent.pop_front();
        }
        if self.recent.len() >= max_restarts as usize {
            return Verdict::Exhausted;
        }
        self.failures = self.failures.saturating_add(1);
        self.delay = restart.delays().jittered(self.failures, random);
        self.recent.push_back(now);
        Verdict::Restart(self.delay)
    }

    /// How a used up budget reads.
    pub(super) fn spent(restart: &Restart) -> String {
        let RestartBudget { max_restarts, window } = restart.budget;
        format!("{max_restarts} restarts within {}", duration::format(window))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn secs(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    fn exact(policy: RestartPolicy) -> Restart {
        Restart { policy, jitter: 0.0, ..Restart::default() }
    }

    /// Feeds ends as (at, ran) and compares the verdicts, as seconds of
    /// delay, `leave` or `exhausted`.
    #[track_caller]
    fn check(restart: &Restart, exit: Exit, ends: &[(u64, u64)], expected: &str) {
        let mut history = History::default();
        let mut random = Random::new(0);
        let words: Vec<String> = ends
            .iter()
            .map(|&(at, ran)| {
                let now = Tick::ZERO + secs(at);
                match history.ended(now, exit, secs(ran), restart, &mut random) {
                    Verdict::Restart(delay) => delay.as_secs().to_string(),
                    Verdict::Leave => "leave".to_owned(),
                    Verdict::Exhausted => "exhausted".to_owned(),
                }
            })
            .collect();
        assert_eq!(words.join(" "), expected);
    }

    #[test]
    fn the_policy_decides_who_is_restarted() {
        for (policy, exit, expected) in [
            (RestartPolicy::Permanent, Exit::Failed, "1"),
            (RestartPolicy::Permanent, Exit::Done, "1"),
            (RestartPolicy::Transient, Exit::Failed, "1"),
            (RestartPolicy::Transient, Exit::Done, "leave"),
            (RestartPolicy::Temporary, Exit::Failed, "leave"),
            (RestartPolicy::Temporary, Exit::Done, "leave"),
            (RestartPolicy::Permanent, Exit::Hopeless, "exhausted"),
            (RestartPolicy::Transient, Exit::Hopeless, "exhausted"),
            (RestartPolicy::Temporary, Exit::Hopeless, "leave"),
        ] {
            check(&exact(policy), exit, &[(0, 0)], expected);
        }
    }

    #[test]
    fn delays_grow_and_start_afresh_after_a_stable_run() {
        let wide = RestartBudget { max_restarts: 100, window: secs(60) };
        let restart = Restart { budget: wide, ..exact(RestartPolicy::Permanent) };
        check(&restart, Exit::Failed, &[(0, 0), (1, 0), (3, 0), (7, 0)], "1 2 4 8");
        // The third run lasts twice the delay before it, the second not.
        check(&restart, Exit::Failed, &[(0, 0), (2, 1), (12, 4), (20, 1)], "1 2 1 2");
        let restart = Restart { stable_after: Some(secs(30)), ..restart };
        check(&restart, Exit::Failed, &[(0, 0), (30, 29), (62, 30)], "1 2 1");
    }

    #[test]
    fn the_window_slides() {
        let budget = RestartBudget { max_restarts: 2, window: secs(10) };
        let restart = Restart { budget, multiplier: 1.0, ..exact(RestartPolicy::Permanent) };
        check(&restart, Exit::Failed, &[(0, 0), (5, 0), (9, 0)], "1 1 exhausted");
        check(&restart, Exit::Failed, &[(0, 0), (5, 0), (10, 0), (14, 0)], "1 1 1 exhausted");
        let none = Restart { budget: RestartBudget { max_restarts: 0, ..budget }, ..restart };
        check(&none, Exit::Failed, &[(0, 0)], "exhausted");
    }

    #[test]
    fn a_long_budget_is_kept_whole() {
        let budget = RestartBudget { max_restarts: 40, window: secs(1000) };
        let restart = Restart { budget, multiplier: 1.0, ..exact(RestartPolicy::Permanent) };
        let ends: Vec<_> = (0..41).map(|at| (at, 0)).collect();
        check(&restart, Exit::Failed, &ends, &format!("{}exhausted", "1 ".repeat(40)));
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for (restart, text) in [
            (Restart { initial_delay: secs(0), ..Restart::default() }, "restart.initial_delay: must be more"),
            (Restart { jitter: 2.0, ..Restart::default() }, "restart.jitter: must be a share"),
            (
                Restart { stable_after: Some(secs(0)), ..Restart::default() },
                "restart.stable_after: must be more",
            ),
            (
                Restart {
                    budget: RestartBudget { window: secs(0), ..RestartBudget::default() },
                    ..Restart::default()
                },
                "restart.budget.window: must be more than zero",
            ),
        ] {
            assert!(restart.check().unwrap_err().to_string().starts_with(text), "{text}");
        }
        Restart::default().check().unwrap();
    }
}
