//! When an answer is made, as its `Date` header says it.

use crate::clock::Clock;
use crate::primitive::Mutex;
use crate::stamp::Stamp;

/// A moment as HTTP writes it, `Sun, 06 Nov 1994 08:49:37 GMT`.
pub(super) type Date = [u8; 29];

/// Tells the date, which is written once for all answers of a second.
#[derive(Debug)]
pub(super) struct Dates {
    clock: Clock,
    last: Mutex<Option<(u64, Date)>>,
}

impl Dates {
    pub(super) fn new(clock: Clock) -> Self {
        Self { clock, last: Mutex::default() }
    }

    /// Dates that stand still.
    #[cfg(any(test, fuzzing))]
    pub(super) fn still() -> Self {
        Self::new(Clock::from(&crate::clock::ManualClock::default()))
    }

    /// The present moment.
    pub(super) fn now(&self) -> Date {
        let stamp = Stamp::from(self.clock.wall());
        let second = stamp.as_micros() / 1_000_000;
        let mut last = self.last.lock();
        match *last {
            Some((written, date)) if written == second => date,
            _ => {
                let date = stamp.http_date();
                *last = Some((second, date));
                date
            }
        }
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use super::*;
    use crate::clock::ManualClock;
    use std::time::Duration;

    #[test]
    fn the_date_is_that_of_the_clock_to_the_second_also_when_it_is_set_back() {
        let clock = ManualClock::default();
        let dates = Dates::new(Clock::from(&clock));
        let check = |expected: &str| assert_eq!(String::from_utf8_lossy(&dates.now()), expected);
        check("Thu, 01 Jan 1970 00:00:00 GMT");
        clock.jump(Duration::from_millis(999));
        check("Thu, 01 Jan 1970 00:00:00 GMT");
        clock.jump(Duration::from_millis(1));
        check("Thu, 01 Jan 1970 00:00:01 GMT");
        clock.set_wall(Stamp::from_micros(784_111_777_999_999).into());
        check("Sun, 06 Nov 1994 08:49:37 GMT");
        clock.set_wall(Stamp::from_micros(784_111_776_000_000).into());
        check("Sun, 06 Nov 1994 08:49:36 GMT");
    }
}
