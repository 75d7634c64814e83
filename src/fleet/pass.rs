//! One round of a controller over the whole fleet, in bounded steps.

use std::fmt;

use super::command::CommandState;
use super::store::{Store, Sweep, Touched};
use crate::component::Context;
use crate::controller::Steps;
use crate::error::{Error, ErrorKind, Result};

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

    /// Whether what is done is undone at the pass's end. Until then others
    /// wait for the rows that it would change, and in a file for the right to
    /// write. Defaults to no.
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
}

/// A pass while it is made: each sweep is a step, and is made although an
/// earlier one failed.
pub(super) struct Round<'a> {
    cx: &'a PassContext<'a>,
    store: Undone<'a>,
    sweep: Sweep,
    is_over: bool,
    sum: Sum,
}

/// A store whose dry run ends with this, whatever happens meanwhile.
struct Undone<'a> {
    store: &'a mut dyn Store,
    is_dry: bool,
}

impl Drop for Undone<'_> {
    fn drop(&mut self) {
        if self.is_dry {
            self.store.end_dry_run();
        }
    }
}

/// What came of a pass.
#[derive(Debug)]
pub struct Sum {
    pub(super) report: PassReport,
    pub(super) steps: Steps,
}

impl Sum {
    /// The report, or what failed and what was done nevertheless.
    pub(super) fn into_result(self) -> Result<PassReport> {
        let Self { report, steps } = self;
        match steps.error() {
            None => Ok(report),
            Some(error) if report.processed() == 0 || report.dry_run => Err(error),
            Some(error) => {
                let text = format!("after {report}: {error}");
                Err(error.context(text))
            }
        }
    }
}

impl<'a> Round<'a> {
    /// Begins a pass of sweeps, which in a dry run are undone together at its
    /// end: each sees what those before have done.
    pub(super) fn of_sweeps(
        store: &'a mut dyn Store,
        cx: &'a PassContext<'_>,
        kinds: &[&'static str],
    ) -> Self {
        let mut round = Self::new(store, cx, kinds);
        if !cx.dry_run {
            return round;
        }
        match round.store.store.begin_dry_run() {
            Ok(true) => {
                round.store.is_dry = true;
                round.sweep.dry_run = false;
            }
            // Undone one by one: what a sweep undoes would only be found again.
            Ok(false) => round.sweep.batch = u32::MAX,
            Err(error) => round.fail("dry run", &error),
        }
        round
    }

    /// Begins a pass whose steps look themselves whether it is dry.
    pub(super) fn new(store: &'a mut dyn Store, cx: &'a PassContext<'_>, kinds: &[&'static str]) -> Self {
        Self {
            cx,
            store: Undone { store, is_dry: false },
            sweep: Sweep { batch: BATCH, dry_run: cx.dry_run },
            is_over: false,
            sum: Sum { report: PassReport::new(cx, kinds), steps: Steps::default() },
        }
    }

    /// What the report says of it.
    pub(super) fn set_dry_run(&mut self, dry_run: bool) {
        self.sum.report.dry_run = dry_run;
    }

    /// Whether what is done may stay, or is undone with the rest.
    pub(super) fn may_change(&self) -> bool {
        !self.is_over && !self.sweep.dry_run
    }

    /// Makes a step: batch after batch, until `sweep` says that nothing is
    /// left or the pass is told to end.
    pub(super) fn step(
        &mut self,
        name: &str,
        mut sweep: impl FnMut(&mut dyn Store, &mut PassReport, Sweep) -> Result<bool>,
    ) {
        while !self.is_over {
            match self.cx.goes_on() {
                Ok(true) => {}
                Ok(false) => {
                    self.is_over = true;
                    self.sum.report.finished = false;
                    return;
                }
                Err(error) => {
                    self.fail(name, &error);
                    self.is_over = true;
                    return;
                }
            }
            match sweep(self.store.store, &mut self.sum.report, self.sweep) {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => return self.fail(name, &error),
            }
        }
    }

    fn fail(&mut self, name: &str, error: &Error) {
        self.sum.steps.fail(name, error);
        // A transaction that has met an error takes nothing more.
        self.is_over |= self.cx.dry_run;
    }

    pub(super) fn end(mut self) -> Sum {
        self.sum.steps.count(self.sum.report.processed());
        self.sum
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

    /// Counts what a sweep did with commands; answers whether it may have left
    /// some.
    pub(super) fn touched(&mut self, touched: &[Touched], put_back: &str, sweep: Sweep) -> bool {
        for row in touched {
            let kind = match row.state {
                CommandState::Failed => "failed",
                CommandState::Expired => "expired",
                _ => put_back,
            };
            self.add(kind, 1);
        }
        touched.len() as u64 >= u64::from(sweep.batch)
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
