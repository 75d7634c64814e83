//! Finds silent agents to be offline, and frees what the dead held.

use std::time::Duration;

use super::id::AgentId;
use super::pass::{PassContext, PassReport, Round, Sum, check_span};
use super::rule::{self, Explanation};
use super::store::{Lost, Scope, Store};
use crate::error::Result;

/// The settings of [`AgentHealth`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentHealthConfig {
    /// The time between passes. Defaults to 30 s.
    pub interval: Duration,
    /// How long an agent may be silent. One that was never heard of counts
    /// from its registration. Defaults to 90 s.
    pub stale_timeout: Duration,
}

impl Default for AgentHealthConfig {
    fn default() -> Self {
        Self { interval: Duration::from_secs(30), stale_timeout: Duration::from_secs(90) }
    }
}

impl AgentHealthConfig {
    /// Refuses what cannot be meant.
    ///
    /// # Errors
    ///
    /// `InvalidArgument`; the text names the setting.
    pub fn check(&self) -> Result<()> {
        check_span("interval", self.interval)?;
        check_span("stale_timeout", self.stale_timeout)
    }
}

/// Marks agents offline that are silent for too long, whatever an
/// administrator decided about them, and takes back, once its lease is over,
/// what an offline or revoked agent held: to the queue, or to its end when
/// its claims or its time are used up.
#[derive(Debug, Clone)]
pub struct AgentHealth(AgentHealthConfig);

impl AgentHealth {
    /// Checks the settings.
    ///
    /// # Errors
    ///
    /// Those of [`AgentHealthConfig::check`].
    pub fn new(config: AgentHealthConfig) -> Result<Self> {
        config.check().map(|()| Self(config))
    }

    /// The settings.
    #[must_use]
    pub fn config(&self) -> &AgentHealthConfig {
        &self.0
    }

    /// Goes over the fleet once. Twice in a row changes nothing the second
    /// time.
    ///
    /// # Errors
    ///
    /// When the database does not answer, or refuses a step: the others are
    /// made nevertheless, and what was done stays. The text names each that
    /// failed.
    pub fn pass(&self, store: &mut dyn Store, cx: &PassContext<'_>) -> Result<PassReport> {
        self.sum(store, cx).into_result()
    }

    pub(super) fn sum(&self, store: &mut dyn Store, cx: &PassContext<'_>) -> Sum {
        let mut round = Round::of_sweeps(store, cx, &["offline", "requeued", "failed", "expired"]);
        round.step("silent agents", |store, report, sweep| {
            let n = store.mark_offline(self.0.stale_timeout, sweep)?.len() as u64;
            report.add("offline", n);
            Ok(n >= u64::from(sweep.batch))
        });
        for (scope, name) in [(Scope::Platform, "jobs of the dead"), (Scope::Tenant, "commands of the dead")]
        {
            round.step(name, |store, report, sweep| {
                let touched = store.recover(scope, Lost::HolderDead, sweep)?;
                Ok(report.touched(&touched, "requeued", sweep))
            });
        }
        round.end()
    }

    /// Why a pass would mark an agent now, or would not.
    ///
    /// # Errors
    ///
    /// `NotFound` when there is no such agent.
    pub fn explain(&self, store: &mut dyn Store, agent: AgentId) -> Result<Explanation> {
        let now = store.now()?;
        let agent = store.agent(agent)?;
        let subject = format!("agent {}, {}, {}", agent.id, agent.status, agent.health);
        Ok(Explanation::new(subject).add("offline", rule::stale(&agent, now, self.0.stale_timeout)))
    }
}
