//! Sizes of files and disks: `"1GiB"`, `"500MB"`, `"10%"`, or bytes.

use std::fmt;

use crate::number::{Real, float};

/// A size that is absolute or a part of a whole.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Size {
    /// So many bytes.
    Bytes(u64),
    /// So many hundredths of the whole, from 0 to 100.
    Percent(f64),
}

impl fmt::Display for Size {
    /// Writes it as JSON, with the largest unit that loses nothing.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Percent(percent) => write!(f, "\"{}%\"", Real(percent)),
            Self::Bytes(bytes) => {
                let binary = UNITS.iter().filter(|(unit, _)| unit.contains('i')).rev();
                match binary.into_iter().find(|(_, factor)| bytes > 0 && bytes % factor == 0) {
                    Some((unit, factor)) => write!(f, "\"{}{unit}\"", bytes / factor),
                    None => write!(f, "{bytes}"),
                }
            }
        }
    }
}

/// Why a text is not a size.
#[derive(Debug, PartialEq)]
pub(super) enum Flaw {
    Syntax,
    Range(&'static str),
}

const UNITS: [(&str, u64); 9] = [
    ("B", 1),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
];

/// Reads a decimal number with a unit. Parts of a byte are cut off.
pub(super) fn read(text: &str) -> Result<Size, Flaw> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let (whole, part) = number.split_once('.').unwrap_or((number, "0"));
    if whole.is_empty() || part.is_empty() || part.contains('.') {
        return Err(Flaw::Syntax);
    }
    // A part that is written small has an exponent.
    let exponent = unit.strip_suffix('%').filter(|text| text.is_empty() || text.starts_with("e-"));
    if let Some(exponent) = exponent {
        let percent = float(&text[..end + exponent.len()]).ok_or(Flaw::Syntax)?;
        return if percent <= 100.0 {
            Ok(Size::Percent(percent))
        } else {
            Err(Flaw::Range("must be at most 100%"))
        };
    }
    let &(_, factor) = UNITS.iter().find(|(known, _)| *known == unit).ok_or(Flaw::Syntax)?;
    let too_big = Flaw::Range("must be less than 16777216TiB");
    let Ok(whole) = whole.parse::<u64>() else { return Err(too_big) };
    // Twelve digits of the fraction tell bytes of the largest unit apart,
    // and leave room for the product.
    let digits = &part[..part.len().min(12)];
    let scale = 10_u128.pow(digits.len() as u32);
    let part = digits.parse::<u128>().map_err(|_| Flaw::Syntax)? * u128::from(factor) / scale;
    let bytes = u128::from(whole) * u128::from(factor) + part;
    u64::try_from(bytes).map(Size::Bytes).map_err(|_| too_big)
}

/// Reads a size apart from any tree: `None` when it is not written as one,
/// what is wrong with it when it is.
pub(crate) fn read_size(text: &str) -> Option<Result<Size, &'static str>> {
    match read(text) {
        Ok(size) => Some(Ok(size)),
        Err(Flaw::Range(flaw)) => Some(Err(flaw)),
        Err(Flaw::Syntax) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read() {
        for (text, size) in [
            ("0B", Size::Bytes(0)),
            ("12B", Size::Bytes(12)),
            ("1KB", Size::Bytes(1_000)),
            ("1KiB", Size::Bytes(1_024)),
            ("500MB", Size::Bytes(500_000_000)),
            ("1GiB", Size::Bytes(1 << 30)),
            ("1.5GiB", Size::Bytes(3 << 29)),
            ("0.1GiB", Size::Bytes(107_374_182)),
            ("2TB", Size::Bytes(2_000_000_000_000)),
            ("0.000000000001TB", Size::Bytes(1)),
            ("0.0000000000009999TB", Size::Bytes(0)),
            ("18446744073709551615B", Size::Bytes(u64::MAX)),
            ("16777215TiB", Size::Bytes(16_777_215 << 40)),
            ("0%", Size::Percent(0.0)),
            ("10%", Size::Percent(10.0)),
            ("2.5%", Size::Percent(2.5)),
            ("1.5e-7%", Size::Percent(1.5e-7)),
            ("100%", Size::Percent(100.0)),
        ] {
            assert_eq!(read(text), Ok(size), "{text}");
        }
    }

    #[test]
    fn what_is_shown_is_read_as_the_same() {
        for percent in [0.0, 1e-5, 9.9e-6, 1.5e-7, f64::MIN_POSITIVE, 5e-324, 0.1, 99.999_999, 100.0] {
            let shown = Size::Percent(percent).to_string();
            assert_eq!(read(shown.trim_matches('"')), Ok(Size::Percent(percent)), "{shown}");
        }
    }

    #[test]
    fn what_is_not_a_size_is_refused() {
        for text in [
            "", "1", "GiB", "%", "1 GiB", " 1B", "1gib", "1kb", "1G", "1K", "-1B", "+1B", "1e3B", ".5GiB",
            "5.GiB", "1..5GiB", "1.2.3B", "1%%", "-1%", "1e1%", "1e-%", "1e-+1%", "e-1%", "١B", "1GiB ",
        ] {
            assert_eq!(read(text), Err(Flaw::Syntax), "{text}");
        }
        for text in ["101%", "100.1%", "1000000000000000000000000%"] {
            assert_eq!(read(text), Err(Flaw::Range("must be at most 100%")), "{text}");
        }
        for text in
            ["18446744073709551616B", "16777216TiB", "99999999999999999999999TB", "18446744073709551615TB"]
        {
            assert_eq!(read(text), Err(Flaw::Range("must be less than 16777216TiB")), "{text}");
        }
    }
}
