//! Ends what waits for too long, and takes back what is stuck.

use std::time::Duration;

use super::id::CommandId;
use super::pass::{PassContext, PassReport, Round, Sum, check_span};
use super::rule::{self, Explanation};
use super::store::{Lost, Scope, Store};
use crate::error::{Error, ErrorKind, Result};

/// The settings of [`JobRecovery`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobRecoveryConfig {
    /// The time between passes. Defaults to 60 s.
    pub interval: Duration,
    /// How old the claim of a platform's job is taken back once its lease is
    /// over, although its agent lives. Defaults to 30 min.
    pub stuck_threshold: Duration,
    /// The same for commands of tenants; also how long an agent may be
    /// offline before what waits for it alone is free. Defaults to 10 min.
    pub tenant_stuck_threshold: Duration,
    /// How many claims a command may use that does not say itself. Defaults
    /// to 3.
    pub max_retries: u32,
    /// How long a platform's job may wait in the queue. Defaults to 60 min.
    pub max_queue: Duration,
    /// How long a tenant's command may wait in the queue that does not say
    /// itself when it expires. Defaults to 24 h: a tenant's machines may be
    /// off at night.
    pub tenant_max_queue: Duration,
}

impl Default for JobRecoveryConfig {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(60),
            stuck_threshold: Duration::from_secs(30 * 60),
            tenant_stuck_threshold: Duration::from_secs(10 * 60),
            max_retries: 3,
            max_queue: Duration::from_secs(60 * 60),
            tenant_max_queue: Duration::from_secs(24 * 60 * 60),
        }
    }
}

impl JobRecoveryConfig {
    /// Refuses what cannot be meant.
    ///
    /// # Errors
    ///
    /// `InvalidArgument`; the text names the setting.
    pub fn check(&self) -> Result<()> {
        check_span("interval", self.interval)?;
        check_span("stuck_threshold", self.stuck_threshold)?;
        check_span("tenant_stuck_threshold", self.tenant_stuck_threshold)?;
        check_span("max_queue", self.max_queue)?;
        check_span("tenant_max_queue", self.tenant_max_queue)?;
        if self.max_retries == 0 {
            return Err(Error::invalid("max_retries: must be at least 1, found 0"));
        }
        Ok(())
    }
}

/// Expires what nobody took in time, fails what has used its claims, takes
/// back what is stuck, and frees what waits for an agent that is gone.
///
/// A command is stuck when its lease is over and its holder is dead or the
/// claim is old; while a live holder is inside its lease nothing is done to
/// it. Taking back comes last, so no command is put back and ended in one
/// pass.
#[derive(Debug, Clone)]
pub struct JobRecovery(JobRecoveryConfig);

impl JobRecovery {
    /// Checks the settings.
    ///
    /// # Errors
    ///
    /// Those of [`JobRecoveryConfig::check`].
    pub fn new(config: JobRecoveryConfig) -> Result<Self> {
        config.check().map(|()| Self(config))
    }

    /// The settings.
    #[must_use]
    pub fn config(&self) -> &JobRecoveryConfig {
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
        let config = &self.0;
        let mut round = Round::of_sweeps(store, cx, &["expired", "failed", "requeued", "unpinned"]);
        if round.may_change() {
            round
                .step("max_retries", |store, _, _| store.set_max_attempts(config.max_retries).map(|_| false));
        }
        let queued = [
            (Scope::Platform, config.max_queue, "jobs in the queue"),
            (Scope::Tenant, config.tenant_max_queue, "commands in the queue"),
        ];
        for (scope, most, name) in queued {
            round.step(name, |store, report, sweep| {
                Ok(report.touched(&store.expire_queued(scope, most, sweep)?, "requeued", sweep))
            });
        }
        round.step("due", |store, report, sweep| {
            Ok(report.touched(&store.expire_due(sweep)?, "requeued", sweep))
        });
        round.step("used up", |store, report, sweep| {
            Ok(report.touched(&store.fail_exhausted(sweep)?, "requeued", sweep))
        });
        let lost = [
            (Scope::Platform, config.stuck_threshold, "stuck jobs"),
            (Scope::Tenant, config.tenant_stuck_threshold, "stuck commands"),
        ];
        for (scope, age, name) in lost {
            round.step(name, |store, report, sweep| {
                let touched = store.recover(scope, Lost::OrOlderThan(age), sweep)?;
                Ok(report.touched(&touched, "requeued", sweep))
            });
        }
        round.step("pins", |store, report, sweep| {
            let touched = store.unpin(config.tenant_stuck_threshold, sweep)?;
            Ok(report.touched(&touched, "unpinned", sweep))
        });
        round.end()
    }

    /// Why a pass would change a command now, or would not.
    ///
    /// # Errors
    ///
    /// `NotFound` when there is no such command.
    pub fn explain(&self, store: &mut dyn Store, command: CommandId) -> Result<Explanation> {
        let config = &self.0;
        let now = store.now()?;
        let command = store.command(command)?;
        let mut known = |agent: Option<_>| match agent.map(|agent| store.agent(agent)) {
            Some(Err(error)) if error.kind() != ErrorKind::NotFound => Err(error),
            found => Ok(found.and_then(Result::ok)),
        };
        let holder = known(command.agent)?;
        let pinned = known(command.pinned_to)?;
        let patience = if command.platform { config.stuck_threshold } else { config.tenant_stuck_threshold };
        let most = if command.platform { config.max_queue } else { config.tenant_max_queue };
        let recover = rule::recover(&command, holder.as_ref(), now, Some(patience), config.max_retries);
        let pin = rule::pin(&command, pinned.as_ref(), now, config.tenant_stuck_threshold);
        Ok(Explanation::new(format!("command {}, {}", command.id, command.state))
            .add("queue", rule::queued_too_long(&command, now, most))
            .add("expiry", rule::due(&command, now))
            .add("claims", rule::used_up(&command, config.max_retries))
            .add("stuck", recover)
            .add("pin", pin))
    }
}
