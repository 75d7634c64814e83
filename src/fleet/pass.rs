//! One round of a controller over the whole fleet, in bounded steps.

use std::fmt;

use super::command::CommandState;
use super::store::{Sweep, Touched};
use crate::component::Context;
use crate::error::{ErrorKind, Result};

/// What one pass is handed: when to stop early, and whether to change
/// anything.
pub struct PassContext<'a> {
    check: Box<dyn Fn() -> Result<()> + 'a>,
    dry_run: bool,
}

impl<'a> PassContext<'a> {
    /// Stops early when the call is told to end or its time is over.
    #[must_use]
    pub fn of(cx: &'a Context) -> Self {
        Self::with_check(|| cx.check())
    }

    /// Never stops early.
    #[must_use]
    pub fn unbounded() -> Self {
        Self::with_check(|| Ok(()))
    }

    /// Asks `check` between steps; `Cancelled` and `Timeout` end the pass
    /// there, other errors are the pass's.
    #[must_use]
    pub fn with_check(check: impl Fn() -> Result<()> + 'a) -> Self {
        Self { check: Box::new(check), dry_run: false }
    }

    /// Whether what is done is undone at once. Defaults to no.
    #[must_use]
    pub fn dry_run(mut self, dry_run: bool) -> Self {
        self.dry_run = dry_run;
        self
    }

    pub(super) fn is_dry_run(&self) -> bool {
        self.dry_run
    }

    /// Whether the pass goes on.
    pub(super) fn goes_on(&self) -> Result<bool> {
        match (self.check)() {
            Ok(()) => Ok(true),
            Err(error) if matches!(error.kind(), ErrorKind::Cancelled | ErrorKind::Timeout) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Repeats a sweep until it has touched less than a batch; answers
    /// whether it came so far.
    pub(super) fn batches(&self, batch: u32, mut sweep: impl FnMut(Sweep) -> Result<u64>) -> Result<bool> {
        loop {
            if !self.goes_on()? {
                return Ok(false);
            }
            // What a dry sweep undoes would only be found again.
            let all = Sweep { batch: if self.dry_run { u32::MAX } else { batch }, dry_run: self.dry_run };
            if sweep(all)? < u64::from(batch) || self.dry_run {
                return Ok(true);
            }
        }
    }
}

impl fmt::Debug for PassContext<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PassContext").field("dry_run", &self.dry_run).finish_non_exhaustive()
    }
}

/// What one pass did, or would have done.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
#[must_use = "a report says what was done and whether all of it"]
pub struct PassReport {
    /// How much of each kind, in the order of the steps.
    pub counts: Vec<(&'static str, u64)>,
    /// Whether the pass came to its end; else the next one goes on.
    pub finished: bool,
    /// Whether nothing was changed.
    pub dry_run: bool,
}

impl PassReport {
    pub(super) fn new(cx: &PassContext<'_>, kinds: &[&'static str]) -> Self {
        let counts = kinds.iter().map(|kind| (*kind, 0)).collect();
        Self { counts, finished: true, dry_run: cx.is_dry_run() }
    }

    /// How many rows were changed in all.
    #[must_use]
    pub fn processed(&self) -> u64 {
        self.counts.iter().map(|(_, n)| n).sum()
    }

    /// How many of one kind; zero for a kind that is not there.
    #[must_use]
    pub fn count(&self, kind: &str) -> u64 {
        self.counts.iter().find(|(known, _)| *known == kind).map_or(0, |(_, n)| *n)
    }

    pub(super) fn add(&mut self, kind: &str, n: u64) {
        if let Some((_, count)) = self.counts.iter_mut().find(|(known, _)| *known == kind) {
            *count += n;
        }
    }

    /// Counts what a sweep did with commands; answers how many.
    pub(super) fn touched(&mut self, touched: &[Touched], put_back: &str) -> u64 {
        for row in touched {
            let kind = match row.state {
                CommandState::Failed => "failed",
                CommandState::Expired => "expired",
                _ => put_back,
            };
            self.add(kind, 1);
        }
        touched.len() as u64
    }
}

impl fmt::Display for PassReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut first = true;
        for (kind, n) in self.counts.iter().filter(|(_, n)| *n > 0) {
            write!(f, "{}{n} {kind}", if first { "" } else { ", " })?;
            first = false;
        }
        f.write_str(if first { "nothing to do" } else { "" })?;
        f.write_str(if self.finished { "" } else { ", stopped early" })?;
        f.write_str(if self.dry_run { ", nothing was changed" } else { "" })
    }
}

/// Refuses a span of nothing.
pub(super) fn check_span(key: &str, span: std::time::Duration) -> Result<()> {
    if span.is_zero() {
        return Err(crate::error::Error::invalid(format!("{key}: must be more than zero")));
    }
    Ok(())
}

/// How many rows a step of a pass may change at once.
pub(super) const BATCH: u32 = 10_000;
