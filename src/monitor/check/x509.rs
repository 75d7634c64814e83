//! Reads from a certificate how long it is valid, and nothing else.
//!
//! A certificate is nested values of DER: a byte that says what it is, how
//! long it is, and that many bytes. What is not asked for is stepped over.

use crate::stamp::Stamp;

/// From when to when a certificate is valid, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Validity {
    pub(super) not_before: Stamp,
    pub(super) not_after: Stamp,
}

const INTEGER: u8 = 0x02;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
/// `[0]`, with something inside: the version of a certificate.
const VERSION: u8 = 0xa0;

/// Reads the validity of a certificate, or says what is not as it should be.
pub(super) fn validity(der: &[u8]) -> Result<Validity, &'static str> {
    let mut outside = Reader(der);
    let mut certificate = outside.within(SEQUENCE, "it is not a certificate")?;
    let mut signed = certificate.within(SEQUENCE, "it has no signed part")?;
    if signed.0.first() == Some(&VERSION) {
        signed.within(VERSION, "its version is broken")?;
    }
    signed.within(INTEGER, "it has no serial number")?;
    signed.within(SEQUENCE, "it has no algorithm")?;
    signed.within(SEQUENCE, "it has no issuer")?;
    let mut validity = signed.within(SEQUENCE, "it has no validity")?;
    let not_before = validity.time()?;
    let not_after = validity.time()?;
    Ok(Validity { not_before, not_after })
}

/// What is left to read.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Reads the value of the next element, whose first byte must be `tag`.
    fn within(&mut self, tag: u8, flaw: &'static str) -> Result<Self, &'static str> {
        match self.next() {
            Some((found, value)) if found == tag => Ok(Self(value)),
            _ => Err(flaw),
        }
    }

    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (&tag, rest) = self.0.split_first()?;
        let (&first, rest) = rest.split_first()?;
        let (len, rest) = match first {
            0..=0x7f => (usize::from(first), rest),
            // So many bytes of length follow; four are more than anybody has.
            0x81..=0x84 => {
                let (bytes, rest) = rest.split_at_checked(usize::from(first - 0x80))?;
                (bytes.iter().fold(0_usize, |len, byte| len << 8 | usize::from(*byte)), rest)
            }
            _ => return None,
        };
        let (value, rest) = rest.split_at_checked(len)?;
        self.0 = rest;
        Some((tag, value))
    }

    fn time(&mut self) -> Result<Stamp, &'static str> {
        let text = |value| std::str::from_utf8(value).ok().filter(|text: &&str| text.is_ascii());
        let found = match self.next() {
            Some((UTC_TIME, value)) => text(value).filter(|text| text.len() == 13).map(|text| {
                // Two digits of the year: 1950 to 2049.
                let century = if text[..2].parse::<u8>().is_ok_and(|year| year >= 50) { "19" } else { "20" };
                format!("{century}{text}")
            }),
            Some((GENERALIZED_TIME, value)) => text(value).filter(|text| text.len() == 15).map(str::to_owned),
            _ => None,
        };
        found.and_then(|text| stamp(&text)).ok_or("its validity has no time")
    }
}

/// `20261125040000Z` as a moment; a stamp holds what was before 1970 there.
fn stamp(text: &str) -> Option<Stamp> {
    let digits = text.strip_suffix('Z')?;
    if digits.len() != 14 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let part = |from: usize, to: usize| &digits[from..to];
    let year = part(0, 4);
    let [month, day, hour, minute, second] = [4, 6, 8, 10, 12].map(|at| part(at, at + 2));
    format!("{year}-{month}-{day}T{hour}:{minute}:{second}Z").parse().ok()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    fn element(tag: u8, value: &[u8]) -> Vec<u8> {
        let len = value.len();
        let mut bytes = match len {
            0..=0x7f => vec![tag, len as u8],
            _ => vec![tag, 0x82, (len >> 8) as u8, len as u8],
        };
        bytes.extend(value);
        bytes
    }

    /// As much of a certificate as is looked at.
    pub(in super::super) fn certificate(not_before: &str, not_after: &str) -> Vec<u8> {
        let time =
            |text: &str| element(if text.len() == 13 { UTC_TIME } else { GENERALIZED_TIME }, text.as_bytes());
        let validity = element(SEQUENCE, &[time(not_before), time(not_after)].concat());
        let signed = [
            element(VERSION, &element(INTEGER, &[2])),
            element(INTEGER, &[1; 20]),
            element(SEQUENCE, &[6, 1, 42]),
            element(SEQUENCE, &[b'x'; 200]),
            validity,
            element(SEQUENCE, &[]),
        ];
        element(SEQUENCE, &[element(SEQUENCE, &signed.concat()), element(SEQUENCE, &[])].concat())
    }

    #[test]
    fn a_validity_is_read() {
        for (before, after, expected) in [
            ("240101000000Z", "301231235959Z", ("2024-01-01T00:00:00", "2030-12-31T23:59:59")),
            ("700101000000Z", "491231235959Z", ("1970-01-01T00:00:00", "2049-12-31T23:59:59")),
            ("500228000000Z", "20500101000000Z", ("1970-01-01T00:00:00", "2050-01-01T00:00:00")),
            ("19491231000000Z", "99991231235959Z", ("1970-01-01T00:00:00", "9999-12-31T23:59:59")),
        ] {
            let read = validity(&certificate(before, after)).unwrap();
            let [before, after] = [read.not_before, read.not_after].map(|stamp| stamp.to_string());
            assert!(before.starts_with(expected.0) && after.starts_with(expected.1), "{before} {after}");
        }
    }

    #[test]
    fn what_is_no_certificate_is_told() {
        for (der, flaw) in [
            (vec![], "it is not a certificate"),
            (b"-----BEGIN".to_vec(), "it is not a certificate"),
            (vec![0x30, 0x84, 0xff, 0xff, 0xff, 0xff, 0], "it is not a certificate"),
            (vec![0x30, 0x80, 0, 0], "it is not a certificate"),
            (vec![0x30, 0x02, 0x05, 0x00], "it has no signed part"),
            (certificate("249901000000Z", "301231235959Z"), "its validity has no time"),
            (certificate("240101000000+", "301231235959Z"), "its validity has no time"),
            (certificate("2401010000000000", "301231235959Z"), "its validity has no time"),
        ] {
            assert_eq!(validity(&der), Err(flaw));
        }
    }

    #[test]
    fn a_certificate_that_ends_anywhere_is_refused() {
        let whole = certificate("240101000000Z", "301231235959Z");
        for end in 0..whole.len() {
            assert!(validity(&whole[..end]).is_err(), "{end}");
        }
    }
}
