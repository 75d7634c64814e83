//! Regular runs at a fixed rate: spread by name, missed ones skipped and
//! counted.

use std::time::Duration;

use crate::backoff::hash;
use crate::clock::Tick;

/// A grid of moments, one interval apart.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Schedule {
    first: Tick,
    interval: Duration,
}

impl Schedule {
    /// A grid whose first moment is one interval from `now`.
    pub(crate) fn from_now(now: Tick, interval: Duration) -> Self {
        Self { first: now + interval, interval }
    }

    /// A grid whose first moment is within one interval from `now`, at a
    /// share of it that the name decides: loops that start together do not
    /// run together, and a restart keeps each where it was among the others.
    pub(crate) fn spread(now: Tick, interval: Duration, name: &str) -> Self {
        // Never zero: a run has just been.
        let offset = hash(name) % interval_nanos(interval) + 1;
        Self { first: now + Duration::from_nanos(offset), interval }
    }

    /// The first moment after `now`, and how many were passed over since
    /// `due`, which was the last one asked for.
    pub(crate) fn next(&self, due: Tick, now: Tick) -> (Tick, u64) {
        let nanos = interval_nanos(self.interval);
        // How many moments of the grid are not after a tick.
        let count = |tick: Tick| {
            if tick < self.first { 0 } else { tick.since(self.first).as_nanos() as u64 / nanos + 1 }
        };
        let missed = count(now).saturating_sub(count(due));
        let next = self.first + Duration::from_nanos(count(now).saturating_mul(nanos));
        (next, missed)
    }
}

fn interval_nanos(interval: Duration) -> u64 {
    u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX).clamp(1, u64::MAX / 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Tick {
        Tick::ZERO + Duration::from_secs(seconds)
    }

    #[test]
    fn the_rate_is_fixed_and_missed_moments_are_counted() {
        let schedule = Schedule::from_now(at(10), Duration::from_secs(60));
        for (due, now, next, missed) in [
            (10, 10, 70, 0),
            (70, 70, 130, 0),
            (70, 71, 130, 0),
            (70, 129, 130, 0),
            (70, 130, 190, 1),
            (70, 400, 430, 5),
            // A run before its due, as a trigger makes: the grid stays.
            (130, 100, 130, 0),
        ] {
            assert_eq!(schedule.next(at(due), at(now)), (at(next), missed), "due {due} now {now}");
        }
    }

    #[test]
    fn a_spread_grid_begins_within_one_interval() {
        let minute = Duration::from_secs(60);
        let mut buckets = [0; 6];
        for i in 0..600 {
            let name = format!("loop-{i}");
            let schedule = Schedule::spread(at(1000), minute, &name);
            let (first, missed) = schedule.next(at(1000), at(1000));
            assert!(first > at(1000) && first <= at(1060) && missed == 0, "{first:?}");
            buckets[(first.since(at(1000)).as_secs_f64() / 10.001) as usize] += 1;
            assert_eq!(schedule.next(first, first).0, first + minute);
        }
        assert!(buckets.iter().all(|&n| (60..140).contains(&n)), "{buckets:?}");
    }

    #[test]
    fn absurd_intervals_do_not_overflow() {
        for interval in [Duration::from_nanos(1), Duration::MAX] {
            let schedule = Schedule::spread(at(5), interval, "x");
            let (next, _) = schedule.next(at(5), at(1_000_000));
            assert!(next > at(5));
        }
    }
}
