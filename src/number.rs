//! Decimal numbers in texts, by the reader and the writer that JSON has anyway:
//! those of the standard library are thirty kilobytes more.

use std::fmt;

/// Shows a number as the shortest text that is read back as the same.
pub(crate) struct Real(pub(crate) f64);

impl fmt::Display for Real {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            n if n.is_nan() => f.write_str("NaN"),
            n if n.is_infinite() => f.write_str(if n > 0.0 { "inf" } else { "-inf" }),
            n => {
                let text = json(n);
                f.write_str(text.strip_suffix(".0").unwrap_or(&text))
            }
        }
    }
}

/// A finite number as JSON: with a point or an exponent.
pub(crate) fn json(n: f64) -> String {
    serde_json::to_string(&n).unwrap_or_default().replace("e+", "e")
}

/// Shows a number, no negative one, with this many digits behind the point.
pub(crate) struct Fixed(pub(crate) f64, pub(crate) u32);

impl fmt::Display for Fixed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(n, places) = *self;
        let unit = 10_u64.pow(places);
        let units = (n * unit as f64 + 0.5) as u64;
        write!(f, "{}", units / unit)?;
        match places {
            0 => Ok(()),
            _ => write!(f, ".{:01$}", units % unit, places as usize),
        }
    }
}

/// Reads a finite number as the standard library does.
pub(crate) fn float(text: &str) -> Option<f64> {
    let (sign, unsigned) = match text.strip_prefix('-') {
        Some(unsigned) => ("-", unsigned),
        None => ("", text.strip_prefix('+').unwrap_or(text)),
    };
    let (mantissa, exponent) = unsigned.split_once(['e', 'E']).unwrap_or((unsigned, "0"));
    let (whole, part) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let power = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
    if ![whole, part, power].into_iter().all(is_digits) || (whole.is_empty() && part.is_empty()) {
        return None;
    }
    // JSON wants a digit on either side of the point, and no zeros in front.
    let whole = whole.trim_start_matches('0');
    let whole = if whole.is_empty() { "0" } else { whole };
    serde_json::from_str(&format!("{sign}{whole}.{part}0e{exponent}")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_shown_in_few_digits() {
        for (n, text) in [
            (0.0, "0"),
            (1.0, "1"),
            (-0.5, "-0.5"),
            (0.1, "0.1"),
            (9_223_372_037.0, "9223372037"),
            (1e300, "1e300"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
        ] {
            assert_eq!(Real(n).to_string(), text);
        }
        for n in 0..20_000 {
            let n = f64::from(n) / 1024.0;
            for places in 0..4 {
                let (fixed, expected) = (Fixed(n, places).to_string(), format!("{n:.*}", places as usize));
                // What is halfway is rounded up here, and to the even one there.
                let up = format!("{:.*}", places as usize, n + 1e-9);
                assert!(fixed == expected || fixed == up, "{n} {places}: {fixed}");
            }
        }
    }

    #[test]
    fn it_reads_what_the_standard_library_reads() {
        let mut texts: Vec<String> = ["0.1", "5e-324", "2.4703282292062328e-324", "1.7976931348623157e308"]
            .into_iter()
            .chain([
                "1e999",
                "-1e999",
                "1e-999",
                "0e999",
                "1e99999999999",
                "infinity",
                "NaN",
                "0x1",
                "1_0",
                "1e5 ",
                " 1",
            ])
            .chain(["9007199254740993", "123456789012345678901234567890", "0.30000000000000004", "1e1.0"])
            .map(str::to_owned)
            .collect();
        // Every text of up to six of these.
        let signs = ["", "+", "-", ".", "e", "0", "7"];
        for row in 0..7_usize.pow(6) {
            texts.push((0..6).map(|place| signs[row / 7_usize.pow(place) % 7]).collect());
        }
        for text in texts {
            let expected = text.parse().ok().filter(|n: &f64| n.is_finite());
            let found = float(&text);
            assert_eq!(found.map(f64::to_bits), expected.map(f64::to_bits), "{text}");
        }
    }
}
