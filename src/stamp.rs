//! A moment of the wall clock, for people: logs, status, events.
//!
//! Nothing is ever scheduled by a stamp; deadlines come from the clock, which
//! is steady. A stamp knows the years 1970 to 9999 and holds what lies
//! outside at the nearest end.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use crate::duration::Shown;
use crate::error::{Error, Result};

/// The number of bytes of a written stamp, `2026-11-24T21:42:02.123Z`.
pub const LEN: usize = 24;

/// The last microsecond of the year 9999.
const MAX_MICROS: u64 = 253_402_300_800_000_000 - 1;

const SECONDS_A_DAY: u64 = 24 * 60 * 60;

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

    /// The same from a count that may lie before 1970.
    fn held(micros: i64) -> Self {
        Self::from_micros(u64::try_from(micros).unwrap_or(0))
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

    /// The stamp as HTTP writes it (RFC 9110 section 5.6.7): with seconds.
    #[cfg(feature = "http")]
    pub(crate) fn http_date(self) -> [u8; 29] {
        const DAYS: [&[u8; 3]; 7] = [b"Thu", b"Fri", b"Sat", b"Sun", b"Mon", b"Tue", b"Wed"];
        const MONTHS: &[u8; 36] = b"JanFebMarAprMayJunJulAugSepOctNovDec";
        let second = self.0 / 1_000_000;
        let (day, of_day) = (second / SECONDS_A_DAY, second % SECONDS_A_DAY);
        let (year, month, day_of_month) = civil_from_days(day);
        let mut text = *b"Thu, 01 Jan 1970 00:00:00 GMT";
        text[0..3].copy_from_slice(DAYS[(day % 7) as usize]);
        put(&mut text[5..7], day_of_month);
        let month = 3 * (month - 1) as usize;
        text[8..11].copy_from_slice(&MONTHS[month..month + 3]);
        put(&mut text[12..16], year);
        put_time(&mut text[17..25], of_day);
        text
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
        *buffer = *Stamps::default().write(self);
        // Only ASCII was written, so the default is never taken.
        std::str::from_utf8(buffer).unwrap_or_default()
    }
}

/// Writes stamps, most of which lie in the second of the one before or on its
/// day: no more is written than differs.
#[derive(Debug)]
pub(crate) struct Stamps {
    day: u64,
    second: u64,
    text: [u8; LEN],
}

impl Default for Stamps {
    fn default() -> Self {
        Self { day: 0, second: 0, text: *b"1970-01-01T00:00:00.000Z" }
    }
}

impl Stamps {
    pub(crate) fn write(&mut self, stamp: Stamp) -> &[u8; LEN] {
        let second = stamp.0 / 1_000_000;
        if second != self.second {
            self.turn(second);
        }
        put(&mut self.text[20..23], stamp.0 / 1_000 % 1_000);
        &self.text
    }

    fn turn(&mut self, second: u64) {
        let day = second / SECONDS_A_DAY;
        if day != self.day {
            let (year, month, day_of_month) = civil_from_days(day);
            put(&mut self.text[0..4], year);
            put(&mut self.text[5..7], month);
            put(&mut self.text[8..10], day_of_month);
        }
        (self.day, self.second) = (day, second);
        put_time(&mut self.text[11..19], second % SECONDS_A_DAY);
    }
}

/// Reads RFC 3339 with any offset and any fraction of a second.
///
/// What lies outside the years 1970 to 9999 is held at the nearest end; what
/// is finer than a microsecond is cut off; a leap second is the second before
/// it.
///
/// # Errors
///
/// `InvalidArgument`, which shows what was found.
///
/// # Examples
///
/// ```
/// use loopkeeper::Stamp;
///
/// let stamp: Stamp = "2026-11-24T22:42:02.5+01:00".parse()?;
/// assert_eq!(stamp.to_string(), "2026-11-24T21:42:02.500Z");
/// assert_eq!(
///     "yesterday".parse::<Stamp>().unwrap_err().to_string(),
///     r#"expected a moment such as "2026-11-24T21:42:02Z", found "yesterday""#,
/// );
/// # Ok::<(), loopkeeper::Error>(())
/// ```
impl FromStr for Stamp {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        read(text.as_bytes()).ok_or_else(|| {
            let found = Shown(text);
            Error::invalid(format!("expected a moment such as \"2026-11-24T21:42:02Z\", found {found}"))
        })
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

impl<'de> serde::Deserialize<'de> for Stamp {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;

        impl serde::de::Visitor<'_> for Text {
            type Value = Stamp;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a moment such as \"2026-11-24T21:42:02Z\"")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Stamp, E> {
                text.parse().map_err(E::custom)
            }
        }

        deserializer.deserialize_str(Text)
    }
}

/// The moment that a text names, if it is one.
fn read(text: &[u8]) -> Option<Stamp> {
    let (moment, rest) = text.split_at_checked("2026-11-24T21:42:02".len())?;
    let separators = [4, 7, 10, 13, 16].map(|at| moment[at]);
    if !matches!(separators, [b'-', b'-', b'T' | b't' | b' ', b':', b':']) {
        return None;
    }
    let [year, month, day] = [0..4, 5..7, 8..10].map(|at| number(&moment[at]));
    let [hour, minute, second] = [11..13, 14..16, 17..19].map(|at| number(&moment[at]));
    let (year, month, day) = (year?, month?, day?);
    let (hour, minute, second) = (hour?, minute?, second?);
    let is_date = (1..=12).contains(&month) && (1..=days_in(year, month)).contains(&day);
    if !is_date || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let (micros, rest) = match rest.strip_prefix(b".") {
        Some(rest) => fraction(rest)?,
        None => (0, rest),
    };
    let seconds = ((days_from_civil(year, month, day) * 24 + hour) * 60 + minute) * 60 + second.min(59);
    Some(Stamp::held((seconds - offset(rest)?) * 1_000_000 + micros))
}

/// The microseconds of what follows a point, and what follows its digits.
fn fraction(text: &[u8]) -> Option<(i64, &[u8])> {
    let end = text.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    let padded = digits.iter().copied().chain(std::iter::repeat(b'0'));
    let micros = padded.take(6).fold(0, |micros, digit| micros * 10 + i64::from(digit - b'0'));
    (end > 0).then_some((micros, rest))
}

/// The seconds by which an offset is ahead of UTC.
fn offset(text: &[u8]) -> Option<i64> {
    let (sign, [h1, h2, b':', m1, m2]) = (match text {
        [b'Z' | b'z'] => return Some(0),
        [b'+', rest @ ..] => (1, rest),
        [b'-', rest @ ..] => (-1, rest),
        _ => return None,
    }) else {
        return None;
    };
    let (hours, minutes) = (number(&[*h1, *h2])?, number(&[*m1, *m2])?);
    (hours <= 23 && minutes <= 59).then_some(sign * (hours * 60 + minutes) * 60)
}

/// The value of digits, if they all are.
fn number(digits: &[u8]) -> Option<i64> {
    digits
        .iter()
        .try_fold(0, |value, digit| digit.is_ascii_digit().then(|| value * 10 + i64::from(digit - b'0')))
}

fn days_in(year: i64, month: i64) -> i64 {
    let (next_year, next_month) = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
    days_from_civil(next_year, next_month, 1) - days_from_civil(year, month, 1)
}

/// The day counted from the beginning of 1970, negative before it: the way
/// back from [`civil_from_days`], from the same source.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let month_from_march = (month + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
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

/// Fills the digits of `00:00:00`.
fn put_time(text: &mut [u8], second_of_day: u64) {
    put(&mut text[0..2], second_of_day / 3_600);
    put(&mut text[3..5], second_of_day / 60 % 60);
    put(&mut text[6..8], second_of_day % 60);
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
        for day in 0..=MAX_MICROS / (SECONDS_A_DAY * 1_000_000) {
            let stamp = Stamp::from_micros(day * SECONDS_A_DAY * 1_000_000);
            assert_eq!(stamp.to_string(), humantime(stamp));
        }
    }

    #[cfg(feature = "http")]
    #[test]
    fn dates_are_as_http_writes_them() {
        for (micros, text) in [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (784_111_777_000_000, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (951_782_399_999_999, "Mon, 28 Feb 2000 23:59:59 GMT"),
            (951_782_400_000_000, "Tue, 29 Feb 2000 00:00:00 GMT"),
            (1_795_556_522_123_456, "Tue, 24 Nov 2026 21:42:02 GMT"),
            (u64::MAX, "Fri, 31 Dec 9999 23:59:59 GMT"),
        ] {
            assert_eq!(String::from_utf8_lossy(&Stamp::from_micros(micros).http_date()), text);
        }
        for month in 0..12 {
            let names = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
            let stamp: Stamp = format!("2026-{:02}-09T01:02:03Z", month + 1).parse().unwrap();
            let date = stamp.http_date();
            assert!(
                String::from_utf8_lossy(&date).ends_with(&format!(", 09 {} 2026 01:02:03 GMT", names[month]))
            );
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
    fn moments_are_read_with_any_offset_and_fraction() {
        for (text, micros) in [
            ("1970-01-01T00:00:00Z", 0),
            ("1970-01-01t00:00:00z", 0),
            ("1970-01-01 00:00:00Z", 0),
            ("1970-01-01T00:00:00-00:00", 0),
            ("1970-01-01T00:00:00.1Z", 100_000),
            ("1970-01-01T00:00:00.1234567890123456789Z", 123_456),
            ("1970-01-01T01:30:00+01:30", 0),
            ("1969-12-31T19:00:00-05:00", 0),
            ("1970-01-01T00:00:00+00:01", 0),
            ("1969-12-31T23:59:59.999999Z", 0),
            ("0000-01-01T00:00:00Z", 0),
            ("2000-02-29T00:00:00Z", 951_782_400_000_000),
            ("2016-12-31T23:59:60Z", 1_483_228_799_000_000),
            ("2026-11-24T21:42:02.123456Z", 1_795_556_522_123_456),
            ("9999-12-31T23:59:59.999999Z", MAX_MICROS),
            ("9999-12-31T23:59:59-23:59", MAX_MICROS),
        ] {
            assert_eq!(text.parse::<Stamp>().unwrap().as_micros(), micros, "{text}");
            let json = format!("{text:?}");
            assert_eq!(serde_json::from_str::<Stamp>(&json).unwrap().as_micros(), micros, "{text}");
        }
    }

    #[test]
    fn what_is_no_moment_is_refused_with_what_was_found() {
        for text in [
            "",
            "now",
            "2026-11-24",
            "2026-11-24T21:42:02",
            "2026-11-24T21:42Z",
            "2026-11-24T21:42:02.Z",
            "2026-11-24T21:42:02,5Z",
            "2026-11-24T21:42:02.5",
            "2026-11-24T21:42:02+1:00",
            "2026-11-24T21:42:02+0100",
            "2026-11-24T21:42:02+24:00",
            "2026-11-24T21:42:02+01:60",
            "2026-11-24T21:42:02Z ",
            "2026-11-24X21:42:02Z",
            "2026-00-24T21:42:02Z",
            "2026-13-24T21:42:02Z",
            "2026-11-31T21:42:02Z",
            "2026-02-29T21:42:02Z",
            "1900-02-29T00:00:00Z",
            "2026-11-24T24:00:00Z",
            "2026-11-24T21:60:02Z",
            "2026-11-24T21:42:61Z",
            "+026-11-24T21:42:02Z",
            "２026-11-24T21:42:02Z",
            "2026-11-24T21:42:0é2Z",
        ] {
            let error = text.parse::<Stamp>().unwrap_err().to_string();
            assert!(error.contains(&format!("{}", Shown(text))), "{text}: {error}");
        }
        let error = serde_json::from_str::<Stamp>("7").unwrap_err().to_string();
        assert!(error.contains("expected a moment such as"), "{error}");
    }

    #[test]
    fn seconds_and_padding() {
        let stamp = Stamp::from_micros(1_500_000);
        assert_eq!(stamp.as_secs_f64(), 1.5);
        assert_eq!(format!("{stamp:>26}"), "  1970-01-01T00:00:01.500Z");
    }

    proptest! {
        #[test]
        fn those_that_are_written_one_after_another_are_right(
            first in 0..=MAX_MICROS,
            steps in proptest::collection::vec((0..=17u32, any::<i64>()), 1..20),
        ) {
            let mut stamps = Stamps::default();
            let mut micros = first;
            for (digits, step) in steps {
                micros = micros.saturating_add_signed(step % 10_i64.pow(digits)).min(MAX_MICROS);
                let stamp = Stamp::from_micros(micros);
                let expected = humantime(stamp);
                prop_assert_eq!(stamps.write(stamp).as_slice(), expected.as_bytes());
            }
        }

        #[test]
        fn humantime_agrees(micros in 0..=MAX_MICROS) {
            let stamp = Stamp::from_micros(micros);
            prop_assert_eq!(stamp.to_string(), humantime(stamp));
            prop_assert_eq!(Stamp::from(SystemTime::from(stamp)), stamp);
            let text = humantime::format_rfc3339_micros(stamp.into()).to_string();
            prop_assert_eq!(text.parse::<Stamp>().unwrap(), stamp);
        }

        #[test]
        fn what_humantime_reads_is_read_alike(
            text in "(19[6-9]|20[0-9]|99[89])[0-9]-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-6][0-9]:[0-6][0-9](\\.[0-9]{1,9})?Z",
        ) {
            let theirs = humantime::parse_rfc3339(&text).ok().map(Stamp::from);
            let ours = text.parse::<Stamp>().ok();
            // Before 1970 it refuses where a stamp is held at the end.
            if text.as_str() >= "1970" {
                prop_assert_eq!(ours, theirs, "{}", text);
            }
        }

        #[test]
        fn reading_never_panics(text in "\\PC{0,40}", digits in "[0-9TZ:. +-]{19,32}") {
            let _ = text.parse::<Stamp>();
            let _ = digits.parse::<Stamp>();
        }
    }
}
