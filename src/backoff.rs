//! Growing delays: capped, overflow-proof, with jitter that only shortens.

use std::fmt;
use std::time::Duration;

use crate::decode::Object;
use crate::duration::{self, GoDuration};
use crate::error::{Error, Result};
use crate::number::Real;

/// How many delays an explanation lists.
const LISTED: u32 = 1_000;

/// As long is kept what an error asks for.
const MAX_ASKED_FOR: Duration = Duration::from_secs(300);

/// Delays that grow by a factor from `initial` to `max`.
///
/// The delay before attempt `n + 1` is `min(initial * multiplier^(n - 1),
/// max)`, then shortened by up to the share `jitter` of it: `d * (1 - j * u)`
/// with `u` uniform in `[0, 1)`. Jitter never lengthens, so `max` holds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Backoff {
    pub(crate) initial: Duration,
    pub(crate) max: Duration,
    pub(crate) multiplier: f64,
    pub(crate) jitter: f64,
}

/// A delay, or what an error asks for when that is longer.
pub(crate) fn heeding(error: &Error, delay: Duration) -> Duration {
    error.retry_after().map_or(delay, |asked| delay.max(asked.min(MAX_ASKED_FOR)))
}

impl Backoff {
    /// Refuses what cannot be meant. `prefix` is put before the setting's
    /// name in the error.
    pub(crate) fn check(&self, prefix: &str) -> Result<()> {
        let Self { initial, max, multiplier, jitter } = *self;
        let fail = |key: &str, text: String| Err(Error::invalid(format!("{prefix}{key}: {text}")));
        if initial.is_zero() {
            return fail("initial_delay", "must be more than zero".to_owned());
        }
        if max < initial {
            let (max, initial) = (duration::format(max), duration::format(initial));
            return fail("max_delay", format!("must be at least initial_delay ({initial}), found {max}"));
        }
        if !multiplier.is_finite() || multiplier < 1.0 {
            return fail("multiplier", format!("must be a number of at least 1, found {}", Real(multiplier)));
        }
        if !jitter.is_finite() || !(0.0..=1.0).contains(&jitter) {
            return fail("jitter", format!("must be a share between 0 and 1, found {}", Real(jitter)));
        }
        Ok(())
    }

    /// The delay after failure number `n` (from 1), before jitter.
    pub(crate) fn delay(&self, n: u32) -> Duration {
        let exponent = i32::try_from(n.saturating_sub(1)).unwrap_or(i32::MAX);
        // As floats the product only ever grows to infinity, which the cap
        // takes in; a Duration would overflow.
        let seconds = self.initial.as_secs_f64() * self.multiplier.powi(exponent);
        if seconds >= self.max.as_secs_f64() {
            return self.max;
        }
        Duration::try_from_secs_f64(seconds).map_or(self.max, |delay| delay.min(self.max))
    }

    /// The delay after failure number `n`, with jitter.
    pub(crate) fn jittered(&self, n: u32, random: &mut Random) -> Duration {
        shorten(self.delay(n), self.jitter, random)
    }

    /// The same, but as long at least as the failure asks for.
    pub(crate) fn after(&self, n: u32, error: &Error, random: &mut Random) -> Duration {
        heeding(error, self.jittered(n, random))
    }

    /// The delays after each of `attempts` failures but the last.
    pub(crate) fn explain(&self, attempts: u32) -> Explanation {
        let attempts = attempts.max(1);
        let delays: Vec<_> = (1..attempts.min(LISTED + 1)).map(|n| self.delay(n)).collect();
        let listed = delays.iter().fold(Duration::ZERO, |sum, delay| sum.saturating_add(*delay));
        let total = listed.saturating_add(self.total_of(LISTED + 1, attempts));
        Explanation { attempts, delays, total, jitter: self.jitter }
    }

    /// The sum of the delays after failures `from` up to `end`, which is not
    /// among them: there may be too many to add them up one by one.
    fn total_of(&self, from: u32, end: u32) -> Duration {
        let n = f64::from(end.saturating_sub(from));
        let (first, max) = (self.delay(from).as_secs_f64(), self.max.as_secs_f64());
        let growing = if self.multiplier > 1.0 {
            ((max / first).ln() / self.multiplier.ln()).ceil().clamp(0.0, n)
        } else {
            0.0
        };
        let at_rest = if self.multiplier > 1.0 { max } else { first };
        let grown = if growing > 0.0 {
            first * (self.multiplier.powf(growing) - 1.0) / (self.multiplier - 1.0)
        } else {
            0.0
        };
        Duration::try_from_secs_f64(grown + at_rest * (n - growing)).unwrap_or(Duration::MAX)
    }
}

/// Reads `initial_delay` and `max_delay`, and looks whether they fit each
/// other; `about_initial` is what the first is for.
pub(crate) fn read_delays(
    o: &mut Object<'_, '_>,
    about_initial: &'static str,
    default: (Duration, Duration),
) -> (Duration, Duration) {
    let initial = o.duration("initial_delay").doc(about_initial).defaults_to(&default.0).optional();
    let max = o.duration("max_delay").doc("No delay is longer.").defaults_to(&default.1).optional();
    // Compared only when what was written is right: no fault comes of another.
    match (initial, max) {
        (Some(initial), Some(max)) if max < initial => {
            let (initial, max) = (GoDuration(initial), GoDuration(max));
            o.fault("max_delay", format!("must be at least initial_delay ({initial}), found {max}"));
        }
        (Some(initial), None) if !o.has("max_delay") && initial > default.1 => {
            let (initial, max) = (GoDuration(initial), GoDuration(default.1));
            o.fault(
                "initial_delay",
                format!("must be at most max_delay (by default {max}), found {initial}"),
            );
        }
        (None, Some(max)) if !o.has("initial_delay") && max < default.0 => {
            let (initial, max) = (GoDuration(default.0), GoDuration(max));
            o.fault(
                "max_delay",
                format!("must be at least initial_delay (by default {initial}), found {max}"),
            );
        }
        _ => {}
    }
    (initial.unwrap_or(default.0), max.unwrap_or(default.1))
}

/// A delay, shorter by up to the share `jitter` of it.
pub(crate) fn shorten(delay: Duration, jitter: f64, random: &mut Random) -> Duration {
    if jitter == 0.0 {
        return delay;
    }
    // As a float the longest Duration is rounded up, beyond what one holds.
    let seconds = delay.as_secs_f64() * (1.0 - jitter * random.unit());
    Duration::try_from_secs_f64(seconds).map_or(delay, |shorter| shorter.min(delay))
}

/// The exact delays of a backoff, before jitter.
///
/// Printing lists up to twelve of them and the total.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Explanation {
    /// How many attempts are made.
    pub attempts: u32,
    /// The delays between attempts, in order, at most the first 1,000.
    pub delays: Vec<Duration>,
    /// The sum of all: how long until the last attempt, calls themselves
    /// excluded.
    pub total: Duration,
    /// By which share each may be shorter.
    pub jitter: f64,
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 12;
        write!(f, "{} attempts, delays", self.attempts)?;
        for delay in self.delays.iter().take(SHOWN) {
            write!(f, " {}", duration::format(*delay))?;
        }
        let delays = self.attempts.saturating_sub(1) as usize;
        if delays > SHOWN {
            write!(f, " … ({} more)", delays - SHOWN)?;
        }
        if self.delays.is_empty() {
            f.write_str(" none")?;
        }
        write!(f, ", in total {}", duration::format(self.total))?;
        if self.jitter > 0.0 {
            write!(f, ", each up to {} % shorter", self.jitter * 100.0)?;
        }
        Ok(())
    }
}

/// A small seeded generator for jitter: SplitMix64 (Steele, Lea and Flood,
/// "Fast splittable pseudorandom number generators", OOPSLA 2014).
#[derive(Debug, Clone)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Uniform in `[0, 1)`.
    pub(crate) fn unit(&mut self) -> f64 {
        // The 53 bits of a float's significand.
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// A hash of a name that is the same in every process: FNV-1a, 64 bits.
pub(crate) fn hash(text: &str) -> u64 {
    text.bytes().fold(0xCBF2_9CE4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn secs(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    fn origin() -> Backoff {
        Backoff { initial: secs(2), max: secs(60), multiplier: 2.0, jitter: 0.0 }
    }

    #[test]
    fn delays_without_end_are_not_listed_one_by_one() {
        let explained = origin().explain(u32::MAX);
        assert_eq!((explained.attempts, explained.delays.len()), (u32::MAX, 1_000));
        // Of all but the five that are shorter than a minute.
        let expected = secs(62) + secs(60) * (u32::MAX - 1 - 5);
        assert_eq!(explained.total, expected);
        assert!(explained.to_string().contains("… (4294967282 more), in total "), "{explained}");
        for multiplier in [1.0, 1.000_1] {
            let backoff = Backoff { multiplier, ..origin() };
            let one_by_one = (1..50_000).map(|n| backoff.delay(n)).sum::<Duration>().as_secs_f64();
            let found = backoff.explain(50_000).total.as_secs_f64();
            assert!((found / one_by_one - 1.0).abs() < 1e-3, "{multiplier}: {found}, {one_by_one}");
        }
        let longest = Backoff { initial: Duration::MAX, max: Duration::MAX, multiplier: 2.0, jitter: 0.0 };
        assert_eq!(longest.explain(u32::MAX).total, Duration::MAX);
        assert_eq!(longest.explain(0).to_string(), "1 attempts, delays none, in total 0s");
    }

    #[test]
    fn the_origins_schedule() {
        let explained = origin().explain(10);
        assert_eq!(explained.delays, [2, 4, 8, 16, 32, 60, 60, 60, 60].map(secs));
        assert_eq!(explained.total, secs(302));
        assert_eq!(
            explained.to_string(),
            "10 attempts, delays 2s 4s 8s 16s 32s 1m0s 1m0s 1m0s 1m0s, in total 5m2s"
        );
        assert_eq!(origin().explain(1).to_string(), "1 attempts, delays none, in total 0s");
    }

    #[test]
    fn wcw_06_big_multipliers_and_counts_stay_at_the_cap() {
        for multiplier in [2.0, 1e9, 1e300, f64::MAX] {
            let backoff = Backoff { multiplier, ..origin() };
            for n in [5, 64, 1_000, u32::MAX] {
                let delay = backoff.delay(n);
                assert!(delay <= backoff.max && delay >= backoff.initial, "{multiplier} {n}: {delay:?}");
            }
            assert_eq!(backoff.delay(u32::MAX), secs(60));
        }
        let flat = Backoff { multiplier: 1.0, ..origin() };
        assert_eq!(flat.delay(u32::MAX), secs(2));
        let huge = Backoff { initial: Duration::MAX, max: Duration::MAX, ..origin() };
        assert_eq!(huge.delay(7), Duration::MAX);
    }

    #[test]
    fn jitter_only_shortens_and_is_the_same_for_one_seed() {
        let backoff = Backoff { jitter: 0.25, ..origin() };
        let (mut a, mut b) = (Random::new(7), Random::new(7));
        for n in 1..2_000 {
            let delay = backoff.jittered(n, &mut a);
            assert_eq!(delay, backoff.jittered(n, &mut b));
            assert!(delay <= backoff.delay(n) && delay >= backoff.delay(n).mul_f64(0.75));
        }
        let endless = Backoff { initial: Duration::MAX, max: Duration::MAX, jitter: 1e-300, ..origin() };
        assert_eq!(endless.jittered(1, &mut a), Duration::MAX);
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        let table = [
            (Backoff { initial: Duration::ZERO, ..origin() }, "b.initial_delay: must be more than zero"),
            (
                Backoff { max: secs(1), ..origin() },
                "b.max_delay: must be at least initial_delay (2s), found 1s",
            ),
            (
                Backoff { multiplier: 0.5, ..origin() },
                "b.multiplier: must be a number of at least 1, found 0.5",
            ),
            (Backoff { multiplier: f64::NAN, ..origin() }, "b.multiplier"),
            (Backoff { multiplier: f64::INFINITY, ..origin() }, "b.multiplier"),
            (Backoff { multiplier: -2.0, ..origin() }, "b.multiplier"),
            (Backoff { jitter: 1.5, ..origin() }, "b.jitter: must be a share between 0 and 1, found 1.5"),
            (Backoff { jitter: f64::NAN, ..origin() }, "b.jitter"),
            (Backoff { jitter: -0.1, ..origin() }, "b.jitter"),
        ];
        for (backoff, text) in table {
            let error = backoff.check("b.").unwrap_err();
            assert!(error.to_string().starts_with(text), "{error}");
        }
        origin().check("").unwrap();
    }
}
