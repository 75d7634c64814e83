//! Takes registration tokens away that are good for nothing.

use std::time::Duration;

use super::id::TokenId;
use super::pass::{PassContext, PassReport, Round, Sum, check_span};
use super::rule::{self, Explanation};
use super::store::Store;
use crate::error::{Error, ErrorKind, Result};

/// The settings of [`TokenCleanup`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenCleanupConfig {
    /// The time between passes. Defaults to 1 h.
    pub interval: Duration,
    /// How long a token that expired, was used up or was revoked is still
    /// shown. Defaults to 7 days.
    pub grace: Duration,
}

impl Default for TokenCleanupConfig {
    fn default() -> Self {
        Self { interval: Duration::from_secs(3600), grace: Duration::from_secs(7 * 24 * 3600) }
    }
}

impl TokenCleanupConfig {
    /// Refuses what cannot be meant. The grace may be zero.
    ///
    /// # Errors
    ///
    /// `InvalidArgument`; the text names the setting.
    pub fn check(&self) -> Result<()> {
        check_span("interval", self.interval)
    }
}

/// Deletes tokens that expired, were used up or were revoked longer ago than
/// a grace.
#[derive(Debug, Clone)]
pub struct TokenCleanup(TokenCleanupConfig);

impl TokenCleanup {
    /// Checks the settings.
    ///
    /// # Errors
    ///
    /// Those of [`TokenCleanupConfig::check`].
    pub fn new(config: TokenCleanupConfig) -> Result<Self> {
        config.check().map(|()| Self(config))
    }

    /// The settings.
    #[must_use]
    pub fn config(&self) -> &TokenCleanupConfig {
        &self.0
    }

    /// Goes over the tokens once.
    ///
    /// # Errors
    ///
    /// When the database does not answer; what was done before stays.
    pub fn pass(&self, store: &mut dyn Store, cx: &PassContext<'_>) -> Result<PassReport> {
        self.sum(store, cx).into_result()
    }

    pub(super) fn sum(&self, store: &mut dyn Store, cx: &PassContext<'_>) -> Sum {
        let mut round = Round::of_sweeps(store, cx, &["expired", "exhausted", "revoked"]);
        round.step("tokens", |store, report, sweep| {
            let cleaned = store.clean_tokens(self.0.grace, sweep)?;
            report.add("expired", cleaned.expired);
            report.add("exhausted", cleaned.exhausted);
            report.add("revoked", cleaned.revoked);
            Ok(cleaned.total() >= u64::from(sweep.batch))
        });
        round.end()
    }

    /// Why a pass would delete a token now, or would not.
    ///
    /// # Errors
    ///
    /// `NotFound` when there is no such token.
    pub fn explain(&self, store: &mut dyn Store, token: TokenId) -> Result<Explanation> {
        let now = store.now()?;
        let found = store.tokens(TokenId(token.0.saturating_sub(1)), 1)?;
        let Some(found) = found.rows.into_iter().find(|found| found.id == token) else {
            return Err(Error::new(ErrorKind::NotFound).context(format!("there is no token {token}")));
        };
        let subject = format!("token {token}, {}", found.status(now));
        Ok(Explanation::new(subject).add("cleanup", rule::clean(&found, now, self.0.grace)))
    }
}
