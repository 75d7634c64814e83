//! Deletes audit records that are old enough, in batches, and says so in the
//! log itself.

use std::time::Duration;

use super::pass::{PassContext, PassReport, Round, Sum, check_span};
use super::rule::Explanation;
use super::store::Store;
use crate::duration::format;
use crate::error::{Error, ErrorKind, Result};
use crate::fleet::rule::Decision;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// The settings of [`AuditRetention`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditRetentionConfig {
    /// The time between passes. Defaults to 24 h.
    pub interval: Duration,
    /// How long a record is kept. Defaults to 365 days.
    pub retention: Duration,
    /// How long one of severity high or critical is kept, at least as long.
    /// Defaults to 1825 days, some five years.
    pub grave_retention: Duration,
    /// How many records are deleted at once; others wait so long. 1 to
    /// 1,000,000. Defaults to 10,000.
    pub batch_size: u32,
    /// Whether records are only counted. Defaults to no.
    pub dry_run: bool,
}

impl Default for AuditRetentionConfig {
    fn default() -> Self {
        Self {
            interval: DAY,
            retention: DAY * 365,
            grave_retention: DAY * 1825,
            batch_size: 10_000,
            dry_run: false,
        }
    }
}

impl AuditRetentionConfig {
    /// Refuses what cannot be meant.
    ///
    /// # Errors
    ///
    /// `InvalidArgument`; the text names the setting.
    pub fn check(&self) -> Result<()> {
        check_span("interval", self.interval)?;
        check_span("retention", self.retention)?;
        if self.grave_retention < self.retention {
            let (grave, retention) = (format(self.grave_retention), format(self.retention));
            let text = format!("grave_retention: must be at least retention ({retention}), found {grave}");
            return Err(Error::invalid(text));
        }
        if !(1..=1_000_000).contains(&self.batch_size) {
            return Err(Error::invalid(format!(
                "batch_size: must be from 1 to 1000000, found {}",
                self.batch_size
            )));
        }
        Ok(())
    }
}

/// Deletes the oldest records, batch after batch, until none is old enough or
/// it is told to stop. Each batch leaves a record of itself in the same
/// transaction, by which the chain still holds.
#[derive(Debug, Clone)]
pub struct AuditRetention(AuditRetentionConfig);

impl AuditRetention {
    /// Checks the settings.
    ///
    /// # Errors
    ///
    /// Those of [`AuditRetentionConfig::check`].
    pub fn new(config: AuditRetentionConfig) -> Result<Self> {
        config.check().map(|()| Self(config))
    }

    /// The settings.
    #[must_use]
    pub fn config(&self) -> &AuditRetentionConfig {
        &self.0
    }

    fn age(&self, grave: bool) -> Duration {
        if grave { self.0.grave_retention } else { self.0.retention }
    }

    /// Goes over the log once.
    ///
    /// # Errors
    ///
    /// When the database does not answer, or refuses a step: the other is made
    /// nevertheless, and what was done stays. The text names each that failed.
    pub fn pass(&self, store: &mut dyn Store, cx: &PassContext<'_>) -> Result<PassReport> {
        self.sum(store, cx).into_result()
    }

    pub(super) fn sum(&self, store: &mut dyn Store, cx: &PassContext<'_>) -> Sum {
        let is_dry = cx.is_dry_run() || self.0.dry_run;
        let mut round = Round::new(store, cx, &["deleted", "deleted grave"]);
        round.set_dry_run(is_dry);
        for (grave, kind) in [(false, "deleted"), (true, "deleted grave")] {
            let age = self.age(grave);
            round.step(kind, |store, report, _| {
                if is_dry {
                    report.add(kind, store.count_older(age, grave)?);
                    return Ok(false);
                }
                let n = store.retain(age, grave, self.0.batch_size)?;
                report.add(kind, n);
                // Asking on would find what the last batch left of itself,
                // once that is old enough.
                Ok(n >= u64::from(self.0.batch_size))
            });
        }
        round.end()
    }

    /// Why a pass would delete a record now, or would not.
    ///
    /// # Errors
    ///
    /// `NotFound` when there is no such record.
    pub fn explain(&self, store: &mut dyn Store, position: i64) -> Result<Explanation> {
        let now = store.now()?;
        let found = store.audit(position.saturating_sub(1), 1)?;
        let Some(record) = found.rows.into_iter().find(|record| record.position == position) else {
            return Err(Error::new(ErrorKind::NotFound).context(format!("there is no record {position}")));
        };
        let kept = self.age(record.severity.is_grave());
        let age = Duration::from_micros(now.as_micros().saturating_sub(record.at.as_micros()));
        let text = format!("it is {} old, {} is kept", format(age), format(kept));
        let decision = if age > kept { Decision::Delete(text) } else { Decision::Leave(text) };
        Ok(Explanation::new(format!("record {position}, {}", record.severity)).add("retention", decision))
    }
}
