//! Durations as Go writes and reads them: `30s`, `1h30m`, `250ms`.
//!
//! The grammar is Go's `time.ParseDuration`, the output is Go's
//! `Duration.String`, and the longest duration is Go's, 2^63 − 1 nanoseconds.
//! Only the sign differs: it is read, but a negative duration is an error.

use std::fmt;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::number::Real;

/// The longest duration the text can express, `2562047h47m16.854775807s`.
pub const MAX: Duration = Duration::from_nanos(MAX_NANOS);

const MAX_NANOS: u64 = i64::MAX as u64;

/// Every unit and its nanoseconds.
const UNITS: [(&str, u64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("\u{b5}s", 1_000),
    ("\u{3bc}s", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60 * 1_000_000_000),
    ("h", 3_600 * 1_000_000_000),
];

/// Reads a duration such as `30s`, `1h30m`, `.5s` or `0`.
///
/// A text is one or more decimal numbers, each with a unit: `ns`, `us` (or
/// `µs`), `ms`, `s`, `m`, `h`. Parts of a nanosecond are cut off, as in Go.
///
/// # Errors
///
/// `InvalidArgument` when the text is not a duration, is negative, or is
/// longer than [`MAX`]; the text says what was found and where.
///
/// # Examples
///
/// ```
/// use loopkeeper::duration;
/// use std::time::Duration;
///
/// assert_eq!(duration::parse("1m30s")?, Duration::from_secs(90));
/// assert_eq!(
///     duration::parse("soon").unwrap_err().to_string(),
///     r#"expected a duration such as "30s" or "1h30m", found "soon""#,
/// );
/// # Ok::<(), loopkeeper::Error>(())
/// ```
pub fn parse(text: &str) -> Result<Duration> {
    read(text).map_err(|flaw| {
        let found = Shown(text);
        Error::invalid(match flaw {
            Flaw::Syntax(hint) => {
                format!("expected a duration such as \"30s\" or \"1h30m\", found {found}{hint}")
            }
            Flaw::Negative => format!("a duration must not be negative, found {found}"),
            Flaw::TooLong => format!("a duration is at most {}, found {found}", GoDuration(MAX)),
        })
    })
}

/// Turns a JSON number, which counts seconds, into a duration.
///
/// The result is rounded to the nearest nanosecond.
///
/// # Errors
///
/// `InvalidArgument` when the number is negative, not finite, or more than
/// [`MAX`].
///
/// # Examples
///
/// ```
/// use loopkeeper::duration;
/// use std::time::Duration;
///
/// assert_eq!(duration::from_secs_f64(0.25)?, Duration::from_millis(250));
/// assert!(duration::from_secs_f64(f64::NAN).is_err());
/// # Ok::<(), loopkeeper::Error>(())
/// ```
pub fn from_secs_f64(n: f64) -> Result<Duration> {
    if n.is_nan() || n.is_infinite() {
        return Err(Error::invalid(format!("expected a finite number of seconds, found {}", Real(n))));
    }
    if n < 0.0 {
        return Err(Error::invalid(format!("a duration must not be negative, found {} seconds", Real(n))));
    }
    Duration::try_from_secs_f64(n).ok().filter(|&duration| duration <= MAX).ok_or_else(|| {
        Error::invalid(format!("a duration is at most {}, found {} seconds", GoDuration(MAX), Real(n)))
    })
}

/// Writes a duration as Go does: `1m30s`, `1h0m0s`, `250ms`, `1.5µs`, `0s`.
///
/// [`parse`] reads the text back without loss. A duration longer than
/// [`MAX`] is written as `MAX`.
///
/// # Examples
///
/// ```
/// use loopkeeper::duration;
/// use std::time::Duration;
///
/// assert_eq!(duration::format(Duration::from_secs(3600)), "1h0m0s");
/// ```
#[must_use]
pub fn format(duration: Duration) -> String {
    GoDuration(duration).to_string()
}

/// Displays a duration as [`format`](fn@format) writes it, without allocating.
///
/// # Examples
///
/// ```
/// use loopkeeper::duration::GoDuration;
/// use std::time::Duration;
///
/// assert_eq!(format!("in {}", GoDuration(Duration::from_millis(1500))), "in 1.5s");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GoDuration(pub Duration);

impl fmt::Display for GoDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = u64::try_from(self.0.as_nanos()).map_or(MAX_NANOS, |nanos| nanos.min(MAX_NANOS));
        match nanos {
            0 => f.write_str("0s"),
            1..1_000 => write!(f, "{nanos}ns"),
            1_000..1_000_000 => write_decimal(f, nanos, 3, "µs"),
            1_000_000..1_000_000_000 => write_decimal(f, nanos, 6, "ms"),
            _ => {
                let minutes = nanos / 60_000_000_000;
                if minutes >= 60 {
                    write!(f, "{}h", minutes / 60)?;
                }
                if minutes > 0 {
                    write!(f, "{}m", minutes % 60)?;
                }
                write_decimal(f, nanos % 60_000_000_000, 9, "s")
            }
        }
    }
}

/// Serialises a [`Duration`] as Go text; reads Go text or a number of seconds.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// #[derive(serde::Serialize, serde::Deserialize)]
/// struct Poll {
///     #[serde(with = "loopkeeper::duration::text")]
///     interval: Duration,
/// }
/// let poll: Poll = serde_json::from_str(r#"{"interval": 1.5}"#)?;
/// assert_eq!(serde_json::to_string(&poll)?, r#"{"interval":"1.5s"}"#);
/// # Ok::<(), serde_json::Error>(())
/// ```
pub mod text {
    use std::fmt;
    use std::time::Duration;

    use serde::de::{self, Deserializer, Visitor};
    use serde::ser::Serializer;

    /// Writes the duration as Go text.
    ///
    /// # Errors
    ///
    /// Only what the serialiser returns.
    pub fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&super::GoDuration(*duration))
    }

    /// Reads Go text or a number of seconds.
    ///
    /// # Errors
    ///
    /// When it is neither, or not a duration that [`parse`](super::parse) or
    /// [`from_secs_f64`](super::from_secs_f64) accepts.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        struct Text;

        impl Visitor<'_> for Text {
            type Value = Duration;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a duration such as \"30s\", or a number of seconds")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Duration, E> {
                super::parse(text).map_err(E::custom)
            }

            fn visit_u64<E: de::Error>(self, secs: u64) -> Result<Duration, E> {
                // Not through a float, which has no room for every integer.
                let duration = Duration::from_secs(secs);
                if duration <= super::MAX { Ok(duration) } else { self.visit_f64(secs as f64) }
            }

            fn visit_i64<E: de::Error>(self, secs: i64) -> Result<Duration, E> {
                match u64::try_from(secs) {
                    Ok(secs) => self.visit_u64(secs),
                    Err(_) => self.visit_f64(secs as f64),
                }
            }

            fn visit_f64<E: de::Error>(self, secs: f64) -> Result<Duration, E> {
                super::from_secs_f64(secs).map_err(E::custom)
            }
        }

        deserializer.deserialize_any(Text)
    }
}

/// Why a text is not a duration.
#[derive(Debug)]
pub(crate) enum Flaw {
    Syntax(Hint),
    Negative,
    TooLong,
}

/// What is wrong with the grammar, and at which byte. Prints nothing when
/// not even the beginning looks like a duration.
#[derive(Debug)]
pub(crate) struct Hint {
    what: &'static str,
    at: usize,
}

impl fmt::Display for Hint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.at {
            0 => Ok(()),
            at => write!(f, " ({} at byte {at})", self.what),
        }
    }
}

/// Serialises a duration as seconds; called only where there is one.
#[allow(clippy::ref_option, reason = "the form serde calls")]
pub(crate) fn as_seconds<S: serde::Serializer>(
    duration: &Option<Duration>,
    serializer: S,
) -> std::result::Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.unwrap_or_default().as_secs_f64())
}

/// Quotes what was found, shortened so that a message stays a line.
pub(crate) struct Shown<'a>(pub(crate) &'a str);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const LONGEST: usize = 60;
        match self.0.char_indices().nth(LONGEST) {
            None => write!(f, "{:?}", self.0),
            Some((end, _)) => write!(f, "{:?}..", &self.0[..end]),
        }
    }
}

/// Reads a duration and keeps what was wrong apart from how it is told.
pub(crate) fn read(text: &str) -> std::result::Result<Duration, Flaw> {
    let (negative, unsigned) = match text.strip_prefix(['-', '+']) {
        Some(rest) => (text.starts_with('-'), rest),
        None => (false, text),
    };
    if unsigned == "0" {
        return Ok(Duration::ZERO);
    }
    let syntax = |what, rest: &str| Flaw::Syntax(Hint { what, at: text.len() - rest.len() });
    if unsigned.is_empty() {
        return Err(syntax("no number", unsigned));
    }
    let mut total: u64 = 0;
    let mut too_long = false;
    let mut rest = unsigned;
    while !rest.is_empty() {
        let (whole, after) = split_digits(rest);
        let (part, after) = match after.strip_prefix('.') {
            Some(after) => split_digits(after),
            None => ("", after),
        };
        if whole.is_empty() && part.is_empty() {
            return Err(syntax("no number", rest));
        }
        let name = &after[..after.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(after.len())];
        let Some(&(_, unit)) = UNITS.iter().find(|(known, _)| *known == name) else {
            return Err(syntax(if name.is_empty() { "no unit" } else { "unknown unit" }, after));
        };
        rest = &after[name.len()..];
        // A long duration is told only when the grammar is right to the end.
        match scale(whole, part, unit).and_then(|nanos| total.checked_add(nanos)) {
            Some(sum) if sum <= MAX_NANOS => total = sum,
            _ => too_long = true,
        }
    }
    match (negative && (total > 0 || too_long), too_long) {
        (true, _) => Err(Flaw::Negative),
        (false, true) => Err(Flaw::TooLong),
        (false, false) => Ok(Duration::from_nanos(total)),
    }
}

fn split_digits(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))
}

/// `whole.part` of a unit in nanoseconds, or `None` when that is too much.
fn scale(whole: &str, part: &str, unit: u64) -> Option<u64> {
    let whole = if whole.is_empty() { 0 } else { whole.parse::<u64>().ok()? };
    // As Go does it: digits that no longer fit are dropped, and the rest is
    // scaled as a float, so that "0.3333333333333333333h" is 20 minutes.
    let (mut digits, mut scale) = (0_u64, 1.0_f64);
    for digit in part.bytes().map(|byte| u64::from(byte - b'0')) {
        match digits.checked_mul(10).and_then(|digits| digits.checked_add(digit)) {
            Some(more) if more <= MAX_NANOS => digits = more,
            _ => break,
        }
        scale *= 10.0;
    }
    let part = (digits as f64 * (unit as f64 / scale)) as u64;
    whole.checked_mul(unit)?.checked_add(part)
}

/// Writes `value / 10^places` without trailing zeros, and the unit.
fn write_decimal(f: &mut fmt::Formatter<'_>, value: u64, places: u32, unit: &str) -> fmt::Result {
    let one = 10_u64.pow(places);
    write!(f, "{}", value / one)?;
    let (mut part, mut width) = (value % one, places as usize);
    if part > 0 {
        while part % 10 == 0 {
            part /= 10;
            width -= 1;
        }
        write!(f, ".{part:0width$}")?;
    }
    f.write_str(unit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use proptest::prelude::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn go_durations_are_read() {
        for (text, nanos) in [
            ("0", 0),
            ("+0", 0),
            ("-0", 0),
            ("-0s", 0),
            ("0s", 0),
            ("5s", 5 * SECOND),
            ("+5s", 5 * SECOND),
            ("30s", 30 * SECOND),
            ("1478s", 1478 * SECOND),
            ("5.0s", 5 * SECOND),
            ("5.6s", 5_600_000_000),
            ("5.s", 5 * SECOND),
            (".5s", 500_000_000),
            ("1.0s", SECOND),
            ("1.00s", SECOND),
            ("1.004s", 1_004_000_000),
            ("1.0040s", 1_004_000_000),
            ("100.00100s", 100_001_000_000),
            ("10ns", 10),
            ("11us", 11_000),
            ("12\u{b5}s", 12_000),
            ("12\u{3bc}s", 12_000),
            ("300\u{b5}s", 300_000),
            ("13ms", 13_000_000),
            ("14s", 14 * SECOND),
            ("15m", 900 * SECOND),
            ("16h", 57_600 * SECOND),
            ("3h30m", 12_600 * SECOND),
            ("1.5h", 5_400 * SECOND),
            ("10.5s4m", 250_500_000_000),
            ("1m1m", 120 * SECOND),
            ("1h2m3s4ms5us6ns", 3_723_004_005_006),
            ("39h9m14.425s", 140_954_425_000_000),
            ("52763797000ns", 52_763_797_000),
            ("0.3333333333333333333h", 1_200 * SECOND),
            ("9007199254740993ns", 9_007_199_254_740_993),
            ("9223372036854775807ns", MAX_NANOS),
            ("9223372036854775.807us", MAX_NANOS),
            ("9223372036s854ms775us807ns", MAX_NANOS),
            ("2562047h47m16.854775807s", MAX_NANOS),
            ("0.100000000000000000000h", 360 * SECOND),
            ("0.830103483285477580700h", 2_988_372_539_827),
        ] {
            assert_eq!(parse(text).unwrap(), Duration::from_nanos(nanos), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_duration_is_said() {
        let expected = "expected a duration such as \"30s\" or \"1h30m\", found ";
        for (text, rest) in [
            ("", "\"\""),
            ("soon", "\"soon\""),
            ("5", "\"5\" (no unit at byte 1)"),
            ("1h5", "\"1h5\" (no unit at byte 3)"),
            ("1d", "\"1d\" (unknown unit at byte 1)"),
            ("1S", "\"1S\" (unknown unit at byte 1)"),
            ("1ſ", "\"1ſ\" (unknown unit at byte 1)"),
            ("1h 5m", "\"1h 5m\" (unknown unit at byte 1)"),
            (" 1h", "\" 1h\""),
            ("1h ", "\"1h \" (unknown unit at byte 1)"),
            ("1 h", "\"1 h\" (unknown unit at byte 1)"),
            ("1e3s", "\"1e3s\" (unknown unit at byte 1)"),
            (".", "\".\""),
            (".s", "\".s\""),
            ("+.s", "\"+.s\" (no number at byte 1)"),
            ("1s.", "\"1s.\" (no number at byte 2)"),
            ("1..5s", "\"1..5s\" (no unit at byte 2)"),
            ("-", "\"-\" (no number at byte 1)"),
            ("+", "\"+\" (no number at byte 1)"),
            ("--5s", "\"--5s\" (no number at byte 1)"),
            ("5s-3s", "\"5s-3s\" (unknown unit at byte 1)"),
            ("00", "\"00\" (no unit at byte 2)"),
            ("1s\n", "\"1s\\n\" (unknown unit at byte 1)"),
            ("99999999999999999999", "\"99999999999999999999\" (no unit at byte 20)"),
            ("٣s", "\"٣s\""),
        ] {
            let error = parse(text).unwrap_err();
            assert_eq!(error.to_string(), format!("{expected}{rest}"), "{text:?}");
            assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        }
        for text in ["-5s", "-1ns", "-9223372036854775808ns", "-99999999999h"] {
            let error = parse(text).unwrap_err().to_string();
            assert_eq!(error, format!("a duration must not be negative, found {text:?}"));
        }
        for text in [
            "9223372036854775808ns",
            "2562047h47m16.854775808s",
            "2562048h",
            "9223372036854775.808us",
            "3000000h",
            "18446744073709551616ns",
            "99999999999999999999h",
            "9223372036854775807ns1ns",
            "5124095h5124095h",
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert_eq!(error, format!("a duration is at most 2562047h47m16.854775807s, found {text:?}"));
        }
        let error = parse(&"x".repeat(1_000)).unwrap_err().to_string();
        assert!(error.len() < 130 && error.ends_with("x\".."), "{error}");
    }

    #[test]
    fn durations_are_written_as_go_does() {
        for (nanos, text) in [
            (0, "0s"),
            (1, "1ns"),
            (999, "999ns"),
            (1_000, "1µs"),
            (1_100, "1.1µs"),
            (1_500, "1.5µs"),
            (2_200_000, "2.2ms"),
            (250_000_000, "250ms"),
            (999_999_999, "999.999999ms"),
            (SECOND, "1s"),
            (3_300_000_000, "3.3s"),
            (59_999_999_999, "59.999999999s"),
            (60 * SECOND, "1m0s"),
            (90 * SECOND, "1m30s"),
            (245 * SECOND, "4m5s"),
            (245_001_000_000, "4m5.001s"),
            (3_600 * SECOND, "1h0m0s"),
            (5 * 3_600 * SECOND + 6 * 60 * SECOND + 7_001_000_000, "5h6m7.001s"),
            (8 * 60 * SECOND + 1, "8m0.000000001s"),
            (MAX_NANOS, "2562047h47m16.854775807s"),
            (u64::MAX, "2562047h47m16.854775807s"),
        ] {
            assert_eq!(format(Duration::from_nanos(nanos)), text);
        }
        assert_eq!(format(Duration::MAX), "2562047h47m16.854775807s");
    }

    #[test]
    fn numbers_are_seconds() {
        for (secs, nanos) in
            [(0.0, 0), (-0.0, 0), (0.1, 100_000_000), (1.5, 1_500_000_000), (60.0, 60 * SECOND), (4e-10, 0)]
        {
            assert_eq!(from_secs_f64(secs).unwrap(), Duration::from_nanos(nanos), "{secs}");
        }
        for (secs, text) in [
            (-1.0, "must not be negative, found -1 seconds"),
            (-1e-300, "must not be negative"),
            (f64::NAN, "finite number of seconds, found NaN"),
            (f64::INFINITY, "found inf"),
            (f64::NEG_INFINITY, "found -inf"),
            (9_223_372_037.0, "at most 2562047h47m16.854775807s, found 9223372037 seconds"),
            (1e300, "found 1e300 seconds"),
        ] {
            let error = from_secs_f64(secs).unwrap_err().to_string();
            assert!(error.contains(text), "{secs}: {error}");
        }
    }

    #[test]
    fn serde_reads_text_and_numbers() {
        #[derive(serde::Serialize, serde::Deserialize)]
        struct Held(#[serde(with = "text")] Duration);

        for (json, back) in
            [("\"1h\"", "\"1h0m0s\""), ("90", "\"1m30s\""), ("0.25", "\"250ms\""), ("0", "\"0s\"")]
        {
            let held: Held = serde_json::from_str(json).unwrap();
            assert_eq!(serde_json::to_string(&held).unwrap(), back);
        }
        for (json, text) in [
            ("\"soon\"", "found \"soon\""),
            ("-1", "must not be negative, found -1 seconds"),
            ("1e30", "found 1e30 seconds"),
            ("18446744073709551615", "at most 2562047h47m16.854775807s"),
            ("true", "invalid type: boolean `true`, expected a duration such as \"30s\""),
        ] {
            let error = serde_json::from_str::<Held>(json).map(|_| ()).unwrap_err().to_string();
            assert!(error.contains(text), "{json}: {error}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(nanos in 0..=MAX_NANOS) {
            let duration = Duration::from_nanos(nanos);
            prop_assert_eq!(parse(&format(duration)).unwrap(), duration);
        }

        #[test]
        fn short_durations_are_read_back(nanos in 0_u64..10_000_000_000_000) {
            let duration = Duration::from_nanos(nanos);
            prop_assert_eq!(parse(&format(duration)).unwrap(), duration);
        }

        #[test]
        fn any_text_is_answered(text in "[-+0-9.hmnuµs]{0,24}|\\PC{0,12}") {
            if let Ok(duration) = parse(&text) {
                prop_assert_eq!(parse(&format(duration)).unwrap(), duration);
            }
        }

        // humantime has no fractions and no sign, and Go no days.
        #[test]
        fn humantime_agrees_on_whole_numbers(
            parts in proptest::collection::vec(
                (0_u64..100_000, proptest::sample::select(vec!["ns", "us", "ms", "s", "m", "h"])),
                1..6,
            ),
        ) {
            let text: String = parts.iter().map(|(n, unit)| format!("{n}{unit}")).collect();
            prop_assert_eq!(parse(&text).unwrap(), humantime::parse_duration(&text).unwrap());
        }
    }
}
