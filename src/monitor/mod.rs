//! Looking at regular times whether things are as they should be: checkers
//! that run in order, each with a deadline of its own.

pub mod check;
mod config;
pub mod descriptor;
mod handle;
mod instruments;
mod items;
mod machine;
mod principal;
mod report;
mod rollup;
mod runner;

use crate::component::Context;
use crate::error::{BoxError, Result};

pub use crate::status::{Role, Tally};
pub use config::{CheckerConfig, MonitorConfig};
pub use handle::Monitor;
pub use principal::Principal;
pub use report::{ItemState, Report};
pub use rollup::roll_up;

/// Looks once whether something is as it should be.
///
/// # Contract
///
/// Called on its monitor's thread, one call at a time and one checker of a
/// monitor after the other, with a deadline and a cancel token of its own in
/// the context, which has the checker's name.
///
/// * What it looks at is either one thing, which it answers for with
///   [`Verdict::Ready`] or [`Verdict::Degraded`], or a set of items: it reports
///   each to `report`, good or bad, goes on with the next, and returns
///   [`Verdict::Items`].
/// * `Err` means that it could not look; what it reported before counts.
/// * A panic counts as an error, and the checker is called again.
/// * A call that runs past its deadline is told while it is still stuck. What
///   it reported in time counts; the other checkers go on, on another thread,
///   and this one is left out until the call returns.
///
/// Closures are checkers.
///
/// # Examples
///
/// ```
/// use loopkeeper::monitor::{Report, Verdict};
/// use loopkeeper::{BoxError, Checker, Context};
///
/// fn servers(_: &Context, report: &Report) -> Result<Verdict, BoxError> {
///     for (server, load) in [("a", 0.2), ("b", 7.5)] {
///         let result = if load < 4.0 { Ok(()) } else { Err(format!("a load of {load}")) };
///         report.item(server, result);
///     }
///     Ok(Verdict::Items)
/// }
/// let checker: Box<dyn Checker> = Box::new(servers);
/// ```
pub trait Checker: Send {
    /// Looks.
    ///
    /// # Errors
    ///
    /// Why it could not look, or what is wrong with the one thing it looks at.
    fn check(&mut self, cx: &Context, report: &Report) -> Result<Verdict, BoxError>;

    /// What its findings are to those who read them. Defaults to an
    /// observation.
    fn role(&self) -> Role {
        Role::Observation
    }

    /// Says whether its own settings can be used at all: something that
    /// looking would not change. Asked once, before the first call. Defaults
    /// to yes.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` that names the setting.
    fn validate(&self) -> Result<()> {
        Ok(())
    }
}

impl<F> Checker for F
where
    F: FnMut(&Context, &Report) -> Result<Verdict, BoxError> + Send,
{
    fn check(&mut self, cx: &Context, report: &Report) -> Result<Verdict, BoxError> {
        self(cx, report)
    }
}

impl Checker for Box<dyn Checker> {
    fn check(&mut self, cx: &Context, report: &Report) -> Result<Verdict, BoxError> {
        (**self).check(cx, report)
    }

    fn role(&self) -> Role {
        (**self).role()
    }

    fn validate(&self) -> Result<()> {
        (**self).validate()
    }
}

/// What came of a look that could be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The one thing looked at is as it should be.
    Ready,
    /// It works, in part; the text says what does not.
    Degraded(String),
    /// All items there are were reported. Their states, [rolled up](roll_up),
    /// are the checker's; without any it is unknown.
    Items,
}
