//! How long something takes, into a histogram that was resolved before.

use std::fmt;

use super::{Histogram, Kind};
use crate::clock::{Clock, Tick};

/// Tells its histogram how many seconds have passed, when it is dropped.
#[must_use = "the time is taken when it is dropped"]
pub struct Timer<'a> {
    histogram: &'a Histogram,
    /// Absent where nobody wants to know.
    begun: Option<(&'a Clock, Tick)>,
}

impl Histogram {
    /// Measures how long something takes, in seconds, from now until the
    /// timer is dropped. Costs two looks at the clock; none when inert.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::Arc;
    /// use std::sync::atomic::{AtomicU64, Ordering};
    /// use std::time::Duration;
    /// use loopkeeper::ManualClock;
    /// use loopkeeper::observe::Histogram;
    ///
    /// let manual = ManualClock::default();
    /// let (clock, sum) = (loopkeeper::Clock::from(&manual), Arc::new(AtomicU64::new(0)));
    /// let passes = Histogram::atomic(sum.clone());
    /// let timer = passes.time(&clock);
    /// manual.run_for(Duration::from_millis(1500));
    /// drop(timer);
    /// assert_eq!(f64::from_bits(sum.load(Ordering::Relaxed)), 1.5);
    /// ```
    #[inline]
    pub fn time<'a>(&'a self, clock: &'a Clock) -> Timer<'a> {
        let begun = match self.0 {
            Kind::Inert => None,
            _ => Some((clock, clock.now())),
        };
        Timer { histogram: self, begun }
    }
}

impl Drop for Timer<'_> {
    #[inline]
    #[allow(clippy::cast_precision_loss, reason = "exact up to 104 days")]
    fn drop(&mut self) {
        if let Some((clock, begun)) = self.begun {
            // Without a duration in between, which is taken apart and divided
            // all the same.
            let nanos = clock.now().nanos().saturating_sub(begun.nanos());
            self.histogram.observe(nanos as f64 / 1e9);
        }
    }
}

impl fmt::Debug for Timer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timer").field("begun", &self.begun.map(|(_, begun)| begun)).finish_non_exhaustive()
    }
}
