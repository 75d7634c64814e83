//! Computes the places of waiting jobs anew.

use std::time::Duration;

use super::id::CommandId;
use super::pass::{PassContext, PassReport, Round, Sum, check_span};
use super::rule::{self, Explanation};
use super::store::Store;
use crate::error::{Error, Result};

/// The settings of [`QueuePriority`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueuePriorityConfig {
    /// The time between passes. Defaults to 60 s.
    pub interval: Duration,
    /// What each whole minute in the queue is worth. Defaults to 1.
    pub bonus_per_minute: u32,
}

impl Default for QueuePriorityConfig {
    fn default() -> Self {
        Self { interval: Duration::from_secs(60), bonus_per_minute: 1 }
    }
}

impl QueuePriorityConfig {
    /// Refuses what cannot be meant.
    ///
    /// # Errors
    ///
    /// `InvalidArgument`; the text names the setting.
    pub fn check(&self) -> Result<()> {
        check_span("interval", self.interval)?;
        if !(1..=1_000_000).contains(&self.bonus_per_minute) {
            let found = self.bonus_per_minute;
            return Err(Error::invalid(format!(
                "bonus_per_minute: must be from 1 to 1000000, found {found}"
            )));
        }
        Ok(())
    }
}

/// Gives each waiting job of the platform its place: 250, 500, 750 or 1000
/// for its priority, 25, 50, 75 or 100 for its tenant's plan, and for each
/// whole minute that it waits a bonus, less 10 for each job that its tenant
/// has at work, 200 at most.
///
/// The bonus has no end. What is taken off, the plan and the priority have,
/// so whoever waits long enough is before whoever comes now: nobody starves.
#[derive(Debug, Clone)]
pub struct QueuePriority(QueuePriorityConfig);

impl QueuePriority {
    /// Checks the settings.
    ///
    /// # Errors
    ///
    /// Those of [`QueuePriorityConfig::check`].
    pub fn new(config: QueuePriorityConfig) -> Result<Self> {
        config.check().map(|()| Self(config))
    }

    /// The settings.
    #[must_use]
    pub fn config(&self) -> &QueuePriorityConfig {
        &self.0
    }

    /// Goes over the queue once, in the order in which jobs came into it, from
    /// where the last pass through this store was stopped. Only places that
    /// change are written and counted. A dry run begins at the front.
    ///
    /// # Errors
    ///
    /// When the database does not answer; what was done before stays.
    pub fn pass(&self, store: &mut dyn Store, cx: &PassContext<'_>) -> Result<PassReport> {
        self.sum(store, cx).into_result()
    }

    pub(super) fn sum(&self, store: &mut dyn Store, cx: &PassContext<'_>) -> Sum {
        let mut round = Round::of_sweeps(store, cx, &["moved"]);
        round.step("places", |store, report, sweep| {
            let batch = store.reprioritize(self.0.bonus_per_minute, sweep)?;
            report.add("moved", batch.moved);
            Ok(!batch.finished)
        });
        round.end()
    }

    /// What a job's place would be now, and what it is made of.
    ///
    /// # Errors
    ///
    /// `NotFound` when there is no such command.
    pub fn explain(&self, store: &mut dyn Store, command: CommandId) -> Result<Explanation> {
        let now = store.now()?;
        let command = store.command(command)?;
        let (plan, busy) = store.standing(command.tenant)?;
        let busy = i64::try_from(busy).unwrap_or(i64::MAX);
        let rank = rule::rank(&command, plan, busy, now, self.0.bonus_per_minute);
        let subject = format!("command {}, {}, at {}", command.id, command.state, command.queue_priority);
        Ok(Explanation::new(subject).add("place", rank))
    }
}
