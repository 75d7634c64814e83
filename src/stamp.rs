//! A moment of the wall clock, for people: logs, status, events.
//!
//! Nothing is ever scheduled by a stamp; deadlines come from the clock, which
//! is steady. A stamp knows the years 1970 to 9999 and holds what lies
//! outside at the nearest end.

use std::fmt;
use std::time::{Duration, SystemTime};

/// The number of bytes of a written stamp, `2026-11-24T21:42:02.123Z`.
pub const LEN: usize = 24;

/// The last microsecond of the year 9999.
const MAX_MICROS: u64 = 253_402_300_800_000_000 - 1;

const MILLIS_A_DAY: u64 = 24 * 60 * 60 * 1_000;

/// A moment of the wall clock with microseconds, written as RFC 3339 UTC
/// with milliseconds.
///
/// # Examples
///
/// ```
/// use loopkeeper::Stamp;
///
/// let stamp = Stamp::from_micros(1_795_556_522_123_456);
/// assert_eq!(stamp.to_string(), "2026-11-24T21:42:02.123Z");
/// assert_eq!(Stamp::from_micros(u64::MAX).to_string(), "9999-12-31T23:59:59.999Z");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stamp(u64);

impl Stamp {
    /// Makes a stamp from microseconds since the beginning of 1970, UTC.
    ///
    /// What lies past the year 9999 is held at its end.
    #[must_use]
    pub const fn from_micros(micros: u64) -> Self {
        Self(if micros > MAX_MICROS { MAX_MICROS } else { micros })
    }

    /// The microseconds since the beginning of 1970, UTC.
    #[must_use]
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// The seconds since the beginning of 1970, UTC, as metrics want them.
    #[must_use]
    pub fn as_secs_f64(self) -> f64 {
        Duration::from_micros(self.0).as_secs_f64()
    }

    /// Writes the stamp into `buffer` and returns it as text.
    ///
    /// The formatting machinery and the heap stay out of it.
    ///
    /// # Examples
    ///
    /// ```
    /// use loopkeeper::Stamp;
    ///
    /// let mut buffer = [0; 24];
    /// assert_eq!(Stamp::from_micros(0).write_to(&mut buffer), "1970-01-01T00:00:00.000Z");
    /// ```
    pub fn write_to(self, buffer: &mut [u8; LEN]) -> &str {
        let millis = self.0 / 1_000;
        let (year, month, day) = civil_from_days(millis / MILLIS_A_DAY);
        let of_day = millis % MILLIS_A_DAY;
        *buffer = *b"0000-00-00T00:00:00.000Z";
        put(&mut buffer[0..4], year);
        put(&mut buffer[5..7], month);
        put(&mut buffer[8..10], day);
        put(&mut buffer[11..13], of_day / 3_600_000);
        put(&mut buffer[14..16], of_day / 60_000 % 60);
        put(&mut buffer[17..19], of_day / 1_000 % 60);
        put(&mut buffer[20..23], of_day % 1_000);
        // Only ASCII was written, so the default is never taken.
        std::str::from_utf8(buffer).unwrap_or_default()
    }
}

impl From<SystemTime> for Stamp {
    fn from(time: SystemTime) -> Self {
        let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self::from_micros(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
    }
}

impl From<Stamp> for SystemTime {
    fn from(stamp: Stamp) -> Self {
        Self::UNIX_EPOCH + Duration::from_micros(stamp.0)
    }
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.write_to(&mut [0; LEN]))
    }
}

impl fmt::Debug for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.write_to(&mut [0; LEN]))
    }
}

impl serde::Serialize for Stamp {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.write_to(&mut [0; LEN]))
    }
}

/// Year, month and day of a day counted from the beginning of 1970.
///
/// Howard Hinnant's `civil_from_days`
/// (<https://howardhinnant.github.io/date_algorithms.html>), for days that
/// are not negative.
fn civil_from_days(days: u64) -> (u64, u64, u64) {
    // Counted from 0000-03-01, so that a leap day is the last of its year,
    // in eras of 400 years, which are all alike.
    let days = days + 719_468;
    let era = days / 146_097;
    let day_of_era = days % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

/// Fills `digits` with the decimal digits of `value`, zeros in front.
fn put(digits: &mut [u8], mut value: u64) {
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (value % 10) as u8;
        value /= 10;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn humantime(stamp: Stamp) -> String {
        humantime::format_rfc3339_millis(stamp.into()).to_string()
    }

    #[test]
    fn stamps_are_rfc_3339() {
        for (micros, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (999, "1970-01-01T00:00:00.000Z"),
            (1_000, "1970-01-01T00:00:00.001Z"),
            (951_782_399_999_999, "2000-02-28T23:59:59.999Z"),
            (951_782_400_000_000, "2000-02-29T00:00:00.000Z"),
            (951_868_800_000_000, "2000-03-01T00:00:00.000Z"),
            (1_795_556_522_123_456, "2026-11-24T21:42:02.123Z"),
            (4_107_542_400_000_000, "2100-03-01T00:00:00.000Z"),
            (MAX_MICROS, "9999-12-31T23:59:59.999Z"),
            (MAX_MICROS + 1, "9999-12-31T23:59:59.999Z"),
            (u64::MAX, "9999-12-31T23:59:59.999Z"),
        ] {
            let stamp = Stamp::from_micros(micros);
            assert_eq!(stamp.to_string(), text);
            assert_eq!(format!("{stamp:?}"), text);
            assert_eq!(serde_json::to_string(&stamp).unwrap(), format!("{text:?}"));
        }
    }

    #[test]
    fn every_day_of_the_calendar_is_right() {
        for day in 0..=MAX_MICROS / (MILLIS_A_DAY * 1_000) {
            let stamp = Stamp::from_micros(day * MILLIS_A_DAY * 1_000);
            assert_eq!(stamp.to_string(), humantime(stamp));
        }
    }

    #[test]
    fn times_outside_are_held_at_the_end() {
        let early = SystemTime::UNIX_EPOCH - Duration::from_secs(1);
        assert_eq!(Stamp::from(early).as_micros(), 0);
        if let Some(late) = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(1 << 62)) {
            assert_eq!(Stamp::from(late).as_micros(), MAX_MICROS);
        }
    }

    #[test]
    fn seconds_and_padding() {
        let stamp = Stamp::from_micros(1_500_000);
        assert_eq!(stamp.as_secs_f64(), 1.5);
        assert_eq!(format!("{stamp:>26}"), "  1970-01-01T00:00:01.500Z");
    }

    proptest! {
        #[test]
        fn humantime_agrees(micros in 0..=MAX_MICROS) {
            let stamp = Stamp::from_micros(micros);
            prop_assert_eq!(stamp.to_string(), humantime(stamp));
            prop_assert_eq!(Stamp::from(SystemTime::from(stamp)), stamp);
        }
    }
}
