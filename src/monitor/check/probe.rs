//! A probe as a checker.

use std::fmt;

use crate::component::Context;
use crate::error::{BoxError, Error, Result};
use crate::monitor::{Checker, Report, Verdict};
use crate::probe::{NOT_OF_A_CHECKER, Probe};

/// Looks with a probe: ready when it finds no fault. A
/// [`heartbeat`](crate::probe::heartbeat()) is for a watcher, and refused: a
/// checker looks when its monitor does, whoever beats.
///
/// # Examples
///
/// ```
/// use loopkeeper::monitor::check;
/// use loopkeeper::{Checker, probe};
///
/// let broker = check::probe(probe::tcp("127.0.0.1:1883"));
/// assert!(broker.validate().is_ok());
/// assert!(check::probe(probe::tcp("nowhere")).validate().is_err());
/// assert!(check::probe(probe::heartbeat(std::time::Duration::from_secs(30))).validate().is_err());
/// ```
pub fn probe<P: Probe>(probe: P) -> ProbeChecker<P> {
    ProbeChecker(probe)
}

/// Looks with a probe; made by [`probe`](probe()).
#[must_use = "a checker does nothing until it is called"]
pub struct ProbeChecker<P>(P);

impl<P: Probe> Checker for ProbeChecker<P> {
    fn check(&mut self, cx: &Context, _: &Report) -> Result<Verdict, BoxError> {
        self.0.probe(cx).map(|()| Verdict::Ready)
    }

    fn validate(&self) -> Result<()> {
        if self.0.is_of_a_watcher() {
            return Err(Error::invalid(NOT_OF_A_CHECKER));
        }
        self.0.check()
    }
}

impl<P> fmt::Debug for ProbeChecker<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProbeChecker").finish_non_exhaustive()
    }
}
